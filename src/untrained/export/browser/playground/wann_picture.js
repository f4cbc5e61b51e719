// A weight agnostic network as a picture in layers, whose nodes light up with their values.

const shortNames = ["linear", "step", "sin", "gauss", "tanh", "sigmoid", "−x", "|x|", "relu", "cos", "x²"];
const targetsOf = (net) => Array.from(net.act).flatMap((_, k) => Array(net.edgePtr[k + 1] - net.edgePtr[k]).fill(net.inputs + 1 + k));

// The layers of the nodes that are shown: by the longest path, outputs last; in each the nodes near their neighbours.
function arrangedLayers(net) {
  const [first, count] = [net.inputs + 1, net.inputs + 1 + net.act.length];
  const targets = targetsOf(net);
  const depth = new Int32Array(count).fill(1, first);
  net.src.forEach((source, e) => (depth[targets[e]] = Math.max(depth[targets[e]], depth[source] + 1)));
  const last = Math.max(1, ...depth.subarray(0, count - net.outputs)) + (net.act.length > net.outputs ? 1 : 0);
  depth.fill(last, count - net.outputs);
  const used = new Set(net.src);
  const layers = Array.from({ length: last + 1 }, () => []);
  for (let i = 0; i < count; i++) if (i >= first || used.has(i)) layers[depth[i]].push(i);
  const neighbours = Array.from({ length: count }, () => []);
  net.src.forEach((source, e) => {
    neighbours[source].push(targets[e]);
    neighbours[targets[e]].push(source);
  });
  const place = new Float64Array(count);
  const settle = (layer) => layer.forEach((node, i) => (place[node] = (i + 0.5) / layer.length));
  const middleOf = (node) => neighbours[node].reduce((sum, each) => sum + place[each], 0) / (neighbours[node].length || 1);
  layers.forEach(settle);
  for (let sweep = 0; sweep < 8; sweep++) {
    for (const layer of sweep % 2 ? layers.slice(0, -1).reverse() : layers.slice(1, -1)) {
      layer.sort((a, b) => middleOf(a) - middleOf(b));
      settle(layer);
    }
  }
  return layers.filter((layer) => layer.length);
}

class NetPicture {
  constructor(root) {
    this.root = root;
    new ResizeObserver(() => this.net && this.root.clientWidth !== this.width && this.draw(this.net, this.names)).observe(root);
  }

  // `names`: {inputs, outputs}, lists of names, each perhaps empty.
  draw(net, names) {
    [this.net, this.names, this.width] = [net, names, this.root.clientWidth];
    const layers = arrangedLayers(net);
    const most = Math.max(...layers.map((layer) => layer.length));
    const [step, radius] = most > 30 ? [8, 3] : most > 12 ? [18, 6] : [38, 9];
    const height = Math.max(150, most * step + 24);
    const [left, right] = [names.inputs.length ? 76 : 16, names.outputs.length ? 52 : 22];
    const across = Math.max(40, this.width - left - right) / Math.max(1, layers.length - 1);
    const spot = new Map();
    layers.forEach((layer, l) => {
      const apart = Math.min(height / layer.length, layer.length === most ? step : 1.6 * step);
      layer.forEach((node, i) => spot.set(node, [left + l * across, height / 2 + 4 + (i - (layer.length - 1) / 2) * apart]));
    });
    const targets = targetsOf(net);
    this.edges = Array.from(net.src, (source, e) => {
      const [[x0, y0], [x1, y1]] = [spot.get(source), spot.get(targets[e])];
      const bend = (x1 - x0) / 2;
      return svg("path", { class: "link", d: `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}` });
    });
    this.circles = Array.from(spot, ([node, [x, y]]) => [node, svg("circle", { class: "node", cx: x, cy: y, r: radius })]);
    const label = (x, y, text, anchor) => svg("text", { x, y, "text-anchor": anchor }, text);
    const texts = Array.from(spot).flatMap(([node, [x, y]]) => {
      const [k, output] = [node - net.inputs - 1, node - net.inputs - 1 - net.act.length + net.outputs];
      return [
        k < 0 && names.inputs.length && label(x - radius - 5, y + 4, node ? names.inputs[node - 1] : "bias", "end"),
        output >= 0 && names.outputs.length && label(x + radius + 5, y + 4, names.outputs[output], "start"),
        k >= 0 && most <= 12 && across > 36 && label(x, y - radius - 4, shortNames[net.act[k] - 1], "middle"),
      ].filter(Boolean);
    });
    const says = `A network of ${net.src.length} connections and ${net.act.length - net.outputs} hidden nodes.`;
    const picture = svg("svg", { role: "img", "aria-label": says, width: this.width, height, viewBox: `0 0 ${this.width} ${height}` });
    picture.append(...this.edges, ...this.circles.map(([, circle]) => circle), ...texts);
    this.root.replaceChildren(picture);
  }

  // Lights nodes and connections: blue above 0, orange below, the stronger the farther from 0.
  light(values) {
    const share = (value) => Math.min(1, Math.abs(value)) || 0;
    for (const [node, circle] of this.circles) {
      const part = (100 * share(values[node])).toFixed(0);
      circle.style.fill = `color-mix(in srgb, var(${values[node] < 0 ? "--against" : "--for"}) ${part}%, var(--card))`;
    }
    this.net.src.forEach((source, e) => (this.edges[e].style.strokeOpacity = (0.15 + 0.75 * share(values[source])).toFixed(2)));
  }
}
