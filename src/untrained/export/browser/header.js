// What the header of a ticket may say. Rules are functions of a field's value, which is undefined where it is missing.

const oneOf = (...words) => (value) => words.includes(value);
const isA = (kinds) => (value) => kinds.split(" ").includes(kindOf(value));
const float = (low, high = Infinity) => (value) => typeof value === "number" && low <= value && value <= high;
const integer = (low, high = Infinity) => (value) => typeof value === "bigint" && low <= value && value <= high;
const maybe = (rule) => (value) => value === undefined || rule(value);
const keep = (value) => float(0, 1)(value) && value > 0;

const headerRules = {
  format: integer(1, 1),
  seed: integer(0, 2n ** 64n - 1n),
  weights: isA("object null"),
  methods: isA("list"),
  tensors: isA("object"),
  network: isA("object null"),
  meta: isA("object"),
  producer: isA("string"),
  sha256: isA("string"),
  weights_sha256: isA("string"),
  sample_sha256: isA("string"),
};
const networkRules = { name: isA("string"), arguments: isA("object") };

const scaled = isA("boolean");
const xavier = { nonlinearity: (value) => typeof value === "string" && Object.hasOwn(gains, value), scaled };
const kaiming = { ...xavier, fan: oneOf("in", "out") };
const laws = {
  SignedConstant: kaiming,
  UnsignedConstant: kaiming,
  KaimingNormal: kaiming,
  KaimingUniform: kaiming,
  XavierNormal: xavier,
  XavierUniform: xavier,
  XavierConstant: xavier,
  Standard: { scaled },
  Prototype: { ...kaiming, length: integer(1, 2 ** 31) },
};

const structures = {
  NofM: { n: integer(1), m: integer(1) },
  Block: { height: integer(1), width: integer(1) },
};
const methods = {
  EdgePopup: {
    keep,
    scope: oneOf("layer", "global", "normalised"),
    signed: isA("boolean"),
    structure: maybe(isA("object")),
  },
  RandomSubnetwork: { keep },
  Dense: {},
  GemMiner: { keep, scope: oneOf("layer", "global"), decay: float(0), drops: integer(0) },
  FedPM: { entropy: float(0) },
  RelaxedBernoulli: { gate: oneOf("concrete", "gaussian"), sparsity: float(0), width: float(1e-3) },
  Threshold: { threshold: float(0), ternary: isA("boolean"), start: maybe(float(-1e4, 1e4)) },
  SignedSupermask: { threshold: float(0) },
  Multicoated: { keep, coats: integer(1, 127), spacing: oneOf("linear", "uniform") },
  Bernoulli: { rescale: isA("boolean"), start: float(-1e4, 1e4) },
  Biprop: { keep, scope: oneOf("layer", "global") },
  SlotMachines: { values: integer(2, 127), greedy: isA("boolean") },
  IteRand: { keep, period: integer(1), rate: float(0, 1) },
  PartlyFrozen: { of: isA("object"), pruned: float(0, 1), locked: float(0, 1) },
};
// How many tensors of the weight's shape a method asks for.
const copiesOf = (method) =>
  method?.name === "SlotMachines" ? method.values : ["GemMiner", "IteRand", "PartlyFrozen"].includes(method?.name) ? 2 : 1;

const largest = { float64: Number.MAX_VALUE, float32: (2 - 2 ** -23) * 2 ** 127, float16: 65504 };
largest.bfloat16 = (2 - 2 ** -7) * 2 ** 127;
const entryRules = {
  shape: (value) => kindOf(value) === "list" && value.length <= 64 && value.every(integer(0)) && countOf(value) < 2n ** 62n,
  dtype: (value) => typeof value === "string" && Object.hasOwn(largest, value),
};
const maskedRules = {
  ...entryRules,
  method: integer(0),
  coding: oneOf("bits", "ans"),
  values: (value) => kindOf(value) === "list" && value.every((each, i) => integer(i ? value[i - 1] + 1n : -128, 127)(each)),
  counts: (value) => kindOf(value) === "list" && value.every(integer(1)),
};

// The elements of a shape; a 0 must not hide a huge number.
const countOf = (shape) => shape.reduce((total, side) => total * (side || 1n), 1n);

