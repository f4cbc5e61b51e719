"""Weights for a found network: the best shared one, or one for every connection."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.examples import Examples
from untrained.wann.tasks.task import Task

Method = Literal["auto", "cma", "gradient"]

_GRID = np.linspace(-2, 2, 81)
_SPREAD = 0.5  # of CMA-ES's first candidates about the start
_REPS = 32  # episodes per validation reward


def best_shared(task: Task, net: Net, *, seed: int = 0) -> float:
    """Return the best shared weight of a grid from -2 to 2 in steps of 0.05, by rewards on validation data.

    Args:
        task: the task that rewards the network.
        net: the network; its tuned weights, if it has any, are not used.
        seed: of the episodes.

    Example:
        >>> x = torch.linspace(0, 1, 50)[:, None].numpy()
        >>> task = wann.Regress(x, x[:, 0] / 2, value_range=(0, 1))
        >>> round(wann.best_shared(task, wann.Net(1, 1, [1], [0, 1], [1])), 2)
        0.5
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
    workers: int | str | None = 1,
) -> Net:
    """Return the network with a tuned weight for every connection.

    Starts from the best shared weight, and continues by CMA-ES (Hansen 2016; needs rewards alone) or by gradient
    (Adam; needs examples). Start and end are compared on validation data, and the better one is returned.

    Args:
        task: the task that rewards the network.
        net: the network.
        shared: the shared weight to start from; None: `best_shared`.
        method: "cma", "gradient", or "auto": by gradient where there are examples.
        budget: generations of CMA-ES (default 300) or epochs (default 20).
        seed: the seed of all random numbers.
        workers: number of workers that evaluate CMA-ES's candidates, a cluster, or None, as in `Search`.

    Raises:
        ImportError: cmaes is not installed.
        ValueError: the method is unknown or does not fit the task, or the network has no connections.

    Example:
        >>> x = torch.linspace(0, 1, 50)[:, None].numpy()
        >>> task = wann.Regress(x, x[:, 0] / 2, value_range=(0, 1))
        >>> wann.tuned(task, wann.Net(1, 1, [1], [0, 1], [1]), budget=2).weights.shape
        (1,)
    """
    if not net.connections:
        raise ValueError("the network has no connections, so there are no weights to tune")
    if budget is not None and budget < 1:
        raise ValueError(f"budget must be at least 1, got {budget}")
    if method not in get_args(Method):
        raise ValueError(f"method must be auto, cma or gradient, got {method!r}")
    shared = best_shared(task, net, seed=seed) if shared is None else shared
    start = net.replace(weights=np.full(net.connections, shared))
    if method == "cma" or (method == "auto" and not isinstance(task, Examples)):
        reached = _evolve_weights(task, start, budget or 300, seed, workers)
    elif isinstance(task, Examples):
        from untrained.wann.tuning.gradient import descend

        reached = descend(task, start, epochs=budget or 20, seed=seed)
    else:
        raise ValueError(f"{task.name} has no examples to take a gradient of; tune it by cma")
    rewards = task.rewards(Packed.of([start, reached]), (1.0,), seed, reps=_REPS, part="validation")[:, 0]
    return reached if rewards[1] > rewards[0] or not np.isfinite(rewards[0]) else start


def _evolve_weights(task: Task, start: Net, generations: int, seed: int, workers: int | str | None) -> Net:
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
