"""Check of the laws of a Task, for tasks written elsewhere: `check_task(my_task)`."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from untrained.wann.networks.activations import NAMES, ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.task import PARTS, Part, Task

_WEIGHTS, _HUGE, _SEEDS = (-1.0, 0.5), (1e200,), range(3)


def check_task(task: Task) -> None:
    """Check that a task keeps the laws of `untrained.wann.Task`, with three small networks.

    The laws: a task can be pickled; a reward depends on network, weight, seed and part alone, to the last bit; rewards
    of networks with bounded values are finite, and at most `Task.most`; no part repeats the rewards of another one;
    measures are figures by name, the same again, change no rewards, and are NaN where a network breaks down. It takes
    about 50 calls of `rewards`, so give long episodes a small limit of steps.

    Example:
        >>> class Guess(wann.Task):
        ...     name, inputs, outputs, identity = "guess", 1, 1, lambda self: {}
        ...     rewards = lambda self, nets, weights, seed, **_: torch.rand(len(nets), len(weights)).double().numpy()
        >>> ut.testing.check_task(Guess())
        Traceback (most recent call last):
        AssertionError: guess breaks a law: a task gives the same rewards again...

    Args:
        task: an instance, as for a search.

    Raises:
        AssertionError: a law is broken; the message names it.
        TypeError: `task` is no Task.
    """
    if not isinstance(task, Task):
        raise TypeError(f"task must be an instance of a Task, got {task!r}")
    _check_description(task)
    networks = Packed.of([_bounded_net(task, seed) for seed in range(3)])
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (tasks may draw from it)
    try:
        _check_purity(task, networks)
        _check_parts(task, networks)
        _check_measures(task, networks)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    net = task.finished(networks.net(0))
    _require((net.inputs, net.outputs) == (task.inputs, task.outputs), task, "finishes a network of the task's sizes")


def _check_description(task: Task) -> None:
    _require(isinstance(task.name, str) and bool(task.name), task, "has a name")
    sizes = task.inputs, task.outputs
    _require(all(isinstance(size, int) and size >= 1 for size in sizes), task, f"has inputs and outputs, got {sizes}")
    names = task.input_names
    most = task.most
    _require(most is None or bool(np.isfinite(most)), task, f"has a finite number as its most or None, got {most}")
    _require(names is None or len(names) == task.inputs, task, f"has a name for every input or none, got {names}")
    _require(set(task.activations) <= set(NAMES), task, f"has activations by their names, got {task.activations}")
    try:
        json.dumps(task.identity())
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{task.name} breaks a law: a task has an identity for JSON, but {error}") from error


def _bounded_net(task: Task, seed: int) -> Net:
    """Return a small network all of whose values lie in [-1, 1] or are weighted sums of a few of them."""
    rng = np.random.default_rng(seed)
    hidden = [rng.integers(0, task.inputs + 1, 3) for _ in range(4)]
    outputs = [task.inputs + 1 + rng.integers(0, 4, 2) for _ in range(task.outputs)]
    edge_ptr = np.cumsum([0, *map(len, hidden), *map(len, outputs)])
    kinds = ids_of(["tanh", "gaussian", "sin", "tanh"] + ["linear"] * task.outputs)
    return Net(task.inputs, task.outputs, kinds, edge_ptr, np.concatenate([*hidden, *outputs]))


def _check_purity(task: Task, networks: Packed) -> None:
    whole = _rewards(task, networks)
    law = "gives the same rewards again, wherever the global generators of Python and numpy stand"
    _require(np.array_equal(whole, _rewards(task, networks)), task, law)
    try:
        copy = pickle.loads(pickle.dumps(task))
    except Exception as error:
        raise AssertionError(f"{task.name} breaks a law: a task can be pickled, but pickle raises: {error}") from error
    _require(copy.identity() == task.identity(), task, "has a copy with the same identity")
    _require(np.array_equal(whole, _rewards(copy, networks)), task, "has a pickled copy that gives the same rewards")
    count = len(networks)
    alone = [_rewards(task, networks.part(number, number + 1)) for number in range(count)]
    _require(np.array_equal(whole, np.concatenate(alone)), task, "rewards a network alone as among others")
    back = _rewards(task, networks.chosen(range(count)[::-1]))
    _require(np.array_equal(whole, back[::-1]), task, "rewards networks the same in any order")
    single = [_rewards(task, networks, weights=(weight,)) for weight in _WEIGHTS]
    _require(np.array_equal(whole, np.concatenate(single, 1)), task, "rewards a weight alone as among others")
    _rewards(task, networks, reps=2)


def _check_parts(task: Task, networks: Packed) -> None:
    try:
        task.rewards(networks, _WEIGHTS, 0, part="holdout")  # pyright: ignore[reportArgumentType]
    except ValueError:
        pass
    else:
        _require(False, task, "refuses a part that there is not, with a ValueError")
    found: dict[Part, list[np.ndarray]] = {}
    for part in PARTS:
        try:
            found[part] = [_rewards(task, networks, seed=seed, part=part) for seed in _SEEDS]
        except ValueError:
            _require(part == "test", task, f"has a part {part}")  # examples to report on are optional
    scores = [task.scores(networks, _WEIGHTS, seed, part="validation") for seed in _SEEDS]
    _require(all(each.shape == (len(networks), len(_WEIGHTS)) for each in scores), task, "has scores (P, V)")
    if not task.by_chance:
        _require(all(np.array_equal(scores[0], each) for each in scores), task, "has the same scores at every seed")
    if all(not np.array_equal(one, other) for one, other in combinations(found["train"], 2)):
        for one, other in combinations(found, 2):
            # Examples may be searched on and chosen by, if that is asked for.
            if task.by_chance or other == "test":
                shared = any(np.array_equal(a, b) for a in found[one] for b in found[other])
                _require(not shared, task, f"gives other rewards for {one} than for {other}, at any seeds")


def _check_measures(task: Task, networks: Packed) -> None:
    before, measures = _rewards(task, networks, part="validation"), _measures(task, networks)
    finite = all(np.isfinite(values).all() for values in measures.values())
    _require(finite, task, "has finite measures for networks that do not break down")
    again = _measures(task, networks)
    equal = list(measures) == list(again) and all(np.array_equal(measures[name], again[name]) for name in measures)
    _require(equal, task, "gives the same measures again")
    law = "gives the same rewards after it has measured"
    _require(np.array_equal(before, _rewards(task, networks, part="validation")), task, law)
    scores, both = task.scores_and_measures(networks, _WEIGHTS, 5, part="validation")
    same = np.array_equal(scores, task.scores(networks, _WEIGHTS, 5, part="validation")) and list(both) == list(again)
    same = same and all(np.array_equal(both[name], again[name]) for name in again)
    _require(same, task, "gives the same scores and measures together as apart")
    if measures:
        torn = Packed.of([_torn_net(task)])
        broken = ~np.isfinite(task.rewards(torn, _HUGE, 5, part="validation"))
        law = "measures NaN where a network breaks down"
        _require(all(np.isnan(values[broken]).all() for values in _measures(task, torn, _HUGE).values()), task, law)


def _torn_net(task: Task) -> Net:
    """Return a network whose outputs are infinity less infinity, NaN, at a huge weight."""
    square, minus = task.inputs + 1, task.inputs + 2
    kinds = ids_of(["square", "inverse"] + ["linear"] * task.outputs)
    src = np.array([0, square, *[square, minus] * task.outputs])
    edge_ptr = np.cumsum([0, 1, 1] + [2] * task.outputs)
    return Net(task.inputs, task.outputs, kinds, edge_ptr, src)


def _measures(task: Task, networks: Packed, weights: tuple[float, ...] = _WEIGHTS) -> dict[str, np.ndarray]:
    """Return measures, which must have names, the right shape and type."""
    measures = task.measures(networks, weights, 5, part="validation")
    named = isinstance(measures, Mapping) and all(isinstance(name, str) and name for name in measures)
    _require(named, task, f"has measures by name, got {measures!r}")
    shape = len(networks), len(weights)
    right = all(isinstance(v, np.ndarray) and v.dtype == np.float64 and v.shape == shape for v in measures.values())
    _require(right, task, f"has measures float64 {shape}")
    return measures


def _rewards(
    task: Task,
    networks: Packed,
    *,
    weights: tuple[float, ...] = _WEIGHTS,
    seed: int = 5,
    reps: int = 1,
    part: Part = "train",
) -> np.ndarray:
    """Return rewards that have the right shape and type and are finite; global generators are moved before."""
    random.random()
    np.random.random()  # noqa: NPY002
    rewards = task.rewards(networks, weights, seed, reps=reps, part=part)
    shape = len(networks), len(weights)
    right = isinstance(rewards, np.ndarray) and rewards.dtype == np.float64 and rewards.shape == shape
    _require(right, task, f"has rewards float64 {shape}")
    _require(bool(np.isfinite(rewards).all()), task, "has finite rewards for networks that do not break down")
    limit = np.inf if task.most is None else task.most + 1e-9 * abs(task.most)
    _require(bool((rewards <= limit).all()), task, f"has no reward above its most, {task.most}")
    return rewards


def _require(holds: bool, task: Task, law: str) -> None:
    if not holds:
        raise AssertionError(f"{task.name} breaks a law: a task {law}")
