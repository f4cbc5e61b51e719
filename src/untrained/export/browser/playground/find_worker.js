// The search in a Worker: it answers within some 30 ms, and shows what it has about eight times a second.

const sliceMilliseconds = 25;
const frameMilliseconds = 125;
const bins = 48;

// Of each layer its scores in bins, and where the threshold lies among them: [0, most] for |s|, [-most, most] for s.
function histogramsOf({ scores, lowest, settings: { signed, scope } }) {
  const sizes = scores.map((each) => (4 * each.reduce((sum, s) => sum + Math.abs(s), 0)) / each.length || 1);
  return scores.map((each, l) => {
    const counts = new Uint32Array(bins);
    const most = scope === "global" ? Math.max(...sizes) : sizes[l];
    const [from, width] = signed ? [-most, (2 * most) / bins] : [0, most / bins];
    const placeOf = (s) => Math.min(bins, Math.max(0, (s - from) / width));
    for (const s of each) counts[Math.min(bins - 1, Math.floor(placeOf(signed ? s : Math.abs(s))))]++;
    return { counts, from, to: most, place: placeOf(lowest[l]) / bins };
  });
}

// Messages name the method that takes them; frames are posted as they come.
class FindWorker {
  constructor(search) {
    Object.assign(this, { search, target: 0, watched: null, sent: 0, queued: false });
    this.channel = new MessageChannel(); // a timer would wait longer between slices
    this.channel.port1.onmessage = () => this.run();
    this.fresh();
  }

  // After a change from outside: another course may be due, and the next frame tells all.
  fresh() {
    [this.random, this.tested, this.flips] = [{}, null, []];
    this.before = this.search.masks.map((mask) => mask.slice());
    this.frame(true);
  }

  go({ to }) {
    const { search } = this;
    const { step, stepsPerEpoch } = search;
    if (search.over && to !== "rest") search.beginCourse();
    const nextEpoch = step + stepsPerEpoch - (step % stepsPerEpoch);
    this.target = { rest: step, step: step + 1, epoch: nextEpoch, play: Infinity }[to];
    this.queue();
  }

  queue() {
    if (!this.queued) this.channel.port2.postMessage(0);
    this.queued = true;
  }

  get playing() {
    return this.target > this.search.step && !this.search.over;
  }

  // A slice of the search.
  run() {
    const { search } = this;
    const started = performance.now();
    this.queued = false;
    while (this.playing && performance.now() - started < sliceMilliseconds) {
      search.advance();
      this.flips.push(this.countFlips());
      if (search.step % search.stepsPerEpoch === 0) this.tested = this.accuracies("test");
    }
    if (!this.playing) this.target = search.step;
    if (!this.playing || performance.now() - this.sent > frameMilliseconds) this.frame();
    if (this.playing) this.queue();
  }

  // The share of edges that came or went in a step.
  countFlips() {
    let flips = 0;
    this.search.masks.forEach((mask, l) => {
      const before = this.before[l];
      for (let i = 0; i < mask.length; i++) flips += mask[i] ^ before[i];
      before.set(mask);
    });
    return flips / this.search.count;
  }

  // Right answers on a part: found, random subnetwork, trained twin.
  accuracies(part) {
    const { search } = this;
    this.random[part] ??= search.accuracy(search.randomEffective, part);
    return [search.accuracy(search.effective, part), this.random[part], search.accuracy(search.twin, part)];
  }

  frame(whole = false) {
    const { search } = this;
    const { settings, step, stepsPerEpoch, over, time, masks, effective } = search;
    if (!this.playing) this.tested = this.accuracies("test");
    const shown = {
      whole, settings, step, stepsPerEpoch, over, time, playing: this.playing,
      validation: this.accuracies("validation"), test: this.tested, flips: this.flips,
      kept: masks.map((mask) => mask.reduce((sum, bit) => sum + bit, 0)),
      histograms: histogramsOf(search), effective: effective.map((each) => each.slice()),
      edge: this.watched && { ...this.watched, ...search.explain(this.watched) },
    };
    if (whole) shown.weights = search.weights.map((each) => each.slice());
    this.flips = [];
    postMessage(shown, shown.effective.map((each) => each.buffer));
    this.sent = performance.now();
  }

  set({ settings, masks, anew, to }) {
    if (anew) this.search.restart(settings);
    else this.search.set(settings);
    if (masks) this.search.restore(masks);
    this.go({ to });
    this.fresh();
  }

  scramble() {
    this.search.scramble();
    this.go({ to: "rest" });
    this.fresh();
  }

  watch({ watched }) {
    this.watched = watched;
    this.frame();
  }

  write({ meta }) {
    const { search } = this;
    const [accuracy, val_accuracy] = ["test", "validation"].map((part) => search.accuracy(search.effective, part));
    return writeTicket(search.settings, search.masks, { ...meta, accuracy, val_accuracy });
  }
}

// The function that makes a Worker listen: the first message brings the digits and the settings.
function startFind() {
  let worker = null;
  answerBy((kind, given) => {
    if (worker) return worker[kind](given);
    worker = new FindWorker(new Search(readDigits(given.digits), given.settings));
    return null;
  });
}
