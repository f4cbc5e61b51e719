"""Many draws of one weight, prototypes, and the uniforms of other purposes, each against the words they come from."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import untrained as ut
from untrained.weights import laws as weights
from untrained.weights.laws import GAINS
from untrained.weights.random import words
from untrained.weights.source import Source

SEEDS = st.integers(0, 2**64 - 1)
NAMES = st.text(max_size=8)
NUMBERS = st.one_of(st.integers(0, 254), st.just(2**31))
SHAPES = st.lists(st.integers(1, 9), min_size=2, max_size=4)
CHUNK = 4 * weights._CHUNK_BLOCKS
RANDOM = [ut.SignedConstant(), ut.KaimingNormal(), ut.KaimingUniform(), ut.XavierUniform(), ut.Standard()]


def sign_units(seed, name, number, n):
    drawn = words(seed, name, number * 2**32, -(-n // 128))
    return np.array([1.0 if int(drawn[i // 32]) >> i % 32 & 1 else -1.0 for i in range(n)], np.float32)


def uniform_units(seed, name, number, n):
    drawn = words(seed, name, number * 2**32, -(-n // 4))[:n].astype(np.float64)
    return ((2 * np.floor(drawn / 256) + 1 - 2**24) / 2**24).astype(np.float32)


def normal_units(seed, name, number, n):
    from scipy.special import ndtri

    drawn = words(seed, name, number * 2**32, -(-n // 4))[:n].astype(np.float64)
    return ndtri((2 * drawn + 1) / 2**33).astype(np.float32)


def flat(law, shape, **place):
    return law.draw(shape, **place).flatten().numpy()


# --- draw d is the stream from block d·2³² on ---


@given(SEEDS, NAMES, NUMBERS, SHAPES)
@settings(max_examples=24)
def test_a_draw_of_signs_is_its_part_of_the_stream(seed, name, number, shape):
    sigma = np.float32(math.sqrt(2) / math.sqrt(math.prod(shape[1:])))
    drawn = flat(ut.SignedConstant(), shape, seed=seed, name=name, number=number)
    assert (drawn == sign_units(seed, name, number, math.prod(shape)) * sigma).all()


@given(SEEDS, NAMES, NUMBERS, SHAPES)
@settings(max_examples=24)
def test_a_draw_of_uniforms_is_its_part_of_the_stream(seed, name, number, shape):
    bound = np.float32(1 / math.sqrt(math.prod(shape[1:])))
    drawn = flat(ut.Standard(), shape, seed=seed, name=name, number=number)
    assert (drawn == uniform_units(seed, name, number, math.prod(shape)) * bound).all()


@given(SEEDS, NAMES, NUMBERS, SHAPES)
@settings(max_examples=20)
def test_a_draw_of_normals_is_its_part_of_the_stream(seed, name, number, shape):
    sigma = math.sqrt(2 / (shape[0] + shape[1]) / math.prod(shape[2:]))
    drawn = flat(ut.XavierNormal(), shape, seed=seed, name=name, number=number)
    np.testing.assert_allclose(drawn, normal_units(seed, name, number, math.prod(shape)) * sigma, rtol=1e-6, atol=1e-9)


# A row of four leaves the fan in alone.
@pytest.mark.parametrize("number", [0, 1, 254])
def test_a_draw_goes_on_beyond_a_chunk(number):
    rows = CHUNK // 4 + 40
    drawn = flat(ut.Standard(), (rows, 4), seed=5, name="w", number=number)
    assert (drawn == uniform_units(5, "w", number, 4 * rows) * np.float32(0.5)).all()
    assert (drawn[:160] == flat(ut.Standard(), (40, 4), seed=5, name="w", number=number)).all()


@given(st.sampled_from(RANDOM), SEEDS, NAMES, SHAPES)
@settings(max_examples=20)
def test_the_first_draw_is_what_it_was(law, seed, name, shape):
    assert torch.equal(law.draw(shape, seed=seed, name=name, number=0), law.draw(shape, seed=seed, name=name))


@pytest.mark.parametrize("law", RANDOM, ids=lambda law: type(law).__name__)
def test_draws_are_independent(law):
    drawn = torch.stack([law.draw((64, 64), seed=3, name="w", number=number).flatten() for number in range(8)])
    agree = (drawn[:, None].sign() == drawn[None].sign()).double().mean(-1)
    noise = 6 * 0.5 / math.sqrt(drawn.shape[1])
    assert (agree - 0.5 * (1 + torch.eye(8))).abs().max() < noise
    assert (torch.corrcoef(drawn) - torch.eye(8)).abs().max() < 2 * noise
    assert len({tuple(row.tolist()) for row in drawn}) == 8


def test_a_law_without_chance_has_one_draw():
    one, other = (ut.UnsignedConstant().draw((4, 5), seed=3, name="w", number=number) for number in (0, 9))
    assert torch.equal(one, other)


def test_a_draw_is_scaled_like_the_first():
    for number in (0, 7):
        plain = ut.KaimingNormal().draw((9, 9), seed=3, name="w", number=number)
        scaled = ut.KaimingNormal(scaled=True).draw((9, 9), seed=3, name="w", keep=0.25, number=number)
        assert torch.equal(scaled, 2 * plain)


# --- prototypes ---


def repeated(law, shape, seed, number=0):
    """Element i = σ · unit_{i mod length}."""
    n, fan = math.prod(shape), math.prod(shape[1:]) if law.fan == "in" else shape[0] * math.prod(shape[2:])
    prototype = sign_units(seed, "prototype", number, law.length) * np.float32(GAINS[law.nonlinearity] / math.sqrt(fan))
    return prototype[np.arange(n) % law.length]


@given(
    st.integers(1, 400),
    st.sampled_from(["in", "out"]),
    st.sampled_from(["relu", "elu", "linear"]),
    SEEDS,
    NAMES,
    SHAPES,
    NUMBERS,
)
@settings(max_examples=40)
@example(1, "in", "relu", 0, "", [1, 1], 0)
def test_a_prototype_is_repeated(length, fan, nonlinearity, seed, name, shape, number):
    law = ut.Prototype(fan, nonlinearity, length=length)
    drawn = flat(law, shape, seed=seed, name=name, number=number)
    assert (drawn == repeated(law, shape, seed, number)).all()


@pytest.mark.parametrize("length", [1, 3, 1000, 1024, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_prototype_goes_on_beyond_a_chunk(length):
    law, shape = ut.Prototype(length=length), (2 * CHUNK // 100 + 7, 100)
    assert (flat(law, shape, seed=9, name="w", number=2) == repeated(law, shape, 9, 2)).all()


def test_all_tensors_share_the_prototype():
    drawn = [ut.Prototype(length=50).draw((20, 8), seed=4, name=name) for name in ("a", "b", "prototype")]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    wider = ut.Prototype(length=50).draw((20, 32), seed=4, name="c").flatten()
    assert torch.equal(wider[:160].sign(), drawn[0].flatten().sign())
    assert torch.equal(2 * wider[:160], drawn[0].flatten())
    assert not torch.equal(drawn[0], ut.Prototype(length=50).draw((20, 8), seed=5, name="a"))


def test_a_prototype_is_scaled_when_asked():
    plain = ut.Prototype(length=7).draw((9, 9), seed=0, name="w", keep=0.25)
    assert torch.equal(ut.Prototype(length=7, scaled=True).draw((9, 9), seed=0, name="w", keep=0.25), 2 * plain)
    assert ut.Prototype().draw((3, 0), seed=0, name="w").shape == (3, 0)


def test_a_prototype_needs_a_length():
    for length in (0, -1, 2**31 + 1):
        with pytest.raises(ValueError, match=r"length must be in \[1, 2147483648\]"):
            ut.Prototype(length=length)


@pytest.mark.parametrize("length", [2.5, True, 1000.0])
def test_a_length_is_an_integer(length):
    with pytest.raises(ValueError, match="length"):
        ut.Prototype(length=length)


def test_a_long_prototype_of_a_small_tensor_takes_no_memory():
    tracemalloc.start()
    try:
        ut.Prototype(length=2**21).draw((4, 4), seed=0, name="w")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# --- sources ---


def source(seed=3, name="a.weight", shape=(40, 30), dtype=torch.float32, law=ut.KaimingUniform(), **more):  # noqa: B008
    return Source(seed, name, shape, dtype, law, **more)


@given(SEEDS, NAMES, st.text(max_size=6), SHAPES)
@settings(max_examples=24)
def test_uniforms_are_those_of_a_tensor_of_another_name(seed, name, purpose, shape):
    drawn = source(seed, name, tuple(shape)).uniforms(purpose)
    assert drawn.shape == tuple(shape) and drawn.dtype == torch.float32
    assert (drawn.flatten().numpy() == uniform_units(seed, f"{name}#{purpose}", 0, math.prod(shape))).all()
    assert drawn.abs().max() < 1


def test_uniforms_are_the_same_whatever_the_law():
    drawn = source().uniforms("start")
    own = source(law=None, pretrained=torch.ones(40, 30), dtype=torch.bfloat16)
    for same in (source(), source(law=ut.SignedConstant(), keep=0.1), own):
        assert torch.equal(same.uniforms("start"), drawn)
    for other in (source(seed=4), source(name="b.weight")):
        assert not torch.equal(other.uniforms("start"), drawn)
    assert not torch.equal(source().uniforms("redraw/1"), drawn)
    assert not torch.equal(source().uniforms("redraw/1"), source().uniforms("redraw/2"))


def test_uniforms_of_many_purposes_are_independent():
    drawn = torch.stack([source(shape=(64, 64)).uniforms(p).flatten() for p in ("start", "redraw/1", "redraw/2", "")])
    weight = source(shape=(64, 64)).draw().flatten()
    assert (torch.corrcoef(torch.stack([*drawn, weight])) - torch.eye(5)).abs().max() < 6 / 64
    assert drawn.mean().abs() < 0.05 and drawn.var() == pytest.approx(1 / 3, rel=0.05)


def test_uniforms_go_on_beyond_a_chunk():
    shape = (CHUNK // 64 + 3, 64)
    drawn = source(shape=shape).uniforms("start").flatten().numpy()
    assert (drawn == uniform_units(3, "a.weight#start", 0, math.prod(shape))).all()


def test_uniforms_of_nothing():
    assert source(shape=(0, 5)).uniforms("start").shape == (0, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_source_draws_in_its_precision(dtype):
    for number in (0, 5):
        exact = ut.KaimingUniform().draw((40, 30), seed=3, name="a.weight", number=number)
        drawn = source(dtype=dtype).draw(number)
        assert drawn.dtype == dtype and torch.equal(drawn, exact.to(dtype))


def test_a_source_passes_on_what_is_kept():
    law = ut.KaimingUniform(scaled=True)
    assert torch.equal(source(law=law, keep=0.25).draw(3), 2 * source(law=law).draw(3))


def test_weights_of_its_own_are_drawn_once():
    own = torch.randn(40, 30, requires_grad=True)
    pretrained = source(law=None, pretrained=own)
    assert torch.equal(pretrained.draw(), own) and not pretrained.draw().requires_grad
    with pytest.raises(ValueError, match=r"'a\.weight' has pretrained weights .* cannot be drawn again"):
        pretrained.draw(1)
    with pytest.raises(ValueError, match=r"'a\.weight'"):
        source(law=None).draw()


# --- gains ---


def test_the_gain_of_elu_is_the_authors():
    assert GAINS["elu"] == math.sqrt(3)
    drawn = ut.SignedConstant(nonlinearity="elu").draw((5, 12), seed=0, name="w")
    assert (drawn.abs() == np.float32(math.sqrt(3) / math.sqrt(12))).all()
