"""Frozen weights against the documented law, written a second time in plain Python integers and floats."""

import dataclasses
import hashlib
import json
import math
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import init

from untrained.weights import random as units
from untrained.weights.laws import (
    GAINS,
    KaimingNormal,
    KaimingUniform,
    SignedConstant,
    Standard,
    UnsignedConstant,
    XavierConstant,
    XavierNormal,
    XavierUniform,
    fans,
)

NONLINEARITIES = ["relu", "leaky_relu", "linear", "sigmoid", "tanh", "selu"]
KAIMING = [SignedConstant, UnsignedConstant, KaimingNormal, KaimingUniform]
XAVIER = [XavierNormal, XavierUniform, XavierConstant]
LAWS = [*KAIMING, *XAVIER, Standard]
RANDOM_LAWS = [law for law in LAWS if law is not UnsignedConstant]

SEEDS = st.integers(0, 2**64 - 1)
NAMES = st.text(max_size=12)
LAW = st.one_of(
    *(
        st.builds(law, st.sampled_from(["in", "out"]), st.sampled_from(NONLINEARITIES), st.booleans())
        for law in KAIMING
    ),
    *(st.builds(law, st.sampled_from(NONLINEARITIES), st.booleans()) for law in XAVIER),
    st.builds(Standard, st.booleans()),
)


# --- the law, written again ---


def naive_philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k0, second % 2**32, first >> 32 ^ c[3] ^ k1, first % 2**32]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c


def naive_word(seed, name, i):
    stream = struct.unpack("<II", hashlib.sha256(name.encode("utf-8")).digest()[:8])
    block = i // 4
    return naive_philox((block % 2**32, block >> 32, *stream), (seed % 2**32, seed >> 32))[i % 4]


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def horner(x, terms):
    total = 0.0
    for term in terms:
        total = total * x + term
    return total


def naive_log(x):
    m, e = math.frexp(x)
    if m < math.sqrt(0.5):
        m, e = 2 * m, e - 1
    t = (m - 1) / (m + 1)
    return 2 * t * horner(t * t, [1 / odd for odd in range(23, 0, -2)]) + e * math.log(2)


# AS 241, PPND16, lowest coefficient first, as the paper prints them: a, b for the centre, c, d for the tail.
A = [3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3]  # fmt: skip
B = [1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3]  # fmt: skip
C = [1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
]  # fmt: skip
D = [1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
]  # fmt: skip


def naive_normal(word):
    p = (2 * word + 1) / 2**33
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * (horner(r, A[::-1]) / horner(r, B[::-1]))
    r = math.sqrt(-naive_log(min(p, 1 - p))) - 1.6
    return math.copysign(horner(r, C[::-1]) / horner(r, D[::-1]), q)


