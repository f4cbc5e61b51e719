"""Tickets of pretrained models (`weights=None`): checked against the model that they are loaded into."""

import math

import pytest
import torch
from torch import nn

import untrained as ut
from hostile import masked, net
from round_trip import assert_loads, masked_mlp, mlp, state
from zoo import ZOO

METHOD = ut.EdgePopup(0.3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("case", ZOO)
def test_a_pretrained_model_is_masked_and_loaded_again(case, frozen, path):
    masked = ut.mask_(ZOO[case].build(), METHOD, weights=None)
    masked(ZOO[case].input())  # a norm in training mode goes on with its statistics
    assert_loads(masked, path, ZOO[case].build().requires_grad_(not frozen))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("changed", [name for name, _ in mlp().named_parameters()])
def test_another_pretrained_model_is_refused(changed, frozen, path):
    masked = masked_mlp(weights=None)
    ut.save(masked, path)
    model = mlp().requires_grad_(not frozen)
    with torch.no_grad():
        kept = ut.bake_(masked).get_parameter(changed).nonzero()
        model.get_parameter(changed)[tuple(kept[-1])] += 1e-3  # one element
    before = state(model)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*sha256"):
        ut.load(path, model)
    assert state(model) == before


def test_weights_that_are_not_kept_may_differ(path):
    masked, model = masked_mlp(weights=None, where="0.weight"), mlp().requires_grad_(False)
    model[0].weight.data[~ut.masks(masked)["0.weight"]] = math.nan
    assert_loads(masked, path, model)


def test_a_pretrained_ticket_is_verified_with_its_model(path):
    ut.save(masked_mlp(weights=None), path)
    ticket = ut.Ticket.load(path)
    ticket.verify(mlp())
    with pytest.raises(ut.TicketError, match="pretrained"):
        ticket.verify()
    with pytest.raises(ut.TicketError, match="not in the model"):
        ticket.verify(nn.Linear(2, 2))
    other = mlp()
    other[0].weight.data.neg_()
    with pytest.raises(ut.TicketError, match="sha256"):
        ticket.verify(other)
    other[3] = nn.Linear(16, 9)
    with pytest.raises(ut.TicketError, match=r"'3.(weight|bias)' has shape"):
        ticket.verify(other)
    with pytest.raises(ut.TicketError, match=r"'0.(weight|bias)' is float32 in the ticket and float64"):
        ticket.verify(mlp().double())


PRETRAINED = [
    ut.PartlyFrozen(ut.EdgePopup(0.3), 0.3, 0.1),
    ut.PartlyFrozen(ut.Threshold(0.1, True), 0.3),
    ut.Biprop(0.3),
    ut.Multicoated(0.3),
    ut.Bernoulli(),
    ut.EdgePopup(0.5, structure=ut.NofM(2, 4)),
]


def backbone():
    torch.manual_seed(7)
    return net()


@pytest.mark.parametrize("method", PRETRAINED, ids=str)
def test_a_pretrained_model_loads_bit_for_bit(method, path):
    model = masked(method, None, backbone())
    ut.save(model, path)
    ticket = ut.Ticket.load(path)
    assert ticket.law is None
    ticket.verify(backbone())
    assert state(ut.load(path, backbone())) == state(ut.bake_(model))
    other = backbone()
    with torch.no_grad():
        other[0].weight.neg_()
    before = state(other)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*sha256"):
        ut.load(path, other)
    assert state(other) == before


def test_a_partly_frozen_pretrained_model_keeps_its_own_weights():
    model, own = masked(PRETRAINED[0], None, backbone()), backbone()
    for name, mask in ut.masks(model).items():
        assert int(mask.sum()) == math.ceil(0.3 * mask.numel())
        with ut.baked(model) as plain:
            assert torch.equal(plain.get_parameter(name), own.get_parameter(name) * mask)


@pytest.mark.parametrize(
    "method",
    [ut.SlotMachines(), {"0.weight": ut.EdgePopup(), "2.weight": ut.SlotMachines()}, ut.IteRand()],
    ids=["slots", "slots in the second", "redraws"],
)
def test_a_pretrained_model_has_one_value_a_weight(method):
    model = backbone()
    before, classes = state(model), [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=r"'[02]\.weight' has pretrained weights .*cannot be drawn again"):
        ut.mask_(model, method, weights=None)
    assert state(model) == before and [type(module) for module in model.modules()] == classes
    assert all(parameter.requires_grad for parameter in model.parameters())
    ut.mask_(model, ut.EdgePopup(), weights=None)  # and it can still be masked
