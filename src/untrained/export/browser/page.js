// The page: the network's input, and its answer.

const facts = JSON.parse(document.getElementById("facts").textContent);
const { program, labels, kind, fit } = facts;
const inputShape = program.shape;
const quickEnough = 40; // milliseconds for an answer while the pen still moves
let own = null; // the tensors of the page's own ticket
let used = null; // those, or those of another choice among the same weights
let lastInput = null; // pixels from 0 to 1, or plain numbers
let lastTrace = null;
let lastTook = Infinity;
let chooser = null; // gives the tensors of a choice

// ---------------------------------------------------------------- answers
function normalised(pixels) {
  if (!facts.mean) return pixels;
  const plane = pixels.length / facts.mean.length;
  return pixels.map((value, i) => {
    const c = Math.floor(i / plane);
    return (value - facts.mean[c]) / facts.std[c];
  });
}

// Answers for an input; `done`: it is final, so that it may be said aloud.
function answer(input, done = true) {
  lastInput = input;
  if (!input || !used) return;
  const started = performance.now();
  const values = runNetwork(program, used, normalised(input));
  const logits = values[values.length - 1];
  if (!logits.every(Number.isFinite)) return fail("The network gave something that is not a number.");
  const probabilities = probabilitiesOf(logits);
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  const best = order[0];
  const ranked = labels.length > mostBars ? order.slice(0, mostBars) : Array.from(labels.keys());
  showBars(labels, probabilities, best, ranked);
  at("others").hidden = labels.length <= mostBars;
  at("others").textContent = `The ${ranked.length} most probable of ${thousands(labels.length)} classes.`;
  lastTrace = { layers: traceBack(program, used, values, best), program, label: best, labels, shownLabels: ranked };
  lastTrace.url = seen?.toDataURL();
  showTrace();
  lastTook = performance.now() - started;
  if (done) say(`${labels[best]}, at ${percent(probabilities[best])}`);
  else if (at("verdict").textContent !== "…") say("…"); // the bars move on, and the answer before is old
}

function showTrace() {
  if (!lastTrace) return;
  at("waiting").hidden = true;
  at("carried").hidden = false;
  at("for").textContent = `speaks for ${labels[lastTrace.label]}`;
  at("against").textContent = `speaks against it.`;
  at("shown").textContent = drawTrace(at("diagram"), lastTrace);
}

function say(text, kind = "") {
  at("verdict").className = kind;
  at("verdict").textContent = text;
}

const fail = (text) => say(text, "wrong");

function forget() {
  lastInput = lastTrace = null;
  if (seen) at("given").textContent = "";
  at("bars").replaceChildren();
  at("others").hidden = at("carried").hidden = true;
  at("waiting").hidden = false;
  if (own) say(invitation);
}

// ---------------------------------------------------------------- pictures
const invitation = { drawing: "Draw on the board.", picture: "Choose a picture.", numbers: "Give it numbers." }[kind];

function giveExample({ label, image }) {
  at("given").textContent = `A test image: ${label}`;
  giveExact(image);
}

function take(file) {
  const [channels, rows, columns] = program.shape;
  const image = new Image();
  const url = URL.createObjectURL(file);
  image.onload = () => {
    URL.revokeObjectURL(url);
    if (kind === "picture" || (image.width === columns && image.height === rows)) {
      return giveExact(cropped(image, channels, rows, columns));
    }
    clearBoard();
    putOnBoard(image, board);
    untouched = false;
    giveBoard(true);
  };
  image.onerror = () => {
    URL.revokeObjectURL(url);
    fail("This file is not a picture that the browser can read.");
  };
  image.src = url;
}

function setUpFiles() {
  at("file").addEventListener("change", () => {
    if (at("file").files.length) take(at("file").files[0]);
    at("file").value = ""; // the same one may be chosen again
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    board.classList.add("over");
  });
  addEventListener("dragleave", () => board.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    board.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

function setUpExamples({ pixels, labels }) {
  at("examples").hidden = false;
  const [stored, size] = [bytesOf(pixels), product(program.shape)];
  labels.forEach((label, i) => {
    const image = Float32Array.from(stored.subarray(i * size, (i + 1) * size), (level) => level / 255);
    examples.push({ label, image });
    const thumb = element("canvas", {});
    show(thumb, image, program.shape);
    const button = element("button", { type: "button" }, thumb);
    button.setAttribute("aria-label", `Example: ${label}`);
    button.addEventListener("click", () => giveExample({ label, image }));
    document.querySelector(".thumbs").append(button);
  });
}

function setUpPictures() {
  const [, rows, columns] = program.shape;
  if (kind === "drawing") setUpPen(board, clearIfUntouched, giveBoard, () => lastTook <= quickEnough);
  else board.height = Math.max(1, Math.round((board.width * rows) / columns));
  setUpFiles();
  at("clear").addEventListener("click", clearBoard);
  at("pixels").textContent = `${columns} × ${rows}`;
  clearBoard();
  if (facts.examples) setUpExamples(facts.examples);
}

// ---------------------------------------------------------------- the ticket
function readOwn() {
  const bytes = bytesOf(facts.ticket);
  const read = readTicket(bytes, facts.masks);
  const { head, total, checked } = read;
  own = used = read.tensors;
  at("seed").textContent = head.seed;
  at("sha256").textContent = new Sha256().add(bytes).hex();
  const how = checked === "weights_sha256" ? `all ${thousands(total)} weights` : "a sample of the weights";
  at("checked").textContent = `Checked in this page: the hash of the ticket's contents, and the sha256 of ${how} made from the seed.`;
  at("download").href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  at("download").hidden = false;
  return chooserOf(read);
}

if (kind === "numbers") setUpNumbers();
else setUpPictures();
let widthDrawn = 0;
new ResizeObserver(([entry]) => {
  if (Math.abs(entry.contentRect.width - widthDrawn) < 1) return;
  widthDrawn = entry.contentRect.width;
  if (lastTrace && !at("carried").hidden) showTrace();
}).observe(at("why").parentElement);

// A large network takes seconds: the page is painted first.
const ready = new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))).then(() => {
  try {
    chooser = readOwn();
  } catch (error) {
    fail(error.message);
    return false;
  }
  setUpChoices();
  say(invitation);
  if (lastInput) answer(lastInput);
  else begin();
  if (lastTook <= mostToPlay) countRight();
  return true;
});

// For the console of the browser, and for tests.
const valuesOf = (image) => runNetwork(program, own, Float32Array.from(image));
window.untrained = {
  ready,
  logits: (image) => Array.from(valuesOf(image).pop()),
  read: (base64) => readTicket(bytesOf(base64), facts.masks),
  trace: (image, label) => traceBack(program, own, valuesOf(image), label),
  weights: (choice) => chooser(choice),
  input: () => lastInput && Array.from(lastInput),
};
