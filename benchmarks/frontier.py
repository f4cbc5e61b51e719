"""The frontiers of docs/frontier.md: tickets and trained networks over their bytes, by `untrained frontier`.

    .venv/bin/python benchmarks/frontier.py --data-dir DIR      (DIR holds MNIST/raw; about an hour on one core)

Goes on where it was interrupted; what is in benchmarks/results/frontier_*.json is not measured again. Rows are chosen
by validation data, and the last epoch counts.
"""

import argparse
import shutil
from pathlib import Path

from harness import measured, write
from untrained.experiments.frontier import Frontier, frontier
from untrained.runs.frontier import pareto_front

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "benchmarks"
METHODS = "edge-popup(keep=0.5),small"
# Winning tickets take six trainings each, so they are only among the digits.
OPPONENTS = "int8-twin,int4-twin,ternary-twin,ternary-twin(keep=0.03),binary-twin,pruned-twin"
COMMON = {"methods": METHODS, "batch_size": 128}
FRONTIERS = {
    "frontier_digits": {**COMMON, "widths": (300, 100), "epochs": 30, "batch_size": 64, "keep": "0.2,0.1,0.05",
                        "opponents": f"{OPPONENTS},narrow-twin,imp-ticket(keep=0.1)"},
    "frontier_mnist_fc": {**COMMON, "data": "mnist", "widths": (512, 512), "epochs": 5, "keep": "0.1,0.05,0.03",
                          "opponents": f"{OPPONENTS},narrow-twin"},
    "frontier_mnist_conv": {**COMMON, "data": "mnist", "model": "mnist-conv", "epochs": 1, "amp": True, "seeds": 2,
                            "keep": "0.1,0.05,0.03", "opponents": "int4-twin,ternary-twin,pruned-twin"},
}  # fmt: skip


def facts(found: Frontier) -> dict[str, object]:
    """Return the sentences, and every row with its seeds."""
    sound = [entry for entry in found.entries if not entry.fault]
    fronts = (pareto_front([entry for entry in sound if entry.trained == trained]) for trained in (False, True))
    best = {id(entry) for front in fronts for entry in front}
    rows = [
        {
            "name": entry.name,
            "trained": entry.trained,
            "best": id(entry) in best,
            "fault": entry.fault,
            "bytes": line.file_bytes,
            "val_accuracy": line.val_accuracy,
            "epochs": line.epochs,
            "accuracies": [cell.accuracy for cell in entry.cells if not cell.error],
        }
        for entry, line in zip(found.entries, found.lines, strict=True)
    ]
    return {"sentences": found.sentences, "rows": [row for row in rows if row["accuracies"]]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--only", choices=FRONTIERS)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    for name, settings in FRONTIERS.items():
        if measured(name) or arguments.only not in (None, name):
            continue
        out, begun = RUNS / name, (RUNS / name / "cells").is_dir()
        run = frontier(
            **settings, out=out, resume=begun, data_dir=arguments.data_dir, jobs=arguments.jobs, device="cpu"
        )
        write(name, facts(run))
        if run.picture is not None:
            shutil.copy(run.picture, ROOT / "docs" / f"{name}.png")
