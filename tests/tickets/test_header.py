"""Headers: methods and laws to JSON and back, and a bound on what a file may claim."""

import pytest
import torch
from hypothesis import given, settings

import untrained as ut
from any_methods import LAWS, METHODS
from hostile import POPUP, SCHEDULE, nested
from untrained.tickets import header


def through_json(base, config):
    text = header.to_json(header.describe(config))
    return header.revive(base, header.from_json(text)), text


@given(METHODS)
@settings(max_examples=100)
def test_a_method_is_revived(method):
    final = method.at(1.0)
    revived, text = through_json(ut.Method, final)
    assert revived == final and type(revived) is type(final)
    assert through_json(ut.Method, revived)[1] == text
    assert "null" not in text and "Schedule" not in text


@given(LAWS)
@settings(max_examples=24)
def test_a_law_is_revived(law):
    revived, text = through_json(ut.WeightLaw, law)
    assert revived == law and type(revived) is type(law) and through_json(ut.WeightLaw, revived)[1] == text


DESCRIBED = {
    ut.EdgePopup(0.5): {"name": "EdgePopup", "keep": 0.5, "scope": "layer", "signed": False},
    ut.EdgePopup(1): {"name": "EdgePopup", "keep": 1.0, "scope": "layer", "signed": False},
    ut.EdgePopup(0.25, structure=ut.Block(2, 3)): {
        "name": "EdgePopup",
        "keep": 0.25,
        "scope": "layer",
        "signed": False,
        "structure": {"name": "Block", "height": 2, "width": 3},
    },
    ut.Threshold(start=None): {"name": "Threshold", "threshold": 0.005, "ternary": False},
    ut.Threshold(threshold=0, start=1): {"name": "Threshold", "threshold": 0.0, "ternary": False, "start": 1.0},
    ut.IteRand(rate=1, period=7): {"name": "IteRand", "keep": 0.5, "period": 7, "rate": 1.0},
    ut.FedPM(entropy=2): {"name": "FedPM", "entropy": 2.0},
    ut.PartlyFrozen(ut.Dense(), pruned=0, locked=0): {
        "name": "PartlyFrozen",
        "of": {"name": "Dense"},
        "pruned": 0.0,
        "locked": 0.0,
    },
    ut.PartlyFrozen(ut.Threshold(start=None), 0.1, 0.2): {
        "name": "PartlyFrozen",
        "of": {"name": "Threshold", "threshold": 0.005, "ternary": False},
        "pruned": 0.1,
        "locked": 0.2,
    },
}


@pytest.mark.parametrize("method", DESCRIBED, ids=str)
def test_a_method_is_described_without_what_is_none(method):
    described = header.describe(method)
    assert header.to_json(described) == header.to_json(DESCRIBED[method])  # 1 is not 1.0
    assert header.revive(ut.Method, described) == method


def test_the_law_of_a_prototype_is_described():
    assert header.describe(ut.Prototype(length=9, scaled=True)) == {
        "name": "Prototype",
        "fan": "in",
        "nonlinearity": "relu",
        "scaled": True,
        "length": 9,
    }


@pytest.mark.parametrize(
    "described",
    [{**POPUP, "keep": SCHEDULE}, {**nested(1), "of": {**POPUP, "keep": SCHEDULE}}, nested(300), nested(2000)],
    ids=["a schedule", "an inner schedule", "deep", "very deep"],
)
def test_what_no_ticket_names_is_refused_in_few_words(described):
    with pytest.raises(ut.TicketError) as refused:
        header.revive(ut.Method, described)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("weights", "file_bytes", "allowed"),
    [(2**26, 2**10, True), (2**26 + 8, 2**10, False), (2**32, 2**20, True), (2**32 + 8, 2**20, False),
     (2**34, 2**24, True), (2**34 + 8, 2**24, False)],
)  # fmt: skip
def test_a_bound_on_what_a_file_may_claim(weights, file_bytes, allowed):
    tensors = {"w": header.TensorEntry((weights // 8, 8), torch.float32, ut.Dense())}
    if allowed:
        header.check_expansion(tensors, file_bytes)
    else:
        with pytest.raises(ut.TicketError, match="claims"):
            header.check_expansion(tensors, file_bytes)
