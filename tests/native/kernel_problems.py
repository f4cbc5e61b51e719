"""Problems, the sorting oracle and helpers that tests of the kernels share."""

import functools
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import untrained as ut
from untrained.native import bank as bank_kernels
from untrained.native import choice as kernels
from untrained.native.compiler import compile_library, find_library
from untrained.native.library import levels
from untrained.selection.straight_through import keep_top
from untrained.selection.topk import keep_of

TESTS = Path(__file__).parent
SOURCE = Path(ut.__file__).parent.parent
EXTREMES = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1]
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EXTREMES)
FRESH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def use(patch, library):
    """This library and no hints from now on; None: the plain path."""
    patch.setattr(kernels, "library", lambda: library)
    kernels.forget()


best = pytest.mark.parametrize("native", levels()[:1], indirect=True)
"""For what no level can change."""


def plainly(function):
    """What a function returns without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, None)
        return function()


def bits(tensor):
    return tensor.detach().contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize])


def same_bits(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))


def same_but_nan(one, other):
    """Bit for bit, but that any NaN is as good as another."""
    return torch.equal(one.isnan(), other.isnan()) and same_bits(one.nan_to_num(7), other.nan_to_num(7))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def any_bits(n, generator):
    """Floats of any bits but NaN's: most of all exponents, denormals, and both signs."""
    drawn = torch.randint(-(2**31), 2**31, (n,), generator=generator).to(torch.int32).view(torch.float32)
    return torch.where(drawn.isnan(), 1.0, drawn)


SPECIAL = torch.tensor([-math.inf, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, math.inf])
KINDS = {
    "normal": lambda n, g: torch.randn(n, generator=g),
    "uniform": lambda n, g: torch.rand(n, generator=g) - 0.5,
    "any": any_bits,
    "rounded": lambda n, g: (torch.randn(n, generator=g) * 4).round() / 4,
    "special": lambda n, g: SPECIAL[torch.randint(8, (n,), generator=g)],
    "denormal": lambda n, g: torch.randint(-40, 41, (n,), generator=g).to(torch.float32) * 2.0**-149,
    "equal": lambda n, g: torch.full((n,), -1.5),
    "zeros": lambda n, g: torch.zeros(n) * (torch.randint(2, (n,), generator=g) * 2 - 1),
    "few large": lambda n, g: torch.where(torch.rand(n, generator=g) < 0.01, torch.randn(n, generator=g) * 1e30, 0.0),
    "sorted": lambda n, g: torch.arange(n) / 7 - n / 14,
}


def order(scores, signed):
    """The oracle: places by (-rank, place)."""
    rank = scores.double().numpy().ravel()
    return torch.from_numpy(np.lexsort((np.arange(len(rank)), -(rank if signed else abs(rank)))))


def oracle(weights, scores, count, signed):
    """The effective weights of the naive choice among several tensors."""
    best = order(torch.cat([s.detach().float().flatten() for s in scores]), signed)[:count]
    flat = torch.cat([w.flatten() for w in weights])
    out = torch.zeros_like(flat)
    out[best] = flat[best]
    return [part.view(w.shape) for part, w in zip(out.split([w.numel() for w in weights]), weights, strict=True)]


@functools.cache
def problem(kind, n, signed):
    """(weights, scores, the oracle's order), worked out once for all levels."""
    generator = rng(n)
    scores = KINDS[kind](n, generator)
    return any_bits(n, generator), scores, order(scores, signed)


def mask_problem(kind, n, masks):
    """(packed masks, a number for each element); the bits past the last element are of any value."""
    drawn = np.random.default_rng(n)
    return [drawn.integers(0, 256, -(-n // 8), np.uint8) for _ in range(masks)], KINDS[kind](n, rng(n))


def plainly_masked(function):
    """What a function of a bank's masks returns without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank_kernels, "library", lambda: None)
        return function()


def agrees(weights, scores, count, signed):
    """Whether the choice is the oracle's and the plain path's; the kernel may leave it to the plain path."""
    names = [f"w{i}" for i in range(len(scores))]
    keep = keep_of(count, sum(s.numel() for s in scores))
    chosen = keep_top(weights, scores, keep, signed, names)
    plain = plainly(lambda: keep_top(weights, scores, keep, signed, names))
    expected = oracle(weights, scores, count, signed)
    return all(
        same_bits(a, b) and same_bits(a, c) and a.stride() == w.stride()
        for a, b, c, w in zip(chosen, plain, expected, weights, strict=True)
    )


class Says(dict):
    """Hints that are always the same, whatever was learnt."""

    def __init__(self, threshold, width):
        super().__init__()
        self.hint = threshold, width

    def get(self, key, default=None):
        return self.hint


def built(level, flags=()):
    """The library's path, compiled unless it is there."""
    return find_library(level, flags) or compile_library(level, flags)


def started(code, **environment):
    """Another Python, its own in nothing but these variables; a variable that is None is not there."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(SOURCE)]), **environment}
    given = {name: str(value) for name, value in given.items() if value is not None}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_python(code, **environment):
    return finished(started(code, **environment))
