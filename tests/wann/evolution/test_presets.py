"""Presets: the authors' numbers, and a law for every field."""

from dataclasses import fields, replace

import numpy as np
import pytest

from toy_search import SMALL, Toy
from untrained.wann.evolution.presets import PRESETS, Preset, preset_named
from untrained.wann.evolution.ranking import choose_parents
from untrained.wann.evolution.search import Search

COUNTS = ("population", "generations", "reps", "tournament")
FRACTIONS = [field.name for field in fields(Preset) if field.name not in (*COUNTS, "selection")]


@pytest.mark.parametrize("name", [*COUNTS, *FRACTIONS])
def test_every_field_has_its_range(name):
    bad = [0, -1, 1.5, "2", None] if name in COUNTS else [-0.1, 1.1, float("nan"), float("inf"), "0", None]
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name} must .*{value}"):
            replace(SMALL, **{name: value})
    for value in [1, np.int64(7)] if name in COUNTS else [0, 1, np.float32(0.5)]:
        assert getattr(replace(SMALL, **{name: value}), name) == value


def test_one_mutation_is_needed():
    with pytest.raises(ValueError, match="mutations"):
        replace(SMALL, add_node=0, add_connection=0, enable=0, disable=0, change_activation=0)


@pytest.mark.parametrize("name", ["mnist", "", "Default"])
def test_an_unknown_name_is_refused_with_those_there_are(name):
    for call in (preset_named, lambda name: Search(Toy(), name)):
        with pytest.raises(ValueError, match=f"preset '{name}'.*default, swingup"):
            call(name)


@pytest.mark.parametrize(
    ("name", "population", "generations", "culled", "elites"),
    # As the authors' code counts them in its first generations.
    [
        ("swingup", 192, 1024, 38, 30),
        ("biped", 480, 2048, 96, 76),
        ("mnist256", 960, 4096, 192, 153),
        ("laptop_swing", 64, 1024, 12, 2),
    ],
)
def test_the_authors_numbers(name, population, generations, culled, elites):
    preset = preset_named(name)
    assert PRESETS[name] is preset
    assert (preset.population, preset.generations) == (population, generations)
    uniform = np.random.default_rng(0).random(population * preset.tournament)
    parents, mutate = choose_parents(np.arange(population), uniform, preset)
    assert mutate.tolist() == [False] * elites + [True] * (population - elites)
    assert parents[:elites].tolist() == list(range(elites))
    assert parents.max() < population - culled
