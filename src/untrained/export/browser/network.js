// Runs a network: a list of operations on values, of which value 0 is the image and value k + 1 the result of
// operation k. Sums are kept in double precision and rounded once.

const sizeOf = (op) => product(op.shape);

function runLinear(op, x, out, tensors) {
  const weight = tensors[op.weight];
  const bias = op.bias && tensors[op.bias];
  for (let o = 0, at = 0; o < out.length; o++) {
    let sum = bias ? bias[o] : 0;
    for (let i = 0; i < x.length; i++) sum += weight[at++] * x[i];
    out[o] = sum;
  }
}

// Calls `row(o, c, weight index, out offset, in offset, count, step)` for every row of products of a convolution.
function rowsOfConv(op, row) {
  const [channels, height, width] = op.from;
  const [outputs, rows, columns] = op.shape;
  const [[kh, kw], [sy, sx], [py, px], [dy, dx]] = [op.kernel, op.stride, op.padding, op.dilation];
  const [inGroup, outGroup] = [channels / op.groups, outputs / op.groups];
  for (let o = 0; o < outputs; o++) {
    const first = Math.floor(o / outGroup) * inGroup;
    for (let c = 0; c < inGroup; c++) {
      for (let ky = 0; ky < kh; ky++) {
        for (let kx = 0; kx < kw; kx++) {
          const shift = kx * dx - px;
          const begin = Math.max(0, Math.ceil(-shift / sx));
          const end = Math.min(columns, Math.floor((width - 1 - shift) / sx) + 1);
          const at = ((o * inGroup + c) * kh + ky) * kw + kx;
          for (let y = 0; y < rows; y++) {
            const iy = y * sy + ky * dy - py;
            if (iy < 0 || iy >= height || end <= begin) continue;
            const from = ((first + c) * height + iy) * width + begin * sx + shift;
            row(o, first + c, at, (o * rows + y) * columns + begin, from, end - begin, sx);
          }
        }
      }
    }
  }
}

function runConv(op, x, out, tensors) {
  const weight = tensors[op.weight];
  const bias = op.bias && tensors[op.bias];
  const sums = new Float64Array(out.length);
  if (bias) for (let i = 0, plane = out.length / op.shape[0]; i < sums.length; i++) sums[i] = bias[Math.floor(i / plane)];
  rowsOfConv(op, (o, c, at, to, from, count, step) => {
    const w = weight[at];
    if (w === 0) return; // half of them or more were dropped
    for (let k = 0; k < count; k++) sums[to + k] += w * x[from + k * step];
  });
  out.set(sums);
}

// Calls `visit(out index, in index)` for every pixel under every window of a pooling.
function windowsOfPool(op, visit) {
  const [channels, height, width] = op.from;
  const [, rows, columns] = op.shape;
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, to++) {
        for (let ky = 0; ky < op.kernel[0]; ky++) {
          const iy = y * op.stride[0] + ky - op.padding[0];
          if (iy < 0 || iy >= height) continue;
          for (let kx = 0; kx < op.kernel[1]; kx++) {
            const ix = x * op.stride[1] + kx - op.padding[1];
            if (ix >= 0 && ix < width) visit(to, (c * height + iy) * width + ix);
          }
        }
      }
    }
  }
}

function runMaxPool(op, x, out) {
  out.fill(-Infinity);
  windowsOfPool(op, (to, from) => {
    if (!(x[from] <= out[to])) out[to] = x[from];
  });
}

function runAvgPool(op, x, out) {
  const sums = new Float64Array(out.length);
  windowsOfPool(op, (to, from) => (sums[to] += x[from]));
  const window = op.kernel[0] * op.kernel[1];
  for (let i = 0; i < out.length; i++) out[i] = sums[i] / window;
}

// The factor of a channel in a normalisation in evaluation.
const slopeOfNorm = (op, tensors, c) =>
  (op.weight ? tensors[op.weight][c] : 1) / Math.sqrt(tensors[op.variance][c] + op.eps);

