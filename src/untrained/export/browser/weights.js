// Frozen weights: a pure function of the seed, the tensor's name, its shape and the law. Then the effective
// weights of the methods.

// ---------------------------------------------------------------- Philox4x32-10
function upperHalf(a, b) {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const cross = a1 * b0;
  const middle = a0 * b1 + ((a0 * b0) >>> 16) + (cross & 0xffff);
  return (a1 * b1 + Math.floor(cross / 2 ** 16) + Math.floor(middle / 2 ** 16)) >>> 0;
}

// A function that gives word j of a draw. A block of four is computed once for successive words.
function wordsOf(seed, name) {
  const named = new DataView(new Sha256().add(utf8(name)).digest().buffer);
  const [h0, h1] = [named.getUint32(0, true), named.getUint32(4, true)];
  const [key0, key1] = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const words = new Uint32Array(4);
  let [lastDraw, lastBlock] = [-1, -1];
  return (draw, j) => {
    const block = j >>> 2;
    if (block !== lastBlock || draw !== lastDraw) {
      let [c0, c1, c2, c3, k0, k1] = [block, draw, h0, h1, key0, key1];
      for (let round = 0; round < 10; round++) {
        const next0 = upperHalf(0xcd9e8d57, c2) ^ c1 ^ k0;
        const next2 = upperHalf(0xd2511f53, c0) ^ c3 ^ k1;
        c1 = Math.imul(0xcd9e8d57, c2);
        c3 = Math.imul(0xd2511f53, c0);
        c0 = next0 >>> 0;
        c2 = next2 >>> 0;
        k0 = (k0 + 0x9e3779b9) | 0;
        k1 = (k1 + 0xbb67ae85) | 0;
      }
      [words[0], words[1], words[2], words[3]] = [c0, c1, c2, c3];
      [lastDraw, lastBlock] = [draw, block];
    }
    return words[j & 3];
  };
}

// ---------------------------------------------------------------- units
const polynomial = (coefficients, x) => coefficients.reduce((total, coefficient) => total * x + coefficient, 0);
const normalA = [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
  13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608];
const normalB = [5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
  5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1];
const normalC = [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
  1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959,
  1.42343711074968357734];
const normalD = [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
  1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.6763848301838038494, 2.05319162663775882187, 1];
const oddParts = [23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1].map((odd) => 1 / odd);

// Math.log may differ by a bit between browsers; this is made of exactly rounded operations alone.
const floatBits = new DataView(new ArrayBuffer(8));
function naturalLog(x) {
  floatBits.setFloat64(0, x);
  const high = floatBits.getUint32(0);
  let e = (high >>> 20) - 1022;
  floatBits.setUint32(0, (high & 0xfffff) | (1022 << 20));
  let m = floatBits.getFloat64(0);
  if (m < 0.7071067811865476) {
    m *= 2;
    e -= 1;
  }
  const t = (m - 1) / (m + 1);
  return 2 * t * polynomial(oddParts, t * t) + e * 0.6931471805599453;
}

function normalOf(word) {
  const q = (2 * word + 1 - 2 ** 32) * 2 ** -33;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return q * (polynomial(normalA, r) / polynomial(normalB, r));
  }
  const r = Math.sqrt(-naturalLog(0.5 - Math.abs(q))) - 1.6;
  return Math.sign(q) * (polynomial(normalC, r) / polynomial(normalD, r));
}

const uniformOf = (word) => (2 * (word >>> 8) + 1 - 2 ** 24) * 2 ** -24;
// The unit of element i in a draw.
const unitAt = {
  sign: (words, draw, i) => ((words(draw, i >>> 5) >>> (i & 31)) & 1 ? 1 : -1),
  one: () => 1,
  uniform: (words, draw, i) => uniformOf(words(draw, i)),
  normal: (words, draw, i) => Math.fround(normalOf(words(draw, i))),
};

