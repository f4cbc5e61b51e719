"""Overlap of tasks: how far two masks keep the same weights, beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from untrained.bank.task import Task

_WORDS = 1 << 10  # of one task at a time: those of a few hundred tasks stay in a core's cache


@final
@dataclass(frozen=True)
class Overlap:
    """Overlap of two masks of one tensor.

    Attributes:
        weights: number of weights.
        kept: number of weights that the first keeps, and the second.
        both: number of weights that both keep.
    """

    weights: int
    kept: tuple[int, int]
    both: int

    @property
    def share(self) -> float:
        """Intersection over union; 1 where neither keeps a weight."""
        return _share(self.both, sum(self.kept))

    @property
    def chance(self) -> float:
        """Intersection over union of independent masks of these sizes: ka·kb / (ka + kb - ka·kb), k the shares kept."""
        a, b = (kept / max(1, self.weights) for kept in self.kept)
        return _share(a * b, a + b)


def overlaps(first: Task, second: Task) -> dict[str, Overlap]:
    """Return the overlap of two tasks in each tensor that both mask."""
    found = {}
    for name in sorted(first.masked & second.masked):
        a, b = first.masks(name), second.masks(name)
        n, counts = torch.Size(first.tensors[name].shape).numel(), (count_ones(a), count_ones(b))
        found[name] = Overlap(n, counts, count_ones(a & b))
    return found


def overlap_matrix(tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    """Return the overlap of every pair of tasks over all weights that both mask, and that of chance.

    The shares that chance gives are those of each tensor, so that layers of different densities do not look alike.

    Returns:
        Two float64 tensors (T, T): Σ intersections / Σ unions, and the same of the intersections that independent masks
        of these sizes have on average; NaN where two tasks mask no tensor in common.
    """
    t = len(tasks)
    both, either, expected, shared = (np.zeros((t, t)) for _ in range(4))
    for name in sorted({name for task in tasks for name in task.masked}):
        its = [i for i, task in enumerate(tasks) if name in task.masked]
        n, inner = torch.Size(tasks[its[0]].tensors[name].shape).numel(), _inner([tasks[i].masks(name) for i in its])
        kept, at = np.diag(inner), np.ix_(its, its)
        both[at] += inner
        either[at] += kept[:, None] + kept
        expected[at] += np.where(np.eye(len(its), dtype=bool), inner, kept[:, None] * kept / max(1, n))
        shared[at] = 1
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.where(either == 0, 1, part / (either - part)) for part in (both, expected)]
    first, second = (torch.from_numpy(np.where(shared == 1, share, np.nan)) for share in shares)
    return first, second


def count_ones(bits: np.ndarray) -> int:
    """Return the number of ones in a packed mask."""
    return int(np.bitwise_count(_words(bits)).sum(dtype=np.int64))


def _share(both: float, total: float) -> float:
    return both / (total - both) if total else 1.0


def _words(bits: np.ndarray) -> np.ndarray:
    """Return a packed mask as words of 64 bits, the last filled up with zeros."""
    whole = np.zeros(-(-len(bits) // 8) * 8, np.uint8)
    whole[: len(bits)] = bits
    return whole.view(np.uint64)


def _inner(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the number of common ones of every pair of packed masks of one length, float64 (T, T)."""
    words = [_words(mask) for mask in masks]
    inner = np.zeros((len(words), len(words)), np.int64)
    for start in range(0, len(words[0]), _WORDS):
        block = np.stack([each[start : start + _WORDS] for each in words])
        for row, each in enumerate(block):
            inner[row, row:] += np.bitwise_count(block[row:] & each).sum(1, dtype=np.int32)
    return (inner + np.triu(inner, 1).T).astype(np.float64)
