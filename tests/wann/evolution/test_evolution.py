"""The search by laws: what it finds depends on task, settings and seed alone, whatever stops it or runs it."""

import gc
import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from untrained.wann.evolution import checkpoint
from untrained.wann.evolution.front import Found, front_of
from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.presets import PRESETS, Preset, preset_named
from untrained.wann.evolution.search import Search
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.tasks.task import PARTS, Task, part_seed

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="a search warns without numba")

X = np.linspace(-1, 1, 15).reshape(5, 3)
SMALL = Preset(population=6, generations=40, reps=1, tournament=3)
ISLANDS = {"islands": 2, "migrate_every": 3, "restart_after": 17}


class Toy(Task):
    """Be large where a random direction says so; cheap, and another one for every seed."""

    name, inputs, outputs = "toy", 3, 2

    def __init__(self, change=None, **attributes):
        self.calls, self.change = [], change
        vars(self).update(attributes)

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.calls.append((seed, reps, part, len(networks)))
        x = X[:, : self.inputs] + 0.3 * np.random.default_rng(part_seed(seed, part)).normal(size=self.inputs)
        rewards = np.empty((len(networks), len(weights)))
        for p in range(len(networks)):
            net = networks.net(p)
            rewards[p] = np.tanh(net(x, weights)[..., 0]).mean(1) - 0.01 * np.cos(3 * net.connections)
        return rewards if self.change is None else self.change(rewards, networks, part)

    def identity(self):
        return {"name": self.name, "inputs": self.inputs}


def search_of(task=None, preset=SMALL, **settings):
    return Search(task or Toy(), preset, **settings)


def facts_of_net(net):
    return net.act.tobytes(), net.edge_ptr.tobytes(), net.src.tobytes(), net.labels


def facts(search):
    """All that a search has found and where it is, but not how long it took."""
    state = search.state
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in search.rows]
    return {
        "population": [(array.dtype.str, array.shape, array.tobytes()) for array in state.population.arrays],
        "generation": state.generation,
        "found": [(facts_of_net(each.net), each.rewards) for each in state.front],
        "best": state.island_best.tolist(),
        "since": state.island_since.tolist(),
        "ended": state.ended,
        "front": [(facts_of_net(each.net), each.rewards) for each in search.front],
        "attempts": search.attempts,
        "rows": rows,
    }


def assert_same(one, other):
    one, other = facts(one), facts(other)
    for name in one:
        assert one[name] == other[name], name


def genomes(search, island=0):
    """The genomes of an island, without what lies behind their ends."""
    population, size = search.state.population, search.preset.population
    found = []
    for p in range(island * size, (island + 1) * size):
        n, m = population.nodes[p], population.genes[p]
        parts = population.act[p, :n], population.src[p, :m], population.dst[p, :m], population.on[p, :m]
        found.append(tuple(tuple(part.tolist()) for part in parts))
    return found


# ---- what it depends on


@pytest.mark.parametrize("settings", [{}, ISLANDS, {**ISLANDS, "official_quirks": True, "seed": 5}])
def test_workers_do_not_matter(settings):
    pytest.importorskip("joblib")
    searches = [search_of(workers=workers, **settings) for workers in (1, 2, 4)]
    for search in searches:
        search.run(20)
        assert_same(search, searches[0])


def test_steps_by_hand_and_with_stops_are_a_run():
    whole = search_of(**ISLANDS)
    whole.run(36)
    by_hand, stopped, pieces = search_of(**ISLANDS), search_of(**ISLANDS), search_of(**ISLANDS)
    for generation in range(36):
        networks = by_hand.ask()
        assert by_hand.ask() is networks
        by_hand.tell(by_hand.task.rewards(networks, by_hand.weights, by_hand.generation_seed, reps=1))
        assert stopped.step()["generation"] == generation
        if generation % 5 == 0:
            stopped.look()  # must not steer
    by_hand.look()
    stopped.look()
    for until in (7, 7, 17, 3, 36):
        pieces.run(until)
    for search in (by_hand, stopped, pieces):
        assert_same(search, whole)


def test_seeds_matter():
    searches = [search_of(seed=seed) for seed in (0, 1, 2**63 - 1)]
    for search in searches:
        search.run(3)
    assert len({tuple(genomes(search)) for search in searches}) == 3


def test_an_island_does_not_depend_on_how_many_there_are():
    one, three = search_of(islands=1, restart_after=17), search_of(islands=3, restart_after=17)
    one.run(40)
    three.run(40)
    assert genomes(one) == genomes(three, 0)
    assert genomes(three, 0) != genomes(three, 1) != genomes(three, 2)
    assert three.state.island_best[0] == one.state.island_best[0]
    assert three.state.island_since[0] == one.state.island_since[0]


