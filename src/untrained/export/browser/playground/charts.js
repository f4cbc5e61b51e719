// Charts on canvases: lines, a histogram with its threshold, weights as images.

// Lines of points [x, y], each perhaps with a name at its end; x begins at 0, and y goes from 0 to `most`. `written` and
// `spanned` write a value of y, and the last one of x.
function drawLines(canvas, lines, most, written, spanned) {
  const { on, width, height } = begin(canvas);
  const named = lines.filter(({ name, points }) => name && points.length);
  const [left, right, bottom] = [46, width - (named.length ? 52 : 4), height - 18];
  const span = Math.max(1, ...lines.map(({ points }) => points.at(-1)?.[0] ?? 0));
  const x = (value) => left + ((right - left) * value) / span;
  const y = (value) => bottom - ((bottom - 8) * Math.min(value, most)) / most;
  on.fillStyle = colours.quiet;
  on.textAlign = "right";
  for (const value of [0, most / 2, most]) {
    path(on, colours.line, 1, [[left, y(value)], [right, y(value)]]);
    on.fillText(written(value), left - 6, y(value) + 4);
  }
  on.fillText(spanned(span), right, height - 3);
  for (const { points, colour, thick = 1.8, opacity = 1 } of lines) {
    const every = Math.ceil(points.length / 1000);
    const drawn = points.filter((_, i) => i % every === 0 || i === points.length - 1);
    on.globalAlpha = opacity;
    path(on, colours[colour], thick, drawn.map((point) => [x(point[0]), y(point[1])]));
  }
  [on.globalAlpha, on.textAlign] = [1, "left"];
  let low = 0;
  for (const { name, points } of named.sort((a, b) => b.points.at(-1)[1] - a.points.at(-1)[1])) {
    low = Math.max(low + 14, y(points.at(-1)[1]) + 4);
    on.fillText(name, right + 6, low);
  }
}

// Bars of scores. What is kept by |s| lies right of the threshold.
function drawHistogram(canvas, { counts, from, to, place }) {
  const { on, width, height } = begin(canvas);
  const [most, bottom] = [Math.max(...counts), height - 16];
  const step = width / counts.length;
  counts.forEach((count, i) => {
    on.fillStyle = (i + 0.5) / counts.length > place ? colours.for : colours.dot;
    const tall = (bottom - 4) * Math.sqrt(count / most); // so that few show, too
    on.fillRect(i * step, bottom - tall, Math.max(1, step - 1), tall);
  });
  path(on, colours.ink, 2, [[place * width, 0], [place * width, bottom]]);
  on.fillStyle = colours.quiet;
  on.textAlign = "left";
  on.fillText(from.toPrecision(2), 0, height - 2);
  on.textAlign = "right";
  on.fillText(to.toPrecision(2), width, height - 2);
}

// Neurons of the first layer as images, twice: as drawn, and as masked.
function drawFilters(canvas, weights, effective, neurons) {
  const { on, width, height } = begin(canvas);
  const count = Math.min(neurons, Math.max(4, Math.floor(width / 66)));
  const size = Math.floor(Math.min(width / count - 6, height / 2 - 6) / 8);
  const most = weights.reduce((sum, w) => sum + Math.abs(w), 0) / weights.length || 1;
  for (let k = 0; k < count; k++) {
    const neuron = Math.floor((k * neurons) / count);
    [weights, effective].forEach((each, row) => {
      for (let i = 0; i < 64; i++) {
        const w = each[64 * neuron + i];
        on.fillStyle = w === 0 ? colours.track : w > 0 ? colours.for : colours.against;
        on.globalAlpha = w === 0 ? 1 : Math.min(1, 0.25 + (0.75 * Math.abs(w)) / most);
        on.fillRect(k * (8 * size + 6) + size * (i % 8), row * (8 * size + 8) + size * Math.floor(i / 8), size, size);
      }
    });
    on.globalAlpha = 1;
  }
}
