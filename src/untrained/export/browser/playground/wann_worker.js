// A Worker that plays networks: the same rewards whatever the number of Workers.

function startWannEvaluator() {
  addEventListener("message", ({ data: { search, from, jobs, env, weights } }) => {
    const found = jobs.map((job) => rewardsOf(job, wannEnvironments[env], weights));
    postMessage({ search, from, rewards: found.map((each) => each.rewards), steps: found.reduce((sum, { steps }) => sum + steps, 0) });
  });
}