def test_with_migration_islands_do_depend_on_each_other():
    apart, together = search_of(islands=3), search_of(islands=3, migrate_every=2)
    for search in (apart, together):
        search.run(1)
    assert genomes(apart, 0) == genomes(together, 0)
    for search in (apart, together):
        search.run(2)
    # Only the last place of an island is for a migrant; who it is is tested below.
    assert all(genomes(apart, i)[:-1] == genomes(together, i)[:-1] for i in range(3))
    assert genomes(apart, 0)[-1] != genomes(together, 0)[-1]


def test_migrants_are_the_best_of_the_island_before_unchanged(monkeypatch):
    taken = capture(monkeypatch)
    search = search_of(islands=3, migrate_every=2, preset=replace(SMALL, elite=0.5))
    search.run(6)
    size = SMALL.population
    for generation, (parents, mutate) in enumerate(taken):
        for island in range(3):
            last = (island + 1) * size - 1
            if generation % 2:
                assert not mutate[last]
                assert parents[last] == parents[(island - 1) % 3 * size]
            else:
                assert mutate[last]
                assert parents[last] // size == island


@pytest.mark.parametrize("islands", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 2])
def test_tiny_populations(size, islands, outputs):
    preset = Preset(population=size, generations=9, reps=1, tournament=1)
    search = search_of(Toy(outputs=outputs, inputs=1), preset, islands=islands, migrate_every=2, restart_after=17)
    assert search.run()
    assert len(search.rows) == 9
    assert len(search.ask()) == size * islands


@pytest.mark.parametrize(
    "changes",
    [
        {"elite": 0.0},
        {"cull": 1.0},
        {"elite": 1.0, "cull": 0.0},
        {"elite": 1.0, "cull": 1.0},
        {"first_enabled": 0.0},
        {"first_enabled": 1.0, "add_node": 0.0, "change_activation": 0.0, "add_connection": 0.0},
        {"tournament": 1},
        {"tournament": 50},
        {"ranked_by_size": 0.0},
        {"ranked_by_size": 1.0},
    ],
)
@pytest.mark.parametrize("quirks", [False, True])
def test_extreme_presets(changes, quirks):
    search = search_of(preset=replace(SMALL, **changes), official_quirks=quirks)
    assert search.run(20)
    assert [row["broken"] for row in search.rows] == [0] * 20


def test_one_activation():
    search = search_of(Toy(activations=("square",)))
    search.run(60)
    population = search.state.population
    assert population.nodes.max() > 6
    assert set(np.unique(population.act[:, 6:]).tolist()) == {0, 11}


# ---- selection


def capture(monkeypatch):
    """Whose child everyone is and whether it is mutated, generation by generation."""
    taken, children = [], Population.children

    def spy(self, parents, mutate, draws, preset, activations):
        assert draws.shape == (len(parents), 4)
        assert (draws >= 0).all()
        assert (draws < 1).all()
        taken.append((parents.copy(), mutate.copy()))
        return children(self, parents, mutate, draws, preset, activations)

    monkeypatch.setattr(Population, "children", spy)
    return taken


@pytest.mark.parametrize(
    ("name", "culled", "elites"),
    [("swingup", 38, 30), ("biped", 96, 76), ("mnist256", 192, 153), ("laptop_swing", 12, 2)],
)
def test_the_authors_numbers_of_culled_and_elites(monkeypatch, name, culled, elites):
    taken = capture(monkeypatch)
    search = Search(Toy(inputs=1, outputs=1), name)
    size = search.preset.population
    rewards = np.repeat(np.random.default_rng(0).normal(size=(size, 1)), 6, 1)
    search._checked = lambda state, *_: state  # no look: it is expensive here
    networks = search.ask()
    connections = networks.connections
    search.tell(rewards)
    ((parents, mutate),) = taken
    assert mutate.tolist() == [False] * elites + [True] * (size - elites)
    assert len(set(parents[:elites])) == elites
    assert len(connections) == size
    assert len(set(parents.tolist())) <= size - culled


def test_generations_are_ranked_by_either_pair_and_the_worst_have_no_children(monkeypatch):
    """Elites are the head of one of two orders, in the proportion that the preset says."""
    taken, orders = capture(monkeypatch), []
    search = search_of(preset=replace(SMALL, population=10, cull=0.0, elite=1.0, ranked_by_size=0.7), islands=20)
    rng = np.random.default_rng(1)
    for _ in range(20):
        networks = search.ask()
        rewards = rng.normal(size=(len(networks), 6))
        _, switched_on = search.state.population.expressed()
        orders.append((rewards, switched_on))
        search.tell(rewards)
    kinds = Counter()
    for (parents, mutate), (rewards, switched_on) in zip(taken, orders, strict=True):
        assert not mutate.any()
        for island in range(20):
            own = slice(10 * island, 10 * island + 10)
            mean, best = rewards[own].mean(1), rewards[own].max(1)
            by_size = naive_order(mean, [1 / max(count, 1) for count in switched_on[own]])
            by_best = naive_order(mean, best)
            found = (parents[own] - 10 * island).tolist()
            assert found in (by_size, by_best)
            kinds[found == by_size] += by_size != by_best
    share = kinds[True] / kinds.total()
    assert abs(share - 0.7) < 4 * (0.7 * 0.3 / kinds.total()) ** 0.5


