"""The kernels in C++ against sorting and against the plain path, under sanitizers, and how their library is found."""

import copy
import functools
import math
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import untrained as ut
from untrained.native import choice as kernels
from untrained.native import compiler
from untrained.native import library as found
from untrained.native import load as load_kernels
from untrained.native.compiler import LEVELS, NoCompiler, compiled, kept
from untrained.native.library import Status, levels, load
from untrained.packed import kernels as packed_kernels
from untrained.packed.trits import pack_places, pack_words
from untrained.selection.straight_through import keep_top
from untrained.selection.topk import SEPARATOR, keep_of

TESTS = Path(__file__).parent
SOURCE = Path(ut.__file__).parent.parent
EXTREMES = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1]
INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EXTREMES)
FRESH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def use(patch, library):
    """This library and no hints from now on; None: the plain path."""
    patch.setattr(kernels, "library", lambda: library)
    kernels.forget()


@pytest.fixture(params=levels())
def native(request, monkeypatch):
    """The library of every level of this machine, in turn."""
    try:
        library = load(request.param)
    except NoCompiler as why:
        pytest.skip(str(why))
    use(monkeypatch, library)
    yield library
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


# --- the choice ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_that_of_sorting(kind, signed, native):
    for n in (1, 2, 127, 128, 129, 8191, 8192, 8193, 20_000, 100_000 if kind in ("normal", "special") else 30_000):
        weights, scores, best = problem(kind, n, signed)
        for count in sorted({1, 2, n // 100, n // 3, n - 1, n} & set(range(1, n + 1))):
            expected = torch.zeros(n)
            expected[best[:count]] = weights[best[:count]]
            choose = functools.partial(keep_top, [weights], [scores], keep_of(count, n), signed, ["w"])
            for _ in range(2):  # without a hint, and with one
                assert same_bits(choose()[0], expected), (n, count)
            assert same_bits(plainly(choose)[0], expected), (n, count)


@pytest.mark.parametrize("signed", [False, True])
def test_the_kernel_leaves_only_crowds_to_the_plain_path(signed, native):
    for kind in ("normal", "uniform", "any", "sorted"):
        for n in (1, 128, 8193, 100_000):
            weights, scores, _ = problem(kind, n, signed)
            for count in {1, -(-n // 2), n}:
                assert kernels.keep_top([weights], [scores], count, signed) is not None, (kind, n, count)
    weights, scores, _ = problem("equal", 100_000, signed)
    assert kernels.keep_top([weights], [scores], 50_000, signed) is None


@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, 127, 128, 129, 300, 9000]), min_size=1, max_size=5),
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=5, max_size=5),
    share=st.floats(0, 1),
    signed=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(FRESH, max_examples=40)
def test_several_tensors_are_ranked_together(sizes, kinds, share, signed, seed, native):
    generator = rng(seed)
    scores = [KINDS[kind](n, generator) for kind, n in zip(kinds, sizes, strict=False)]
    weights = [any_bits(n, generator) for n in sizes]
    n = sum(sizes)
    if n == 0:
        assert [kept.numel() for kept in keep_top(weights, scores, 0.5, signed, ["w"] * len(sizes))] == sizes
        return
    for _ in range(2):
        assert agrees(weights, scores, max(1, round(share * n)), signed)


