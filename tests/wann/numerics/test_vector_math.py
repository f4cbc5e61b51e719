"""The polynomials that stand for exp, tanh, sin and cos: how far from the true values, and what odd numbers give."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrained.wann.networks.activations import FUNCTIONS, IDS, NAMES
from untrained.wann.numerics import vector_math
from untrained.wann.numerics.jit import AVAILABLE, bound, compiled, reordered

mpmath = pytest.importorskip("mpmath")
pytestmark = pytest.mark.skipif(not AVAILABLE, reason="without numba the same code runs as plain Python")

f32 = np.float32
TRUE = {
    "exp": mpmath.exp,
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "sin_pi": mpmath.sinpi,
}
RANGE = {"exp": 708.0, "tanh": 1e308, "sin": 3e6, "cos": 3e6, "sin_pi": 2.0**51}
RANGE32 = {"exp": 87.0, "tanh": 3e38, "sin_pi": 2.0**22}


def _loop(x, out):
    for q in range(x.shape[0]):
        out[q] = function(x[q])  # noqa: F821  (bound below)


LOOPS = {name: compiled(bound(_loop, f"loop_{name}", function=getattr(vector_math, name))) for name in TRUE}
LOOPS32 = {
    name: reordered(bound(_loop, f"loop_{name}32", function=getattr(vector_math, f"{name}32"))) for name in RANGE32
}


def values_of(name, x):
    x = np.atleast_1d(np.asarray(x, float))
    out = np.empty_like(x)
    LOOPS[name](x, out)
    return out


def values32_of(name, x):
    x = np.atleast_1d(np.asarray(x, f32))
    out = np.empty_like(x)
    LOOPS32[name](x, out)
    return out


def errors(name, x, found, *, relative):
    """How far each value is from the true one, `relative` to a function of that one."""
    with mpmath.workdps(60):
        pairs = [(TRUE[name](mpmath.mpf(float(a))), mpmath.mpf(float(b))) for a, b in zip(x, found, strict=True)]
        return np.array([float(abs(b - y) / relative(abs(y))) for y, b in pairs])


def points(name, limit, dtype):
    """Numbers of every size that a function is for, and those next to which it is put together from pieces."""
    rng = np.random.default_rng(5)
    spread = 10 ** rng.uniform(-30, math.log10(limit), 120) * rng.choice([-1, 1], 120)
    near = np.concatenate([rng.uniform(-4, 4, 150), rng.uniform(-40, 40, 80)])
    joints = np.array([0, 0.5, 0.625, 1, 1.5, 2, 9, math.pi / 2, math.pi, math.log(2) / 2, 22, limit])
    joints = np.concatenate([np.nextafter(joints, -9e99), joints, np.nextafter(joints, 9e99)])
    tiny = np.finfo(dtype).smallest_subnormal * np.array([1, 2, 1e3, 1e6])
    x = np.concatenate([spread, near, joints, -joints, tiny, -tiny]).astype(dtype)
    return x[abs(x) <= limit]


@pytest.mark.parametrize("name", TRUE)
def test_double_precision_is_within_the_error_it_states(name):
    x = points(name, RANGE[name], float)
    assert errors(name, x, values_of(name, x), relative=lambda y: max(1, y)).max() <= 3e-16


@pytest.mark.parametrize("name", RANGE32)
def test_single_precision_is_within_the_error_it_states(name):
    x = points(name, RANGE32[name], f32)
    relative = (lambda y: y) if name == "exp" else (lambda y: 1)
    assert errors(name, x, values32_of(name, x), relative=relative).max() <= 3e-7


@given(st.sampled_from([*TRUE]), st.floats(-700, 700))
def test_any_number_is_within_the_error_it_states(name, x):
    assert errors(name, [x], values_of(name, x), relative=lambda y: max(1, y))[0] <= 3e-16


@pytest.mark.parametrize("big", [2.0**52 + 1, 2.0**53 - 1, -(2.0**52) - 3])
def test_sin_pi_of_a_huge_whole_number_is_zero(big):
    assert abs(values_of("sin_pi", big)[0]) <= 3e-16


@pytest.mark.parametrize("big", [2.0**23 + 1, 2.0**24 - 1, -(2.0**23) - 3])
def test_sin_pi32_of_a_huge_whole_number_is_zero(big):
    assert abs(values32_of("sin_pi", big)[0]) <= 3e-7


@pytest.mark.parametrize("name", TRUE)
def test_a_lane_of_a_vector_loop_equals_a_single_value(name):
    x = points(name, RANGE[name], float)
    x = np.concatenate([x, [np.nan, np.inf, -np.inf, 1e300, -1e300]])
    whole = values_of(name, x)
    scalar = getattr(vector_math, name)
    for start in (0, 1, 3, 8):
        np.testing.assert_array_equal(values_of(name, x[start : start + 29]), whole[start : start + 29])
    np.testing.assert_array_equal(np.concatenate([values_of(name, each) for each in x]), whole)
    np.testing.assert_array_equal([scalar(each) for each in x], whole)


@pytest.mark.parametrize("name", TRUE)
def test_nan_stays_nan_in_every_lane(name):
    x = np.linspace(-2, 2, 37)
    x[[0, 5, 8, 30, 36]] = np.nan
    np.testing.assert_array_equal(np.isnan(values_of(name, x)), np.isnan(x))
    if name in LOOPS32:
        np.testing.assert_array_equal(np.isnan(values32_of(name, x)), np.isnan(x))


def test_infinity_gives_the_limit_or_nan():
    x = [-np.inf, np.inf]
    for tanh in (values_of("tanh", x), values32_of("tanh", x)):
        np.testing.assert_allclose(tanh, [-1, 1], atol=3e-7 if tanh.dtype == f32 else 0)
    for name in ("sin", "cos", "sin_pi"):
        assert np.isnan(values_of(name, x)).all(), name
    assert np.isnan(values32_of("sin_pi", x)).all()
    low, high = values_of("exp", x)
    assert 0 <= low < 1e-307 and 8e307 < high
    low, high = values32_of("exp", x)
    assert 0 <= low < 2e-38 and 1e38 < high


def test_exp_stays_beyond_its_range():
    assert values_of("exp", [709, 710, 1e5, 1e308]).tolist() == [values_of("exp", 709)[0]] * 4
    assert values_of("exp", [-708, -709, -1e5, -1e308]).tolist() == [values_of("exp", -708)[0]] * 4
    assert values32_of("exp", [88, 89, 1e5]).tolist() == [values32_of("exp", 88)[0]] * 3
    assert values32_of("exp", [-87, -88, -1e5]).tolist() == [values32_of("exp", -87)[0]] * 3
    assert values32_of("exp", [0.0, -0.0]).tolist() == [1, 1]  # a loss takes logarithms of sums that start at 1


@given(st.floats(-1e6, 1e6))
def test_odd_functions_are_odd_and_even_ones_even(x):
    for name in ("tanh", "sin", "sin_pi"):
        there, back = values_of(name, [x, -x])
        assert abs(there + back) <= (0 if name == "tanh" else 6e-16), name
    there, back = values_of("cos", [x, -x])
    assert abs(there - back) <= 6e-16
    there, back = values32_of("tanh", [x, -x])
    assert abs(float(there) + float(back)) <= 6e-7


@pytest.mark.parametrize("x", [0.0, 5e-324, -5e-324, 2.2e-308, 1e-300, -1e-100])
def test_tiny_numbers_pass_through(x):
    for name in ("tanh", "sin"):
        assert values_of(name, x)[0] == x, name


# ---- activations


def activated(kind, t, w=1.0, dtype=float):
    z = np.array(t, dtype)
    run = vector_math.activate if dtype is float else vector_math.activate32
    run(kind, z, np.full(len(z), w, dtype), dtype(0), dtype(0.5), dtype(1))
    return z


@pytest.mark.parametrize("name", NAMES)
def test_a_double_precision_kernel_is_the_activation(name):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=200), 30 * rng.normal(size=200), [0, -0.0, 1e-320, 1, -1, 0.5, 1e5, -1e5 / 3]])
    for w in (-2.0, -0.5, 1.0, 0.7):
        expected = FUNCTIONS[name](x * w)
        found = activated(IDS[name], x, w)
        assert (abs(found - expected) <= 1e-12 * np.maximum(1, abs(expected))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_single_precision_kernel_is_the_activation(name):
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=200), 3 * rng.normal(size=200), [0, -0.0, 1e-44, 1, -1, 0.5]]).astype(f32)
    for w in (-2.0, -0.5, 1.0):  # powers of two: the product is exact
        expected = FUNCTIONS[name](x.astype(float) * w)
        found = activated(IDS[name], x, w, f32)
        assert (abs(found - expected) <= 1e-5 * np.maximum(1, abs(expected))).all()


@pytest.mark.parametrize("dtype", [float, f32])
@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_gives_nan_and_infinity_where_the_activation_does(name, dtype):
    # Many lanes, so that the vector part of the loop is met as well as its rest; NaN is not above 0, so step gives 0.
    x = np.tile([np.nan, 1.0, np.inf, -np.inf, 0.25], 9)
    for w in (1.0, -1.0, 0.0):
        with np.errstate(invalid="ignore"):
            expected = FUNCTIONS[name](x * w)
        found = activated(IDS[name], x, w, dtype)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert name == "step" or np.isnan(found[np.isnan(x)]).all()


@pytest.mark.parametrize("name", NAMES)
def test_huge_sums_give_no_nan(name):
    x = np.tile([1e300, -1e300, 1e200, 3e6, -7e15, 1e17], 5)
    with np.errstate(over="ignore"):
        expected = FUNCTIONS[name](x)
    np.testing.assert_allclose(activated(IDS[name], x), expected, atol=1e-10)
    x = np.tile([1e30, -1e30, 3e6, -1e8], 9).astype(f32)
    found = activated(IDS[name], x, dtype=f32)
    if name in ("sin", "cos"):  # half a turn is lost in the rounding of such a sum
        assert (abs(found) <= 1 + 1e-6).all()
    else:
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(found, FUNCTIONS[name](x.astype(float)).astype(f32), 1e-6, 2e-38)


@pytest.mark.parametrize(("name", "t"), [("sin", 1.0), ("cos", 0.5)])
def test_whole_turns_are_exactly_zero_in_both(name, t):
    # A bias gives just these sums at the standard weights, and a step may follow.
    assert (FUNCTIONS[name](np.array([t])) > 0).tolist() == (activated(IDS[name], [t]) > 0).tolist()
