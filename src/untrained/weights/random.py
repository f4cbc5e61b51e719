"""Random units: ±1, uniform and normal numbers, a pure function of (seed, name, position) made from integers.

The definition, for other implementations (also in docs/format.md):

* **Words.** Philox4x32-10 turns a 128-bit counter and a 64-bit key into four 32-bit words. The key is the seed, low
  half first. Counter words 0 and 1 are the block number, low half first; words 2 and 3 are the first eight bytes of
  sha256(name in UTF-8), read as two little-endian 32-bit integers. Blocks 0, 1, 2 … give words 0-3, 4-7, 8-11 …
* **Units.** Element i of a tensor, counted in C order, is made from those words by integers and single correctly
  rounded float operations alone (no libm, no fused multiply-add):
  `signs` -1 or +1: bit i mod 32 (least significant first) of word ⌊i/32⌋, set for +1;
  `uniforms` (2·⌊word_i / 2⁸⌋ + 1 - 2²⁴) · 2⁻²⁴, exact in float32;
  `normals` the inverse normal distribution function (Wichura 1988, AS 241) at (2·word_i + 1) · 2⁻³³, evaluated in
  float64 in the order written below, then rounded to float32.

A longer tensor of the same name starts with the values of a shorter one. Thread count, device and versions of libraries
do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from untrained.native import load as load_kernels
from untrained.native.load import Stream

_LOW32 = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter: Sequence[np.ndarray], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Return four words by Philox4x32-10 from a counter of four words, which is overwritten, and a key of two.

    All elements are below 2³²; those of the words and the counter are uint64 arrays of one shape.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    c0, c1, c2, c3 = counter
    key0, key1 = key
    for _ in range(10):
        c0 *= _MULTIPLIERS[0]
        c2 *= _MULTIPLIERS[1]
        c1 ^= c2 >> _HIGH
        c1 ^= np.uint64(key0)
        c3 ^= c0 >> _HIGH
        c3 ^= np.uint64(key1)
        c0 &= _LOW32
        c2 &= _LOW32
        c0, c1, c2, c3 = c1, c2, c3, c0
        key0, key1 = (key0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (key1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(seed: int, name: str, first_block: int, blocks: int) -> np.ndarray:
    """Return words 4 · first_block … 4 · (first_block + blocks) - 1 of the stream (seed, name), "<u4"."""
    return _blocks(seed, name, np.arange(blocks, dtype=np.uint64) + np.uint64(first_block)).reshape(-1)


def _blocks(seed: int, name: str, number: np.ndarray) -> np.ndarray:
    """Return the four words of each of these blocks (uint64), a row each."""
    key, stream = _key(seed), _stream(name)
    counter = number & _LOW32, number >> _HIGH, np.full_like(number, stream[0]), np.full_like(number, stream[1])
    drawn = np.empty((len(number), 4), "<u4")
    for column, word in enumerate(philox4x32(counter, key)):
        drawn[:, column] = word
    return drawn


def _key(seed: int) -> tuple[int, int]:
    return seed & 0xFFFFFFFF, seed >> 32


def _stream(name: str) -> tuple[int, int]:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


# Each draw of units fills `out` (float32, one dimension) with unit · scale from block `first_block` of the stream on.


def signs(seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32) -> None:
    """Write ±1 · scale, 128 elements to a block."""
    if load_kernels.draw_signs(Stream(_key(seed), _stream(name), first_block, scale), out):
        return
    signed = _SIGNS_OF_A_BYTE * scale
    bytes_ = words(seed, name, first_block, -(-len(out) // 128)).view(np.uint8)
    whole, rest = divmod(len(out), 8)
    np.take(signed, bytes_[:whole], axis=0, out=out[: 8 * whole].reshape(-1, 8), mode="clip")
    if rest:
        out[8 * whole :] = signed[bytes_[whole], :rest]


def positive(seed: int, name: str, n: int) -> np.ndarray:
    """Return where the first n signs of a stream are +1: bool."""
    found = load_kernels.draw_positive(Stream(_key(seed), _stream(name), 0, np.float32(1)), n)
    if found is not None:
        return found
    return np.unpackbits(words(seed, name, 0, -(-n // 128)).view(np.uint8), count=n, bitorder="little").view(np.bool_)


def masked_signs(seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32, bits: np.ndarray) -> None:
    """Write ±1 · scale where bit i mod 8 of byte ⌊i/8⌋ of the mask (uint8) is set for out[i], and +0 elsewhere."""
    if load_kernels.draw_signs(Stream(_key(seed), _stream(name), first_block, scale), out, bits):
        return
    signs(seed, name, first_block, out, scale)
    as_integers = out.view(np.int32)
    as_integers &= -np.unpackbits(bits, count=len(out), bitorder="little").astype(np.int32)


def masked_signs_at(
    seed: int, name: str, first_block: int, places: np.ndarray, scale: np.float32, bits: np.ndarray
) -> np.ndarray:
    """Return the elements at `places` (int64) of the result of `masked_signs`, float32."""
    found = load_kernels.draw_signs_at(Stream(_key(seed), _stream(name), first_block, scale), places, bits)
    if found is not None:
        return found
    kept = bits[places // 8] >> (places % 8).astype(np.uint8) & np.uint8(1)
    return np.where(kept, signs_at(seed, name, np.array(first_block, np.uint64), places, scale), np.float32(0))


def ones(seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32) -> None:
    """Write +1 · scale, without a draw."""
    out.fill(scale)


def uniforms(seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32) -> None:
    """Write U(-1, 1) · scale, 4 elements to a block."""
    np.multiply(_uniform(words(seed, name, first_block, -(-len(out) // 4))[: len(out)]), scale, out=out)


def normals(seed: int, name: str, first_block: int, out: np.ndarray, scale: np.float32) -> None:
    """Write N(0, 1) · scale, 4 elements to a block."""
    np.multiply(_normal(words(seed, name, first_block, -(-len(out) // 4))[: len(out)]), scale, out=out)


# The same element by element: values of the draws at `places` (int64), from a first block per element.


def signs_at(seed: int, name: str, first: np.ndarray, places: np.ndarray, scale: np.float32) -> np.ndarray:
    """Return ±1 · scale of these elements, `first` being their first blocks (uint64)."""
    word = _blocks(seed, name, first + (places // 128).astype(np.uint64))
    word = word[np.arange(len(places)), places % 128 // 32]
    return np.where(word >> (places % 32).astype(np.uint32) & np.uint32(1), scale, -scale)


def uniforms_at(seed: int, name: str, first: np.ndarray, places: np.ndarray, scale: np.float32) -> np.ndarray:
    """Return U(-1, 1) · scale, as `signs_at`."""
    return _uniform(_words_at(seed, name, first, places)) * scale


def normals_at(seed: int, name: str, first: np.ndarray, places: np.ndarray, scale: np.float32) -> np.ndarray:
    """Return N(0, 1) · scale, as `signs_at`."""
    return _normal(_words_at(seed, name, first, places)) * scale


def _words_at(seed: int, name: str, first: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the words of elements that take one each."""
    return _blocks(seed, name, first + (places // 4).astype(np.uint64))[np.arange(len(places)), places % 4]


def _uniform(word: np.ndarray) -> np.ndarray:
    odd = (word >> np.uint32(8)).astype(np.int32) * 2 + (1 - (1 << 24))
    return odd.astype(np.float32) * np.float32(2.0**-24)


def _normal(word: np.ndarray) -> np.ndarray:
    """Return the normal number of each word.

    Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988 (PPND16).
    """
    q = (2 * word.astype(np.int64) + 1 - (1 << 32)).astype(np.float64) * 2.0**-33  # p - 1/2, exact
    z = q * _ratio(0.180625 - q * q, _CENTRE)
    outer = np.flatnonzero(np.abs(q) > 0.425)
    # With 32-bit words √(-ln p) stays below 5, so AS 241's third region is never reached.
    root = np.sqrt(-_log(0.5 - np.abs(q[outer])))
    z[outer] = np.copysign(_ratio(root - 1.6, _TAIL), q[outer])
    return z.astype(np.float32)


def _ratio(x: np.ndarray, coefficients: tuple[Sequence[float], Sequence[float]]) -> np.ndarray:
    """Return the quotient of two polynomials in x by Horner's rule, highest coefficient first."""
    above, below = np.zeros_like(x), np.zeros_like(x)
    for total, terms in zip((above, below), coefficients, strict=True):
        for term in terms:
            total *= x
            total += term
    return above / below


def _log(x: np.ndarray) -> np.ndarray:
    """Return ln x of positive normal float64 numbers from + - · / alone: 2·artanh((m-1)/(m+1)) + e·ln 2."""
    bits = x.view(np.int64)
    exponent = (bits >> 52) - 1022
    mantissa = ((bits & ((1 << 52) - 1)) | (1022 << 52)).view(np.float64)  # in [1/2, 1)
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    exponent = exponent - small
    t = (mantissa - 1.0) / (mantissa + 1.0)
    square = t * t
    series = np.zeros_like(t)
    for odd in range(23, 0, -2):
        series *= square
        series += 1.0 / odd
    return 2.0 * t * series + exponent * 0.6931471805599453


_SIGNS_OF_A_BYTE = np.where(np.arange(256)[:, None] >> np.arange(8) & 1, np.float32(1), np.float32(-1))
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip

Units = Callable[[int, str, int, np.ndarray, np.float32], None]
"""A draw: (seed, name, first block, out, scale) fills `out`."""
