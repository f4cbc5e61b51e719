// The tab for weight agnostic networks: found ones at work, and the search for more.

// Digits of the test part, one after the other, and the answers of a network.
class DigitsScene {
  constructor() {
    const { images, labels } = testDigits();
    const pixels = Float64Array.from(images, (value) => value * digits.std + digits.mean);
    this.examples = Array.from(labels, (label, i) => ({ label, x: pixels.subarray(64 * i, 64 * (i + 1)) }));
    this.names = { inputs: [], outputs: digits.labels };
    this.says = "A digit of the test part, and how much speaks for each of the ten answers.";
    this.restart();
  }

  restart() {
    [this.at, this.time] = [Math.floor(Math.random() * this.examples.length), 0];
  }

  advance(seconds, net, nodes, w) {
    this.time += seconds;
    if (this.time > 1.2) this.restart();
    nodes.set(valuesOfNet(net, this.examples[this.at].x, w[0]));
  }

  draw({ on, width, height }, nodes) {
    const [{ x, label }, scores] = [this.examples[this.at], probabilitiesOf(nodes.subarray(-10))];
    const [side, best] = [Math.min(height - 40, width * 0.4) / 8, scores.indexOf(Math.max(...scores))];
    for (let i = 0; i < 64; i++) {
      on.fillStyle = `rgb(${Array(3).fill(Math.round(255 * x[i]))})`;
      on.fillRect(20 + (i % 8) * side, 20 + Math.floor(i / 8) * side, side + 0.5, side + 0.5);
    }
    on.font = "13px system-ui, sans-serif";
    scores.forEach((score, digit) => {
      const [left, top] = [8 * side + 48, 20 + digit * ((height - 40) / 10)];
      on.fillStyle = digit === best ? colours[digit === label ? "for" : "against"] : colours.quiet;
      on.fillText(digits.labels[digit], left - 14, top + 13);
      on.fillRect(left, top + 3, Math.max(1, score * (width - left - 20)), 11);
    });
  }

  // The share of right answers of the whole test part at this weight.
  facts(net, w) {
    if (net !== this.counted?.net || w !== this.counted.w) {
      const right = this.examples.filter(({ x, label }) => {
        const scores = valuesOfNet(net, x, w).subarray(-net.outputs);
        return scores.indexOf(Math.max(...scores)) === label;
      });
      this.counted = { net, w, share: right.length / this.examples.length };
    }
    return [["Right, of the test part", percent(this.counted.share)], ["Examples", thousands(this.examples.length)]];
  }
}

const scenes = { swingup: new CartScene(wannSwingUp), cartpole: new CartScene(wannCartPole), digits: new DigitsScene() };
const player = new WannPlayer(at("wann-player"));

function taskOf(net) {
  const task = { "5 1": "swingup", "4 1": "cartpole", "64 10": "digits" }[`${net.inputs} ${net.outputs}`];
  return task ?? noNetwork(`it has ${net.inputs} inputs and ${net.outputs} outputs; here are worlds for 5 and 1, 4 and 1, 64 and 10`);
}

// ---------------------------------------------------------------- found networks
const known = new Map(Object.entries(facts.networks).map(([task, text]) => [task, readNet(new TextEncoder().encode(text))]));

function showNet(name) {
  const net = known.get(name);
  at("wann-choice").value = name;
  const best = net.meta?.shared_weight;
  at("wann-about").textContent = `${net.src.length} connections, ${net.act.length - net.outputs} hidden nodes.`
    + (typeof best === "number" ? ` It does best at the weight ${best.toFixed(2).replace("-", "−")}.` : "");
  player.play(net, scenes[taskOf(net)], best);
}

async function openNet(file) {
  at("wann-said").textContent = "";
  try {
    const net = readNet(new Uint8Array(await file.slice(0, mostBytes + 1).arrayBuffer()));
    taskOf(net);
    addNet("opened", net, file.name.slice(0, 60));
  } catch (error) {
    at("wann-said").textContent = error.message;
  }
}

// Takes a network into the list, in which two places wait for one.
function addNet(name, net, words) {
  known.set(name, net);
  Object.assign(at(`wann-${name}-one`), { hidden: false, textContent: words });
  showNet(name);
}

// ---------------------------------------------------------------- evolution
let evolution = null;
let began = 0;
const evolved = new WannPlayer(at("wann-evolved"));
const workers = []; // all that were started

