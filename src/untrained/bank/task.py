"""A task of a bank: codes over the shared weights, and the tensors that are its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from untrained.methods.base import Method
from untrained.tickets import header
from untrained.tickets.codec import Bits, Coded, Codes, mask_bits
from untrained.tickets.header import TensorEntry
from untrained.tickets.ticket import Ticket

MOST_CHARACTERS = 200
"""The longest name of a task."""


@final
@dataclass(frozen=True, eq=False)
class Task:
    """Task of a bank, its masks packed eight weights a byte.

    Attributes:
        name: its name in the bank.
        bits: the packed masks of tensors whose effective weight is W or 0: bit i mod 8 of byte ⌊i/8⌋ is element i.
        others: the codes of the other masked tensors, int8.
        file: its ticket as a file of format 2.
    """

    name: str
    bits: Mapping[str, np.ndarray]
    others: Mapping[str, Tensor]
    file: bytes
    _facts: Ticket

    @staticmethod
    def of(name: str, ticket: Ticket, file: bytes | None = None) -> Task:
        """Make the task of a ticket; `file` is the ticket's file, where it is there already."""
        data = ticket.to_bytes(format=2) if file is None else file
        masks = {each: mask_bits(ticket.codes, each) for each, entry in ticket.tensors.items() if is_mask(entry)}
        others = {each: codes for each, codes in ticket.codes.items() if each not in masks}
        return Task(name, masks, others, data, replace(ticket, codes={}))

    @property
    def tensors(self) -> Mapping[str, TensorEntry]:
        """The origin of each tensor that is not stored whole."""
        return self._facts.tensors

    @property
    def extra(self) -> Mapping[str, Tensor]:
        """Its own tensors: running statistics, and those trained as usual."""
        return self._facts.extra

    @property
    def meta(self) -> Mapping[str, Any]:
        """JSON-able facts about it."""
        return self._facts.meta

    @property
    def masked(self) -> set[str]:
        """The names of the tensors that have codes."""
        return {*self.bits, *self.others}

    @property
    def labels(self) -> list[str] | None:
        """The names of its classes, where its facts have them."""
        labels = self.meta.get("labels")
        return [str(label) for label in labels] if isinstance(labels, list) and labels else None

    def ticket(self) -> Ticket:
        """Return the task as a ticket, with tensors of its own."""
        held: dict[str, tuple[Coded, tuple[int, ...]]] = {}
        for name, entry in self.tensors.items():
            if name in self.bits:
                held[name] = Bits(self.bits[name], torch.Size(entry.shape).numel()), entry.shape
            elif name in self.others:
                held[name] = self.others[name], entry.shape
        return replace(self._facts, codes=Codes(held), extra={each: own.clone() for each, own in self.extra.items()})

    def of_codes(self, bits: Mapping[str, np.ndarray], others: Mapping[str, Tensor]) -> Task:
        """Return a task of other codes, for the moment: its file is still that of these."""
        return replace(self, bits=bits, others=others)

    def masks(self, name: str) -> np.ndarray:
        """Return the packed mask of a tensor of any method: the weights whose code is not 0."""
        return self.bits[name] if name in self.bits else mask_bits(self.others, name)


def is_mask(entry: TensorEntry) -> bool:
    """Return True for a masked tensor whose effective weight is the frozen one, or 0."""
    if entry.method is None:
        return False
    cls = type(entry.method)
    return (cls.frozen, cls.decode) == (Method.frozen, Method.decode)


def check_name(name: str) -> str:
    """Return the name of a task, or refuse it.

    Raises:
        ValueError: it is empty or all spaces, longer than 200 characters, or holds control characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"a task's name must be text, got {name!r}")
    header.check_name(name)
    if not name.strip() or len(name) > MOST_CHARACTERS or not name.isprintable():
        raise ValueError(
            f"a task's name must be 1 to {MOST_CHARACTERS} printable characters, not all spaces, got {name[:50]!r}"
        )
    return name
