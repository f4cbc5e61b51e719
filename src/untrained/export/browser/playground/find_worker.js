// The search in a Worker: it answers within some 30 ms, and shows what it has about eight times a second.

const sliceMilliseconds = 25;
const frameMilliseconds = 125;
const bins = 48;

// Scores in bins, and where the threshold lies among them: [0, most] for |s|, [-most, most] for s.
function histogramOf(scores, lowest, signed, most) {
  const counts = new Uint32Array(bins);
  const [from, width] = signed ? [-most, (2 * most) / bins] : [0, most / bins];
  for (let i = 0; i < scores.length; i++) {
    const at = Math.floor(((signed ? scores[i] : Math.abs(scores[i])) - from) / width);
    counts[at < 0 ? 0 : at < bins ? at : bins - 1]++;
  }
  return { counts, from, to: most, place: Math.min(1, Math.max(0, (lowest - from) / (bins * width))) };
}

const meanSize = (scores) => scores.reduce((sum, s) => sum + Math.abs(s), 0) / scores.length;

function histogramsOf({ scores, lowest, settings: { signed, scope } }) {
  const means = scores.map((each) => 4 * meanSize(each) || 1);
  return scores.map((each, l) => histogramOf(each, lowest[l], signed, scope === "global" ? Math.max(...means) : means[l]));
}

class FindWorker {
  constructor(search, post) {
    Object.assign(this, { search, post, target: 0, pace: Infinity, watched: null, sent: 0, queued: false });
    this.channel = new MessageChannel(); // a timer would wait longer between slices
    this.channel.port1.onmessage = () => this.run();
    this.before = [];
    this.fresh();
  }

  // After a change from outside: another course may be due, and the next frame tells all.
  fresh() {
    [this.random, this.tested] = [{}, null];
    this.before = this.search.masks.map((mask) => mask.slice());
    this.flips = [];
    this.frame(true);
  }

  goTo(target) {
    const { search } = this;
    if (search.over) search.beginCourse();
    this.target = target;
    this.began = { step: search.step, at: performance.now() };
    this.queue();
  }

  queue() {
    if (this.queued) return;
    this.queued = true;
    if (this.pace === Infinity) this.channel.port2.postMessage(0);
    else setTimeout(() => this.run(), 15);
  }

  pause() {
    this.target = this.search.step;
    this.frame();
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
      if (search.step - this.began.step > ((performance.now() - this.began.at) * this.pace) / 1000) break;
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
      kind: "frame", whole, settings, step, stepsPerEpoch, over, time, playing: this.playing,
      validation: this.accuracies("validation"), test: this.tested, flips: this.flips,
      kept: masks.map((mask) => mask.reduce((sum, bit) => sum + bit, 0)),
      histograms: histogramsOf(search), effective: effective.map((each) => each.slice()),
      edge: this.watched && { ...this.watched, ...search.explain(this.watched) },
    };
    if (whole) shown.weights = search.weights.map((each) => each.slice());
    this.flips = [];
    this.post(shown, shown.effective.map((each) => each.buffer));
    this.sent = performance.now();
  }

  take({ kind, settings, masks, plays, pace, watched, meta }) {
    const { search } = this;
    if (kind === "set" || kind === "restart" || kind === "open") {
      this.target = 0;
      kind === "set" ? search.set(settings) : search.restart(settings);
      if (masks) search.restore(masks);
      this.target = plays ? Infinity : search.step;
      this.fresh();
      if (plays) this.goTo(Infinity);
    } else if (kind === "scramble") {
      search.scramble();
      this.target = search.step;
      this.fresh();
    } else if (kind === "play") this.goTo(Infinity);
    else if (kind === "pause") this.pause();
    else if (kind === "step") this.goTo(search.step + 1);
    else if (kind === "epoch") this.goTo((Math.floor(search.step / search.stepsPerEpoch) + 1) * search.stepsPerEpoch);
    else if (kind === "pace") [this.pace, this.began] = [pace, { step: search.step, at: performance.now() }];
    else if (kind === "write") {
      const accuracy = { accuracy: search.accuracy(search.effective, "test"), val_accuracy: search.accuracy(search.effective, "validation") };
      const bytes = writeTicket(search.settings, search.masks, { ...meta, ...accuracy });
      this.post({ kind: "ticket", bytes });
    } else if (kind === "watch") {
      this.watched = watched;
      this.frame();
    }
  }
}

// The function that makes a Worker listen: the first message brings the digits and the settings.
function startFind() {
  const post = (message, transfer = []) => postMessage(message, transfer);
  let worker = null;
  onmessage = ({ data }) => {
    try {
      if (data.kind === "start") worker = new FindWorker(new Search(readDigits(data.digits), data.settings), post);
      else worker.take(data);
    } catch (error) {
      post({ kind: "failed", why: error.message });
    }
  };
}
