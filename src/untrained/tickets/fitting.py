"""Choice of the contexts in which a tensor's codes take the fewest bytes.

The levels of bins, rows and columns are those of a logistic regression, fitted by Newton's method. All sums are of
integers, so that every machine chooses the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np

from untrained.native import contexts as kernels
from untrained.native.contexts import Grid
from untrained.tickets.bits import MOST, ONES, level_of
from untrained.tickets.contexts import HIGHEST, LOWEST, Effects, Layout, Seeded, levels_by_rows

_UNIT = math.log(2) / 8  # of a level, in nats
_ROUNDS = 6
_PRIOR = 1 / 4  # of an effect: a variance of four nats squared
_FINE = 7  # the logarithm of the number of bins that all others are sums of
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


def choose_layout(choices: Choices, seeded: Seeded) -> Layout:
    """Return the layout of the fewest bits."""
    best, least = Layout(), math.inf
    for layout in _candidates(choices, seeded):
        bits = bits_of(layout, choices, layout.of_elements(seeded))
        if bits < least:
            best, least = layout, bits
    return best


def bits_of(layout: Layout, choices: Choices, levels: np.ndarray) -> float:
    """Return the bits that the choices take at these levels, with those of the layout itself."""
    ones, free = choices
    pairs = 2 * levels.astype(np.uint16) + ones
    counts = np.bincount(pairs if free is None else pairs[free], minlength=_MILLIBITS.size)
    main = int((counts * _MILLIBITS.reshape(-1)).sum()) / 1024
    return main + 8 * len(layout.levels) + sum(map(_price, (layout.rows, layout.columns)))


def _price(effects: Effects | None) -> float:
    if effects is None:
        return 8
    prices = zip(effects.levels, effects.counts, strict=True)
    return (
        8 * (3 + len(effects.levels))
        + sum(int(_MILLIBITS[level + MOST] @ np.array(pair)) for level, pair in prices) / 1024
    )


def _candidates(choices: Choices, seeded: Seeded) -> Iterator[Layout]:
    """Yield layouts: without effects, with those of the best choice of signs, and with some of these left out."""
    plain = _choose_bins(choices, seeded)
    yield plain
    signs = [(False, False)]
    if seeded.law is not None:
        signs += [(False, True), (True, False), (True, True)]
        signs = signs[-1:] if len(choices.ones) >= _LARGE else signs
    start = _Fit.of(choices, seeded, plain, signs[0])
    fits = [replace(start, by_sign=each).improved(choices, _ROUNDS) for each in signs]
    rough = [fit.rounded(_STEPS[0]) for fit in fits]
    bits = [bits_of(layout, choices, layout.of_elements(seeded)) for layout in rough]
    fit = fits[bits.index(min(bits))]
    for step in _STEPS:
        layout = fit.rounded(step)
        for rows, columns in ((True, True), (True, False), (False, True)):
            its = layout.rows if rows else None, layout.columns if columns else None
            if its != (None, None) and ((rows and columns) or None not in (layout.rows, layout.columns)):
                yield fit.settled(choices, replace(layout, rows=its[0], columns=its[1]))


def _choose_bins(choices: Choices, seeded: Seeded) -> Layout:
    """Return the layout of bins alone that takes the fewest bits."""
    if seeded.seed is None:
        own = choices.ones if choices.free is None else choices.ones[choices.free]
        ones = int(np.count_nonzero(own))
        return Layout(levels=np.array([level_of(ones, len(own) - ones)], np.int16))
    pairs = 2 * seeded.bins(_FINE, True).astype(np.uint16) + choices.ones
    counts = np.bincount(pairs if choices.free is None else pairs[choices.free], minlength=2 << _FINE)
    fine = counts.reshape(-1, 2)
    folded = fine[: len(fine) // 2][::-1] + fine[len(fine) // 2 :]
    best, least = Layout(), math.inf
    for signed, source in ((False, fine), (False, folded), (True, fine)):
        for bins in (0,) if source is fine and not signed else _BINS:
            merged = source.reshape(1 << bins, -1, 2).sum(1)
            levels = np.array([level_of(ones, zeros) for zeros, ones in merged.tolist()], np.int16)
            bits = int((merged * _MILLIBITS[levels + MOST]).sum()) / 1024 + 8 * len(levels)
            if bits < least:
                best, least = Layout(bins, signed, levels), bits
    return best


@final
@dataclass(frozen=True)
class _Fit:
    """Levels of bins and effects of rows and columns, (2, n) for weights below 0 and above: float64."""

    seeded: Seeded
    plain: Layout
    by_sign: tuple[bool, bool]
    bins: np.ndarray | None
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
            some = grid.sum(axis)
            whole = grid.shape[axis] if count is None else count.sum(axis)
            levels = [
                level_of(one, zero) - base for one, zero in zip(some.tolist(), (whole - some).tolist(), strict=True)
            ]
            effects.append(np.array([levels, levels], np.float64).reshape(2, -1))
        bins = seeded.bins(plain.bins, plain.signed) if plain.bins else None
        return _Fit(seeded, plain, by_sign, bins, plain.levels.astype(np.float64), (effects[0], effects[1]))

    def improved(self, choices: Choices, rounds: int, bins_only: bool = False) -> _Fit:
        """Return it after steps of Newton's method, for all effects at once and shortened for that."""
        fit, share = self, 1.0 if bins_only else 0.6
        for _ in range(rounds):
            *sums, by_bin = (each / (1 << 24) for each in fit._sums(choices))
            effects = list(fit.effects)
            for i, by_sign in enumerate(fit.by_sign if not bins_only else ()):
                slope, curve = np.moveaxis(sums[i], -1, 0)
                if not by_sign:
                    slope, curve = slope.sum(0), curve.sum(0)
                step = (slope - _PRIOR * _UNIT * effects[i]) / (curve + _PRIOR) / _UNIT
                effects[i] = effects[i] + np.clip(share * step, -16, 16)
            step = by_bin[:, 0] / (by_bin[:, 1] + 0.1) / _UNIT
            levels = np.clip(fit.levels + np.clip(share * step, -16, 16), -MOST, MOST)
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
        return Grid(self.bins, positive, parts[0], parts[1], parts[2], (self.seeded.rows, self.seeded.columns))

    def rounded(self, step: int) -> Layout:
        """Return the layout of these effects in whole numbers of steps, without those that are all 0."""
        found: list[Effects | None] = []
        for effects, by_sign in zip(self.effects, self.by_sign, strict=True):
            flat = effects.T.reshape(-1) if by_sign else effects[0]
            numbers = np.clip(np.rint(flat / step), LOWEST, HIGHEST).astype(np.int16)
            found.append(Effects(step, by_sign, numbers) if numbers.any() else None)
        return replace(self.plain, levels=np.rint(self.levels).astype(np.int16), rows=found[0], columns=found[1])

    def settled(self, choices: Choices, layout: Layout) -> Layout:
        """Return a layout with levels of the bins that suit its effects."""
        sizes = self.seeded.rows, self.seeded.columns
        effects = [
            np.zeros((2, n)) if its is None else np.stack(its.by_place).astype(np.float64)
            for n, its in zip(sizes, (layout.rows, layout.columns), strict=True)
        ]
        signs = tuple(its is not None and its.by_sign for its in (layout.rows, layout.columns))
        fit = replace(self, by_sign=signs, effects=tuple(effects)).improved(choices, 3, bins_only=True)
        return replace(layout, levels=np.rint(fit.levels).astype(np.int16))


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
