"""The archive by laws, against a naive reference, and searches that select by it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_search import ISLANDS, Toy, assert_same, facts_of_net, search_of
from untrained.wann.evolution import memory
from untrained.wann.evolution.archive import choose_from_archive, criteria, elites
from untrained.wann.evolution.front import Found
from untrained.wann.evolution.generation import Generation
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
    assert pieces.state.survivors.tolist() == whole.state.survivors.tolist()
    one, other = (search.state.memory.to_arrays() for search in (pieces, whole))
    assert {name: array.tobytes() for name, array in one.items()} == {name: a.tobytes() for name, a in other.items()}


@needs_numba
@pytest.mark.parametrize("settings", [{}, ISLANDS], ids=["alone", "islands"])
def test_no_network_is_evaluated_again_but_survivors_in_their_first_generations(settings):
    """A naive memory beside the search: one for each island."""
    search, seen = search_of(preset=ARCHIVE, **settings), {}
    skipped = 0
    for _ in range(30):
        networks, state = search.ask(), search.state
        stored = Generation.of(state, search.islands, disabled_stay=False).names
        rewards = search.task.rewards(networks, search.weights, search.generation_seed)
        names = [(p // search.preset.population, facts_of_net(networks.net(p))) for p in range(len(networks))]
        evaluated = set()
        for p, name in enumerate(names):
            known = seen.get(name, [])
            if name not in evaluated and (not known or (state.survivors[p] and len(known) < 8)):
                evaluated.add(name)
                seen[name] = [*known, rewards[p]]
            elif name not in evaluated:
                skipped += 1
                rewards[p] = np.nan  # does not count
        row = search.tell(rewards)
        means = np.array([np.mean(seen[name], 0) for name in names])
        assert np.allclose(search.state.memory.judge(stored), means, rtol=1e-12)
        assert row["best"] == pytest.approx(means.mean(1).max()) and row["broken"] == 0
    assert skipped > 30 and max(map(len, seen.values())) == 8


@needs_numba
def test_a_search_that_forgets_goes_on_and_evaluates_anew(monkeypatch):
    monkeypatch.setattr(memory, "_MOST", 20)
    monkeypatch.setattr(memory, "_RECENT", 3)
    search, longest = search_of(preset=ARCHIVE), 0
    for _ in range(30):
        search.step()
        longest = max(longest, len(search.state.memory))
        assert len(search.state.memory) <= 20
    assert longest > 10
    assert all(1 <= generations <= 8 for generations, _ in search.state.memory.earlier.values())


@needs_numba
@pytest.mark.parametrize("most", [20, 10_000])
def test_how_much_of_the_memory_is_recent_changes_no_search(monkeypatch, most):
    monkeypatch.setattr(memory, "_MOST", most)
    whole = search_of(preset=ARCHIVE)
    whole.run(20)
    monkeypatch.setattr(memory, "_RECENT", 0)
    other = search_of(preset=ARCHIVE)
    other.run(20)
    assert_same(whole, other)


@needs_numba
def test_networks_that_break_down_are_no_elites():
    search = search_of(Toy(lambda rewards, networks, part: rewards * np.nan), ARCHIVE)
    for _ in range(3):
        assert search.step()["broken"] == 12
    assert not search.state.survivors.any()
