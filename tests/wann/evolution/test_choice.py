"""Choices of a search: networks that break down, validation data, the front, and restarts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from toy_search import SMALL, Toy, assert_same, genomes, search_of
from untrained.wann.evolution.validation import Validation
from untrained.wann.networks.batch import Packed
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.tasks.task import PARTS, part_seed

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="a search warns without numba")


# ---- what breaks down


@pytest.mark.parametrize("kind", [np.nan, np.inf, -np.inf])
def test_broken_networks_are_counted_and_never_chosen(kind):
    """Here those with an even number of connections."""

    def change(rewards, networks, part):
        rewards[networks.connections % 2 == 0, 1] = kind
        return rewards

    search = search_of(Toy(change), replace(SMALL, population=12, cull=0.5, elite=1.0))
    for _ in range(30):
        even = search.ask().connections % 2 == 0
        row = search.step()
        assert row["broken"] == even.sum()
        assert np.isfinite(row["mean"])
    search.look()
    assert search.front
    assert all(each.net.connections % 2 for each in search.front)
    assert np.isfinite(search.best.reward)


def test_rewards_infinite_in_both_ways_or_huge_break_nothing():
    def change(rewards, networks, part):
        rewards[0, :2] = np.inf, -np.inf
        return rewards

    search = search_of(Toy(change))
    search.run(3)
    assert all(row["broken"] >= 1 for row in search.rows)  # the first one, and those that equal it
    huge = search_of(Toy(lambda rewards, networks, part: np.full(rewards.shape, 1e308)))
    huge.run(2)
    assert all(np.isfinite(each.reward) for each in huge.front)
    assert all(row["best"] is None or np.isfinite(row["best"]) for row in huge.rows)


def test_a_generation_where_all_are_broken():
    task = Toy(lambda rewards, networks, part: rewards * np.nan)
    search = search_of(task, islands=2)
    assert search.run(18) == ()
    assert all(row["broken"] == 12 and row["best"] is None and row["mean"] is None for row in search.rows)
    assert search.attempts == (-np.inf, -np.inf)
    with pytest.raises(ValueError, match="no best network"):
        _ = search.best
    task.change = None  # and it gets over it
    assert search.run(34)
    assert np.isfinite(search.attempts).all()


def test_broken_on_validation_only():
    search = search_of(Toy(lambda rewards, networks, part: rewards * (np.nan if part == "validation" else 1)))
    assert search.run(3) == ()
    assert all(row["broken"] == 0 and "chosen" not in row for row in search.rows)


def test_rewards_of_another_shape_change_nothing():
    search, other = search_of(), search_of()
    for shape in [(6,), (6, 5), (5, 6), (6, 6, 1), (0, 6)]:
        with pytest.raises(ValueError, match=r"rewards.*\(6, 6\)"):
            search.tell(np.zeros(shape))
    search.run(2)
    other.run(2)
    assert_same(search, other)


# ---- what chooses


def test_what_rewards_are_asked_for():
    task = Toy()
    search = search_of(task, replace(SMALL, reps=2), seed=70)
    search.run(18)
    train = [call for call in task.calls if call[2] == "train"]
    validation = [call for call in task.calls if call[2] == "validation"]
    assert {call[1] for call in train} == {2}
    assert len({call[0] for call in train}) == len(train) == 19
    assert {call[:2] for call in validation} == {(70, 8)}
    assert 1 <= len(validation) <= 3  # at 0, at 16, at the end; networks of the last choice are not evaluated again
    assert not [call for call in task.calls if call[2] == "test"]
    task = Toy()
    search_of(task, replace(SMALL, reps=40)).run(0)
    assert [call[1:3] for call in task.calls] == [(40, "train"), (40, "validation")]


def test_seeds_of_the_parts_differ():
    for seed in (*range(300), 2**63 - 1, 2**63 + 4096):
        seeds = {part_seed(seed, part) for part in PARTS}
        assert len(seeds) == 3 and all(0 <= each < 2**31 for each in seeds)
    for seed in (0, 1, 46530):
        choosing = {part_seed(seed, "validation") + rep for rep in range(16)}
        assert not choosing & {part_seed(seed + g, "train") + rep for g in range(2048) for rep in range(4)}
    with pytest.raises(ValueError, match=r"part.*'training'"):
        part_seed(0, "training")


def test_the_front_is_of_validated_rewards_and_ascends():
    task = Toy()
    search = search_of(task, replace(SMALL, population=20), weights=(-1.5, 0.5, 3))
    front = search.run(40)
    sizes, rewards = [each.net.connections for each in front], [each.reward for each in front]
    assert sizes == sorted(set(sizes))
    assert rewards == sorted(set(rewards))
    assert search.best is front[-1]
    networks = Packed.of([each.net for each in front])
    again = task.rewards(networks, search.choosing_weights, search.seed, part="validation")
    assert [each.rewards for each in front] == [tuple(row) for row in again.tolist()]
    assert max(search.attempts) == search.best.reward
    chosen = [row["chosen"] for row in search.rows]
    assert chosen == sorted(chosen)


# ---- restarts


def test_restarts_are_those_of_a_plain_simulation():
    """Rewards never get better, so an attempt ends so many generations after its first choice."""
    constant = Toy(lambda rewards, networks, part: rewards * 0 + 2.5)
    search = search_of(constant, islands=2, restart_after=20)
    since, best, ended = 0, -np.inf, []
    for generation in range(90):
        if generation % 16 == 0 and best < 2.5:
            since, best = generation, 2.5
        search.step()
        if generation + 1 - since >= 20:
            ended += [best, best]
            since, best = generation + 1, -np.inf
            assert all(len(act) == 6 for act, *_ in genomes(search, 1)), "not a first population"
            assert genomes(search, 0) != genomes(search, 1)
        assert search.state.ended == tuple(ended)
        assert search.state.island_since.tolist() == [since] * 2
        assert search.state.island_best.tolist() == [best] * 2
    assert len(search.attempts) == len(ended) + 2
    assert ended


def test_an_attempt_that_gets_better_all_the_time_is_not_ended(monkeypatch):
    search, better = search_of(restart_after=17), itertools.count()
    monkeypatch.setattr(Validation, "rewards", lambda self, networks, names: np.full((len(names), 16), next(better)))
    search.run(60)
    assert search.state.ended == () and next(better) > 3
