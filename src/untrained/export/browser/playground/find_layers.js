// Fully connected layers with ReLU between them: forward, loss and gradients of a batch. Numbers of a batch lie neuron
// by neuron, [neuron · batchSize + image], so that a weight of 0 is skipped for all images at once.

const batchSize = 64;
const smoothing = 0.05; // of the labels, as in our recipes

// to[r, :] = Σ_c weights[r, c] · from[c, :] for n numbers of rows of `wide`; the weight of (r, c) lies at
// r · rowStep + c · columnStep. Eight numbers at a time, whose sums stay in registers; those beyond n are nobody's, or
// the next row's, which comes later.
function multiply(weights, [rows, rowStep], [columns, columnStep], from, to, n, wide, { places, values }) {
  for (let r = 0; r < rows; r++) {
    let count = 0;
    for (let c = 0, at = r * rowStep; c < columns; c++, at += columnStep) {
      values[count] = weights[at];
      places[count] = c * wide;
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
      const at = r * wide + first;
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

class Layers {
  constructor(sizes) {
    this.sizes = sizes;
    this.shapes = sizes.slice(1).map((outputs, l) => [outputs, sizes[l]]);
    this.values = sizes.map((size) => new Float64Array(size * batchSize));
    this.slopes = sizes.map((size) => new Float64Array(size * batchSize));
    this.gradients = this.shapes.map((shape) => new Float32Array(product(shape) + 8));
    const most = Math.max(...sizes);
    this.turned = new Float64Array(most * batchSize + 8);
    this.scratch = { places: new Int32Array(most + batchSize), values: new Float64Array(most + batchSize) };
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
      multiply(weights[l], [outputs, inputs], [inputs, 1], this.values[l], to, n, batchSize, this.scratch);
      if (l < last) for (let i = 0; i < to.length; i++) if (to[i] < 0) to[i] = 0;
    }
    return this.values[last + 1];
  }

  // The mean loss of the images read; sets the slopes of the logits.
  loss({ labels }, order, first, n) {
    const [logits, slopes, classes] = [this.values, this.slopes, this.sizes].map((each) => each[this.shapes.length]);
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

  // The gradients of the weights, from the slopes of the logits: gradient[o, :] = Σ_b slopes[o, b] · x[:, b].
  backward(weights, n) {
    for (let l = this.shapes.length - 1; l >= 0; l--) {
      const [outputs, inputs] = this.shapes[l];
      const [x, slopes, back] = [this.values[l], this.slopes[l + 1], this.slopes[l]];
      const { turned, scratch } = this;
      for (let i = 0; i < inputs; i++) for (let b = 0; b < n; b++) turned[b * inputs + i] = x[i * batchSize + b];
      multiply(slopes, [outputs, batchSize], [n, 1], turned, this.gradients[l], inputs, inputs, scratch);
      if (l === 0) break;
      multiply(weights[l], [inputs, 1], [outputs, inputs], slopes, back, n, batchSize, scratch);
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
