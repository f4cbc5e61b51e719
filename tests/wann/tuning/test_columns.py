"""The columns of the paper's table: what is measured, on which data, with which weights."""

import numpy as np
import pytest
from spy_task import TWO, Spy

from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks.images import digits
from untrained.wann.tasks.supervised import Regress
from untrained.wann.tuning import tune
from untrained.wann.tuning.columns import ensemble, four_columns, heading, six_weights, without_connections


@pytest.fixture(scope="module")
def of_digits():
    return digits()


@pytest.mark.parametrize("by_chance", [False, True])
def test_four_columns_report_on_what_reports(by_chance):
    task = Spy([0.5, 0.5], by_chance)
    tuned = TWO.replace(weights=[0.5, 0.5])
    columns = four_columns(task, TWO, tuned, shared=0.75, trials=40, seed=3)
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
    assert four_columns(task, TWO, shared=0.75, trials=2)[2].name == "tuned shared weight"
    assert len(four_columns(task, TWO, shared=0.75, trials=2)) == 3


def test_four_columns_choose_the_shared_weight_by_validation():
    task = Spy([0.5, 0.5])
    columns = four_columns(task, TWO.replace(weights=[9.0, 9.0]), trials=3)
    assert columns[2].scores == (0.0,)
    assert [part for part, *_ in task.asked].count("validation") == 1
    six = six_weights(task, TWO.replace(weights=[9.0, 9.0]))
    np.testing.assert_allclose(six.scores, [-((w - 0.5) ** 2) for w in WEIGHTS])
    assert ensemble(task, TWO) is None


def test_four_columns_of_nothing(of_digits):
    empty = Net(64, 10, [1] * 10, [0] * 11, [])
    columns = four_columns(of_digits, empty, empty, trials=3)
    share = (of_digits.examples("test")[1] == 0).mean()
    for column in columns:
        np.testing.assert_allclose(column.scores, share)
    assert tune.best_shared(of_digits, empty) == -2.0
    assert ensemble(of_digits, empty) == share
    x = np.random.default_rng(0).uniform(size=(50, 2))
    with pytest.raises(ValueError, match="part must be one of train, validation, got test"):
        four_columns(Regress(x, x[:, 0]), TWO, trials=2)


def test_columns_have_the_measures_of_their_trials():
    class Measured(Spy):
        def measures(self, networks, weights, seed, *, reps=1, part="test"):
            assert part == "test"
            return {"off": np.abs(np.array([weights]) - 0.5) + seed}

    columns = four_columns(Measured([0.5, 0.5], True), TWO, shared=0.75, trials=4, seed=3)
    assert columns[2].measures == {"off": pytest.approx(0.25 + np.mean([3, 4, 5, 6]))}
    six = six_weights(Measured([0.5, 0.5], True), TWO, trials=4, seed=3)
    assert six.measures == {"off": pytest.approx(np.mean(np.abs(np.array(WEIGHTS) - 0.5)) + 3)}
    assert six_weights(Spy([0.5, 0.5]), TWO).measures == {}


def test_a_network_without_connections_is_there_to_compare_with(of_digits):
    class Still(Spy):
        def rewards(self, networks, weights, seed, *, reps=1, part="train"):
            assert not networks.net(0)(np.ones((4, 2))).any() and part == "test"
            return np.full((1, 1), float(seed))

    assert without_connections(Still([0, 0], True), trials=3, seed=3).scores == (3.0, 4.0, 5.0)
    (share,) = without_connections(of_digits, trials=3).scores
    assert share == pytest.approx((of_digits.examples("test")[1] == 0).mean())
    with pytest.raises(ValueError, match="trials"):
        without_connections(of_digits, trials=0)


def test_the_heading_says_the_most_if_it_is_known():
    assert [heading("reward", most) for most in (None, 1000.0, 0.5)] == [
        "reward",
        "reward (of 1,000)",
        "reward (of 0.5)",
    ]


def test_no_trials_are_refused():
    with pytest.raises(ValueError):
        _ = [column.mean for column in four_columns(Spy([0, 0]), TWO, trials=0)]