def naive_order(first, second):
    pairs = list(zip(map(float, first), map(float, second), strict=True))
    front, left, number = [0] * len(pairs), set(range(len(pairs))), 0
    while left:
        best = {
            i
            for i in left
            if not any(
                a >= pairs[i][0] and b >= pairs[i][1] and (a, b) != pairs[i] for a, b in (pairs[j] for j in left)
            )
        }
        for i in best:
            front[i] = number
        left, number = left - best, number + 1
    crowding = [0.0] * len(pairs)
    for members in ([i for i in range(len(pairs)) if front[i] == n] for n in range(number)):
        for k in (0, 1):
            line = sorted(members, key=lambda i: pairs[i][k])
            spread = pairs[line[-1]][k] - pairs[line[0]][k]
            crowding[line[0]] = crowding[line[-1]] = float("inf")
            for low, i, high in zip(line, line[1:], line[2:], strict=False):
                gaps = (pairs[i][k] - pairs[low][k]) + (pairs[high][k] - pairs[i][k])
                crowding[i] += gaps * (1 / spread if spread else 1.0)
    return sorted(range(len(pairs)), key=lambda i: (front[i], -crowding[i]))


@pytest.mark.parametrize("tournament", [1, 2, 8])
def test_parents_win_tournaments_of_uniform_draws(monkeypatch, tournament):
    stats = pytest.importorskip("scipy.stats")
    taken, size, living = capture(monkeypatch), 20, 12
    preset = Preset(
        population=size, generations=1, reps=1, tournament=tournament, cull=0.4, elite=0.5, ranked_by_size=0
    )
    search = search_of(preset=preset, islands=100)
    # One objective in effect: rank is reward, and the number of the network.
    places = np.random.default_rng(0).permuted(np.tile(np.arange(size), (100, 1)), axis=1)
    search._checked = lambda state, *_: state
    search.ask()
    search.tell(np.repeat(-places.reshape(-1, 1).astype(float), 6, 1))
    ((parents, mutate),) = taken
    ranks = places.reshape(-1)[parents].reshape(100, size)
    assert (ranks[:, :6] == np.arange(6)).all()
    assert (mutate.reshape(100, size) == (np.arange(size) >= 6)).all()
    at_least = ((living - np.arange(living + 1)) / living) ** tournament
    chance, seen = -np.diff(at_least), np.bincount(ranks[:, 6:].ravel(), minlength=size)
    assert not seen[living:].any()
    many = chance * 1400 >= 5
    expected = np.append(chance[many], chance[~many].sum()) * 1400
    counts = np.append(seen[:living][many], seen[:living][~many].sum())
    keep = expected > 0.5
    assert stats.chisquare(counts[keep], expected[keep] / expected[keep].sum() * counts[keep].sum()).pvalue > 1e-4


def test_all_culled_means_that_the_best_is_everyones_parent(monkeypatch):
    taken = capture(monkeypatch)
    search_of(preset=replace(SMALL, cull=1.0)).run(1)
    ((parents, mutate),) = taken
    assert len(set(parents.tolist())) == 1
    assert mutate.all()


# ---- what breaks down


def breaking(kind):
    """Networks with an even number of connections break down."""

    def change(rewards, networks, part):
        rewards[networks.connections % 2 == 0, 1] = kind
        return rewards

    return change


@pytest.mark.parametrize("kind", [np.nan, np.inf, -np.inf])
def test_broken_networks_rank_last_and_are_counted(monkeypatch, kind):
    taken = capture(monkeypatch)
    search = search_of(Toy(breaking(kind)), replace(SMALL, population=12, cull=0.5, elite=1.0))
    for _ in range(30):
        even = search.ask().connections % 2 == 0
        row = search.step()
        assert row["broken"] == even.sum()
        assert np.isfinite(row["mean"])
        parents, _ = taken[-1]
        if even.sum() <= 6:
            assert not even[parents].any()
    search.look()
    assert search.front
    assert all(each.net.connections % 2 for each in search.front)
    assert np.isfinite(search.best.reward)


def test_a_reward_infinite_in_both_ways_breaks_nothing():
    def change(rewards, networks, part):
        rewards[0, :2] = np.inf, -np.inf
        return rewards

    search = search_of(Toy(change))
    for _ in range(3):
        search.step()
    assert [row["broken"] for row in search.rows] == [1, 1, 1]


def test_a_look_at_rewards_infinite_in_both_ways():
    def change(rewards, networks, part):
        if part == "train":
            rewards[0, :2] = np.inf, -np.inf
        return rewards

    search_of(Toy(change)).look()


