"""The difference of two tickets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from torch import Tensor

from untrained.terminal.text import clean
from untrained.tickets.contents import same_bits


class Change(NamedTuple):
    """Change of the choice in one tensor, in numbers of weights.

    Attributes:
        weights: all weights.
        codes: those whose code differs.
        gained: those that the second ticket keeps and the first drops.
        lost: those that the first keeps and the second drops.

    Example:
        >>> first, second = (ut.Ticket.of(ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep))) for keep in (0.5, 0.25))
        >>> change = first.diff(second).choice["weight"]
        >>> change.codes, change.gained, change.lost
        (512, 0, 512)
    """

    weights: int
    codes: int
    gained: int
    lost: int


@final
@dataclass(frozen=True)
class Difference:
    """Difference of two tickets; it is true where there is any.

    Attributes:
        facts: (first, second) by name, of all facts that differ: seed, weights law, network, format, "meta: …" and, by
            tensor, shape, dtype and method. None: one of them has no such fact.
        choice: the change of each tensor that both mask in the same shape.
        stored: names of the tensors that are stored whole, such as running statistics, and differ.

    Example:
        >>> layer = ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep=0.5))
        >>> first = ut.Ticket.of(layer)
        >>> history = ut.fit(layer, [(torch.eye(64), torch.arange(64) % 32)], epochs=1)
        >>> first.diff(ut.Ticket.of(layer)).choice["weight"].weights
        2048
    """

    facts: Mapping[str, tuple[Any, Any]]
    choice: Mapping[str, Change]
    stored: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.facts or self.stored or any(change.codes for change in self.choice.values()))

    def __str__(self) -> str:
        lines = [f"{clean(name)}: {clean(first)} → {clean(second)}" for name, (first, second) in self.facts.items()]
        lines += [
            f"{clean(name)}: {c.codes:,} of {c.weights:,} codes differ, {c.gained:,} weights gained, {c.lost:,} lost"
            for name, c in self.choice.items()
            if c.codes
        ]
        lines += [f"{clean(name)}: stored whole, differs" for name in self.stored]
        return "\n".join(lines or ["no difference"])


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference:
    """Return what differs between two tickets; each is its fields by name."""
    mine, its = _facts(first), _facts(second)
    facts = {name: (mine.get(name), its.get(name)) for name in (mine | its) if mine.get(name) != its.get(name)}
    choice = {
        name: _change(codes, second["codes"][name])
        for name, codes in first["codes"].items()
        if name in second["codes"] and second["codes"][name].shape == codes.shape
    }
    whole, other = first["extra"], second["extra"]
    stored = [
        name
        for name in dict.fromkeys([*whole, *other])
        if name not in whole or name not in other or not same_bits(whole[name], other[name])
    ]
    return Difference(facts, choice, tuple(stored))


def _facts(ticket: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"seed": ticket["seed"], "weights law": ticket["law"], "network": ticket["built_by"]}
    facts |= {"format": ticket["format"], **{f"meta: {name}": value for name, value in ticket["meta"].items()}}
    for name, entry in ticket["tensors"].items():
        value = "drawn" if entry.constant is None else entry.constant
        facts[name] = f"{tuple(entry.shape)} {entry.dtype}, {entry.method or value}"
    return facts


def _change(first: Tensor, second: Tensor) -> Change:
    gained, lost = (first == 0) & (second != 0), (first != 0) & (second == 0)
    return Change(first.numel(), *(int(each.sum()) for each in (first != second, gained, lost)))
