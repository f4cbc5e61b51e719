"""A finished or interrupted search for BipedalWalker-v3, measured over whole episodes; results go to wann_biped.json.

untrained wann --task gym:BipedalWalker-v3 --preset archive --population 64 --islands 1 --max-steps 400 --out runs/biped
.venv/bin/python benchmarks/wann_biped.py runs/biped     some minutes

The shared weight is chosen in validation episodes, of 400 steps like those of the search.
"""

import sys
from pathlib import Path

from harness import write
from untrained.runs.rows import read_rows, read_settings
from untrained.search.run_files import CONFIG, FOUND, METRICS
from untrained.wann import GymEnv, Net, best_shared, four_columns

TRIALS = 20


def main(run: Path) -> None:
    settings, net = read_settings(run / CONFIG, []), Net.load(run / FOUND)
    rows = read_rows(run / METRICS, "generation", [])
    shared = best_shared(GymEnv("BipedalWalker-v3", max_steps=net.meta["max_steps"]), net, seed=settings["seed"])
    columns = four_columns(GymEnv("BipedalWalker-v3"), net, shared=shared, trials=TRIALS, seed=settings["seed"])
    found = {
        "generations": len(rows),
        "minutes": sum(row["seconds"] for row in rows) / 60,
        "population": settings["population"],
        "steps": net.meta["max_steps"],
        "connections": net.connections,
        "trials": TRIALS,
        "columns": {column.name: [column.mean, column.std] for column in columns},
    }
    print(found)
    write("wann_biped", found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
