// The network as it is at this moment answers for a drawing, or for a digit of the test part.

const [board, seen] = [at("board"), at("seen")];
const pixelShape = [1, 8, 8];
const digitFit = { widest: 0.75, mean: digits.mean };
let given = null; // its pixels, from 0 to 1
let untouched = true; // the board holds no stroke of a pen
let traced = 0;
let example = 0;

const programOf = (widths) => {
  const ops = digitLayers(widths).flatMap(({ name: weight, shape: [to, from] }, l) => [
    { op: "linear", name: `fc${l + 1}`, in: [2 * l], from: [from], shape: [to], weight },
    { op: "relu", name: `relu${l + 1}`, in: [2 * l + 1], from: [to], shape: [to] },
  ]);
  return { shape: pixelShape, ops: ops.slice(0, -1) };
};

function clearBoard() {
  const ink = board.getContext("2d", { willReadFrequently: true });
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, board.width, board.height);
  show(seen, new Float32Array(64), pixelShape);
  [untouched, given] = [true, null];
  at("bars").replaceChildren();
  at("diagram").replaceChildren();
  f("trace").textContent = "";
  at("verdict").textContent = "Draw on the board.";
}

function giveBoard() {
  const pixels = fitted(planesOf(board, 1)[0], board.width, 8, 8, digitFit);
  if (pixels) givePixels(pixels);
}

function givePixels(pixels) {
  given = pixels;
  show(seen, pixels, pixelShape);
  traced = 0;
  answerAgain();
}

// The pixels of a test image, enlarged on the board.
function giveTest() {
  const { images, labels } = testDigits();
  const image = images.subarray(64 * example, 64 * (example + 1));
  example = (example + 7) % labels.length;
  clearBoard();
  const pixels = image.map((value) => value * digits.std + digits.mean);
  givePixels(pixels);
  const ink = board.getContext("2d", { willReadFrequently: true });
  ink.imageSmoothingEnabled = false;
  ink.drawImage(seen, 0, 0, board.width, board.height);
}

function answerAgain() {
  if (!given || !last) return;
  const program = programOf(last.settings.widths);
  const tensors = Object.fromEntries(last.effective.map((each, l) => [nameOf(l), each]));
  const values = runNetwork(program, tensors, given.map((value) => (value - digits.mean) / digits.std));
  const probabilities = probabilitiesOf(values[values.length - 1]);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const ranked = Array.from(digits.labels.keys());
  showBars(digits.labels, probabilities, best, ranked);
  at("verdict").setAttribute("aria-live", plays ? "off" : "polite"); // not ten times a second
  at("verdict").textContent = `${digits.labels[best]}, at ${percent(probabilities[best])}`;
  if (plays && performance.now() - traced < 900) return; // the picture of edges takes longer
  traced = performance.now();
  const drawn = given;
  setTimeout(() => {
    if (given !== drawn) return;
    const layers = traceBack(program, tensors, values, best);
    const trace = { layers, program, label: best, labels: digits.labels, shownLabels: ranked, url: seen.toDataURL() };
    f("trace").textContent = drawTrace(at("diagram"), trace);
  });
}

function setUpDrawing() {
  clearBoard();
  const began = () => {
    if (untouched) clearBoard();
    untouched = false;
  };
  setUpPen(board, began, giveBoard, () => true);
  f("clear").addEventListener("click", clearBoard);
  f("test").addEventListener("click", giveTest);
  setTimeout(giveTest); // the page is there before
}
