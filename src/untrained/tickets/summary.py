"""The summary of a ticket: kept weights and bytes, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import nn

from untrained.methods.base import UNDECIDED
from untrained.terminal.text import Table, printable
from untrained.tickets.codec import entropy
from untrained.tickets.header import within_memory
from untrained.tickets.narrow import narrowed
from untrained.tickets.ticket import Ticket


@final
@dataclass(frozen=True)
class TensorSummary:
    """Summary of one masked tensor.

    Attributes:
        name: the tensor.
        shape: its shape.
        weights: number of weights.
        kept: number of weights whose code is not 0.
        dead_units: output units (slices along axis 0) without a kept weight.
        entropy_bits: least bits per weight that its codes need alone, -Σ p·log2 p: without seed, row and column.
        stored_bytes: bytes its codes take in the file.
    """

    name: str
    shape: tuple[int, ...]
    weights: int
    kept: int
    dead_units: int
    entropy_bits: float
    stored_bytes: int


@final
@dataclass(frozen=True)
class OtherSummary:
    """Summary of one tensor that is not masked.

    Attributes:
        name: the tensor.
        shape: its shape.
        became: "drawn whole", "frozen at 0" (or another value), "the model's own" of a pretrained one, or "stored
            whole": it stayed as it was, learns as usual, or is counted while training (running statistics).
        stored_bytes: bytes its values take in the file.
    """

    name: str
    shape: tuple[int, ...]
    became: str
    stored_bytes: int


@final
@dataclass(frozen=True)
class Summary:
    """Summary of a ticket, to be printed.

    Attributes:
        tensors: the masked tensors.
        others: all other tensors.
        whole_weights: weights that are drawn from the seed and all kept; they cost nothing.
        extra_bytes: bytes of tensors that the seed does not give (running statistics, those also trained).
        file_bytes: bytes of the ticket's file, with its header.

    Example:
        >>> found = ut.summary(ut.mask_(ut.models.fc((300, 100)), ut.EdgePopup(keep=0.5)))
        >>> found.weights, found.kept, found.bits_per_weight < 1.1
        (266200, 133100, True)
    """

    tensors: tuple[TensorSummary, ...]
    others: tuple[OtherSummary, ...]
    whole_weights: int
    extra_bytes: int
    file_bytes: int

    @property
    def weights(self) -> int:
        """Weights of the network: masked and whole."""
        return sum(tensor.weights for tensor in self.tensors) + self.whole_weights

    @property
    def kept(self) -> int:
        """Weights that are kept: by a mask, or because they are whole."""
        return sum(tensor.kept for tensor in self.tensors) + self.whole_weights

    @property
    def fp32_bytes(self) -> int:
        """Bytes of the same network as 32-bit floats."""
        extra = sum(math.prod(other.shape) for other in self.others if other.became == "stored whole")
        return 4 * (self.weights + extra)

    @property
    def entropy_bytes(self) -> int:
        """Least bytes that the codes need alone, when each tensor's counts are known; a file may take fewer."""
        return math.ceil(sum(tensor.entropy_bits * tensor.weights for tensor in self.tensors) / 8)

    @property
    def bits_per_weight(self) -> float:
        """Bits of the file per weight of the network."""
        return 8 * self.file_bytes / max(1, self.weights)

    def __str__(self) -> str:
        titles, *rows = self._table()
        width = max(6, *(len(row[0]) for row in rows))
        widths = (18, 23, 10, 7, 11)
        lines = [
            "  ".join([f"{name:{width}}", *(f"{cell:>{space}}" for cell, space in zip(cells, widths, strict=True))])
            for name, *cells in (titles, *rows)
        ]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        titles, *rows = self._table()
        return Table(titles, rows, notes=self._notes()).html()

    def _table(self) -> list[tuple[str, ...]]:
        """Return the titles, and a row for every masked tensor."""
        rows = [("tensor", "shape", "kept", "dead units", "entropy", "bits/weight")]
        for t in self.tensors:
            share = f"{t.kept:,} ({t.kept / max(1, t.weights):.1%})"
            shape, stored = "×".join(map(str, t.shape)), 8 * t.stored_bytes / max(1, t.weights)
            rows.append(
                (printable(t.name), shape, share, f"{t.dead_units:,}", f"{t.entropy_bits:.3f}", f"{stored:.3f}")
            )
        return rows

    def _notes(self) -> list[str]:
        """Return a line for each sort of other tensors, and the totals."""
        lines = []
        for became in sorted({other.became for other in self.others}):
            its = [other for other in self.others if other.became == became]
            shown = ", ".join(printable(other.name) for other in its[:3]) + (", …" if len(its) > 3 else "")
            values, plural = sum(math.prod(other.shape) for other in its), "" if len(its) == 1 else "s"
            size = f"{sum(other.stored_bytes for other in its):,} bytes" if became == "stored whole" else "no byte"
            lines.append(f"{became}: {values:,} values of {len(its)} tensor{plural} ({shown}), {size}")
        return [
            *lines,
            f"{self.kept:,} of {self.weights:,} weights kept ({self.kept / max(1, self.weights):.1%})",
            f"{self.file_bytes:,} bytes on disk, {self.bits_per_weight:.3f} bits a weight; "
            f"the codes alone, without seed and contexts, need {self.entropy_bytes:,}",
            f"{self.fp32_bytes:,} bytes as 32-bit floats, {self.fp32_bytes / self.file_bytes:.1f} times as many",
        ]


