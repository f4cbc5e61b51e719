"""Codes to bytes and back: round trips, the entropy bound, a decoder written again from docs/format.md, refusals."""

import itertools
import math
import struct
from collections import Counter
from dataclasses import replace

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.tickets import codec
from untrained.tickets.codec import Codes, Encoded, Same, decode, decode_each, encode, entropy, mask_bits


def tensor_of(flat, shape=None):
    return torch.tensor(flat, dtype=torch.int8).reshape((len(flat),) if shape is None else shape)


def skewed(n, share, values=(0, 1), seed=0):
    """n codes, `share` of which are spread over all values but the first."""
    generator = torch.Generator().manual_seed(seed)
    rare = torch.randint(1, len(values), (n,), generator=generator)
    picked = torch.where(torch.rand(n, generator=generator) < share, rare, 0)
    return torch.tensor(values, dtype=torch.int8)[picked]


def bits_bytes(encoded):
    return math.ceil(sum(encoded.counts) * max(0, len(encoded.values) - 1).bit_length() / 8)


@st.composite
def code_tensors(draw):
    shape = draw(st.lists(st.integers(0, 9), max_size=4))
    n = math.prod(shape)
    alphabet = draw(st.lists(st.integers(-128, 127), min_size=1, max_size=256, unique=True))
    weights = np.array([draw(st.sampled_from([1, 1, 50])) for _ in alphabet[:8]] + [1] * len(alphabet[8:]))
    picked = np.random.default_rng(draw(st.integers(0, 99))).choice(alphabet, n, p=weights / weights.sum())
    return torch.from_numpy(picked.astype(np.int8)).reshape(shape)


# --- docs/format.md, written again ---


def naive_frequencies(counts):
    n = sum(counts)
    frequencies = [max(1, count * 2**24 // n) for count in counts]
    frequencies[counts.index(max(counts))] += 2**24 - sum(frequencies)
    return frequencies


def naive_ans(data, counts):
    """The symbols, the state that is left and the words that are left."""
    words, state, symbols = list(struct.unpack(f"<{len(data) // 4}I", data)), 0, []
    frequencies = naive_frequencies(list(counts))
    starts = list(itertools.accumulate(frequencies, initial=0))
    while state < 2**32 and words:
        state = state * 2**32 + words.pop()
    for _ in range(sum(counts)):
        q = state % 2**24
        symbol = next(i for i in range(len(counts)) if starts[i] <= q < starts[i + 1])
        state = (state // 2**24) * frequencies[symbol] + q - starts[symbol]
        if state < 2**32 and words:
            state = state * 2**32 + words.pop()
        symbols.append(symbol)
    return symbols, state, words


def naive_bits(data, counts):
    width = max(0, len(counts) - 1).bit_length()
    bits = [byte >> bit & 1 for byte in data for bit in range(8)]
    return [sum(bits[i * width + k] << k for k in range(width)) for i in range(sum(counts))]


# --- round trips ---


@given(code_tensors())
@settings(max_examples=150)
def test_codes_come_back(codes):
    encoded = encode(codes)
    assert torch.equal(decode(encoded).reshape(codes.shape), codes)
    assert decode(encoded).dtype == torch.int8
    assert dict(zip(encoded.values, encoded.counts, strict=True)) == Counter(codes.flatten().tolist())
    assert list(encoded.values) == sorted(encoded.values)
    assert len(encoded.data) <= bits_bytes(encoded)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1, 1), (7,), (8,), (9,)])
@pytest.mark.parametrize("value", [-128, 0, 127])
def test_codes_that_are_all_equal_take_no_byte(shape, value):
    codes = torch.full(shape, value, dtype=torch.int8)
    encoded = encode(codes)
    assert (encoded.coding, encoded.data) == ("bits", b"")
    assert torch.equal(decode(encoded).reshape(shape), codes)


def test_equal_codes_are_made_when_they_are_looked_at():
    (same,) = decode_each([Encoded("bits", (-3,), (2**50,), b"")])
    assert same == Same(-3, 2**50)
    codes = Codes({"w": (Same(-3, 6), (2, 3)), "v": (Same(0, 9), (9,))})
    assert mask_bits(codes, "w").tolist() == [0b111111] and mask_bits(codes, "v").tolist() == [0, 0]
    assert torch.equal(codes["w"], torch.full((2, 3), -3, dtype=torch.int8))


