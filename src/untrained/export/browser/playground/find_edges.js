// The network as a sample of its neurons, with all edges between them that are kept: thick when they come, fading when
// they go.

const shownMilliseconds = 700;
const columnsShown = [16, 14, 14, 10];

class EdgePicture {
  constructor(canvas, chosen) {
    Object.assign(this, { canvas, edges: [], selected: null, moving: false, still: matchMedia("(prefers-reduced-motion: reduce)") });
    canvas.addEventListener("click", (event) => {
      const found = this.near(event.offsetX, event.offsetY);
      if (found) chosen(found);
    });
  }

  // Takes other sizes: neurons evenly over each layer, and every edge between them.
  layOut(sizes) {
    this.sizes = sizes;
    this.neurons = sizes.map((size, l) => {
      const count = Math.min(size, columnsShown[l]);
      return Array.from({ length: count }, (_, k) => Math.floor(((k + 0.5) * size) / count));
    });
    this.edges = [];
    for (let layer = 0; layer < 3; layer++) {
      this.neurons[layer + 1].forEach((to, row) =>
        this.neurons[layer].forEach((from, line) => this.edges.push({ layer, to, from, row, line, on: null, at: -Infinity, w: 0 }))
      );
    }
    this.selected = null;
  }

  update(effective, weights) {
    const now = performance.now();
    for (const edge of this.edges) {
      const i = edge.to * this.sizes[edge.layer] + edge.from;
      const on = effective[edge.layer][i] !== 0;
      if (edge.on !== null && edge.on !== on) edge.at = now;
      [edge.on, edge.w] = [on, weights[edge.layer][i]];
    }
    this.animate();
  }

  animate() {
    if (this.moving) return;
    this.moving = true;
    requestAnimationFrame(() => {
      this.moving = false;
      const now = performance.now();
      this.draw(now);
      if (!this.still.matches && this.edges.some(({ at }) => now - at < shownMilliseconds)) this.animate();
    });
  }

  place(column, row) {
    const { width, height } = shownSize(this.canvas);
    return [24 + ((width - 62) * column) / 3, 30 + ((height - 44) * (row + 0.5)) / this.neurons[column].length];
  }

  draw(now) {
    const { on, width } = begin(this.canvas);
    for (const edge of this.edges) {
      const fresh = this.still.matches ? 0 : Math.max(0, 1 - (now - edge.at) / shownMilliseconds);
      if (!edge.on && !fresh && edge !== this.selected) continue;
      on.globalAlpha = edge === this.selected ? 1 : edge.on ? 0.45 + 0.55 * fresh : 0.5 * fresh;
      const colour = edge === this.selected ? colours.ink : edge.w > 0 ? colours.for : colours.against;
      on.setLineDash(edge === this.selected && !edge.on ? [5, 4] : []);
      path(on, colour, edge === this.selected ? 4 : edge.on ? 0.8 + 3 * fresh : 0.8, [
        this.place(edge.layer, edge.line),
        this.place(edge.layer + 1, edge.row),
      ]);
    }
    [on.globalAlpha, on.fillStyle] = [1, colours.quiet];
    on.setLineDash([]);
    this.neurons.forEach((neurons, column) => {
      neurons.forEach((neuron, row) => {
        const [x, y] = this.place(column, row);
        on.fillRect(x - 3, y - 3, 6, 6);
        [on.textAlign, on.font] = ["left", "13px system-ui, sans-serif"];
        if (column === 3) on.fillText(neuron, x + 9, y + 5);
      });
      const title = `${neurons.length} of ${this.sizes[column]}`;
      on.textAlign = column === 0 ? "left" : column === 3 ? "right" : "center";
      on.fillText(title, column === 0 ? 0 : column === 3 ? width : this.place(column, 0)[0], 14);
    });
  }

  // The edge that lies nearest to a point, if one is near; kept edges are preferred.
  near(x, y) {
    let [best, least] = [null, 9];
    for (const edge of this.edges) {
      const [[x0, y0], [x1, y1]] = [this.place(edge.layer, edge.line), this.place(edge.layer + 1, edge.row)];
      const part = Math.min(1, Math.max(0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)));
      const far = Math.hypot(x - x0 - part * (x1 - x0), y - y0 - part * (y1 - y0)) + (edge.on ? 0 : 4);
      if (far < least) [best, least] = [edge, far];
    }
    return best;
  }

  // The next edge that is kept, or the one before.
  step(direction) {
    const count = this.edges.length;
    let i = this.edges.indexOf(this.selected);
    for (let k = 0; k < count; k++) {
      i = (i + direction + 2 * count) % count;
      if (this.edges[i].on) return this.edges[i];
    }
    return null;
  }
}
