// From a drawing or a picture to the input pixels of a network, each from 0 to 1.

// Covers every target pixel with its share of the source: `left` and `top` are where the source's corner comes to lie
// among the target's pixels, `scale` is how many of those a pixel of the source is wide.
function averaged(plane, width, height, columns, rows, scaleX, scaleY, left, top) {
  const along = (cells, size, scale, shift) =>
    Array.from({ length: cells }, (_, cell) => {
      const [from, to] = [(cell - shift) / scale, (cell + 1 - shift) / scale];
      const parts = [];
      for (let i = Math.max(0, Math.floor(from)); i < Math.min(size, to); i++) {
        parts.push([i, (Math.min(to, i + 1) - Math.max(from, i)) * scale]);
      }
      return parts;
    });
  const [across, down] = [along(columns, width, scaleX, left), along(rows, height, scaleY, top)];
  const out = new Float32Array(rows * columns);
  down.forEach((lines, y) =>
    across.forEach((cells, x) => {
      let sum = 0;
      for (const [i, share] of lines) for (const [j, part] of cells) sum += share * part * plane[i * width + j];
      out[y * columns + x] = Math.min(1, sum);
    })
  );
  return out;
}

// White ink on black, as a data set of drawings has it: cut out, scaled into a box and centred; null if there is none.
function fitted(ink, size, columns, rows, fit) {
  let [x0, y0, x1, y1, mass, massX, massY] = [size, size, -1, -1, 0, 0, 0];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const value = ink[y * size + x];
      mass += value;
      massX += value * (x + 0.5);
      massY += value * (y + 0.5);
      if (value < 0.2) continue;
      [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)];
    }
  }
  if (x1 < 0) return null;
  if (fit?.widest) return framed(ink, size, [x0, y0, x1 + 1, y1 + 1], columns, rows, fit);
  const longest = Math.max(x1 + 1 - x0, y1 + 1 - y0, 0.3 * size); // a dot stays a dot
  const scale = (fit ? fit.box : Math.min(columns, rows)) / longest;
  const byMass = fit && fit.by === "mass";
  const [centreX, centreY] = byMass ? [massX / mass, massY / mass] : [(x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2];
  const [left, top] = [columns / 2 - centreX * scale, rows / 2 - centreY * scale];
  return averaged(ink, size, size, columns, rows, scale, scale, left, top);
}

// As the digits of 8 × 8 pixels were made: as tall as the frame, at most so wide, and with strokes so thick that the
// picture is as bright as theirs are on average.
function framed(ink, size, [x0, y0, x1, y1], columns, rows, { widest, mean }) {
  const [wide, tall, fine] = [columns * 16, rows * 16, 1 / 16];
  const scaleY = tall / Math.max(y1 - y0, 0.3 * size); // a dot stays a dot
  const scaleX = Math.min(scaleY, (widest * wide) / (x1 - x0));
  const [left, top] = [(wide - (x0 + x1) * scaleX) / 2, (tall - (y0 + y1) * scaleY) / 2];
  let plane = averaged(ink, size, size, wide, tall, scaleX, scaleY, left, top);
  for (let round = 0; round < 20 && plane.reduce((sum, value) => sum + value, 0) < mean * wide * tall; round++) {
    plane = plane.map((_, i) => {
      let most = 0;
      for (let y = Math.max(0, Math.floor(i / wide) - 1); y < Math.min(tall, Math.floor(i / wide) + 2); y++) {
        for (let x = Math.max(0, (i % wide) - 1); x < Math.min(wide, (i % wide) + 2); x++) {
          most = Math.max(most, plane[y * wide + x]);
        }
      }
      return most;
    });
  }
  return averaged(plane, wide, tall, columns, rows, fine, fine, 0, 0);
}

// The planes of a canvas, 0 to 1: its three colours, or one grey.
function planesOf(canvas, channels) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const pixels = canvas.width * canvas.height;
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: pixels }, (_, i) => {
      const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
      return (channels === 3 ? data[4 * i + c] : r === g && g === b ? r : 0.299 * r + 0.587 * g + 0.114 * b) / 255;
    })
  );
}

function blank(width, height, colour) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = colour;
  context.fillRect(0, 0, width, height);
  return canvas;
}

// A picture's own pixels if it has the network's size, otherwise cropped in the middle and scaled.
function cropped(image, channels, rows, columns) {
  const shrink = Math.min(1, 1024 / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * shrink)));
  const canvas = blank(width, height, "#fff");
  canvas.getContext("2d").drawImage(image, 0, 0, width, height);
  const scale = Math.max(columns / width, rows / height);
  const [left, top] = [(columns - width * scale) / 2, (rows - height * scale) / 2];
  const out = new Float32Array(channels * rows * columns);
  planesOf(canvas, channels).forEach((plane, c) =>
    out.set(averaged(plane, width, height, columns, rows, scale, scale, left, top), c * rows * columns)
  );
  return out;
}

// A picture on the board for drawings: as large as it fits, ink white on black, inverted if necessary.
function putOnBoard(image, board) {
  const scale = Math.min(board.width / image.width, board.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  const canvas = blank(Math.max(1, Math.round(width)), Math.max(1, Math.round(height)), "#fff");
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const [grey] = planesOf(canvas, 1);
  const edge = Array.from(grey).filter((_, i) => {
    const [x, y] = [i % canvas.width, Math.floor(i / canvas.width)];
    return !x || !y || x === canvas.width - 1 || y === canvas.height - 1;
  });
  const paper = edge.reduce((sum, value) => sum + value, 0) / edge.length > 0.5;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grey.forEach((value, i) => {
    const ink = Math.round(255 * (paper ? 1 - value : value));
    pixels.data.set([ink, ink, ink, 255], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  const on = board.getContext("2d");
  on.fillStyle = "#000";
  on.fillRect(0, 0, board.width, board.height);
  on.drawImage(canvas, (board.width - canvas.width) / 2, (board.height - canvas.height) / 2);
}

// Draws pixels from 0 to 1 on a canvas of the same size.
function show(canvas, pixels, [channels, rows, columns]) {
  [canvas.width, canvas.height] = [columns, rows];
  const plane = rows * columns;
  const image = canvas.getContext("2d").createImageData(columns, rows);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round(255 * pixels[(channels === 3 ? c : 0) * plane + i]);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
