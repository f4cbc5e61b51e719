"""The law of a Method, held by every method; then each method's own formula against a naive reference."""

import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from untrained.masking.mask import mask_, record
from untrained.masking.mask import scores as scores_of
from untrained.methods.dense import Dense
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.random_subnetwork import RandomSubnetwork
from untrained.selection.topk import keep_count
from zoo import naive_mask

EDGE_POPUPS = [
    EdgePopup(),
    EdgePopup(keep=0.07),
    EdgePopup(keep=1.0),
    EdgePopup(keep=0.3, signed=True),
    EdgePopup(keep=0.3, scope="global"),
    EdgePopup(keep=0.3, scope="global", signed=True),
]
# These say how much they keep; every method is held to the law in test_conformance.py.
METHODS = [*EDGE_POPUPS, RandomSubnetwork(keep=0.3), Dense()]

every_method = pytest.mark.parametrize("method", METHODS, ids=str)
every_edge_popup = pytest.mark.parametrize("method", EDGE_POPUPS, ids=str)
every_learner = pytest.mark.parametrize("method", [m for m in METHODS if m.learns], ids=str)
every_still = pytest.mark.parametrize("method", [m for m in METHODS if not m.learns], ids=str)
every_keeper = pytest.mark.parametrize("method", [m for m in METHODS if hasattr(m, "keep")], ids=str)

INTEGER_OF = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(one, other):
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    integer = INTEGER_OF[one.element_size()]
    return torch.equal(one.detach().contiguous().view(integer), other.detach().contiguous().view(integer))


def all_same_bits(ones, others):
    return list(ones) == list(others) and all(same_bits(ones[name], others[name]) for name in ones)


def all_equal(ones, others):
    return list(ones) == list(others) and all(torch.equal(ones[name], others[name]) for name in ones)


def each(function, tensors):
    return {name: function(tensor) for name, tensor in tensors.items()}


def problem(method, shapes, seed, kind="rounded", dtype=torch.float32):
    """(weights, scores) by name; the scores have the shape that the method gives its first ones."""
    generator = torch.Generator().manual_seed(seed)
    weights, scores = {}, {}
    for i, shape in enumerate(shapes):
        weights[f"layer{i}.weight"] = torch.randn(shape, generator=generator).to(dtype)
        first = method.init_scores(weights[f"layer{i}.weight"], generator)
        drawn = torch.randn(first.shape, generator=generator)
        drawn = {
            "first": first.float(),
            "normal": drawn,
            "rounded": (2 * drawn).round() / 4,
            "equal": torch.full_like(drawn, -0.5),
            "zero": torch.zeros_like(drawn),
        }[kind]
        scores[f"layer{i}.weight"] = drawn.to(dtype)
    return weights, scores


SHAPES = st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=4), min_size=1, max_size=4)
KINDS = st.sampled_from(["first", "normal", "rounded", "equal", "zero"])
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16])
# Four dimensions, so that channels_last says something, and enough elements for several threads.
CONVOLUTIONS = [(16, 8, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (10, 64, 1, 1)]


# --- the law of every method ---


@every_method
@given(SHAPES, st.integers(0, 2**32), KINDS, DTYPES)
@settings(max_examples=25)
def test_effective_is_what_the_codes_mean(method, shapes, seed, kind, dtype):
    weights, scores = problem(method, shapes, seed, kind, dtype)
    before = each(torch.clone, weights), each(torch.clone, scores)
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)
    assert list(codes) == list(effective) == list(weights)
    for name, weight in weights.items():
        assert codes[name].dtype == torch.int8 and codes[name].shape == weight.shape
        decoded = method.decode(weight, codes[name])
        assert same_bits(effective[name], decoded)
        for fresh in (effective[name], decoded):
            assert fresh.dtype == weight.dtype and fresh.device == weight.device
            assert weight.numel() == 0 or fresh.data_ptr() != weight.data_ptr()
    # A pure function: nothing given was changed, and asking again gives the same.
    assert all_same_bits(weights, before[0]) and all_same_bits(scores, before[1])
    assert all_equal(method.codes(weights, scores), codes)
    assert all_same_bits(method.effective(weights, scores), effective)


