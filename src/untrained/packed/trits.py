"""Pack matrices of trits (-1, 0, 1) as words or as lists of steps: see packed_lookup.cpp and packed_indices.cpp.

In numpy, so that packed networks can be read without a compiler.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1024
_PADDING = 16
_POWERS = np.array([1, 3, 9], np.int8)
_SHIFTS = np.array([0, 5, 10, 16, 21, 26], np.uint32)
_COLUMNS = len(_POWERS) * len(_SHIFTS)

# What bits 0 to 2 and bits 2 to 4 of a code add to its three trits.
_LOW = np.array([[-1, -1, 0, 0, -1, 0, 1, 1], [-1, 0, -1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -1, 0]], np.int8).T
_HIGH = np.array([[0, 0, 0, 0, 0, 0, 1, 0], [0, -1, 0, 0, 1, 1, 0, 1], [-1, 0, 1, 0, -1, 0, 1, 1]], np.int8).T
_TRITS = np.array([_LOW[code & 7] + _HIGH[code >> 2] for code in range(32)])
_USED = [code for code in range(32) if not ((_TRITS[code] == 0) & (_LOW[code & 7] != 0)).any()]  # a 0 that rounds
_CODES = np.zeros(27, np.uint32)  # by the number t0 + 3 t1 + 9 t2, which is negative from the end
_CODES[_TRITS[_USED[::-1]] @ _POWERS] = _USED[::-1]

_SPAN = 85  # places from one 0 to the next
_TOGETHER = 8


def pack_words(trits: Tensor) -> Tensor:
    """Return trits (rows, columns), int8, as words (⌈rows/16⌉, 16·⌈columns/18⌉): the bits of uint32, kept as int32."""
    rows, columns = trits.shape
    height, groups = -(-rows // _PADDING) * _PADDING, -(-columns // _COLUMNS)
    padded = np.zeros((height, groups * _COLUMNS), np.int8)
    padded[:rows, :columns] = trits.numpy()
    fives = _CODES[padded.reshape(height, groups, len(_SHIFTS), len(_POWERS)) @ _POWERS]
    words = np.bitwise_or.reduce(fives << _SHIFTS, axis=2)
    blocks = [words[at : at + _BLOCK].T.ravel() for at in range(0, height, _BLOCK)]
    flat = torch.from_numpy(np.concatenate(blocks).view(np.int32)).clone()  # where torch aligns it: a tenth faster
    return flat.reshape(height // _PADDING, -1)


def unpack_words(words: Tensor, rows: int, columns: int) -> Tensor:
    """Return the trits (rows, columns), int8, that `pack_words` packed."""
    return _unpack_fives(words, rows, columns, _TRITS)


def _unpack_fives(words: Tensor, rows: int, columns: int, trits: np.ndarray) -> Tensor:
    height, groups = -(-rows // _PADDING) * _PADDING, -(-columns // _COLUMNS)
    flat = words.flatten().numpy().view(np.uint32)
    starts = range(0, height, _BLOCK)
    blocks = [flat[at * groups : min(at + _BLOCK, height) * groups].reshape(groups, -1).T for at in starts]
    fives = np.concatenate(blocks)[:, :, None] >> _SHIFTS & 31
    return torch.from_numpy(trits[fives].reshape(height, -1)[:rows, :columns].copy())


def pack_lists(trits: Tensor) -> tuple[Tensor, Tensor]:
    """Return trits (rows, columns), int8, as steps, and the starts of their groups followed by the order of the rows.

    The steps are bytes, or the bits of uint16, kept as int16, where that takes less; starts: (⌈rows/8⌉ + 1 + rows).
    """
    given = trits.numpy()
    row, place = np.nonzero(np.concatenate([given > 0, given < 0], axis=1))
    place += place // (_SPAN - 1)
    small, large = (_walk(row, place, len(given), steps) for steps in (np.uint8, np.uint16))
    steps, starts = small if small[0].nbytes <= large[0].nbytes else large
    return torch.from_numpy(steps if steps.itemsize == 1 else steps.view(np.int16)), torch.from_numpy(starts)


def _walk(
    row: np.ndarray, place: np.ndarray, rows: int, dtype: type[np.unsignedinteger]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps to these places, sorted by row and place, and the starts of their groups with the order."""
    most = int(np.iinfo(dtype).max)  # a multiple of _SPAN
    first = np.diff(row, prepend=-1) != 0
    before = np.where(first, 0, np.roll(place, 1))
    leap = (before + most - _SPAN + 1) // _SPAN * _SPAN + _SPAN - 1 - before  # to the last 0 within reach
    leaps = np.where(place - before > most, -(-(place - before - leap) // most), 0)
    ends = np.cumsum(leaps + 1)
    steps = np.full(ends[-1] if len(ends) else 0, most, dtype)
    steps[(ends - 1 - leaps)[leaps > 0]] = leap[leaps > 0]
    steps[ends - 1] = place - before - np.where(leaps > 0, leap + (leaps - 1) * most, 0)

    lengths = np.bincount(row, leaps + 1, rows).astype(np.int64)
    order = np.argsort(-lengths, kind="stable")
    heights = lengths[order[::_TOGETHER]]
    starts = np.concatenate([[0], np.cumsum(heights)]) * _TOGETHER
    lists = np.zeros(starts[-1], dtype)
    rank = np.argsort(order)
    base = starts[rank // _TOGETHER] + rank % _TOGETHER
    of_step = np.repeat(np.arange(rows), lengths)
    within = np.arange(len(steps)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    lists[base[of_step] + _TOGETHER * within] = steps
    last = np.zeros(rows, np.int64)
    last[row] = place
    shorter = np.flatnonzero(lengths < heights[rank // _TOGETHER])
    lists[(base + _TOGETHER * lengths)[shorter]] = _SPAN - 1 - last[shorter] % _SPAN
    return lists, np.concatenate([starts, order]).astype(np.int32)


def unpack_lists(steps: Tensor, starts: Tensor, rows: int, columns: int) -> Tensor:
    """Return the trits (rows, columns), int8, that `pack_lists` packed."""
    places, row = _follow(steps, starts, rows)
    found = np.zeros((rows + 1, 2 * columns + _SPAN), np.int8)
    found[row, np.where(_is_zero(places), 2 * columns, places - places // _SPAN)] = 1
    return torch.from_numpy(found[:rows, :columns] - found[:rows, columns : 2 * columns])


def _follow(steps: Tensor, starts: Tensor, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the place after every step and its row, both (steps / 8, 8); the last group may have lists of no row."""
    bounds, order = np.split(starts.numpy(), [-rows])
    group = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds) // _TOGETHER)
    sums = _as_unsigned(steps).reshape(-1, _TOGETHER).cumsum(axis=0, dtype=np.int64)
    before = np.concatenate([np.zeros((1, _TOGETHER), np.int64), sums])[bounds[:-1] // _TOGETHER]
    lists = np.pad(order, (0, -rows % _TOGETHER), constant_values=rows).reshape(-1, _TOGETHER)
    return sums - before[group], lists[group]


def _is_zero(places: np.ndarray) -> np.ndarray:
    return places % _SPAN == _SPAN - 1


def read(codes: Tensor, starts: Tensor | None, rows: int, columns: int) -> tuple[Tensor, Tensor | None]:
    """Return codes as the kernels take them: those of today checked, those of earlier versions packed anew.

    Raises:
        ValueError: no matrix of so many rows and columns has such codes; a kernel would leave its memory.
    """
    height, groups = -(-rows // _PADDING), -(-columns // _COLUMNS)
    device = codes.device
    if starts is None:
        if codes.dtype is not torch.int32 or codes.numel() != height * _PADDING * groups or codes.dim() not in (1, 2):
            raise ValueError(f"there must be {height * _PADDING * groups} words of int32, got {_describe(codes)}")
        if codes.dim() == 2:
            return codes, None
        return pack_words(_unpack_fives(codes.cpu(), rows, columns, _OLD_TRITS)).to(device), None
    if codes.dim() != 1 or starts.dim() != 1 or starts.dtype is not torch.int32:
        raise ValueError(f"the starts of its {rows} lists are damaged")
    if len(starts) == rows + 1:
        trits = _unpack_places(codes.cpu(), starts.cpu(), rows, columns)
        steps, starts = pack_lists(trits)
        return steps.to(device), starts.to(device)
    _check_lists(codes.cpu(), starts.cpu(), rows, columns)
    return codes, starts


def _describe(codes: Tensor) -> str:
    return f"{tuple(codes.shape)} of {str(codes.dtype).removeprefix('torch.')}"


def _check_lists(steps: Tensor, starts: Tensor, rows: int, columns: int) -> None:
    if steps.dtype not in (torch.uint8, torch.int16):
        raise ValueError(f"steps must be uint8 or int16, got {_describe(steps)}")
    groups = -(-rows // _TOGETHER)
    bounds, order = np.split(starts.numpy(), [groups + 1])
    whole = len(starts) == groups + 1 + rows and bounds[0] == 0 and bounds[-1] == len(steps)
    if not whole or (np.diff(bounds) < 0).any() or (bounds % _TOGETHER).any():
        raise ValueError(f"the starts of its {rows} lists are damaged")
    if not np.array_equal(np.sort(order), np.arange(rows)):
        raise ValueError(f"the order of its {rows} lists is damaged")
    most = -(-2 * columns // (_SPAN - 1)) * _SPAN
    places, row = _follow(steps, starts, rows)
    if len(places) and places.max() >= most:
        raise ValueError(f"places must be less than {most}, for {columns} columns, got {places.max()}")
    stays = (places[1:] == places[:-1]) & (row[1:] == row[:-1]) & (row[1:] < rows)
    if (stays & ~_is_zero(places[1:])).any():
        raise ValueError("a list names a place twice")


def _as_unsigned(steps: Tensor) -> np.ndarray:
    return steps.numpy().view({torch.uint8: np.uint8, torch.int16: np.uint16}.get(steps.dtype, np.uint32))


# Earlier versions had the number t0 + 3 t1 + 9 t2 as magnitude (4 bits) and sign (1 bit), and lists of places in
# (x, -x, 0) with the starts of all rows.
_DIGITS = np.array(list(itertools.product([-1, 0, 1], repeat=3)), np.int8)
_OLD_TRITS = np.zeros((32, 3), np.int8)
_OLD_TRITS[abs(_DIGITS @ _POWERS) | (_DIGITS @ _POWERS < 0) << 4] = _DIGITS


def _unpack_places(places: Tensor, starts: Tensor, rows: int, columns: int) -> Tensor:
    lengths = np.diff(starts.numpy(), append=len(places))
    if starts[0] != 0 or lengths[-1] != 0 or (lengths < 0).any() or places.dtype not in (torch.int16, torch.int32):
        raise ValueError(f"the starts of its {rows} lists are damaged")
    if len(places) and (most := _as_unsigned(places).max()) > 2 * columns:
        raise ValueError(f"places must be at most {2 * columns}, for {columns} columns, got {most}")
    found = np.zeros((rows, 2 * columns + 1), np.int8)
    found[np.repeat(np.arange(rows), lengths[:-1]), _as_unsigned(places)] = 1
    return torch.from_numpy(found[:, :columns] - found[:, columns:-1])
