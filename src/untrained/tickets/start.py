"""The first scores of a search that goes on from a ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from untrained.masking.mask import record
from untrained.masking.masked_class import tensors_of
from untrained.masking.state import Group, MaskState
from untrained.tickets.capture import Capture
from untrained.tickets.header import TensorEntry, TicketError
from untrained.tickets.ticket import Ticket

# Scores that are tried where the choice in one weight depends on its own score alone, those near 0 first.
_PROBES = (0.0, *(sign * 2.0**power for power in range(-8, 7) for sign in (1, -1)))
_WIDEST, _HALVINGS = 128.0, 16


@torch.no_grad()
def start_from_(model: nn.Module, start: Ticket | str | Path) -> nn.Module:
    """Set the scores of a masked model so that it is the network of a ticket, in place, and return it.

    A ticket holds the choice and not the scores. Where a method ranks, the model's own first scores are dealt out
    again, the highest to the weights that the ticket keeps: their distribution is that of a new search. Where the
    choice of a weight depends on its own score alone, a score that leads to another choice is replaced by one near 0
    that leads to the ticket's. Running statistics and tensors that learnt as usual become those of the ticket.

    Args:
        model: a model that `mask_` was called on with the seed, law and method of the ticket.
        start: the ticket, or its file.

    Raises:
        TicketError: the ticket is damaged, or its tensors are not those of the model.
        ValueError: it has another seed, law or method, or one whose choice cannot be turned back into scores. The model
            is unchanged then.

    Example:
        >>> ticket = ut.Ticket.of(ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep=0.5)))
        >>> other = ut.start_from_(ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep=0.5)), ticket)
        >>> ut.Ticket.of(other).weights_sha256 == ticket.weights_sha256
        True
    """
    name, ticket = ("the ticket", start) if isinstance(start, Ticket) else (str(start), Ticket.load(start))
    kept = record(model)
    _check_same(name, ticket, Capture.of(model))
    held = tensors_of(model) | {state.name: state.scores for state in kept.states}
    frozen = {state.name: state.frozen.detach().clone() for state in kept.states}
    before = {name: tensor.detach().clone() for name, tensor in held.items() if name in {*frozen, *ticket.extra}}
    try:
        for group in kept.groups:
            wanted = {state.name: ticket.codes[state.name].to(state.scores.device) for state in group.states}
            for state in group.states:
                source = kept.source(state.name, state.weight, group.planned)
                state.frozen.copy_(group.method.frozen(source, ticket.codes[state.name]))
            _set_scores_(name, group, wanted)
        for extra, tensor in ticket.extra.items():
            held[extra].copy_(tensor)
    except BaseException:
        for state in kept.states:
            state.frozen.copy_(frozen[state.name])
        for changed, tensor in before.items():
            held[changed].copy_(tensor)
        raise
    return model


def _check_same(name: str, ticket: Ticket, model: Capture) -> None:
    """Check that seed, law and tensors of a ticket are those of a masked model."""
    facts = {"seed": (ticket.seed, model.record.seed), "weights law": (ticket.law, model.record.law)}
    for what, (given, expected) in facts.items():
        if given != expected:
            raise ValueError(f"{name} has {what} {given}, and the search {expected}: both must be the same")
    mine, its = _facts_of(model.tensors, model.extra), _facts_of(ticket.tensors, ticket.extra)
    for tensor in sorted({*mine, *its}):
        if mine.get(tensor) != its.get(tensor):
            has, needs = (facts.get(tensor, "not there") for facts in (its, mine))
            raise TicketError(f"{name}: {tensor!r} is {has} in the ticket and {needs} in the model")


def _facts_of(entries: Mapping[str, TensorEntry], extra: Mapping[str, Tensor]) -> dict[str, str]:
    """Return shape, dtype and origin of every tensor as text; the method's schedules have ended."""
    facts = {name: f"{tuple(tensor.shape)} {tensor.dtype}, stored whole" for name, tensor in extra.items()}
    for name, entry in entries.items():
        origin = f"by {entry.method}" if entry.method else "drawn" if entry.constant is None else f"{entry.constant}"
        facts[name] = f"{tuple(entry.shape)} {entry.dtype}, {origin}"
    return facts


