"""The networks that the authors released, played here.

.venv/bin/python benchmarks/wann_champions.py FOLDER     the folder holds swing.out and biped.out; about a minute
"""

import sys
from pathlib import Path

import numpy as np

from harness import write
from untrained.wann import GymEnv, Packed, Task, best_shared, four_columns, read_champion, swing_up

TRIALS = 100


def played(task: Task, path: Path, grid: np.ndarray) -> dict[str, object]:
    net = read_champion(path, task.inputs, task.outputs).replace(weights=None)
    over_grid = task.rewards(Packed.of([net]), tuple(grid), 0, reps=TRIALS, part="test")[0]
    facts = {"task": task.name, "connections": net.connections, "grid": [float(grid[0]), float(grid[-1]), len(grid)]}
    facts |= {"grid_mean": over_grid.mean(), "grid_best": over_grid.max(), "best_weight": grid[over_grid.argmax()]}
    if len(grid) > 1:
        columns = four_columns(task, net, shared=best_shared(task, net), trials=TRIALS)
        facts["columns"] = [{"name": column.name, "mean": column.mean, "std": column.std} for column in columns]
    print(facts)
    return facts


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    swing = played(swing_up(), folder / "swing.out", np.linspace(-2, 2, 81))
    biped = played(GymEnv("BipedalWalker-v3"), folder / "biped.out", np.array([-1.5]))
    write("wann_champions", [swing, biped])
