"""The values that a recipe gives to settings that are not given."""

import inspect
import tomllib

import pytest

import untrained as ut
from untrained.experiments.by_name import last_of, method_of
from untrained.models import NETWORKS
from untrained.report.command_line import command_of
from untrained.runs.settings import CompareSettings, Settings, fill, settle

OURS = {"method": "edge-popup", "keep": 0.5, "densities": "uniform", "norm": None}
SMALL = {"method": "small", "keep": 0.05, "densities": "balanced", "norm": "batch"}
GIVEN = {"method": "biprop", "keep": 0.3, "densities": "erk", "norm": "batch"}


@pytest.mark.parametrize(("recipe", "expected"), [("ours", OURS), ("paper", OURS), ("small", SMALL)])
def test_what_is_not_given_is_that_of_the_recipe(recipe, expected):
    settled = settle(Settings(), {"recipe": recipe})
    assert {name: getattr(settled, name) for name in expected} == expected
    for name, value in GIVEN.items():
        assert getattr(settle(Settings(), {"recipe": recipe, name: value}), name) == value
    assert settle(settled, {}) == settled
    read = {key.replace("-", "_"): value for key, value in tomllib.loads(settled.to_toml()).items()}
    assert settle(Settings(**read), {}) == settled


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ""),
        ({"keep": 0.3, "densities": "uniform"}, " --keep 0.3"),
        ({"recipe": "small"}, " --recipe small"),
        ({"recipe": "small", "keep": 0.5, "densities": "erk"}, " --densities erk --recipe small --keep 0.5"),
    ],
)
def test_the_command_of_a_run_leaves_out_what_is_that_of_the_recipe(changes, line):
    settings = tomllib.loads(settle(Settings(), changes).to_toml())
    assert command_of("untrained find", fill(Settings(), settings["recipe"]), settings) == f"untrained find{line}"


def test_recipes_that_do_not_exist_have_the_values_of_ours():
    assert fill(Settings(), ["small"]) == fill(Settings(), None) == settle(Settings(), {})


@pytest.mark.parametrize("name", ["resnet18", "wide-resnet50"])
def test_residual_networks_have_norms_of_their_own(name):
    assert {name for name in NETWORKS if "norm" not in inspect.signature(NETWORKS[name]).parameters} == {
        name for name in NETWORKS if "resnet" in name
    }
    settled = settle(Settings(), {"recipe": "small", "model": name})
    assert (settled.norm, settled.method, settled.densities) == (None, "small", "balanced")


def test_a_comparison_keeps_its_methods():
    settled = settle(CompareSettings(), {"recipe": "small"})
    assert (settled.norm, settled.densities, settled.methods, settled.keep) == ("batch", "balanced", "all", "0.5")


def test_small_is_short_for_a_method():
    spelled = "edge-popup(signed=True,last=Nudge(step=1.0,levels=7))"
    assert (method_of("small", 0.03), last_of("small")) == (method_of(spelled, 0.03), last_of(spelled))
    assert method_of("small(keep=0.1)", 0.03) == ut.EdgePopup(keep=0.1, signed=True)
    assert last_of("small(last=Nudge(step=2))") == ut.Nudge(step=2.0)


def test_signed_scores_learn_faster():
    assert (ut.EdgePopup().recipe.lr, ut.EdgePopup(signed=True).recipe.lr) == (2.0, 4.0)


def test_find_writes_what_it_used_and_resumes(tmp_path):
    settings = {"recipe": "small", "widths": (8,), "epochs": 1, "twin": False, "out": tmp_path / "run"}
    found = ut.find(**settings)
    written = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert {name: written[name] for name in SMALL} == SMALL
    before = found.ticket.read_bytes()
    assert ut.find(**settings, resume=True).ticket.read_bytes() == before
    with pytest.raises(ValueError, match="densities = balanced, not erk"):
        ut.find(**settings, resume=True, densities="erk")
