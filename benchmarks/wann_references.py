"""Networks to compare a swing-up network with: nothing, and the best of many random networks.

.venv/bin/python benchmarks/wann_references.py     some seconds

They are chosen on validation episodes and measured in 100 test episodes.
"""

from dataclasses import replace

import numpy as np

from harness import write
from untrained.wann import PRESETS, WEIGHTS, JitEnv, Net, Packed, Search, best_shared, swing_up

TRIALS, RANDOM, CHOICE_REPS = 100, 1000, 8


def measured_at(task: JitEnv, net: Net, weight: float) -> dict[str, float]:
    """Return mean and deviation of the reward, and the means of all measures, in test episodes at a shared weight."""
    trials = [task.scores_and_measures(Packed.of([net]), (weight,), trial) for trial in range(TRIALS)]
    rewards = [float(scores[0, 0]) for scores, _ in trials]
    means = {name: float(np.mean([measures[name] for _, measures in trials])) for name in trials[0][1]}
    facts = {"connections": net.connections, "weight": weight}
    return facts | {"reward": float(np.mean(rewards)), "std": float(np.std(rewards)), **means}


def best_random(task: JitEnv) -> Net:
    """Return the network with the highest mean reward over the six weights, of many first ones of a search."""
    networks = Search(task, replace(PRESETS["swingup"], population=RANDOM), seed=0).ask()
    rewards = task.rewards(networks, WEIGHTS, 0, reps=CHOICE_REPS, part="validation").mean(1)
    return networks.net(int(np.where(np.isfinite(rewards), rewards, -np.inf).argmax()))


def main() -> None:
    task = swing_up()
    nothing, random = Net(task.inputs, 1, [1], [0, 0], []), best_random(task)
    rows = [
        {"name": "no connections"} | measured_at(task, nothing, 1.0),
        {"name": f"best of {RANDOM:,} random networks"} | measured_at(task, random, best_shared(task, random)),
    ]
    print(random.to_python(), rows)
    write("wann_references", rows)


if __name__ == "__main__":
    main()
