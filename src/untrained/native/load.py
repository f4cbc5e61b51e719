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


class _Bits(ctypes.Structure):
    _fields_ = (("words", c_void_p), ("left", c_int64), ("state", c_uint64))
    _fields_ += (("counts", c_void_p), ("zeros", c_void_p), ("runs", c_int64), ("out", c_void_p))


class BitStream(NamedTuple):
    """Stream of entropy-coded bits, as far as it has been read."""

    words: np.ndarray
    at: _Bits

    @staticmethod
    def of(words: np.ndarray) -> BitStream | None:
        """Return the stream of these words (uint32, the last is read first); None: no kernel."""
        return None if library() is None else BitStream(words, _Bits(_at(words), len(words)))

    def is_empty(self) -> bool:
        return self.at.state == 0 and self.at.left == 0


def draw_signs(stream: Stream, out: np.ndarray, bits: np.ndarray | None = None) -> bool:
    """Write ±scale to `out` (float32, C order), +0 where the bit (uint8, eight a byte) is not set; False: no kernel."""
    kernels = library()
    if kernels is None:
        return False
    kernels.draw_signs(_signs(stream), _at(bits), c_int64(len(out)), _at(out))
    return True


def draw_positive(stream: Stream, n: int) -> np.ndarray | None:
    """Return where `draw_signs` gives +scale, bool; None: no kernel."""
    kernels = library()
    if kernels is None:
        return None
    out = np.empty(n, np.bool_)
    kernels.draw_positive(_signs(stream), c_int64(n), _at(out))
    return out


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


def read_bits(streams: Sequence[BitStream], runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Read the next bits of several streams, all at once.

    Args:
        streams: the streams.
        runs: of each the frequency of a 0 (of 2²⁴; uint32) and the number of bits (int64) of its runs.

    Returns:
        uint8 bits of each stream.
    """
    kernels = library()
    assert kernels is not None
    bits = [np.empty(int(counts.sum()), np.uint8) for _, counts in runs]
    # The longest first, so that few elements remain at the end, when fewer run in parallel.
    order = sorted(range(len(streams)), key=lambda i: -len(bits[i]))
    parts = (_Bits * len(streams))()
    for part, i in zip(parts, order, strict=True):
        at, (zeros, counts) = streams[i].at, runs[i]
        part.words, part.left, part.state = at.words, at.left, at.state
        part.counts, part.zeros, part.runs, part.out = _at(counts), _at(zeros), len(counts), _at(bits[i])
    kernels.read_bits(parts, c_int64(len(parts)))
    for part, i in zip(parts, order, strict=True):
        streams[i].at.left, streams[i].at.state = part.left, part.state
    return bits


def decode_two(coded: Sequence[tuple[bytes, int, int]]) -> list[np.ndarray | None] | None:
    """Decode the entropy-coded symbols of tensors with two values, all at once; None: no kernel.

    Args:
        coded: data (whole words), n, and the frequency of symbol 0 (of 2²⁴), of each tensor.

    Returns:
        uint8 symbols of each tensor, or None where the data do not end with the last symbol.
    """
    streams = [BitStream.of(np.frombuffer(data, "<u4").astype(np.uint32, copy=False)) for data, _, _ in coded]
    ready = [stream for stream in streams if stream is not None]
    if library() is None:
        return None
    symbols = read_bits(ready, [(np.array([zero], np.uint32), np.array([n])) for _, n, zero in coded])
    return [found if stream.is_empty() else None for stream, found in zip(ready, symbols, strict=True)]


def _signs(stream: Stream):
    signs = _Signs((c_uint32 * 2)(*stream.key), (c_uint32 * 2)(*stream.name))
    signs.first, signs.scale = stream.first_block, float(stream.scale)
    return ctypes.byref(signs)


def _at(array: np.ndarray | None) -> c_void_p:
    return c_void_p(None if array is None else array.ctypes.data)
