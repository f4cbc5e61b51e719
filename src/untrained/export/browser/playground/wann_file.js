// A weight agnostic network as a file, by docs/wann-format.md, read without trust, written as Python does.

class NetError extends Error {
  name = "NetError";
}
const noNetwork = (why) => {
  throw new NetError(`This file holds no network that this page can run: ${why}`);
};

// What a page can draw and play; Python reads larger ones.
const [mostBytes, mostNodes, mostConnections] = [2 ** 20, 2000, 10_000];

const isList = (rule) => (value) => kindOf(value) === "list" && value.every(rule);
const areNumbers = isList((value) => isA("integer float")(value) && Number.isFinite(Number(value)));
const netRules = {
  format: oneOf("untrained-wann/1"),
  inputs: integer(1, 1000),
  outputs: integer(1, 1000),
  nodes: (value) => isList(isA("list"))(value) && value.length <= mostNodes,
  labels: maybe(isList(isA("string"))),
  offset: maybe(areNumbers),
  scale: maybe(areNumbers),
  meta: maybe(isA("object")),
};

// A node as [activation, sources, weights], checked; `own` is its number.
function checkedNode(node, own, weighted) {
  const [name, sources, weights = []] = node;
  const activation = wannActivations.indexOf(name) + 1;
  if (!activation) refuse(`node ${own}: the unknown activation '${shown(name)}'`);
  if (!isList(integer(0, own - 1))(sources)) refuse(`node ${own}: its sources must be nodes before it`);
  const right = areNumbers(weights) && weights.length === (weighted ? sources.length : 0);
  if (!right || node.length !== (weighted ? 3 : 2)) refuse(`node ${own}: as many weights as sources, or none in any node`);
  return [activation, sources.map(Number), weights.map(Number)];
}

function checkedNet(bytes) {
  if (bytes.length > mostBytes) refuse(`it has more than ${mostBytes} bytes`);
  const { whole } = readJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), false);
  checkFields("it", whole, netRules);
  const [inputs, outputs] = [Number(whole.inputs), Number(whole.outputs)];
  const { nodes, labels = null, meta = Object.create(null) } = whole;
  if (nodes.length < outputs) refuse(`it has ${nodes.length} nodes for ${outputs} outputs`);
  const weighted = nodes[0].length === 3;
  const packed = packedNodes(nodes.map((node, k) => checkedNode(node, inputs + 1 + k, weighted)), weighted);
  if (packed.src.length > mostConnections) refuse(`it has more than ${mostConnections} connections`);
  if (labels && labels.length !== outputs) refuse(`labels must be ${outputs} strings`);
  const [offset, scale] = [whole.offset, whole.scale].map((each) => {
    if (each && each.length !== inputs) refuse(`offset and scale must be ${inputs} numbers`);
    return each ? Float64Array.from(each, Number) : null;
  });
  return { inputs, outputs, ...packed, labels, offset, scale, meta };
}

// The network in the bytes of a file, or a NetError whose message is a sentence for the reader.
function readNet(bytes) {
  try {
    return checkedNet(bytes);
  } catch (error) {
    return noNetwork(error.why ?? "it is not text in UTF-8");
  }
}

const membersOf = (object) =>
  Object.entries(object).map(([key, each]) => `${JSON.stringify(key)}: ${jsonOf(each)}`);

function jsonOf(value) {
  if (kindOf(value) === "list") return `[${value.map(jsonOf).join(", ")}]`;
  if (kindOf(value) === "object") return `{${membersOf(value).join(", ")}}`;
  if (kindOf(value) === "float") return writtenFloat(value);
  return kindOf(value) === "integer" ? String(value) : JSON.stringify(value);
}

// The text of a network's file, a line for every field, node, and entry of `meta`, in which integers are BigInts.
function writeNet(net) {
  const fields = { format: "untrained-wann/1", inputs: BigInt(net.inputs), outputs: BigInt(net.outputs) };
  if (net.labels) fields.labels = net.labels;
  for (const name of ["offset", "scale"]) if (net[name]) fields[name] = Array.from(net[name]);
  const lines = membersOf(fields).map((member) => `  ${member}`);
  const nodes = Array.from(net.act, (kind, k) => {
    const [from, to] = [net.edgePtr[k], net.edgePtr[k + 1]];
    const node = [wannActivations[kind - 1], Array.from(net.src.subarray(from, to), BigInt)];
    return `    ${jsonOf(net.weights ? [...node, Array.from(net.weights.subarray(from, to))] : node)}`;
  });
  lines.push(`  "nodes": [\n${nodes.join(",\n")}\n  ]`);
  const entries = membersOf(net.meta ?? {}).map((member) => `    ${member}`);
  if (entries.length) lines.push(`  "meta": {\n${entries.join(",\n")}\n  }`);
  return `{\n${lines.join(",\n")}\n}\n`;
}
