// Frozen weights: a pure function of the seed, the tensor's name, its shape and the law. Then what the methods make
// of them.

// ---------------------------------------------------------------- Philox4x32-10
function upperHalf(a, b) {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const cross = a1 * b0;
  const middle = a0 * b1 + ((a0 * b0) >>> 16) + (cross & 0xffff);
  return (a1 * b1 + Math.floor(cross / 2 ** 16) + Math.floor(middle / 2 ** 16)) >>> 0;
}

// A function that gives word j of a draw. A block of four is made once for as long as it is asked for.
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
const unitKinds = { SignedConstant: "sign", UnsignedConstant: "one", KaimingNormal: "normal" };
Object.assign(unitKinds, { KaimingUniform: "uniform", XavierNormal: "normal", XavierUniform: "uniform" });
Object.assign(unitKinds, { XavierConstant: "sign", Standard: "uniform", Prototype: "sign" });
const gains = { relu: Math.sqrt(2), linear: 1, sigmoid: 1, tanh: 5 / 3, selu: 0.75, elu: Math.sqrt(3) };
gains.leaky_relu = Math.sqrt(2 / (1 + 0.01 * 0.01));

const product = (sides) => sides.reduce((total, side) => total * side, 1);

function scaleOf(law, shape, keep) {
  const field = product(shape.slice(2));
  const [fanIn, fanOut] = [shape[1] * field, shape[0] * field];
  const gain = gains[law.nonlinearity];
  let scale;
  if (law.name === "Standard") scale = 1 / Math.sqrt(fanIn);
  else if (law.name.startsWith("Xavier")) scale = gain * Math.sqrt(2 / (fanIn + fanOut));
  else scale = gain / Math.sqrt(law.fan === "in" ? fanIn : fanOut);
  if (law.name === "KaimingUniform" || law.name === "XavierUniform") scale = Math.sqrt(3) * scale;
  return law.scaled ? scale * Math.sqrt(1 / keep) : scale;
}

// A tensor as it is drawn; `numbers` says which draw each element is of, if not all are of draw 0.
function drawnOf(law, seed, name, shape, keep, numbers) {
  const tiled = law.name === "Prototype";
  const [unit, words] = [unitAt[unitKinds[law.name]], wordsOf(seed, tiled ? "prototype" : name)];
  const weights = new Float32Array(product(shape));
  const scale = Math.fround(scaleOf(law, shape, keep));
  for (let i = 0; i < weights.length; i++) {
    // The product of two float32 is exact, and is rounded once when it is stored.
    weights[i] = unit(words, numbers ? numbers[i] : 0, tiled ? i % law.length : i) * scale;
  }
  return weights;
}

// ---------------------------------------------------------------- methods
const multiplying = new Set(["Threshold", "SignedSupermask", "Multicoated"]);

function nearestEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 ? below + 1 : below;
}

// The factor that a method multiplies what it keeps with; for Biprop the one magnitude that all have.
function factorOf(method, drawn, codes) {
  const used = Math.max(1, codes.reduce((sum, code) => sum + (code !== 0), 0));
  if (method.name === "Bernoulli") return method.rescale ? Math.fround(codes.length / used) : 1;
  let most = 0;
  codes.forEach((code, i) => code !== 0 && (most = Math.max(most, Math.abs(drawn[i]))));
  most = most || 1;
  let sum = 0;
  codes.forEach((code, i) => {
    if (code !== 0) sum += nearestEven(Math.fround(Math.fround(Math.abs(drawn[i]) / most) * 2 ** 22));
  });
  return Math.fround((most * 2 ** -22 * sum) / used);
}

// Which draw each element shows, for methods that have several of them.
function numbersOf(name, method, codes) {
  if (method.name === "IteRand") return Uint8Array.from(codes, (code) => (code ? (code & 255) - 1 : 0));
  if (method.name !== "SlotMachines") return null;
  const wrong = codes.find((code) => code < 1 || code > method.values);
  if (wrong !== undefined) refuse(`'${name}' has the code ${wrong}, expected 1 to ${method.values}`);
  return Uint8Array.from(codes, (code) => code - 1);
}

