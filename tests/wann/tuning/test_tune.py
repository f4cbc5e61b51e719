"""Tuned weights: what they are worth."""

import numpy as np
import pytest
from spy_task import TWO, Spy

from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.tasks.images import digits
from untrained.wann.tasks.supervised import Regress
from untrained.wann.tuning import tune


@pytest.fixture(scope="module")
def of_digits():
    return digits()


def test_the_best_shared_weight_is_of_the_grid():
    for best in (0.8, -1.35, 2.0, -2.0, 0.0):
        task = Spy([best, best])
        assert abs(tune.best_shared(task, TWO.replace(weights=[5.0, 7.0])) - best) < 1e-12
        assert {part for part, *_ in task.asked} == {"validation"}
    broken = Spy([0, 0])
    broken.rewards = lambda networks, weights, seed, **_: np.where(np.array([weights]) > 1.5, 1.0, np.nan)
    assert tune.best_shared(broken, TWO) > 1.5


def test_cma_finds_a_weight_for_every_connection():
    pytest.importorskip("cmaes")
    task = Spy([1.2, -0.4])
    found = tune.tuned(task, TWO, method="cma", budget=25)
    start = tune.best_shared(task, TWO)
    np.testing.assert_allclose(found.weights, [1.2, -0.4], atol=0.05)
    assert task.rewards(Packed.of([found]), (1.0,), 0)[0, 0] > task.rewards(Packed.of([TWO]), (start,), 0)[0, 0]
    assert "test" not in {part for part, *_ in task.asked}
    again = tune.tuned(Spy([1.2, -0.4]), TWO, budget=25)  # without examples, auto is cma
    np.testing.assert_array_equal(again.weights, found.weights)
    other = tune.tuned(Spy([1.2, -0.4]), TWO, method="cma", budget=25, seed=1)
    assert (other.weights != found.weights).any()


def test_tuning_never_makes_it_worse():
    pytest.importorskip("cmaes")
    at_the_best = Spy([0.5, 0.5])
    for budget in (1, 2):
        assert tune.tuned(at_the_best, TWO, method="cma", budget=budget).weights.tolist() == [0.5, 0.5]
    misleading = Spy([0.5, 0.5])
    sound = misleading.rewards
    # What it learns by says the opposite of what chooses.
    misleading.rewards = lambda *args, part="train", **kw: (
        (-1 if part == "train" else 1) * sound(*args, part=part, **kw)
    )
    assert tune.tuned(misleading, TWO, method="cma", budget=3).weights.tolist() == [0.5, 0.5]


def test_cma_lives_with_networks_that_break_down():
    pytest.importorskip("cmaes")
    task = Spy([1.2, -0.4])
    sound = task.rewards

    def rewards(networks, weights, seed, **options):
        found = sound(networks, weights, seed, **options)
        return np.where(found < -1.5, [np.nan, -np.inf][seed % 2], found)

    task.rewards = rewards
    np.testing.assert_allclose(tune.tuned(task, TWO, method="cma", budget=25).weights, [1.2, -0.4], atol=0.1)
    nothing = Spy([0, 0])
    nothing.rewards = lambda networks, weights, seed, **_: np.full((len(networks), len(weights)), np.nan)
    assert np.isfinite(tune.tuned(nothing, TWO, method="cma", budget=2).weights).all()


def linear_net(outputs=10, inputs=64):
    """Every input to every output."""
    return Net(
        inputs, outputs, [1] * outputs, np.arange(outputs + 1) * inputs, np.tile(np.arange(1, inputs + 1), outputs)
    )


def test_the_gradient_learns_digits(of_digits):
    net = linear_net()
    found = tune.tuned(of_digits, net, budget=8)
    assert of_digits.scores(Packed.of([found]), (1.0,))[0, 0] > 0.85
    np.testing.assert_array_equal(found.weights, tune.tuned(of_digits, net, method="gradient", budget=8).weights)
    start = net.replace(weights=np.full(net.connections, tune.best_shared(of_digits, net)))
    chosen = of_digits.rewards(Packed.of([start, found]), (1.0,), 0, part="validation")[:, 0]
    assert chosen[1] > chosen[0]
    assert tune.tuned(of_digits, net, budget=1).weights is not None


def test_the_gradient_learns_numbers():
    x = np.random.default_rng(0).uniform(size=(300, 2))
    task = Regress(x, x @ [1.5, -0.5], value_range=(0, 1), test=(x, x @ [1.5, -0.5]))
    found = tune.tuned(task, TWO, budget=400)
    np.testing.assert_allclose(found.weights, [1.5, -0.5], atol=0.05)


def test_a_gradient_of_nothing_but_a_step():
    x = np.random.default_rng(0).uniform(size=(50, 2))
    tune.tuned(Regress(x, x[:, 0]), Net(2, 1, ids_of(["step"]), [0, 1], [1]), budget=1)


def test_weights_that_no_output_depends_on_stay():
    x = np.random.default_rng(0).uniform(size=(50, 2))
    found = tune.tuned(Regress(x, x[:, 0]), Net(2, 1, ids_of(["tanh", "linear"]), [0, 1, 1], [1]), budget=1)
    assert found.weights.tolist() == [-2.0]


def test_what_cannot_be_tuned_is_refused(of_digits):
    empty = Net(2, 1, [1], [0, 0], [])
    with pytest.raises(ValueError, match="no connections"):
        tune.tuned(Spy([0, 0]), empty)
    with pytest.raises(ValueError, match="method"):
        tune.tuned(Spy([0, 0]), TWO, method="adam")
    with pytest.raises(ValueError, match="no examples"):
        tune.tuned(Spy([0, 0]), TWO, method="gradient")
    with pytest.raises(ValueError, match="networks must"):
        tune.tuned(of_digits, TWO)


# ---- the table of the paper
