"""Coding of small integers as bytes: bit packing or entropy coding, the smaller of the two.

The two codings are specified in docs/format.md, "Codes".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from untrained.native import load as load_kernels

_PRECISION = 24
_BLOCK = 1 << 20
_PADDING = "the bits after the last code are not zero"


@dataclass(frozen=True)
class Encoded:
    """Codes of one tensor as bytes."""

    coding: str
    values: tuple[int, ...]
    counts: tuple[int, ...]
    data: bytes


def encode(codes: Tensor) -> Encoded:
    """Encode a tensor of codes (int8, any shape) in the smaller of the two ways, or `bits` if they are equal."""
    shifted = codes.cpu().contiguous().numpy().reshape(-1).view(np.uint8) ^ np.uint8(128)  # -128 … 127 to 0 … 255
    found = np.bincount(shifted, minlength=256)
    present = np.flatnonzero(found)
    values, counts = tuple((present - 128).tolist()), tuple(found[present].tolist())
    index_of = np.zeros(256, np.uint8)
    index_of[present] = np.arange(len(present))
    symbols = index_of[shifted]
    n, width = len(symbols), width_of(len(values))
    # Sixty-four bits of state, and a little for the rounding of the frequencies.
    if 8 * math.ceil(n * width / 8) > n * entropy(counts) + 64:
        ans = _ans_encode(symbols, counts)
        if len(ans) < math.ceil(n * width / 8):
            return Encoded("ans", values, counts, ans)
    return Encoded("bits", values, counts, pack(symbols, width))


def decode(encoded: Encoded) -> Tensor:
    """Return the codes again: int8, in one dimension.

    Raises:
        ValueError: the data do not hold exactly these counts of these values.
    """
    decoded = next(decode_each([encoded]))
    return decoded if isinstance(decoded, Tensor) else decoded.codes()


@final
@dataclass(frozen=True)
class Bits:
    """Codes 0 and 1, eight a byte as `bits` packs them."""

    data: np.ndarray
    n: int

    def codes(self) -> Tensor:
        return torch.from_numpy(np.unpackbits(self.data, count=self.n, bitorder="little").view(np.int8))


@final
@dataclass(frozen=True)
class Same:
    """Codes that are all equal: a file of a few bytes may claim billions of them."""

    code: int
    n: int

    def codes(self) -> Tensor:
        return torch.full((self.n,), self.code, dtype=torch.int8, device="cpu")


@final
class Codes(Mapping[str, Tensor]):
    """Codes by name; masks stay packed, and equal codes one number, until they are read."""

    def __init__(self, held: Mapping[str, tuple[Coded, tuple[int, ...]]]) -> None:
        self._held = dict(held)

    def __getitem__(self, name: str) -> Tensor:
        codes, shape = self._held[name]
        if not isinstance(codes, Tensor):
            codes = codes.codes()
            self._held[name] = codes, shape
        return codes.reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def bits(self, name: str) -> np.ndarray | None:
        """Return the packed mask (uint8) as long as it is one."""
        codes, _ = self._held[name]
        return codes.data if isinstance(codes, Bits) else None


def mask_bits(codes: Mapping[str, Tensor], name: str) -> np.ndarray:
    """Return the mask of a tensor, eight codes a byte as `bits` packs them: uint8."""
    bits = codes.bits(name) if isinstance(codes, Codes) else None
    if bits is not None:
        return bits
    return np.packbits(codes[name].cpu().contiguous().numpy().reshape(-1) != 0, bitorder="little")


Coded = Tensor | Bits | Same
"""Codes as they are held until they are read."""


def decode_each(encoded: Sequence[Encoded]) -> Iterator[Coded]:
    """Yield the decoded codes of each, decoded together to save time; raise the ValueError of one in its turn.

    Bit-coded masks stay packed, and equal codes one number.
    """
    two = [i for i, one in enumerate(encoded) if one.coding == "ans" and len(one.values) == 2 and not _find_fault(one)]
    ahead = dict(zip(two, _ans_decode_two([encoded[i] for i in two]), strict=True))
    for i, one in enumerate(encoded):
        if fault := _find_fault(one):
            raise ValueError(fault)
        if one.coding == "bits" and one.values == (0, 1):
            bits = _bits(one.data, sum(one.counts))
            ones = _count_ones(bits)
            _check_counts(one, [bits.n - ones, ones])
            yield bits
            continue
        if len(one.values) == 1:
            _check_length(one.data, one.counts[0], 0)
            yield Same(one.values[0], one.counts[0])
            continue
        if one.coding == "bits":
            symbols = _unpack(one.data, sum(one.counts), width_of(len(one.values)))
        else:
            symbols = ahead.pop(i) if i in ahead else _ans_decode(one.data, one.counts)
        if symbols is None:
            raise ValueError("the entropy-coded data do not end with the last code")
        yield _codes(one, symbols)


def _find_fault(encoded: Encoded) -> str:
    """Return the fault that is found without decoding; an empty string if there is none."""
    values, counts = encoded.values, encoded.counts
    if any(a >= b for a, b in itertools.pairwise(values)) or any(not -128 <= value <= 127 for value in values):
        return "the values are not ascending integers in [-128, 127]"
    if len(counts) != len(values) or any(count < 1 for count in counts):
        return "there is not one positive count for each value"
    if encoded.coding != "bits" and (encoded.coding != "ans" or len(values) < 2):
        return f"no coding {encoded.coding!r} for {len(values)} values"
    if encoded.coding == "ans" and (len(encoded.data) % 4 or not any(encoded.data[-4:])):
        return "the entropy-coded data are not whole words that end in one other than 0"
    return ""


def _codes(encoded: Encoded, symbols: np.ndarray) -> Tensor:
    """Return the codes of the symbols, if their counts are those of the header."""
    values, n = encoded.values, len(symbols)
    if len(values) == 2:  # symbols of one bit: nearly every ticket's
        ones = int(np.count_nonzero(symbols.view(np.bool_)))
        found = [n - ones, ones]
        # -128 … 127 are 128 … 255, 0 … 127 modulo 256; (0, 1), a mask, stays the same.
        codes = symbols if values == (0, 1) else symbols * np.uint8(values[1] - values[0]) + np.uint8(values[0] % 256)
        codes = codes.view(np.int8)
    else:
        codes, total, meaning = np.empty(n, np.int8), np.zeros(len(values), np.int64), np.array(values, np.int8)
        for start in range(0, n, _BLOCK):  # in blocks: counting and looking up take eight bytes a symbol
            part = symbols[start : start + _BLOCK]
            if part.max() >= len(values):
                raise ValueError(f"symbol {part.max()} is beyond the {len(values)} values")
            total += np.bincount(part, minlength=len(values))
            codes[start : start + _BLOCK] = meaning[part]
        found = total.tolist()
    _check_counts(encoded, found)
    return torch.from_numpy(codes)


def unpack_values(data: bytes, values: tuple[int, ...], n: int) -> Coded:
    """Return n codes that are packed as indices of their values; a mask stays packed.

    Raises:
        ValueError: the data are not as long as that, or the bits after the last code are not zero.
    """
    if values == (0, 1):
        return _bits(data, n)
    symbols = _unpack(data, n, width_of(len(values)))
    if len(symbols) and symbols.max() >= len(values):
        raise ValueError(f"symbol {symbols.max()} is beyond the {len(values)} values")
    return torch.from_numpy(np.array(values, np.int8)[symbols])


def _bits(data: bytes, n: int) -> Bits:
    """Return a mask, checked and still packed."""
    packed = np.frombuffer(data, np.uint8)
    _check_length(data, n, 1)
    if n % 8 and packed[-1] >> n % 8:
        raise ValueError(_PADDING)
    return Bits(packed, n)


def _count_ones(bits: Bits) -> int:
    ones = load_kernels.count_bits(bits.data)
    return int.from_bytes(bits.data.tobytes(), "little").bit_count() if ones is None else ones


def _check_counts(encoded: Encoded, found: Sequence[int]) -> None:
    if list(found) != list(encoded.counts):
        raise ValueError(f"the data hold {found} of the values {list(encoded.values)}, not {list(encoded.counts)}")


def entropy(counts: Sequence[int]) -> float:
    """Return bits per element for these counts: -Σ p·log2 p, the least that a code needs which ignores the order."""
    n = sum(counts)
    return -sum(count / n * math.log2(count / n) for count in counts if count) + 0.0


def width_of(values: int) -> int:
    """Return the bits of an index of so many values."""
    return max(0, values - 1).bit_length()


def pack(symbols: np.ndarray, width: int) -> bytes:
    """Return symbols (uint8) as so many bits each."""
    bits = symbols[:, None] >> np.arange(width, dtype=np.uint8) & 1 if width != 1 else symbols
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


def _check_length(data: bytes, n: int, width: int) -> None:
    if len(data) != math.ceil(n * width / 8):
        raise ValueError(f"{n} codes of {width} bits need {math.ceil(n * width / 8)} bytes, got {len(data)}")


def _unpack(data: bytes, n: int, width: int) -> np.ndarray:
    _check_length(data, n, width)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[n * width :].any():
        raise ValueError(_PADDING)
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
    """Return (coder, model); constriction keeps frequencies that are whole multiples of 2⁻²⁴ exactly (tested)."""
    import constriction

    stream = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  a compiled submodule
    model = stream.model.Categorical(_frequencies(counts) / (1 << _PRECISION), perfect=True)
    coder = stream.stack.AnsCoder(*([] if data is None else [np.frombuffer(data, "<u4").astype(np.uint32)]))
    return coder, model


def _ans_encode(symbols: np.ndarray, counts: Sequence[int]) -> bytes:
    coder, model = _ans(counts)
    coder.encode_reverse(symbols.astype(np.int32), model)
    return coder.get_compressed().astype("<u4").tobytes()


def _ans_decode(data: bytes, counts: Sequence[int]) -> np.ndarray | None:
    """Return the symbols; None if the data do not end with the last of them."""
    coder, model = _ans(counts, data)
    symbols = np.empty(sum(counts), np.uint8)
    for start in range(0, len(symbols), _BLOCK):  # the coder gives four bytes a symbol
        part = symbols[start : start + _BLOCK]
        part[:] = coder.decode(model, len(part))
    return symbols if coder.is_empty() else None


def _ans_decode_two(encoded: Sequence[Encoded]) -> list[np.ndarray | None]:
    """Decode several tensors of two values each as `_ans_decode` does."""
    jobs = [(one.data, sum(one.counts), int(_frequencies(one.counts)[0])) for one in encoded]
    found = load_kernels.decode_two(jobs)
    return [_ans_decode(one.data, one.counts) for one in encoded] if found is None else found
