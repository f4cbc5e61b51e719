// Charts on canvases: lines over time, a histogram with its threshold, weights as images.

function path(on, colour, thick, points) {
  on.strokeStyle = colour;
  [on.lineWidth, on.lineJoin] = [thick, "round"];
  on.beginPath();
  points.forEach(([x, y]) => on.lineTo(x, y));
  on.stroke();
}

// `rows` of [time, values …] as lines, one for each colour; values go from 0 to `most`.
function drawLines(canvas, rows, names, most, unit) {
  const { on, width, height } = begin(canvas);
  const [left, bottom] = [46, height - 18];
  const span = Math.max(1, rows.length ? rows[rows.length - 1][0] : 1);
  const x = (time) => left + ((width - left - 4) * time) / span;
  const y = (value) => bottom - ((bottom - 8) * Math.min(value, most)) / most;
  on.fillStyle = colours.quiet;
  for (const part of [0, 0.5, 1]) {
    path(on, colours.line, 1, [[left, y(part * most)], [width, y(part * most)]]);
    on.textAlign = "right";
    on.fillText(`${+(100 * part * most).toPrecision(2)} %`, left - 6, y(part * most) + 4);
  }
  on.fillText(`${span.toFixed(span < 10 ? 1 : 0)} ${unit}`, width - 2, height - 3);
  names.forEach((name, i) => path(on, colours[name], i ? 1.8 : 3, rows.map((row) => [x(row[0]), y(row[i + 1])])));
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
  [on.textAlign] = ["left"];
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
