"""Weights for a found network: the best shared one, or one for every connection."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.examples import Examples
from untrained.wann.tasks.task import Task
from untrained.wann.tuning.cma import evolve_weights

Method = Literal["auto", "cma", "gradient"]

_GRID = np.linspace(-2, 2, 81)
_REPS = 32  # episodes per validation reward of a shared weight
_CHOSEN_BY = 128  # and of tuned weights: a start that fails is rare


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
    (Adam; needs examples). The weights with the best reward on validation data are returned, the start among them.

    Args:
        task: the task that rewards the network.
        net: the network.
        shared: the shared weight to start from; None: `best_shared`.
        method: "cma", "gradient", or "auto": by gradient where there are examples.
        budget: generations of CMA-ES (default 300), which starts again until they are spent, or epochs (default 20).
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

    def reward_of(each: Net) -> float:
        return float(task.rewards(Packed.of([each]), (1.0,), seed, reps=_CHOSEN_BY, part="validation")[0, 0])

    if method == "cma" or (method == "auto" and not isinstance(task, Examples)):
        return evolve_weights(task, start, reward_of, budget=budget or 300, seed=seed, workers=workers)
    if not isinstance(task, Examples):
        raise ValueError(f"{task.name} has no examples to take a gradient of; tune it by cma")
    from untrained.wann.tuning.gradient import descend

    reached = descend(task, start, epochs=budget or 20, seed=seed)
    was = reward_of(start)
    return reached if reward_of(reached) > was or not np.isfinite(was) else start
