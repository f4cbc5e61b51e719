"""Codes of one tensor as bytes in format 2: values, levels, and one stream of bits; see docs/format.md, "Codes"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from untrained.native import contexts as kernels
from untrained.tickets import codec
from untrained.tickets.bits import (
    MOST,
    BitReader,
    BitWriter,
    level_of,
    read_together,
    read_tree,
    tree_counts,
    write_tree,
)
from untrained.tickets.contexts import HIGHEST, LOWEST, MOST_BINS, Effects, Layout, Seeded
from untrained.tickets.fitting import Choices, choose_layout

_PACKED = 0xFF
_BLOCK = 1 << 14


def encode(codes: np.ndarray, seeded: Seeded, free: np.ndarray | None) -> bytes:
    """Return the codes of a tensor as bytes.

    Args:
        codes: int8, one dimension: those of all elements.
        seeded: what the seed tells of the tensor.
        free: the elements whose codes are stored, bool; None: all.
    """
    own = codes if free is None else codes[free]
    found = np.roll(_count_bytes(own.view(np.uint8)), 128)
    present = np.flatnonzero(found) - 128
    if len(present) < 2:
        return varint(len(present)) + present.astype(np.int8).tobytes()
    commonest = int(found.argmax()) - 128
    values = np.array([commonest, *present[present != commonest]], np.int8)
    head = varint(len(values)) + values.tobytes()
    layout, _ = choose_layout(Choices((codes != commonest).view(np.uint8), free), seeded)
    coded = _write_stream(own, values, layout, _levels(layout, seeded, free))
    width = codec.width_of(len(values))
    if len(coded) < 1 + math.ceil(len(own) * width / 8):
        return head + coded
    return head + bytes([_PACKED]) + codec.pack(np.searchsorted(present, own).astype(np.uint8), width)


def _write_stream(own: np.ndarray, values: np.ndarray, layout: Layout, levels: np.ndarray) -> bytes:
    stream = BitWriter()
    side = bytearray([layout.bins | (0x80 if layout.signed else 0)])
    side += layout.levels.astype(np.int8).tobytes()
    for effects in (layout.rows, layout.columns):
        if effects is None:
            side.append(0)
            continue
        side.append(effects.step | (0x80 if effects.by_sign else 0))
        side += np.array([effects.first, len(effects.levels), *effects.levels], np.int8).tobytes()
        write_tree(stream, effects.levels, effects.numbers - effects.first)
    others = own != values[0]
    counts, ordered = _count_bytes(levels)[: 2 * MOST + 1], others[np.argsort(levels, kind="stable")]
    ends = np.cumsum(counts)
    for level in np.flatnonzero(counts).tolist():
        stream.add(level - MOST, ordered[ends[level] - counts[level] : ends[level]])
    symbols = np.searchsorted(values[1:], own[others]) if len(values) > 2 else np.zeros(0, np.int64)
    nodes = [level_of(*pair[::-1]) for pair in tree_counts(np.bincount(symbols, minlength=len(values) - 1))]
    side += np.array(nodes, np.int8).tobytes()
    write_tree(stream, nodes, symbols)
    return bytes(side) + stream.to_bytes()


def _levels(layout: Layout, seeded: Seeded, free: np.ndarray | None) -> np.ndarray:
    levels = layout.of_elements(seeded)
    return levels if free is None else levels[free]


class Job(NamedTuple):
    """Codes to be decoded: their bytes, what the seed tells of the tensor, the stored elements, and their number."""

    data: bytes
    seeded: Seeded
    free: np.ndarray | None
    n: int


def decode_each(jobs: Sequence[Job]) -> Iterator[codec.Coded]:
    """Yield the codes of each, decoded together to save time; raise the ValueError of one in its turn."""
    begun: list[_Begun | codec.Coded | ValueError] = []
    for job in jobs:
        try:
            begun.append(_begin(job))
        except ValueError as error:
            begun.append(error)
    streams = [each for each in begun if isinstance(each, _Begun)]
    runs = [(np.flatnonzero(each.counts) - MOST, each.counts[each.counts > 0]) for each in streams]
    bits = iter(read_together([each.stream for each in streams], runs) if streams else [])
    for each in begun:
        if isinstance(each, ValueError):
            raise each
        yield _finish(each, next(bits)) if isinstance(each, _Begun) else each


class _Begun(NamedTuple):
    """Stream that is read as far as the choice between the commonest value and the others."""

    stream: BitReader
    values: np.ndarray
    levels: np.ndarray
    counts: np.ndarray
    nodes: Sequence[int]


class Side:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        if self.at + n > len(self.data):
            raise ValueError("bytes are missing")
        self.at += n
        return self.data[self.at - n : self.at]

    def levels(self, n: int) -> np.ndarray:
        levels = np.frombuffer(self.take(n), np.int8).astype(np.int16)
        if n and levels.min() < -MOST:
            raise ValueError("a level is -128")
        return levels


def _begin(job: Job) -> _Begun | codec.Coded:
    side = Side(job.data)
    k = read_varint(side)
    values = np.frombuffer(side.take(k), np.int8) if k <= 256 else np.zeros(0, np.int8)
    others = values[1:].astype(np.int16)
    if (
        len(values) != k
        or (others[1:] <= others[:-1]).any()
        or (others == values[:1]).any()
        or (k == 0) != (job.n == 0)
    ):
        raise ValueError("the values are not different, or not in order")
    if k < 2:
        if side.at < len(job.data):
            raise ValueError("bytes are left over")
        return codec.Same(int(values[0]) if k else 0, job.n)
    kind = side.take(1)[0]
    if kind == _PACKED:
        return codec.unpack_values(side.take(len(job.data) - side.at), tuple(sorted(values.tolist())), job.n)
    if kind & 0x7F > MOST_BINS or kind == 0x80:
        raise ValueError(f"there are no bins of the kind {kind}")
    if kind and job.seeded.seed is None:
        raise ValueError("there are no bins of first scores without a seed")
    layout = Layout(kind & 0x7F, kind >= 0x80, side.levels(1 << (kind & 0x7F)))
    described = [_read_effects(side, job.seeded.law is not None) for _ in range(2)]
    nodes = side.levels(k - 2).tolist()
    stream = BitReader(side.take(len(job.data) - side.at))
    found: list[Effects | None] = []
    for its, n in zip(described, (job.seeded.rows, job.seeded.columns), strict=True):
        if its is not None:
            numbers = its.first + read_tree(stream, its.levels, n * (1 + its.by_sign))
            its = Effects(its.step, its.by_sign, numbers.astype(np.int16))
        found.append(its)
    levels = _levels(replace(layout, rows=found[0], columns=found[1]), job.seeded, job.free)
    return _Begun(stream, values, levels, _count_bytes(levels)[: 2 * MOST + 1], nodes)


def _count_bytes(data: np.ndarray) -> np.ndarray:
    counts = kernels.count_bytes(data)
    if counts is None:
        counts = np.zeros(256, np.int64)
        for start in range(0, len(data), _BLOCK):  # in blocks: `bincount` takes eight bytes an element
            counts += np.bincount(data[start : start + _BLOCK], minlength=256)
    return counts


class _Described(NamedTuple):
    """Effects whose numbers are not yet read."""

    step: int
    by_sign: bool
    first: int
    levels: Sequence[int]


def _read_effects(side: Side, signs_known: bool) -> _Described | None:
    kind = side.take(1)[0]
    if not kind:
        return None
    if kind == 0x80 or (kind > 0x80 and not signs_known):
        raise ValueError("effects without a step, or by a sign that is not known")
    first, choices = np.frombuffer(side.take(2), np.int8).tolist()
    if choices < 0 or not LOWEST <= first <= HIGHEST - choices:
        raise ValueError(f"there are no {choices} choices of effects from {first} on")
    return _Described(kind & 0x7F, kind >= 0x80, first, side.levels(choices).tolist())


def _finish(begun: _Begun, bits: np.ndarray) -> codec.Coded:
    stream, values, levels, counts, nodes = begun
    mask = values.tolist() in ([0, 1], [1, 0])
    packed = _placed(levels, counts, bits, opposite=mask and int(values[0]) == 1)
    others = None if mask else np.unpackbits(packed, count=len(levels), bitorder="little")
    places = np.zeros(0, np.int64) if others is None or len(values) == 2 else np.flatnonzero(others)
    symbols = read_tree(stream, nodes, len(places))
    stream.close()
    if others is None:
        return codec.Bits(packed, len(levels))
    codes = values[others] if len(values) == 2 else np.full(len(levels), values[0], np.int8)
    if len(values) > 2:
        codes[places] = values[1:][symbols]
    return torch.from_numpy(codes)


def _placed(levels: np.ndarray, counts: np.ndarray, bits: np.ndarray, opposite: bool) -> np.ndarray:
    """Return bits that are sorted by level in the order of the elements, or their opposites, eight a byte."""
    starts = np.cumsum(counts) - counts
    packed = kernels.place_bits(levels, bits, starts, opposite)
    if packed is None:
        placed = np.empty(len(levels), np.uint8)
        for level in np.flatnonzero(counts).tolist():
            placed[levels == level] = bits[starts[level] : starts[level] + counts[level]]
        packed = np.packbits(placed ^ np.uint8(opposite), bitorder="little")
    return packed


def varint(number: int) -> bytes:
    """Return a natural number in bytes of seven bits, the lowest first; all but the last have the highest bit set."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def read_varint(side: Side) -> int:
    """Read a natural number below 2⁶³ in seven bits a byte, in its shortest form."""
    number = 0
    for shift in range(0, 63, 7):
        (byte,) = side.take(1)
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                break
            return number
    raise ValueError("a number is not in its shortest form")