def test_huge_finite_rewards():
    search = search_of(Toy(lambda rewards, networks, part: np.full(rewards.shape, 1e308)))
    search.run(2)
    assert all(np.isfinite(each.reward) for each in search.front)
    assert all(row["best"] is None or np.isfinite(row["best"]) for row in search.rows)


def test_a_generation_where_all_are_broken():
    task = Toy(lambda rewards, networks, part: rewards * np.nan)
    search = search_of(task, islands=2)
    assert search.run(18) == ()
    assert all(row["broken"] == 12 and row["best"] is None and row["mean"] is None for row in search.rows)
    assert search.attempts == (-np.inf, -np.inf)
    with pytest.raises(ValueError, match="nothing was found"):
        _ = search.best
    task.change = None  # and it gets over it
    assert search.run(34)
    assert np.isfinite(search.attempts).all()


def test_broken_on_validation_only():
    search = search_of(Toy(lambda rewards, networks, part: rewards * (np.nan if part == "validation" else 1)))
    assert search.run(3) == ()
    assert all(row["broken"] == 0 and "chosen" not in row for row in search.rows)


@pytest.mark.parametrize("shape", [(6,), (6, 5), (5, 6), (6, 6, 1), (0, 6)])
def test_rewards_of_another_shape_change_nothing(shape):
    search, other = search_of(), search_of()
    with pytest.raises(ValueError, match="rewards: got"):
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
    assert len(validation) == 3  # at 0, at 16, at the end
    assert not [call for call in task.calls if call[2] == "test"]
    task = Toy()
    search_of(task, replace(SMALL, reps=40)).run(0)
    assert [call[1:3] for call in task.calls] == [(40, "train"), (40, "validation")]


def test_seeds_of_the_parts_differ():
    for part in PARTS:
        assert all(0 <= part_seed(seed, part) < 2**31 for seed in range(100))
    for seed in (*range(300), 2**63 - 1, 2**63 + 4096):
        assert len({part_seed(seed, part) for part in PARTS}) == 3
    for seed in range(2):
        choosing = {part_seed(seed, "validation") + rep for rep in range(16)}
        assert not choosing & {part_seed(seed + g, "train") + rep for g in range(2048) for rep in range(4)}
    with pytest.raises(ValueError, match="part: got 'training', expected one of train, validation, test"):
        part_seed(0, "training")


def test_no_episode_that_chooses_is_ever_trained_on():
    choosing = {part_seed(46530, "validation") + rep for rep in range(16)}
    assert not choosing & {part_seed(46530 + g, "train") + rep for g in range(1024, 2048) for rep in range(4)}


def test_the_front_is_of_validated_rewards_and_ascends():
    task = Toy()
    search = search_of(task, replace(SMALL, population=20), weights=(-1.5, 0.5, 3))
    front = search.run(40)
    sizes, rewards = [each.net.connections for each in front], [each.reward for each in front]
    assert sizes == sorted(set(sizes))
    assert rewards == sorted(set(rewards))
    assert search.best is front[-1]
    from untrained.wann.networks.batch import Packed

    again = task.rewards(
        Packed.of([each.net for each in front]), search.choosing_weights, search.seed, part="validation"
    )
    assert [each.rewards for each in front] == [tuple(row) for row in again.tolist()]
    assert max(search.attempts) == search.best.reward
    chosen = [row["chosen"] for row in search.rows]
    assert chosen == sorted(chosen)


def test_front_of_is_the_definition():
    rng = np.random.default_rng(0)

    def net(connections):
        return Net(1, 1, [1], [0, connections], [0] * connections)

    for _ in range(50):
        sizes, rewards = rng.integers(0, 6, 12), rng.integers(0, 5, 12).astype(float)
        found = [Found(net(size), (reward,)) for size, reward in zip(sizes, rewards, strict=True)]
        facts = [(each.net.connections, each.reward) for each in found]
        kept = {(s, r) for s, r in facts if not any(t <= s and q >= r and (t, q) != (s, r) for t, q in facts)}
        front = front_of(found)
        assert [(each.net.connections, each.reward) for each in front] == sorted(kept)
        assert all(each is found[facts.index((each.net.connections, each.reward))] for each in front)
        assert front_of(front) == front
    assert front_of([]) == ()


# ---- restarts


def test_restarts_are_those_of_a_plain_simulation():
    """Rewards never get better, so an attempt ends so many generations after its first look."""
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


def test_an_attempt_that_gets_better_all_the_time_is_not_ended():
    def change(rewards, networks, part):
        change.calls += 1
        return np.full(rewards.shape, float(change.calls))

    change.calls = 0
    search = search_of(Toy(change), restart_after=17)
    search.run(60)
    assert search.state.ended == ()


@pytest.mark.parametrize("after", [1, 16])
def test_no_attempt_ends_before_a_look_at_what_it_evolved(after):
    with pytest.raises(ValueError, match="restart_after"):
        search_of(restart_after=after)


# ---- stops


