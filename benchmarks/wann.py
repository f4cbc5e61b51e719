"""Speed of evaluating and breeding weight agnostic networks, one thread, against plain numpy (the tests' oracle).

.venv/bin/python benchmarks/wann.py     about 2 minutes

The populations are those that the presets have at generation 8 and 32 of seed 0, on made-up images of MNIST's size (a
fifth of 16×16 pixels lit), so no data set is needed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from harness import write
from untrained.wann import WEIGHTS, Classify, Packed, Search, digits, swing_up
from untrained.wann.evolution.ranking import rank

ROUNDS = 7
# The authors' code on one core, measured on another machine (steps, and network × weight × 1,000 images, per second).
OFFICIAL = {"swing-up": 47_000, "MNIST 16×16": 500, "digits 8×8": 1_700}


@dataclass
class Speed:
    """Units per CPU second of ours and of numpy: medians over the rounds, and of the ratio least, median and most."""

    what: str
    unit: str
    ours: float
    numpy: float
    ratio: float
    least: float
    most: float


def paired(what: str, unit: str, ours: Callable[[], float], plain: Callable[[], float]) -> Speed:
    """Both in turn; each returns how many units it did."""
    ours()
    speeds = []
    for _ in range(ROUNDS):
        pair = []
        for run in (ours, plain):
            start = time.process_time()
            units = run()
            pair.append(units / (time.process_time() - start))
        speeds.append(pair)
    ratios = [a / b for a, b in speeds]
    fast, slow = (median(column) for column in zip(*speeds, strict=True))
    print(f"{what:28} {fast:14,.0f} {unit}/s   numpy {slow:10,.0f}   ratio {median(ratios):7.0f}")
    return Speed(what, unit, fast, slow, median(ratios), min(ratios), max(ratios))


def population(search: Search, generations: int) -> Packed:
    search.run(generations)
    return search.ask()


def control() -> Speed:
    task = swing_up()
    networks = population(Search(task, "swingup"), 32)
    few = networks.chosen([0])
    weights, seeds = np.array(WEIGHTS), np.arange(3)

    def plain() -> float:
        lengths = np.zeros((1, len(weights), 1), np.int64)
        task._play_plainly(few, weights, seeds[:1], np.zeros(lengths.shape), lengths)
        return float(lengths.sum())

    return paired("swing-up", "steps", lambda: task._play(networks, weights, seeds)[1].sum(), plain)


def classify(what: str, task: Classify, preset: str) -> Speed:
    networks = population(Search(task, preset), 8)
    (x, y), shared = task._draw_batch(0, "train"), np.array(WEIGHTS)
    nets = [networks.net(number) for number in range(3)]

    def ours() -> float:
        task.rewards(networks, WEIGHTS, 0)
        return len(networks) * len(WEIGHTS)

    def plain() -> float:
        for net in nets:
            task._plain_loss(net(x, shared), y)
        return len(nets) * len(WEIGHTS)

    return paired(what, "evaluations", ours, plain)


def made_up_images() -> Classify:
    rng = np.random.default_rng(0)
    x = rng.random((2000, 256)) * (rng.random((2000, 256)) < 0.2)
    return Classify(x, rng.integers(0, 10, 2000), validation=0.1, value_range=(0, 1))


def breeding() -> dict[str, float]:
    """Milliseconds of CPU time to rank, breed and express 960 genomes of 2,570 genes and more."""
    search = Search(made_up_images(), "mnist256")
    search.run(32)
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(ROUNDS):
        rewards = rng.normal(size=(960, 6))
        search.ask()
        search.state = replace(search.state, generation=33)  # no look at validation data
        start = time.process_time()
        search.tell(rewards)
        search.ask()
        taken.append(1000 * (time.process_time() - start))
    print(f"breeding, ranking, expressing {median(taken):.1f} ms")
    start = time.process_time()
    for _ in range(ROUNDS):
        rank(rng.normal(size=960), rng.normal(size=960))
    return {"ms": median(taken), "ranking_ms": 1000 * (time.process_time() - start) / ROUNDS}


if __name__ == "__main__":
    speeds = [
        control(),
        classify("MNIST 16×16", made_up_images(), "mnist256"),
        classify("digits 8×8", digits(), "digits"),
    ]
    rows = [vars(speed) | {"official": OFFICIAL[speed.what]} for speed in speeds]
    write("wann", {"speeds": rows, "breeding": breeding()})
