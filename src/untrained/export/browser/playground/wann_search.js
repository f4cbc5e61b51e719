// The search: half of a population are the best of every size by every criterion (an archive, as Python's), the other
// half children of theirs. A network's rewards are means over all generations that it has lived through.

const wannWeights = [-2, -1, -0.5, 0.5, 1, 2];
const checkStarts = 16; // starts that no network is bred by; the best is chosen by them

const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const byReward = (a, b) => b.mean - a.mean; // sorting is stable: of equals the first

// The reward at each weight, and the means of the best 1, 2, … of them: from specialists to weight agnostic networks.
function criteriaOf(rewards) {
  let sum = 0;
  return [...rewards, ...rewards.toSorted((a, b) => b - a).map((reward, i) => (sum += reward) / (i + 1))];
}

// By each criterion the best of every size class that are better than all smaller ones; the best in the mean first.
function elitesOf(members) {
  const works = members.filter(({ mean }) => Number.isFinite(mean));
  const classes = new Map();
  for (const member of works) {
    const size = Math.floor(2 * Math.log2(Math.max(member.genes, 1)));
    classes.set(size, [...(classes.get(size) ?? []), { member, by: criteriaOf(member.rewards) }]);
  }
  const ascending = Array.from(classes.keys()).sort((a, b) => a - b);
  const found = new Set();
  for (let criterion = 0; works.length && criterion < 2 * works[0].rewards.length; criterion++) {
    let reached = -Infinity;
    for (const size of ascending) {
      let best = null;
      for (const each of classes.get(size)) if (!best || each.by[criterion] > best.by[criterion]) best = each;
      if (best.by[criterion] > reached) found.add(best.member);
      reached = Math.max(reached, best.by[criterion]);
    }
  }
  return works.filter((member) => found.has(member)).sort(byReward);
}

// Those that no other equals in reward with as few connections, by size.
function paretoOf(found) {
  const front = [];
  for (const each of found.toSorted((a, b) => a.connections - b.connections || b.mean - a.mean)) {
    if (!front.length || each.mean > front[front.length - 1].mean) front.push(each);
  }
  return front;
}

class WannSearch {
  // `population`: networks of a generation; `reps`: starts of each at every weight; `seed`: a BigInt.
  constructor({ env, population = 192, reps = 4, weights = wannWeights, seed = 0n }) {
    Object.assign(this, { env, population, reps, weights, generation: 0, front: [], best: null, rows: [], pending: [] });
    const [breeding, starting] = [wordsOf(seed, "wann breeding"), wordsOf(seed, "wann starts")];
    let [count, counted] = [0, -1];
    this.uniform = () => {
      if (counted !== this.generation) [count, counted] = [0, this.generation];
      return breeding(this.generation, count++) / 2 ** 32;
    };
    this.drawStarts = (draw, many) => {
      let at = 0;
      const [uniform, normal] = [() => starting(draw, at++) / 2 ** 32, () => normalOf(starting(draw, at++))];
      return Float64Array.from(Array.from({ length: many }, () => env.completed(env.start(uniform, normal))).flat());
    };
    this.checking = this.drawStarts(2 ** 31, checkStarts);
    this.members = Array.from({ length: population }, () => this.born(firstGenome(env, this.uniform)));
  }

  born(genome) {
    const net = networkOf(genome, this.env);
    const genes = genome.on.reduce((sum, on) => sum + on, 0);
    return { genome, net, genes, connections: net.src.length, trials: 0, rewards: null, mean: -Infinity, checked: false };
  }

  // What must be played for this generation: the networks and their starts. Those after the population are candidates.
  ask() {
    const starts = this.drawStarts(this.generation, this.reps);
    return [
      ...this.members.map(({ net }) => ({ net, starts })),
      ...this.pending.map(({ net }) => ({ net, starts: this.checking })),
    ];
  }

  // Takes the mean rewards at each weight of what `ask` gave, and breeds the next generation; returns a row about this.
  tell(rewards) {
    this.members.forEach((member, i) => {
      const { trials, rewards: before } = member;
      member.rewards = trials ? before.map((mean, v) => (mean * trials + rewards[i][v]) / (trials + 1)) : rewards[i];
      member.trials++;
      member.mean = meanOf(member.rewards);
    });
    this.check(rewards.slice(this.members.length));
    const elites = elitesOf(this.members);
    this.pending = paretoOf(elites.filter((member) => member.trials > 2 && !member.checked)).slice(-8);
    for (const member of this.pending) member.checked = true;
    const row = { generation: this.generation, mean: elites[0]?.mean ?? null, rewards: this.best?.rewards ?? null };
    this.generation++;
    if (elites.length) this.breed(elites);
    else this.members = this.members.map(() => this.born(firstGenome(this.env, this.uniform)));
    this.rows.push(row);
    return row;
  }

  check(rewards) {
    const checked = this.pending.map(({ net, connections }, i) => ({ net, connections, rewards: rewards[i], mean: meanOf(rewards[i]) }));
    this.front = paretoOf([...this.front, ...checked.filter(({ mean }) => Number.isFinite(mean))]);
    this.best = this.front[this.front.length - 1] ?? null;
  }

  breed(elites) {
    const kept = elites.slice(0, Math.floor(this.population / 2));
    const children = Array.from({ length: this.population - kept.length }, () => {
      return this.born(childOf(pickOf(elites, this.uniform()).genome, this.env, this.uniform));
    });
    this.members = [...kept, ...children];
  }
}

// The mean reward at each weight of one network.
function rewardsOf({ net, starts }, env, weights) {
  const { rewards, steps } = playEpisodes(net, env, weights, starts);
  const reps = starts.length / env.states;
  return { rewards: weights.map((_, v) => meanOf(rewards.subarray(v * reps, (v + 1) * reps))), steps };
}

// The same for several networks, whatever the number of Workers that share them.
const playJobs = (jobs, env, weights) => jobs.map((job) => rewardsOf(job, wannEnvironments[env], weights));