@every_keeper
@given(SHAPES, st.integers(0, 2**32), KINDS)
@settings(max_examples=20)
def test_exactly_the_fraction_asked_for_is_kept(method, shapes, seed, kind):
    weights, scores = problem(method, shapes, seed, kind)
    kept = {name: int((code != 0).sum()) for name, code in method.codes(weights, scores).items()}
    if method.together:
        assert sum(kept.values()) == keep_count(method.keep, sum(w.numel() for w in weights.values()))
    else:
        assert kept == {name: keep_count(method.keep, weight.numel()) for name, weight in weights.items()}


@every_keeper
@given(SHAPES, st.integers(0, 2**32), KINDS)
@settings(max_examples=20)
def test_the_highest_scores_are_kept_and_ties_go_to_the_lowest_index(method, shapes, seed, kind):
    weights, scores = problem(method, shapes, seed, kind)
    signed, listed = getattr(method, "signed", False), list(scores.values())
    if method.together:
        expected = naive_mask(listed, method.keep, signed=signed)
    else:
        expected = [naive_mask([score], method.keep, signed=signed)[0] for score in listed]
    codes = method.codes(weights, scores).values()
    assert all(torch.equal(code, mask.to(torch.int8)) for code, mask in zip(codes, expected, strict=True))


def test_dense_keeps_everything():
    weights, scores = problem(Dense(), CONVOLUTIONS, 0)
    assert all((code == 1).all() for code in Dense().codes(weights, scores).values())
    assert all_same_bits(Dense().effective(weights, scores), weights)


@every_method
def test_the_memory_format_changes_nothing(method):
    weights, scores = problem(method, CONVOLUTIONS, 0)
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)
    for last_weights in (False, True):
        for last_scores in (False, True):
            w = each(lambda t: t.to(memory_format=torch.channels_last), weights) if last_weights else weights
            s = each(lambda t: t.to(memory_format=torch.channels_last), scores) if last_scores else scores
            assert all_equal(method.codes(w, s), codes)
            assert all_same_bits(method.effective(w, s), effective)
            assert all_same_bits({name: method.decode(w[name], codes[name]) for name in w}, effective)


@every_method
def test_the_scores_dtype_changes_nothing(method):
    # Rounded scores hold the same values in every dtype.
    weights, scores = problem(method, CONVOLUTIONS, 0)
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        converted = each(lambda t, dtype=dtype: t.to(dtype), scores)
        assert all_equal(method.codes(weights, converted), codes)
        assert all_same_bits(method.effective(weights, converted), effective)


@every_method
def test_the_thread_count_changes_nothing(method, threads):
    weights, scores = problem(method, CONVOLUTIONS, 0)
    threads(1)
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)
    threads(2)
    assert all_equal(method.codes(weights, scores), codes)
    assert all_same_bits(method.effective(weights, scores), effective)


@every_method
def test_autocast_and_gradient_modes_change_nothing(method, in_a_fresh_thread):
    weights, scores = problem(method, CONVOLUTIONS, 0, kind="normal")
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)

    def in_mode(mode):
        with mode:
            return method.codes(weights, scores), method.effective(weights, scores)

    for mode in (torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), torch.inference_mode()):
        # Its own thread: what inference mode leaves behind is another test's matter.
        now = in_a_fresh_thread(lambda mode=mode: in_mode(mode))
        assert all_equal(now[0], codes) and all_same_bits(now[1], effective)


@every_method
def test_scores_that_require_a_gradient_are_chosen_like_any_other(method, in_a_fresh_thread):
    weights, scores = problem(method, [(4, 5), (3, 2)], 0)
    codes, effective = method.codes(weights, scores), method.effective(weights, scores)
    learning = each(lambda t: t.clone().requires_grad_(), scores)
    assert all_same_bits(in_a_fresh_thread(lambda: method.effective(weights, learning)), effective)
    assert all_equal(in_a_fresh_thread(lambda: method.codes(weights, learning)), codes)


