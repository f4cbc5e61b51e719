"""Kernels that load a ticket, on numpy arrays: where there is none, the caller takes the plain path."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int64, c_uint32, c_uint64, c_void_p
from typing import NamedTuple

import numpy as np

from untrained.native.library import library


class Stream(NamedTuple):
    """Stream of signs: key and counter words, the first block, and the magnitude."""

    key: tuple[int, int]
    name: tuple[int, int]
    first_block: int
    scale: np.float32


class _Signs(ctypes.Structure):
    _fields_ = (("key", c_uint32 * 2), ("name", c_uint32 * 2), ("first", c_uint64), ("scale", c_float))


class _Coded(ctypes.Structure):
    _fields_ = (("words", c_void_p), ("left", c_int64), ("n", c_int64))
    _fields_ += (("frequency", c_uint64), ("out", c_void_p), ("state", c_uint64))


def draw_signs(stream: Stream, out: np.ndarray, bits: np.ndarray | None = None) -> bool:
    """Write ±scale to `out` (float32, C order), +0 where the bit (uint8, eight a byte) is not set; False: no kernel."""
    kernels = library()
    if kernels is None:
        return False
    kernels.draw_signs(_signs(stream), _at(bits), c_int64(len(out)), _at(out))
    return True


def draw_signs_at(stream: Stream, places: np.ndarray, bits: np.ndarray) -> np.ndarray | None:
    """Return the elements at `places` (int64, within the bits) of the result of `draw_signs`; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    out = np.empty(len(places), np.float32)
    kernels.draw_signs_at(_signs(stream), _at(bits), _at(places), c_int64(len(places)), _at(out))
    return out


def count_bits(data: np.ndarray) -> int | None:
    """Count the set bits of these bytes; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    kernels.count_bits.restype = c_int64
    return kernels.count_bits(_at(data), c_int64(len(data)))


def decode_two(coded: Sequence[tuple[bytes, int, int]]) -> list[np.ndarray | None] | None:
    """Decode the entropy-coded symbols of tensors with two values, all at once; None: no kernel.

    Args:
        coded: data (whole words), n, and the frequency of symbol 0 (of 2²⁴), of each tensor.

    Returns:
        uint8 symbols of each tensor, or None where the data do not end with the last symbol.
    """
    kernels = library()
    if kernels is None:
        return None
    words = [np.frombuffer(data, "<u4").astype(np.uint32, copy=False) for data, _, _ in coded]
    symbols = [np.empty(n, np.uint8) for _, n, _ in coded]
    # The longest first, so that few elements remain at the end, when fewer run in parallel.
    order = sorted(range(len(coded)), key=lambda i: -coded[i][1])
    parts = (_Coded * len(coded))(
        *(_Coded(_at(words[i]), len(words[i]), coded[i][1], coded[i][2], _at(symbols[i]), 0) for i in order)
    )
    kernels.decode_two(parts, c_int64(len(parts)))
    whole = {i: part.state == 0 and part.left == 0 for i, part in zip(order, parts, strict=True)}
    return [found if whole[i] else None for i, found in enumerate(symbols)]


def _signs(stream: Stream):
    signs = _Signs((c_uint32 * 2)(*stream.key), (c_uint32 * 2)(*stream.name))
    signs.first, signs.scale = stream.first_block, float(stream.scale)
    return ctypes.byref(signs)


def _at(array: np.ndarray | None) -> c_void_p:
    return c_void_p(None if array is None else array.ctypes.data)