def test_run_for_some_time():
    search, other = search_of(), search_of()
    start = time.monotonic()
    search.run(10**9, seconds=0.15)
    assert 0.15 <= time.monotonic() - start < 5
    assert search.state.generation > 0
    other.run(search.state.generation)
    assert_same(search, other)
    search.run(10**9, seconds=0)
    assert_same(search, other)


def test_no_generation_at_all_still_looks():
    search = search_of()
    assert search.front == ()
    assert search.run(0)
    assert search.rows == []
    assert search.state.generation == 0
    assert search.state.front == ()


def test_callbacks_see_every_generation():
    seen = []
    search = search_of()
    search.run(5, callbacks=(lambda each, row: seen.append((each is search, row)) for _ in range(2)))
    assert len(seen) == 10
    assert all(same for same, _ in seen)
    assert [row for _, row in seen[::2]] == search.rows
    assert all(row["seconds"] >= 0 for row in search.rows)


def test_a_callback_may_interrupt():
    whole, search = search_of(**ISLANDS), search_of(**ISLANDS)
    whole.run(20)

    def interrupt(_, row):
        if row["generation"] % 3 == 0:
            raise KeyboardInterrupt

    stops = 0
    while search.state.generation < 20:
        with pytest.raises(KeyboardInterrupt) if search.state.generation < 19 else warnings.catch_warnings():
            search.run(20, callbacks=[interrupt])
        stops += 1
        assert len(search.rows) == search.state.generation
    assert stops == 8
    search.look()
    assert_same(search, whole)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 18, 19, 20, 21, 22, 23])
def test_any_evaluation_may_be_interrupted(tmp_path, at, workers):
    """Training and validation alike; calls are counted over all chunks of several workers."""
    if workers > 1:
        pytest.importorskip("joblib")
    # In a worker only an Exception comes back to who waits, as joblib has it; Ctrl-C reaches the main thread anyway.
    kind = KeyboardInterrupt if workers == 1 else ArithmeticError
    whole = search_of(**ISLANDS)
    whole.run(19)

    def change(rewards, networks, part):
        if not stopped and len(task.calls) >= at * (1 if workers == 1 else 6):
            stopped.append(at)
            raise kind
        return rewards

    task, stopped = Toy(change), []
    search = search_of(task, workers=workers, **ISLANDS)
    with pytest.raises(kind):
        search.run(19)
    assert stopped
    search.save(tmp_path)
    other = search_of(**ISLANDS)
    other.restore(tmp_path)
    for each in (search, other):
        each.run(19)
        assert_same(each, whole)


# ---- settings


def test_presets_are_the_authors():
    common = {"ranked_by_size": 0.8, "change_activation": 0.5, "add_node": 0.25, "add_connection": 0.2, "enable": 0.05}
    common |= {"cull": 0.2, "first_enabled": 0.5, "elite": 0.2}
    table = {
        "default": {"population": 128, "generations": 2048, "reps": 4, "tournament": 16},
        "swingup": {"population": 192, "generations": 1024, "reps": 3, "tournament": 16},
        "laptop_swing": {"population": 64, "generations": 1024, "reps": 3, "tournament": 8, "elite": 0.05},
        "biped": {"population": 480, "generations": 2048, "reps": 4, "tournament": 32, "first_enabled": 0.25},
        "mnist256": {"population": 960, "generations": 4096, "reps": 1, "tournament": 64, "first_enabled": 0.05},
    }
    for name, own in table.items():
        assert asdict(preset_named(name)) == common | own
    assert table.keys() | {"digits", "table"} == PRESETS.keys()
    assert Search(Toy()).preset == PRESETS["default"]


@pytest.mark.parametrize("name", ["mnist", "", "Default"])
def test_unknown_preset(name):
    with pytest.raises(ValueError, match=f"preset '{name}': expected one of default, swingup"):
        preset_named(name)
    with pytest.raises(ValueError, match="expected one of"):
        Search(Toy(), name)


@pytest.mark.parametrize("name", ["population", "generations", "reps", "tournament"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_of_a_preset(name, value):
    with pytest.raises(ValueError, match=f"^{name}: got {value}, expected a whole number, at least 1$"):
        replace(SMALL, **{name: value})


@pytest.mark.parametrize(
    "name",
    ["ranked_by_size", "first_enabled", "cull", "elite", "add_node", "add_connection", "enable", "change_activation"],
)
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_fractions_of_a_preset(name, value):
    with pytest.raises(ValueError, match=f"^{name}: got {value}, expected in"):
        replace(SMALL, **{name: value})


def test_a_preset_without_mutations():
    with pytest.raises(ValueError, match="mutations: got"):
        replace(SMALL, add_node=0, add_connection=0, enable=0, change_activation=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"islands": 0},
        {"migrate_every": -1},
        {"restart_after": -1},
        {"weights": ()},
        {"seed": -1},
        {"seed": 2**63},
        {"workers": 0},
        pytest.param(
            {"weights": (1.0, float("nan"))},
        ),
    ],
)
def test_settings_that_are_not_valid(settings):
    with pytest.raises(ValueError, match=r"expected|needs"):
        search_of(**settings)


