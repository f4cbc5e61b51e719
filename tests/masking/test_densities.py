"""Erdős–Rényi-kernel and balanced densities against a search for the scale, and what `mask_` makes of them."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.masking.densities import distribute
from untrained.selection.topk import keep_count

SHAPES = st.dictionaries(
    st.text(max_size=4), st.lists(st.integers(1, 60), min_size=2, max_size=4).map(tuple), min_size=1, max_size=8
)
KEEPS = st.one_of(st.floats(1e-4, 1.0), st.sampled_from([1e-4, 0.01, 0.5, 0.999, 1.0]))
KEEPERS = [ut.EdgePopup, ut.RandomSubnetwork, ut.Biprop, ut.Multicoated, ut.IteRand]


def erk_densities(shapes, keep):
    return distribute(shapes, keep, {name: sum(shape) for name, shape in shapes.items()}, 1.0)


def balanced_densities(shapes, keep):
    return distribute(shapes, keep, {name: shape[0] for name, shape in shapes.items()}, max(0.5, keep))


def naive(shapes, keep, weight=sum, most=1.0):
    """min(most, ε·weight/Πd), ε found by halving."""
    size = {name: math.prod(shape) for name, shape in shapes.items()}
    low, high, wanted = 0.0, float(max(size.values())), keep * sum(size.values())
    for _ in range(200):
        middle = (low + high) / 2
        kept = sum(min(most * size[name], middle * weight(shape)) for name, shape in shapes.items())
        low, high = (middle, high) if kept < wanted else (low, middle)
    return {name: min(most, high * weight(shape) / size[name]) for name, shape in shapes.items()}


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, groups=2), nn.Flatten(), nn.Linear(16, 40),
        nn.Linear(40, 10),
    )  # fmt: skip


def sizes(model):
    return {name: p.numel() for name, p in model.named_parameters() if name in shapes_of(model)}


def shapes_of(model):
    return {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim >= 2}


# --- the densities ---


@given(SHAPES, KEEPS)
@settings(max_examples=80)
def test_densities_are_the_naive_ones(shapes, keep):
    found, expected = erk_densities(shapes, keep), naive(shapes, keep)
    assert list(found) == list(shapes)
    assert found == pytest.approx(expected, rel=1e-6)
    expected = naive(shapes, keep, weight=lambda shape: shape[0], most=max(0.5, keep))
    assert balanced_densities(shapes, keep) == pytest.approx(expected, rel=1e-6)


def test_balanced_units_keep_the_same_number_of_inputs():
    methods = ut.balanced(network(), ut.EdgePopup(0.05))
    kept = {name: method.keep * math.prod(shape[1:]) for (name, shape), method in zip(
        shapes_of(network()).items(), methods.values(), strict=True
    )}  # fmt: skip
    assert len({round(inputs, 9) for inputs in kept.values()}) == 1
    alike = [method.keep for method in ut.balanced(network(), ut.EdgePopup(0.7)).values()]
    assert alike == pytest.approx([0.7] * len(alike))


@given(SHAPES, KEEPS)
@settings(max_examples=60)
def test_the_budget_is_kept_and_shares_follow_the_dimensions(shapes, keep):
    found = erk_densities(shapes, keep)
    assert all(0 < density <= 1 for density in found.values())
    total = sum(map(math.prod, shapes.values()))
    kept = sum(density * math.prod(shapes[name]) for name, density in found.items())
    assert kept == pytest.approx(keep * total, rel=1e-9)
    counted = sum(keep_count(density, math.prod(shapes[name])) for name, density in found.items())
    assert keep * total - 1e-6 <= counted <= keep * total + len(shapes) + 1e-6
    scales = [found[n] * math.prod(shape) / sum(shape) for n, shape in shapes.items() if found[n] < 1]
    assert scales == pytest.approx(scales[:1] * len(scales), rel=1e-9)
    for name, shape in shapes.items():  # what is whole would have had a share of 1 or more
        assert found[name] < 1 or not scales or scales[0] * sum(shape) >= math.prod(shape) * (1 - 1e-9)


@given(SHAPES, KEEPS, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_does_not_matter(shapes, keep, chance):
    names = list(shapes)
    chance.shuffle(names)
    assert erk_densities({name: shapes[name] for name in names}, keep) == erk_densities(shapes, keep)


@given(SHAPES, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=24)
def test_more_is_more_everywhere(shapes, one, other):
    low, high = (erk_densities(shapes, keep) for keep in sorted([one, other]))
    assert all(low[name] <= high[name] * (1 + 1e-9) for name in shapes)


@pytest.mark.parametrize("keep", [1e-9, 1e-4, 0.3, 1.0])
def test_one_tensor_keeps_what_all_do(keep):
    assert erk_densities({"w": (7, 9)}, keep) == pytest.approx({"w": keep})


@given(SHAPES)
@settings(max_examples=20)
def test_everything_is_everything(shapes):
    found = erk_densities(shapes, 1.0)
    assert all(keep_count(found[name], math.prod(shape)) == math.prod(shape) for name, shape in shapes.items())


def test_tensors_without_elements_change_nothing():
    shapes = {"a": (10, 10), "b": (100, 10)}
    with_empty = erk_densities({**shapes, "none": (0, 5), "nothing": (0, 0)}, 0.2)
    assert {name: with_empty[name] for name in shapes} == erk_densities(shapes, 0.2)
    assert all(0 < density <= 1 for density in with_empty.values())


# --- masks ---


@pytest.mark.parametrize("keep", [1e-4, 0.01, 0.1, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("kind", KEEPERS)
def test_every_tensor_keeps_its_share(kind, keep):
    model = network()
    methods = ut.erk(model, kind(keep=keep))
    expected = naive(shapes_of(model), keep)
    assert {re.sub(r"\\(.)", r"\1", name): method.keep for name, method in methods.items()} == pytest.approx(
        expected, rel=1e-6
    )
    masks = ut.masks(ut.mask_(model, methods))
    by_name = dict(zip(expected, methods.values(), strict=True))
    for name, size in sizes(network()).items():
        assert int(masks[name].sum()) == keep_count(by_name[name].keep, size) == -(-by_name[name].keep * size // 1)
    total = sum(sizes(network()).values())
    assert sum(int(mask.sum()) for mask in masks.values()) == pytest.approx(keep * total, abs=len(masks) + 1e-6)


def test_other_fields_are_kept():
    methods = ut.erk(network(), ut.EdgePopup(0.2, signed=True, structure=ut.Block(2, 3)))
    assert {(m.signed, m.structure, m.scope) for m in methods.values()} == {(True, ut.Block(2, 3), "layer")}
    assert len({m.keep for m in methods.values()}) == 4


@pytest.mark.parametrize(
    "names",
    [["a+b", "aab"], ["w[0]", "w0"], ["(x|y)", "x", "y"], ["^a$", "a"], ["a*", "aa", "a"], ["größe\n", "a b"], [r"\d"]],
    ids=repr,
)
def test_names_that_look_like_patterns_are_names(names):
    model = nn.ModuleDict({name: nn.Linear(4 + 9 * i, 5) for i, name in enumerate(names)})
    masks = ut.masks(ut.mask_(model, ut.erk(model, ut.EdgePopup(0.3))))
    expected = naive({f"{name}.weight": (5, 4 + 9 * i) for i, name in enumerate(names)}, 0.3)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        name: keep_count(round(density, 9), masks[name].numel()) for name, density in expected.items()
    }


def test_biases_and_norms_have_no_pattern():
    model = network()
    assert [re.sub(r"\\(.)", r"\1", name) for name in ut.erk(model, ut.EdgePopup())] == list(shapes_of(model))


def test_the_model_is_left_alone():
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ut.erk(model, ut.EdgePopup(0.1))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# --- what is refused ---


@pytest.mark.parametrize(
    "method",
    [
        ut.Dense(), ut.Threshold(), ut.SlotMachines(), ut.Bernoulli(), ut.FedPM(), ut.SignedSupermask(),
        ut.RelaxedBernoulli(), ut.EdgePopup(ut.Cubic(0.5, 0.1)), ut.IteRand(ut.Constant(0.5)),
        ut.Biprop(ut.Geometric(1.0, 0.1)),
    ],
    ids=str,
)  # fmt: skip
def test_a_method_without_a_number_to_keep_is_refused(method):
    with pytest.raises(ValueError, match="erk needs a method whose keep is a number"):
        ut.erk(network(), method)


@pytest.mark.parametrize(
    "method", [ut.EdgePopup(0.5, structure=ut.NofM(2, 4)), ut.PartlyFrozen(ut.Bernoulli())], ids=str
)
def test_a_fixed_fraction_is_refused(method):
    with pytest.raises(ValueError, match="erk needs a method that takes keep"):
        ut.erk(network(), method)


def test_a_schedule_of_an_inner_method_is_refused():
    with pytest.raises(ValueError, match="erk needs a method whose keep is a number"):
        ut.erk(network(), ut.PartlyFrozen(ut.EdgePopup(ut.Cubic(0.5, 0.1))))


def test_a_partly_frozen_start_has_densities():
    methods = ut.erk(network(), ut.PartlyFrozen(ut.EdgePopup(0.1), pruned=0.2))
    assert [method.of.keep for method in methods.values()] == pytest.approx(
        list(naive(shapes_of(network()), 0.1).values())
    )


@pytest.mark.parametrize("model", [nn.BatchNorm1d(3), nn.ReLU()], ids=["norm", "nothing"])
def test_a_model_that_cannot_be_masked_is_refused(model):
    with pytest.raises(ValueError, match="tensors that can be masked"):
        ut.erk(model, ut.EdgePopup())
