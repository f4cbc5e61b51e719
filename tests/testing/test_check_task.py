"""check_task passes tasks that hold the laws, our own among them, and names the law that a broken one breaks."""

import random

import numpy as np
import pytest

from untrained import wann
from untrained.testing import check_task
from untrained.wann.tasks import control
from untrained.wann.tasks.by_name import ENVIRONMENTS
from untrained.wann.tasks.task import part_seed


class Right(wann.Task):
    """A task of plain numpy that holds all laws."""

    name, inputs, outputs = "right", 2, 3

    def seed(self, seed, part):
        return part_seed(seed, part)

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        x = np.random.default_rng(self.seed(seed, part)).normal(size=(4, 2))
        nets = (networks.net(number) for number in range(len(networks)))
        return np.array([[net(x, weight).mean() for weight in weights] for net in nets])

    def identity(self):
        return {"name": self.name}


def shifted(offset):
    """Return a seed method that gives a validation seed the numbers of the training seed so far away."""
    return lambda self, seed, part: seed + 0 * part_seed(seed, part) + offset * (part == "validation")


def by(change):
    """Return a rewards method that changes what Right gives."""

    def rewards(self, networks, weights, seed, **options):
        return change(Right.rewards(self, networks, weights, seed, **options))

    return {"rewards": rewards}


def measuring(change):
    """Return a measures method that gives a changed mean of what Right gives."""

    def measures(self, networks, weights, seed, *, reps=1, part="test"):
        return change(self, Right.rewards(self, networks, weights, seed, reps=reps, part=part))

    return {"measures": measures}


def noting(self, rewards):
    self.noted = True
    return {"a": rewards}


# fmt: off
BROKEN = {
    "no name": ({"name": ""}, "name"),
    "no inputs": ({"inputs": 0}, r"inputs.*\(0, 3\)"),
    "a name too few": ({"input_names": ("a",)}, r"every input.*'a'"),
    "an unknown activation": ({"activations": ("tanh", "gelu")}, "activations.*gelu"),
    "an identity of sets": ({"identity": lambda self: {"a": {1}}}, "JSON"),
    "an identity of its own": ({"identity": lambda self: {"a": id(self)}}, "same identity"),
    "numpy's generator": (by(lambda r: r + np.random.random()), "same rewards again"),  # noqa: NPY002
    "Python's generator": (by(lambda r: r + random.random()), "same rewards again"),
    "no pickle": ({"__reduce__": lambda self: (lambda: 0, ())}, "pickled"),
    "a reward of neighbours": (by(lambda r: r - r.mean(0)), "alone"),
    "a reward of the place": (by(lambda r: r + len(r) * np.arange(len(r))[:, None]), "alone"),
    "a reward of other weights": (by(lambda r: r - r.mean(1, keepdims=True)), "weight alone"),
    "single precision": (by(lambda r: r.astype(np.float32)), "float64"),
    "a row too many": (by(lambda r: np.concatenate([r, r])), r"float64 \(3, 2\)"),
    "NaN": (by(lambda r: r * np.nan), "finite"),
    "any part": ({"seed": lambda self, seed, part: hash((seed, part)) % 2**31}, "part that there is not"),
    "the same parts": ({"seed": shifted(0)}, "other rewards for train than for validation"),
    "the next seed's part": ({"seed": shifted(1)}, "other rewards for train than for validation"),
    "chance that is denied": ({"by_chance": False}, "same scores at every seed"),
    "a reward above the most": ({"most": -1e3}, "reward above its most, -1000"),
    "the most of nothing": ({"most": np.nan}, "most.*nan"),
    "measures of no name": (measuring(lambda self, r: {1: r}), "measures by name"),
    "measures as a list": (measuring(lambda self, r: [r]), "measures by name"),
    "a measure of all": (measuring(lambda self, r: {"a": r.mean()}), r"measures float64 \(3, 2\)"),
    "a measure by chance": (measuring(lambda self, r: {"a": r + np.random.random()}), "same measures"),  # noqa: NPY002
    "a measure of NaN": (measuring(lambda self, r: {"a": r * np.nan}), "finite measures"),
    "a measure of what broke": (measuring(lambda self, r: {"a": np.nan_to_num(r)}), "NaN where"),
    "a reward after measuring": (
        measuring(noting) | {"rewards": lambda self, *a, **k: Right.rewards(self, *a, **k) + hasattr(self, "noted")},
        "after it has measured",
    ),
    "both apart": (
        {"scores_and_measures": lambda self, *a, **k: (self.scores(*a, **k) + 1, {})}, "together as apart"
    ),
    "another network": ({"finished": lambda self, net: wann.Net(1, 1, [1], [0, 0], [])}, "the task's sizes"),
}
# fmt: on


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_task_is_named_with_its_law(fault):
    attributes, law = BROKEN[fault]
    # Pickle finds a class by its name in the module.
    globals()["Broken"] = type("Broken", (Right,), attributes | {"__module__": __name__, "__qualname__": "Broken"})
    with pytest.raises(AssertionError, match=f"breaks a law: a task .*({law})"):
        check_task(globals()["Broken"]())


def test_a_task_that_holds_the_laws_passes_and_generators_stay_where_they_were():
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    check_task(Right())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    with pytest.raises(TypeError, match=r"task.*'right'"):
        check_task("right")  # pyright: ignore


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_our_environments_hold_the_laws(name, monkeypatch):
    # Without numba, as compiling takes seconds; that plain Python plays the same episodes is tested beside JitEnv.
    monkeypatch.setattr(control, "AVAILABLE", False)
    task = ENVIRONMENTS[name]()
    task.max_steps = 5
    check_task(task)


X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
EXAMPLES = {
    "digits": lambda: wann.digits(),
    "classes": lambda: wann.Classify(X, Y),
    "classes in batches": lambda: wann.Classify(X, Y, batch=20, test=(X[:9] + 1, Y[:9])),
    "numbers": lambda: wann.Regress(X, X @ np.ones((3, 2)), batch=20),
    "few numbers": lambda: wann.Regress(X[:5], Y[:5], validation=None),
}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_our_tasks_of_examples_hold_the_laws(kind):
    check_task(EXAMPLES[kind]())


@pytest.mark.parametrize("reuse", [False, True])
def test_our_tasks_of_gymnasium_hold_the_laws(reuse):
    pytest.importorskip("gymnasium")
    check_task(wann.GymEnv("Pendulum-v1", max_steps=5, n_envs=4, reuse=reuse))
