"""Contexts of codes: how likely each is, from what a reader has already: the seed, the row and the column.

    level(i) = s[bin of the first score of i] + a[row of i] + b[column of i],   cut to -127 … 127

A row is an index of the first axis, a column one of all others together. Every number is an integer, so that all
machines agree; see docs/format.md, "Contexts".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import torch

from untrained.native import contexts as kernels
from untrained.native.contexts import Grid
from untrained.tickets.bits import MOST, level_of, tree_counts
from untrained.weights.laws import WeightLaw, chunks, elements_per_block
from untrained.weights.random import positive, signs

MOST_BINS = 8
"""The largest logarithm of the number of bins."""
FINE = 7
"""The logarithm of the number of bins that a writer draws; those it chooses are sums of them."""
LOWEST, HIGHEST = -64, 63
"""Bounds of an effect's number."""
_CHUNK = 1 << 18


@final
@dataclass(frozen=True)
class Seeded:
    """Tensor as far as its seed tells of it.

    Attributes:
        seed, name, shape: those of the tensor; no seed: it has no first scores, and no law.
        law: the law of its weights; None: their signs are not known.
    """

    seed: int | None
    name: str
    shape: tuple[int, ...]
    law: WeightLaw | None

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def columns(self) -> int:
        return math.prod(self.shape[1:])

    def bins(self, bits: int, signed: bool) -> np.ndarray:
        """Return the bin of each element's first score, uint8: 2^bits of the same width, of s or of |s|.

        v = the low 24 bits of a word of MT19937, which `torch.rand` gives in units of 2⁻²⁴; s rises with v.
        """
        assert self.seed is not None
        digest = hashlib.sha256(f"scores/{self.seed}/{self.name}".encode()).digest()
        seed, n = int.from_bytes(digest[:8], "little") >> 1, self.rows * self.columns
        found = kernels.score_bins(seed, bits, signed, n)
        if found is not None:
            return found
        found, generator = np.empty(n, np.uint8), torch.Generator().manual_seed(seed)
        for start in range(0, n, _CHUNK):
            part = found[start : start + _CHUNK]
            drawn = torch.rand(len(part), generator=generator, dtype=torch.float32, device="cpu")
            v = (drawn * (1 << 24)).to(torch.int32).numpy()
            size = np.where(v < 1 << 23, (1 << 23) - 1 - v, v - (1 << 23))
            part[:] = v >> (24 - bits) if signed else size >> (23 - bits)
        return found

    @cached_property
    def fine(self) -> np.ndarray:
        """The finest bins of a writer, of s: uint8."""
        return self.bins(FINE, True)

    @cached_property
    def positive(self) -> np.ndarray:
        """The elements whose unit is above 0: bool."""
        assert self.law is not None and self.seed is not None
        units = self.law.units()
        if units is signs:
            return positive(self.seed, self.name, self.rows * self.columns)
        found = np.empty(self.rows * self.columns, np.bool_)
        for block, part in chunks(len(found), elements_per_block(units)):
            drawn = np.empty(len(found[part]), np.float32)
            units(self.seed, self.name, block, drawn, np.float32(1))
            found[part] = drawn > 0
        return found


def coarse(bits: int, signed: bool) -> np.ndarray:
    """Return the bin, of 2^bits, that each of the finest belongs to: int64."""
    fine, half = np.arange(1 << FINE), 1 << FINE - 1
    return fine >> FINE - bits if signed else np.where(fine < half, half - 1 - fine, fine - half) >> FINE - 1 - bits


@final
@dataclass(frozen=True)
class Effects:
    """Effects of rows or of columns on the level: `step` times a small number each.

    Attributes:
        step: 1 … 127, in levels.
        by_sign: there are two for each, of weights below and above 0.
        numbers: int16, -64 … 63: of the first row below 0 and above, of the second, …
    """

    step: int
    by_sign: bool
    numbers: np.ndarray

    @property
    def first(self) -> int:
        """The lowest number."""
        return int(self.numbers.min(initial=0))

    @cached_property
    def counts(self) -> list[tuple[int, int]]:
        """The zeros and ones of each choice that codes the numbers, less the lowest."""
        return tree_counts(np.bincount(self.numbers - self.first, minlength=1))

    @property
    def levels(self) -> list[int]:
        """The levels of these."""
        return [level_of(ones, zeros) for zeros, ones in self.counts]

    @cached_property
    def by_place(self) -> tuple[np.ndarray, np.ndarray]:
        """The effects on weights below and above 0: int16."""
        effects = (self.step * self.numbers).astype(np.int16)
        return (effects[0::2], effects[1::2]) if self.by_sign else (effects, effects)


@final
@dataclass(frozen=True)
class Layout:
    """Levels of the elements of a tensor.

    Attributes:
        bins: logarithm of the number of bins of first scores, 0 … 8.
        signed: the bins are those of s and not of |s|.
        levels: the level of each bin, int16.
        rows, columns: what is added to it; None: nothing.
    """

    bins: int = 0
    signed: bool = False
    levels: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int16))
    rows: Effects | None = None
    columns: Effects | None = None

    @property
    def by_sign(self) -> bool:
        return any(effects is not None and effects.by_sign for effects in (self.rows, self.columns))

    def of_elements(self, seeded: Seeded) -> np.ndarray:
        """Return the level of each element of a tensor, plus 127: uint8."""
        shape = seeded.rows, seeded.columns
        rows, columns = self.effects(shape)
        bins = seeded.bins(self.bins, self.signed) if self.bins else None
        positive = seeded.positive if self.by_sign else None
        return find_levels(Grid(bins, positive, self.levels.astype(np.int32) << 8, rows << 8, columns << 8, shape))

    def effects(self, shape: tuple[int, int]) -> list[np.ndarray]:
        """Return the effects of rows and of columns on weights below 0 and above: int32, (2, n) each."""
        return [
            np.zeros((2, n), np.int32) if its is None else np.stack(its.by_place).astype(np.int32)
            for n, its in zip(shape, (self.rows, self.columns), strict=True)
        ]


def find_levels(grid: Grid) -> np.ndarray:
    """Return the level of each element of a grid, rounded and cut to -127 … 127, plus 127: uint8."""
    found = kernels.find_levels(grid)
    if found is None:
        found = np.empty(grid.shape[0] * grid.shape[1], np.uint8)
        for part, levels in levels_by_rows(grid):
            found.reshape(grid.shape)[part] = levels
    return found


def levels_by_rows(grid: Grid) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some rows, and the levels of their elements plus 127, int32."""
    bins = None if grid.bins is None else grid.bins.reshape(grid.shape)
    for part, total in effects_by_rows(grid):
        total += grid.by_bin[0] if bins is None else grid.by_bin[bins[part]]
        yield part, np.clip(total + 128 >> 8, -MOST, MOST) + MOST


def effects_by_rows(grid: Grid) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some rows, and the sums of the effects on their elements: int32."""
    positive = None if grid.positive is None else grid.positive.reshape(grid.shape)
    for part in row_chunks(grid.shape):
        total = grid.by_row[0][part, None] + grid.by_column[0]
        if positive is not None:
            total = np.where(positive[part], grid.by_row[1][part, None] + grid.by_column[1], total)
        yield part, total


def row_chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield whole rows that fit into a core's cache."""
    rows, columns = shape
    some = max(1, _CHUNK // max(1, columns))
    return (slice(start, min(rows, start + some)) for start in range(0, rows, some))
