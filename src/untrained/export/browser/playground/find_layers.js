// Fully connected layers with ReLU between them: forward, loss and gradients of a batch. Numbers of a batch lie neuron
// by neuron, [neuron · batchSize + image], so that a weight of 0 is skipped for all images at once.

const batchSize = 64;
const smoothing = 0.05; // of the labels, as in our recipes

// to[r, :] = Σ_c weights[r, c] · from[c, :] for n images; the weight of (r, c) lies at r · rowStep + c · columnStep.
function multiply(weights, [rows, rowStep], [columns, columnStep], from, to, n, scratch) {
  const { places, values } = scratch;
  for (let r = 0; r < rows; r++) {
    let count = 0;
    for (let c = 0, at = r * rowStep; c < columns; c++, at += columnStep) {
      values[count] = weights[at];
      places[count] = c * batchSize;
      count += weights[at] !== 0 ? 1 : 0;
    }
    const start = r * batchSize;
    to.fill(0, start, start + n);
    let k = 0;
    for (; k + 4 <= count; k += 4) {
      const w0 = values[k];
      const w1 = values[k + 1];
      const w2 = values[k + 2];
      const w3 = values[k + 3];
      let p0 = places[k];
      let p1 = places[k + 1];
      let p2 = places[k + 2];
      let p3 = places[k + 3];
      for (let b = start, end = start + n; b < end; b++) {
        to[b] += w0 * from[p0++] + w1 * from[p1++] + (w2 * from[p2++] + w3 * from[p3++]);
      }
    }
    for (; k < count; k++) {
      const w = values[k];
      let p = places[k];
      for (let b = start, end = start + n; b < end; b++) to[b] += w * from[p++];
    }
  }
}

// gradient[o, i] = Σ_b slopes[o, b] · x[i, b], for two rows and two columns at a time.
function outer(slopes, outputs, x, inputs, gradient, n) {
  for (let o = 0; o < outputs; o += 2) {
    const other = Math.min(o + 1, outputs - 1);
    for (let i = 0; i < inputs; i += 2) {
      const next = Math.min(i + 1, inputs - 1);
      let p = i * batchSize;
      let q = next * batchSize;
      let r = other * batchSize;
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      for (let at = o * batchSize, end = at + n; at < end; at++) {
        const above = slopes[at];
        const below = slopes[r++];
        const left = x[p++];
        const right = x[q++];
        a += above * left;
        b += above * right;
        c += below * left;
        d += below * right;
      }
      gradient[o * inputs + i] = a;
      gradient[o * inputs + next] = b;
      gradient[other * inputs + i] = c;
      gradient[other * inputs + next] = d;
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
