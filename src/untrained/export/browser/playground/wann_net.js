// A weight agnostic network and its values. The arithmetic is that of Python's compiled loops, operation by operation:
// only +, -, *, / and floor, which every browser rounds alike.

const wannActivations = "linear step sin gaussian tanh sigmoid inverse abs relu cos square".split(" ");

// ---------------------------------------------------------------- exp, tanh, sin, cos
const twoTo = Float64Array.from({ length: 2046 }, (_, i) => 2 ** (i - 1022));
const [piA, piB] = [3.1415926218032837, 3.178650954705639e-8];
const piC = 1.2246467991473532e-16 + (Math.PI - piA - piB);
const inversePi = 1 / Math.PI;
const [s1, s2, s3, s4, s5, s6, s7, s8, s9, s10] = Array.from({ length: 10 }, (_, i) => {
  let product = 1;
  for (let k = 2; k <= 2 * i + 3; k++) product *= k;
  return (i % 2 ? 1 : -1) / product;
});

function expOf(value) {
  const x = Math.min(Math.max(value, -708), 709);
  const k = Math.floor(x * 1.4426950408889634 + 0.5);
  const r = x - k * 6.93145751953125e-1 - k * 1.42860682030941723212e-6;
  const z = r * r;
  const p = r * ((1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 1);
  const q = ((3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z + 2.27265548208155028766e-1) * z + 2;
  return (1 + 2 * (p / (q - p))) * twoTo[k + 1022];
}

function tanhOf(x) {
  if (Math.abs(x) < 0.625) {
    const z = x * x;
    const p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3;
    const q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3;
    return x + x * z * (p / q);
  }
  const far = 1 - 2 / (expOf(2 * Math.abs(x)) + 1);
  return x < 0 ? -far : far;
}

function sinWithin(r) {
  const z = r * r;
  let p = ((s10 * z + s9) * z + s8) * z + s7;
  p = (((p * z + s6) * z + s5) * z + s4) * z + s3;
  return r + r * z * ((p * z + s2) * z + s1);
}

const signOfTurns = (k) => 1 - 2 * (k - 2 * Math.floor(k * 0.5));

function sinOf(x) {
  const k = Math.floor(x * inversePi + 0.5);
  return signOfTurns(k) * sinWithin(x - k * piA - k * piB - k * piC);
}

function cosOf(x) {
  const k = Math.floor(x * inversePi);
  const half = k + 0.5;
  return -signOfTurns(k) * sinWithin(x - half * piA - half * piB - half * piC);
}

const gaussianOf = (x) => expOf(-0.5 * x * x);
const squareOf = (x) => x * x;

// The nearest integer, halves to even.
const toWhole = (x) => (Math.abs(x) < 2 ** 51 ? x + 6755399441055744 - 6755399441055744 : x);

function sinPi(x) {
  const k = toWhole(x);
  return signOfTurns(k) * sinWithin((x - k) * Math.PI);
}

// ---------------------------------------------------------------- values
// A network is {inputs, outputs, act, edgePtr, src, weights}: the fields of Python's `Net`, `weights` perhaps null.
// Its values are in lanes, one beside the other: value n of lane q is nodes[n * lanes + q], node 0 is the bias.

// Of nodes [activation, sources, weights], the outputs last: the arrays of their network.
function packedNodes(rows, weighted) {
  const edgePtr = new Int32Array(rows.length + 1);
  rows.forEach(([, sources], k) => (edgePtr[k + 1] = edgePtr[k] + sources.length));
  return {
    act: Int8Array.from(rows, ([kind]) => kind),
    edgePtr,
    src: Int32Array.from(rows.flatMap(([, sources]) => sources)),
    weights: weighted ? Float64Array.from(rows.flatMap(([, , weights]) => weights)) : null,
  };
}

// nodes[at + q] becomes the activation of w[q] * nodes[at + q], for `width` lanes.
function activateLanes(kind, nodes, at, width, w) {
  const end = at + width;
  if (kind === 1) for (let i = at, q = 0; i < end; i++, q++) nodes[i] *= w[q];
  else if (kind === 2) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = nodes[i] * w[q] > 0 ? 1 : 0;
  else if (kind === 3) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = sinPi(nodes[i] * w[q]);
  else if (kind === 4) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = gaussianOf(nodes[i] * w[q]);
  else if (kind === 5) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = tanhOf(nodes[i] * w[q]);
  else if (kind === 6) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = (tanhOf(nodes[i] * w[q] * 0.5) + 1) * 0.5;
  else if (kind === 7) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = -(nodes[i] * w[q]);
  else if (kind === 8) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = Math.abs(nodes[i] * w[q]);
  else if (kind === 9) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = Math.max(nodes[i] * w[q], 0);
  else if (kind === 10) for (let i = at, q = 0; i < end; i++, q++) nodes[i] = sinPi(nodes[i] * w[q] + 0.5);
  else for (let i = at, q = 0; i < end; i++, q++) nodes[i] = squareOf(nodes[i] * w[q]);
}

// Sets the computed nodes of the first `width` lanes at the shared weights w, one of each lane.
function computeLanes(net, nodes, lanes, width, w) {
  const { act, edgePtr, src, weights, inputs } = net;
  for (let k = 0; k < act.length; k++) {
    const at = (inputs + 1 + k) * lanes;
    nodes.fill(0, at, at + width);
    for (let e = edgePtr[k]; e < edgePtr[k + 1]; e++) {
      const from = src[e] * lanes;
      if (weights) for (let q = 0; q < width; q++) nodes[at + q] += weights[e] * nodes[from + q];
      else for (let q = 0; q < width; q++) nodes[at + q] += nodes[from + q];
    }
    activateLanes(act[k], nodes, at, width, w);
  }
}

// All values of a network for one input at one shared weight, bias and inputs first.
function valuesOfNet(net, x, w) {
  const first = net.inputs + 1;
  const nodes = new Float64Array(first + net.act.length);
  nodes[0] = 1;
  for (let i = 0; i < net.inputs; i++) nodes[i + 1] = (x[i] - (net.offset?.[i] ?? 0)) * (net.scale?.[i] ?? 1);
  computeLanes(net, nodes, 1, 1, Float64Array.of(w));
  return nodes;
}
