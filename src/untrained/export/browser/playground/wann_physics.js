// Two environments, as untrained/wann/tasks/environments.py has them. Number s of the state of lane q is
// state[s * lanes + q]; `x`, speed, angle (0 is up), angular speed, and for swing-up cos and sin of the angle, kept.

const wannSwingUp = {
  name: "swingup",
  inputs: 5,
  outputs: 1,
  states: 6,
  maxSteps: 1000,
  dt: 0.01,
  inputNames: ["place", "speed", "cos angle", "sin angle", "spin"],
  // A start; normal() draws from N(0, 1).
  start: (uniform, normal) => [0, 0, Math.PI, 0].map((middle) => middle + 0.2 * normal()),
  completed: ([x, speed, angle, spin]) => [x, speed, angle, spin, cosOf(angle), sinOf(angle)],
  shown: [0, 1, 4, 5, 3], // the numbers of the state that the inputs are
  step(state, nodes, action, total, ended, lanes, width) {
    const [g, pole, length, friction, dt] = [9.82, 0.5, 0.6, 0.1, 0.01];
    const [both, lever] = [0.5 + pole, pole * length]; // the cart weighs 0.5, too
    for (let q = 0; q < width; q++) {
      const iv = lanes + q;
      const ia = iv + lanes;
      const iw = ia + lanes;
      const speed = state[iv];
      const spin = state[iw];
      const c = state[4 * lanes + q];
      const s = state[5 * lanes + q];
      const output = nodes[action * lanes + q];
      const force = 10 * Math.min(Math.max(output, -1), 1);
      const pull =
        (-2 * lever * (spin * spin) * s + 3 * pole * g * s * c + 4 * force - 4 * friction * speed) /
        (4 * both - 3 * pole * (c * c));
      const turn =
        (-3 * lever * (spin * spin) * s * c + 6 * both * g * s + 6 * (force - friction * speed) * c) /
        (4 * length * both - 3 * lever * (c * c));
      const x = state[q] + speed * dt;
      const angle = state[ia] + spin * dt;
      const after = cosOf(angle);
      state[q] = x;
      state[iv] = speed + pull * dt;
      state[ia] = angle;
      state[iw] = spin + turn * dt;
      state[4 * lanes + q] = after;
      state[5 * lanes + q] = sinOf(angle);
      // The last term is no number for an output that is none.
      total[q] += ((after + 1) / 2) * cosOf((x / 2.4) * (Math.PI / 2)) + 0 * output;
      ended[q] = Math.abs(x) > 2.4 ? 1 : 0;
    }
  },
};

const wannCartPole = {
  name: "cartpole",
  inputs: 4,
  outputs: 1,
  states: 4,
  maxSteps: 500,
  dt: 0.02,
  inputNames: ["place", "speed", "angle", "spin"],
  start: (uniform) => Array.from({ length: 4 }, () => 0.1 * uniform() - 0.05),
  completed: (state) => state,
  shown: [0, 1, 2, 3],
  step(state, nodes, action, total, ended, lanes, width) {
    const widest = (12 * 2 * Math.PI) / 360;
    for (let q = 0; q < width; q++) {
      const iv = lanes + q;
      const ia = iv + lanes;
      const iw = ia + lanes;
      const output = nodes[action * lanes + q];
      const speed = state[iv];
      const spin = state[iw];
      const c = cosOf(state[ia]);
      const s = sinOf(state[ia]);
      const push = ((output > 0 ? 10 : -10) + 0.05 * (spin * spin) * s) / 1.1;
      const turn = (9.8 * s - c * push) / (0.5 * (4 / 3 - (0.1 * (c * c)) / 1.1));
      const pull = push - (0.05 * turn * c) / 1.1;
      state[q] += 0.02 * speed;
      state[iv] = speed + 0.02 * pull;
      state[ia] += 0.02 * spin;
      state[iw] = spin + 0.02 * turn;
      total[q] += 1 + 0 * output;
      ended[q] = Math.abs(state[q]) > 2.4 || Math.abs(state[ia]) > widest ? 1 : 0;
    }
  },
};

const wannEnvironments = { swingup: wannSwingUp, cartpole: wannCartPole };

function observeLanes({ shown }, state, nodes, lanes, width) {
  for (let i = 0; i < shown.length; i++) {
    const from = shown[i] * lanes;
    const to = (i + 1) * lanes;
    for (let q = 0; q < width; q++) nodes[to + q] = state[from + q];
  }
}

// Plays every start at every weight; {rewards, steps}: the reward of weight v from start r is rewards[v * R + r].
function playEpisodes(net, env, weights, starts) {
  const reps = starts.length / env.states;
  const lanes = weights.length * reps;
  const state = new Float64Array(env.states * lanes);
  const nodes = new Float64Array((net.inputs + 1 + net.act.length) * lanes).fill(1, 0, lanes);
  const [w, total, ended] = [new Float64Array(lanes), new Float64Array(lanes), new Uint8Array(lanes)];
  const [episode, rewards] = [new Int32Array(lanes), new Float64Array(lanes)];
  for (let q = 0; q < lanes; q++) {
    episode[q] = q;
    w[q] = weights[Math.floor(q / reps)];
    for (let s = 0; s < env.states; s++) state[s * lanes + q] = starts[(q % reps) * env.states + s];
  }
  const action = net.inputs + 1 + net.act.length - net.outputs;
  let [running, played] = [lanes, 0];
  for (let step = 1; running > 0; step++) {
    observeLanes(env, state, nodes, lanes, running);
    computeLanes(net, nodes, lanes, running, w);
    env.step(state, nodes, action, total, ended, lanes, running);
    played += running;
    for (let q = running - 1; q >= 0; q--) {
      if (!ended[q] && step < env.maxSteps) continue;
      // The last lane that runs takes the place of one that ended.
      rewards[episode[q]] = total[q];
      running--;
      episode[q] = episode[running];
      w[q] = w[running];
      total[q] = total[running];
      for (let s = 0; s < env.states; s++) state[s * lanes + q] = state[s * lanes + running];
    }
  }
  return { rewards, steps: played };
}