def _set_scores_(name: str, group: Group, wanted: Mapping[str, Tensor]) -> None:
    """Set the scores of a group to the first of several guesses that leads to the wanted codes."""
    first = {state.name: state.scores.detach().clone() for state in group.states}
    fits = all(first[name].shape == codes.shape for name, codes in wanted.items())
    for guess in (_keep_as_they_are, _deal_sizes, _deal_values, _probe) if fits else ():
        for state in group.states:
            state.scores.copy_(first[state.name])
        guess(group, wanted)
        chosen = group.codes()
        if all(torch.equal(chosen[name], codes) for name, codes in wanted.items()):
            return
    raise ValueError(
        f"{name}: no scores were found that lead {group.method} to its choice; a search whose keep moves begins at "
        "another keep than the ticket's"
    )


def _keep_as_they_are(group: Group, wanted: Mapping[str, Tensor]) -> None:
    """Leave the first scores, of a method whose choice does not depend on them."""


def _deal_sizes(group: Group, wanted: Mapping[str, Tensor]) -> None:
    """Deal the sizes of the first scores out again, each score with its sign."""
    for states in _chosen_together(group):
        sizes = _deal([state.scores.abs() for state in states], [wanted[state.name] for state in states])
        for state, size in zip(states, sizes, strict=True):
            state.scores.copy_(size.copysign(state.scores))


def _deal_values(group: Group, wanted: Mapping[str, Tensor]) -> None:
    """Deal the first scores out again."""
    for states in _chosen_together(group):
        values = _deal([state.scores for state in states], [wanted[state.name] for state in states])
        for state, value in zip(states, values, strict=True):
            state.scores.copy_(value)


def _chosen_together(group: Group) -> list[list[MaskState]]:
    return [group.states] if group.method.together else [[state] for state in group.states]


def _deal(scores: Sequence[Tensor], codes: Sequence[Tensor]) -> list[Tensor]:
    """Return all scores in another order, higher ones where codes are; those of equal codes keep their order."""
    values, places = torch.cat([each.flatten() for each in scores]), torch.cat([each.flatten() for each in codes])
    highest = values.argsort(descending=True, stable=True)
    dealt = torch.empty_like(values)
    dealt[highest[places[highest].int().argsort(descending=True, stable=True)]] = values[highest]
    parts = dealt.split([each.numel() for each in scores])
    return [part.view_as(each) for part, each in zip(parts, scores, strict=True)]


def _probe(group: Group, wanted: Mapping[str, Tensor]) -> None:
    """Replace each score that leads to another code by the first of `_PROBES` that leads to the wanted one.

    Or by one between two of them, for methods whose codes rise with the score of their own weight.
    """
    own = {state.name: state.scores.detach().clone() for state in group.states}
    wrong = {name: code != wanted[name] for name, code in group.codes().items()}
    low, high = ({name: torch.full_like(scores, edge) for name, scores in own.items()} for edge in (-_WIDEST, _WIDEST))
    for probe in (*_PROBES, *[None] * _HALVINGS):
        tried = {
            name: (low[name] + high[name]) / 2 if probe is None else torch.full_like(scores, probe)
            for name, scores in own.items()
        }
        for state in group.states:
            state.scores.copy_(tried[state.name])
        for name, code in group.codes().items():
            found = wrong[name] & (code == wanted[name])
            own[name], wrong[name] = torch.where(found, tried[name], own[name]), wrong[name] & ~found
            low[name] = torch.where(code < wanted[name], tried[name].maximum(low[name]), low[name])
            high[name] = torch.where(code > wanted[name], tried[name].minimum(high[name]), high[name])
    for state in group.states:
        state.scores.copy_(own[state.name])
