// edge-popup beside its two baselines: a random subnetwork of as many of the same weights, and the trained twin.
// Everything follows from the seed; a step allocates next to nothing.

const recipes = {
  scores: { rate: 2, signedRate: 4, decay: 0 }, // `rate` unless it ranks by s
  weights: { rate: 0.1, decay: 1e-4 },
  momentum: 0.9,
  warmUp: 1, // epochs
  epochs: 30, // of a course
};

const nameOf = (layer) => `fc${layer + 1}.weight`;

// U(-1/√(fan in), 1/√(fan in)): first scores, and the first weights of the twin, each from a stream of its own.
function drawUniform(seed, shapes, purpose) {
  return shapes.map((shape, l) => drawnOf({ name: "Standard", scaled: false }, seed, `${nameOf(l)}#${purpose}`, shape, 1));
}

// An order of 0 … n - 1 that the seed and the number of the epoch give (Fisher and Yates).
function shuffle(order, seed, name, draw) {
  const words = wordsOf(seed, name);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor((words(draw, i) / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
}

class Search {
  // `parts`: train, validation and test, each {images, labels}; `settings`: seed (BigInt), widths, keep, law, signed, scope, rate.
  constructor(parts, settings) {
    this.parts = parts;
    for (const part of Object.values(parts)) part.inOrder = Uint16Array.from(part.labels, (_, i) => i);
    this.order = new Uint16Array(parts.train.labels.length);
    this.stepsPerEpoch = Math.ceil(this.order.length / batchSize);
    this.restart(settings);
  }

  restart(settings) {
    const { seed, widths } = settings;
    const layers = new Layers([64, ...widths, 10]);
    const { shapes } = layers;
    const count = shapes.reduce((sum, shape) => sum + product(shape), 0);
    Object.assign(this, { layers, count, step: 0, choice: new Choice(count), lowest: shapes.map(() => 0), settings: {} });
    for (const name of ["scores", "random", "twin"]) this[name] = drawUniform(seed, shapes, name);
    this.masks = shapes.map((shape) => new Uint8Array(product(shape)));
    for (const name of ["effective", "randomEffective", "velocities", "twinVelocities"]) {
      this[name] = shapes.map((shape) => new Float32Array(product(shape)));
    }
    this.set(settings);
  }

  // Takes other settings, and begins another course from the scores as they are.
  set(settings) {
    const { seed, widths, keep, law } = settings;
    const before = this.settings;
    if (before.widths && (before.seed !== seed || String(before.widths) !== String(widths))) return this.restart(settings);
    this.settings = settings;
    const { shapes } = this.layers;
    if (String(Object.entries(before.law ?? {})) !== String(Object.entries(law)) || law.scaled) {
      this.weights = shapes.map((shape, l) => drawnOf(law, seed, nameOf(l), shape, keep));
    }
    this.random.forEach((scores, l) => this.choice.choose([scores], keep, false, [this.masks[l]]));
    this.show(this.randomEffective);
    this.choose();
    this.beginCourse();
  }

  beginCourse() {
    this.courseBegan = this.step;
    for (const each of [...this.velocities, ...this.twinVelocities]) each.fill(0);
  }

  // Epochs of this course that are over.
  get time() {
    return (this.step - this.courseBegan) / this.stepsPerEpoch;
  }

  get over() {
    return this.time >= recipes.epochs;
  }

  // The factor of the learning rate: it rises for an epoch, and then falls along half a cosine.
  get factor() {
    const { warmUp, epochs } = recipes;
    if (this.time < warmUp) return Math.min(1, (this.time + 1 / this.stepsPerEpoch) / warmUp);
    return 0.5 * (1 + Math.cos((Math.PI * (this.time - warmUp)) / (epochs - warmUp)));
  }

  // Chooses by the scores; `lowest` are the thresholds of the layers.
  choose() {
    const { keep, signed, scope } = this.settings;
    if (scope === "global") this.lowest.fill(this.choice.choose(this.scores, keep, signed, this.masks));
    else this.scores.forEach((each, l) => (this.lowest[l] = this.choice.choose([each], keep, signed, [this.masks[l]])));
    this.show(this.effective);
  }

  show(effective) {
    this.masks.forEach((mask, l) => {
      const [to, weights] = [effective[l], this.weights[l]];
      for (let i = 0; i < mask.length; i++) to[i] = mask[i] * weights[i] + 0;
    });
  }

  // The images of the coming step: [place in the order, count].
  get batch() {
    const number = this.step % this.stepsPerEpoch;
    if (number === 0) {
      this.order.set(this.parts.train.inOrder);
      shuffle(this.order, this.settings.seed, "order", this.step / this.stepsPerEpoch);
    }
    const first = number * batchSize;
    return [first, Math.min(batchSize, this.order.length - first)];
  }

  // The loss of these weights on the coming step's images, and their gradients.
  learn(weights, [first, n]) {
    const [{ layers }, { train }] = [this, this.parts];
    layers.read(train, this.order, first, n);
    layers.forward(weights, n);
    const loss = layers.loss(train, this.order, first, n);
    layers.backward(weights, n);
    return loss;
  }

  // A step of the scores and of the twin on the same images.
  advance() {
    const { batch, factor } = this;
    this.learn(this.twin, batch);
    this.moveTwin(factor * recipes.weights.rate);
    this.loss = this.learn(this.effective, batch);
    this.moveScores(factor * this.settings.rate);
    this.step++;
    this.choose();
  }

  // v ← 0.9·v + sign(s)·w·∂L/∂w,  s ← s - rate·v   (ranked by s: without the sign)
  moveScores(rate) {
    const { signed } = this.settings;
    this.scores.forEach((scores, l) => {
      const [weights, gradient, velocity] = [this.weights[l], this.layers.gradients[l], this.velocities[l]];
      const bits = new Int32Array(scores.buffer);
      for (let i = 0; i < scores.length; i++) {
        const sign = signed ? 1 : scores[i] === 0 ? 0 : (bits[i] >> 31) | 1;
        velocity[i] = recipes.momentum * velocity[i] + sign * weights[i] * gradient[i];
        scores[i] -= rate * velocity[i];
      }
    });
  }

  moveTwin(rate) {
    this.twin.forEach((weights, l) => {
      const [gradient, velocity] = [this.layers.gradients[l], this.twinVelocities[l]];
      for (let i = 0; i < weights.length; i++) {
        velocity[i] = recipes.momentum * velocity[i] + gradient[i] + recipes.weights.decay * weights[i];
        weights[i] -= rate * velocity[i];
      }
    });
  }

  accuracy(weights, part) {
    return this.layers.accuracy(weights, this.parts[part]);
  }

  // The numbers of an edge in the coming step; nothing moves.
  explain({ layer, to, from }) {
    const { batch, layers, settings, factor } = this;
    this.learn(this.effective, batch);
    const i = to * layers.shapes[layer][1] + from;
    const [s, w, gradient, v] = [this.scores, this.weights, layers.gradients, this.velocities].map((each) => each[layer][i]);
    const sign = settings.signed ? 1 : Math.sign(s);
    const [n, slopes, values] = [batch[1], layers.slopes[layer + 1], layers.values[layer]];
    const [rate, velocity] = [factor * settings.rate, recipes.momentum * v + sign * w * gradient];
    let best = 0; // the image that says most
    const term = (b) => Math.abs(slopes[to * batchSize + b] * values[from * batchSize + b]);
    for (let b = 1; b < n; b++) if (term(b) > term(best)) best = b;
    const [slope, z] = [n * slopes[to * batchSize + best], values[from * batchSize + best]];
    return { s, w, sign, gradient, v, velocity, rate, next: s - rate * velocity, n, slope, z, kept: this.masks[layer][i] === 1 };
  }

  // Puts the scores of each layer in another order: as many edges as before, chosen at random.
  scramble() {
    this.scores.forEach((scores, l) => shuffle(scores, this.settings.seed, `${nameOf(l)}#scramble`, this.step));
    this.choose();
    this.beginCourse();
  }

  // Scores whose choice are these masks, as large as first scores are.
  restore(masks) {
    const bound = 1 / 8;
    this.scores.forEach((scores, l) => {
      for (let i = 0; i < scores.length; i++) {
        const size = (bound * (Math.abs(scores[i] * Math.sqrt(this.layers.shapes[l][1])) + (masks[l][i] ? 1 : 0))) / 2;
        scores[i] = this.settings.signed && masks[l][i] ? size : Math.sign(scores[i]) * size;
      }
    });
    this.choose();
    if (String(this.masks) !== String(masks)) throw new RangeError("the mask has not as many edges as its settings say");
  }
}
