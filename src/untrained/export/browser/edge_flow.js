// The picture of the last layers and of the edges that carried a class's score.

const svgElement = (name, attributes, parent) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
};
const edgesPerLayer = 40;
const headRoom = 40; // for the names above the columns
const thousands = (n) => n.toLocaleString("en");

// The strongest edges of a layer, the strongest first: [from, to, share].
function strongest({ shares, sources }, count) {
  const found = [];
  shares.forEach((share, at) => share !== 0 && found.push(at));
  found.sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a]));
  return found.slice(0, count).map((at) => [at % sources, Math.floor(at / sources), shares[at]]);
}

// Where the neurons of a column lie: a lattice, filled downwards. Too many: those with an edge, and an even sample.
function lattice(count, wanted, x, width, height) {
  const spacing = [14, 12, 10, 8, 7, 6, 5].find((s) => Math.ceil(count / Math.floor(height / s)) * s <= width) || 5;
  const [down, across] = [Math.floor(height / spacing), Math.max(1, Math.floor(width / spacing))];
  const shown = new Set(count <= down * across ? Array(count).keys() : wanted);
  for (let i = 0; shown.size < Math.min(count, down * across) && i < count; i++) {
    shown.add(Math.floor((i * 0.6180339887 * count) % count)); // even wherever one stops
  }
  const places = new Map();
  const columns = Math.ceil(shown.size / down);
  const perColumn = Math.ceil(shown.size / columns);
  [...shown].sort((a, b) => a - b).forEach((neuron, i) => {
    const [column, row] = [Math.floor(i / perColumn), i % perColumn];
    const left = x + (width - (columns - 1) * spacing) / 2;
    const top = headRoom + (height - (Math.min(perColumn, shown.size) - 1) * spacing) / 2;
    places.set(neuron, [left + column * spacing, top + row * spacing]);
  });
  return { places, spacing };
}

// The image as a column: an edge starts at its pixel, or in the middle where channels count.
function imageColumn(svg, url, layer, [channels, rows, columns], width, height) {
  const [wide, high] = [width, (width * rows) / columns];
  const top = headRoom + (height - high) / 2;
  svgElement("image", { href: url, x: 0, y: top, width: wide, height: high, preserveAspectRatio: "none" }, svg);
  const place = (source) => {
    if (layer.sources === channels) return [wide, top + high / 2];
    const pixel = source % (rows * columns);
    return [(((pixel % columns) + 0.5) * wide) / columns, top + ((Math.floor(pixel / columns) + 0.5) * high) / rows];
  };
  return { place, from: layer.sources === channels ? wide : null };
}