@every_learner
@pytest.mark.parametrize("broken", [["layer0.weight"], ["layer2.weight"], ["layer0.weight", "layer1.weight"]])
def test_nan_scores_are_refused_by_name(method, broken):
    weights, scores = problem(method, [(4, 5), (2, 3, 1, 2), (3, 3)], 0)
    for name in broken:
        scores[name].view(-1)[-1] = math.nan
    # Tensors chosen each alone are met one after the other.
    named = broken if method.together else broken[:1]
    listed = ", ".join(f"'{name}'" for name in named).replace(".", r"\.")
    for choose in (method.codes, method.effective):
        with pytest.raises(ValueError, match=f"the scores of {listed} hold NaN"):
            choose(weights, scores)


@every_learner
@pytest.mark.parametrize("names", [("a,b", "c"), ("a", "b,c")])
def test_nan_is_refused_by_name_whatever_the_names(method, names):
    weights = {name: torch.ones(2, 3) for name in names}
    scores = {names[0]: torch.ones(2, 3), names[1]: torch.full((2, 3), math.nan)}
    for choose in (method.codes, method.effective):
        with pytest.raises(ValueError, match=f"the scores of '{names[1]}' hold NaN"):
            choose(weights, scores)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_first_scores_come_from_their_generator_alone(method, dtype):
    weight = torch.randn(20, 5, 3, 3, generator=torch.Generator().manual_seed(9)).to(dtype)
    kept, world = weight.clone(), torch.get_rng_state()

    def first(seed, tensor=weight):
        return method.init_scores(tensor, torch.Generator().manual_seed(seed))

    scores = first(7)
    assert scores.dtype == dtype and scores.device == weight.device and scores.shape == weight.shape
    assert scores.isfinite().all() and not scores.requires_grad
    assert same_bits(first(7), scores)
    # Neither the weight's own values, nor its layout, nor torch's global generator have a say.
    assert same_bits(first(7, torch.zeros_like(weight).to(memory_format=torch.channels_last)), scores)
    assert same_bits(weight, kept)
    assert torch.equal(torch.get_rng_state(), world)


@pytest.mark.parametrize("method", [m for m in METHODS if not isinstance(m, Dense)], ids=str)
def test_first_scores_are_the_authors(method):
    # kaiming_uniform_(a=√5): U(-b, b), b = 1/√(fan in), here fan in 45.
    weight = torch.zeros(400, 5, 3, 3)
    first, second = (method.init_scores(weight, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    bound = 1 / math.sqrt(45)
    assert not torch.equal(first, second)
    assert 0.999 * bound < first.abs().max() <= bound
    assert first.mean().abs() < 0.02 * bound
    assert first.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@every_method
def test_a_method_is_its_configuration(method):
    fields = dataclasses.asdict(method)
    again = type(method)(**json.loads(json.dumps(fields)))
    assert again == method and hash(again) == hash(method)
    for name in [*fields, "anything"]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, name, None)
    assert getattr(type(method), "__final__", False)


@every_still
def test_a_method_that_does_not_learn_gives_no_gradient(method, in_a_fresh_thread):
    weights, scores = problem(method, [(4, 5), (3, 2)], 0)
    learning = each(lambda t: t.clone().requires_grad_(), scores)
    effective = in_a_fresh_thread(lambda: method.effective(weights, learning))
    assert not any(weight.requires_grad for weight in effective.values())


@every_method
def test_only_a_method_that_learns_has_scores_to_optimize(method):
    model = mask_(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)), method, seed=0)
    assert len(scores_of(model)) == (2 if method.learns else 0)
    assert model(torch.ones(1, 4)).requires_grad == method.learns


@pytest.mark.parametrize("method", sorted({type(m) for m in METHODS if hasattr(m, "keep")}, key=str))
@pytest.mark.parametrize("keep", [0, -0.5, 1.0001, math.inf, math.nan])
def test_a_wrong_keep_is_refused(method, keep):
    with pytest.raises(ValueError, match=rf"^keep must be in \(0, 1\], got {float(keep)}$"):
        method(keep=keep)


