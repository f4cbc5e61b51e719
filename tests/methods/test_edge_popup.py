"""edge-popup against a naive loop, its first scores, and what it refuses; its formula is in test_oracles.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from untrained.masking.mask import mask_, record
from untrained.masking.mask import scores as scores_of
from untrained.methods import METHODS
from untrained.methods.edge_popup import EdgePopup
from untrained.selection.topk import keep_count

EDGE_POPUPS = [
    EdgePopup(),
    EdgePopup(keep=1.0),
    EdgePopup(keep=0.3, signed=True),
    EdgePopup(keep=0.3, scope="global"),
    EdgePopup(keep=0.3, scope="global", signed=True),
]
every_edge_popup = pytest.mark.parametrize("method", EDGE_POPUPS, ids=str)


def test_first_scores_are_the_authors():
    # kaiming_uniform_(a=√5): U(-b, b), b = 1/√(fan in), here fan in 45.
    weight = torch.zeros(400, 5, 3, 3)
    first, second = (EdgePopup().init_scores(weight, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    bound = 1 / math.sqrt(45)
    assert not torch.equal(first, second)
    assert 0.999 * bound < first.abs().max() <= bound
    assert first.mean().abs() < 0.02 * bound
    assert first.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", [name for name, cls in METHODS.items() if hasattr(cls, "keep")])
@pytest.mark.parametrize("keep", [0, -0.5, 1.0001, math.inf, math.nan])
def test_a_wrong_keep_is_refused(name, keep):
    if name != "partly-frozen":
        with pytest.raises(ValueError, match=rf"^keep must be in \(0, 1\], got {float(keep)}$"):
            METHODS[name](keep=keep)


@pytest.mark.parametrize("names", [("a,b", "c", "d"), ("a", "b,c", "d")])
@pytest.mark.parametrize(("scope", "named"), [("layer", 1), ("global", 2), ("normalised", 2)])
def test_nan_is_refused_by_name_whatever_the_names(scope, named, names):
    # Tensors chosen each alone are met one after the other.
    weights = {name: torch.ones(2, 3) for name in names}
    scores = {name: torch.full((2, 3), math.nan if name != names[1] else 1.0) for name in names}
    listed = ", ".join(f"'{name}'" for name in (names[0], names[2])[:named])
    method = EdgePopup(scope=scope)
    for choose in (method.codes, method.effective):
        with pytest.raises(ValueError, match=f"the scores of {listed} hold NaN"):
            choose(weights, scores)


@every_edge_popup
def test_together_is_the_global_scope(method):
    assert method.together == (method.scope == "global")


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
