"""Selection against its definition: quadratic dominance, crowding written out, and the chances of tournaments."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_search import SMALL
from untrained.wann.evolution.ranking import _fronts, choose_parents, fronts, mean_rewards, order_networks, rank
from untrained.wann.numerics.jit import plain

FEW = st.integers(-3, 3).map(float)  # many ties
NOT_ZERO = st.sampled_from([-3.0, -2.0, -0.7, 0.25, 1.0, 3.0])  # 1/max is nowhere another one, which would be no scale
MANY = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 9))
INVERSE = st.integers(1, 6).map(lambda count: 1 / count)


def points(first, second, most=30):
    return st.lists(st.tuples(first, second), max_size=most)


def objectives(pairs):
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], float)


def naive_fronts(pairs):
    """Peel off what nothing left dominates, again and again."""

    def dominates(a, b):
        return a[0] >= b[0] and a[1] >= b[1] and a != b

    number, left, front = {}, set(range(len(pairs))), 0
    while left:
        peeled = {i for i in left if not any(dominates(pairs[j], pairs[i]) for j in left)}
        number |= dict.fromkeys(peeled, front)
        left, front = left - peeled, front + 1
    return [number[i] for i in range(len(pairs))]


def naive_order(pairs, official=False):
    front, crowding = naive_fronts(pairs), [0.0] * len(pairs)
    for number in set(front):
        members = [i for i in range(len(pairs)) if front[i] == number]
        for k in (0, 1):
            line = sorted(members, key=lambda i: pairs[i][k])
            low, high = pairs[line[0]][k], pairs[line[-1]][k]
            scale = 1.0 if high == low else abs(1 / high - low) if official else 1 / (high - low)
            for place, i in enumerate(line):
                if place in (0, len(line) - 1):
                    crowding[i] = math.inf
                else:
                    before, after = pairs[line[place - 1]][k], pairs[line[place + 1]][k]
                    crowding[i] += ((pairs[i][k] - before) + (after - pairs[i][k])) * scale
    return sorted(range(len(pairs)), key=lambda i: (front[i], -crowding[i]))


@given(points(FEW, FEW) | points(MANY, INVERSE) | points(FEW, MANY))
def test_fronts_are_those_of_the_definition(pairs):
    assert fronts(*objectives(pairs)).tolist() == naive_fronts(pairs)


@given(points(FEW, FEW) | points(MANY, INVERSE))
def test_order_is_by_front_then_crowding_then_number(pairs):
    assert rank(*objectives(pairs)).tolist() == naive_order(pairs)


@given(points(NOT_ZERO, INVERSE) | points(NOT_ZERO, NOT_ZERO))
def test_official_crowding_has_the_authors_scale(pairs):
    assert rank(*objectives(pairs), official_crowding=True).tolist() == naive_order(pairs, official=True)


def test_the_two_scales_differ():
    first, second = np.array([0.1, 50.0, 60.0, 100.0]), np.array([1.0, 0.99, 0.5, 0.01])
    ours, theirs = rank(first, second).tolist(), rank(first, second, official_crowding=True).tolist()
    assert ours == naive_order(list(zip(first, second, strict=True)))
    assert sorted(ours) == sorted(theirs)
    assert ours != theirs


@given(points(FEW, FEW), st.randoms(use_true_random=False))
def test_fronts_do_not_depend_on_the_order_of_points(pairs, random):
    shuffled = list(range(len(pairs)))
    random.shuffle(shuffled)
    front = fronts(*objectives(pairs))
    assert fronts(*objectives([pairs[i] for i in shuffled])).tolist() == front[shuffled].tolist()


@given(points(MANY, MANY), st.integers(-8, 8), st.integers(-8, 8))
def test_order_does_not_depend_on_the_objectives_units(pairs, one, other):
    first, second = objectives(pairs)
    scaled = rank(first * 2.0**one, second * 2.0**other)
    assert scaled.tolist() == rank(first, second).tolist()


@given(points(FEW, FEW))
def test_plain_python_agrees_with_what_is_compiled(pairs):
    first, second = objectives(pairs)
    order = np.lexsort((-second, -first))
    assert plain(_fronts)(first, second, order).tolist() == _fronts(first, second, order).tolist()


def test_nothing_and_one():
    none, one = np.empty(0), np.ones(1)
    assert rank(none, none).shape == fronts(none, none).shape == (0,)
    assert rank(one, one).tolist() == rank(one, one, official_crowding=True).tolist() == [0]


def test_equal_points_keep_their_order_and_share_a_front():
    same = np.full(7, 2.5)
    assert fronts(same, same).tolist() == [0] * 7
    assert rank(same, same).tolist() == [0, 6, 1, 2, 3, 4, 5]  # both ends of the line are infinitely far
    assert fronts(np.array([0.0, -0.0]), np.ones(2)).tolist() == [0, 0]


def test_several_hundred_points():
    rng = np.random.default_rng(0)
    pairs = list(zip(rng.normal(size=400).round(1).tolist(), (1 / rng.integers(1, 40, 400)).tolist(), strict=True))
    assert rank(*objectives(pairs)).tolist() == naive_order(pairs)


def test_objectives_that_hardly_or_hugely_differ():
    first, second = np.array([0.0, 5e-324, 1e-310]), np.array([1.0, 0.5, 0.25])
    for official in (False, True):
        assert sorted(rank(first, second, official_crowding=official).tolist()) == [0, 1, 2]
    assert rank(np.array([-1.7e308, 0.0, 1.7e308]), second).tolist() == [0, 2, 1]


# ---- networks by their rewards

REWARD = FEW | st.sampled_from([math.nan, math.inf, -math.inf, 1e308])


@given(st.lists(st.tuples(REWARD, REWARD, st.integers(0, 4)), max_size=12), st.booleans())
def test_networks_are_ordered_by_mean_and_size_or_best_reward_and_the_broken_come_last(rows, by_size):
    rewards, sizes = np.array([row[:2] for row in rows]).reshape(-1, 2), np.array([row[2] for row in rows], int)
    works = [i for i, (a, b, _) in enumerate(rows) if math.isfinite(a) and math.isfinite(b) and math.isfinite(a + b)]
    seconds = [1 / max(rows[i][2], 1) if by_size else max(rows[i][:2]) for i in works]
    with np.errstate(over="ignore"):
        means = [float(np.mean(rows[i][:2])) for i in works]
    best = [works[k] for k in rank(*objectives(list(zip(means, seconds, strict=True))))]
    broken = [i for i in range(len(rows)) if i not in works]
    assert order_networks(rewards, sizes, by_size).tolist() == best + broken
    assert [i for i, mean in enumerate(mean_rewards(rewards)) if mean > -math.inf] == works


@pytest.mark.parametrize("tournament", [1, 2, 8])
def test_parents_win_tournaments_of_uniform_draws(tournament):
    """The best of n draws among the living is at least the k-th with chance (1 - k / living) ** n."""
    stats = pytest.importorskip("scipy.stats")
    preset, size, living, elites = replace(SMALL, tournament=tournament, cull=0.4, elite=0.5), 20, 12, 6
    draws = np.random.default_rng(0).random((100, size * tournament))
    order = np.random.default_rng(1).permutation(size)
    chosen = [choose_parents(order, uniform, preset) for uniform in draws]
    assert all((mutate == (np.arange(size) >= elites)).all() for _, mutate in chosen)
    ranks = np.argsort(order)[np.array([parents for parents, _ in chosen])]
    assert (ranks[:, :elites] == np.arange(elites)).all()
    seen = np.bincount(ranks[:, elites:].ravel(), minlength=size)
    assert not seen[living:].any(), "the culled have no children"
    chance = -np.diff(((living - np.arange(living + 1)) / living) ** tournament)
    many = chance * seen.sum() >= 5
    expected = np.append(chance[many], chance[~many].sum()) * seen.sum()
    counts = np.append(seen[:living][many], seen[:living][~many].sum())
    keep = expected > 0.5
    assert stats.chisquare(counts[keep], expected[keep] / expected[keep].sum() * counts[keep].sum()).pvalue > 1e-4


def test_all_culled_means_that_the_best_is_everyones_parent():
    parents, mutate = choose_parents(np.array([2, 0, 1]), np.random.default_rng(0).random(9), replace(SMALL, cull=1.0))
    assert parents.tolist() == [2, 2, 2] and mutate.all()