@every_edge_popup
def test_together_is_the_global_scope(method):
    assert method.together == (method.scope == "global")


# --- edge-popup's own formula ---


def naive_effective(method, weights, scores):
    """The effective weights as leaves of autograd, chosen by a stable sort."""
    ranks = [(s if method.signed else s.abs()).detach().flatten() for s in scores]
    joined = [torch.cat(ranks)] if method.scope == "global" else ranks
    masks = []
    for rank in joined:
        mask = torch.zeros_like(rank)
        mask[rank.argsort(descending=True, stable=True)[: keep_count(method.keep, len(rank))]] = 1
        masks.append(mask)
    masks = torch.cat(masks).split([w.numel() for w in weights])
    return [(w * m.view_as(w)).requires_grad_() for w, m in zip(weights, masks, strict=True)]


def by_hand(method, score, weight, grad):
    return weight * grad if method.signed else score.sign() * weight * grad


@every_edge_popup
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=15)
def test_the_gradient_is_the_papers(method, seed, batch, inputs, hidden):
    weights, scores = problem(method, [(hidden, inputs), (3, hidden)], seed)
    learning = each(lambda t: t.requires_grad_(), scores)
    x = torch.randn(batch, inputs, generator=torch.Generator().manual_seed(seed))

    def loss(first, second):
        return F.linear(F.linear(x, first).relu(), second).square().sum()

    loss(*method.effective(weights, learning).values()).backward()
    leaves = naive_effective(method, list(weights.values()), list(scores.values()))
    loss(*leaves).backward()
    for name, leaf in zip(weights, leaves, strict=True):
        assert torch.equal(learning[name].grad, by_hand(method, scores[name].detach(), weights[name], leaf.grad))


@every_edge_popup
def test_fifty_steps_are_bit_identical_to_the_naive_loop(method, threads):
    threads(1)  # on a busy machine, threads that wait for each other cost more than these products
    generator = torch.Generator().manual_seed(0)
    data, labels = torch.randn(64, 10, generator=generator), torch.randint(4, (64,), generator=generator)
    network = nn.Sequential(nn.Linear(10, 32, bias=False), nn.ReLU(), nn.Linear(32, 4, bias=False))
    model = mask_(network, method, seed=0)
    states = list(record(model).states)
    weights = [state.frozen.detach().clone() for state in states]
    reference = [state.scores.detach().clone() for state in states]
    first, momenta = [s.clone() for s in reference], [torch.zeros_like(s) for s in reference]
    losses = []

    optimizer = torch.optim.SGD(scores_of(model), lr=0.1, momentum=0.9)
    for step in range(50):
        batch = slice(16 * (step % 4), 16 * (step % 4) + 16)
        optimizer.zero_grad()
        ours = F.cross_entropy(model(data[batch]), labels[batch])
        ours.backward()
        optimizer.step()

        leaves = naive_effective(method, weights, reference)
        theirs = F.cross_entropy(F.linear(F.linear(data[batch], leaves[0]).relu(), leaves[1]), labels[batch])
        theirs.backward()
        for score, weight, momentum, leaf in zip(reference, weights, momenta, leaves, strict=True):
            momentum.mul_(0.9).add_(by_hand(method, score, weight, leaf.grad))
            score.sub_(momentum, alpha=0.1)
        losses.append(theirs.item())
        assert ours.item() == losses[-1], step

    assert all(torch.equal(state.scores, score) for state, score in zip(states, reference, strict=True))
    assert all(torch.equal(state.frozen, weight) for state, weight in zip(states, weights, strict=True))
    # The scores did learn, and (unless everything is kept) the choice moved with them.
    assert not any(torch.equal(score, start) for score, start in zip(reference, first, strict=True))
    before, after = (naive_effective(method, weights, scores) for scores in (first, reference))
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True)) == (method.keep == 1)