function runNorm(op, x, out, tensors) {
  const plane = x.length / op.shape[0];
  for (let i = 0, c = 0; c < op.shape[0]; c++) {
    const slope = slopeOfNorm(op, tensors, c);
    const shift = op.bias ? tensors[op.bias][c] : 0;
    for (let k = 0; k < plane; k++, i++) out[i] = (x[i] - tensors[op.mean][c]) * slope + shift;
  }
}

// Layer norm and group norm: each of so many equal parts of an example gets mean 0 and variance 1.
function runStandardise(op, x, out, tensors) {
  const [weight, bias] = [op.weight && tensors[op.weight], op.bias && tensors[op.bias]];
  const [size, plane] = [x.length / op.parts, x.length / op.from[0]];
  for (let start = 0; start < x.length; start += size) {
    let [sum, squares] = [0, 0];
    for (let i = start; i < start + size; i++) sum += x[i];
    const mean = sum / size;
    for (let i = start; i < start + size; i++) squares += (x[i] - mean) ** 2;
    const slope = 1 / Math.sqrt(squares / size + op.eps);
    for (let i = start; i < start + size; i++) {
      const at = op.op === "groupnorm" ? Math.floor(i / plane) : weight ? i % weight.length : 0;
      out[i] = (x[i] - mean) * slope * (weight ? weight[at] : 1) + (bias ? bias[at] : 0);
    }
  }
}

function runLogSoftmax(op, x, out) {
  const most = x.reduce((a, b) => Math.max(a, b));
  const total = most + Math.log(x.reduce((sum, each) => sum + Math.exp(each - most), 0));
  for (let i = 0; i < x.length; i++) out[i] = x[i] - total;
}

// The error function, by its series, or by a continued fraction where that would take long.
function erf(x) {
  const square = x * x;
  if (square < 6) {
    let [term, sum] = [x, x];
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -square / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (Math.abs(x) + fraction);
  return Math.sign(x) * (1 - Math.exp(-square) / Math.sqrt(Math.PI) / (Math.abs(x) + fraction));
}

const each = (rule) => (op, x, out) => {
  for (let i = 0; i < x.length; i++) out[i] = rule(x[i], op);
};

const operations = {
  linear: runLinear,
  conv: runConv,
  maxpool: runMaxPool,
  avgpool: runAvgPool,
  norm: runNorm,
  layernorm: runStandardise,
  groupnorm: runStandardise,
  logsoftmax: runLogSoftmax,
  relu: each((x) => (x < 0 ? 0 : x)),
  elu: each((x, op) => (x > 0 ? x : op.alpha * Math.expm1(x))),
  selu: each((x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x))),
  leakyrelu: each((x, op) => (x > 0 ? x : op.slope * x)),
  clip: each((x, op) => Math.min(op.high, Math.max(op.low, x))),
  sigmoid: each((x) => 1 / (1 + Math.exp(-x))),
  tanh: each((x) => Math.tanh(x)),
  silu: each((x) => x / (1 + Math.exp(-x))),
  gelu: each((x) => x * (0.5 + 0.5 * erf(x / Math.SQRT2))),
  softplus: each((x, op) => (Math.max(0, op.beta * x) + Math.log1p(Math.exp(-Math.abs(op.beta * x)))) / op.beta),
  sign: each((x) => (x < 0 ? -1 : x >= 0 ? 1 : x)),
  add: (op, x, out, tensors, y) => {
    for (let i = 0; i < x.length; i++) out[i] = x[i] + y[i];
  },
};

// All values of a network on a normalised image.
function runNetwork(program, tensors, image) {
  const values = [image];
  for (const op of program.ops) {
    const out = new Float32Array(sizeOf(op));
    operations[op.op](op, values[op.in[0]], out, tensors, values[op.in[1]]);
    values.push(out);
  }
  return values;
}

