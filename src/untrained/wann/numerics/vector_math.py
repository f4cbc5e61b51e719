"""exp, tanh, sin and cos as plain arithmetic, so that a loop over them becomes vector instructions.

The C library's functions are called value by value (5 to 15 ns each); these take 0.3 to 2 ns in a loop. Without
fastmath a vector lane rounds as a single value does, so results depend on no loop, thread or machine.
Double precision: polynomials and ranges of Cephes (Moshier), within 3e-16 of the true value relative to max(1, |y|).
Single precision: within 3e-7 (tanh, sin π·) and 3e-7 relative (exp).

Code and docstrings of the double-precision functions are part of the identity of environments that call them: a change
makes older checkpoints refuse to resume.
"""

from __future__ import annotations

import math

import numpy as np

from untrained.wann.numerics.jit import bound, compiled, inlined, inlined_reordered, reordered

f32 = np.float32
_INV_PI = 1 / math.pi
# π in three parts, the first two of few bits, so that k·part is exact for |k| < 2**20.
_PI_1, _PI_2 = 3.1415926218032837, 3.178650954705639e-08
_PI_3 = 1.2246467991473532e-16 + (math.pi - _PI_1 - _PI_2)
_S = [(-1) ** n / math.factorial(2 * n + 1) for n in range(11)]
_S1, _S2, _S3, _S4, _S5, _S6, _S7, _S8, _S9, _S10 = _S[1:]


@inlined
def exp(x):
    """eˣ for x in [-708, 709], beyond which it stays."""
    x = min(max(x, -708.0), 709.0)
    k = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * 6.93145751953125e-1) - k * 1.42860682030941723212e-6
    z = r * r
    p = r * ((1.26177193074810590878e-4 * z + 3.02994407707441961300e-2) * z + 1.0)
    q = ((3.00198505138664455042e-6 * z + 2.52448340349684104192e-3) * z + 2.27265548208155028766e-1) * z + 2.0
    power = np.int64((np.int64(k) + 1023) << 52).view(np.float64)
    return (1.0 + 2.0 * (p / (q - p))) * power


@inlined
def tanh(x):
    """Hyperbolic tangent."""
    z = x * x
    p = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
    q = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3
    near = x + x * z * (p / q)
    far = 1.0 - 2.0 / (exp(2.0 * abs(x)) + 1.0)
    return near if abs(x) < 0.625 else math.copysign(far, x)


@inlined
def _sin_within(r):
    # Taylor's series to r²¹ for |r| ≤ π/2, where the next term is 1e-18.
    z = r * r
    p = ((_S10 * z + _S9) * z + _S8) * z + _S7
    p = (((p * z + _S6) * z + _S5) * z + _S4) * z + _S3
    return r + r * z * ((p * z + _S2) * z + _S1)


@inlined
def _sign_of_turns(k):
    return 1.0 - 2.0 * (k - 2.0 * np.floor(k * 0.5))


@inlined
def sin(x):
    """Sine of radians, for |x| < 3e6."""
    k = np.floor(x * _INV_PI + 0.5)
    return _sign_of_turns(k) * _sin_within(((x - k * _PI_1) - k * _PI_2) - k * _PI_3)


@inlined
def cos(x):
    """Cosine of radians, for |x| < 3e6."""
    k = np.floor(x * _INV_PI)
    half_turns = k + 0.5
    return -_sign_of_turns(k) * _sin_within(((x - half_turns * _PI_1) - half_turns * _PI_2) - half_turns * _PI_3)


@inlined
def sin_pi(x):
    """sin(πx)."""
    k = np.rint(x)
    return _sign_of_turns(k) * _sin_within((x - k) * math.pi)


@inlined_reordered
def exp32(x):
    """eˣ in single precision, for x in [-87, 88], beyond which it stays."""
    x = min(max(x, f32(-87.0)), f32(88.0))
    k = np.floor(x * f32(1.44269504) + f32(0.5))
    r = (x - k * f32(0.693359375)) - k * f32(-2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = ((p * r + f32(1.3981999507e-3)) * r + f32(8.3334519073e-3)) * r + f32(4.1665795894e-2)
    p = (p * r + f32(1.6666665459e-1)) * r + f32(5.0000001201e-1)
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * r * r + r + f32(1.0)) * power


@inlined_reordered
def tanh32(x):
    """Hyperbolic tangent in single precision."""
    x = min(max(x, f32(-9.0)), f32(9.0))
    return f32(1.0) - f32(2.0) / (exp32(x + x) + f32(1.0))


@inlined_reordered
def sin_pi32(x):
    """sin(πx) in single precision."""
    k = np.rint(x)
    sign = f32(1.0) - f32(2.0) * (k - f32(2.0) * np.floor(k * f32(0.5)))
    r = (x - k) * f32(math.pi)
    z = r * r
    p = f32(-2.50521084e-8)
    p = ((p * z + f32(2.75573192e-6)) * z + f32(-1.98412698e-4)) * z + f32(8.33333333e-3)
    return sign * (r + r * z * (p * z + f32(-1.66666667e-1)))


# Each activation of t = w·z; names and order are those of `activations`. Every loop is for one activation alone, so
# that it becomes vector instructions.
EXPRESSIONS = {
    "linear": "t",
    "step": "one if t > zero else zero",
    "sin": "sin_pi(t)",
    "gaussian": "exp(-half * t * t)",
    "tanh": "tanh(t)",
    "sigmoid": "(tanh(t * half) + one) * half",
    "inverse": "-t",
    "abs": "abs(t)",
    "relu": "max(t, zero)",
    "cos": "sin_pi(t + half)",
    "square": "t * t",
}
_CASE = """
    {test} kind == {id}:
        for q in range(z.shape[0]):
            t = z[q] * w[q]
            z[q] = {expression}"""
_CASES = [
    _CASE.format(test="if" if id == 1 else "elif", id=id, expression=expression)
    for id, expression in enumerate(EXPRESSIONS.values(), start=1)
]
_names = dict(globals())
exec(compile("def activate(kind, z, w, zero, half, one):" + "".join(_CASES), __file__, "exec"), _names)
#: Functions of (kind, z, w, zero, half, one) that set z to the activation of w·z, value by value.
activate = compiled(bound(_names["activate"], "activate64"))
activate32 = reordered(bound(_names["activate"], "activate32", exp=exp32, tanh=tanh32, sin_pi=sin_pi32))
