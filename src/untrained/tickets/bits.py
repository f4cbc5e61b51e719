"""Entropy coding of bits of known probability: the stream of format 2, an asymmetric numeral system.

A probability is a *level* k in -127 … 127: the odds of a 1 against a 0 are 2^(k/8) to one. It is specified in
docs/format.md, "Streams".
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np

from untrained.native import load as load_kernels

MOST = 127
"""The highest level, and the lowest below 0."""
_ONE = 1 << 24
_BLOCK = 1 << 20
_ROOTS = (65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194)  # 2^(j/8) in units of 2⁻¹⁶


def _ones(level: int) -> int:
    """Return the frequency of a 1, of 2²⁴."""
    odds = _ROOTS[abs(level) % 8] << abs(level) // 8
    rarer = (1 << 40) // ((1 << 16) + odds)
    return rarer if level < 0 else _ONE - rarer


ONES = np.array([_ones(level) for level in range(-MOST, MOST + 1)])
"""Frequency of a 1 (of 2²⁴) at each level from -127 on."""


_BOUNDS = [2 ** ((2 * level - 1) / 16) for level in range(1 - MOST, MOST + 1)]  # of the odds of two levels


def level_of(ones: int, zeros: int) -> int:
    """Return the level that suits bits with so many ones and zeros."""
    return bisect.bisect(_BOUNDS, (2 * ones + 1) / (2 * zeros + 1)) - MOST


def levels_of(ones: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Return the levels that suit bits with so many ones and zeros each: int64."""
    return np.searchsorted(np.array(_BOUNDS), (2 * ones + 1) / (2 * zeros + 1), "right") - MOST


@final
class BitWriter:
    """Stream that is being written: runs of bits, each of one level."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, np.ndarray]] = []

    def add(self, level: int, bits: np.ndarray) -> None:
        """Append bits (of any integer dtype, each 0 or 1)."""
        if len(bits):
            self._runs.append((level, bits))

    def to_bytes(self) -> bytes:
        """Return the words of the stream."""
        coder, models = _coder(), {}
        for level, bits in reversed(self._runs):
            model = models.setdefault(level, _model(level))
            for end in range(len(bits), 0, -_BLOCK):  # the coder takes four bytes a bit
                coder.encode_reverse(bits[max(0, end - _BLOCK) : end].astype(np.int32), model)
        return coder.get_compressed().astype("<u4").tobytes()


@final
class BitReader:
    """Stream that is being read, from its first bit on.

    Raises:
        ValueError: the data are not whole words that end in one other than 0.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % 4 or not any(data[-4:]):
            raise ValueError("the stream is not whole words that end in one other than 0")
        words = np.frombuffer(data, "<u4").astype(np.uint32, copy=False)
        self._native = load_kernels.BitStream.of(words)
        self._coder = None if self._native is not None else _coder(words)

    def read(self, level: int, n: int) -> np.ndarray:
        """Return the next n bits, uint8."""
        (bits,) = read_together([self], [(np.array([level]), np.array([n]))])
        return bits

    def _read_plainly(self, levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
        assert self._coder is not None
        bits = np.empty(int(counts.sum()), np.uint8)
        ends = itertools.accumulate(counts.tolist())
        for level, n, end in zip(levels.tolist(), counts.tolist(), ends, strict=True):
            model = _model(level)
            for start in range(end - n, end, _BLOCK):
                part = bits[start : min(end, start + _BLOCK)]
                part[:] = self._coder.decode(model, len(part))
        return bits

    def close(self) -> None:
        """Check that the last bit has been read.

        Raises:
            ValueError: something is left over.
        """
        if not (self._native.is_empty() if self._native is not None else self._coder.is_empty()):  # pyright: ignore
            raise ValueError("the stream does not end with the last code")


def tree_counts(histogram: np.ndarray) -> list[tuple[int, int]]:
    """Return the zeros and ones of each choice of the binary tree by which symbols are coded, from their histogram.

    The symbols 0 … k - 1 are numbers of ⌈log2 k⌉ bits, the highest first. There is a choice for each bit and each value
    of those above it, in this order, but where all symbols below have a 0: k - 1 in all.
    """
    return [
        (int(histogram[start : start + (1 << shift)].sum()), int(histogram[start + (1 << shift) :][: 1 << shift].sum()))
        for shift, start in _choices(len(histogram))
    ]


def _choices(k: int) -> Iterator[tuple[int, int]]:
    """Yield, for each choice in the tree of k symbols, the place of its bit and the lowest symbol below."""
    for shift in reversed(range(max(0, k - 1).bit_length())):
        for start in range(0, k - (1 << shift), 2 << shift):
            yield shift, start


def write_tree(stream: BitWriter, levels: Sequence[int], symbols: np.ndarray) -> None:
    """Write symbols by the choices of their tree, each of one level."""
    for level, (shift, start) in zip(levels, _choices(len(levels) + 1), strict=True):
        stream.add(level, symbols[symbols >> shift + 1 == start >> shift + 1] >> shift & 1)


def read_tree(stream: BitReader, levels: Sequence[int], n: int) -> np.ndarray:
    """Return n symbols, int64."""
    symbols = np.zeros(n, np.int64)
    for level, (shift, start) in zip(levels, _choices(len(levels) + 1), strict=True):
        its = np.flatnonzero(symbols >> shift + 1 == start >> shift + 1)
        symbols[its] |= stream.read(level, len(its)).astype(np.int64) << shift
    return symbols


def read_together(readers: list[BitReader], runs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return the next runs of several streams, read side by side to save time: uint8.

    Args:
        readers: the streams.
        runs: the levels and the numbers of bits of each stream's runs.
    """
    streams = [reader._native for reader in readers]
    if any(stream is None for stream in streams):
        return [reader._read_plainly(*its) for reader, its in zip(readers, runs, strict=True)]
    zeros = [((_ONE - ONES[levels + MOST]).astype(np.uint32), counts.astype(np.int64)) for levels, counts in runs]
    return load_kernels.read_bits(streams, zeros)  # pyright: ignore[reportArgumentType]


def _coder(words: np.ndarray | None = None):
    import constriction

    ans = constriction.stream.stack.AnsCoder  # pyright: ignore[reportAttributeAccessIssue]  a compiled submodule
    return ans() if words is None else ans(words)


def _model(level: int):
    """Return the model; constriction keeps frequencies that are whole multiples of 2⁻²⁴ exactly (tested)."""
    import constriction

    ones = int(ONES[level + MOST])
    categorical = constriction.stream.model.Categorical  # pyright: ignore[reportAttributeAccessIssue]
    return categorical(np.array([_ONE - ones, ones]) / _ONE, perfect=True)
