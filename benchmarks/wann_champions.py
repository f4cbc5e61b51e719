"""The networks that the authors released, played here.

.venv/bin/python benchmarks/wann_champions.py FOLDER swing     the folder holds swing.out; some seconds
.venv/bin/python benchmarks/wann_champions.py FOLDER biped     and biped.out; about a minute
"""

import sys
from pathlib import Path

import numpy as np

from harness import measured, write
from untrained.wann import GymEnv, JitEnv, Packed, Task, best_shared, four_columns, read_champion, swing_up
from wann_references import TRIALS, measured_at

SHOWN = (-1.5, -1.0, -0.7, 0.8)  # balancing at times, longest at -1.0; whirling at -0.7; the highest reward at 0.8


def played(task: Task, path: Path, grid: np.ndarray) -> dict[str, object]:
    net = read_champion(path, task.inputs, task.outputs).replace(weights=None)
    over_grid = task.rewards(Packed.of([net]), tuple(grid), 0, reps=TRIALS, part="test")[0]
    facts = {"task": task.name, "connections": net.connections, "grid": [float(grid[0]), float(grid[-1]), len(grid)]}
    facts |= {"grid_mean": over_grid.mean(), "grid_best": over_grid.max(), "best_weight": grid[over_grid.argmax()]}
    if len(grid) > 1:
        columns = four_columns(task, net, shared=best_shared(task, net), trials=TRIALS)
        facts["columns"] = [{"name": column.name, "mean": column.mean, "std": column.std} for column in columns]
    if isinstance(task, JitEnv):
        facts["at"] = [measured_at(task, net, weight) for weight in SHOWN]
    print(facts)
    return facts


if __name__ == "__main__":
    folder, which = Path(sys.argv[1]), sys.argv[2]
    kept = [row for row in measured("wann_champions") if row["task"].startswith("swing") != (which == "swing")]
    if which == "swing":
        now = played(swing_up(), folder / "swing.out", np.linspace(-2, 2, 81))
    else:
        now = played(GymEnv("BipedalWalker-v3"), folder / "biped.out", np.array([-1.5]))
    write("wann_champions", [now, *kept] if which == "swing" else [*kept, now])