def naive_unit(law, seed, name, i):
    if law in (SignedConstant, XavierConstant):
        return 1.0 if naive_word(seed, name, i // 32) >> i % 32 & 1 else -1.0
    if law is UnsignedConstant:
        return 1.0
    if law in (KaimingNormal, XavierNormal):
        return float32(naive_normal(naive_word(seed, name, i)))
    return (2 * (naive_word(seed, name, i) // 2**8) + 1 - 2**24) / 2**24


def naive_scale(law, shape, keep):
    fan_in, fan_out = init._calculate_fan_in_and_fan_out(torch.empty(shape, device="meta"))
    g = init.calculate_gain(getattr(law, "nonlinearity", "linear"))
    fan = fan_in if getattr(law, "fan", "in") == "in" else fan_out
    scale = {
        SignedConstant: g / math.sqrt(fan),
        UnsignedConstant: g / math.sqrt(fan),
        KaimingNormal: g / math.sqrt(fan),
        KaimingUniform: math.sqrt(3) * g / math.sqrt(fan),
        XavierNormal: g * math.sqrt(2 / (fan_in + fan_out)),
        XavierConstant: g * math.sqrt(2 / (fan_in + fan_out)),
        XavierUniform: g * math.sqrt(6 / (fan_in + fan_out)),
        Standard: 1 / math.sqrt(fan_in),
    }[type(law)]
    return scale * math.sqrt(1 / keep) if law.scaled else scale


def naive_element(law, shape, seed, name, keep, i):
    # A product of two float32 numbers is exact in float64, so this rounds once, as a float32 product does.
    return float32(naive_unit(type(law), seed, name, i) * float32(naive_scale(law, shape, keep)))


# --- Philox and the words ---


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected):
    drawn = units.philox4x32([np.array([word], np.uint64) for word in counter], key)
    assert [int(word[0]) for word in drawn] == expected
    assert naive_philox(counter, key) == expected


# Blocks on both sides of 2³², where the counter's second word comes in.
@given(SEEDS, NAMES, st.one_of(st.integers(0, 2**50), st.integers(2**32 - 5, 2**32)), st.integers(0, 5))
@settings(max_examples=40)
def test_words_are_the_documented_stream(seed, name, first_block, blocks):
    drawn = units.words(seed, name, first_block, blocks)
    expected = [naive_word(seed, name, i) for i in range(4 * first_block, 4 * (first_block + blocks))]
    assert drawn.dtype == np.dtype("<u4") and drawn.tolist() == expected


# --- whole tensors ---


@given(LAW, SEEDS, NAMES, st.lists(st.integers(1, 7), min_size=2, max_size=4), st.sampled_from([0.07, 0.5, 1.0]))
@settings(max_examples=50)
def test_every_weight_is_the_documented_one(law, seed, name, shape, keep):
    drawn = law.draw(shape, seed=seed, name=name, keep=keep)
    expected = [naive_element(law, shape, seed, name, keep, i) for i in range(math.prod(shape))]
    assert drawn.shape == tuple(shape) and drawn.dtype == torch.float32
    assert drawn.is_contiguous() and drawn.device.type == "cpu"
    assert drawn.flatten().tolist() == expected


# Rows of four elements leave the fan in, and so the scale, alone. A chunk ends at `chunk` elements.
@pytest.mark.parametrize(
    ("law", "chunk"),
    [
        (SignedConstant(), 128 << 14),
        (UnsignedConstant(), 4 << 14),
        (KaimingNormal(), 4 << 14),
        (KaimingUniform(), 4 << 14),
        (Standard(), 4 << 14),
    ],
)
def test_a_longer_tensor_starts_with_the_shorter(law, chunk):
    longest = law.draw((chunk // 4 + 33, 4), seed=3, name="w")
    for rows in (1, 31, chunk // 4 - 1, chunk // 4, chunk // 4 + 1):
        assert torch.equal(law.draw((rows, 4), seed=3, name="w"), longest[:rows])
    borders = [*range(chunk - 5, chunk + 5), chunk + 131]
    assert [longest.flatten()[i].item() for i in borders] == [
        naive_element(law, longest.shape, 3, "w", 1.0, i) for i in borders
    ]


# Longer than one chunk of uniforms and normals, and not a whole number of blocks, words or bytes.
GOLDEN_SHAPE, GOLDEN_SEED, GOLDEN_NAME = (271, 27, 3, 3), 0x0123456789ABCDEF, "features.0.größe"
GOLDEN = {
    "SignedConstant": "b516ed950faf141df89fcf871ce18cb3a9e201f4c2ab724188ba9d0ffa6b8a9e",
    "UnsignedConstant": "d08ccc218ea20fbe2973bf1a7e40191951e43529b08ef95b4d7cd014ae3a4d3e",
    "KaimingNormal": "2691d39c50c7721a064c31f7038d1a06d1e17d2bbac5e9ec31bcdacbe342edb6",
    "KaimingUniform": "f87a7a373f9732062d2c957b3f95faba6003021fa36b2148a71c4e9a91f1a8e6",
    "XavierNormal": "d33b48f5679ac6642c721501509cb3aca2ff02ae8880c55021308537b3b1f763",
    "XavierUniform": "5b8a7b53d44545bf4083b140390bb606cb156019bf71fbb2f17f91518c94ee81",
    "XavierConstant": "263888d7ed1ee07aa8e3a49b5ef26a324adcd0740b0798977f7d813bfdf26324",
    "Standard": "f0f46440ee8fa26ea976b8cfa2f7896536da11c24d6e094d163d4223b56c068e",
}


def golden_hashes():
    drawn = {law.__name__: law().draw(GOLDEN_SHAPE, seed=GOLDEN_SEED, name=GOLDEN_NAME) for law in LAWS}
    return {law: hashlib.sha256(w.numpy().astype("<f4").tobytes()).hexdigest() for law, w in drawn.items()}


def test_golden_hashes():
    # These guard the format: a ticket saved today must give the same network for ever.
    assert golden_hashes() == GOLDEN


def numpy_features_to_disable():
    try:
        from numpy._core import _multiarray_umath as umath
    except ImportError:  # numpy 1
        from numpy.core import _multiarray_umath as umath
    return " ".join(feature for feature in umath.__cpu_dispatch__ if umath.__cpu_features__.get(feature))


def test_golden_hashes_on_another_processor_and_two_threads():
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "NPY_DISABLE_CPU_FEATURES": numpy_features_to_disable()}
    script = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert script.returncode == 0, script.stderr
    assert json.loads(script.stdout) == GOLDEN


@pytest.mark.parametrize("law", RANDOM_LAWS)
def test_another_seed_or_name_gives_other_bits(law):
    streams = [(0, "a"), (1, "a"), (1 << 32, "a"), (1 << 63, "a"), (0, "b"), (0, ""), (0, "A")]
    drawn = torch.stack([law().draw((64, 64), seed=seed, name=name).flatten() for seed, name in streams])
    apart = torch.corrcoef(drawn) - torch.eye(len(streams))
    assert apart.abs().max() < 6 / math.sqrt(drawn.shape[1])


@pytest.mark.parametrize("law", LAWS)
def test_drawing_leaves_the_world_alone(law):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  the state itself is meant
    law().draw((5, 5), seed=1, name="w").zero_()
    again = law().draw((5, 5), seed=1, name="w")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    with torch.device("meta"):
        assert torch.equal(law().draw((5, 5), seed=1, name="w"), again) and again.all()


# --- scales ---


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5))
@settings(max_examples=30)
def test_fans_are_torchs(shape):
    assert fans(shape) == init._calculate_fan_in_and_fan_out(torch.empty(shape, device="meta"))


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_gains_are_torchs(nonlinearity):
    assert GAINS[nonlinearity] == init.calculate_gain(nonlinearity)


# Fan in 108, fan out 36 times 9 = 324; the numbers are worked out by hand from the paper's formulas.
@pytest.mark.parametrize(
    ("law", "std"),
    [
        (SignedConstant(), math.sqrt(2 / 108)),
        (SignedConstant(fan="out"), math.sqrt(2 / 324)),
        (SignedConstant(nonlinearity="linear"), math.sqrt(1 / 108)),
        (KaimingNormal(), math.sqrt(2 / 108)),
        (KaimingNormal(fan="out", nonlinearity="tanh"), 5 / 3 / math.sqrt(324)),
        (KaimingUniform(), math.sqrt(2 / 108)),
        (XavierNormal(), math.sqrt(2 / 432)),
        (XavierConstant(), math.sqrt(2 / 432)),
        (XavierNormal(nonlinearity="relu"), math.sqrt(4 / 432)),
        (XavierUniform(), math.sqrt(2 / 432)),
        (Standard(), math.sqrt(1 / 108 / 3)),
    ],
)
def test_mean_and_deviation(law, std):
    drawn = torch.cat([law.draw((36, 12, 3, 3), seed=0, name=f"w{i}").flatten() for i in range(20)]).double()
    assert drawn.mean().abs() < 5 * std / math.sqrt(len(drawn))
    assert drawn.std(correction=0).item() == pytest.approx(std, rel=0.01)


@pytest.mark.parametrize(
    ("law", "bound"),
    [
        (KaimingUniform(), math.sqrt(3) * math.sqrt(2 / 108)),
        (XavierUniform(), math.sqrt(6 / 432)),
        (Standard(), math.sqrt(1 / 108)),
    ],
)
def test_uniforms_fill_their_interval(law, bound):
    from scipy.stats import kstest

    drawn = torch.cat([law.draw((36, 12, 3, 3), seed=0, name=f"w{i}").flatten() for i in range(20)]).double().numpy()
    assert np.abs(drawn).max() <= bound * (1 + 1e-7)
    assert kstest(drawn, "uniform", args=(-bound, 2 * bound)).pvalue > 0.001


def test_constants_have_one_magnitude():
    sigma = np.float32(math.sqrt(2) / math.sqrt(108))
    assert (SignedConstant().draw((36, 12, 3, 3), seed=0, name="w").abs() == sigma).all()
    assert (UnsignedConstant().draw((36, 12, 3, 3), seed=0, name="w") == sigma).all()


@pytest.mark.parametrize("law", LAWS)
def test_scaled_keeps_the_variance_of_what_is_kept(law):
    plain = law(scaled=False).draw((9, 9), seed=0, name="w", keep=0.25)
    assert torch.equal(plain, law(scaled=False).draw((9, 9), seed=0, name="w"))
    assert torch.equal(law(scaled=True).draw((9, 9), seed=0, name="w", keep=0.25), 2 * plain)
    torch.testing.assert_close(
        law(scaled=True).draw((9, 9), seed=0, name="w", keep=0.3), plain / math.sqrt(0.3), rtol=1e-6, atol=0
    )


# --- normals ---


def normals_of(monkeypatch, chosen):
    """The normals of chosen words."""
    monkeypatch.setattr(units, "words", lambda *_: np.array(chosen, "<u4"))
    out = np.empty(len(chosen), np.float32)
    units.normals(0, "", 0, out, np.float32(1))
    return out


def test_normals_are_the_inverse_distribution_function(monkeypatch):
    from scipy.special import ndtri

    # Both ends, the middle, and both sides of |q| = 0.425, where one formula hands over to the other.
    edges = [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
    edges += [round(p * 2**32) + step for p in (0.075, 0.925) for step in (-2, -1, 0, 1)]
    chosen = np.unique(np.concatenate([edges, np.random.default_rng(0).integers(0, 2**32, 20_000)]))
    drawn = normals_of(monkeypatch, chosen)
    exact = ndtri((2.0 * chosen + 1) / 2**33)
    assert (np.abs(drawn - exact) <= 1.0001 * 2**-24 * np.abs(exact) + 2**-60).all()
    assert (np.diff(drawn) >= 0).all()
    assert drawn[0] == pytest.approx(-6.338, abs=0.001)


def test_normals_are_symmetric(monkeypatch):
    chosen = np.random.default_rng(1).integers(0, 2**32, 2000)
    mirrored = normals_of(monkeypatch, 2**32 - 1 - chosen)
    assert (normals_of(monkeypatch, chosen) == -mirrored).all()


@pytest.mark.parametrize(("law", "std"), [(KaimingNormal(), math.sqrt(2 / 200)), (XavierNormal(), math.sqrt(2 / 500))])
def test_normals_pass_a_kolmogorov_smirnov_test(law, std):
    from scipy.stats import kstest

    drawn = law.draw((300, 200), seed=0, name="w").flatten().double().numpy()
    assert kstest(drawn, "norm", args=(0, std)).pvalue > 0.001


# --- configuration and errors ---


@given(LAW)
@settings(max_examples=30)
def test_a_law_is_its_configuration(law):
    assert type(law)(**json.loads(json.dumps(dataclasses.asdict(law)))) == law
    with pytest.raises(dataclasses.FrozenInstanceError):
        law.scaled = True


@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, "0", None])
def test_a_wrong_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"^seed must be an integer in \[0, 2\*\*64\), got " + repr(seed)):
        SignedConstant().draw((2, 2), seed=seed, name="w")


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shape", [(), (5,)])
def test_a_vector_has_no_fan(law, shape):
    with pytest.raises(ValueError, match=r"need a weight of two or more dimensions, got shape \("):
        law().draw(shape, seed=0, name="w")


def test_nor_has_an_empty_vector():
    with pytest.raises(ValueError, match=r"need a weight of two or more dimensions, got shape \(0,\)"):
        SignedConstant().draw((0,), seed=0, name="w")


if __name__ == "__main__":
    print(json.dumps(golden_hashes()))