// Effective weights from what is drawn and codes.
function effectiveOf(method, drawn, codes) {
  const weights = new Float32Array(codes.length);
  const factor = method.name === "Bernoulli" || method.name === "Biprop" ? factorOf(method, drawn, codes) : 1;
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === 0) continue;
    if (method.name === "Biprop") weights[i] = factor * Math.sign(drawn[i]);
    else weights[i] = drawn[i] * (multiplying.has(method.name) ? codes[i] : factor);
  }
  return weights;
}

function partlyFrozen(method, seed, name, entry, drawn, stored) {
  const words = wordsOf(seed, `${name}#start`);
  const weights = Float32Array.from(drawn);
  const free = [];
  for (let i = 0; i < weights.length; i++) {
    const p = (uniformOf(words(0, i)) + 1) / 2;
    if (p < method.pruned) weights[i] = 0;
    else if (!(p >= 1 - method.locked)) free.push(i);
  }
  const codes = codesOf(name, entry, free.length, stored);
  const row = effectiveOf(method.of, Float32Array.from(free, (i) => drawn[i]), codes);
  free.forEach((place, i) => (weights[place] = row[i]));
  return weights;
}

// ---------------------------------------------------------------- the ticket
const wholeCheckLimit = 4e6; // weights; beyond, a sample of 256 per tensor is checked

function weightsOf(head, name, stored) {
  const { shape, dtype, constant, method, ...entry } = head.tensors[name];
  if (dtype !== "float32") unsupported(`'${name}' is ${dtype}, expected float32`);
  const count = product(shape);
  if (constant !== undefined) return new Float32Array(count).fill(constant);
  const { keep = 1 } = method?.of ?? method ?? {};
  const drawn = (numbers) => drawnOf(head.weights, head.seed, name, shape, keep, numbers);
  if (!method) return drawn(null);
  const data = stored[`codes/${name}`];
  if (method.name === "PartlyFrozen") return partlyFrozen(method, head.seed, name, entry, drawn(null), data);
  const codes = codesOf(name, entry, count, data);
  return effectiveOf(method, drawn(numbersOf(name, method, codes)), codes);
}

// All tensors of a ticket, by name, and what was checked.
function readTicket(bytes) {
  try {
    return readWhole(bytes);
  } catch (error) {
    if (error instanceof RangeError) unsupported("it asks for more memory than the browser gives");
    throw error;
  }
}

function readWhole(bytes) {
  const { text, stored } = readFile(bytes);
  const { head, rest } = readHeader(text, bytes.length);
  checkHash(head, rest, stored);
  checkStored(stored, head.tensors);
  if (!head.weights) unsupported("its weights are those of a pretrained model");
  const tensors = Object.create(null);
  const names = ascending(head.tensors);
  const total = names.reduce((sum, name) => sum + product(head.tensors[name].shape), 0);
  const inFull = total <= wholeCheckLimit;
  const [full, sample] = [new Sha256(), new Sha256()];
  for (const name of names) {
    const weights = weightsOf(head, name, stored);
    const m = Math.min(256, weights.length);
    const part = Float32Array.from({ length: m }, (_, j) => weights[Math.floor((j * weights.length) / m)]);
    sample.add(utf8(`\n${name}\n`)).add(new Uint8Array(part.buffer));
    if (inFull) full.add(utf8(`\n${name}\n`)).add(new Uint8Array(weights.buffer));
    tensors[name] = weights;
  }
  const wrong = sample.hex() !== head.sample_sha256 ? "sample_sha256" : inFull && full.hex() !== head.weights_sha256 ? "weights_sha256" : "";
  if (wrong) refuse(`the weights do not have the ${wrong} in its header`);
  for (const [name, { dtype, data }] of Object.entries(stored)) {
    const extra = name.startsWith("extra/") && dtype === "float32";
    if (extra) tensors[name.slice("extra/".length)] = new Float32Array(data.slice().buffer);
  }
  return { head, tensors, total, checked: inFull ? "weights_sha256" : "sample_sha256" };
}