// ---------------------------------------------------------------- laws
const gains = { relu: Math.sqrt(2), linear: 1, sigmoid: 1, tanh: 5 / 3, selu: 0.75, elu: Math.sqrt(3) };
gains.leaky_relu = Math.sqrt(2 / (1 + 0.01 * 0.01));
const scaled = isA("boolean");
const xavier = {
  fields: { nonlinearity: (value) => typeof value === "string" && Object.hasOwn(gains, value), scaled },
  scale: (law, fanIn, fanOut) => gains[law.nonlinearity] * Math.sqrt(2 / (fanIn + fanOut)),
};
const kaiming = {
  fields: { ...xavier.fields, fan: oneOf("in", "out") },
  scale: (law, fanIn, fanOut) => gains[law.nonlinearity] / Math.sqrt(law.fan === "in" ? fanIn : fanOut),
};
const uniform = ({ fields, scale }) => ({ fields, unit: "uniform", scale: (...fans) => Math.sqrt(3) * scale(...fans) });

// The exporter finds the laws and the methods that a page can read by lines that begin like these.
const laws = {};
laws.SignedConstant = { ...kaiming, unit: "sign" };
laws.UnsignedConstant = { ...kaiming, unit: "one" };
laws.KaimingNormal = { ...kaiming, unit: "normal" };
laws.KaimingUniform = uniform(kaiming);
laws.XavierNormal = { ...xavier, unit: "normal" };
laws.XavierUniform = uniform(xavier);
laws.XavierConstant = { ...xavier, unit: "sign" };
laws.Standard = { fields: { scaled }, unit: "uniform", scale: (law, fanIn) => 1 / Math.sqrt(fanIn) };
laws.Prototype = { ...kaiming, fields: { ...kaiming.fields, length: integer(1, 2 ** 31) }, unit: "sign", tiled: true };

const product = (sides) => sides.reduce((total, side) => total * side, 1);

// A drawn tensor; `numbers` gives the draw of each element, if not all are of draw 0.
function drawnOf(law, seed, name, shape, keep, numbers) {
  const { unit, scale, tiled } = laws[law.name];
  const [unitOf, words] = [unitAt[unit], wordsOf(seed, tiled ? "prototype" : name)];
  const field = product(shape.slice(2));
  const magnitude = Math.fround(scale(law, shape[1] * field, shape[0] * field) * (law.scaled ? Math.sqrt(1 / keep) : 1));
  const weights = new Float32Array(product(shape));
  for (let i = 0; i < weights.length; i++) {
    // The product of two float32 is exact, and is rounded once when it is stored.
    weights[i] = unitOf(words, numbers ? numbers[i] : 0, tiled ? i % law.length : i) * magnitude;
  }
  return weights;
}

// A function that gives 1 for an element whose unit in draw 0 is above 0, else 0.
function signsOf(law, seed, name) {
  if (!law) unsupported("its weights are those of a pretrained model");
  const { unit, tiled } = laws[law.name];
  const words = wordsOf(seed, tiled ? "prototype" : name);
  return (i) => (unitAt[unit](words, 0, tiled ? i % law.length : i) > 0 ? 1 : 0);
}

// ---------------------------------------------------------------- methods
const countUsed = (codes) => Math.max(1, codes.reduce((sum, code) => sum + (code !== 0), 0));

// The magnitude that Biprop gives all weights that it keeps.
function magnitudeOf(drawn, codes) {
  let most = 0;
  codes.forEach((code, i) => code !== 0 && (most = Math.max(most, Math.abs(drawn[i]))));
  most = most || 1;
  let sum = 0;
  codes.forEach((code, i) => {
    if (code !== 0) sum += nearestEven(Math.fround(Math.fround(Math.abs(drawn[i]) / most) * 2 ** 22));
  });
  return Math.fround((most * 2 ** -22 * sum) / countUsed(codes));
}

function nearestEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 ? below + 1 : below;
}

const mask = () => (w) => w;
const multiple = () => (w, code) => w * code;
const rescaled = ({ rescale }, drawn, codes) => {
  const factor = rescale ? Math.fround(codes.length / countUsed(codes)) : 1;
  return (w) => w * factor;
};
const binary = (method, drawn, codes) => {
  const magnitude = magnitudeOf(drawn, codes);
  return (w) => magnitude * Math.sign(w);
};

