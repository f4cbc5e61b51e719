"""Choice of the contexts in which a tensor's codes take the fewest bytes.

The levels of bins, rows and columns are those of a logistic regression, fitted by Newton's method. All sums are of
integers, so that every machine chooses the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from untrained.native import contexts as kernels
from untrained.native.contexts import Grid
from untrained.tickets.bits import MOST, ONES, level_of, levels_of
from untrained.tickets.contexts import (
    FINE,
    HIGHEST,
    LOWEST,
    Effects,
    Layout,
    Seeded,
    coarse,
    effects_by_rows,
    levels_by_rows,
)

_UNIT = math.log(2) / 8  # of a level, in nats
_ROUNDS = 6
_SHARE = 0.6  # of a step
_WIDEST = 2 * MOST  # sum of effects: no level is changed by more
_PRIOR = 1 / 4  # of an effect: a variance of four nats squared
_BINS = (3, 4, 5, 6)
_STEPS = (8, 16, 4)
_LARGE = 1 << 20  # elements of a tensor that is tried in one way only
_MILLIBITS = np.array(  # whole numbers, which add up to the same in any order
    [[round(-1024 * math.log2(share / (1 << 24))) for share in ((1 << 24) - one, one)] for one in ONES.tolist()]
)
_ONES = ONES.astype(np.int32)
_SLOPES = (ONES * ((1 << 24) - ONES) >> 24).astype(np.int32)


class Choices(NamedTuple):
    """Binary choices to be coded.

    Attributes:
        ones: of each element of the tensor, uint8.
        free: the elements that are coded, bool; None: all.
    """

    ones: np.ndarray
    free: np.ndarray | None


def choose_layout(choices: Choices, seeded: Seeded) -> tuple[Layout, float]:
    """Return the layout of the fewest bits, and how many they are."""
    return min(_candidates(choices, seeded), key=lambda candidate: candidate[1])


def _price(effects: Effects | None) -> float:
    if effects is None:
        return 8
    prices = zip(effects.levels, effects.counts, strict=True)
    return (
        8 * (3 + len(effects.levels))
        + sum(int(_MILLIBITS[level + MOST] @ np.array(pair)) for level, pair in prices) / 1024
    )


def _candidates(choices: Choices, seeded: Seeded) -> Iterator[tuple[Layout, float]]:
    """Yield layouts and bits: without effects, with those of the best choice of signs, and with some left out."""
    plain, bits = _choose_bins(choices, seeded)
    yield plain, bits
    signs = [(False, False)]
    if seeded.law is not None:
        signs += [(False, True), (True, False), (True, True)]
        signs = signs[-1:] if len(choices.ones) >= _LARGE else signs
    start = _Fit.of(choices, seeded, plain, signs[0])
    fits = [replace(start, by_sign=each).improved(choices, _ROUNDS // 2) for each in signs]
    fit = min(fits, key=lambda fit: _Counts.of(fit.rounded(_STEPS[0]), choices, seeded).bits())
    fit = fit.improved(choices, _ROUNDS - _ROUNDS // 2)
    for step in _STEPS:
        layout = fit.rounded(step)
        for rows, columns in ((True, True), (True, False), (False, True)):
            its = layout.rows if rows else None, layout.columns if columns else None
            if its != (None, None) and ((rows and columns) or None not in (layout.rows, layout.columns)):
                counts = _Counts.of(replace(layout, rows=its[0], columns=its[1]), choices, seeded).settled()
                yield counts.layout, counts.bits()


def _choose_bins(choices: Choices, seeded: Seeded) -> tuple[Layout, float]:
    """Return the layout of bins alone that takes the fewest bits, and these."""
    if seeded.seed is None:
        own = choices.ones if choices.free is None else choices.ones[choices.free]
        ones = int(np.count_nonzero(own))
        levels = np.array([level_of(ones, len(own) - ones)], np.int16)
        return Layout(levels=levels), _price_all(np.array([[len(own) - ones, ones]]), levels) + 24
    shape = seeded.rows, seeded.columns
    rows, columns = Layout().effects(shape)
    fine = _count(Grid(seeded.fine, None, np.zeros(1 << FINE, np.int32), rows, columns, shape), choices, 0)[:, 0]
    best, least = Layout(), math.inf
    for bins, signed in ((0, False), *itertools.product(_BINS, (False, True))):
        merged = _merged(fine, bins, signed)
        levels = levels_of(merged[:, 1], merged[:, 0]).astype(np.int16)
        bits = _price_all(merged, levels) + 8 * (len(levels) + 2)
        if bits < least:
            best, least = Layout(bins, signed, levels), bits
    return best, least


def _merged(fine: np.ndarray, bins: int, signed: bool) -> np.ndarray:
    """Return sums of what is given for each of the finest bins."""
    half = len(fine) // 2
    source = fine if signed else fine[:half][::-1] + fine[half:]
    return source.reshape(1 << bins, -1, *fine.shape[1:]).sum(1)


def _price_all(counts: np.ndarray, levels: np.ndarray) -> float:
    """Return the bits that zeros and ones, (…, 2), take at these levels."""
    return int((counts * _MILLIBITS[levels + MOST]).sum()) / 1024


@final
@dataclass(frozen=True)
class _Counts:
    """Zeros and ones of a layout by bin and sum of effects: (bins, sums, 2)."""

    layout: Layout
    counts: np.ndarray

    @staticmethod
    def of(layout: Layout, choices: Choices, seeded: Seeded) -> _Counts:
        rows, columns = layout.effects((seeded.rows, seeded.columns))
        bins, by_bin = (seeded.fine, np.zeros(1 << FINE, np.int32)) if layout.bins else (None, np.zeros(1, np.int32))
        positive = seeded.positive if layout.by_sign else None
        grid = Grid(bins, positive, by_bin, rows, columns, (seeded.rows, seeded.columns))
        counts = _count(grid, choices, _WIDEST)
        return _Counts(layout, _merged(counts, layout.bins, layout.signed) if layout.bins else counts)

    def _levels(self, by_bin: np.ndarray) -> np.ndarray:
        return np.clip(by_bin[:, None] + np.arange(-_WIDEST, _WIDEST + 1), -MOST, MOST)

    def bits(self) -> float:
        """Return the bits that the choices take, with those of the layout itself."""
        layout = self.layout
        main = _price_all(self.counts, self._levels(layout.levels.astype(np.int64)))
        return main + 8 * len(layout.levels) + sum(map(_price, (layout.rows, layout.columns)))

    def settled(self) -> _Counts:
        """Return it with levels of the bins that suit its effects, after steps of Newton's method."""
        own, ones, levels = self.counts.sum(-1), self.counts[..., 1], self.layout.levels.astype(np.float64)
        for _ in range(3):
            each = self._levels(np.rint(256 * levels).astype(np.int64) + 128 >> 8) + MOST
            slope, curve = (ones << 24) - own * _ONES[each], own * _SLOPES[each]
            levels = _moved(levels, slope.sum(1), curve.sum(1), 1.0)
        return _Counts(replace(self.layout, levels=np.rint(levels).astype(np.int16)), self.counts)