// The settings that stand in the form, or null where one cannot be.
function settingsOf() {
  const number = (id) => at(id).valueAsNumber;
  const weights = at("wann-weights").value.replaceAll("−", "-").split(/[\s,;]+/).filter(Boolean).map(Number);
  const fine = weights.length > 0 && weights.length <= 12 && weights.every((w) => Math.abs(w) <= 10);
  at("wann-weights").setCustomValidity(fine ? "" : "One to twelve numbers from −10 to 10, with commas between.");
  if (!at("wann-form").reportValidity()) return null;
  const [population, generations, seed] = [number("wann-population"), number("wann-generations"), BigInt(number("wann-seed"))];
  return { env: wannEnvironments[at("wann-task").value], population, generations, seed, weights };
}

function restartEvolution() {
  const settings = settingsOf();
  if (!settings) return false;
  evolution?.run(false);
  const cores = Math.min(16, navigator.hardwareConcurrency || 2);
  while (workers.length < cores) workers.push(createWorker("answerBy(playJobs)"));
  evolution = new Evolution(settings, workers.slice(0, cores), told);
  Object.assign(evolution, { scene: new CartScene(settings.env), shown: null, seed: settings.seed });
  return true;
}

function runEvolution(running) {
  if (running && !evolution && !restartEvolution()) return;
  if (running) [evolution.steps, began] = [0, performance.now()];
  evolution.generations = at("wann-generations").valueAsNumber || evolution.generations;
  evolution.run(running);
  sayState();
}

function sayState() {
  const { search, generations, running } = evolution;
  at("wann-run").textContent = running ? "Pause" : "Evolve";
  const best = search.best;
  const reward = best ? `Best: a mean reward of ${best.mean.toFixed(0)} of ${search.env.maxSteps}, with ${best.connections} connections.` : "";
  at("wann-state").textContent = `Generation ${search.generation} of ${generations}. ${reward}`;
}

function told() {
  const { search, scene, steps } = evolution;
  sayState();
  const speed = steps / (performance.now() - began) / 1000;
  at("wann-speed").textContent = `${evolution.workers.length} Workers, ${speed.toFixed(1)} million steps of the simulation in a second.`;
  if (search.best && search.best !== evolution.shown) {
    evolution.shown = search.best;
    const best = search.weights[search.best.rewards.indexOf(Math.max(...search.best.rewards))];
    const meta = { task: search.env.name, seed: evolution.seed, generations: BigInt(search.generation), validation: search.best.mean, shared_weight: best };
    at("wann-result").hidden = false;
    evolved.play({ ...search.best.net, meta }, scene, best);
  }
  drawCharts();
}

function drawCharts() {
  if (!evolution?.shown) return;
  const { search } = evolution;
  readColours(at("wann"));
  const rows = search.rows.filter((row) => row.rewards);
  const largest = Math.max(...search.weights.map(Math.abs));
  const lines = search.weights.map((w, v) => ({
    name: `w ${String(w).replace("-", "−")}`,
    colour: w < 0 ? "against" : "for",
    opacity: 0.35 + 0.65 * (Math.abs(w) / largest || 0),
    points: rows.map((row) => [row.generation, row.rewards[v]]),
  }));
  const front = search.front.map(({ connections, mean }) => [connections, mean]);
  const steps = front.flatMap(([x, y], i) => [[x, i ? front[i - 1][1] : 0], [x, y]]);
  const most = 100 * Math.ceil(Math.max(1, ...lines.flatMap(({ points }) => points.map(([, y]) => y))) / 100);
  const [written, counted] = [(y) => y.toFixed(0), (what) => (x) => `${thousands(x)} ${what}`];
  drawLines(at("wann-rewards"), lines, most, written, counted("generations"));
  drawLines(at("wann-front"), [{ colour: "for", points: steps }], most, written, counted("connections"));
}

// ---------------------------------------------------------------- controls
at("wann-choice").addEventListener("change", () => showNet(at("wann-choice").value));
at("wann-save").addEventListener("click", () => saveFile("found.json", writeNet(player.net), "application/json"));
watchFile("wann", at("wann-open"), openNet);
at("wann-run").addEventListener("click", () => runEvolution(!evolution?.running));
at("wann-again").addEventListener("click", () => {
  if (restartEvolution()) runEvolution(true);
});
at("wann-keep").addEventListener("click", () => {
  addNet("evolved", evolved.net, `Evolved here: ${evolved.net.src.length} connections`);
  at("wann-choice").focus();
});
at("wann-form").addEventListener("submit", (event) => event.preventDefault());
watchTab("wann", (shown) => shown || (evolution?.running && runEvolution(false)));
watchLooks(at("wann-rewards"), drawCharts);
showNet("swingup");
window.untrained.wann = { player, evolved, openNet, saved: () => writeNet(player.net), search: () => evolution?.search };
