// The network as a sample of its neurons, with all edges between them that are kept: thick when they come, fading when
// they go, which is the style's to do.

const columnsShown = [16, 14, 14, 10];
const [netWidth, netHeight] = [400, 330];

class EdgePicture {
  // `chosen` is called with an edge that is clicked.
  constructor(root, chosen) {
    Object.assign(this, { root, edges: [], selected: null });
    root.addEventListener("click", ({ clientX, clientY }) => {
      // Lines are thin: what lies a few pixels away counts, too.
      const shifts = [0, 2, -2, 4, -4];
      const near = shifts.flatMap((x) => shifts.map((y) => document.elementFromPoint(clientX + x, clientY + y)));
      const found = near.map((target) => this.edges.find(({ line }) => line === target)).find(Boolean);
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
    const place = (layer, row) => [
      24 + ((netWidth - 62) * layer) / 3,
      30 + ((netHeight - 44) * (row + 0.5)) / this.neurons[layer].length,
    ];
    this.edges = this.neurons.slice(1).flatMap((ends, layer) =>
      ends.flatMap((to, row) =>
        this.neurons[layer].map((from, k) => {
          return { layer, to, from, line: svg("path", { d: `M${place(layer, k)}L${place(layer + 1, row)}` }) };
        })
      )
    );
    const dots = this.neurons.flatMap((neurons, l) => neurons.map((_, row) => `M${place(l, row)}h0`)).join("");
    const texts = this.neurons.map((neurons, l) => {
      const [x, anchor] = l === 0 ? [0, "start"] : l === 3 ? [netWidth, "end"] : [place(l, 0)[0], "middle"];
      return svg("text", { x, y: 14, "text-anchor": anchor }, `${neurons.length} of ${sizes[l]}`);
    });
    this.neurons[3].forEach((digit, row) => {
      const [x, y] = place(3, row);
      texts.push(svg("text", { x: x + 9, y: y + 5 }, digit));
    });
    this.root.replaceChildren(...this.edges.map(({ line }) => line), svg("path", { class: "dots", d: dots }), ...texts);
    this.selected = null;
  }

  update(effective, weights) {
    for (const edge of this.edges) {
      const i = edge.to * this.sizes[edge.layer] + edge.from;
      edge.on = effective[edge.layer][i] !== 0;
      const looks = [edge.on ? "on" : "off", weights[edge.layer][i] > 0 ? "for" : "against"];
      if (edge === this.selected) looks.push("selected");
      if (String(looks) !== edge.looks) edge.line.setAttribute("class", looks.join(" "));
      edge.looks = String(looks);
    }
  }

  // The next edge that is kept, or the one before.
  step(direction) {
    const kept = this.edges.filter((edge) => edge.on || edge === this.selected);
    const at = kept.indexOf(this.selected);
    return kept.at(at < 0 && direction < 0 ? -1 : (at + direction) % kept.length) ?? null;
  }
}
