"""Searches for a swing-up network side by side: ours, that of before, and the authors'; the same CPU seconds for each.

.venv/bin/python benchmarks/wann_search.py [SECONDS]     60 CPU seconds and ten seeds for each, half an hour on one core

Seeds, methods and their order are paired: each round of one seed runs all of them. The network of a search is chosen on
validation episodes, as `untrained wann` does; all figures are from 100 test episodes. It goes on where it stopped.
"""

import sys
import time

import numpy as np

from harness import measured, write
from untrained.wann import Net, Packed, Search, Task, best_shared, swing_up

SEEDS, TRIALS = range(100, 110), 100
GRID = tuple(np.linspace(-2, 2, 41).tolist())
METHODS = {
    "archive (ours)": {"preset": "archive"},
    "swingup": {"preset": "swingup"},
    "swingup, official quirks": {"preset": "swingup", "official_quirks": True},
}


def figures_of(task: Task, net: Net, best: float) -> dict[str, float]:
    """The figures of a network on test episodes, those of one weight at its best one."""
    networks = Packed.of([net])
    measures = task.measures(networks, (best,), 1, reps=TRIALS)
    return {
        "connections": net.connections,
        "shared": float(task.rewards(networks, GRID, 1, reps=TRIALS, part="test").mean()),
        "tuned": float(task.rewards(networks, (best,), 1, reps=TRIALS, part="test")[0, 0]),
        **{name: float(values[0, 0]) for name, values in measures.items()},
    }


def reached(seed: int, seconds: float, settings: dict) -> dict[str, object]:
    task = swing_up()
    search = Search(task, seed=seed, **settings)
    search.step()  # compiles
    start = time.process_time()
    while time.process_time() - start < seconds:
        search.step()
    search.look()
    found = {"generations": search.state.generation}
    for name, each in (
        ("chosen", search.best),
        ("at its best weight", max(search.front, key=lambda f: max(f.rewards))),
    ):
        found[name] = figures_of(task, each.net, best_shared(task, each.net))
    return found


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    rows = measured("wann_search")
    for seed in SEEDS:
        for name, settings in METHODS.items():
            key = {"method": name, "seed": seed, "seconds": seconds}
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(key | reached(seed, seconds, settings))
            print(rows[-1], flush=True)
            write("wann_search", rows)
