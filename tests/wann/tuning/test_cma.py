"""CMA-ES with restarts: what it spends, and what it keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.task import Task
from untrained.wann.tuning import tune

pytest.importorskip("cmaes")

TWO = Net(2, 1, [1], [0, 2], [1, 2])
BEST = [1.3, -1.6]


class Waves(Task):
    """Reward with many maxima, one of them the greatest, and with noise that all candidates share or do not."""

    name, inputs, outputs = "waves", 2, 1

    def __init__(self, best, noise=0.0):
        self.best, self.noise, self.asked = np.asarray(best, float), noise, []

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.asked.append((part, len(networks)))
        own = networks.weight.reshape(-1, 2)
        away = own[:, None] * np.asarray(weights)[:, None] - self.best
        rng = np.random.default_rng([seed, part == "train"])
        rewards = -(away**2 + 2 - 2 * np.cos(4 * np.pi * away)).mean(-1)
        return rewards + self.noise * rng.normal(size=rewards.shape)

    def identity(self):
        return {}

    def spent(self):
        return [count for part, count in self.asked if part == "train"]


def validated(task, net, seed=0):
    return task.rewards(Packed.of([net]), (1.0,), seed, part="validation")[0, 0]


@settings(max_examples=5)
@given(
    st.lists(st.floats(-2, 2), min_size=2, max_size=2),
    st.sampled_from([10, 20, 30]),
    st.integers(0, 9),
    st.sampled_from([0.0, 1.0]),
)
def test_a_larger_budget_continues_a_smaller_one_and_is_never_worse(best, budget, seed, noise):
    few, more = Waves(best, noise), Waves(best, noise)
    found = [tune.tuned(few, TWO, shared=0.5, budget=budget, seed=seed)]
    found.append(tune.tuned(more, TWO, shared=0.5, budget=budget + 30, seed=seed))
    spent = few.spent()
    assert spent == [32] * budget
    assert more.spent()[: len(spent)] == spent
    start = validated(few, TWO.replace(weights=[0.5, 0.5]), seed)
    rounding = 1e-9  # of sums in another order
    assert start <= validated(few, found[0], seed) + rounding
    assert validated(few, found[0], seed) <= validated(few, found[1], seed) + rounding


def test_it_starts_again_and_leaves_a_local_maximum():
    one, many = (tune.tuned(Waves(BEST), TWO, shared=0.5, budget=budget) for budget in (50, 200))
    assert validated(Waves(BEST), one) < -0.1 and validated(Waves(BEST), many) > -1e-3
    again = tune.tuned(Waves(BEST), TWO, shared=0.5, budget=200)
    np.testing.assert_array_equal(again.weights, many.weights)
