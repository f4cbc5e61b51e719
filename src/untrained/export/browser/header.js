// Rules for the header of a ticket: functions of a field's value, which is undefined where it is missing.

const oneOf = (...words) => (value) => words.includes(value);
const isA = (kinds) => (value) => kinds.split(" ").includes(kindOf(value));
const float = (low, high = Infinity) => (value) => typeof value === "number" && low <= value && value <= high;
const integer = (low, high = Infinity) => (value) => typeof value === "bigint" && low <= value && value <= high;
const maybe = (rule) => (value) => value === undefined || rule(value);

const headerRules = {
  seed: integer(0, 2n ** 64n - 1n),
  weights: isA("object null"),
  methods: isA("list"),
  tensors: isA("object"),
  network: isA("object null"),
  meta: isA("object"),
  producer: isA("string"),
};
const headerRules1 = {
  ...headerRules,
  format: integer(1, 1),
  sha256: isA("string"),
  weights_sha256: isA("string"),
  sample_sha256: isA("string"),
};
const networkRules = { name: isA("string"), arguments: isA("object") };

const structures = {
  NofM: { fields: { n: integer(1), m: integer(1) } },
  Block: { fields: { height: integer(1), width: integer(1) } },
};
// The number of tensors of the weight's shape that a method draws.
const tensorsOf = (method) => (method && methods[method.name].planes?.(method)) ?? 1;

const largest = { float64: Number.MAX_VALUE, float32: (2 - 2 ** -23) * 2 ** 127, float16: 65504 };
largest.bfloat16 = (2 - 2 ** -7) * 2 ** 127;
const entryRules = {
  shape: (value) => kindOf(value) === "list" && value.length <= 64 && value.every(integer(0)) && countOf(value) < 2n ** 62n,
  dtype: (value) => typeof value === "string" && Object.hasOwn(largest, value),
};
const maskedRules = { ...entryRules, method: integer(0) };
const maskedRules1 = {
  ...maskedRules,
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

// A law, a method or a structure of a table, checked, with numbers for integers. One without rules has any fields.
function known(what, given, table) {
  const name = kindOf(given) === "object" ? given.name : given;
  if (typeof name !== "string" || !Object.hasOwn(table, name)) refuse(`the unknown ${what} '${shown(name)}'`);
  const { fields, check } = table[name];
  if (fields) checkFields(`the ${what} ${name}`, given, { name: isA("string"), ...fields });
  const plain = Object.entries(given).map(([field, value]) => [field, typeof value === "bigint" ? Number(value) : value]);
  const read = Object.fromEntries(plain);
  check?.(read);
  return read;
}
const knownMethod = (given) => known("method", given, methods);

function checkStructure(method) {
  if (!method.structure) return;
  const { name, n, m } = known("structure", method.structure, structures);
  if (name === "NofM" && (n > m || method.keep !== n / m)) refuse(`keep ${method.keep} is not that of its structure`);
  if (method.scope !== "layer") refuse(`a structure goes with scope 'layer', not '${method.scope}'`);
}

function checkPartlyFrozen(method) {
  method.of = knownMethod(method.of);
  if (tensorsOf(method.of) > 1 || method.of.structure || methods[method.of.name].shaped) refuse(`PartlyFrozen cannot be of ${method.of.name}`);
  if (method.pruned + method.locked >= 1) refuse("pruned and locked add up to 1 or more");
}

function checkedEntry(name, given, all, drawn, version) {
  const what = `'${name}'`;
  if (/\p{Surrogate}/u.test(name)) refuse("the name of a tensor is not Unicode text");
  const masked = kindOf(given) === "object" && "method" in given;
  checkFields(what, given, masked ? (version === 1 ? maskedRules1 : maskedRules) : { ...entryRules, constant: maybe(isA("float")) });
  const { dtype, constant, coding, values, counts } = given;
  if (Math.abs(constant) > largest[dtype]) refuse(`${what}: the constant ${constant} is beyond ${dtype}`);
  if (masked && given.method >= all.length) refuse(`${what} is of method ${given.method} of ${all.length}`);
  if (constant === undefined && (drawn || masked) && given.shape.length < 2) refuse(`${what} has too few dimensions`);
  const entry = { shape: given.shape.map(Number), dtype, constant };
  if (!masked) return entry;
  return { ...entry, method: all[Number(given.method)], coding, values: values?.map(Number), counts };
}

// Codes that are all equal take no bytes, so a small file could need any memory.
function checkExpansion(weights, bytes) {
  if (weights > 2n ** 16n * bytes || (weights > 2n ** 32n && weights > 2n ** 10n * bytes)) {
    refuse(`it claims ${weights} weights in ${bytes} bytes`);
  }
}

// The header in `text`, checked. In format 1 also the part of it over which its sha256 is taken, in format 2 the lines
// of tensors that are stored whole.
function readHeader(text, fileBytes, version) {
  const { whole, spans } = readJson(text, true);
  if (version === 1 && kindOf(whole) === "object" && whole.format !== 1n) {
    refuse(`its format is ${shown(whole.format)}, and this page reads formats 1 and 2`);
  }
  checkFields("the header", whole, version === 1 ? headerRules1 : headerRules);
  const lines = Object.create(null);
  for (const [name, line] of version === 2 ? Object.entries(whole.tensors) : []) {
    if (kindOf(line) !== "object" || !("stored" in line)) continue;
    lines[name] = line;
    delete whole.tensors[name];
  }
  if (whole.network) checkFields("the network", whole.network, networkRules);
  const head = { ...whole, weights: whole.weights && known("law", whole.weights, laws), tensors: Object.create(null) };
  head.methods = whole.methods.map(knownMethod);
  let weights = 0n;
  for (const name of ascending(whole.tensors)) {
    const entry = checkedEntry(name, whole.tensors[name], head.methods, whole.weights !== null, version);
    head.tensors[name] = entry;
    weights += entry.shape.includes(0) ? 0n : countOf(whole.tensors[name].shape) * BigInt(tensorsOf(entry.method));
  }
  if (!Object.values(head.tensors).some((entry) => entry.method)) refuse("it holds no codes");
  checkExpansion(weights, BigInt(fileBytes));
  if (version === 2) return { head, lines };
  const [from, to] = spans.sha256; // "seed" stands before it, and with that a comma
  return { head, rest: text.slice(0, from - 1) + text.slice(to) };
}
