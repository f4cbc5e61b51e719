"""Finished searches for a swing-up network, seed by seed; their folders are given, results go to wann_seeds.json.

for seed in 0 1 2 3 4 5 6 7 8 9; do untrained wann --seed $seed --out runs/seed$seed; done
.venv/bin/python benchmarks/wann_seeds.py runs/seed?

The network, its shared weight and its tuned weights were chosen on validation episodes; all figures are of 100 test
episodes. Searches of as many islands and generations and the same seed are replaced.
"""

import json
import sys
from operator import itemgetter
from pathlib import Path

from harness import measured, write
from untrained.runs.rows import read_settings
from untrained.search.run_files import CONFIG, FOUND, RESULTS, TUNED
from untrained.wann import Net, Packed, swing_up
from wann_search import TRIALS, figures_of


def row_of(run: Path) -> dict[str, object]:
    task, settings = swing_up(), read_settings(run / CONFIG, [])
    if settings["task"] != "swingup":
        raise SystemExit(f"{run} is a run for {settings['task']}, expected swingup")
    net = Net.load(run / FOUND)
    of_tuned = task.rewards(Packed.of([Net.load(run / TUNED)]), (1.0,), 1, reps=TRIALS, part="test")
    return {
        "seed": settings["seed"],
        "islands": len(json.loads((run / RESULTS).read_text(encoding="utf-8"))["attempts"]),
        "generations": net.meta["generations"],
        **figures_of(task, net, float(net.meta["shared_weight"])),
        "weights": float(of_tuned[0, 0]),
    }


if __name__ == "__main__":
    name_of = itemgetter("islands", "generations", "seed")
    rows = {name_of(row): row for row in measured("wann_seeds")}
    for run in map(Path, sys.argv[1:]):
        row = row_of(run)
        rows[name_of(row)] = row
        print(row, flush=True)
    write("wann_seeds", [rows[key] for key in sorted(rows)])
