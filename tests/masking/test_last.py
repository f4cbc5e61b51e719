"""The last layer gets another method where it is clear which layer is last, by what it is and where it stands."""

import re

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.masking.mask import record
from zoo import ZOO

MAIN, LAST = ut.EdgePopup(0.3, signed=True), ut.Nudge(step=0.5, levels=31)


class Swapped(nn.Module):
    """Its layers are called by other names than their places suggest."""

    def __init__(self):
        super().__init__()
        self.last, self.fc1, self.a = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 9)
        self.head.weight = self.embedding.weight


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = self.first


class Matrices(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.experts = nn.ParameterList(nn.Parameter(torch.randn(3, 4)) for _ in range(2))


CLEAR = {
    "fc": (lambda: ut.models.fc((6, 5), (1, 4, 4)), "fc3.weight"),
    "norms": (lambda: ut.models.fc((6, 5), (1, 4, 4), norm="batch"), "fc3.weight"),
    "resnet": (lambda: ut.models.resnet18(0.06, (3, 16, 16)), "fc1.weight"),
    "swapped": (Swapped, "a.weight"),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, groups=1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2.weight"),
    "weight norm": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
        "1.parametrizations.weight.original1",
    ),
    "double": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).double(), "1.weight"),
}
UNCLEAR = {
    "a single layer": (lambda: nn.Sequential(nn.Linear(4, 3)), "two weight matrices or more, got 1"),
    "none": (nn.ReLU, "two weight matrices or more, got 0"),
    "tied": (Tied, "'embedding.weight', is also used in another place"),
    "reused": (Reused, "'first.weight', is also used in another place"),
    "embedding last": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Embedding(5, 3)), "is an embedding"),
    "recurrent": (lambda: nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 3)), "shares its module with '1.weight_"),
    "experts": (Matrices, "'experts.0', shares its module with 'experts.1'"),
}


@pytest.mark.parametrize(("build", "name"), CLEAR.values(), ids=CLEAR)
def test_the_last_layer_alone_has_another_method(build, name):
    model = build()
    found = ut.last(model, MAIN, LAST)
    assert {re.sub(r"\\(.)", r"\1", pattern): method for pattern, method in found.items() if method == LAST} == {
        name: LAST
    }
    masked = ut.mask_(model, found, weights=MAIN.law)
    everywhere = ut.mask_(build(), MAIN)
    assert {s.name: s.group.planned for s in record(masked).states} == {
        s.name: LAST if s.name == name else MAIN for s in record(everywhere).states
    }


@pytest.mark.parametrize(("build", "says"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_not_clear_is_refused(build, says):
    model = build()
    for call in (lambda: ut.last(model, MAIN, LAST), lambda: ut.erk(model, MAIN, LAST)):
        with pytest.raises(ValueError, match=says):
            call()


def test_a_masked_model_is_refused_as_masked():
    model = ut.mask_(ut.models.fc((6, 5), (1, 4, 4)), MAIN)
    for call in (lambda: ut.last(model, MAIN, LAST), lambda: ut.erk(model, MAIN), lambda: ut.balanced(model, MAIN)):
        with pytest.raises(ValueError, match="the model is masked already"):
            call()


@pytest.mark.parametrize("case", ZOO.values(), ids=ZOO)
def test_every_model_is_masked_or_refused(case):
    model = case.build()
    try:
        found = ut.last(model, MAIN, LAST)
    except ValueError as error:
        assert re.search("weight matri", str(error))
        return
    ut.mask_(model, found, weights=ut.SignedConstant())
    assert list(found.values()).count(LAST) == 1
    model(case.input())


def test_densities_and_global_ranks_leave_the_last_layer_out():
    shapes = (20, 10), (1, 6, 6)
    found = ut.erk(ut.models.fc(*shapes), MAIN, LAST)
    keeps = [method.keep for method in found.values() if method != LAST]
    assert list(found.values())[-1] == LAST
    assert sum(keep * n for keep, n in zip(keeps, (720, 200), strict=True)) == pytest.approx(0.3 * 920)
    model = ut.models.fc(*shapes)
    ut.mask_(model, ut.last(model, ut.EdgePopup(0.3, "global"), LAST), weights=MAIN.law)
    masks = ut.masks(model)
    assert sum(int(masks[name].sum()) for name in ("fc1.weight", "fc2.weight")) == 276
    assert masks["fc3.weight"].all()


def test_two_laws_must_be_one():
    model = ut.models.fc((6,), (1, 4, 4))
    with pytest.raises(ValueError, match="weights must be given: the methods recommend SignedConstant"):
        ut.mask_(model, ut.last(model, MAIN, LAST))
