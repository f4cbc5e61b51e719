// The tab in which a subnetwork is found: its controls, and what its Worker shows.

const f = (name) => at(`find-${name}`);
const keeps = [
  0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1,
];
const rates = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10, 30];
// Found, random subnetwork, trained twin.
const curves = [{ colour: "for", thick: 3 }, { colour: "quiet" }, { colour: "against" }];
const epochs = (span) => `${span.toFixed(span < 10 ? 1 : 0)} epochs`;
const inPercent = (share) => `${+(100 * share).toPrecision(2)} %`;
const layerNames = ["first hidden layer", "second hidden layer", "last layer"];
const lawNamed = (name) => ({ name, fan: "in", nonlinearity: "relu", scaled: false });
const firstSettings = {
  seed: 0n, widths: [300, 100], keep: 0.5, law: lawNamed("SignedConstant"), signed: false, scope: "layer", rate: 2,
};
let settings = firstSettings;
let plays = false;
let last = null; // the last frame
let weights = null; // as drawn
let past = { accuracy: [], flips: [] };
const edges = new EdgePicture(f("edges"), selectEdge);
const finder = createWorker("startFind()");

// ---------------------------------------------------------------- controls
const nearest = (list, value) => list.indexOf(list.toSorted((a, b) => Math.abs(a - value) - Math.abs(b - value))[0]);
const isListed = (law) => Object.entries(lawNamed(law.name)).every(([field, value]) => law[field] === value)
  && [...f("law").options].some((option) => option.value === law.name);
const rateOf = (signed) => (signed ? recipes.scores.signedRate : recipes.scores.rate);
const listed = (field, list, text) => ({
  read: () => nearest(list, settings[field]),
  write: (value) => ({ [field]: list[value] }),
  text,
});
const widthOf = (layer) => ({
  read: () => settings.widths[layer] / 8 - 1,
  write: (value) => ({ widths: settings.widths.with(layer, 8 * value + 8) }),
  text: () => settings.widths[layer],
});
// Of each control: its value by the settings, the settings by its value, and what a slider shows.
const controls = {
  keep: listed("keep", keeps, () => `${+(100 * settings.keep).toFixed(3)} %`),
  rate: listed("rate", rates, () => settings.rate),
  wide: widthOf(0),
  deep: widthOf(1),
  law: {
    read: () => (isListed(settings.law) ? settings.law.name : "own"),
    write: (value) => ({ law: value === "own" ? settings.law : lawNamed(value) }),
  },
  signed: {
    read: () => String(settings.signed),
    write: (value) => {
      const [signed, usual] = [value === "true", settings.rate === rateOf(settings.signed)];
      return { signed, rate: usual ? rateOf(signed) : settings.rate };
    },
  },
  scope: { read: () => settings.scope, write: (scope) => ({ scope }) },
};

function showControls() {
  f("own").hidden = isListed(settings.law);
  for (const [name, { read, text }] of Object.entries(controls)) {
    f(name).value = read();
    if (!text) continue;
    f(name).setAttribute("aria-valuetext", text());
    f(`${name}-shown`).textContent = text();
  }
  f("seed").value = settings.seed;
  f("play").textContent = plays ? "Pause" : "Play";
}

// What the Worker answers; what it refuses is said on the page.
const tell = (kind, given = {}) => ask(finder, kind, given).catch(({ message }) => fail(message));

function fail(why) {
  plays = false;
  showControls();
  f("said").textContent = `${why[0].toUpperCase()}${why.slice(1)}.`.replace("..", ".");
}

// To the next "step", to the next "epoch", "play" on, or "rest".
function go(to) {
  plays = to === "play";
  tell("go", { to });
  showControls();
}

let [busy, wanted] = [false, null]; // whether the Worker is at a change, and the change that comes after it

// Takes other settings. Another seed or other widths begin anew, as `anew` does; anything else goes on from the scores
// as they are, or from those of `masks`.
async function change(given, more = {}) {
  settings = { ...settings, ...given };
  wanted = { ...wanted, ...more, settings, to: plays ? "play" : "rest" };
  showControls();
  if (busy) return;
  busy = true;
  while (wanted) {
    const next = wanted;
    wanted = null;
    await tell("set", next);
  }
  busy = false;
}

function setUpControls() {
  for (const [name, { write }] of Object.entries(controls)) {
    f(name).addEventListener("input", () => change(write(f(name).value)));
  }
  f("seed").addEventListener("change", () => {
    const text = f("seed").value.trim();
    if (/^\d{1,20}$/.test(text) && BigInt(text) < 1n << 64n) return change({ seed: BigInt(text) });
    f("said").textContent = "A seed is a whole number from 0 to 18446744073709551615.";
    return showControls();
  });
  const pressed = {
    play: () => go(plays ? "rest" : "play"),
    again: () => change({ seed: BigInt(Math.floor(Math.random() * 2 ** 48)) }),
    step: () => go("step"),
    epoch: () => go("epoch"),
    previous: () => selectEdge(edges.step(-1)),
    next: () => selectEdge(edges.step(1)),
  };
  for (const [name, does] of Object.entries(pressed)) f(name).addEventListener("click", does);
}

