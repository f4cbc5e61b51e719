"""Are so many activation functions needed? Swing-up with fewer of them, ten searches each, the same CPU time for all.

.venv/bin/python benchmarks/wann_activations.py     about 8 minutes; goes on where it stopped
"""

import time

import numpy as np

from harness import measured, write
from untrained.wann import Search, swing_up
from untrained.wann.networks.activations import NAMES

SECONDS, SEEDS = 6, 10
SETS = {
    "all ten": NAMES[:10],
    "without sin and cos": tuple(name for name in NAMES[:10] if name not in ("sin", "cos")),
    "tanh, relu, gaussian": ("tanh", "relu", "gaussian"),
    "tanh and relu": ("tanh", "relu"),
    "tanh alone": ("tanh",),
}


def reached(activations: tuple[str, ...], seed: int) -> tuple[float, int]:
    """Reward on validation episodes, mean of the six weights, and connections after the CPU seconds."""
    task = swing_up()
    task.activations = activations
    search = Search(task, "swingup", seed=seed)
    search.step()  # compiles
    start = time.process_time()
    while time.process_time() - start < SECONDS:
        search.step()
    search.look()
    return search.best.reward, search.best.net.connections


if __name__ == "__main__":
    rows = measured("wann_activations")
    for name, activations in SETS.items():
        if any(row["activations"] == name for row in rows):
            continue
        found = [reached(activations, seed) for seed in range(SEEDS)]
        rewards, connections = zip(*found, strict=True)
        row = {"activations": name, "rewards": rewards, "connections": connections}
        row |= {"mean": np.mean(rewards), "std": np.std(rewards), "size": np.median(connections)}
        rows.append(row)
        print(f"{name:24} {row['mean']:6.0f} ± {row['std']:.0f}   {row['size']:.0f} connections", flush=True)
        write("wann_activations", rows)
