"""A network for BipedalWalker-v3 by our search, as far as some CPU minutes get; results go to wann_biped.json.

for seed in 0 1; do .venv/bin/python benchmarks/wann_biped.py $seed 60 & done; wait     two cores, an hour
.venv/bin/python benchmarks/wann_biped.py                                               measures them, and writes

A network that stands still is safe from falling and costs all 1,600 steps of an episode, so the episodes of the search
end after 400, as in the authors' prettyNeatWann. The figures are those of whole episodes. Each search goes on from its
folder in runs, and the network is the best of all in validation.
"""

import dataclasses
import sys
import time
from pathlib import Path

from harness import write
from untrained.wann import PRESETS, GymEnv, Net, Search, best_shared, four_columns
from untrained.wann.tuning.columns import six_weights

ID, TRIALS = "BipedalWalker-v3", 100
PRESET = dataclasses.replace(PRESETS["archive"], population=64, reps=1)
FOLDERS = Path("runs")


def search_on(seed: int, minutes: float) -> None:
    """Search for some CPU minutes, and keep the best network so far in the folder."""
    folder = FOLDERS / f"wann-biped-{seed}"
    search = Search(GymEnv(ID, max_steps=400), PRESET, seed=seed)
    if folder.exists():
        search.restore(folder)
    start, spent = time.process_time(), sum(row.get("cpu", 0.0) for row in search.rows)
    while (now := time.process_time() - start) < 60 * minutes - spent:
        row = search.step()
        row["cpu"] = time.process_time() - start - now
        search.save(folder)
        if "front" in row and search.front:
            best, facts = search.best, {"seed": seed, "generations": search.state.generation}
            best.net.replace(meta=facts | {"validation": best.reward}).save(folder / "best.json")
            print(facts, row, flush=True)


def measure() -> dict[str, object]:
    """Return the columns of the paper's table for the best network of all searches."""
    folders = sorted(FOLDERS.glob("wann-biped-*"))
    nets = [Net.load(folder / "best.json") for folder in folders]
    net, task = max(nets, key=lambda each: each.meta["validation"]), GymEnv(ID)
    shared = best_shared(task, net)
    columns = [six_weights(task, net, trials=TRIALS), *four_columns(task, net, shared=shared, trials=TRIALS)]
    return {
        "searches": [each.meta for each in nets],
        "connections": net.connections,
        "shared_weight": shared,
        "columns": [{"name": each.name, "mean": each.mean, "std": each.std} for each in columns],
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        search_on(int(sys.argv[1]), float(sys.argv[2]))
    else:
        write("wann_biped", found := measure())
        print(found)