def test_many_tensors_and_many_shapes(native):
    generator = rng()
    shapes = [(3, 0, 2), (7, 5), (), (64, 3, 3, 3), (0,), (1, 1), (129,)] * 9
    scores = [torch.randn(shape, generator=generator) for shape in shapes]
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    n = sum(s.numel() for s in scores)
    for count in (1, n // 7, n // 2, n - 1, n):
        assert agrees(weights, scores, count, False)


@best
def test_a_tensor_may_be_given_twice(native):
    scores, weights = torch.randn(500, generator=rng()), torch.randn(500, generator=rng(1))
    assert agrees([weights, weights], [scores, scores], 333, False)
    assert agrees([scores, scores], [scores, scores], 333, True)


@pytest.mark.parametrize("kind", ["normal", "special"])
def test_the_number_of_threads_changes_nothing(kind, native, threads):
    generator = rng()
    scores = [KINDS[kind](n, generator) for n in (300_000, 65_536, 65_537, 10)]
    weights = [any_bits(len(s), generator) for s in scores]
    for count in (1, 130_001, sum(map(len, scores)) - 1):
        threads(1)
        kernels.forget()
        alone = keep_top(weights, scores, keep_of(count, sum(map(len, scores))), False, ["w"] * 4)
        for number in (2, 3):
            threads(number)
            kernels.forget()
            for _ in range(2):
                again = keep_top(weights, scores, keep_of(count, sum(map(len, scores))), False, ["w"] * 4)
                assert all(same_bits(a, b) for a, b in zip(again, alone, strict=True))
        expected = oracle(weights, scores, count, False)
        assert all(same_bits(a, b) for a, b in zip(alone, expected, strict=True))


@best
def test_two_python_threads_at_once(native, threads):
    threads(2)
    wrong = []

    def search(seed):
        generator = rng(seed)
        scores, weights = torch.randn(90_000, generator=generator), torch.randn(90_000, generator=generator)
        for step in range(8):
            scores += 0.01 * torch.randn(90_000, generator=generator)
            (chosen,) = keep_top([weights], [scores], 0.3, bool(step % 2), ["w"])
            if not same_bits(chosen, oracle([weights], [scores], 27_000, bool(step % 2))[0]):
                wrong.append((seed, step))

    searches = [threading.Thread(target=search, args=(seed,)) for seed in range(3)]
    for each in searches:
        each.start()
    for each in searches:
        each.join()
    assert not wrong


# --- hints ---


class Says(dict):
    """Hints that are always the same, whatever was learnt."""

    def __init__(self, threshold, width):
        super().__init__()
        self.hint = threshold, width

    def get(self, key, default=None):
        return self.hint


@given(
    threshold=INT64,
    width=INT64,
    kind=st.sampled_from(list(KINDS)),
    n=st.sampled_from([1, 129, 9000]),
    signed=st.booleans(),
    share=st.floats(0, 1),
)
@settings(FRESH, max_examples=60)
def test_a_hint_may_be_anything(threshold, width, kind, n, signed, share, native):
    weights, scores, best = problem(kind, n, signed)
    count = max(1, round(share * n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_hints", Says(threshold, width))
        (chosen,) = keep_top([weights], [scores], keep_of(count, n), signed, ["w"])
    assert torch.equal(chosen.ne(0), torch.zeros(n, dtype=torch.bool).index_fill(0, best[:count], True) & weights.ne(0))


def test_every_pair_of_extreme_hints(native, monkeypatch):
    weights, scores, best = problem("normal", 9000, True)
    expected = torch.zeros(9000).index_copy(0, best[:3000], weights[best[:3000]])
    for threshold in EXTREMES:
        for width in EXTREMES:
            monkeypatch.setattr(kernels, "_hints", Says(threshold, width))
            assert same_bits(keep_top([weights], [scores], 1 / 3, True, ["w"])[0], expected), (threshold, width)


def test_hints_of_another_problem_at_the_same_address(native):
    generator = rng()
    scores, weights = torch.empty(20_000), torch.randn(20_000, generator=generator)
    for _ in range(2):
        for kind in KINDS:
            scores.copy_(KINDS[kind](20_000, generator))
            for count in (7000, 1, 20_000, 7000):
                assert agrees([weights], [scores], count, True)
    for scale in (1e30, 1e-30, 1e-44, 0.0, 1.0):
        scores.copy_(torch.randn(20_000, generator=generator) * scale)
        assert agrees([weights], [scores], 7000, False)


@pytest.mark.parametrize("signed", [False, True])
def test_slowly_moving_scores_are_chosen_from_in_one_pass(signed, native, monkeypatch):
    outcomes = []

    def spy(*arguments):
        outcomes.append(native.keep_top(*arguments))
        return outcomes[-1]

    use(monkeypatch, SimpleNamespace(keep_top=spy))
    generator = rng()
    scores, weights = (
        [torch.randn(n, generator=generator) for n in (30_000, 500)],
        [torch.ones(30_000), torch.ones(500)],
    )
    for _ in range(50):
        for score in scores:
            score += 1e-3 * torch.randn(len(score), generator=generator)
        chosen = keep_top(weights, scores, 0.3, signed, ["a", "b"])
        expected = oracle(weights, scores, 9150, signed)
        assert all(same_bits(a, b) for a, b in zip(chosen, expected, strict=True))
    assert len(outcomes) == 50 and sum(outcomes) <= 5  # the first has no hint


@best
def test_hints_do_not_grow_for_ever(native, monkeypatch):
    monkeypatch.setattr(kernels, "_MOST_HINTS", 3)
    for n in range(1, 20):
        keep_top([torch.ones(20)], [torch.rand(20)], keep_of(n, 20), False, ["w"])
    assert 1 <= len(kernels._hints) <= 3


# --- what the kernels leave to the plain path ---


@pytest.mark.parametrize("n", [3, 129, 20_000, 150_000])
@pytest.mark.parametrize("signed", [False, True])
def test_nan_is_refused_by_name(n, signed, native):
    weights, scores = torch.ones(n), torch.randn(n, generator=rng())
    others = [torch.ones(5), torch.ones(0), weights], [torch.ones(5), torch.ones(0)]
    for place in {0, n // 2, n - 1}:
        for nan in (0x7FC00000, 0x7F800001, -0x400000, -1):  # of both signs, quiet and not
            broken = scores.clone()
            broken.view(torch.int32)[place] = nan
            for hinted in (False, True):
                for keep in (0.5, 1.0):
                    if hinted:
                        keep_top(others[0], [*others[1], scores], keep, signed, ["a", "b", "c"])
                    with pytest.raises(ValueError, match=r"^the scores of 'c' hold NaN: the search has diverged$"):
                        keep_top(others[0], [*others[1], broken], keep, signed, ["a", "b", "c"])


@best
def test_an_infinity_is_no_nan(native):
    scores = torch.tensor([math.inf, 1.0, -math.inf, 0.0, math.inf])
    assert keep_top([torch.ones(5)], [scores], 0.6, False, ["w"])[0].tolist() == [1, 0, 1, 0, 1]
    assert keep_top([torch.ones(5)], [scores], 0.6, True, ["w"])[0].tolist() == [1, 1, 0, 0, 1]


def laid_out(how, tensor):
    """The same values, or nearly, elsewhere in memory or in another dtype."""
    if how == "channels_last":
        return tensor.to(memory_format=torch.channels_last)
    if how == "transposed":
        return tensor.mT.contiguous().mT
    return tensor.to(getattr(torch, how))


@pytest.mark.parametrize("how", ["channels_last", "transposed", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("which", ["scores", "weights", "both"])
@best
def test_other_layouts_and_dtypes_take_the_plain_path(how, which, native):
    scores, weights = (torch.randn(4, 6, 5, 5, generator=rng(seed)) for seed in (0, 1))
    weights = laid_out(how, weights) if which in ("weights", "both") else weights
    scores = laid_out(how, scores) if which in ("scores", "both") else scores
    assert kernels.keep_top([weights], [scores], 300, False) is None
    (chosen,) = keep_top([weights], [scores], 0.5, False, ["w"])
    (expected,) = oracle([weights.contiguous()], [scores], 300, False)
    assert chosen.dtype == weights.dtype and chosen.stride() == weights.stride()
    assert torch.equal(chosen, expected)


def test_views_that_are_in_c_order(native):
    memory, scores = torch.randn(1000, generator=rng()), torch.randn(1000, generator=rng(1))
    for start in (1, 3, 500):  # on no boundary of a vector
        for n in (1, 63, 129, 400):
            weights = memory[start : start + n]
            assert agrees([weights], [scores[start : start + n]], -(-n // 3), False)


@best
def test_inference_mode_and_empty_tensors(native):
    scores, weights = torch.randn(300, generator=rng()), torch.randn(300, generator=rng(1))
    expected = oracle([weights], [scores], 150, False)[0]
    with torch.inference_mode():
        assert same_bits(keep_top([weights], [scores], 0.5, False, ["w"])[0], expected)
    learning = scores.clone().requires_grad_()
    keep_top([weights], [learning], 0.5, False, ["w"])[0].sum().backward()
    assert same_bits(learning.grad, scores.sgn() * weights)
    for shapes in ([(0,)], [(0, 3), (2, 0)]):
        empty = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        kept_none = keep_top([e.detach() for e in empty], empty, 0.5, False, ["w"] * len(empty))
        assert [each.shape for each in kept_none] == [e.shape for e in empty]
        sum(each.sum() for each in kept_none).backward()
        assert all(e.grad is not None and e.grad.numel() == 0 for e in empty)


# --- the way back ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 127, 20_000, 200_000])
def test_the_gradient_is_that_of_the_plain_path(n, signed, native, threads):
    generator = rng(n)
    for kind in ("special",) if n > 100_000 else ("normal", "special", "any", "denormal"):
        scores, weights = KINDS[kind](n, generator), KINDS["normal"](n, generator)
        for of in ("normal", "special", "any"):
            gradient = KINDS[of](n, generator)
            for number in (1, 2) if n > 100_000 else (1,):
                threads(number)
                came = kernels.straight_through(gradient, weights, scores, signed)
                assert same_but_nan(came, (1 if signed else scores.sgn()) * weights * gradient), (kind, of)


@pytest.mark.parametrize("signed", [False, True])
@best
def test_gradients_through_the_choice(signed, native):
    generator = rng()
    for shapes in ([(300,)], [(20, 10), (0,), (129,)]):
        scores = [KINDS["special"](math.prod(shape), generator).view(shape).requires_grad_() for shape in shapes]
        weights = [torch.randn(shape, generator=generator) for shape in shapes]
        gradients = [KINDS["special"](math.prod(shape), generator).view(shape) for shape in shapes]

        def back(scores=scores, weights=weights, gradients=gradients):
            outputs = keep_top(weights, scores, 0.4, signed, ["w"] * len(scores))
            return torch.autograd.grad(outputs, scores, gradients)

        assert all(same_but_nan(a, b) for a, b in zip(back(), plainly(back), strict=True))


@best
def test_the_second_derivative(native):
    weights, scores = torch.randn(40, generator=rng()), torch.randn(40, generator=rng(1)).requires_grad_()

    def twice():
        (chosen,) = keep_top([weights], [scores], 0.5, False, ["w"])
        (first,) = torch.autograd.grad((chosen**3).sum(), scores, create_graph=True)
        return torch.autograd.grad(first.square().sum(), scores)[0]

    second = twice()
    assert second.ne(0).any()
    assert torch.equal(second, plainly(twice))


@pytest.mark.parametrize("signed", [False, True])
@best
def test_the_operators_are_sound(signed, native):
    scores = [torch.randn(shape, generator=rng()).requires_grad_() for shape in [(9, 30), (0,), (130,)]]
    weights = [torch.randn(s.shape, generator=rng(1)) for s in scores]
    names = SEPARATOR.join("abc")
    torch.library.opcheck(torch.ops.untrained.keep_top.default, (weights, scores, 0.5, signed, names))
    back = getattr(torch.ops.untrained, "to_scores").default  # noqa: B009
    torch.library.opcheck(back, (weights[0], weights[0], scores[0].detach(), signed))


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def steps(model, called, optimizer, count=4):
    losses = []
    for step in range(count):
        optimizer.zero_grad()
        loss = called(torch.randn(5, 12, generator=rng(step))).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses), [s.detach().clone() for s in ut.scores(model)]


def small_model(method=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 30), nn.Tanh(), nn.Linear(30, 12))
    ut.mask_(model, method or ut.EdgePopup(0.4), seed=3)
    return model


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("signed", [False, True])
@best
def test_a_compiled_model_is_the_same(scope, signed, native, fresh_compiler):
    model = small_model(ut.EdgePopup(0.4, scope=scope, signed=signed))
    twin, plain = copy.deepcopy(model), copy.deepcopy(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    losses, scores = steps(model, compiled, torch.optim.SGD(ut.scores(model), lr=3.0))
    for other in (twin, plain):
        run = functools.partial(steps, other, other, torch.optim.SGD(ut.scores(other), lr=3.0))
        expected_losses, expected = plainly(run) if other is plain else run()
        assert torch.equal(losses, expected_losses)
        assert all(same_bits(a, b) for a, b in zip(scores, expected, strict=True))


# --- tracers ---


@best
def test_make_fx_records_the_choice(native):
    scores, weights = torch.randn(64, generator=rng()), torch.randn(64, generator=rng(1))
    with torch.no_grad():
        traced = make_fx(lambda s: keep_top([weights], [s], 0.5, False, ["w"])[0])(scores)
        other = torch.randn(64, generator=rng(2))
        assert same_bits(traced(other), oracle([weights], [other], 32, False)[0])


@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
@best
def test_a_masked_model_can_be_traced(native):
    model, x = small_model().eval(), torch.randn(5, 12, generator=rng())
    with torch.no_grad():
        traced = torch.jit.trace(model, x)
        assert torch.equal(traced(x), model(x))


# --- sanitizers: what the subprocess runs, level by level ---

EDGES = [
    0,
    1,
    2,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    257,
    1000,
    8191,
    8192,
    8193,
    140_001,
]
LARGE = 70_000  # on two threads


def sanitized_choices():
    for n in (*EDGES[1:], LARGE):
        weights = torch.ones(n)
        for kind in ("normal",) if n == LARGE else ("normal", "special", "equal"):
            scores = KINDS[kind](n, rng(n))
            for signed in (False, True):
                for count in {1, -(-n // 3), n}:
                    for _ in range(2):
                        kernels.keep_top([weights], [scores], count, signed)
    scores = [torch.randn(n, generator=rng(n)) for n in EDGES]
    n = sum(EDGES)
    for count in (1, n // 5, n):
        kernels.keep_top([torch.ones(len(s)) for s in scores], scores, count, False)


def sanitized_hints():
    scores, before = torch.randn(9000, generator=rng()), kernels._hints
    for threshold in EXTREMES:
        for width in EXTREMES:
            kernels._hints = Says(threshold, width)
            for kind in (scores, torch.zeros(9000), SPECIAL.repeat(1125)):
                for signed in (False, True):
                    kernels.keep_top([scores], [kind], 2000, signed)
    kernels._hints = before


def sanitized_nan():
    for n in (1, 129, 9000):
        scores = torch.full((n,), math.nan)
        assert kernels.keep_top([scores], [scores], 1, False) is None
        assert kernels.keep_top([scores], [-scores], 1, True) is None


def sanitized_ways_back():
    for n in (*EDGES, LARGE):
        gradient, weights, scores = (KINDS[kind](n, rng(n)) for kind in ("any", "normal", "special"))
        for signed in (False, True):
            kernels.straight_through(gradient, weights, scores, signed)


def sanitized_loads():
    drawn = np.random.default_rng(0)
    stream = load_kernels.Stream((1, 2), (3, 4), 5, np.float32(0.5))
    for n in (*EDGES, LARGE):
        out, bits = np.empty(n, np.float32), drawn.integers(0, 256, -(-n // 8), np.uint8)
        load_kernels.draw_signs(stream, out)
        load_kernels.draw_signs(stream, out, bits)
        load_kernels.count_bits(bits)
        load_kernels.draw_signs_at(stream, drawn.integers(0, max(n, 1), min(n, 100)), bits)
    for frequency in (1, 1 << 23, (1 << 24) - 1):  # damaged data, with too few words and with too many
        load_kernels.decode_two([(drawn.bytes(4 * (n // 30)), n, frequency) for n in EDGES])
        load_kernels.decode_two([(drawn.bytes(4 * (n + 2)), n, frequency) for n in EDGES])


SANITIZED = [
    sanitized_choices,
    sanitized_hints,
    sanitized_nan,
    sanitized_ways_back,
    sanitized_loads,
]
"""All that runs under the sanitizers; tensors and arrays of the exact size, so that one step too far is seen."""
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1", "-O1")


def sanitized_packed():
    generator = torch.Generator().manual_seed(3)
    library = found.status().library
    for rows, columns in ((1, 1), (3, 17), (16, 18), (17, 19), (513, 37), (1030, 70), (5, 300)):
        trits = torch.randint(-1, 2, (rows, columns), generator=generator).to(torch.int8)
        for batch in (1, 3, 9):
            x, scale, bias = torch.randn(batch, columns, generator=generator), torch.tensor(0.5), torch.randn(rows)
            expected = x @ (0.5 * trits.float()).T + bias
            for codes, starts in ((pack_words(trits), None), pack_places(trits)):
                y = packed_kernels.product(library, codes, starts, scale, bias, x, rows, columns)
                torch.testing.assert_close(y, expected)


SANITIZED.append(sanitized_packed)


def run_sanitized():
    """Call everything in SANITIZED with every level's library; in a process where the sanitizers were loaded first."""
    torch.set_num_threads(2)
    for level in levels():
        library = load(level, FLAGS)
        found.status = lambda library=library, level=level: Status(library, level, "")
        for each in SANITIZED:
            each()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of threads, which the child does not use
    child = os.fork()
    if child == 0:  # the guard itself must be awake: this reads and writes one too far
        four = [torch.ones(100) for _ in range(4)]
        kernels._library().straight_through(*kernels._pointers(*four), kernels.ctypes.c_int64(101), 0)
        os._exit(0)
    print("caught" if os.waitpid(child, 0)[1] else "missed")


def runtime_of(name):
    """The compiler's own runtime library of that name, or a skip."""
    try:
        command = [*compiler._compiler(), f"-print-file-name={name}"]
    except NoCompiler as why:
        pytest.skip(str(why))
    path = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"no {name} here")
    return path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the sanitizers' runtime is preloaded")
def test_no_kernel_leaves_its_memory(monkeypatch, pytestconfig):
    preload = f"{runtime_of('libasan.so')} {runtime_of('libubsan.so')}"
    folder = pytestconfig.cache.mkdir("sanitized")  # kept until the sources change
    folder.chmod(0o700)
    monkeypatch.setenv("UNTRAINED_CACHE", str(folder))
    for old in set(folder.iterdir()) - {kept(level, FLAGS) for level in levels()}:
        old.unlink()
    try:
        with ThreadPoolExecutor(2) as pool:  # here, where the compiler runs without them
            list(pool.map(lambda level: built(level, FLAGS), levels()))
    except NoCompiler as why:
        pytest.skip(f"no sanitizers: {why}")
    done = run_python(
        "import test_native; test_native.run_sanitized()", LD_PRELOAD=preload, ASAN_OPTIONS="detect_leaks=0"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split() == ["caught"]
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr


# --- building ---


def built(level, flags=()):
    """The library's path, compiled unless it is there."""
    return kept(level, flags) or compiled(level, flags)


def put(library, cache, level=None, content=None):
    """Put a library into the cache as if it had been compiled; with other content, as if it had been damaged since."""
    cache.mkdir(mode=0o700, exist_ok=True)
    path = cache / compiler._name(compiler._stem(level or levels()[0], ()), library.read_bytes())
    path.unlink(missing_ok=True)  # this process may have loaded it: not in its place
    path.write_bytes(library.read_bytes() if content is None else content)
    path.chmod(0o600)
    return path


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


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of one's own, and nothing asked for; not there yet."""
    for name in ("UNTRAINED_NATIVE", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UNTRAINED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


status = found.status.__wrapped__
"""What a new process would find."""


@pytest.fixture(scope="module")
def real():
    """A library that was really built, for compilers that only seem to."""
    try:
        return built("portable")
    except NoCompiler as why:
        pytest.skip(str(why))


@pytest.fixture
def compiler_that(tmp_path, monkeypatch):
    """Sets $CXX to a shell script; $out is where it is to write to, and it leaves a line in `calls` when called."""

    def does(script):
        path = tmp_path / "compiler"
        path.write_text(
            f'#!/bin/sh\necho called >> {tmp_path}/calls\nwhile [ "$1" != -o ]; do shift; done\nout=$2\n{script}\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return lambda: (tmp_path / "calls").read_text().count("called")

    return does


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_real_build_leaves_nothing_but_the_library(cache, real):
    path = built("portable")
    assert contents(cache) == [path.name] and path == kept("portable")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert load("portable").keep_top is not None
    before = path.stat().st_mtime_ns
    assert built("portable").stat().st_mtime_ns == before


def test_what_is_built_is_not_built_again(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    for _ in range(3):
        assert status()[1:] == (levels()[0], "")
    assert calls() == 1 and contents(cache) == [kept(levels()[0]).name]


def test_levels_and_flags_have_files_of_their_own():
    stems = {compiler._stem(level, flags) for level in LEVELS for flags in ((), ("-g",), ("-g", "-O1"))}
    assert len(stems) == 3 * len(LEVELS)


def test_the_file_is_named_for_every_source(tmp_path, monkeypatch):
    before = compiler._stem("portable", ())
    for name in (*compiler.SOURCES, *compiler._HEADERS):
        shutil.copy(compiler._FOLDER / name, tmp_path / name)
    monkeypatch.setattr(compiler, "_FOLDER", tmp_path)
    assert compiler._stem("portable", ()) == before
    for name in (*compiler.SOURCES, *compiler._HEADERS):
        with (tmp_path / name).open("a") as file:
            file.write("//")
        assert compiler._stem("portable", ()) != before
        before = compiler._stem("portable", ())
    included = {
        line.split('"')[1]
        for name in compiler.SOURCES
        for line in (tmp_path / name).read_text().splitlines()
        if line.startswith('#include "')
    }
    assert included == set(compiler._HEADERS)


def test_no_compiler_on_the_path(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert status() == Status(None, "", "no C++ compiler on the PATH")
    for asked in ("1", levels()[0], "portable"):
        monkeypatch.setenv("UNTRAINED_NATIVE", asked)
        with pytest.raises(ImportError, match=rf"^UNTRAINED_NATIVE={asked}: no C\+\+ compiler on the PATH$"):
            status()
    assert contents(cache) == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/bin/false", "^/bin/false failed: exit code 1$"),
        ("nonexistent", "^no compiler 'nonexistent'$"),
        ("'no such' -x", "^no compiler 'no such'$"),
        ("/bin/sh -c 'echo the error is here >&2; exit 3'", "the error is here$"),
        ("/bin/sh -c 'printf \"\\377\\376 error\" >&2; exit 3'", "failed: .* error$"),
        (str(TESTS), "^no compiler"),
        ("c++ 'unclosed", "^no compiler"),
    ],
)
def test_a_compiler_that_fails(command, reason, cache, monkeypatch):
    monkeypatch.setenv("CXX", command)
    library, level, why = status()
    assert library is None and level == ""
    assert re.search(reason, why)
    assert contents(cache) == []


@pytest.mark.parametrize("command", ["", "  "])
def test_an_empty_choice_of_compiler_is_none(command, cache, monkeypatch):
    monkeypatch.setenv("CXX", command)
    monkeypatch.setenv("PATH", "")
    assert status().reason == "no C++ compiler on the PATH"


@pytest.mark.parametrize(
    "script", ["exit 0", "rm -f $out", "touch $out", "echo garbage > $out", "mkdir $out", "ln -s /dev/zero $out"]
)
def test_a_compiler_that_lies_is_asked_once(script, cache, compiler_that):
    calls = compiler_that(script)
    for _ in range(3):
        library, level, why = status()
        assert library is None and level == "" and "not tried again until" in why
    (note,) = cache.iterdir()
    assert calls() == 1 and note.suffix == ".failed" and str(note) in why
    note.unlink()
    assert status().library is None and calls() == 2


def test_another_compiler_is_asked_again(cache, real, compiler_that):
    compiler_that("echo garbage > $out")
    assert status().library is None
    compiler_that(f"cp {real} $out")
    assert status().library is not None


def test_a_library_of_something_else_is_refused(cache, tmp_path, compiler_that):
    (tmp_path / "other.cpp").write_text('extern "C" int something() { return 1; }')
    calls = compiler_that(f"c++ -shared -fPIC {tmp_path}/other.cpp -o $out")
    for _ in range(2):
        library, _, why = status()
        assert library is None and "use_parallel_for" in why
    assert calls() == 1


def test_modes_of_the_compiled_file_are_ours(cache, real, compiler_that):
    compiler_that(f"cp {real} $out; chmod 0 $out")
    assert status().library is not None
    compiler_that(f"umask 0; cat {real} > $out")
    shutil.rmtree(cache)
    assert status().library is not None and stat.S_IMODE(kept(levels()[0]).stat().st_mode) == 0o700


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_compiler_that_hangs_is_stopped_with_all_it_started(cache, compiler_that, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "_MOMENT", 0.1)
    monkeypatch.setattr(compiler, "_LONGEST", 1.0)
    calls = compiler_that(f"sleep 600 & echo $! > {tmp_path}/child; wait")
    for _ in range(2):
        assert "took more than 1 seconds" in status().reason
    assert calls() == 1
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        if has_ended(child):
            break
        time.sleep(0.05)
    assert has_ended(child)


def has_ended(process):
    """Nobody may have heard of its end yet (Z)."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return True


def test_a_compiler_that_reads_gets_nothing(cache, real, compiler_that):
    compiler_that(f"cat > /dev/null; cp {real} $out")
    assert status().library is not None


@pytest.mark.parametrize(("terminal", "script"), [(True, "sleep 1"), (False, "sleep 1"), (True, "")])
def test_only_a_terminal_is_told_and_only_if_it_takes_long(
    terminal, script, cache, real, compiler_that, monkeypatch, capsys
):
    monkeypatch.setattr(compiler, "_MOMENT", 0.3 if script else 60.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    compiler_that(f"{script}\ncp {real} $out")
    assert status().library is not None
    told = capsys.readouterr()
    assert told.out == "" and ("compiling kernels" in told.err) == (terminal and script != "")


def test_a_compiler_that_cannot_be_run(cache, tmp_path, monkeypatch):
    (tmp_path / "text").write_bytes(b"\x00\x01")
    (tmp_path / "text").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "text"))
    assert status().library is None
    assert contents(cache) == []


@pytest.mark.parametrize("where", ["a file", "a file/below", "/proc/nowhere/to/write", "x" * 300])
def test_a_cache_that_cannot_be(where, tmp_path, cache, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("UNTRAINED_CACHE", where if where.startswith("/") else str(tmp_path / where))
    library, _, why = status()
    assert library is None and why.startswith("the cache cannot be used: ")
    monkeypatch.setenv("UNTRAINED_NATIVE", "1")
    with pytest.raises(ImportError, match="the cache cannot be used"):
        status()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o722, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(mode, cache, real):
    put(real, cache)
    cache.chmod(mode)
    library, _, why = status()
    assert library is None and why.startswith(f"others may write to {cache}")
    cache.chmod(0o755)
    assert status().library is not None


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_somebody_else_is_refused(cache):
    cache.mkdir(mode=0o700)
    os.chown(cache, 12345, -1)
    assert status().reason.startswith(f"others may write to {cache}")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(cache):
    cache.mkdir(mode=0o500)
    assert status().reason.startswith("the cache cannot be used: ")


def test_a_user_without_a_home(monkeypatch, cache):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("UNTRAINED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert status().library is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("UNTRAINED_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compiler.cache() == tmp_path / ".cache" / "untrained" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert compiler.cache() == tmp_path / "xdg" / "untrained" / "kernels"
    monkeypatch.setenv("UNTRAINED_CACHE", str(tmp_path / "own"))
    assert compiler.cache() == tmp_path / "own"


def damaged(content):
    """Ways in which a file changes: cut, longer, one bit, something else."""
    middle = len(content) // 2
    yield from (b"", b"garbage", b"\x7fELF" + bytes(60), b"#!/bin/sh\n", content + b"\0", content[::-1])
    yield from (content[: len(content) * share // 10] for share in (3, 6, 9))
    yield content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_damaged_library_is_compiled_anew(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    for number, content in enumerate(damaged(real.read_bytes()), start=1):
        path = put(real, cache, content=content)
        assert status().library is not None
        assert path.read_bytes() == real.read_bytes()
        assert calls() == number and contents(cache) == [path.name]


def test_half_a_library_ends_no_process(cache, real):
    put(real, cache, "portable", real.read_bytes()[: real.stat().st_size // 3])
    done = run_python("from untrained.native.library import load; load('portable').keep_top", CXX="/bin/false")
    assert done.returncode == 1 and "NoCompiler: /bin/false failed" in done.stderr  # and no signal


def test_a_library_of_another_machine_is_compiled_anew(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    garbage = cache.parent / "garbage"
    garbage.write_bytes(b"\x7fELF for something else")
    put(garbage, cache)
    assert status().library is not None and calls() == 1 and len(contents(cache)) == 1


def link(path):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no such permissions")
@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(lambda path, m=mode: path.chmod(m), id=oct(mode)) for mode in (0o777, 0o620, 0o602)),
        link,
        pipe,
        pytest.param(lambda path: os.truncate(path, 1 << 40), id="a terabyte of nothing"),
    ],
)
def test_a_library_that_may_be_anybodys_is_not_loaded(change, cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    path = put(real, cache)
    change(path)
    assert status().library is not None and calls() == 1
    found = path.lstat()
    assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    assert path.read_bytes() == real.read_bytes()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away")
def test_a_library_of_somebody_else_is_not_loaded(cache, real, compiler_that):
    calls = compiler_that(f"cp {real} $out")
    path = put(real, cache)
    os.chown(path, 12345, -1)
    assert status().library is not None and calls() == 1 and path.stat().st_uid == 0


def test_a_cache_may_be_named_from_the_working_folder(real, compiler_that, cache, monkeypatch, tmp_path):
    calls = compiler_that(f"cp {real} $out")
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    for name in (".", "new"):
        monkeypatch.setenv("UNTRAINED_CACHE", name)
        assert status().library is not None and status().library is not None
        assert kept(levels()[0]).parent == (tmp_path / name).resolve()
    assert calls() == 2


def test_a_folder_in_the_librarys_place(cache, real, compiler_that):
    compiler_that(f"cp {real} $out")
    path = put(real, cache)
    path.unlink()
    path.mkdir()
    assert status().library is None and path.is_dir()


def test_two_processes_build_at_once(cache, real, compiler_that):
    calls = compiler_that(f"head -c 1000 {real} > $out; sleep 0.5; cat {real} > $out")
    code = "from untrained.native.library import load; load('portable').keep_top"
    for done in [finished(each) for each in [started(code) for _ in range(3)]]:
        assert done.returncode == 0, done.stderr
    assert 1 <= calls() <= 3
    assert contents(cache) == [kept("portable").name]
    assert kept("portable").read_bytes() == real.read_bytes()


def test_a_build_that_is_interrupted_leaves_nothing(cache, compiler_that, monkeypatch):
    compiler_that("echo half > $out")
    monkeypatch.setattr(compiler.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        status()
    monkeypatch.undo()
    assert contents(cache) == []


def interrupted(process, timeout=None):
    process.poll()
    raise KeyboardInterrupt


# --- which library this process uses ---


def test_what_may_be_asked_for(cache, real, compiler_that, monkeypatch):
    compiler_that(f"cp {real} $out")
    monkeypatch.setenv("UNTRAINED_NATIVE", "0")
    assert status() == Status(None, "", "UNTRAINED_NATIVE=0 turns it off") and not cache.exists()
    for asked in ("", "1", *levels()):
        monkeypatch.setenv("UNTRAINED_NATIVE", asked)
        assert status()[1:] == (asked if asked in LEVELS else levels()[0], "")
    for nonsense in ("yes", "2", "AVX2", " 1", "avx2,avx512"):
        monkeypatch.setenv("UNTRAINED_NATIVE", nonsense)
        with pytest.raises(ImportError, match=rf"^UNTRAINED_NATIVE must be 0, 1, .* or unset, got '{nonsense}'$"):
            status()


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ("AVX512", ["avx512", "avx2", "portable"]),
        ("AVX512_AMX", ["avx512", "avx2", "portable"]),
        ("AVX2", ["avx2", "portable"]),
        *((other, ["portable"]) for other in ("DEFAULT", "NO AVX", "SVE256", "NEON", "VSX", "Z VECTOR")),
    ],
)
def test_the_levels_are_those_of_torch(capability, expected, cache, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert levels() == expected
    for level in set(LEVELS) - set(expected):
        monkeypatch.setenv("UNTRAINED_NATIVE", level)
        with pytest.raises(ImportError, match=f"^UNTRAINED_NATIVE={level}: this machine has .*portable only$"):
            status()


def test_without_torchs_threads_the_results_are_the_same(native, threads):
    threads(2)
    scores, weights = torch.randn(200_000, generator=rng()), torch.randn(200_000, generator=rng(1))
    expected = keep_top([weights], [scores], 0.3, False, ["w"])[0]
    try:
        native.use_parallel_for(None)
        assert same_bits(keep_top([weights], [scores], 0.3, False, ["w"])[0], expected)
    finally:
        found._share_threads(native)


def searched():
    """All that some small searches found; their tensors are no whole number of vectors."""
    generator = rng()
    batches = [(torch.randn(16, 33, generator=generator), torch.arange(16) % 16) for _ in range(6)]
    recipes = [
        None,
        ut.Recipe("sgd", lr=0.5, momentum=0.9, weight_decay=1e-3, nesterov=True),
        ut.Recipe("adam", lr=0.1),
    ]
    outcome = []
    for method in (ut.EdgePopup(0.4), ut.EdgePopup(0.1, scope="global", signed=True)):
        for recipe in recipes:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = nn.Sequential(nn.Linear(33, 37), nn.ReLU(), nn.Linear(37, 16))
            ut.mask_(model, method, seed=1)
            history = ut.fit(model, batches, batches, epochs=2, recipe=recipe, title=None)
            outcome.append((history.column("train_loss"), [s.detach() for s in ut.scores(model)]))
    return outcome


def same_searches(one, other):
    return all(a == b and all(map(same_bits, s, t)) for (a, s), (b, t) in zip(one, other, strict=True))


def test_a_search_has_the_same_bits_with_and_without_kernels(native):
    assert same_searches(searched(), plainly(searched))


def test_all_works_without_a_compiler(tmp_path):
    code = """
    import torch, untrained as ut
    from torch import nn
    from untrained.native.library import status
    model = nn.Linear(8, 4)
    ut.mask_(model, ut.EdgePopup(0.5), seed=0)
    optimizer = ut.optim.Adam(model)
    for _ in range(2):
        model(torch.ones(3, 8)).sum().backward()
        optimizer.step()
    print(status().library, status().reason)
    """
    nothing = {"PATH": tmp_path, "UNTRAINED_CACHE": tmp_path / "cache", "CXX": None, "UNTRAINED_NATIVE": None}
    done = run_python(code, **nothing)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "None no C++ compiler on the PATH\n" and done.stderr == ""