def test_a_task_without_activations():
    with pytest.raises(ValueError, match="activation"):
        search_of(Toy(activations=()))


def test_a_task_with_an_unknown_activation():
    with pytest.raises(ValueError, match=r"activation.*'softplus'"):
        search_of(Toy(activations=("tanh", "softplus")))


@pytest.mark.parametrize("weights", [(1.0,), (0.0,), np.array([-1, 2])])
def test_other_weights(weights):
    search = search_of(weights=weights)
    most = max(abs(w) for w in weights)
    assert len(search.run(3)[0].rewards) == len(search.choosing_weights) == 16
    assert max(search.choosing_weights) == -min(search.choosing_weights) <= most


def test_a_search_is_saved_and_restored_by_itself(tmp_path):
    search, other = search_of(**ISLANDS), search_of(**ISLANDS)
    search.run(5)
    search.save(tmp_path)
    other.restore(tmp_path)
    assert other.state.generation == 5
    for each in (search, other):
        each.run(9)
    assert_same(search, other)


def test_official_quirks_change_what_is_expressed():
    split = replace(SMALL, ranked_by_size=0.0, enable=0.0, change_activation=0.0, first_enabled=1.0)
    searches = [search_of(preset=split, official_quirks=quirk) for quirk in (False, True)]
    for search in searches:
        search.run(60)
    ours, theirs = searches
    mended = theirs.state.population.expressed()[0].connections
    assert (theirs.ask().connections >= mended).all()
    assert (theirs.ask().connections > mended).any()
    assert np.array_equal(ours.ask().connections, ours.state.population.expressed()[0].connections)


# ---- without joblib, without numba


@pytest.mark.parametrize("call", ["run"])
def test_without_joblib_the_extra_is_named(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "joblib", None)
    search = search_of(workers=2)
    with pytest.raises(ImportError, match=r"joblib: pip install 'untrained\[wann\]'"):
        getattr(search, call)()
    assert search.state.generation == 0
    search_of(workers=1).run(1)


@pytest.mark.parametrize("call", ["step", "look"])
def test_without_joblib_the_extra_is_named_by_single_steps(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"joblib: pip install 'untrained\[wann\]'"):
        getattr(search_of(workers=2), call)()


@pytest.mark.parametrize("count", [1, 2, 3, 9, 25])
def test_every_network_is_evaluated_once_whatever_the_workers(count):
    pytest.importorskip("joblib")
    search = search_of(preset=replace(SMALL, population=count))
    networks = search.ask()
    expected = Toy().rewards(networks, WEIGHTS, 3)
    for workers in (1, 2, 3, 7):
        task = Toy()
        with Evaluator(task, workers) as evaluator:
            assert np.array_equal(evaluator.rewards(networks, WEIGHTS, 3), expected)
        assert np.array_equal(Evaluator(task, workers).rewards(networks, WEIGHTS, 3), expected)
        assert sum(call[3] for call in task.calls) == 2 * count


WITHOUT_NUMBA = """
import importlib.abc, importlib.util, sys, warnings
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.partition(".")[0] == "numba" else find(name, *a)
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] != "numba", "numba was asked for"
sys.meta_path.insert(0, Blocker())
import test_evolution as tests
assert not tests.AVAILABLE
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    searches = [tests.search_of(**tests.ISLANDS), tests.search_of(official_quirks=True)]
(text,) = {str(each.message) for each in caught}
assert "numba is not installed" in text and "untrained[wann]" in text, text
assert {each.filename for each in caught} == {tests.__file__}, "the warning is to name its caller"
warnings.simplefilter("error")
for search in searches:
    search.run(20)
    print(tests.digest(search))
assert "numba" not in sys.modules
"""


def digest(search):
    return hashlib.sha256(repr(facts(search)).encode()).hexdigest()