function probabilitiesOf(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

// ---------------------------------------------------------------- edges of the score
// Backwards through the last layers: slope · weight · activation of every edge is its share of the class's score. In a
// network without norms and shifts the shares of any layer add up to the score exactly.
const traceLimit = 2e8; // products that may be spent on it

const passed = {
  relu: (op, x, out, slope) => slope.map((s, i) => (x[i] > 0 ? s : 0)),
  elu: (op, x, out, slope) => slope.map((s, i) => (x[i] > 0 ? s : s * (out[i] + op.alpha))),
  sign: (op, x, out, slope) => slope.map((s, i) => (Math.abs(x[i]) <= 1 ? s : 0)), // as in the search
  norm: (op, x, out, slope, tensors) => {
    const slopes = Array.from({ length: op.shape[0] }, (_, c) => slopeOfNorm(op, tensors, c));
    return slope.map((s, i) => s * slopes[Math.floor((i * op.shape[0]) / x.length)]);
  },
  maxpool: (op, x, out, slope) => {
    const back = new Float64Array(x.length);
    const taken = new Uint8Array(out.length);
    windowsOfPool(op, (to, from) => {
      if (!taken[to] && x[from] === out[to]) {
        taken[to] = 1;
        back[from] += slope[to];
      }
    });
    return back;
  },
  avgpool: (op, x, out, slope) => {
    const back = new Float64Array(x.length);
    windowsOfPool(op, (to, from) => (back[from] += slope[to] / (op.kernel[0] * op.kernel[1])));
    return back;
  },
};

// The products of a layer.
const costOf = (op) =>
  op.op === "conv" ? (sizeOf(op) * op.from[0] * op.kernel[0] * op.kernel[1]) / op.groups : product(op.from) * sizeOf(op);

// The shares of a layer's edges, [to · sources + from], and the slopes of its input.
function sharesOf(op, x, slope, tensors, sources) {
  const weight = tensors[op.weight];
  const shares = new Float64Array(op.shape[0] * sources);
  const back = new Float64Array(x.length);
  if (op.op === "linear") {
    const perSource = x.length / sources;
    for (let o = 0; o < op.shape[0]; o++) {
      if (slope[o] === 0) continue;
      for (let i = 0, at = o * x.length; i < x.length; i++, at++) {
        const part = slope[o] * weight[at];
        back[i] += part;
        shares[o * sources + Math.floor(i / perSource)] += part * x[i];
      }
    }
    return [shares, back];
  }
  rowsOfConv(op, (o, c, at, to, from, count, step) => {
    const w = weight[at];
    if (w === 0) return;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      sum += slope[to + k] * x[from + k * step];
      back[from + k * step] += w * slope[to + k];
    }
    shares[o * sources + c] += w * sum;
  });
  return [shares, back];
}

// The last layers, from the earliest on: [{op, sources, targets, x, shares}], towards one class.
function traceBack(program, tensors, values, label) {
  const layers = [];
  let slope = new Float64Array(values[values.length - 1].length);
  slope[label] = 1;
  let budget = traceLimit;
  for (let at = program.ops.length; at > 0; ) {
    const op = program.ops[at - 1];
    const [source] = op.in;
    const x = values[source];
    if (op.op === "linear" || op.op === "conv") {
      budget -= 2 * costOf(op);
      if (layers.length && budget < 0) break;
      // A neuron is an output of a layer; what was a picture counts by its channels, and the image by its pixels.
      const sources = op.op === "linear" && source === 0 ? x.length : source === 0 ? op.from[0] : channelsOf(program, source);
      const [shares, back] = sharesOf(op, x, slope, tensors, sources);
      layers.unshift({ op, source, sources, targets: op.shape[0], x, shares });
      slope = back;
    } else if (op.op in passed) {
      slope = passed[op.op](op, x, values[at], slope, tensors);
    } else break; // a sum of two ways
    at = source;
  }
  return layers;
}

const channelsOf = (program, value) => program.ops[value - 1].shape[0];
