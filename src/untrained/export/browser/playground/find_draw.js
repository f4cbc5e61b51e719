// The network as it is at this moment answers for a drawing, or for a digit of the test part.

const inputShape = [1, 8, 8];
const fit = { widest: 0.75, mean: digits.mean };
let given = null; // its pixels, from 0 to 1
let traced = 0;
let example = 0;

const programOf = (widths) => {
  const ops = digitLayers(widths).flatMap(({ name: weight, shape: [to, from] }, l) => [
    { op: "linear", name: `fc${l + 1}`, in: [2 * l], from: [from], shape: [to], weight },
    { op: "relu", name: `relu${l + 1}`, in: [2 * l + 1], from: [to], shape: [to] },
  ]);
  return { shape: inputShape, ops: ops.slice(0, -1) };
};

function forget() {
  given = null;
  at("bars").replaceChildren();
  at("diagram").replaceChildren();
  f("trace").textContent = "";
  at("verdict").textContent = "Draw on the board.";
}

function answer(pixels) {
  [given, traced] = [pixels, 0];
  answerAgain();
}

function giveTest() {
  const { images, labels } = testDigits();
  const image = images.subarray(64 * example, 64 * (example + 1));
  example = (example + 7) % labels.length;
  giveExact(image.map((value) => value * digits.std + digits.mean));
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
  setUpPen(board, clearIfUntouched, giveBoard, () => true);
  f("clear").addEventListener("click", clearBoard);
  f("test").addEventListener("click", giveTest);
  setTimeout(giveTest); // the page is there before
}
