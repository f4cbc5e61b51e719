// The picture of the last layers and of the edges that carried a class's score.

const edgesPerLayer = 40;
const headRoom = 40; // for the names above the columns
const shortened = (text, fits) => (text.length > fits ? `${text.slice(0, Math.max(1, fits - 1))}…` : text);

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

const dots = (places, kind, size, parent) => {
  const d = places.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
  parent.append(svg("path", { class: kind, d, "stroke-width": size }));
};

// The image as a column: an edge starts at its pixel, or in the middle where channels count.
function imageColumn({ over, first, height, title }, { layers, program, url }) {
  const [channels, rows, columns] = program.shape;
  const [wide, high] = [first - 8, ((first - 8) * rows) / columns];
  const top = headRoom + (height - high) / 2;
  over.append(svg("image", { href: url, x: 0, y: top, width: wide, height: high, preserveAspectRatio: "none" }));
  title(0, "start", "image", `${columns} × ${rows}`);
  if (layers[0].sources === channels) return { place: () => [wide, top + high / 2] };
  const place = (source) => {
    const pixel = source % (rows * columns);
    return [(((pixel % columns) + 0.5) * wide) / columns, top + ((Math.floor(pixel / columns) + 0.5) * high) / rows];
  };
  return { place, under: true };
}

function classColumn({ over, width, height, last, title }, { layers, label, labels, shownLabels }) {
  const step = height / shownLabels.length;
  const spots = new Map(shownLabels.map((l, i) => [l, [width - last + 8, headRoom + (i + 0.5) * step]]));
  for (const [l, [x, y]] of spots) {
    const name = shortened(labels[l], Math.floor((last - 22) / 7));
    over.append(svg("text", { x: x + 10, y: y + 4, class: l === label ? "best" : "" }, name));
    dots([[x, y]], l === label ? "lit" : "dots", l === label ? 9 : 6, over);
  }
  const { op, targets } = layers[layers.length - 1];
  title(width, "end", op.name, targets > spots.size ? `top ${spots.size}` : `${targets}`);
  return { place: (l) => spots.get(l) };
}

// Column `at` of neurons, between `layers[at - 1]` and `layers[at]`.
function neuronColumn({ over, height, first, room, picture, strong, title, notes }, { layers, program }, at) {
  const lit = new Set(strong[at].map(([from]) => from));
  if (at > 0) strong[at - 1].forEach(([, to]) => lit.add(to));
  const { source, sources } = layers[at];
  const total = at === 0 ? sources : layers[at - 1].targets;
  const name = at > 0 ? layers[at - 1].op.name : source ? program.ops[source - 1].name : "input";
  const middle = first + (picture ? at - 0.42 : at + 0.25) * room;
  const wide = Math.max(10, Math.min(0.42 * room, 130));
  const { places, spacing } = lattice(total, lit, middle - wide / 2, wide, height);
  const size = Math.max(3, 0.5 * spacing);
  dots([...places.values()], "dots", size, over);
  dots([...lit].filter((neuron) => places.has(neuron)).map((neuron) => places.get(neuron)), "lit", size + 1, over);
  title(middle, "middle", name, thousands(total));
  if (places.size < total) notes.push(`${thousands(places.size)} of the ${thousands(total)} of ${name}`);
  return { place: (neuron) => places.get(neuron) };
}

function drawEdges(strong, start, end, parent) {
  const most = strong.length ? Math.abs(strong[0][2]) : 1;
  for (const [from, to, share] of [...strong].reverse()) {
    const [tail, head] = [start.place(from), end.place(to)];
    if (!tail || !head) continue;
    const [bend, part] = [(tail[0] + head[0]) / 2, Math.abs(share) / most];
    const [x0, y0, x1, y1, x] = [...tail, ...head, bend].map((each) => each.toFixed(1));
    const looks = { "stroke-width": (0.6 + 2.6 * part).toFixed(2), "stroke-opacity": (0.3 + 0.65 * part).toFixed(2) };
    const d = `M${x0} ${y0}C${x} ${y0} ${x} ${y1} ${x1} ${y1}`;
    parent.append(svg("path", { d, class: share > 0 ? "edge for" : "edge against", ...looks }));
  }
}

// Draws the layers into `box`, and returns its caption.
function drawTrace(box, trace) {
  const { layers, label, labels, shownLabels, url } = trace;
  const width = Math.max(280, box.clientWidth);
  const narrow = width < 600;
  const height = narrow ? 300 : 340;
  const [edges, over] = [svg("g", {}), svg("g", {})];
  const whole = svg("svg", { viewBox: `0 0 ${width} ${height + headRoom + 16}`, role: "img" }, edges, over);
  const picture = layers[0].source === 0 && url;
  const count = layers.length + 1;
  const last = Math.min(narrow ? 92 : 180, Math.max(36, 8 * Math.max(...shownLabels.map((l) => labels[l].length)) + 26));
  const first = picture ? Math.min(narrow ? 68 : 150, width / (count + 1)) : 0;
  const room = (width - first - last) / Math.max(1, count - (picture ? 2 : 1)); // for a column and the way to it
  const title = (x, anchor, ...lines) => {
    const fits = Math.max(3, Math.floor((anchor === "end" ? last + 30 : Math.max(room, first)) / 7));
    lines.forEach((line, i) => {
      over.append(svg("text", { x, y: 12 + 16 * i, "text-anchor": anchor }, shortened(line, fits)));
    });
  };
  const [strong, notes] = [layers.map((layer) => strongest(layer, edgesPerLayer)), []];
  const frame = { over, width, height, first, last, room, picture, strong, title, notes };
  const columns = Array.from({ length: count }, (_, at) => {
    if (at === count - 1) return classColumn(frame, trace);
    return at === 0 && picture ? imageColumn(frame, trace) : neuronColumn(frame, trace, at);
  });
  // Edges from pixels lie upon the image.
  strong.forEach((each, at) => drawEdges(each, columns[at], columns[at + 1], columns[at].under ? over : edges));
  box.replaceChildren(whole);

  const spoken = layers.map(({ op }, at) => {
    const pro = strong[at].filter(([, , share]) => share > 0).length;
    return `${op.name}: ${pro} for, ${strong[at].length - pro} against`;
  });
  whole.setAttribute("aria-label", `The strongest edges towards ${labels[label]}. ${spoken.join("; ")}.`);
  const said = [`The ${edgesPerLayer} strongest edges of each layer, by slope · weight · activation.`];
  said.push("Dots are neurons, or the channels of a convolution; the marked ones have such an edge.");
  if (notes.length) said.push(`Shown are ${notes.join(", ")}: all with such an edge, and an even sample of the others.`);
  if (layers[0].source !== 0) said.push(`Only the last ${layers.length === 1 ? "layer" : `${layers.length} layers`}, up to where two ways meet or it would take too long.`);
  return said.join(" ");
}