def test_without_numba_the_same_is_found():
    paths = [str(Path(__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    searches = [search_of(**ISLANDS), search_of(official_quirks=True)]
    for search in searches:
        search.run(20)
    assert done.stdout.split() == [digest(search) for search in searches]


# ---- checkpoints


@pytest.mark.parametrize("settings", [{}, ISLANDS, {"official_quirks": True, "islands": 3, "migrate_every": 1}])
def test_going_on_from_any_generation(tmp_path, settings):
    whole, stops = search_of(**settings), (0, 1, 15, 16, 17, 18, 23, 31, 32, 33, 35)

    def save(search, row=None):
        folder = tmp_path / str(search.state.generation)
        if search.state.generation in stops:
            folder.mkdir()
            search.save(folder)

    save(whole)
    whole.run(36, callbacks=[save])
    for stop in stops:
        search = search_of(**settings)
        if stop % 2:
            search.run(5)  # where it was before does not matter
        search.restore(tmp_path / str(stop))
        assert search.state.generation == len(search.rows) == stop
        search.run(36)
        assert_same(search, whole)
        assert facts(search)["rows"] == facts(whole)["rows"]


def saved(folder, generations=18, **settings):
    search = search_of(**ISLANDS | settings)
    search.run(generations)
    search.save(folder)
    return search


def rewrite(folder, **changes):
    """Another checkpoint in place of the one there: arrays, or entries of its facts; None leaves them out."""
    path = folder / checkpoint.NAME
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    known = json.loads(content.pop("facts").tobytes())
    for name, value in changes.items():
        place = content if name in content else known
        place[name] = value
        if value is None:
            del place[name]
    facts = changes.get("facts", known)
    np.savez_compressed(path, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **content)


def refused(folder, match=".", search=None):
    """A ValueError of one line that names the file, and the search is as it was."""
    search = search or search_of(**ISLANDS)
    before, state, rows = facts(search), search.state, list(search.rows)
    with pytest.raises(ValueError, match=match) as caught:
        search.restore(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert search.state is state
    assert search.rows == rows
    assert facts(search) == before
    return str(caught.value)


def test_writing_reads_back_and_leaves_the_search_alone(tmp_path):
    search = saved(tmp_path)
    before = facts(search)
    search.save(tmp_path)
    assert facts(search) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.NAME, checkpoint.METRICS]
    lines = (tmp_path / checkpoint.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == search.rows


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    search = saved(tmp_path, 3)
    old = (tmp_path / checkpoint.NAME).read_bytes()
    at_three = search_of(**ISLANDS)
    at_three.restore(tmp_path)
    search.run(9)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", lambda file, **_: file.write(b"half") and [][0])
        with pytest.raises(IndexError):
            search.save(tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.NAME, checkpoint.METRICS]
    # The metrics are ahead of it now; those rows are not of the past.
    again = search_of(**ISLANDS)
    again.restore(tmp_path)
    assert_same(again, at_three)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("seed", {"seed": 1}),
        ("islands", {"islands": 3}),
        ("migrate_every", {"migrate_every": 0}),
        ("restart_after", {"restart_after": 18}),
        ("weights", {"weights": (1, 2)}),
        ("official_quirks", {"official_quirks": True}),
        ("preset", {"preset": replace(SMALL, population=7)}),
        ("task", {"task": Toy(inputs=2)}),
        ("task", {"task": Toy(name="another")}),
    ],
)
def test_a_checkpoint_of_another_search_says_what_differs(tmp_path, name, settings):
    saved(tmp_path, 2)
    message = refused(tmp_path, "of another search", search_of(**ISLANDS | settings))
    assert f"its {name}" in message
    assert len(message) < 500 + len(str(tmp_path))


def test_a_checkpoint_with_another_preset_says_which_setting(tmp_path):
    saved(tmp_path, 2)
    message = refused(tmp_path, "of another search", search_of(**ISLANDS, preset=replace(SMALL, elite=0.3)))
    assert "elite" in message


def test_workers_are_no_part_of_the_plan(tmp_path):
    pytest.importorskip("joblib")
    first = saved(tmp_path)
    second = search_of(**ISLANDS, workers=2)
    second.restore(tmp_path)
    for search in (first, second):
        search.run(22)
    assert_same(first, second)


def test_there_is_no_checkpoint(tmp_path):
    assert "nothing to resume" in refused(tmp_path)
    assert "nothing to resume" in refused(tmp_path / "none")
    (tmp_path / checkpoint.NAME).mkdir()
    refused(tmp_path)


def test_truncated_checkpoints(tmp_path):
    search = saved(tmp_path)
    data = (tmp_path / checkpoint.NAME).read_bytes()
    target = search_of(**ISLANDS)
    for end in range(0, len(data), 37):
        (tmp_path / checkpoint.NAME).write_bytes(data[:end])
        refused(tmp_path, "checkpoint of ours|damaged", target)
    (tmp_path / checkpoint.NAME).write_bytes(data)
    target.restore(tmp_path)
    target.look()
    assert_same(target, search)


def test_a_truncated_checkpoint_is_closed_again(tmp_path):
    saved(tmp_path, 1)
    path, search = tmp_path / checkpoint.NAME, search_of(**ISLANDS)
    path.write_bytes(path.read_bytes()[:-30])
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always")
        try:
            search.restore(tmp_path)
        except ValueError:
            pass
        gc.collect()
    assert [str(each.message) for each in leaks] == []


def test_damaged_checkpoints(tmp_path):
    """With one bit another, it is refused, or it is the same search."""
    search = saved(tmp_path)
    data, rng = (tmp_path / checkpoint.NAME).read_bytes(), np.random.default_rng(0)
    state = facts(search)["population"]
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (tmp_path / checkpoint.NAME).write_bytes(damaged)
        other = search_of(**ISLANDS)
        try:
            other.restore(tmp_path)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert facts(other)["population"] == state
            assert other.state.generation == search.state.generation


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 500, b"\x93NUMPY\x01\x00", b"{}", "pickle", "npy"])
def test_files_that_are_something_else(tmp_path, content):
    path = tmp_path / checkpoint.NAME
    if content == "pickle":
        np.savez(path, facts=np.array([object()], object))
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(content)
    refused(tmp_path, "checkpoint of ours")


