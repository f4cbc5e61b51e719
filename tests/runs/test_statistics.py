"""Paired differences: Student's t against known values, the interval against its formula, and how often it is right."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrained.runs.statistics import paired_difference, student_quantile

# Fisher & Yates' table, in all handbooks.
KNOWN = {
    (0.975, 1): 12.7062, (0.975, 2): 4.30265, (0.975, 3): 3.18245, (0.975, 4): 2.77645, (0.975, 9): 2.26216,
    (0.975, 30): 2.04227, (0.975, 100): 1.98397, (0.975, 9_999): 1.96020, (0.95, 5): 2.01505, (0.995, 7): 3.49948,
    (0.5, 3): 0.0,
}  # fmt: skip


@pytest.mark.parametrize(("probability", "freedom"), KNOWN)
def test_quantiles_are_those_of_the_tables(probability, freedom):
    assert student_quantile(probability, freedom) == pytest.approx(KNOWN[probability, freedom], rel=5e-6, abs=1e-12)


def test_quantiles_are_those_of_scipy():
    t = pytest.importorskip("scipy.stats").t
    for freedom in (*range(1, 40), 400, 401):
        for probability in (0.6, 0.9, 0.975, 0.999):
            expected = t.ppf(probability, freedom)
            assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-10)


SHARES = st.integers(0, 1000).map(lambda count: count / 1000)


@given(st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=12), st.randoms())
def test_a_difference_is_that_of_pairs_in_any_order(pairs, order):
    seeds = list(range(len(pairs)))
    order.shuffle(seeds)
    ours = {seed: pairs[seed][0] for seed in seeds} | {99: 0.5}  # a seed that the other row lacks
    theirs = {seed: pair[1] for seed, pair in enumerate(pairs)} | {77: 0.1}
    found = paired_difference("b", ours, theirs)
    each = [ours[seed] - theirs[seed] for seed in range(len(pairs))]
    assert (found.against, found.pairs) == ("b", len(pairs))
    assert found.mean == pytest.approx(sum(each) / len(each), abs=1e-12)
    if len({round(1000 * difference) for difference in each}) == 1:
        assert found.low is found.high is None and not found.is_noise
        return
    half = student_quantile(0.975, len(each) - 1) * statistics.stdev(each) / math.sqrt(len(each))
    assert (found.low, found.high) == (
        pytest.approx(found.mean - half, abs=1e-9),
        pytest.approx(found.mean + half, abs=1e-9),
    )
    assert found.is_noise == (found.low <= 0 <= found.high)
    back = paired_difference("a", theirs, ours)
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low), abs=1e-12)


def test_one_pair_has_no_interval_and_no_pair_no_difference():
    assert paired_difference("b", {0: 0.5, 1: 0.5}, {2: 0.5}) is None
    alone = paired_difference("b", {0: 0.75, 1: 0.5}, {0: 0.5})
    assert (alone.mean, alone.pairs, alone.low, alone.high, alone.is_noise) == (0.25, 1, None, None, False)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_19_of_20_intervals_hold_the_truth(seeds):
    draw, truth, right, trials = random.Random(seeds), 0.003, 0, 4000
    for _ in range(trials):
        shared = [draw.gauss(0.95, 0.02) for _ in range(seeds)]  # which the pairing takes out
        ours = {seed: x + truth + draw.gauss(0, 0.004) for seed, x in enumerate(shared)}
        theirs = {seed: x + draw.gauss(0, 0.004) for seed, x in enumerate(shared)}
        found = paired_difference("b", ours, theirs)
        right += found.low <= truth <= found.high
        assert found.high - found.low < 20 * 0.004 * student_quantile(0.975, seeds - 1)  # far less than unpaired
    assert abs(right / trials - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / trials)
