"""The summary of a bank: what each task keeps and costs, beside models of their own and adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch

from untrained.bank.overlap import count_ones
from untrained.bank.task import Task
from untrained.methods.base import UNDECIDED
from untrained.terminal.text import Table, clean
from untrained.tickets.codec import entropy
from untrained.tickets.narrow import narrowed

RANK = 4
"""The rank of the adapters that a bank is set beside."""
_ENDS = 6  # rows of a long table before and after its gap


@final
@dataclass(frozen=True)
class TaskSummary:
    """Summary of one task.

    Attributes:
        name: the task.
        weights: number of masked weights.
        kept: number of them that are kept.
        entropy_bytes: least bytes that its codes need alone, when each tensor's counts are known.
        extra_bytes: bytes of its own tensors: running statistics, and those trained as usual.
        file_bytes: bytes that it takes in the bank's file; of a bank in memory those of its ticket, which are more.
        dense_bytes: bytes of a model of its own in 32-bit floats.
        int8_bytes: the same with a byte for each weight of a matrix, and a float16 scale for each of its rows.
        adapter_bytes: bytes of adapters of rank 4 in float16 for its masked matrices, 2·r·(rows + columns) each, and
            of its own tensors.
        accuracy: that of its facts, in [0, 1]; None where they have none.
    """

    name: str
    weights: int
    kept: int
    entropy_bytes: int
    extra_bytes: int
    file_bytes: int
    dense_bytes: int
    int8_bytes: int
    adapter_bytes: int
    accuracy: float | None

    @staticmethod
    def of(task: Task, file_bytes: int | None = None) -> TaskSummary:
        """Summarise a task, which takes so many bytes in the bank's file."""
        bits, kept, masked, dense, int8, adapters = 0.0, 0, 0, 0, 0, 0
        for name, entry in task.tensors.items():
            if entry.constant is not None:
                continue
            n, rows = math.prod(entry.shape), entry.shape[0] if entry.shape else 1
            dense, int8 = dense + 4 * n, int8 + (n + 2 * rows if len(entry.shape) > 1 else 4 * n)
            if entry.method is not None:
                its, counts = _kept(task, name)
                kept, masked, bits = kept + its, masked + n, bits + entropy(counts) * sum(counts)
                adapters += 2 * RANK * (rows + n // max(1, rows))
        own = 4 * sum(tensor.numel() for tensor in task.extra.values())
        extra, size = sum(narrowed(tensor).nbytes for tensor in task.extra.values()), file_bytes or len(task.file)
        found, least = task.meta.get("accuracy"), math.ceil(bits / 8)
        good = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 1
        accuracy = float(found) if good and found is not None else None
        return TaskSummary(
            task.name, masked, kept, least, extra, size, dense + own, int8 + own, adapters + extra, accuracy
        )


@final
@dataclass(frozen=True)
class BankSummary:
    """Summary of a bank, to be printed.

    Attributes:
        tasks: its tasks, in their order.
        from_file: True where their bytes are those of the bank's file.
    """

    tasks: tuple[TaskSummary, ...]
    from_file: bool = False

    @staticmethod
    def of(tasks: Sequence[Task], sizes: Mapping[str, int] | None = None) -> BankSummary:
        """Summarise tasks of one bank; `sizes` are the bytes that each takes in the bank's file."""
        its = tuple(TaskSummary.of(task, None if sizes is None else sizes[task.name]) for task in tasks)
        return BankSummary(its, sizes is not None)

    def total(self, field: str) -> int:
        """Return the sum of a field over all tasks."""
        return sum(getattr(task, field) for task in self.tasks)

    @property
    def adapter_bytes(self) -> int:
        """Bytes of one dense model, the largest of them, and the adapters of all tasks."""
        return max((task.dense_bytes for task in self.tasks), default=0) + self.total("adapter_bytes")

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(table.titles, *table.rows, strict=True)]
        lines = []
        for name, *cells in (table.titles, *table.rows):
            sides = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
            lines.append("  ".join([f"{name:{widths[0]}}", *sides]).rstrip())
        return "\n".join([*lines, *table.notes])

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> Table:
        """Return the table: of many tasks the first and the last, and the mean of all."""
        known, many = any(task.accuracy is not None for task in self.tasks), len(self.tasks)
        titles = ["task", "kept", "bytes", "entropy", "own tensors", *(["accuracy"] if known else [])]
        rows = [_row(task, known) for task in self.tasks]
        if many > 2 * _ENDS + 1:
            gap = [f"… {many - 2 * _ENDS:,} more", *[""] * (len(titles) - 1)]
            rows = [*rows[:_ENDS], gap, *rows[-_ENDS:]]
        if many > 1:
            rows.append(self._mean(known))
        return Table(titles, rows, notes=self._notes())

    def _mean(self, known: bool) -> list[str]:
        t, accuracies = len(self.tasks), [task.accuracy for task in self.tasks if task.accuracy is not None]
        cells = [f"{self.total(field) / t:,.0f}" for field in ("file_bytes", "entropy_bytes", "extra_bytes")]
        row = ["mean", f"{self.total('kept') / max(1, self.total('weights')):.1%}", *cells]
        return [*row, f"{sum(accuracies) / len(accuracies):.2%}"] if known else row

    def _notes(self) -> list[str]:
        t, size = len(self.tasks), self.total("file_bytes")
        if not t:
            return ["no tasks"]
        where = "a task in the bank's file" if self.from_file else "a task's ticket alone, less in a bank's file"
        notes = [f"bytes: of {where}; entropy: the least that its codes need, in bytes"]
        if t > 2 and (known := [task for task in self.tasks if task.accuracy is not None]):
            worst = min(known, key=lambda task: task.accuracy or 0.0)
            notes.append(f"lowest accuracy: {worst.accuracy:.2%} ({clean(worst.name, 48)})")
        notes.append(f"{size:,} bytes for {_models(t, 'task')}; beside that")
        for bytes_, text in (
            (self.total("dense_bytes"), f"{_models(t, 'model')} of 32-bit floats"),
            (self.total("int8_bytes"), f"{_models(t, 'int8 model')}"),
            (
                self.adapter_bytes,
                f"one model of 32-bit floats and {_models(t, 'set')} of adapters of rank {RANK} in float16",
            ),
        ):
            notes.append(f"  {bytes_:,} bytes for {text}, {bytes_ / size:.1f} times as many")
        return notes


def _models(count: int, name: str) -> str:
    return f"{count:,} {name}{'s' * (count > 1)}"


def _row(task: TaskSummary, known: bool) -> list[str]:
    kept = f"{task.kept / max(1, task.weights):.1%}"
    row = [clean(task.name, 48), kept, f"{task.file_bytes:,}", f"{task.entropy_bytes:,}", f"{task.extra_bytes:,}"]
    return [*row, "" if task.accuracy is None else f"{task.accuracy:.2%}"] if known else row


def _kept(task: Task, name: str) -> tuple[int, list[int]]:
    """Return the number of weights kept, and how often each code occurs that the seed does not give."""
    entry = task.tensors[name]
    if name in task.bits:
        ones = count_ones(task.bits[name])
        return ones, [math.prod(entry.shape) - ones, ones]
    codes, given = task.others[name], entry.given(name, task.ticket().seed)
    free = codes if given is None else codes[given == UNDECIDED]
    return int(codes.count_nonzero()), torch.bincount(free.reshape(-1).int() + 128).tolist()
