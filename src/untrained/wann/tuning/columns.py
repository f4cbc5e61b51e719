"""Scores of a network by kind of weights.

The four columns of the paper's table (Gaier & Ha 2019, section 4): a random weight for every connection, a random
shared weight, the tuned shared weight, tuned weights for every connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks.supervised import Classify
from untrained.wann.tasks.task import Task
from untrained.wann.tuning.tune import best_shared

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

    repeats = trials if task.by_chance else 1
    columns = [
        _over_trials("random weights", task, [net.replace(weights=weights) for weights in own], [1.0] * trials, seed),
        _over_trials("random shared weight", task, [net] * trials, random_shared.tolist(), seed),
        _over_trials("tuned shared weight", task, [net] * repeats, [shared] * repeats, seed),
    ]
    if tuned_net is not None:
        columns.append(_over_trials("tuned weights", task, [tuned_net] * repeats, [1.0] * repeats, seed))
    return columns


def _over_trials(name: str, task: Task, networks: Sequence[Net], weights: Sequence[float], seed: int) -> Column:
    """Return scores and measures of a network and a weight per trial."""
    scores, further = [], []
    for trial, (net, w) in enumerate(zip(networks, weights, strict=True)):
        score, measures = task.scores_and_measures(Packed.of([net]), (w,), seed + trial)
        scores.append(float(score[0, 0]))
        further.append(measures)
    means = {key: float(np.mean([each[key] for each in further])) for key in further[0]}
    return Column(name, tuple(scores), means)


def six_weights(task: Task, net: Net, *, trials: int = 100, seed: int = 0) -> Column:
    """Return the mean score at each of the six standard weights, on test data or on seeds of no other use."""
    _check_trials(trials)
    networks = Packed.of([net.replace(weights=None)])
    reps = trials if task.by_chance else 1
    scores, further = task.scores_and_measures(networks, WEIGHTS, seed, reps=reps)
    means = {name: float(values.mean()) for name, values in further.items()}
    return Column("the six standard weights", tuple(scores[0].tolist()), means)


def without_connections(task: Task, *, trials: int = 100, seed: int = 0) -> Column:
    """Return the scores of a network that does nothing, to compare others with: all its outputs are 0."""
    _check_trials(trials)
    linear, no_edges = np.ones(task.outputs, np.int64), np.zeros(task.outputs + 1, np.int64)
    none = Net(task.inputs, task.outputs, linear, no_edges, no_edges[:0])
    repeats = trials if task.by_chance else 1
    return _over_trials("no connections, to compare", task, [none] * repeats, [1.0] * repeats, seed)


def ensemble(task: Task, net: Net) -> float | None:
    """Return the test accuracy of the ensemble over the six weights, or None for other tasks than classification."""
    return task.ensemble_accuracy(net.replace(weights=None)) if isinstance(task, Classify) else None


def heading(measure: str, most: float | None) -> str:
    """Return the heading of scores in tables and at axes, such as "reward (of 1,000)"."""
    return measure if most is None else f"{measure} (of {most:,g})"


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
