"""Kernels for the contexts of codes, on numpy arrays: where there is none, the caller takes the plain path."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_uint32, c_void_p
from typing import NamedTuple

import numpy as np

from untrained.native.library import library


class Grid(NamedTuple):
    """Parts of the levels of a tensor's elements, in units of 1/256.

    Attributes:
        bins: of each element (rows, columns), uint8; None: all are in one.
        positive: the weights above 0, bool (rows, columns); None: they have no effects of their own.
        by_bin: int32.
        by_row, by_column: int32 (2, n), of weights below 0 and above; without `positive` only the first are used.
        shape: rows and columns.
    """

    bins: np.ndarray | None
    positive: np.ndarray | None
    by_bin: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray
    shape: tuple[int, int]


class _Grid(ctypes.Structure):
    _fields_ = (("rows", c_int64), ("columns", c_int64), ("bins", c_void_p), ("positive", c_void_p))
    _fields_ += (("by_bin", c_void_p), ("by_row", c_void_p * 2), ("by_column", c_void_p * 2))


def score_bins(seed: int, bits: int, signed: bool, n: int) -> np.ndarray | None:
    """Return the bins of n first scores, uint8; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    out = np.empty(n, np.uint8)
    kernels.score_bins(c_uint32(seed & 0xFFFFFFFF), c_int32(bits), c_int32(signed), c_int64(n), _at(out))
    return out


def find_levels(grid: Grid) -> np.ndarray | None:
    """Return the level of each element plus 127, uint8 in one dimension; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    out = np.empty(grid.shape[0] * grid.shape[1], np.uint8)
    kernels.find_levels(_pointers(grid), _at(out))
    return out


def sum_slopes(
    grid: Grid, codes: np.ndarray, free: np.ndarray | None, ones: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the sums of two derivatives over rows, columns (each (2, n, 2)) and bins (n, 2), int64; None: no kernel.

    Args:
        grid: the levels.
        codes: of each element, 0 or 1, uint8.
        free: the elements that count, bool; None: all.
        ones, slopes: the frequency of a 1 and its slope at each level from -127 on, int32.
    """
    kernels = library()
    if kernels is None:
        return None
    (rows, columns), bins = grid.shape, len(grid.by_bin)
    sums = np.zeros((2, rows, 2), np.int64), np.zeros((2, columns, 2), np.int64), np.zeros((bins, 2), np.int64)
    levels = np.empty(columns, np.uint8)
    given = (codes, free, ones, slopes, levels, *sums)
    kernels.sum_slopes(_pointers(grid), *map(_at, given))
    return sums


def count_effects(grid: Grid, codes: np.ndarray, free: np.ndarray | None, most: int) -> np.ndarray | None:
    """Count the elements of each bin, sum of effects (cut to ±most) and code: int64 (bins, 2·most + 1, 2).

    Args:
        grid: the effects, not in units of 1/256 but whole.
        codes, free: as in `sum_slopes`.
        most: the highest sum.

    Returns:
        The counts; None: no kernel.
    """
    kernels = library()
    if kernels is None:
        return None
    counts = np.zeros((len(grid.by_bin), 2 * most + 1, 2), np.int64)
    kernels.count_effects(_pointers(grid), _at(codes), _at(free), c_int32(most), _at(counts))
    return counts


def count_bytes(data: np.ndarray) -> np.ndarray | None:
    """Count each of the 256 bytes (uint8): int64; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    counts = np.empty(256, np.int64)
    kernels.count_bytes(_at(data), c_int64(len(data)), _at(counts))
    return counts


def place_bits(levels: np.ndarray, bits: np.ndarray, starts: np.ndarray, opposite: bool) -> np.ndarray | None:
    """Return the next bit of each element's level, eight a byte; None: no kernel.

    Args:
        levels: of the elements, uint8.
        bits: 0 or 1, uint8, sorted by level.
        starts: the place of each of 255 levels' first bit, int64.
        opposite: each bit is taken as the other.
    """
    kernels = library()
    if kernels is None:
        return None
    packed = np.empty(-(-len(levels) // 8), np.uint8)
    given = _at(levels), _at(bits), c_int64(len(levels)), _at(starts), c_int32(opposite), _at(packed)
    kernels.place_bits(*given)
    return packed


def _pointers(grid: Grid):
    (rows, columns), found = grid.shape, _Grid()
    found.rows, found.columns = rows, columns
    found.bins, found.positive, found.by_bin = _at(grid.bins), _at(grid.positive), _at(grid.by_bin)
    found.by_row = (c_void_p * 2)(*(each.ctypes.data for each in grid.by_row))
    found.by_column = (c_void_p * 2)(*(each.ctypes.data for each in grid.by_column))
    return ctypes.byref(found)


def _at(array: np.ndarray | None) -> c_void_p:
    return c_void_p(None if array is None else array.ctypes.data)