// Draws the layers into `box`, and says in words what is not to be seen.
function drawTrace(box, { layers, program, label, labels, shownLabels, url }) {
  const width = Math.max(280, box.clientWidth);
  const narrow = width < 600;
  const height = narrow ? 300 : 340;
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height + headRoom + 16}`, role: "img" });
  const edges = svgElement("g", {}, svg);
  const over = svgElement("g", {}, svg);
  const picture = layers[0].source === 0 && url;
  const count = layers.length + 1;
  const last = Math.min(narrow ? 92 : 180, Math.max(36, 8 * Math.max(...shownLabels.map((l) => labels[l].length)) + 26));
  const first = picture ? Math.min(narrow ? 68 : 150, width / (count + 1)) : 0;
  const inner = picture ? count - 2 : count - 1;
  const room = (width - first - last) / Math.max(1, inner); // for each column of neurons, with the way to it
  const strong = layers.map((layer) => strongest(layer, edgesPerLayer));
  const notes = [];
  const title = (x, anchor, name, line) => {
    for (const [y, text] of [[12, name], [28, line]]) {
      const fits = Math.max(3, Math.floor((anchor === "end" ? last + 30 : Math.max(room, first)) / 7));
      const short = text.length > fits ? `${text.slice(0, fits - 1)}…` : text;
      svgElement("text", { x, y, "text-anchor": anchor }, over).textContent = short;
    }
  };

  const columns = [];
  for (let at = 0; at < count; at++) {
    const layer = layers[Math.min(at, layers.length - 1)];
    const lit = new Set();
    if (at < layers.length) strong[at].forEach(([from]) => lit.add(from));
    if (at > 0) strong[at - 1].forEach(([, to]) => lit.add(to));
    if (at === 0 && picture) {
      columns.push(imageColumn(over, url, layer, program.shape, first - 8, height));
      title(0, "start", "image", `${program.shape[2]} × ${program.shape[1]}`);
    } else if (at === count - 1) {
      const step = height / shownLabels.length;
      const spots = new Map(shownLabels.map((l, i) => [l, [width - last + 8, headRoom + (i + 0.5) * step]]));
      for (const [l, [x, y]] of spots) {
        const text = svgElement("text", { x: x + 10, y: y + 4, class: l === label ? "best" : "" }, over);
        const fits = Math.floor((last - 22) / 7);
        text.textContent = labels[l].length > fits ? `${labels[l].slice(0, Math.max(1, fits - 1))}…` : labels[l];
        const dot = svgElement("path", { d: `M${x} ${y}h0`, "stroke-width": l === label ? 9 : 6 }, over);
        dot.setAttribute("class", l === label ? "lit" : "dots");
      }
      columns.push({ place: (l) => spots.get(l) });
      title(width, "end", layer.op.name, layer.targets > spots.size ? `top ${spots.size}` : `${layer.targets}`);
    } else {
      const total = at === 0 ? layer.sources : layers[at - 1].targets;
      const name = at === 0 ? (layer.source ? program.ops[layer.source - 1].name : "input") : layers[at - 1].op.name;
      const middle = first + (picture ? at - 0.42 : at + 0.25) * room;
      const wide = Math.max(10, Math.min(0.42 * room, 130));
      const { places, spacing } = lattice(total, lit, middle - wide / 2, wide, height);
      const path = (neurons) => neurons.map((neuron) => `M${places.get(neuron).map((p) => p.toFixed(1)).join(" ")}h0`).join("");
      const size = Math.max(3, 0.5 * spacing);
      svgElement("path", { class: "dots", d: path([...places.keys()]), "stroke-width": size }, over);
      const visible = [...lit].filter((neuron) => places.has(neuron));
      svgElement("path", { class: "lit", d: path(visible), "stroke-width": size + 1 }, over);
      columns.push({ place: (neuron) => places.get(neuron) });
      title(middle, "middle", name, thousands(total));
      if (places.size < total) notes.push(`${thousands(places.size)} of the ${thousands(total)} of ${name}`);
    }
  }

  const spoken = [];
  layers.forEach((layer, at) => {
    const most = strong[at].length ? Math.abs(strong[at][0][2]) : 1;
    for (const [from, to, share] of [...strong[at]].reverse()) {
      const [start, end] = [columns[at].place(from), columns[at + 1].place(to)];
      if (!start || !end) continue;
      const [bend, part] = [(start[0] + end[0]) / 2, Math.abs(share) / most];
      const d = `M${start[0].toFixed(1)} ${start[1].toFixed(1)}C${bend.toFixed(1)} ${start[1].toFixed(1)} ${bend.toFixed(1)} ${end[1].toFixed(1)} ${end[0].toFixed(1)} ${end[1].toFixed(1)}`;
      const looks = { "stroke-width": (0.6 + 2.6 * part).toFixed(2), "stroke-opacity": (0.3 + 0.65 * part).toFixed(2) };
      // Edges from pixels lie upon the image.
      svgElement("path", { d, class: share > 0 ? "edge for" : "edge against", ...looks }, columns[at].from === null ? over : edges);
    }
    const pro = strong[at].filter(([, , share]) => share > 0).length;
    spoken.push(`${layer.op.name}: ${pro} for, ${strong[at].length - pro} against`);
  });
  svg.setAttribute("aria-label", `The strongest edges towards ${labels[label]}. ${spoken.join("; ")}.`);
  box.replaceChildren(svg);

  const said = [`The ${edgesPerLayer} strongest edges of each layer, by slope · weight · activation.`];
  said.push("Dots are neurons, or the channels of a convolution; the marked ones have such an edge.");
  if (notes.length) said.push(`Shown are ${notes.join(", ")}: all with such an edge, and an even sample of the others.`);
  if (layers[0].source !== 0) said.push(`Only the last ${layers.length === 1 ? "layer" : `${layers.length} layers`}, up to where two ways meet or it would take too long.`);
  return said.join(" ");
}
