"""The search by laws: its result depends on task, settings and seed alone, whatever stops it or runs it."""

import hashlib
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toy_search import ISLANDS, SMALL, Toy, assert_same, facts, genomes, search_of
from untrained.wann.evolution.generation import Generation
from untrained.wann.evolution.presets import Preset
from untrained.wann.numerics.jit import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="a search warns without numba")


# ---- what it depends on


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
            stopped.look()  # must not change how it goes on
    by_hand.look()
    stopped.look()
    for until in (7, 7, 17, 3, 36):
        pieces.run(until)
    for search in (by_hand, stopped, pieces):
        assert_same(search, whole)


def test_a_search_with_exact_rewards_finds_what_it_always_found():
    """Sums of small whole numbers round nowhere, so this hash is the same on every processor."""

    def change(rewards, networks, part):
        nets = [networks.net(p) for p in range(len(networks))]
        mixed = [(31 * net.act.sum() + 7 * net.src.sum() + 5 * net.connections) % 64 for net in nets]
        return np.array(mixed, float)[:, None] + np.arange(rewards.shape[1])

    digest = hashlib.sha256()
    for quirks in (False, True):
        search = search_of(Toy(change), **ISLANDS, official_quirks=quirks)
        search.run(40)
        digest.update(repr([genomes(search, 0), genomes(search, 1), search.attempts]).encode())
    assert digest.hexdigest() == "976b82d8cd0c5a4e1d95ba15f68e0d672f7c23e5dfdd1941ce66b1e2cb3a95bb"


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


def test_migrants_are_the_best_of_the_island_before_unchanged():
    apart, together = (search_of(preset=replace(SMALL, elite=0.5), islands=3, migrate_every=m) for m in (0, 2))
    for generation in range(1, 3):
        apart.run(generation)
        together.run(generation)
        for island in range(3):
            own, alone = genomes(together, island), genomes(apart, island)
            assert own[:-1] == alone[:-1]
            # The best of an island is its first elite.
            assert own[-1] == (genomes(together, island - 1 if island else 2)[0] if generation == 2 else alone[-1])


