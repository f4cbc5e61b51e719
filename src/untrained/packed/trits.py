"""Pack matrices of trits (-1, 0, 1) as words or as places; packed.cpp describes both layouts.

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
_FOUR = 4


def pack_words(trits: Tensor) -> Tensor:
    """Return trits (rows, columns), int8, as words (⌈rows/16⌉·16·⌈columns/18⌉): the bits of uint32, kept as int32."""
    rows, columns = trits.shape
    height, groups = -(-rows // _PADDING) * _PADDING, -(-columns // _COLUMNS)
    padded = np.zeros((height, groups * _COLUMNS), np.int8)
    padded[:rows, :columns] = trits.numpy()
    fives = _to_five_bits(padded.reshape(height, groups, len(_SHIFTS), len(_POWERS)) @ _POWERS)
    words = np.bitwise_or.reduce(fives << _SHIFTS, axis=2)
    blocks = [words[at : at + _BLOCK].T.ravel() for at in range(0, height, _BLOCK)]
    return torch.from_numpy(np.concatenate(blocks).view(np.int32)).clone()  # where torch aligns it: a tenth faster


def unpack_words(words: Tensor, rows: int, columns: int) -> Tensor:
    """Return the trits (rows, columns), int8, that `pack_words` packed."""
    height, groups = -(-rows // _PADDING) * _PADDING, -(-columns // _COLUMNS)
    flat = words.numpy().view(np.uint32)
    starts = range(0, height, _BLOCK)
    blocks = [flat[at * groups : min(at + _BLOCK, height) * groups].reshape(groups, -1).T for at in starts]
    fives = np.concatenate(blocks)[:, :, None] >> _SHIFTS & 31
    return torch.from_numpy(_TRITS[fives].reshape(height, -1)[:rows, :columns].copy())


def _to_five_bits(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of -13..13 as sign (1 bit) and magnitude (4 bits)."""
    return np.abs(numbers).astype(np.uint32) | (numbers < 0).astype(np.uint32) << 4


_DIGITS = np.array(list(itertools.product([-1, 0, 1], repeat=3)), np.int8)
_TRITS = np.zeros((32, 3), np.int8)  # by the five bits of their number
_TRITS[_to_five_bits(_DIGITS @ _POWERS)] = _DIGITS


def pack_places(trits: Tensor) -> tuple[Tensor, Tensor]:
    """Return trits (rows, columns), int8, as places in (x, -x, 0) and the starts (rows + 1) of the rows' lists.

    The places are the bits of uint16, kept as int16 where that is enough, else int32: torch can neither pickle nor
    copy unsigned ones everywhere.
    """
    rows, columns = trits.shape
    given = trits.numpy()
    row, place = np.nonzero(np.concatenate([given > 0, given < 0], axis=1))
    counts = np.bincount(row, minlength=rows)
    starts = np.concatenate([[0], np.cumsum(-(-counts // _FOUR) * _FOUR)])
    narrow = 2 * columns < 1 << 16
    places = np.full(starts[-1], 2 * columns, np.uint16 if narrow else np.uint32)
    places[np.arange(len(row)) + (starts[:-1] - (np.cumsum(counts) - counts))[row]] = place
    return torch.from_numpy(places.view(np.int16 if narrow else np.int32)), torch.from_numpy(starts.astype(np.int32))


def unpack_places(places: Tensor, starts: Tensor, columns: int) -> Tensor:
    """Return the trits (rows, columns), int8, that `pack_places` packed."""
    rows = len(starts) - 1
    found = np.zeros((rows, 2 * columns + 1), np.int8)
    found[np.repeat(np.arange(rows), np.diff(starts.numpy())), _as_unsigned(places)] = 1
    return torch.from_numpy(found[:, :columns] - found[:, columns:-1])


def check_places(places: Tensor, starts: Tensor, rows: int, columns: int) -> None:
    """Refuse lists with which a kernel would read beyond its inputs.

    Raises:
        ValueError: `pack_places` cannot give them for so many rows and columns.
    """
    lengths = np.diff(starts.cpu().numpy(), append=len(places))
    whole = len(starts) == rows + 1 and starts.dtype == torch.int32 and starts[0] == lengths[-1] == 0
    if not whole or (lengths < 0).any() or (lengths % _FOUR).any():
        raise ValueError(f"the starts of its {rows} lists are damaged")
    if len(places) and (most := _as_unsigned(places.cpu()).max()) > 2 * columns:
        raise ValueError(f"places must be at most {2 * columns}, for {columns} columns, got {most}")


def _as_unsigned(places: Tensor) -> np.ndarray:
    return places.numpy().view(np.uint16 if places.dtype is torch.int16 else np.uint32)