def _count(grid: Grid, choices: Choices, most: int) -> np.ndarray:
    """Count elements by bin, sum of effects (cut to ±most) and choice."""
    counts = kernels.count_effects(grid, *choices, most)
    if counts is not None:
        return counts
    counts = np.zeros((len(grid.by_bin), 2 * most + 1, 2), np.int64)
    others = (choices.ones, grid.bins, choices.free)
    ones, bins, free = (None if each is None else each.reshape(grid.shape) for each in others)
    assert ones is not None
    for part, sums in effects_by_rows(grid):
        sums = np.clip(sums, -most, most) + most
        keys = 2 * (sums if bins is None else sums + np.int32(2 * most + 1) * bins[part]) + ones[part]
        keys = keys.reshape(-1) if free is None else keys[free[part]]
        counts += np.bincount(keys, minlength=counts.size).reshape(counts.shape)
    return counts


def _moved(levels: np.ndarray, slope: np.ndarray, curve: np.ndarray, share: float) -> np.ndarray:
    """Return levels after a share of a step of Newton's method; the derivatives are in units of 2⁻²⁴."""
    step = (slope / (1 << 24)) / (curve / (1 << 24) + 0.1) / _UNIT
    return np.clip(levels + np.clip(share * step, -16, 16), -MOST, MOST)