@pytest.mark.parametrize("values", [2, 3, 4, 5, 16, 17, 128, 129, 256])
def test_codes_of_few_values_are_entropy_coded_as_documented(values):
    codes = skewed(3000, 0.02, tuple(range(-128, -128 + values)))
    encoded = encode(codes)
    symbols, state, left = naive_ans(encoded.data, encoded.counts)
    assert (encoded.coding, state, left) == ("ans", 0, [])
    assert [encoded.values[symbol] for symbol in symbols] == codes.tolist()


@pytest.mark.parametrize("values", [1, 2, 4, 8, 16, 32, 64, 128, 256])
def test_codes_of_even_chances_are_packed_as_documented(values):
    # With a power of two of values, each as often as every other, entropy coding has nothing to gain.
    codes = torch.arange(-128, -128 + values).to(torch.int8).repeat(5)
    encoded = encode(codes)
    assert encoded.coding == "bits"
    assert [encoded.values[symbol] for symbol in naive_bits(encoded.data, encoded.counts)] == codes.tolist()


def test_bits_are_laid_out_as_documented():
    # Ten codes of two values fill byte 0 from its least significant bit, and two bits of byte 1.
    assert encode(tensor_of([1, 0, 0, 1, 1, 0, 1, 0, 1, 1])).data == bytes([0b01011001, 0b11])
    # Two bits an element: symbols 0, 1, 2, 3 and 3.
    assert encode(tensor_of([-1, 0, 5, 9, 9])) == Encoded("bits", (-1, 0, 5, 9), (1, 1, 1, 2), bytes([0b11100100, 3]))


def test_the_memory_layout_changes_nothing():
    codes = skewed(4096, 0.1).reshape(64, 64)
    assert encode(codes.t().contiguous().t()) == encode(codes)
    assert encode(codes[::2, ::2]) == encode(codes[::2, ::2].clone())


@pytest.mark.parametrize("share", [0.5, 0.3, 0.1, 0.05, 0.001])
@pytest.mark.parametrize("values", [(0, 1), (-1, 0, 1), tuple(range(-8, 8))])
def test_long_codes_take_what_entropy_allows(share, values):
    encoded = encode(skewed(100_000, share, values))
    bound = sum(encoded.counts) * entropy(encoded.counts) / 8
    assert len(encoded.data) <= bound * 1.005 + 8  # and the state of the coder
    assert len(encoded.data) >= math.floor(bound * (1 - 1e-9))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_entropy_is_that_of_the_counts(counts):
    shares = np.array(counts) / sum(counts)
    assert entropy(counts) == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-12)
    assert 0 <= entropy(counts) <= math.log2(len(counts)) + 1e-9


def test_the_entropy_of_nothing_is_zero():
    assert entropy([]) == entropy([0, 5]) == 0.0


# --- constriction does what docs/format.md says ---

COUNTS = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 2**40)), min_size=2, max_size=256)


@given(COUNTS)
@settings(max_examples=60)
def test_frequencies_are_the_documented_ones(counts):
    frequencies = codec._frequencies(counts)
    assert frequencies.tolist() == naive_frequencies(counts)
    assert frequencies.sum() == 2**24 and frequencies.min() >= 1


@given(COUNTS, st.integers(0, 2**32))
@settings(max_examples=60)
def test_constriction_keeps_the_frequencies_exactly(counts, seed):
    # q = state mod 2²⁴ decides the symbol: probe it at both edges of symbols' intervals, one decoding step each.
    frequencies = naive_frequencies(counts)
    starts = list(itertools.accumulate(frequencies, initial=0))
    model = constriction.stream.model.Categorical(np.array(frequencies) / 2**24, perfect=True)
    for i in np.random.default_rng(seed).integers(0, len(counts), 12):
        for q in (starts[i], starts[i + 1] - 1):
            coder = constriction.stream.stack.AnsCoder(np.array([q, 1], np.uint32))
            assert coder.decode(model) == i


@given(st.lists(st.integers(1, 60), min_size=2, max_size=9), st.integers(0, 99))
def test_entropy_coded_data_are_decoded_as_documented(counts, seed):
    symbols = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint8)
    data = codec._ans_encode(symbols, counts)
    assert naive_ans(data, counts) == (symbols.tolist(), 0, [])
    encoded = Encoded("ans", tuple(range(len(counts))), tuple(counts), data)
    assert decode(encoded).tolist() == symbols.tolist()


