"""Weights for every connection of swing-up networks, by several budgets.

.venv/bin/python benchmarks/wann_tuning.py FOLDER [FOUND.json …]     15 CPU minutes for two networks

The folder holds the authors' swing.out and, optionally, cartpole_swingup.wann.json, the weights that they tuned for it
(WANNTool/zoo). Beside it our champion is tuned, if the package has one of swing-up, and the files. It goes on where it
stopped.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from harness import measured, write
from untrained.wann import Net, Packed, Task, best_shared, champions, read_champion, swing_up, tuned

BUDGETS, SEEDS, TRIALS = (300, 1200), (0, 1, 2), 100
BIAS = -1.5  # what the authors' program adds to every weight of its file (WANNTool/config.py)


def played(task: Task, net: Net) -> dict[str, float]:
    rewards = [task.rewards(Packed.of([net]), (1.0,), 999 + trial, part="test")[0, 0] for trial in range(TRIALS)]
    chosen = task.rewards(Packed.of([net]), (1.0,), 0, reps=128, part="validation")[0, 0]
    return {"mean": float(np.mean(rewards)), "std": float(np.std(rewards)), "validation": float(chosen)}


def of_the_authors(released: Path, weights: Path) -> Net:
    """Return their network with their weights, which are in the order of sources, not of targets."""
    net = read_champion(released, 5, 1)
    matrix = np.nan_to_num(np.loadtxt(released, delimiter=",")[:, :-1])
    source, target = np.nonzero(matrix)
    own = np.array(json.loads(weights.read_text(encoding="utf-8"))[0])[np.lexsort((source, target))]
    return net.replace(weights=own + BIAS)


def networks(folder: Path, files: list[str]) -> dict[str, Net]:
    found = {"the released champion": read_champion(folder / "swing.out", 5, 1)}
    if "swingup" in champions():
        found["ours"] = champions()["swingup"]
    found |= {f"ours, another ({number})": Net.load(file) for number, file in enumerate(files, 1)}
    return {name: net.replace(weights=None) for name, net in found.items()}


if __name__ == "__main__":
    folder, task = Path(sys.argv[1]), swing_up()
    rows = measured("wann_tuning")
    if (weights := folder / "cartpole_swingup.wann.json").exists():
        name = "the authors' weights"
        rows = [row for row in rows if row["network"] != name]
        rows.append({"network": name} | played(task, of_the_authors(folder / "swing.out", weights)))
    for budget in BUDGETS:
        for seed in SEEDS:
            for name, net in networks(folder, sys.argv[2:]).items():
                key = {"network": name, "connections": net.connections, "budget": budget, "seed": seed}
                if any(key.items() <= row.items() for row in rows):
                    continue
                shared = best_shared(task, net, seed=seed)
                start = time.process_time()
                own = tuned(task, net, shared=shared, budget=budget, seed=seed)
                seconds = time.process_time() - start
                weight = played(task, net.replace(weights=np.full(net.connections, shared)))
                rows.append(key | {"seconds": seconds, "shared": weight} | played(task, own))
                print(rows[-1], flush=True)
                write("wann_tuning", rows)
