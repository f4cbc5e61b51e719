// Genomes: networks that can grow. Nodes: bias 0, inputs, outputs, then hidden nodes in order of birth. Genes are
// switched off, never removed (Gaier & Ha 2019). A genome is {act, src, dst, on}: typed arrays, act of every node.

const wannChances = [["addConnection", 0.18], ["addNode", 0.225], ["enable", 0.045], ["disable", 0.1], ["activation", 0.45]];
const secondChange = 0.3; // probability that a changed child is changed once more
const activationIds = Int8Array.from({ length: 10 }, (_, i) => i + 1); // all but the square, as in the paper

// The genome of a first network: linear outputs, each connection from an input or the bias there half of the time.
function firstGenome({ inputs, outputs }, uniform) {
  const genes = (inputs + 1) * outputs;
  const act = new Int8Array(inputs + 1 + outputs).fill(1, inputs + 1);
  const at = Array.from({ length: genes }, (_, e) => e);
  return {
    act,
    src: Int32Array.from(at, (e) => e % (inputs + 1)),
    dst: Int32Array.from(at, (e) => inputs + 1 + Math.floor(e / (inputs + 1))),
    on: Uint8Array.from(at, () => (uniform() < 0.5 ? 1 : 0)),
  };
}

// The layer of every hidden node by the longest path, from 1, and an order in which each comes after its sources.
function layersOf({ act, src, dst }, fixed) {
  const hidden = act.length - fixed;
  const [layer, waits] = [new Int32Array(hidden).fill(1), new Int32Array(hidden)];
  const targets = Array.from({ length: hidden }, () => []);
  for (let e = 0; e < src.length; e++) {
    if (src[e] < fixed || dst[e] < fixed) continue;
    waits[dst[e] - fixed]++;
    targets[src[e] - fixed].push(dst[e] - fixed);
  }
  const order = Array.from(waits.keys()).filter((i) => !waits[i]);
  for (let done = 0; done < order.length; done++) {
    for (const j of targets[order[done]]) {
      layer[j] = Math.max(layer[j], layer[order[done]] + 1);
      if (--waits[j] === 0) order.push(j);
    }
  }
  return { layer, order };
}

const pickOf = (items, u) => items[Math.min(Math.floor(u * items.length), items.length - 1)];
const placesOf = (array, wanted) => Array.from(array.keys()).filter((i) => array[i] === wanted);
const grown = (array, ...more) => Object.getPrototypeOf(array).constructor.of(...array, ...more);

// A pair of nodes without a gene, the target in a later layer; null if there is none.
function newConnection(genome, { inputs, outputs }, uniform) {
  const [nodes, fixed] = [genome.act.length, inputs + 1 + outputs];
  const { layer: hidden } = layersOf(genome, fixed);
  const last = hidden.reduce((most, layer) => Math.max(most, layer + 1), 1);
  const layer = Array.from({ length: nodes }, (_, i) => (i <= inputs ? 0 : i < fixed ? last : hidden[i - fixed]));
  const taken = new Set(genome.src.map((source, e) => source * nodes + genome.dst[e]));
  const open = layer.map((own, i) => layer.flatMap((other, j) => (other > own && !taken.has(i * nodes + j) ? [j] : [])));
  const source = pickOf(placesOf(open.map((targets) => targets.length > 0), true), uniform());
  return source === undefined ? null : [source, pickOf(open[source], uniform())];
}

// The genome with one change; the same where that change is not possible.
function changedGenome(genome, env, uniform) {
  const { act, src, dst, on } = genome;
  const fixed = env.inputs + 1 + env.outputs;
  let u = uniform() * wannChances.reduce((sum, [, chance]) => sum + chance, 0);
  const [kind] = wannChances.find(([, chance]) => (u -= chance) < 0) ?? wannChances[4];
  if (kind === "addConnection") {
    const pair = newConnection(genome, env, uniform);
    return pair ? { act, src: grown(src, pair[0]), dst: grown(dst, pair[1]), on: grown(on, 1) } : genome;
  }
  if (kind === "activation") {
    if (act.length === fixed) return genome;
    const node = fixed + Math.floor(uniform() * (act.length - fixed));
    const other = pickOf(activationIds.filter((id) => id !== act[node]), uniform());
    return { ...genome, act: act.map((id, i) => (i === node ? other : id)) };
  }
  const places = placesOf(on, kind === "enable" ? 0 : 1);
  const gene = pickOf(places, uniform());
  // Without connections all networks are equal, and no search gets away from there.
  if (gene === undefined || (kind === "disable" && places.length === 1)) return genome;
  const switched = on.map((each, e) => (e === gene ? 1 - each : each));
  if (kind !== "addNode") return { ...genome, on: switched };
  return {
    act: grown(act, pickOf(activationIds, uniform())),
    src: grown(src, src[gene], act.length),
    dst: grown(dst, act.length, dst[gene]),
    on: grown(switched, 1, 1),
  };
}

const childOf = (genome, env, uniform) => {
  const child = changedGenome(genome, env, uniform);
  return uniform() < secondChange ? changedGenome(child, env, uniform) : child;
};

// The network of a genome. Hidden nodes without a way to an output are left out.
function networkOf(genome, { inputs, outputs }) {
  const { act, src, dst, on } = genome;
  const fixed = inputs + 1 + outputs;
  const sources = Array.from(act, () => []);
  src.forEach((source, e) => on[e] && sources[dst[e]].push(source));
  const order = layersOf(genome, fixed).order.map((i) => i + fixed);
  const ends = Array.from({ length: outputs }, (_, i) => inputs + 1 + i);
  const live = new Set(ends.flatMap((end) => sources[end]));
  for (const node of order.toReversed()) if (live.has(node)) for (const source of sources[node]) live.add(source);
  const rows = order.filter((node) => live.has(node)).concat(ends);
  const number = new Map(Array.from({ length: inputs + 1 }, (_, i) => [i, i]));
  rows.forEach((node, k) => number.set(node, inputs + 1 + k));
  const nodes = rows.map((node) => [act[node], sources[node].map((source) => number.get(source))]);
  return { inputs, outputs, ...packedNodes(nodes, false) };
}
