"""Tune the weights of a network by CMA-ES, which needs rewards alone, and which starts again until its budget is spent.

Hansen, "The CMA Evolution Strategy: A Tutorial", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from untrained.terminal.extras import install_command
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.task import Task

_SPREAD = 0.5  # of the first candidates about the start
_REPS = 8  # episodes per candidate
_LOOK_EVERY = 10  # generations from one validation to the next
_PATIENCE = 10  # validations in a row without a new best of this run, before it starts again
_FULL = 200  # weights; the full covariance matrix of more costs more than it learns in so few generations


def evolve_weights(
    task: Task, start: Net, reward_of: Callable[[Net], float], *, budget: int, seed: int, workers: int | str | None
) -> Net:
    """Return the network with the best weights by validation that CMA-ES came across, the start among them.

    A run ends when it converges, or when validation finds nothing better in it for 100 generations; the next run
    begins at the same start with other random numbers.

    Args:
        task: the task that rewards the network.
        start: the network, with the weights to start from.
        reward_of: the validation reward of a network.
        budget: number of generations of all runs.
        seed: of all random numbers.
        workers: as of `Evaluator`.

    Raises:
        ImportError: cmaes is not installed.
    """
    best, most, spent = start, reward_of(start), 0
    with Evaluator(task, workers) as evaluator:
        while spent < budget:
            most_of_run, misses = -np.inf, 0
            for generation, mean in enumerate(_means(evaluator, start, seed + spent), 1):
                spent += 1
                if generation % _LOOK_EVERY == 0 or spent == budget:
                    reached = start.replace(weights=mean)
                    reward = reward_of(reached)
                    misses = 0 if reward > most_of_run else misses + 1
                    most_of_run = max(most_of_run, reward)
                    if reward > most or not np.isfinite(most):
                        best, most = reached, reward
                if spent == budget or misses == _PATIENCE:
                    break
    return best


def _means(evaluator: Evaluator, start: Net, seed: int) -> Iterator[np.ndarray]:
    """Yield the mean of the better half of each generation: it is steadier than any one of them."""
    try:
        from cmaes import CMA, SepCMA
    except ImportError:
        raise ImportError(f"tuning by CMA-ES needs cmaes: {install_command('wann')}") from None
    assert start.weights is not None
    count = len(start.weights)
    candidates = max(32, 8 + int(6 * np.log(count)))
    optimizer = (CMA if count <= _FULL else SepCMA)(start.weights, _SPREAD, population_size=candidates, seed=seed)
    while True:
        points = [optimizer.ask() for _ in range(candidates)]
        networks = Packed.of([start.replace(weights=point) for point in points])
        # Every generation has episodes of its own, the same for all of its candidates.
        rewards = evaluator.rewards(networks, (1.0,), seed + optimizer.generation, reps=_REPS)[:, 0]
        losses = -np.where(np.isfinite(rewards), rewards, np.nan)
        worst = np.nanmax(losses) if np.isfinite(losses).any() else 0.0
        losses = np.nan_to_num(losses, nan=worst + 1.0)
        optimizer.tell([(point, float(loss)) for point, loss in zip(points, losses, strict=True)])
        yield np.mean([points[i] for i in np.argsort(losses, kind="stable")[: candidates // 2]], axis=0)
        if optimizer.should_stop():
            return
