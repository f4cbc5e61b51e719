// A network at work: its scene, the slider for the weight that all its connections share, and its values.

// Random numbers for starts of episodes that nothing depends on.
const anyNormal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

// Episodes of an environment in real time.
class CartScene {
  constructor(env) {
    this.env = env;
    this.names = { inputs: env.inputNames, outputs: ["force"] };
    this.says = "A cart on a track, with a pole that turns about it.";
    [this.total, this.ended] = [new Float64Array(1), new Uint8Array(1)];
    this.restart();
  }

  restart() {
    this.state = Float64Array.from(this.env.completed(this.env.start(Math.random, anyNormal)));
    [this.time, this.upright, this.rest, this.steps, this.total[0], this.ended[0]] = [0, 0, 0, 0, 0, 0];
  }

  get over() {
    return this.ended[0] === 1 || this.steps >= this.env.maxSteps;
  }

  // Plays on for some seconds; an episode that is over stands for one second.
  advance(seconds, net, nodes, w) {
    const { env, state } = this;
    for (this.time += seconds; this.time >= env.dt; this.time -= env.dt) {
      if (this.over) {
        this.rest += env.dt;
        if (this.rest > 1) return this.restart();
        continue;
      }
      observeLanes(env, state, nodes, 1, 1);
      computeLanes(net, nodes, 1, 1, w);
      env.step(state, nodes, nodes.length - 1, this.total, this.ended, 1, 1);
      this.steps++;
      if (this.isUpright()) this.upright += env.dt;
    }
  }

  isUpright() {
    return cosOf(this.state[2]) > 0.9;
  }

  // The cart on its track, its pole of one metre, and the force as a bar.
  draw({ on, width, height }, nodes) {
    const [x, , angle] = this.state;
    const force = Math.min(1, Math.max(-1, nodes[nodes.length - 1])) || 0;
    const [metre, ground] = [Math.min(width / 5.4, height * 0.35), height * 0.6];
    const at = width / 2 + x * metre;
    on.fillStyle = colours.track;
    on.fillRect(width / 2 - 2.4 * metre, ground + 13, 4.8 * metre, 4);
    on.fillStyle = colours.against;
    on.fillRect(Math.min(at, at + 50 * force), ground - 3, Math.abs(50 * force), 6);
    on.fillStyle = colours.quiet;
    on.fillRect(at - 24, ground - 12, 48, 24);
    const end = [at + metre * Math.sin(angle), ground - metre * Math.cos(angle)];
    path(on, this.isUpright() ? colours.for : colours.ink, 8, [[at, ground], end]);
  }

  facts() {
    const gone = this.ended[0] ? (Math.abs(this.state[0]) > 2.4 ? ", off the track" : ", fallen") : "";
    return [
      ["Time", `${(this.steps * this.env.dt).toFixed(1)} of ${this.env.maxSteps * this.env.dt} s${gone}`],
      ["Reward so far", `${this.total[0].toFixed(0)} of ${this.env.maxSteps}`],
      ["Upright", `${this.upright.toFixed(1)} s`],
    ];
  }
}

const playerNote = "One number for all connections at once. Try a negative one, and try 0: then nothing gets through.";

class WannPlayer {
  constructor(root) {
    this.canvas = element("canvas", { className: "stage", role: "img" });
    this.slider = element("input", { type: "range", min: -3, max: 3, step: 0.05, value: 1, id: `${root.id}-weight` });
    this.shown = element("output", { htmlFor: this.slider.id });
    const label = element("label", { htmlFor: this.slider.id, textContent: "Weight of every connection: " }, this.shown);
    this.running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.pauseButton = button("", () => this.run(!this.running));
    const row = element("div", { className: "row" }, this.pauseButton, button("Start again", () => this.restart()));
    row.append(button("Random weights", () => this.jiggle()));
    const note = "Random weights: each connection gets its own, from −2 to 2; the slider brings the one weight back.";
    this.list = element("dl", {});
    const [left, right] = [element("div", {}), element("div", { className: "net" })];
    left.append(this.canvas, this.list);
    root.classList.add("player");
    const weight = element("div", { className: "weight" }, label, this.slider, element("p", { className: "note", textContent: playerNote }));
    root.replaceChildren(weight, left, right, row, element("p", { className: "note", textContent: note }));
    this.picture = new NetPicture(right);
    this.slider.addEventListener("input", () => this.share());
    this.w = new Float64Array(1);
    this.run(this.running);
    watchLooks(this.canvas, () => this.show());
    requestAnimationFrame((now) => this.frame(now, now));
  }

  // Shows a network; a scene that is the same goes on, at the same weight.
  play(net, scene, w) {
    const same = scene === this.scene;
    if (!same && w) this.slider.value = w;
    [this.net, this.scene, this.own] = [net, scene, null];
    this.nodes = new Float64Array(net.inputs + 1 + net.act.length).fill(1, 0, 1);
    this.canvas.ariaLabel = scene.says;
    if (!same) scene.restart();
    this.picture.draw(net, scene.names);
    this.share();
  }

  // The one weight of the slider for all connections.
  share() {
    this.own = null;
    this.w[0] = Number(this.slider.value);
    this.shown.textContent = this.w[0].toFixed(2).replace("-", "−");
    this.show();
  }

  // A weight of its own for every connection.
  jiggle() {
    this.own = { ...this.net, weights: Float64Array.from(this.net.src, () => 4 * Math.random() - 2) };
    this.w[0] = 1;
    this.shown.textContent = "each its own";
    this.show();
  }

  run(running) {
    this.running = running;
    this.pauseButton.textContent = running ? "Pause" : "Play";
  }

  restart() {
    this.scene.restart();
    this.show();
  }

  frame(now, before) {
    requestAnimationFrame((next) => this.frame(next, now));
    if (!this.scene || !this.running || !this.canvas.clientWidth) return;
    this.show(Math.min(0.1, (now - before) / 1000));
  }

  show(seconds = 0) {
    if (!this.net || !this.canvas.clientWidth) return;
    this.scene.advance(seconds, this.own ?? this.net, this.nodes, this.w);
    readColours(this.canvas);
    this.scene.draw(begin(this.canvas), this.nodes);
    this.picture.light(this.nodes);
    const rows = this.scene.facts(this.own ?? this.net, this.w[0]);
    this.list.replaceChildren(...rows.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  }
}
