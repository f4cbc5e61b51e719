// Fully connected layers with ReLU between them: forward, loss and gradients of a batch. Numbers of a batch lie neuron
// by neuron, [neuron · batchSize + image], so that a weight of 0 is skipped for all images at once.

const batchSize = 64;
const smoothing = 0.05; // of the labels, as in our recipes

// to[r, :] = Σ_c weights[r, c] · from[c, :] for n images; the weight of (r, c) lies at r · rowStep + c · columnStep.
// Eight images at a time, whose sums stay in registers; those beyond n are of an earlier batch, and nobody asks for them.
function multiply(weights, [rows, rowStep], [columns, columnStep], from, to, n, { places, values }) {
  for (let r = 0; r < rows; r++) {
    let count = 0;
    for (let c = 0, at = r * rowStep; c < columns; c++, at += columnStep) {
      values[count] = weights[at];
      places[count] = c * batchSize;
      count += weights[at] !== 0 ? 1 : 0;
    }
    for (let first = 0; first < n; first += 8) {
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      let s4 = 0;
      let s5 = 0;
      let s6 = 0;
      let s7 = 0;
      for (let k = 0; k < count; k++) {
        const w = values[k];
        const at = places[k] + first;
        s0 += w * from[at];
        s1 += w * from[at + 1];
        s2 += w * from[at + 2];
        s3 += w * from[at + 3];
        s4 += w * from[at + 4];
        s5 += w * from[at + 5];
        s6 += w * from[at + 6];
        s7 += w * from[at + 7];
      }
      const at = r * batchSize + first;
      to[at] = s0;
      to[at + 1] = s1;
      to[at + 2] = s2;
      to[at + 3] = s3;
      to[at + 4] = s4;
      to[at + 5] = s5;
      to[at + 6] = s6;
      to[at + 7] = s7;
    }
  }
}

// gradient[o, i] = Σ_b slopes[o, b] · x[i, b], for three rows and three columns at a time. Arrays taken apart in
// these loops would make them three times as slow.
function outer(slopes, outputs, x, inputs, gradient, n) {
  for (let o = 0; o < outputs; o += 3) {
    const o1 = Math.min(o + 1, outputs - 1);
    const o2 = Math.min(o + 2, outputs - 1);
    for (let i = 0; i < inputs; i += 3) {
      const i1 = Math.min(i + 1, inputs - 1);
      const i2 = Math.min(i + 2, inputs - 1);
      let p0 = o * batchSize;
      let p1 = o1 * batchSize;
      let p2 = o2 * batchSize;
      let q0 = i * batchSize;
      let q1 = i1 * batchSize;
      let q2 = i2 * batchSize;
      let s00 = 0;
      let s01 = 0;
      let s02 = 0;
      let s10 = 0;
      let s11 = 0;
      let s12 = 0;
      let s20 = 0;
      let s21 = 0;
      let s22 = 0;
      for (const end = p0 + n; p0 < end; ) {
        const a = slopes[p0++];
        const b = slopes[p1++];
        const c = slopes[p2++];
        const d = x[q0++];
        const e = x[q1++];
        const f = x[q2++];
        s00 += a * d;
        s01 += a * e;
        s02 += a * f;
        s10 += b * d;
        s11 += b * e;
        s12 += b * f;
        s20 += c * d;
        s21 += c * e;
        s22 += c * f;
      }
      gradient[o * inputs + i] = s00;
      gradient[o * inputs + i1] = s01;
      gradient[o * inputs + i2] = s02;
      gradient[o1 * inputs + i] = s10;
      gradient[o1 * inputs + i1] = s11;
      gradient[o1 * inputs + i2] = s12;
      gradient[o2 * inputs + i] = s20;
      gradient[o2 * inputs + i1] = s21;
      gradient[o2 * inputs + i2] = s22;
    }
  }
}

class Layers {
  constructor(sizes) {
    this.sizes = sizes;
    this.shapes = sizes.slice(1).map((outputs, l) => [outputs, sizes[l]]);
    this.values = sizes.map((size) => new Float64Array(size * batchSize));
    this.slopes = sizes.map((size) => new Float64Array(size * batchSize));
    this.scratch = { places: new Int32Array(Math.max(...sizes)), values: new Float64Array(Math.max(...sizes)) };
  }

  // Reads n images of a part: those that `order` names from place `first` on.
  read({ images }, order, first, n) {
    const [x, pixels] = [this.values[0], this.sizes[0]];
    for (let b = 0; b < n; b++) {
      for (let i = 0, from = order[first + b] * pixels; i < pixels; i++) x[i * batchSize + b] = images[from + i];
    }
  }

  forward(weights, n) {
    const last = this.shapes.length - 1;
    for (let l = 0; l <= last; l++) {
      const [outputs, inputs] = this.shapes[l];
      const to = this.values[l + 1];
      multiply(weights[l], [outputs, inputs], [inputs, 1], this.values[l], to, n, this.scratch);
      if (l < last) for (let i = 0; i < to.length; i++) if (to[i] < 0) to[i] = 0;
    }
    return this.values[last + 1];
  }

  // The mean loss of the images read; sets the slopes of the logits.
  loss({ labels }, order, first, n) {
    const [logits, slopes, classes] = [this.values[this.shapes.length], this.slopes[this.shapes.length], this.sizes[this.shapes.length]];
    let loss = 0;
    for (let b = 0; b < n; b++) {
      let [most, total] = [-Infinity, 0];
      for (let c = 0; c < classes; c++) most = Math.max(most, logits[c * batchSize + b]);
      for (let c = 0; c < classes; c++) total += Math.exp(logits[c * batchSize + b] - most);
      for (let c = 0; c < classes; c++) {
        const [at, right] = [c * batchSize + b, c === labels[order[first + b]]];
        const wanted = smoothing / classes + (right ? 1 - smoothing : 0);
        slopes[at] = (Math.exp(logits[at] - most) / total - wanted) / n;
        loss -= (wanted * (logits[at] - most - Math.log(total))) / n;
      }
    }
    return loss;
  }

  // The gradients of the weights, from the slopes of the logits.
  backward(weights, gradients, n) {
    for (let l = this.shapes.length - 1; l >= 0; l--) {
      const [outputs, inputs] = this.shapes[l];
      const [x, slopes, back] = [this.values[l], this.slopes[l + 1], this.slopes[l]];
      outer(slopes, outputs, x, inputs, gradients[l], n);
      if (l === 0) break;
      multiply(weights[l], [inputs, 1], [outputs, inputs], slopes, back, n, this.scratch);
      for (let i = 0; i < back.length; i++) if (!(x[i] > 0)) back[i] = 0;
    }
  }

  // The share of a part that these weights label right.
  accuracy(weights, part) {
    let right = 0;
    for (let first = 0; first < part.labels.length; first += batchSize) {
      const n = Math.min(batchSize, part.labels.length - first);
      this.read(part, part.inOrder, first, n);
      const logits = this.forward(weights, n);
      for (let b = 0; b < n; b++) {
        let best = 0;
        for (let c = 1; c < this.sizes[this.shapes.length]; c++) {
          if (logits[c * batchSize + b] > logits[best * batchSize + b]) best = c;
        }
        if (best === part.labels[first + b]) right++;
      }
    }
    return right / part.labels.length;
  }
}
