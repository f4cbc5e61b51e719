// A weight agnostic network as a file, by docs/wann-format.md: read without trust, written as Python writes it.

class NetError extends Error {
  name = "NetError";
}
const noNetwork = (why) => {
  throw new NetError(`This file holds no network that this page can run: ${why}`);
};

// What a page can draw and play; Python reads larger ones.
const [mostBytes, mostNodes, mostConnections] = [2 ** 20, 2000, 10_000];
const netFields = { format: true, inputs: true, outputs: true, nodes: true, labels: false, offset: false, scale: false, meta: false };

const isList = (value) => kindOf(value) === "list";
function countIn(field, value, most) {
  if (kindOf(value) !== "integer" || value < 1n || value > BigInt(most)) noNetwork(`${field} must be an integer from 1 to ${most}, got ${shown(value)}`);
  return Number(value);
}
function numbersIn(field, value, count) {
  if (!isList(value) || !value.every((each) => ["integer", "float"].includes(kindOf(each)))) noNetwork(`${field} must be a list of numbers`);
  if (value.length !== count) noNetwork(`${field} must be ${count} numbers, got ${value.length}`);
  const numbers = Float64Array.from(value, Number);
  return numbers.every(Number.isFinite) ? numbers : noNetwork(`${field} must hold finite numbers`);
}

function parsedNet(bytes) {
  if (bytes.length > mostBytes) noNetwork(`it has more than ${mostBytes} bytes`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    noNetwork("it is not text in UTF-8");
  }
  try {
    return readJson(text, false).whole;
  } catch (error) {
    return noNetwork(error instanceof TicketError ? "it is not JSON, or has a name twice" : "it is nested too deeply");
  }
}

function checkedNode(node, number, own, length) {
  const field = `nodes[${number}]`;
  if (!isList(node) || node.length !== length || length < 2 || length > 3) noNetwork(`${field} must be activation, sources and perhaps weights`);
  const [name, sources, weights] = node;
  if (!wannActivations.includes(name)) noNetwork(`${field}: the unknown activation '${shown(name)}'`);
  if (!isList(sources)) noNetwork(`${field}: its sources must be a list`);
  const wrong = sources.find((source) => kindOf(source) !== "integer" || source < 0n || source >= BigInt(own));
  if (wrong !== undefined) noNetwork(`${field}: a source must be the number of a node before ${own}, got ${shown(wrong)}`);
  return [wannActivations.indexOf(name) + 1, sources.map(Number), length === 3 ? numbersIn(`${field}: weights`, weights, sources.length) : []];
}

// The network in the bytes of a file, or a NetError whose message is a sentence for the reader.
function readNet(bytes) {
  const document = parsedNet(bytes);
  if (kindOf(document) !== "object") noNetwork("it must be an object");
  if (document.format !== "untrained-wann/1") noNetwork(`its format must be 'untrained-wann/1', got '${shown(document.format)}'`);
  const unknown = Object.keys(document).find((field) => !Object.hasOwn(netFields, field));
  if (unknown !== undefined) noNetwork(`the unknown field '${unknown.slice(0, 80)}'`);
  const missing = Object.keys(netFields).find((field) => netFields[field] && !(field in document));
  if (missing) noNetwork(`it has no ${missing}`);
  const { nodes, labels, meta = Object.create(null) } = document;
  const [inputs, outputs] = [countIn("inputs", document.inputs, 1000), countIn("outputs", document.outputs, 1000)];
  if (!isList(nodes) || nodes.length < outputs || nodes.length > mostNodes) noNetwork(`nodes must be a list of ${outputs} to ${mostNodes}`);
  const length = isList(nodes[0]) ? nodes[0].length : 2;
  const rows = nodes.map((node, k) => checkedNode(node, k, inputs + 1 + k, length));
  const src = Int32Array.from(rows.flatMap(([, sources]) => sources));
  if (src.length > mostConnections) noNetwork(`it has ${src.length} connections, more than ${mostConnections}`);
  if (labels !== undefined && !(isList(labels) && labels.length === outputs && labels.every((label) => typeof label === "string"))) {
    noNetwork(`labels must be ${outputs} strings`);
  }
  if (kindOf(meta) !== "object") noNetwork("meta must be an object");
  const edgePtr = new Int32Array(rows.length + 1);
  rows.forEach(([, sources], k) => (edgePtr[k + 1] = edgePtr[k] + sources.length));
  const scaling = (field) => (field in document ? numbersIn(field, document[field], inputs) : null);
  return {
    inputs,
    outputs,
    act: Int8Array.from(rows, ([kind]) => kind),
    edgePtr,
    src,
    weights: length === 3 ? Float64Array.from(rows.flatMap(([, , weights]) => Array.from(weights))) : null,
    labels: labels ?? null,
    offset: scaling("offset"),
    scale: scaling("scale"),
    meta,
  };
}

function jsonOf(value) {
  if (isList(value)) return `[${value.map(jsonOf).join(", ")}]`;
  if (kindOf(value) === "object") return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${jsonOf(each)}`).join(", ")}}`;
  if (kindOf(value) === "float") return writtenFloat(value);
  return kindOf(value) === "integer" ? String(value) : JSON.stringify(value);
}

// The text of a network's file, a line for every field, node, and entry of `meta`, in which integers are BigInts.
function writeNet(net) {
  const fields = { format: "untrained-wann/1", inputs: BigInt(net.inputs), outputs: BigInt(net.outputs) };
  if (net.labels) fields.labels = net.labels;
  for (const name of ["offset", "scale"]) if (net[name]) fields[name] = Array.from(net[name]);
  const lines = Object.entries(fields).map(([name, value]) => `  "${name}": ${jsonOf(value)}`);
  const nodes = Array.from(net.act, (kind, k) => {
    const [from, to] = [net.edgePtr[k], net.edgePtr[k + 1]];
    const node = [wannActivations[kind - 1], Array.from(net.src.subarray(from, to), BigInt)];
    return `    ${jsonOf(net.weights ? [...node, Array.from(net.weights.subarray(from, to))] : node)}`;
  });
  lines.push(`  "nodes": [\n${nodes.join(",\n")}\n  ]`);
  const entries = Object.entries(net.meta ?? {}).map(([key, value]) => `    ${JSON.stringify(key)}: ${jsonOf(value)}`);
  if (entries.length) lines.push(`  "meta": {\n${entries.join(",\n")}\n  }`);
  return `{\n${lines.join(",\n")}\n}\n`;
}
