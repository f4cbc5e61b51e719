"""Tuned weights: what they are worth, and the columns of the paper's table."""

import numpy as np
import pytest

from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks.images import digits
from untrained.wann.tasks.supervised import Regress
from untrained.wann.tasks.task import Task
from untrained.wann.tuning import tune


@pytest.fixture(scope="module")
def of_digits():
    return digits()


class Spy(Task):
    """Reward is least squares about one best weight per connection; it notes what is asked of it."""

    name, inputs, outputs = "spy", 2, 1

    def __init__(self, best, by_chance=False):
        self.best, self.by_chance, self.asked = np.asarray(best, float), by_chance, []

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.asked.append((part, seed, reps, len(networks)))
        own = [networks.net(p).weights for p in range(len(networks))]
        all_weights = [[w * (np.ones(len(self.best)) if o is None else o) for w in weights] for o in own]
        noise = np.random.default_rng(seed).normal() if self.by_chance else 0.0
        return noise - ((np.array(all_weights) - self.best) ** 2).mean(-1)

    def identity(self):
        return {}


TWO = Net(2, 1, [1], [0, 2], [1, 2])


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


@pytest.mark.parametrize("by_chance", [False, True])
def test_four_columns_report_on_what_reports(by_chance):
    task = Spy([0.5, 0.5], by_chance)
    tuned = TWO.replace(weights=[0.5, 0.5])
    columns = tune.four_columns(task, TWO, tuned, shared=0.75, trials=40, seed=3)
    repeats = 40 if by_chance else 1
    assert [len(column.scores) for column in columns] == [40, 40, repeats, repeats]
    assert {part for part, *_ in task.asked} == {"test"}
    assert {(reps, count) for _, _, reps, count in task.asked} == {(1, 1)}
    assert [seed for _, seed, *_ in task.asked] == [*range(3, 43)] * 2 + [*range(3, 3 + repeats)] * 2
    names = ["random weights", "random shared weight", "tuned shared weight", "tuned weights"]
    assert [column.name for column in columns] == names
    for column in columns:
        assert column.mean == pytest.approx(sum(column.scores) / len(column.scores))
        spread = [(score - column.mean) ** 2 for score in column.scores]
        assert column.std == pytest.approx((sum(spread) / len(spread)) ** 0.5)
    if not by_chance:
        assert columns[2].scores == (-(0.25**2),) and columns[3].scores == (0.0,)
        shared = 0.5 + np.sqrt(-np.array(columns[1].scores))
        assert ((shared <= 2.5 + 2).all()) and len(set(columns[1].scores)) == 40
        # Squared distance of a weight uniform in ±2 from 0.5: 4/3 + 1/4 on average; of two, with less spread.
        assert abs(columns[0].mean + 19 / 12) < 0.7 and columns[0].std < columns[1].std
    assert tune.four_columns(task, TWO, shared=0.75, trials=2)[2].name == "tuned shared weight"
    assert len(tune.four_columns(task, TWO, shared=0.75, trials=2)) == 3


def test_four_columns_choose_the_shared_weight_by_validation():
    task = Spy([0.5, 0.5])
    columns = tune.four_columns(task, TWO.replace(weights=[9.0, 9.0]), trials=3)
    assert columns[2].scores == (0.0,)
    assert [part for part, *_ in task.asked].count("validation") == 1
    six = tune.six_weights(task, TWO.replace(weights=[9.0, 9.0]))
    np.testing.assert_allclose(six.scores, [-((w - 0.5) ** 2) for w in WEIGHTS])
    assert tune.ensemble(task, TWO) is None


def test_four_columns_of_nothing(of_digits):
    empty = Net(64, 10, [1] * 10, [0] * 11, [])
    columns = tune.four_columns(of_digits, empty, empty, trials=3)
    share = (of_digits.examples("test")[1] == 0).mean()
    for column in columns:
        np.testing.assert_allclose(column.scores, share)
    assert tune.best_shared(of_digits, empty) == -2.0
    assert tune.ensemble(of_digits, empty) == share
    x = np.random.default_rng(0).uniform(size=(50, 2))
    with pytest.raises(ValueError, match="part must be one of train, validation, got test"):
        tune.four_columns(Regress(x, x[:, 0]), TWO, trials=2)


def test_columns_have_the_measures_of_their_trials():
    class Measured(Spy):
        def measures(self, networks, weights, seed, *, reps=1, part="test"):
            assert part == "test"
            return {"off": np.abs(np.array([weights]) - 0.5) + seed}

    columns = tune.four_columns(Measured([0.5, 0.5], True), TWO, shared=0.75, trials=4, seed=3)
    assert columns[2].measures == {"off": pytest.approx(0.25 + np.mean([3, 4, 5, 6]))}
    six = tune.six_weights(Measured([0.5, 0.5], True), TWO, trials=4, seed=3)
    assert six.measures == {"off": pytest.approx(np.mean(np.abs(np.array(WEIGHTS) - 0.5)) + 3)}
    assert tune.six_weights(Spy([0.5, 0.5]), TWO).measures == {}


def test_no_trials_are_refused():
    with pytest.raises(ValueError):
        _ = [column.mean for column in tune.four_columns(Spy([0, 0]), TWO, trials=0)]
