"""Small integers to bytes and back: bit packing or entropy coding, whichever is smaller.

A tensor of n codes is stored as its distinct `values` in ascending order, how often each occurs (`counts`), and
`data`. The symbol of an element is the index of its value. Two codings of the symbols, elements in C order:

* `bits`: w = ⌈log2 len(values)⌉ bits an element, element i at bits i·w … i·w + w - 1, least significant first, bit b
  being bit b mod 8 of byte ⌊b/8⌋; the last byte is filled up with zeros. All codes equal: w = 0, no data at all.
* `ans`: asymmetric numeral system with 64 bits of state, 32-bit little-endian words and 24-bit frequencies
  f_i = max(1, ⌊counts_i · 2²⁴ / n⌋), the symbol that occurs most (the first such) taking what is missing to 2²⁴.
  To decode: while the state (at first 0) is below 2³² and words are left, state = state · 2³² + last word, removed.
  Then n times: q = state mod 2²⁴; the symbol is the i with F_i ≤ q < F_i + f_i, where F_i = Σ_{j<i} f_j;
  state = ⌊state / 2²⁴⌋ · f_i + q - F_i; if it is below 2³² and a word is left, take it in as before.
  At the end the state is 0 and no word is left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Coding = Literal["bits", "ans"]
_PRECISION = 24
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Encoded:
    """The codes of one tensor as bytes."""

    coding: Coding
    values: tuple[int, ...]
    counts: tuple[int, ...]
    data: bytes


def encode(codes: Tensor) -> Encoded:
    """Encode a tensor of codes in the smaller of the two ways (`bits` on a draw).

    Args:
        codes: int8 tensor of any shape.
    """
    shifted = codes.cpu().contiguous().numpy().reshape(-1).view(np.uint8) ^ np.uint8(128)  # -128 … 127 to 0 … 255
    found = np.bincount(shifted, minlength=256)
    present = np.flatnonzero(found)
    values, counts = tuple((present - 128).tolist()), tuple(found[present].tolist())
    index_of = np.zeros(256, np.uint8)
    index_of[present] = np.arange(len(present))
    symbols = index_of[shifted]
    n, width = len(symbols), _width(values)
    # Sixty-four bits of state, and a little for the rounding of the frequencies.
    if 8 * math.ceil(n * width / 8) > n * entropy(counts) + 64:
        ans = _ans_encode(symbols, counts)
        if len(ans) < math.ceil(n * width / 8):
            return Encoded("ans", values, counts, ans)
    return Encoded("bits", values, counts, _pack(symbols, width))


def decode(encoded: Encoded) -> Tensor:
    """The codes again, in one dimension.

    Returns:
        int8 tensor of shape (sum of the counts,).

    Raises:
        ValueError: the data do not mean exactly these counts of these values.
    """
    values, counts, n = encoded.values, encoded.counts, sum(encoded.counts)
    ordered = all(a < b for a, b in itertools.pairwise(values))
    if not ordered or any(not -128 <= value <= 127 for value in values):
        raise ValueError("the values are not ascending integers in [-128, 127]")
    if len(counts) != len(values) or any(count < 1 for count in counts):
        raise ValueError("there is not one positive count for each value")
    if encoded.coding == "ans" and len(values) > 1:
        symbols = _ans_decode(encoded.data, counts)
    elif encoded.coding == "bits":
        symbols = _unpack(encoded.data, n, _width(values))
    else:
        raise ValueError(f"no coding {encoded.coding!r} for {len(values)} values")
    codes, found, meaning = np.empty(n, np.int8), np.zeros(len(values), np.int64), np.array(values, np.int8)
    for start in range(0, n, _BLOCK):  # in blocks: counting and looking up take eight bytes a symbol
        part = symbols[start : start + _BLOCK]
        if part.max() >= len(values):
            raise ValueError(f"symbol {part.max()} is beyond the {len(values)} values")
        found += np.bincount(part, minlength=len(values))
        codes[start : start + _BLOCK] = meaning[part]
    if found.tolist() != list(counts):
        raise ValueError(f"the data hold {found.tolist()} of the values {list(values)}, not {list(counts)}")
    return torch.from_numpy(codes)


def entropy(counts: Sequence[int]) -> float:
    """Bits per element of a source with these counts: -Σ p·log2 p, the least that any order-blind code needs."""
    n = sum(counts)
    return -sum(count / n * math.log2(count / n) for count in counts if count) + 0.0


def _width(values: Sequence[int]) -> int:
    return max(0, len(values) - 1).bit_length()


def _pack(symbols: np.ndarray, width: int) -> bytes:
    bits = symbols[:, None] >> np.arange(width, dtype=np.uint8) & 1 if width != 1 else symbols
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def _unpack(data: bytes, n: int, width: int) -> np.ndarray:
    if len(data) != math.ceil(n * width / 8):
        raise ValueError(f"{n} codes of {width} bits need {math.ceil(n * width / 8)} bytes, got {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[n * width :].any():
        raise ValueError("the bits after the last code are not zero")
    if width == 1:
        return bits[:n]
    symbols = np.zeros(n, np.uint8)
    for bit in range(width):
        symbols |= bits[bit : n * width : width] << np.uint8(bit)
    return symbols


def _frequencies(counts: Sequence[int]) -> np.ndarray:
    n = sum(counts)
    frequencies = [max(1, (count << _PRECISION) // n) for count in counts]
    frequencies[counts.index(max(counts))] += (1 << _PRECISION) - sum(frequencies)
    return np.array(frequencies)


def _ans(counts: Sequence[int], data: bytes | None = None):
    """(coder, model). constriction keeps frequencies that are whole multiples of 2⁻²⁴ exactly (tested)."""
    import constriction

    stream = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  a compiled submodule
    model = stream.model.Categorical(_frequencies(counts) / (1 << _PRECISION), perfect=True)
    coder = stream.stack.AnsCoder(*([] if data is None else [np.frombuffer(data, "<u4").astype(np.uint32)]))
    return coder, model


def _ans_encode(symbols: np.ndarray, counts: Sequence[int]) -> bytes:
    coder, model = _ans(counts)
    coder.encode_reverse(symbols.astype(np.int32), model)
    return coder.get_compressed().astype("<u4").tobytes()


def _ans_decode(data: bytes, counts: Sequence[int]) -> np.ndarray:
    if len(data) % 4 or not any(data[-4:]):
        raise ValueError("the entropy-coded data are not whole words that end in one other than 0")
    coder, model = _ans(counts, data)
    symbols = coder.decode(model, sum(counts))
    if not coder.is_empty():
        raise ValueError("entropy-coded data are left over after the last code")
    return symbols