@final
@dataclass(frozen=True)
class _Fit:
    """Levels of bins and effects of rows and columns, (2, n) for weights below 0 and above: float64."""

    seeded: Seeded
    plain: Layout
    by_sign: tuple[bool, bool]
    levels: np.ndarray
    effects: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(choices: Choices, seeded: Seeded, plain: Layout, by_sign: tuple[bool, bool]) -> _Fit:
        """Return the effects that rows and columns have each alone."""
        ones, free = choices
        grid = (ones if free is None else ones & free).reshape(seeded.rows, seeded.columns)
        count = None if free is None else free.reshape(grid.shape)
        effects, base = [], level_of(int(grid.sum()), int((ones.size if free is None else free.sum()) - grid.sum()))
        for axis in (1, 0):
            some = grid.sum(axis, dtype=np.int64)
            whole = grid.shape[axis] if count is None else count.sum(axis)
            levels = levels_of(some, whole - some) - base
            effects.append(np.array([levels, levels], np.float64).reshape(2, -1))
        return _Fit(seeded, plain, by_sign, plain.levels.astype(np.float64), (effects[0], effects[1]))

    def improved(self, choices: Choices, rounds: int) -> _Fit:
        """Return it after steps of Newton's method, for all effects at once and shortened for that."""
        fit = self
        for _ in range(rounds):
            *sums, by_bin = fit._sums(choices)
            effects = list(fit.effects)
            for i, by_sign in enumerate(fit.by_sign):
                slope, curve = np.moveaxis(sums[i] / (1 << 24), -1, 0)
                if not by_sign:
                    slope, curve = slope.sum(0), curve.sum(0)
                step = (slope - _PRIOR * _UNIT * effects[i]) / (curve + _PRIOR) / _UNIT
                effects[i] = effects[i] + np.clip(_SHARE * step, -16, 16)
            by_bin = _merged(by_bin, self.plain.bins, self.plain.signed) if self.plain.bins else by_bin
            levels = _moved(fit.levels, by_bin[:, 0], by_bin[:, 1], _SHARE)
            fit = replace(fit, levels=levels, effects=tuple(effects))
        return fit

    def _sums(self, choices: Choices) -> tuple[np.ndarray, ...]:
        """Return the derivatives of the likelihood by rows, columns (each by sign) and bins, times 2²⁴."""
        grid = self._grid()
        found = kernels.sum_slopes(grid, *choices, _ONES, _SLOPES)
        return _sum_slopes(grid, choices) if found is None else found

    def _grid(self) -> Grid:
        positive = self.seeded.positive if any(self.by_sign) else None
        parts = [np.rint(256 * each).astype(np.int32) for each in (self.levels, *self.effects)]
        bins, shape = self.plain.bins, (self.seeded.rows, self.seeded.columns)
        by_bin = parts[0][coarse(bins, self.plain.signed)] if bins else parts[0]
        return Grid(self.seeded.fine if bins else None, positive, by_bin, parts[1], parts[2], shape)

    def rounded(self, step: int) -> Layout:
        """Return the layout of these effects in whole numbers of steps, without those that are all 0."""
        found: list[Effects | None] = []
        for effects, by_sign in zip(self.effects, self.by_sign, strict=True):
            flat = effects.T.reshape(-1) if by_sign else effects[0]
            numbers = np.clip(np.rint(flat / step), LOWEST, HIGHEST).astype(np.int16)
            found.append(Effects(step, by_sign, numbers) if numbers.any() else None)
        return replace(self.plain, levels=np.rint(self.levels).astype(np.int16), rows=found[0], columns=found[1])


def _sum_slopes(grid: Grid, choices: Choices) -> tuple[np.ndarray, ...]:
    """Return what the kernel returns."""
    rows, columns = grid.shape
    sums = np.zeros((2, rows, 2), np.int64), np.zeros((2, columns, 2), np.int64)
    by_bin = np.zeros((len(grid.by_bin), 2), np.int64)
    ones = choices.ones.reshape(grid.shape)
    others = (grid.bins, grid.positive, choices.free)
    bins, positive, free = (None if each is None else each.reshape(grid.shape) for each in others)
    for part, levels in levels_by_rows(grid):
        for which, values in enumerate(((ones[part].astype(np.int64) << 24) - _ONES[levels], _SLOPES[levels])):
            values = values.astype(np.int64) if free is None else values * free[part]
            above = 0 if positive is None else values * positive[part]
            for sign, its in enumerate((values - above, above)):
                sums[0][sign, part, which] += np.sum(its, -1) if sign == 0 or positive is not None else 0
                sums[1][sign, :, which] += np.sum(its, 0) if sign == 0 or positive is not None else 0
            if bins is None:
                by_bin[0, which] += values.sum()
            else:  # of integers below 2⁵³, exactly
                by_bin[:, which] += np.bincount(bins[part].reshape(-1), values.reshape(-1), len(by_bin)).astype(
                    np.int64
                )
    return (*sums, by_bin)
