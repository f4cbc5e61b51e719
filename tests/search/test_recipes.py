"""Each method's scores learn by its own recipe, and one for all is the same as before."""

import dataclasses
import shutil

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.masking.mask import record
from untrained.search import checkpoint
from untrained.search.recipes import find_recipes

MAIN, LAST = ut.EdgePopup(0.3, signed=True), ut.Nudge(step=0.5, levels=31)
SIGNED = ut.EdgePopup(0.6, signed=True)
ADAM = dataclasses.replace(ut.FedPM().recipe, lr=0.01)


def network(last=LAST):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))
    return ut.mask_(model, ut.last(model, MAIN, last), seed=1, weights=MAIN.law)


def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)) for _ in range(4)]


def scores_after(model):
    return {state.name: state.scores.detach().clone() for state in record(model).states}


def by_hand(model, recipes, epochs):
    """A loop with an optimizer of torch for each tensor."""
    learners = []
    for state in record(model).states:
        recipe = recipes[state.group.planned]
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
        learners.append((recipe, kind([state.scores], **recipe.arguments())))
    smoothing = learners[0][0].label_smoothing
    for epoch in range(epochs):
        for step, (x, y) in enumerate(batches()):
            nn.functional.cross_entropy(model(x), y, label_smoothing=smoothing).backward()
            for recipe, optimizer in learners:
                optimizer.param_groups[0]["lr"] = recipe.rate(epoch, step, 4, epochs)
                optimizer.step()
                optimizer.zero_grad()
    return scores_after(model)


GIVEN = {
    "their own": (LAST, None, {MAIN: MAIN.recipe, LAST: LAST.recipe}),
    "adam for one": (LAST, {MAIN: MAIN.recipe, LAST: ADAM}, {MAIN: MAIN.recipe, LAST: ADAM}),
    "one for all": (LAST, ADAM, {MAIN: ADAM, LAST: ADAM}),
    "equal ones": (SIGNED, None, {MAIN: MAIN.recipe, SIGNED: MAIN.recipe}),
    "paper's": (ut.EdgePopup(0.6), "paper", {MAIN: ut.PAPER, ut.EdgePopup(0.6): ut.PAPER}),
    "paper's of one": (LAST, "paper", {MAIN: ut.PAPER, LAST: ut.PAPER}),
}


@pytest.mark.parametrize(("last", "recipe", "each"), GIVEN.values(), ids=GIVEN)
def test_every_score_learns_by_its_recipe(last, recipe, each):
    model, twin = network(last), network(last)
    rows = ut.fit(model, batches(), epochs=3, recipe=recipe, title=None).rows
    expected = by_hand(twin, each, 3)
    for name, scores in scores_after(model).items():
        torch.testing.assert_close(scores, expected[name], rtol=1e-4, atol=1e-6)
    assert rows[0]["lr"] == each[MAIN].rate(0, 3, 4, 3)


@pytest.mark.parametrize("recipe", [None, {MAIN: MAIN.recipe, LAST: ADAM}], ids=["own", "adam"])
def test_a_search_with_two_recipes_resumes_to_the_same_bits(recipe, tmp_path, monkeypatch):
    whole = network()
    ut.fit(whole, batches(), epochs=4, recipe=recipe, out=tmp_path / "whole", title=None)
    write, kept = checkpoint.write, []

    def keep(folder, *rest):
        write(folder, *rest)
        kept.append(shutil.copytree(folder, tmp_path / f"epoch {len(kept)}"))

    monkeypatch.setattr(checkpoint, "write", keep)
    ut.fit(network(), batches(), epochs=4, recipe=recipe, out=tmp_path / "again", title=None)
    for folder in kept[1:4]:
        model = network()
        ut.fit(model, batches(), epochs=4, recipe=recipe, out=folder, resume=True, title=None)
        assert all(torch.equal(a, b) for a, b in zip(ut.scores(model), ut.scores(whole), strict=True))
    other = {MAIN: MAIN.recipe, LAST: ut.SCORES}
    with pytest.raises(ValueError, match="its recipe is"):
        ut.fit(network(), batches(), epochs=4, recipe=other, out=kept[1], resume=True, title=None)


def test_one_recipe_is_described_as_before():
    model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup())
    assert list(find_recipes(None, model).values()) == [ut.SCORES]
    assert find_recipes(None, nn.Linear(4, 3)) == {None: ut.WEIGHTS}


WRONG = {
    "losses": ({MAIN: MAIN.recipe, LAST: ut.PAPER}, r"one label_smoothing, got EdgePopup 0.05, Nudge 0;"),
    "one missing": ({MAIN: MAIN.recipe}, "recipe lacks Nudge"),
    "one too many": ({MAIN: MAIN.recipe, LAST: LAST.recipe, ut.FedPM(): ADAM}, "recipe has FedPM"),
    "a class": ({ut.EdgePopup: MAIN.recipe}, "recipe (lacks|has) "),
    "a word": ("papers", "recipe must be a Recipe"),
    "a number": (0.1, "recipe must be a Recipe"),
    "not recipes": ({MAIN: 0.1, LAST: 0.2}, "recipe must be a Recipe"),
}


@pytest.mark.parametrize(("recipe", "says"), WRONG.values(), ids=WRONG)
def test_wrong_recipes_are_refused(recipe, says, tmp_path):
    model = network()
    before = scores_after(model)
    with pytest.raises(ValueError, match=says):
        ut.fit(model, batches(), recipe=recipe, out=tmp_path / "out", title=None)
    assert not (tmp_path / "out").exists()
    assert all(torch.equal(before[name], scores) for name, scores in scores_after(model).items())