def test_the_best_of_an_island_migrates_though_it_has_no_elites():
    search = search_of(preset=replace(SMALL, elite=0.0, tournament=1, ranked_by_size=0.0), islands=3, migrate_every=1)
    for _ in range(8):
        before = [genomes(search, island) for island in range(3)]
        # One network of each island is the best in the mean and at every weight.
        rewards = np.random.default_rng(search.state.generation).random((18, 6))
        new = Generation.of(search.state, 3, disabled_stay=False).new  # of equal networks the first
        best = [int(mine[search.state.generation % len(mine)] % 6) for mine in (new[new // 6 == i] for i in range(3))]
        rewards[[6 * island + place for island, place in enumerate(best)]] = 2.0
        search.tell(rewards)
        assert [genomes(search, island)[-1] for island in range(3)] == [before[i - 1][best[i - 1]] for i in range(3)]


@pytest.mark.parametrize("islands", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_populations(size, islands):
    for outputs in (1, 2):
        preset = Preset(population=size, generations=9, reps=1, tournament=1)
        search = search_of(Toy(outputs=outputs, inputs=1), preset, islands=islands, migrate_every=2, restart_after=17)
        assert search.run()
        assert len(search.rows) == 9
        assert len(search.ask()) == size * islands


@pytest.mark.parametrize(
    "changes",
    [
        {"elite": 0.0, "ranked_by_size": 0.0},
        {"cull": 1.0, "tournament": 1},
        {"elite": 1.0, "cull": 0.0},
        {"elite": 1.0, "cull": 1.0, "ranked_by_size": 1.0},
        {"first_enabled": 0.0, "tournament": 50},
        {"first_enabled": 1.0, "add_node": 0.0, "change_activation": 0.0, "add_connection": 0.0},
    ],
    ids=str,
)
def test_extreme_presets(changes):
    for quirks in (False, True):
        search = search_of(preset=replace(SMALL, **changes), official_quirks=quirks)
        assert search.run(20)
        assert [row["broken"] for row in search.rows] == [0] * 20


def test_one_activation():
    search = search_of(Toy(activations=("square",)))
    search.run(60)
    population = search.state.population
    assert population.nodes.max() > 6
    assert set(np.unique(population.act[:, 6:]).tolist()) == {0, 11}


def test_generations_are_ranked_by_size_in_the_proportion_that_the_preset_gives():
    """All genomes are elites here, so the next generation is one of the two orders."""
    counts = {True: 0, False: 0}
    for seed in range(150):
        search = search_of(preset=replace(SMALL, cull=0.0, elite=1.0, ranked_by_size=0.7), seed=seed)
        before, sizes = genomes(search), search.ask().connections
        # The largest network is the best at one weight, and all are equal in the mean.
        rewards = np.zeros((6, 6))
        rewards[:, 0], rewards[:, 1] = sizes, -sizes.astype(float)
        search.tell(rewards)
        if sizes.max() > max(sizes.min(), 1):
            first = sizes[before.index(genomes(search)[0])]
            assert first == sizes.max() or first <= max(sizes.min(), 1)
            counts[bool(first < sizes.max())] += 1
    total = sum(counts.values())
    assert abs(counts[True] / total - 0.7) < 4 * (0.7 * 0.3 / total) ** 0.5


# ---- stops


def test_run_for_some_time():
    search, other = search_of(), search_of()
    start = time.monotonic()
    search.run(10**9, seconds=0.15)
    assert 0.15 <= time.monotonic() - start < 5
    assert search.state.generation > 0
    other.run(search.state.generation)
    search.run(10**9, seconds=0)
    assert_same(search, other)


def test_no_generation_at_all_still_looks():
    search = search_of()
    assert search.front == ()
    assert search.run(0)
    assert search.rows == []
    assert search.state.generation == 0
    assert search.state.front == ()


def test_callbacks_see_every_generation_and_may_interrupt():
    whole, search, seen = search_of(**ISLANDS), search_of(**ISLANDS), []
    whole.run(20, callbacks=(lambda each, row: seen.append((each is whole, row)) for _ in range(2)))
    assert [row for _, row in seen[::2]] == [row for _, row in seen[1::2]] == whole.rows
    assert all(same and row["seconds"] >= 0 for same, row in seen)

    def interrupt(_, row):
        if row["generation"] % 3 == 0:
            raise KeyboardInterrupt

    for stops in range(1, 8):
        with pytest.raises(KeyboardInterrupt):
            search.run(20, callbacks=[interrupt])
        assert len(search.rows) == search.state.generation == 3 * stops - 2
    search.run(20, callbacks=[interrupt])
    assert_same(search, whole)


# ---- settings


BAD = {
    "islands": (0, 1.5),
    "migrate_every": (-1,),
    "restart_after": (-1, 16),  # no attempt ends before a choice among what it evolved
    "seed": (-1, 2**63, "0"),
    "workers": (0,),
    "weights": ((), (1.0, float("nan"))),
}


@pytest.mark.parametrize("name", BAD)
def test_settings_that_are_not_valid(name):
    for value in BAD[name]:
        with pytest.raises(ValueError, match=rf"{name} must .*{re.escape(repr(value))}"):
            search_of(**{name: value})


def test_tasks_without_activations_or_with_unknown_ones():
    for activations, message in (((), "activations of toy"), (("tanh", "softplus"), "'softplus'")):
        with pytest.raises(ValueError, match=message):
            search_of(Toy(activations=activations))


@pytest.mark.parametrize("weights", [(1.0,), (0.0,), np.array([-1, 2])])
def test_other_weights(weights):
    search = search_of(weights=weights)
    most = max(abs(w) for w in weights)
    assert len(search.run(3)[0].rewards) == len(search.choosing_weights) == 16
    assert max(search.choosing_weights) == -min(search.choosing_weights) <= most


def test_official_quirks_change_what_is_expressed():
    split = replace(SMALL, ranked_by_size=0.0, enable=0.0, change_activation=0.0, first_enabled=1.0)
    ours, theirs = (search_of(preset=split, official_quirks=quirk) for quirk in (False, True))
    for search in (ours, theirs):
        search.run(60)
    mended = theirs.state.population.expressed()[0].connections
    assert (theirs.ask().connections >= mended).all()
    assert (theirs.ask().connections > mended).any()
    assert np.array_equal(ours.ask().connections, ours.state.population.expressed()[0].connections)


# ---- without numba

WITHOUT_NUMBA = """
import importlib.abc, importlib.util, sys, warnings
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.partition(".")[0] == "numba" else find(name, *a)
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] != "numba", "numba was asked for"
sys.meta_path.insert(0, Blocker())
import toy_search
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    searches = [toy_search.search_of(**toy_search.ISLANDS), toy_search.search_of(official_quirks=True)]
(text,) = {str(each.message) for each in caught}
assert "numba is not installed" in text and "[wann]" in text, text
assert {each.filename for each in caught} == {toy_search.__file__}, "the warning is to name its caller"
warnings.simplefilter("error")
for search in searches:
    search.run(20)
    print(toy_search.facts(search))
assert "numba" not in sys.modules
"""


def test_without_numba_the_same_is_found():
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", WITHOUT_NUMBA]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    searches = [search_of(**ISLANDS), search_of(official_quirks=True)]
    for search in searches:
        search.run(20)
    assert done.stdout.splitlines() == [repr(facts(search)) for search in searches]
