"""Weights for a found network, a better shared one or one for every connection, and the scores of each.

The four columns of the paper's table (Gaier & Ha 2019, section 4): a random weight for every connection, a random
shared weight, the tuned shared weight, tuned weights for every connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, final, get_args

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
_REPS = 32  # episodes per validation reward
_WIDEST = 2.0  # random weights are uniform in ±2, the range of the six shared ones


@final
@dataclass(frozen=True)
class Column:
    """A column of the paper's table: the scores that one kind of weights gives.

    Args:
        name: of the kind.
        scores: one per trial.
        measures: further figures of the task by name (`Task.measures`), means over the trials; NaN if one broke down.

    Example:
        >>> wann.Column("tuned weights", (0.25, 0.75)).mean
        0.5
    """

    name: str
    scores: tuple[float, ...]
    measures: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def mean(self) -> float:
        """The mean over the trials."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """The standard deviation over the trials."""
        return float(np.std(self.scores))


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
    workers: int | str = 1,
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
        workers: number of workers that evaluate CMA-ES's candidates, or a cluster, as in `Search`.

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


def _evolve_weights(task: Task, start: Net, generations: int, seed: int, workers: int | str) -> Net:
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
    """Return the columns of the paper's table for one network, on test data or on seeds of no other use.

    A trial is a draw of the weights where they are random, and an episode with another start where the task is random.

    Args:
        task: the task that rewards the network.
        net: the network.
        tuned_net: the same with tuned weights; None: three columns.
        shared: the tuned shared weight; None: `best_shared`.
        trials: number of trials.
        seed: of the trials.

    Raises:
        ValueError: the task has no test data, or there are no trials.

    Example:
        >>> columns = wann.four_columns(wann.digits(), wann.Net(64, 10, [1] * 10, [0] * 11, []), trials=3)
        >>> [column.name for column in columns]
        ['random weights', 'random shared weight', 'tuned shared weight']
    """
    _check_trials(trials)
    net = net.replace(weights=None)
    rng = np.random.default_rng(np.random.Philox(key=[seed, 1]))
    shared = best_shared(task, net, seed=seed) if shared is None else shared
    own = rng.uniform(-_WIDEST, _WIDEST, (trials, net.connections))
    random_shared = rng.uniform(-_WIDEST, _WIDEST, trials)

    def over_trials(name: str, networks: Sequence[Net], weights: Sequence[float]) -> Column:
        trials = [
            (Packed.of([each]), (w,), seed + t) for t, (each, w) in enumerate(zip(networks, weights, strict=True))
        ]
        scores = [float(task.scores(*trial)[0, 0]) for trial in trials]
        further = [task.measures(*trial) for trial in trials]
        means = {key: float(np.mean([each[key] for each in further])) for key in further[0]}
        return Column(name, tuple(scores), means)

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
    """Return the mean score at each of the six standard weights, on test data or on seeds of no other use."""
    _check_trials(trials)
    networks = Packed.of([net.replace(weights=None)])
    reps = trials if task.by_chance else 1
    scores = task.scores(networks, WEIGHTS, seed, reps=reps)[0]
    further = task.measures(networks, WEIGHTS, seed, reps=reps)
    means = {name: float(values.mean()) for name, values in further.items()}
    return Column("the six standard weights", tuple(scores.tolist()), means)


def ensemble(task: Task, net: Net) -> float | None:
    """Return the test accuracy of the ensemble over the six weights, or None for other tasks than classification."""
    return task.ensemble_accuracy(net.replace(weights=None)) if isinstance(task, Classify) else None


def table_rows(columns: Iterable[tuple[str, float, float, int]], measure: object) -> list[tuple[str, ...]]:
    """Return (name, mean, std, trials) of columns as text; of a single trial, name and mean alone."""
    form = "{:.2%}" if measure == "accuracy" else "{:,.4g}"
    return [
        (name, form.format(mean), *((form.format(std), f"{trials:,}") if trials > 1 else ("", "")))
        for name, mean, std, trials in columns
    ]


def _check_trials(trials: int) -> None:
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
