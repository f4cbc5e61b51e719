"""Weights for a found network: a better shared one, or one for every connection; and what each is worth.

The four columns of the paper's table (Gaier & Ha 2019, section 4): a random weight for every connection, a random
shared weight, the tuned shared weight, tuned weights for every connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks.examples import Examples
from untrained.wann.tasks.supervised import Classify
from untrained.wann.tasks.task import Task

Method = Literal["auto", "cma", "gradient"]

_GRID = np.linspace(-2, 2, 81)
_SPREAD = 0.5  # of CMA-ES's first candidates about the start
_REPS = 32  # episodes to choose by
_WIDEST = 2.0  # random weights are uniform in ±2, the range of the six shared ones


@final
@dataclass(frozen=True)
class Column:
    """What one kind of weights is worth.

    Args:
        name: of the kind.
        scores: one per trial.
    """

    name: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the trials."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Standard deviation over the trials."""
        return float(np.std(self.scores))


def best_shared(task: Task, net: Net, *, seed: int = 0) -> float:
    """The best shared weight of a grid from -2 to 2 in steps of 0.05, by rewards on what chooses.

    Args:
        task: what the network is to be good at.
        net: the network; its own weights, if it has any, are not used.
        seed: of the episodes.
    """
    networks = Packed.of([net.replace(weights=None)])
    rewards = task.rewards(networks, tuple(_GRID), seed, reps=_REPS, part="validation")[0]
    return float(_GRID[np.where(np.isfinite(rewards), rewards, -np.inf).argmax()])


def tuned(
    task: Task,
    net: Net,
    *,
    shared: float | None = None,
    method: Method = "auto",
    budget: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Net:
    """The network with a weight of its own for every connection.

    Starts from the best shared weight. By CMA-ES (Hansen 2016; needs nothing but rewards), or by gradient (Adam; needs
    examples). The start and what was reached are compared on what chooses, and the better one is returned.

    Args:
        task: what the network is to be good at.
        net: the network.
        shared: the shared weight to start from; None: `best_shared`.
        method: "cma", "gradient", or "auto": by gradient where there are examples.
        budget: generations of CMA-ES (default 300) or epochs (default 20).
        seed: of everything random.
        workers: that evaluate CMA-ES's candidates.

    Raises:
        ImportError: cmaes is not installed.
        ValueError: the method is unknown or does not fit the task, or the network has no connections.
    """
    if not net.connections:
        raise ValueError("the network has no connections, so there are no weights to tune")
    if budget is not None and budget < 1:
        raise ValueError(f"budget: got {budget}, expected at least 1")
    by_gradient = method == "gradient" or (method == "auto" and isinstance(task, Examples))
    if method not in ("auto", "cma", "gradient"):
        raise ValueError(f"method: got {method!r}, expected auto, cma or gradient")
    shared = best_shared(task, net, seed=seed) if shared is None else shared
    start = net.replace(weights=np.full(net.connections, shared))
    if not by_gradient:
        reached = _by_cma(task, start, 300 if budget is None else budget, seed, workers)
    elif isinstance(task, Examples):
        from untrained.wann.tuning.gradient import by_gradient as descend

        reached = descend(task, start, epochs=20 if budget is None else budget, seed=seed)
    else:
        raise ValueError(f"{task.name} has no examples to take a gradient of; tune it by cma")
    rewards = task.rewards(Packed.of([start, reached]), (1.0,), seed, reps=_REPS, part="validation")[:, 0]
    return reached if rewards[1] > rewards[0] or not np.isfinite(rewards[0]) else start


def _by_cma(task: Task, start: Net, generations: int, seed: int, workers: int) -> Net:
    try:
        from cmaes import CMA, SepCMA
    except ImportError:
        raise ImportError("tuning by CMA-ES needs cmaes: pip install 'untrained[wann]'") from None
    assert start.weights is not None
    size = len(start.weights)
    # A full covariance matrix of many weights costs more than it learns in this many generations.
    strategy, candidates = CMA if size <= 200 else SepCMA, max(32, 8 + int(6 * np.log(size)))
    optimizer = strategy(start.weights, _SPREAD, population_size=candidates, seed=seed)
    mean = start.weights
    with Evaluator(task, workers) as evaluator:
        for generation in range(generations):
            points = [optimizer.ask() for _ in range(optimizer.population_size)]
            networks = Packed.of([start.replace(weights=point) for point in points])
            rewards = evaluator.rewards(networks, (1.0,), seed + generation, reps=8)[:, 0]
            losses = -np.where(np.isfinite(rewards), rewards, np.nan)
            worst = np.nanmax(losses) if np.isfinite(losses).any() else 0.0
            losses = np.nan_to_num(losses, nan=worst + 1.0)
            # The mean of the better half is steadier than any one of them.
            best = np.argsort(losses, kind="stable")[: len(points) // 2]
            mean = np.mean([points[i] for i in best], axis=0)
            optimizer.tell([(point, float(loss)) for point, loss in zip(points, losses, strict=True)])
            if optimizer.should_stop():
                break
    return start.replace(weights=mean)


def four_columns(
    task: Task, net: Net, tuned_net: Net | None = None, *, shared: float | None = None, trials: int = 100, seed: int = 0
) -> list[Column]:
    """The table of the paper for one network, on what reports: test data, or seeds used for nothing else.

    A trial is a draw of the weights where they are random, and an episode with a start of its own where there is chance
    in the task.

    Args:
        task: what the network is to be good at.
        net: the network.
        tuned_net: the same with tuned weights; None: three columns.
        shared: the tuned shared weight; None: `best_shared`.
        trials: how many.
        seed: of the trials.

    Raises:
        ValueError: the task has nothing to report on.
    """
    if trials < 1:
        raise ValueError(f"trials: got {trials}, expected at least 1")
    net = net.replace(weights=None)
    rng = np.random.default_rng(np.random.Philox(key=[seed, 1]))
    shared = best_shared(task, net, seed=seed) if shared is None else shared
    own = rng.uniform(-_WIDEST, _WIDEST, (trials, net.connections))
    random_shared = rng.uniform(-_WIDEST, _WIDEST, trials)

    def over_trials(name: str, networks: Sequence[Net], weights: Sequence[float]) -> Column:
        scores = [
            float(task.scores(Packed.of([each]), (w,), seed + trial)[0, 0])
            for trial, (each, w) in enumerate(zip(networks, weights, strict=True))
        ]
        return Column(name, tuple(scores))

    repeats = trials if task.by_chance else 1
    columns = [
        over_trials("random weights", [net.replace(weights=weights) for weights in own], [1.0] * trials),
        over_trials("random shared weight", [net] * trials, random_shared.tolist()),
        over_trials("tuned shared weight", [net] * repeats, [shared] * repeats),
    ]
    if tuned_net is not None:
        columns.append(over_trials("tuned weights", [tuned_net] * repeats, [1.0] * repeats))
    return columns


def six_weights(task: Task, net: Net, *, trials: int = 100, seed: int = 0) -> Column:
    """Mean score at each of the six standard weights, on what reports."""
    if trials < 1:
        raise ValueError(f"trials: got {trials}, expected at least 1")
    networks = Packed.of([net.replace(weights=None)])
    scores = task.scores(networks, WEIGHTS, seed, reps=trials if task.by_chance else 1)[0]
    return Column("the six standard weights", tuple(scores.tolist()))


def ensemble(task: Task, net: Net) -> float | None:
    """Accuracy on test data of the ensemble over the six weights; None if the task is not to classify."""
    return task.ensemble_accuracy(net.replace(weights=None)) if isinstance(task, Classify) else None
