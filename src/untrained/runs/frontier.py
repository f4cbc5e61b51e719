"""The frontier of accuracy against bytes: the rows, the Pareto front, and the best on each side in each range."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

from untrained.runs.reference import full_name
from untrained.runs.statistics import Difference, paired_difference
from untrained.runs.table import Cell


@final
@dataclass(frozen=True)
class Entry:
    """Row of a frontier: the seeds of one network at one size.

    Attributes:
        name: method and what else distinguishes it, as text, such as "edge-popup, keep 0.03, width 0.5".
        trained: True for a network with trained weights, False for a ticket.
        cells: a cell for each seed, finished or failed.
        fault: reason why the row is compared with no other; "" if every seed finished and learned.
    """

    name: str
    trained: bool
    cells: tuple[Cell, ...]
    fault: str = ""

    @property
    def file_bytes(self) -> float:
        """Mean bytes to ship it."""
        return statistics.fmean(cell.file_bytes for cell in self.cells)

    @property
    def accuracy(self) -> float:
        """Mean accuracy on the test data, 0..1."""
        return statistics.fmean(cell.accuracy for cell in self.cells)

    @property
    def std(self) -> float:
        """Sample standard deviation of the accuracy over seeds; 0 for one seed."""
        return _deviation([cell.accuracy for cell in self.cells])

    @property
    def bytes_std(self) -> float:
        """Sample standard deviation of the bytes over seeds; 0 for one seed."""
        return _deviation([cell.file_bytes for cell in self.cells])

    @property
    def val_accuracy(self) -> float:
        """Mean accuracy on the validation data, 0..1, by which rows are chosen."""
        return statistics.fmean(cell.val_accuracy for cell in self.cells)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


Winner = Literal["ticket", "rival", "noise", "unknown", "alone"]


@final
@dataclass(frozen=True)
class Range:
    """Sizes in bytes for which the best ticket and the best rival stay the same.

    Attributes:
        low: least size in bytes.
        high: size in bytes from which the next range begins; infinite for the last one.
        ticket: the ticket with the best validation accuracy in at most `low` bytes; None if none is that small.
        rival: the same among the networks that tickets are measured against.
        difference: test accuracy of the ticket minus that of the rival, paired by seed; None if one of them is missing.
    """

    low: float
    high: float
    ticket: Entry | None
    rival: Entry | None
    difference: Difference | None

    @property
    def winner(self) -> Winner:
        """The side whose interval excludes 0; "noise" if it holds 0, "unknown" without one, "alone" without a rival."""
        if self.difference is None:
            return "alone"
        if self.difference.low is None:
            return "unknown"
        if self.difference.is_noise:
            return "noise"
        return "ticket" if self.difference.mean > 0 else "rival"


def entries_of(cells: Iterable[Cell], trained: Collection[str], chance: float) -> list[Entry]:
    """Return a row for all cells that differ in the seed alone, in their order.

    Args:
        cells: the networks.
        trained: methods whose weights are trained.
        chance: validation accuracy, 0..1, up to which a network has not learned.
    """
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.place, []).append(cell)
    return [
        Entry(full_name(group[0].place), group[0].method in trained, tuple(group), _fault(group, chance))
        for group in groups.values()
    ]


def _fault(group: Sequence[Cell], chance: float) -> str:
    failed = [cell for cell in group if cell.error]
    if failed:
        return f"{_count(failed, group)} failed: {failed[0].error}"
    still = [cell for cell in group if not cell.val_accuracy > chance]
    return f"{_count(still, group)} did not learn" if still else ""


def _count(some: Sequence[Cell], group: Sequence[Cell]) -> str:
    return f"seed {some[0].seed}" if len(some) == 1 else f"{len(some)} of {len(group)} seeds"


def best_within(entries: Iterable[Entry], budget: float) -> Entry | None:
    """Return the row with the best validation accuracy of at most so many bytes.

    Of equally accurate ones it is the smallest, and of equally small ones the first; rows with a fault are left out.
    """
    fit = [entry for entry in entries if not entry.fault and entry.file_bytes <= budget]
    return min(fit, key=lambda entry: (-entry.val_accuracy, entry.file_bytes), default=None)


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """Return the rows that are more accurate on validation data than all that are no larger, by size.

    Rows with a fault are left out. Each budget's `best_within` is the last one of the front that it can pay.
    """
    front: list[Entry] = []
    sound = [entry for entry in entries if not entry.fault]
    for entry in sorted(sound, key=lambda entry: (entry.file_bytes, -entry.val_accuracy)):
        if not front or entry.val_accuracy > front[-1].val_accuracy:
            front.append(entry)
    return front


def sides(entries: Sequence[Entry], against: str = "") -> tuple[list[Entry], list[Entry]]:
    """Return the tickets and their rivals: all trained networks, or the rows of the one method in `against`."""
    if not against:
        return [each for each in entries if not each.trained], [each for each in entries if each.trained]
    rivals = [each for each in entries if each.cells[0].method == against]
    return [each for each in entries if not each.trained and each not in rivals], rivals


def ranges_of(tickets: Iterable[Entry], rivals: Iterable[Entry]) -> list[Range]:
    """Return who is ahead at which size, from the smallest network on, without gaps.

    At a size the best row of each side is that of `best_within`, so the test data chooses nothing; it only gives the
    difference.
    """
    fronts = pareto_front(tickets), pareto_front(rivals)
    starts = sorted({entry.file_bytes for front in fronts for entry in front})
    found = []
    for low, high in pairwise([*starts, math.inf]):
        ticket, rival = (best_within(front, low) for front in fronts)
        found.append(Range(low, high, ticket, rival, _difference(ticket, rival)))
    return found


def _difference(ticket: Entry | None, rival: Entry | None) -> Difference | None:
    if ticket is None or rival is None:
        return None
    by_seed = ({cell.seed: cell.accuracy for cell in each.cells} for each in (ticket, rival))
    return paired_difference(rival.name, *by_seed)