// Whole numbers of steps of 16 significant bits; sums of two float32 are rounded once when they are stored.
const nudged = ({ step, levels, around }, drawn, codes, shape) => {
  const exact = step / Math.sqrt(Math.max(1, product(shape.slice(1))));
  let unit = 1;
  while (exact < 2 ** 15 * unit) unit /= 2;
  while (exact >= 2 ** 16 * unit) unit *= 2;
  const size = nearestEven(exact / unit) * unit;
  return around === "zero" ? (w, code) => code * size : (w, code) => w + (code - levels - 1) * size;
};

// Effective weights from drawn weights and codes.
function effectiveOf(method, drawn, codes, shape) {
  const weightOf = (methods[method.name].weight ?? mask)(method, drawn, codes, shape);
  return codes.reduce((weights, code, i) => {
    if (code !== 0) weights[i] = weightOf(drawn[i], code);
    return weights;
  }, new Float32Array(codes.length));
}

function slotOf(code, { values }, name) {
  if (code < 1 || code > values) refuse(`'${name}' has the code ${code}, expected 1 to ${values}`);
  return code - 1;
}

function masked({ method, name, shape, count, draw, read }) {
  const [codes, { slot }] = [read(count), methods[method.name]];
  return effectiveOf(method, draw(slot && Uint8Array.from(codes, (code) => slot(code, method, name))), codes, shape);
}

function partlyFrozen({ method, name, seed, draw, read }) {
  const [drawn, words] = [draw(), wordsOf(seed, `${name}#start`)];
  const free = [];
  const weights = drawn.map((weight, i) => {
    const p = (uniformOf(words(0, i)) + 1) / 2;
    if (p >= method.pruned && !(p >= 1 - method.locked)) free.push(i);
    return p < method.pruned ? 0 : weight;
  });
  const row = effectiveOf(method.of, Float32Array.from(free, (i) => drawn[i]), read(free.length, free));
  free.forEach((place, i) => (weights[place] = row[i]));
  return weights;
}

// The fields of each method, and where it is no mask: `weight` makes a function of a drawn weight and its code other
// than 0 (by the shape of their tensor where it is `shaped`), `slot` gives the draw that a code shows, `planes` counts
// the tensors that it draws, `make` does it all.
const keep = (value) => float(0, 1)(value) && value > 0;
const scope = oneOf("layer", "global");
const start = float(-1e4, 1e4);
const methods = {};
methods.EdgePopup = {
  fields: { keep, scope: oneOf("layer", "global", "normalised"), signed: isA("boolean"), structure: maybe(isA("object")) },
  check: checkStructure,
};
methods.RandomSubnetwork = { fields: { keep } };
methods.Dense = { fields: {} };
methods.FedPM = { fields: { entropy: float(0) } };
methods.RelaxedBernoulli = { fields: { gate: oneOf("concrete", "gaussian"), sparsity: float(0), width: float(1e-3) } };
methods.Threshold = { fields: { threshold: float(0), ternary: isA("boolean"), start: maybe(start) }, weight: multiple };
methods.SignedSupermask = { fields: { threshold: float(0) }, weight: multiple };
methods.Multicoated = { fields: { keep, coats: integer(1, 127), spacing: oneOf("linear", "uniform") }, weight: multiple };
methods.Bernoulli = { fields: { rescale: isA("boolean"), start }, weight: rescaled };
methods.Biprop = { fields: { keep, scope }, weight: binary };
methods.Nudge = {
  fields: { step: float(1e-3, 1e3), levels: integer(1, 63), around: oneOf("weight", "zero") },
  weight: nudged,
  shaped: true,
};
methods.GemMiner = { fields: { keep, scope, decay: float(0), drops: integer(0) }, planes: () => 2 };
methods.SlotMachines = {
  fields: { values: integer(2, 127), greedy: isA("boolean") },
  planes: ({ values }) => values,
  slot: slotOf,
};
methods.IteRand = {
  fields: { keep, period: integer(1), rate: float(0, 1) },
  planes: () => 2,
  slot: (code) => (code ? (code & 255) - 1 : 0),
};
methods.PartlyFrozen = {
  fields: { of: isA("object"), pruned: float(0, 1), locked: float(0, 1) },
  check: checkPartlyFrozen,
  planes: () => 2,
  make: partlyFrozen,
};

