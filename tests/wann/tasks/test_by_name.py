"""Tasks and presets by their names."""

from untrained.wann.evolution.presets import PRESETS
from untrained.wann.tasks.by_name import ENVIRONMENTS, preset_of, task_named
from untrained.wann.tasks.control import JitEnv


def test_every_environment_has_its_name():
    for name in ENVIRONMENTS:
        task = task_named(name)
        assert isinstance(task, JitEnv) and task.name == name


def test_every_task_has_a_preset():
    names = ["digits", "mnist", *ENVIRONMENTS, "gym:CartPole-v1", "gym:BipedalWalker-v3", "some/table.csv", "unknown"]
    found = {name: preset_of(name) for name in names}
    assert set(found.values()) <= set(PRESETS)
    assert found["mnist"] == "mnist256" and all(found[name] == "archive" for name in ENVIRONMENTS)
    assert found["gym:BipedalWalker-v3"] == "biped" and found["some/table.csv"] == "table"
    assert found["gym:CartPole-v1"] == "default"
