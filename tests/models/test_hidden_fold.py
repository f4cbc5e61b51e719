"""Folded residual networks: what they share, and that sharing changes nothing else."""

import copy
import pickle

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.models import NETWORKS, build

IMAGENET = {"shape": (3, 224, 224), "classes": 1000}
# By hand: per stage the first block with its shortcut, and one further block.
WEIGHTS = {
    "resnet18": 11_678_912,
    "resnet34": 11_678_912,
    "resnet50": 9_408 + (73_728 + 69_632) + 21 * (376_832 + 278_528) + 2_048_000,
    "resnet101": 15_963_328,
    "wide-resnet50": 9_408 + (204_800 + 212_992) + 21 * (917_504 + 851_968) + 2_048_000,
    "wide-resnet101": 39_634_112,
}
SMALL = {"width": 0.05, "shape": (2, 16, 11), "classes": 3}


def count(model):
    return sum(p.numel() for p in model.parameters())


def stages(model):
    return [module for name, module in model.named_children() if name.startswith("stage")]


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def unfolded(model):
    """The same network with a copy of the shared weights in every block."""
    twin = build(model.built_by["name"], **model.built_by["arguments"] | {"folded": False})
    twin.load_state_dict(model.state_dict())
    return twin


def test_all_residual_networks_fold():
    assert set(WEIGHTS) == {name for name in NETWORKS if "res" in name}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name):
    with torch.device("meta"):
        model = build(name, **IMAGENET, folded=True)
        assert count(model) == WEIGHTS[name]
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)


def test_two_blocks_a_stage_have_nothing_to_fold():
    folded, plain = (build("resnet18", **SMALL, folded=value) for value in (True, False))
    assert repr(folded) == repr(plain)
    assert count(folded) == count(plain)


@pytest.mark.parametrize("name", WEIGHTS)
def test_blocks_share_convolutions_and_nothing_else(name):
    with torch.device("meta"):
        model = build(name, **SMALL, folded=True)
        assert len(norms(model)) == len(norms(build(name, **SMALL)))
    for stage in stages(model):
        first, second, *further = (
            [module for module in block.modules() if isinstance(module, nn.Conv2d)] for block in stage
        )
        assert not set(first) & set(second)
        assert all(convolutions == second for convolutions in further)
        own = [set(norms(block)) for block in stage]
        assert len(set.union(*own)) == sum(map(len, own))


@pytest.mark.parametrize(("name", "activation"), [("resnet34", "sign"), ("wide-resnet50", "relu")])
def test_as_the_unfolded_network_with_copied_weights(name, activation):
    torch.manual_seed(0)
    folded = build(name, **SMALL, folded=True, activation=activation)
    twin = unfolded(folded)
    assert count(twin) > count(folded)
    x = torch.randn(4, *SMALL["shape"])
    for mode in (True, False):
        assert folded.train(mode)(x).equal(twin.train(mode)(x))
    for ours, theirs in zip(norms(folded), norms(twin), strict=True):
        assert ours.running_var.equal(theirs.running_var)


def test_the_gradient_is_the_sum_over_the_blocks():
    torch.manual_seed(0)
    folded = build("resnet34", **SMALL, folded=True).double()
    twin = unfolded(folded).double()
    twin.load_state_dict(folded.state_dict())
    x = torch.randn(4, *SMALL["shape"], dtype=torch.float64)
    for model in (folded, twin):
        model(x).square().sum().backward()
    for stage, copies in zip(stages(folded), stages(twin), strict=True):
        for layer in (0, 3):
            expected = sum(block.body[layer].weight.grad for block in list(copies)[1:])
            torch.testing.assert_close(stage[1].body[layer].weight.grad, expected)


def test_copies_stay_folded():
    model = build("resnet34", **SMALL, folded=True)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert count(again) == count(model)
        assert stages(again)[2][5].body[0] is stages(again)[2][1].body[0]
        assert stages(again)[2][5].body[0] is not stages(model)[2][1].body[0]


@pytest.mark.parametrize(("name", "scope"), [("resnet34", "layer"), ("resnet50", "global")])
def test_a_found_subnetwork_is_saved_and_loaded_bit_for_bit(name, scope, tmp_path):
    torch.manual_seed(0)
    network = build(name, **SMALL, folded=True)
    weights = count(network)
    masked = ut.mask_(network, ut.EdgePopup(0.5, scope=scope))
    x = torch.randn(6, *SMALL["shape"])
    optimizer = torch.optim.SGD(ut.scores(masked), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        masked(x).square().sum().backward()
        assert all(s.grad is not None for s in ut.scores(masked))
        optimizer.step()
    masked.eval()
    expected = masked(x)
    assert expected.abs().sum() > 0
    with ut.baked(masked) as dense:
        assert dense(x).equal(expected)
        assert count(dense) == weights
    ut.save(masked, tmp_path / "a.ticket")
    assert ut.summary(tmp_path / "a.ticket").weights == weights
    for loaded in (ut.load(tmp_path / "a.ticket"), ut.load(tmp_path / "a.ticket", build(name, **SMALL, folded=True))):
        assert loaded.eval()(x).equal(expected)
        assert count(loaded) == weights
    with pytest.raises(ut.TicketError, match="is in the model and not in the ticket"):
        ut.load(tmp_path / "a.ticket", build(name, **SMALL))
