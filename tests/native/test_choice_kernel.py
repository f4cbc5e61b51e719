"""The choice and its gradient by the kernels against sorting and against the plain path."""

import copy
import functools
import math
import threading
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_problems import (
    EXTREMES,
    FRESH,
    INT64,
    KINDS,
    Says,
    agrees,
    any_bits,
    best,
    oracle,
    plainly,
    problem,
    rng,
    same_bits,
    same_but_nan,
    use,
)
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import untrained as ut
from untrained.native import choice as kernels
from untrained.native import library as found
from untrained.selection.straight_through import keep_top
from untrained.selection.topk import SEPARATOR, keep_of

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
    outcome = []
    for method in (ut.EdgePopup(0.4), ut.EdgePopup(0.1, scope="global", signed=True)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(33, 37), nn.ReLU(), nn.Linear(37, 16))
        ut.mask_(model, method, seed=1)
        history = ut.fit(model, batches, batches, epochs=2, title=None)
        outcome.append((history.column("train_loss"), [s.detach() for s in ut.scores(model)]))
    return outcome


def same_searches(one, other):
    return all(a == b and all(map(same_bits, s, t)) for (a, s), (b, t) in zip(one, other, strict=True))


def test_a_search_has_the_same_bits_with_and_without_kernels(native):
    assert same_searches(searched(), plainly(searched))