// ---------------------------------------------------------------- frames
function take(frame) {
  last = frame;
  if (frame.whole) {
    weights = frame.weights;
    const sizes = [64, ...frame.settings.widths, 10];
    if (frame.step === 0 || !edges.sizes) past = { accuracy: [], flips: [] };
    if (String(edges.sizes) !== String(sizes)) edges.layOut(sizes);
    f("sample").textContent = `Shown are all kept edges between ${edges.neurons.map((each) => each.length).join(", ")} evenly chosen neurons: a fair sample of the ${thousands(count(frame))}.`;
  }
  if (frame.over && plays) go("rest");
  sweep(frame);
  record(frame);
  showFrame();
}

const count = (frame) => frame.effective.reduce((sum, each) => sum + each.length, 0);

function record({ step, stepsPerEpoch, validation, flips }) {
  past.accuracy.push([step / stepsPerEpoch, ...validation]);
  flips.forEach((share, i) => past.flips.push([(step - flips.length + 1 + i) / stepsPerEpoch, share]));
}

function showFrame() {
  if (!last || at("find").hidden) return;
  const { step, stepsPerEpoch, validation, test, histograms, effective, kept, over, edge } = last;
  readColours(f("right"));
  const rows = f("right").parentElement.querySelectorAll("tbody tr");
  [0, 2, 1].forEach((network, row) => {
    [validation, test].forEach((shares, i) => (rows[row].cells[i + 1].textContent = shares ? percent(shares[network]) : "–"));
  });
  const state = over ? "The course of 30 epochs is over: play begins another from here." : plays ? "Searching." : "Paused.";
  f("said").textContent = state;
  const lines = curves.map((looks, i) => ({ ...looks, points: past.accuracy.map((row) => [row[0], row[i + 1]]) }));
  drawLines(f("accuracy"), lines, 1, inPercent, epochs);
  f("accuracy").setAttribute("aria-label", `Validation accuracy after ${(step / stepsPerEpoch).toFixed(1)} epochs: found ${percent(validation[0])}, twin ${percent(validation[2])}, random ${percent(validation[1])}`);
  const most = past.flips.slice(1).reduce((highest, [, share]) => Math.max(highest, share), 0.001);
  drawLines(f("flips"), [{ ...curves[0], points: past.flips }], most, inPercent, epochs);
  histograms.forEach((each, l) => {
    drawHistogram(f(`histogram-${l}`), each);
    const [here, all] = [kept[l], effective[l].length];
    f(`kept-${l}`).textContent = `${thousands(here)} of ${thousands(all)} kept`;
  });
  drawFilters(f("filters"), weights[0], effective[0], last.settings.widths[0]);
  edges.update(effective, weights);
  f("edges").setAttribute("aria-label", `A sample of the network: ${edges.edges.filter((each) => each.on).length} of ${edges.edges.length} edges are kept`);
  if (edge) showEdge(edge);
  answerAgain();
}

// ---------------------------------------------------------------- one edge
function selectEdge(edge) {
  edges.selected = edge;
  tell("watch", { watched: edge && { layer: edge.layer, to: edge.to, from: edge.from } });
  if (edge) f("edge").setAttribute("aria-live", plays ? "off" : "polite");
}

const short = (x) => (x === 0 ? "0" : x.toPrecision(3).replace("-", "−"));

function showEdge({ layer, to, from, s, w, sign, gradient, v, velocity, rate, next, n, slope, z, kept }) {
  if (edges.selected?.layer !== layer || edges.selected.to !== to || edges.selected.from !== from) return;
  const start = layer === 0 ? `pixel ${(from % 8) + 1} of row ${Math.floor(from / 8) + 1}` : `neuron ${from + 1} of the ${layerNames[layer - 1]}`;
  const end = layer === 2 ? `digit ${to}` : `neuron ${to + 1} of the ${layerNames[layer]}`;
  const factor = last.settings.signed ? "" : `${short(sign)} · `;
  const lines = [
    element("p", { textContent: `From ${start} to ${end}: ${kept ? "kept" : "dropped"} now. The next step moves its score by` }),
    element("p", { className: "equation", textContent: "s ← s − α · (∂L/∂I_v) · w · Z_u" }),
    element("p", { className: "equation", textContent: `${short(next)} ← ${short(s)} − ${short(rate)} · ${short(velocity)}` }),
    element("p", { className: "note", textContent: `w = ${short(w)}. Of the ${n} images of the step one says most: its ∂L/∂I_v is ${short(slope)}, its Z_u ${short(z)}. The mean of all products is ${short(gradient)}.` }),
    element("p", { className: "note", textContent: `With momentum, ${short(velocity)} = 0.9 · ${short(v)} + ${factor}${short(w)} · ${short(gradient)}.${last.settings.signed ? "" : " The sign is that of s: |s| counts."}` }),
  ];
  f("edge").replaceChildren(...lines);
}

// ---------------------------------------------------------------- start
function setUpFind() {
  finder.addEventListener("message", ({ data }) => take(data));
  finder.addEventListener("error", ({ message }) => fail(message.replace("Uncaught RangeError: ", "")));
  tell("start", { digits, settings });
  setUpControls();
  setUpDrawing();
  setUpExperiments();
  showControls();
  watchLooks(f("filters"), showFrame);
  let played = !matchMedia("(prefers-reduced-motion: reduce)").matches; // who asked for less motion starts it by hand
  watchTab("find", (shown) => {
    if (!shown) played = plays;
    if (shown !== plays && (!shown || played)) go(shown ? "play" : "rest");
    if (shown) showFrame();
  });
  setUpHome();
  window.untrained.find = { last: () => last }; // for tests
}
