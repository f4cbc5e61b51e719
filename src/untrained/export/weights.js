// Frozen weights: a pure function of the seed, the tensor's name, its shape and the law. Then what the methods make
// of them.

// ---------------------------------------------------------------- Philox4x32-10
function upperHalf(a, b) {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const cross = a1 * b0;
  const middle = a0 * b1 + ((a0 * b0) >>> 16) + (cross & 0xffff);
  return (a1 * b1 + Math.floor(cross / 2 ** 16) + Math.floor(middle / 2 ** 16)) >>> 0;
}

// The first words of a draw.
function wordsOf(seed, name, draw, count) {
  const named = new DataView(new Sha256().add(utf8(name)).digest().buffer);
  const [h0, h1] = [named.getUint32(0, true), named.getUint32(4, true)];
  const whole = BigInt(seed);
  const [key0, key1] = [Number(whole & 0xffffffffn), Number(whole >> 32n)];
  const words = new Uint32Array(Math.ceil(count / 4) * 4);
  for (let block = 0; block < words.length / 4; block++) {
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
    words[4 * block] = c0;
    words[4 * block + 1] = c1;
    words[4 * block + 2] = c2;
    words[4 * block + 3] = c3;
  }
  return words;
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

function unitsOf(kind, seed, name, draw, n) {
  const units = new Float32Array(n);
  if (kind === "one") return units.fill(1);
  const words = wordsOf(seed, name, draw, kind === "sign" ? Math.ceil(n / 32) : n);
  if (kind === "sign") for (let i = 0; i < n; i++) units[i] = (words[i >>> 5] >>> (i & 31)) & 1 ? 1 : -1;
  if (kind === "uniform") for (let i = 0; i < n; i++) units[i] = (2 * (words[i] >>> 8) + 1 - 2 ** 24) * 2 ** -24;
  if (kind === "normal") for (let i = 0; i < n; i++) units[i] = normalOf(words[i]);
  return units;
}

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

// A draw of a tensor.
function drawOf(law, seed, name, draw, shape, keep) {
  if (!(law.name in unitKinds)) refuse(`the unknown law '${law.name}'`);
  const n = product(shape);
  const scale = Math.fround(scaleOf(law, shape, keep));
  if (law.name !== "Prototype") {
    const units = unitsOf(unitKinds[law.name], seed, name, draw, n);
    for (let i = 0; i < n; i++) units[i] *= scale; // float32 again when it is stored: rounded once
    return units;
  }
  const signs = unitsOf("sign", seed, "prototype", draw, law.length);
  return Float32Array.from({ length: n }, (_, i) => signs[i % law.length] * scale);
}

// ---------------------------------------------------------------- methods
const multiplying = new Set(["Threshold", "SignedSupermask", "Multicoated"]);
const plainMethods = new Set([...multiplying, "EdgePopup", "RandomSubnetwork", "Dense", "GemMiner", "FedPM"]);
for (const name of ["RelaxedBernoulli", "Bernoulli", "Biprop"]) plainMethods.add(name);

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

// Effective weights from codes. `drawn` gives the elements of a draw by its number.
function effectiveOf(method, drawn, codes) {
  const weights = new Float32Array(codes.length);
  if (method.name === "SlotMachines" || method.name === "IteRand") {
    for (const code of new Set(codes)) {
      if (method.name === "SlotMachines" && !(code >= 1 && code <= method.values)) refuse(`a draw number ${code}`);
      if (code === 0) continue;
      const shown = drawn((code & 255) - 1);
      codes.forEach((c, i) => c === code && (weights[i] = shown[i]));
    }
    return weights;
  }
  if (!plainMethods.has(method.name)) refuse(`the unknown method '${method.name}'`);
  const own = drawn(0);
  const factor = method.name === "Bernoulli" || method.name === "Biprop" ? factorOf(method, own, codes) : 1;
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === 0) continue;
    if (method.name === "Biprop") weights[i] = factor * Math.sign(own[i]);
    else weights[i] = own[i] * (multiplying.has(method.name) ? codes[i] : factor);
  }
  return weights;
}

function partlyFrozen(method, seed, name, entry, drawn, stored) {
  const n = product(entry.shape);
  const chances = unitsOf("uniform", seed, `${name}#start`, 0, n);
  const weights = Float32Array.from(drawn(0));
  const free = [];
  chances.forEach((unit, i) => {
    const p = (unit + 1) / 2;
    if (p < method.pruned) weights[i] = 0;
    else if (!(p >= 1 - method.locked)) free.push(i);
  });
  const codes = codesOf(name, entry, free.length, stored);
  const freeOf = (whole) => Float32Array.from(free, (i) => whole[i]);
  const row = effectiveOf(method.of, (draw) => freeOf(drawn(draw)), codes);
  free.forEach((place, i) => (weights[place] = row[i]));
  return weights;
}

// ---------------------------------------------------------------- the ticket
const wholeCheckLimit = 4e6; // weights; beyond, a sample of 256 per tensor is checked

// All tensors of a ticket, by name, and what was checked.
function readTicket(bytes) {
  const { head, stored } = readFile(bytes);
  if (!head.weights) refuse("its weights are those of a pretrained model");
  const tensors = Object.create(null);
  const total = ascending(head.tensors).reduce((sum, name) => sum + product(head.tensors[name].shape), 0);
  const inFull = total <= wholeCheckLimit;
  const hash = new Sha256();
  for (const name of ascending(head.tensors)) {
    const entry = head.tensors[name];
    if (entry.dtype !== "float32") refuse(`'${name}' is ${entry.dtype}, and this page reads float32`);
    const method = "method" in entry ? head.methods[entry.method] : {};
    const { keep = 1 } = method.of || method;
    const drawn = (draw) => drawOf(head.weights, head.seed, name, draw, entry.shape, keep);
    const n = product(entry.shape);
    let weights;
    if ("constant" in entry) weights = new Float32Array(n).fill(entry.constant);
    else if (!("method" in entry)) weights = drawn(0);
    else if (method.name === "PartlyFrozen")
      weights = partlyFrozen(method, head.seed, name, entry, drawn, stored[`codes/${name}`]);
    else weights = effectiveOf(method, drawn, codesOf(name, entry, n, stored[`codes/${name}`]));
    const m = inFull ? n : Math.min(256, n);
    const part = inFull ? weights : Float32Array.from({ length: m }, (_, j) => weights[Math.floor((j * n) / m)]);
    hash.add(utf8(`\n${name}\n`)).add(new Uint8Array(part.buffer));
    tensors[name] = weights;
  }
  const [claimed, checked] = inFull ? [head.weights_sha256, "weights_sha256"] : [head.sample_sha256, "sample_sha256"];
  if (hash.hex() !== claimed) refuse(`the weights do not have the ${checked} in its header`);
  for (const [full, { dtype, data }] of Object.entries(stored)) {
    const name = full.slice("extra/".length);
    if (full.startsWith("extra/") && name in tensors) refuse(`'${name}' is both stored and drawn`);
    if (full.startsWith("extra/") && dtype === "float32") tensors[name] = new Float32Array(data.slice().buffer);
    if (full.startsWith("codes/") && !(full.slice("codes/".length) in head.tensors)) refuse(`'${full}' is not named`);
  }
  return { head, tensors, total, checked };
}
