"""A search that goes on from a ticket, and the difference of two tickets."""

import math

import pytest
import torch
from torch import nn

import untrained as ut
from any_methods import VARIANTS
from untrained.methods.schedules import Schedule

GRAY = torch.eye(36).reshape(36, 1, 6, 6)


def _build():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))


def _searched(method, seed=3, **options):
    """A model whose scores have changed, as by a search that found something else than it began with."""
    model, generator = ut.mask_(_build(), method, seed=seed, **options), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.add_(torch.randn(scores.shape, generator=generator) * max(0.1, float(scores.abs().max())))
        model[1].running_mean.copy_(torch.arange(8.0))
    return model


def _refuses(method):
    """Methods without a way from codes back to scores."""
    blocks = isinstance(getattr(method, "structure", None), ut.Block)
    moves = isinstance(getattr(method, "keep", None), Schedule)
    values = isinstance(method, ut.Multicoated) and method.spacing == "linear"
    shares = getattr(method, "scope", "") == "normalised"
    return blocks or moves or values or shares or isinstance(method, ut.SlotMachines)


@pytest.mark.parametrize("method", VARIANTS, ids=str)
def test_a_search_starts_at_the_network_of_a_ticket_or_is_refused(method):
    ticket = ut.Ticket.of(_searched(method))
    model = ut.mask_(_build(), method, seed=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    try:
        assert ut.start_from_(model, ticket) is model
    except ValueError as error:
        assert type(method).__name__ in str(error) and _refuses(method), error
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
        return
    now = ut.Ticket.of(model)
    assert now.weights_sha256 == ticket.weights_sha256 and not now.diff(ticket)
    assert all(bool(scores.isfinite().all()) for scores in ut.scores(model))


def test_where_scores_are_ranked_they_are_only_dealt_out_again():
    model, fresh = (ut.mask_(_build(), ut.EdgePopup(keep=0.3, scope="global"), seed=3) for _ in range(2))
    ut.start_from_(model, ut.Ticket.of(_searched(ut.EdgePopup(keep=0.3, scope="global"))))
    first, dealt = (torch.cat([scores.flatten() for scores in ut.scores(each)]) for each in (fresh, model))
    assert not torch.equal(first, dealt)
    assert torch.equal(first.abs().sort().values, dealt.abs().sort().values)
    assert torch.equal(first.sign(), dealt.sign())


def test_what_does_not_fit_is_named(tmp_path):
    method, path = ut.EdgePopup(keep=0.3), tmp_path / "found.ticket"
    ut.save(_searched(method), path)
    for model, words in (
        (ut.mask_(_build(), method, seed=4), "seed 3, and the search 4"),
        (ut.mask_(_build(), method, seed=3, weights=ut.KaimingNormal()), "weights law"),
        (ut.mask_(_build(), ut.EdgePopup(keep=0.4), seed=3), "keep=0.3"),
        (ut.mask_(nn.Sequential(nn.Conv2d(1, 8, 3)), method, seed=3), "not there in the model"),
    ):
        with pytest.raises(ValueError, match=r"found\.ticket") as refused:
            ut.start_from_(model, path)
        assert words in str(refused.value)
    with pytest.raises(ValueError, match="masked"):
        ut.start_from_(_build(), path)


def test_pretrained_weights_and_heads_that_learn_go_on_too():
    torch.manual_seed(0)
    plain = _build()
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    options = {"weights": None, "also_train": r"4\.weight"}
    model = ut.mask_(plain, ut.EdgePopup(keep=0.5), seed=3, **options)
    ut.fit(model, [(GRAY, torch.arange(36) % 5)], epochs=1)
    ticket, other = ut.Ticket.of(model), _build()
    other.load_state_dict(state)
    ut.start_from_(ut.mask_(other, ut.EdgePopup(keep=0.5), seed=3, **options), ticket)
    assert not ut.Ticket.of(other).diff(ticket) and torch.equal(other[4].weight, model[4].weight)


def test_a_difference_says_what_changed():
    one, two = _searched(ut.EdgePopup(keep=0.5)), _searched(ut.EdgePopup(keep=0.25))
    first, second = ut.Ticket.of(one, meta={"run": 1}), ut.Ticket.of(two, meta={"data": math.inf > 1})
    same = first.diff(ut.Ticket.of(one, meta={"run": 1}))
    assert not same and str(same) == "no difference"
    found = first.diff(second)
    assert found and found.facts["meta: run"] == (1, None) and found.facts["meta: data"] == (None, True)
    assert "keep=0.5" in found.facts["4.weight"][0] and "keep=0.25" in found.facts["4.weight"][1]
    mine, its = (ut.masks(model)["4.weight"] for model in (one, two))
    assert found.choice["4.weight"] == (
        640,
        int((mine != its).sum()),
        int((its & ~mine).sum()),
        int((mine & ~its).sum()),
    )
    assert "4.weight: 160 of 640 codes differ, 0 weights gained, 160 lost" in str(found)
    with torch.no_grad():
        two[1].running_var.fill_(math.nan)
    nan = ut.Ticket.of(two)
    assert second.diff(nan).stored == ("1.running_var",) and not nan.diff(nan)
    other = ut.Ticket.of(ut.mask_(nn.Sequential(nn.Conv2d(1, 9, 3)), ut.EdgePopup(keep=0.5), seed=3))
    assert "0.weight" not in first.diff(other).choice and first.diff(other).facts["4.weight"][1] is None
