// A search whose networks are played by as many Workers as the machine has cores.

const jobsAtOnce = 4; // networks of a message to a Worker: some hundredths of a second
let searches = 0;

class Evolution {
  // `tell` is called with the row of each generation; `weights` and so on as `WannSearch` has them.
  constructor({ generations, ...settings }, workers, tell) {
    Object.assign(this, { generations, workers, tell, running: false, steps: 0, id: ++searches });
    this.search = new WannSearch(settings);
    // Answers for an earlier search are late, and for nobody.
    for (const worker of workers) worker.onmessage = ({ data }) => data.search === this.id && this.take(data, worker);
    this.ask();
  }

  ask() {
    this.jobs = this.search.ask();
    [this.rewards, this.missing, this.next] = [Array(this.jobs.length), this.jobs.length, 0];
  }

  run(running) {
    const starts = running && !this.running && this.search.generation < this.generations;
    this.running = running && (this.running || starts);
    if (starts) this.sendAll();
  }

  // Two messages are on their way to each Worker, so that none waits for this page.
  sendAll() {
    for (let i = 0; i < 2; i++) for (const worker of this.workers) this.send(worker);
  }

  send(worker) {
    if (!this.running || this.next >= this.jobs.length) return;
    const from = this.next;
    this.next = Math.min(this.jobs.length, from + jobsAtOnce);
    const { env, weights } = this.search;
    worker.postMessage({ search: this.id, from, jobs: this.jobs.slice(from, this.next), env: env.name, weights });
  }

  take({ from, rewards, steps }, worker) {
    rewards.forEach((each, i) => (this.rewards[from + i] = each));
    this.missing -= rewards.length;
    this.steps += steps;
    if (this.missing) return this.send(worker);
    const row = this.search.tell(this.rewards);
    this.ask();
    if (this.search.generation >= this.generations) this.running = false;
    this.sendAll();
    this.tell(row);
  }
}
