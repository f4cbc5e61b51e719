"""Finished searches for a swing-up network, seed by seed; their folders are given, results go to wann_seeds.json.

for seed in 0 1 2 3 4 5 6 7 8 9; do untrained wann --seed $seed --out runs/seed$seed; done
.venv/bin/python benchmarks/wann_seeds.py runs/seed?

The network, its shared weight and its tuned weights were chosen on validation episodes; all figures are of 100 test
episodes. Searches of as many islands and generations and the same seed are replaced.
"""

import sys
from operator import itemgetter
from pathlib import Path

import numpy as np

from harness import measured, write
from untrained.runs.rows import read_settings
from untrained.search.run_files import CONFIG, FOUND, TUNED
from untrained.wann import Net, Packed, swing_up

TRIALS, GRID = 100, tuple(np.linspace(-2, 2, 41).tolist())


def row_of(run: Path) -> dict[str, object]:
    task, settings = swing_up(), read_settings(run / CONFIG, [])
    if settings["task"] != "swingup":
        raise SystemExit(f"{run} is a run for {settings['task']}, expected swingup")
    net = Net.load(run / FOUND)
    networks, best = Packed.of([net]), (float(net.meta["shared_weight"]),)
    of_tuned = task.rewards(Packed.of([Net.load(run / TUNED)]), (1.0,), 1, reps=TRIALS, part="test")
    return {
        "seed": settings["seed"],
        "islands": settings["islands"],
        "generations": net.meta["generations"],
        "connections": net.connections,
        "shared": float(task.rewards(networks, GRID, 1, reps=TRIALS, part="test").mean()),
        "tuned": float(task.rewards(networks, best, 1, reps=TRIALS, part="test")[0, 0]),
        "weights": float(of_tuned[0, 0]),
        **{name: float(value[0, 0]) for name, value in task.measures(networks, best, 1, reps=TRIALS).items()},
    }


if __name__ == "__main__":
    name_of = itemgetter("islands", "generations", "seed")
    rows = {name_of(row): row for row in measured("wann_seeds")}
    for run in map(Path, sys.argv[1:]):
        row = row_of(run)
        rows[name_of(row)] = row
        print(row, flush=True)
    write("wann_seeds", [rows[key] for key in sorted(rows)])