function checkFields(what, given, rules) {
  if (kindOf(given) !== "object") refuse(`${what} must be an object, got ${shown(given)}`);
  const unknown = Object.keys(given).find((field) => !Object.hasOwn(rules, field));
  if (unknown !== undefined) refuse(`${what} has the unknown field '${unknown.slice(0, 80)}'`);
  for (const [field, fits] of Object.entries(rules)) {
    if (fits(given[field])) continue;
    refuse(given[field] === undefined ? `${what} has no ${field}` : `${what}: ${field} cannot be ${shown(given[field])}`);
  }
}

// A law, a method or a structure of the known ones, checked, with numbers for integers.
function known(what, given, table) {
  const name = kindOf(given) === "object" ? given.name : given;
  if (typeof name !== "string" || !Object.hasOwn(table, name)) refuse(`the unknown ${what} '${shown(name)}'`);
  checkFields(`the ${what} ${name}`, given, { name: isA("string"), ...table[name] });
  const plain = Object.entries(given).map(([field, value]) => [field, typeof value === "bigint" ? Number(value) : value]);
  return Object.fromEntries(plain);
}

function checkedMethod(given) {
  const method = known("method", given, methods);
  if (method.structure) {
    const { name, n, m } = known("structure", method.structure, structures);
    if (name === "NofM" && (n > m || method.keep !== n / m)) refuse(`keep ${method.keep} is not that of its structure`);
    if (method.scope !== "layer") refuse(`a structure goes with scope 'layer', not '${method.scope}'`);
  }
  if (method.of) {
    method.of = checkedMethod(method.of);
    const own = ["IteRand", "SlotMachines", "GemMiner", "PartlyFrozen"];
    if (own.includes(method.of.name) || method.of.structure) refuse(`PartlyFrozen cannot be of ${method.of.name}`);
    if (method.pruned + method.locked >= 1) refuse("pruned and locked add up to 1 or more");
  }
  return method;
}

function checkedEntry(name, given, all, drawn) {
  const what = `'${name}'`;
  if (/\p{Surrogate}/u.test(name)) refuse("the name of a tensor is not Unicode text");
  const masked = kindOf(given) === "object" && "method" in given;
  checkFields(what, given, masked ? maskedRules : { ...entryRules, constant: maybe(isA("float")) });
  const { dtype, constant, coding, values, counts } = given;
  if (Math.abs(constant) > largest[dtype]) refuse(`${what}: the constant ${constant} is beyond ${dtype}`);
  if (masked && given.method >= all.length) refuse(`${what} is of method ${given.method} of ${all.length}`);
  if (constant === undefined && (drawn || masked) && given.shape.length < 2) refuse(`${what} has too few dimensions`);
  const entry = { shape: given.shape.map(Number), dtype, constant };
  if (!masked) return entry;
  return { ...entry, method: all[Number(given.method)], coding, values: values.map(Number), counts };
}

// Codes that are all equal take no bytes, so a file could ask for any memory.
function checkExpansion(weights, bytes) {
  if (weights > 2n ** 16n * bytes || (weights > 2n ** 32n && weights > 2n ** 10n * bytes)) {
    refuse(`it claims ${weights} weights in ${bytes} bytes`);
  }
}

// The header in `text`, checked, and the rest of it that its sha256 is of.
function readHeader(text, fileBytes) {
  const { whole, spans } = readJson(text, true);
  if (kindOf(whole) === "object" && whole.format !== 1n) {
    refuse(`its format is ${shown(whole.format)}, and this page reads format 1`);
  }
  checkFields("the header", whole, headerRules);
  if (whole.network) checkFields("the network", whole.network, networkRules);
  const head = { ...whole, weights: whole.weights && known("law", whole.weights, laws), tensors: Object.create(null) };
  head.methods = whole.methods.map(checkedMethod);
  let weights = 0n;
  for (const name of ascending(whole.tensors)) {
    const entry = checkedEntry(name, whole.tensors[name], head.methods, whole.weights !== null);
    head.tensors[name] = entry;
    weights += entry.shape.includes(0) ? 0n : countOf(whole.tensors[name].shape) * BigInt(copiesOf(entry.method));
  }
  if (!Object.values(head.tensors).some((entry) => entry.method)) refuse("it holds no codes");
  checkExpansion(weights, BigInt(fileBytes));
  const [from, to] = spans.sha256; // "seed" stands before it, and with that a comma
  return { head, rest: text.slice(0, from - 1) + text.slice(to) };
}