@given(st.binary(max_size=40), st.lists(st.integers(1, 12), min_size=2, max_size=5))
@settings(max_examples=300)
def test_any_data_are_decoded_as_documented_or_refused(data, counts):
    encoded = Encoded("ans", tuple(range(len(counts))), tuple(counts), data)
    whole = len(data) % 4 == 0 and any(data[-4:])
    symbols, state, left = naive_ans(data, counts) if whole else ([], 1, [])
    if state or left or [symbols.count(i) for i in range(len(counts))] != counts:
        with pytest.raises(ValueError):
            decode(encoded)
    else:
        assert decode(encoded).tolist() == symbols


# --- refusals ---

BITS = encode(tensor_of([0, 1, 2, 0, 1, 0, 0]))  # 14 bits of 16
ANS = encode(skewed(2000, 0.05))


def words_of(data):
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def bytes_of(words):
    return struct.pack(f"<{len(words)}I", *words)


MALFORMED = {
    "too short": replace(BITS, data=BITS.data[:-1]),
    "too long": replace(BITS, data=BITS.data + b"\0"),
    "no data": replace(BITS, data=b""),
    "padding not zero": replace(BITS, data=BITS.data[:-1] + bytes([BITS.data[-1] | 0x80])),
    "a symbol beyond the values": replace(BITS, data=b"\xff\x3f"),
    "counts of others": replace(BITS, counts=(3, 3, 1)),
    "a count too few": replace(BITS, counts=BITS.counts[:-1]),
    "a count too many": replace(BITS, counts=(*BITS.counts, 1)),
    "a count of zero": Encoded("bits", (0, 1), (8, 0), b"\0"),
    "a negative count": Encoded("bits", (0, 1), (9, -1), b"\0"),
    "counts beyond any memory": Encoded("bits", (0, 1), (2**70, 1), b"\0"),
    "a value that does not occur": Encoded("bits", (0, 1), (4, 4), b"\xff"),
    "unordered values": replace(BITS, values=(1, 0, 2)),
    "equal values": replace(BITS, values=(0, 0, 2)),
    "values above int8": replace(BITS, values=(0, 1, 128)),
    "values below int8": replace(BITS, values=(-129, 1, 2)),
    "data for one value": Encoded("bits", (1,), (8,), b"\xff"),
    "data for no value": Encoded("bits", (), (), b"\0"),
    "values without counts": Encoded("bits", (1,), (), b""),
    "counts without values": Encoded("bits", (), (1,), b""),
    "another coding": replace(BITS, coding="zip"),
    "no coding": replace(BITS, coding=""),
    "ans for one value": Encoded("ans", (1,), (8,), b"\1\0\0\0"),
    "ans for no value": Encoded("ans", (), (), b""),
    "half a word": replace(ANS, data=ANS.data[:-2]),
    "no words": replace(ANS, data=b""),
    "zero last word": replace(ANS, data=ANS.data + bytes(4)),
    "words left over": replace(ANS, data=bytes(4) + ANS.data),
    "another word in front": replace(ANS, data=b"\1\2\3\4" + ANS.data),
    "a word less": replace(ANS, data=ANS.data[4:]),
    "the last word less": replace(ANS, data=ANS.data[:-4]),
    "swapped words": replace(ANS, data=bytes_of(words_of(ANS.data)[::-1])),
    "ans with the counts of others": replace(ANS, counts=(ANS.counts[0] - 1, ANS.counts[1] + 1)),
    "ans with a count more": replace(ANS, counts=(ANS.counts[0] + 1, ANS.counts[1])),
}


def test_the_malformed_are_made_from_both_codings():
    assert (BITS.coding, ANS.coding) == ("bits", "ans")
    assert len(ANS.data) > 8


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_malformed_data_are_refused(malformed):
    with pytest.raises(ValueError):
        decode(malformed)


@given(st.data())
@settings(max_examples=100)
def test_a_flipped_bit_is_refused_or_gives_other_codes(data):
    good = data.draw(st.sampled_from([BITS, ANS]))
    bit = data.draw(st.integers(0, 8 * len(good.data) - 1))
    flipped = bytearray(good.data)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode(replace(good, data=bytes(flipped)))
    except ValueError:
        return
    assert not torch.equal(decoded, decode(good))