FIRST = Population.first(3, 2, 12, 0.5, np.random.default_rng(0).random((12, 8)))


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": None},
        {"plan": "plan"},
        {"generation": None},
        {"generation": "many"},
        {"front": [{"net": {}, "rewards": []}]},
        {"front": 3},
        {"ended": None},
        {"act": None},
        {"act": FIRST.act.astype(np.int32)},
        {"act": FIRST.act[:-1]},
        {"nodes": FIRST.nodes[:, None]},
        {"facts": [1]},
        {"facts": 3},
        {"generation": float("inf")},
        {"generation": -3},
        {"island_best": np.zeros(5)},
        {"island_since": np.zeros(5, np.int64)},
        {"island_best": np.zeros((2, 2))},
        {"nodes": FIRST.nodes + 1000},
        {"genes": FIRST.genes + 1000},
        {"genes": FIRST.genes - 100},
        {"nodes": FIRST.nodes * 0},
        {"on": FIRST.on[:, :1]},
        {"src": FIRST.src + 10**6},
        {"dst": FIRST.dst + 10**6},
        {"src": FIRST.src - 5},
        {"act": FIRST.act * 100},
        {"dst": FIRST.dst * 0},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_hostile_checkpoints(tmp_path, changes):
    """Only restored here, never gone on with: that may crash the interpreter."""
    saved(tmp_path, 0)
    rewrite(tmp_path, **changes)
    refused(tmp_path, "checkpoint of ours|damaged")


@pytest.mark.parametrize("form", ["untrained-wann-search/2", None])
def test_a_checkpoint_of_another_format(tmp_path, form):
    saved(tmp_path, 0)
    rewrite(tmp_path, format=form)
    refused(tmp_path, "format|checkpoint of ours")


def test_a_front_of_other_networks(tmp_path):
    saved(tmp_path, 0)
    net = {"format": "untrained-wann/1", "inputs": 9, "outputs": 7, "nodes": [["tanh", [0]]] * 7}
    rewrite(tmp_path, front=[{"net": net, "rewards": [1.0] * 6}])
    refused(tmp_path)


def test_a_front_without_rewards(tmp_path):
    saved(tmp_path, 0)
    net = {"format": "untrained-wann/1", "inputs": 3, "outputs": 2, "nodes": [["tanh", [0]]] * 2}
    rewrite(tmp_path, front=[{"net": net, "rewards": []}])
    refused(tmp_path)


def test_a_population_with_a_cycle(tmp_path):
    saved(tmp_path, 0)
    act, src, dst, on, nodes, genes = (array.copy() for array in FIRST.arrays)
    act[0, 6:8], nodes[0], genes[0] = 1, 8, 10
    src[0, 8:10], dst[0, 8:10], on[0, 8:10] = (6, 7), (7, 6), 1
    rewrite(tmp_path, act=act, src=src, dst=dst, on=on, nodes=nodes, genes=genes)
    refused(tmp_path)


def test_metrics_may_be_lost_or_cut(tmp_path):
    search = saved(tmp_path, 4)
    path = tmp_path / checkpoint.METRICS
    text = path.read_text()
    for content, left in ((text[:-9], 3), ("", 0), ("[]\n\n3\n{}\n" + text, 4), (None, 0)):
        path.unlink()
        if content is not None:
            path.write_text(content)
        other = search_of(**ISLANDS)
        other.restore(tmp_path)
        assert other.rows == search.rows[:left]
        assert other.state.generation == 4


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x80\n", b'{"generation": null}\n', b'{"generation": "1"}\n', b"[" * 100_000 + b"\n"]
    + [b'{"generation": 1}\n', b'{"generation": 1, "best": [], "mean": 1}\n']
    + [
        b'{"generation": 1, "best": 1, "mean": 1, "front": ' + front + b"}\n"
        for front in (b"3", b"[[1]]", b'[[1, ""]]')
    ],
)
def test_damaged_metrics_do_not_matter(tmp_path, content):
    saved(tmp_path, 2)
    (tmp_path / checkpoint.METRICS).write_bytes(content)
    search = search_of(**ISLANDS)
    search.restore(tmp_path)
    assert search.rows == []
    assert search.state.generation == 2


def test_rows_are_json_whatever_happened(tmp_path):
    saved(tmp_path, 2, task=Toy(lambda rewards, networks, part: rewards * np.nan))
    for line in (tmp_path / checkpoint.METRICS).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
