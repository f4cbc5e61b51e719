"""The archive by laws, against a naive reference, and searches that select by it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_search import ISLANDS, Toy, assert_same, genomes, search_of
from untrained.wann.evolution.archive import choose_from_archive, criteria, elites
from untrained.wann.evolution.front import Found
from untrained.wann.evolution.presets import PRESETS
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE

ARCHIVE = replace(PRESETS["archive"], population=12, generations=40, reps=1)
REWARD = st.integers(-3, 3).map(float) | st.sampled_from([math.nan, math.inf, -math.inf])
ROWS = st.lists(st.tuples(st.integers(0, 40), REWARD, REWARD, REWARD), max_size=14)


def split(rows):
    return np.array([row[1:] for row in rows], float).reshape(-1, 3), np.array([row[0] for row in rows], int)


def naive_criteria(rewards):
    falling = sorted(rewards, reverse=True)
    return [*rewards, *(sum(falling[:j]) / j for j in range(1, len(rewards) + 1))]


@given(ROWS)
def test_a_network_is_an_elite_if_it_is_the_best_of_its_size_and_better_than_all_smaller_ones(rows):
    rewards, sizes = split(rows)
    works = [i for i, row in enumerate(rows) if all(map(math.isfinite, row[1:]))]
    expected = set()
    for k in range(6):
        for i in works:
            mine = naive_criteria(rows[i][1:])[k]
            kind = [math.floor(2 * math.log2(max(rows[j][0], 1))) for j in range(len(rows))]
            others = [(naive_criteria(rows[j][1:])[k], kind[j], j) for j in works if j != i]
            smaller = all(mine > reward for reward, size, _ in others if size < kind[i])
            equal = all((mine, -i) > (reward, -j) for reward, size, j in others if size == kind[i])
            if smaller and equal:
                expected.add(i)
    found = elites(rewards, sizes).tolist()
    assert set(found) == expected and len(found) == len(expected)
    means = [np.mean(rows[i][1:]) for i in found]
    assert means == sorted(means, reverse=True)


@given(ROWS.filter(len), st.randoms(use_true_random=False))
def test_elites_survive_in_half_of_the_places_and_have_all_the_children(rows, random):
    rewards, sizes = split(rows)
    uniform = np.array([random.random() for _ in rows])
    parents, mutate = choose_from_archive(rewards, sizes, uniform)
    archive = elites(rewards, sizes).tolist()
    kept = archive[: len(rows) // 2]
    if archive:
        assert parents[~mutate].tolist() == kept and mutate.tolist() == sorted(mutate.tolist())
        assert set(parents.tolist()) <= set(archive)
    else:
        assert mutate.all() and parents.tolist() == list(range(len(rows)))


def test_criteria_are_a_ladder_from_the_best_weight_to_the_mean():
    assert criteria(np.array([[1.0, 5.0, 3.0]])).tolist() == [[1.0, 5.0, 3.0, 5.0, 4.0, 3.0]]


def test_the_reward_of_a_choice_lies_between_the_mean_and_the_best():
    net = Net(1, 1, [1], [0, 1], [1])
    found = [Found(net, (1.0, 2.0, 6.0), share).reward for share in (0.0, 0.5, 1.0)]
    assert found == [3.0, 4.5, 6.0]


needs_numba = pytest.mark.skipif(not AVAILABLE, reason="a search warns without numba")


@needs_numba
@pytest.mark.parametrize("size", [1, 2, 3, 12])
@pytest.mark.parametrize("settings", [{}, ISLANDS], ids=["alone", "islands"])
def test_a_search_stops_and_goes_on_to_the_same_bits(tmp_path, size, settings):
    preset = replace(ARCHIVE, population=size)
    whole, again, pieces = (search_of(preset=preset, **settings) for _ in range(3))
    whole.run(36)
    again.run(19)
    again.save(tmp_path)
    pieces.restore(tmp_path)
    pieces.run(36)
    assert_same(pieces, whole)
    assert pieces.state.means.tobytes() == whole.state.means.tobytes()
    assert pieces.state.trials.tolist() == whole.state.trials.tolist()


@needs_numba
def test_an_elite_is_judged_by_the_mean_over_its_generations():
    search, before = search_of(preset=ARCHIVE), set()
    for _ in range(12):
        networks, state, names = search.ask(), search.state, genomes(search)
        for place in np.flatnonzero(state.trials):
            assert (names[place], int(state.trials[place]), state.means[place].tobytes()) in before
        rewards = search.task.rewards(networks, search.weights, search.generation_seed, reps=1)
        before = set()
        for place, trials in enumerate(state.trials.tolist()):
            mean = (state.means[place] * trials + rewards[place]) / (trials + 1)
            before.add((names[place], trials + 1, mean.tobytes()))
        search.tell(rewards)
    assert search.state.trials.max() > 2, "some network has survived several generations"


@needs_numba
def test_networks_that_break_down_are_no_elites():
    search = search_of(Toy(lambda rewards, networks, part: rewards * np.nan), ARCHIVE)
    for _ in range(3):
        assert search.step()["broken"] == 12
    assert not search.state.trials.any()
