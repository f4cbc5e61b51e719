// A search whose networks are played by as many Workers as the machine has cores.

const jobsAtOnce = 4; // networks of a message to a Worker: some hundredths of a second

class Evolution {
  // `tell` is called after each generation; `weights` and so on as `WannSearch` has them.
  constructor({ generations, ...settings }, workers, tell) {
    Object.assign(this, { generations, workers, tell, running: false, steps: 0, playing: false });
    this.search = new WannSearch(settings);
  }

  // Goes on until another `running` or the last generation; a generation that has begun is always finished.
  async run(running) {
    const { search } = this;
    this.running = running && search.generation < this.generations;
    if (this.playing) return;
    this.playing = true;
    while (this.running) {
      search.tell(await this.play(search.ask()));
      if (search.generation >= this.generations) this.running = false;
      this.tell();
    }
    this.playing = false;
  }

  // The rewards of these networks. Two messages are on their way to each Worker, so that none waits for this page.
  async play(jobs) {
    const { env, weights } = this.search;
    const rewards = [];
    let next = 0;
    const send = async (worker) => {
      while (next < jobs.length) {
        const from = next;
        next += jobsAtOnce;
        const found = await ask(worker, jobs.slice(from, next), env.name, weights);
        found.forEach((each, i) => (rewards[from + i] = each.rewards));
        this.steps += found.reduce((sum, { steps }) => sum + steps, 0);
      }
    };
    await Promise.all([...this.workers, ...this.workers].map(send));
    return rewards;
  }
}