@within_memory()
def summary(found: nn.Module | Ticket | str | Path) -> Summary:
    """Return the summary of a masked model, a ticket or a ticket file: kept weights and bytes.

    Args:
        found: a model that `mask_` was called on, a Ticket, or the path of one.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
        TicketError: the file is not a ticket.

    Example:
        >>> found = ut.summary(ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=0.25)))
        >>> [(each.name, each.kept) for each in found.tensors], [each.became for each in found.others]
        ([('weight', 8)], ['frozen at 0'])
    """
    if isinstance(found, nn.Module):
        ticket = Ticket.of(found)
    else:
        ticket = found if isinstance(found, Ticket) else Ticket.load(found)
    if ticket.format == 1:
        sizes, data = {name: len(its.data) for name, its in ticket.encoded().items()}, ticket.to_bytes()
    else:
        coded = ticket.coded()
        sizes, data = {name: len(its) for name, its in coded.items()}, ticket.to_bytes(coded=coded)
    rows = []
    for name, codes in ticket.codes.items():
        given, kept = ticket.tensors[name].given(name, ticket.seed), codes != 0
        free = codes if given is None else codes[given == UNDECIDED]
        counts = torch.bincount(free.reshape(-1).int() + 128).tolist()
        alive = int(kept.flatten(1).any(1).sum()) if codes.numel() else 0
        rows.append(
            TensorSummary(
                name,
                tuple(codes.shape),
                codes.numel(),
                int(kept.sum()),
                codes.shape[0] - alive,
                entropy(counts) * free.numel() / max(1, codes.numel()),
                sizes[name],
            )
        )
    whole = sum(math.prod(e.shape) for e in ticket.tensors.values() if e.method is None and e.constant is None)
    own = "drawn whole" if ticket.law is not None else "the model's own"
    others = [
        OtherSummary(name, entry.shape, own if entry.constant is None else f"frozen at {entry.constant:g}", 0)
        for name, entry in ticket.tensors.items()
        if entry.method is None
    ]
    for name, tensor in ticket.extra.items():
        stored = tensor if ticket.format == 1 else narrowed(tensor)
        others.append(OtherSummary(name, tuple(tensor.shape), "stored whole", stored.nbytes))
    extra = sum(other.stored_bytes for other in others)
    return Summary(tuple(rows), tuple(sorted(others, key=lambda other: other.name)), whole, extra, len(data))