// ---------------------------------------------------------------- the ticket
const wholeCheckLimit = 4e6; // weights; beyond, a sample of 256 per tensor is checked

// `recode` may change the codes before they are used.
function weightsOf(head, name, stored, recode = (codes) => codes) {
  const { shape, dtype, constant, method, ...entry } = head.tensors[name];
  if (dtype !== "float32") unsupported(`'${name}' is ${dtype}, expected float32`);
  const count = product(shape);
  if (constant !== undefined) return new Float32Array(count).fill(constant);
  const { keep = 1 } = method?.of ?? method ?? {};
  const draw = (numbers) => drawnOf(head.weights, head.seed, name, shape, keep, numbers);
  if (!method) return draw();
  const its = stored[`codes/${name}`];
  const read = (wanted, places) =>
    recode(its.compact ? codesInContexts(name, shape, head, its.data, wanted, places) : codesOf(name, entry, wanted, its), name);
  const { make = masked } = methods[method.name];
  return make({ method, name, seed: head.seed, shape, count, draw, read });
}

// The elements of a tensor that its sample has.
function sampleOf(weights) {
  const m = Math.min(256, weights.length);
  return Float32Array.from({ length: m }, (_, j) => weights[Math.floor((j * weights.length) / m)]);
}

// The hashes of the weights of these names: of all of them if it is `inFull`, and of a sample.
function hashesOf(tensors, names, inFull = true) {
  const [full, sample] = [new Sha256(), new Sha256()];
  for (const name of names) {
    const head = utf8(`\n${name}\n`);
    if (inFull) full.add(head).add(new Uint8Array(tensors[name].buffer));
    sample.add(head).add(new Uint8Array(sampleOf(tensors[name]).buffer));
  }
  return [full, sample];
}

// All tensors of a ticket, by name, and what was checked. `masks` names methods that are masks and may have any fields.
function readTicket(bytes, masks = []) {
  for (const name of masks) methods[name] ??= {};
  try {
    return readWhole(bytes);
  } catch (error) {
    if (error instanceof RangeError) unsupported("it asks for more memory than the browser gives");
    throw error;
  }
}

function readPlain(bytes) {
  const { text, stored } = readFile(bytes);
  const { head, rest } = readHeader(text, bytes.length, 1);
  checkHash(head, rest, stored);
  checkStored(stored, head.tensors);
  return { head, stored };
}

function readWhole(bytes) {
  const { head, stored } = isCompact(bytes) ? readCompact(bytes) : readPlain(bytes);
  if (!head.weights) unsupported("its weights are those of a pretrained model");
  const tensors = Object.create(null);
  const names = ascending(head.tensors);
  const total = names.reduce((sum, name) => sum + product(head.tensors[name].shape), 0);
  const inFull = total <= wholeCheckLimit;
  for (const name of names) tensors[name] = weightsOf(head, name, stored);
  const [full, sample] = hashesOf(tensors, names, inFull);
  const wrong = sample.hex() !== head.sample_sha256 ? "sample_sha256" : inFull && full.hex() !== head.weights_sha256 ? "weights_sha256" : "";
  if (wrong) refuse(`the weights do not have the ${wrong} in its header`);
  for (const [name, { dtype, data }] of Object.entries(stored)) {
    const extra = name.startsWith("extra/") && dtype === "float32";
    if (extra) tensors[name.slice("extra/".length)] = new Float32Array(data.slice().buffer);
  }
  return { head, stored, tensors, total, checked: inFull ? "weights_sha256" : "sample_sha256" };
}
