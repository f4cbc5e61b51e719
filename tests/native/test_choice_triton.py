"""The choice in Triton against sorting, without a GPU: run by Triton's interpreter, and compiled for GPUs.

The interpreter is chosen when Triton is imported, and it would be in the way of other tests: the laws run in a process
of their own, where pytest is told that their class has tests.
"""

import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
BLOCK = 64
INTEGER_OF = {2: torch.int16, 4: torch.int32, 8: torch.int64}
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SPECIAL = [-math.inf, -1.0, -1e-40, -0.0, 0.0, 1e-45, 1e-40, 6e-8, 1.0, math.inf]


def test_the_laws_hold_in_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "python_classes=Laws"]
    interpreted = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([*command, f"{__file__}::Laws"], env=interpreted, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles_for_a_gpu(capability, tmp_path, monkeypatch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from untrained.native import choice_triton as triton_choice

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for digits, signed in ((4, False), (4, True), (2, False)):
        kind = {"DIGITS": digits, "INFINITY": 0x7F80, "SIGNED": signed, "BLOCK": triton_choice.BLOCK}
        scores, first = {"scores": f"*u{8 * digits}", "table": "*i32", "n": "i32"}, {"ties": "*i32", "first": "i32"}
        for kernel, types, constants in (
            (triton_choice._histogram, {**scores, "count": "i32"}, {"DIGIT": 0, **kind}),
            (triton_choice._histogram, {**scores, "count": "i32"}, {"DIGIT": 1, **kind}),
            (triton_choice._count_ties, {**scores, **first}, kind),
            (triton_choice._write, {**scores, **first, "weights": "*i16", "out": "*i16"}, kind),
            (triton_choice._write, {**scores, **first, "weights": "*i32", "out": "*i32"}, kind),
            (triton_choice._write, {**scores, **first, "weights": "*i64", "out": "*i64"}, kind),
        ):
            source = ASTSource(kernel, {**types, **dict.fromkeys(constants, "constexpr")}, constants)
            options = {"num_warps": triton_choice._WARPS, "enable_fp_fusion": False}
            compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
            assert compiled.asm["cubin"]
            # A kernel that flushes denormals would tell them from nothing no more.
            assert ".ftz" not in compiled.asm["ptx"]


# --- the laws ---


@pytest.fixture(scope="module")
def choice():
    """The module, with blocks so small and programs so few that a few hundred elements need several rounds of them."""
    from untrained.native import choice_triton as triton_choice

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_choice, "BLOCK", BLOCK)
        patch.setattr(triton_choice, "_MOST_PROGRAMS", 3)
        triton_choice._works.cache_clear()
        yield triton_choice
    triton_choice._works.cache_clear()


def bits(tensor):
    """The tensor's own bits: these tell +0 from -0."""
    return tensor.contiguous().view(INTEGER_OF[tensor.itemsize])


def expected(weights, scores, count, signed):
    """The weights at the first `count` places in order of (-rank, index), and +0 elsewhere."""
    ranks = torch.cat([(score if signed else score.abs()).flatten() for score in scores]).tolist()
    mask = torch.zeros(len(ranks), dtype=torch.bool)
    mask[sorted(range(len(ranks)), key=lambda i: (-ranks[i], i))[:count]] = True
    masks = mask.split([score.numel() for score in scores])
    return [w.where(m.view(w.shape), torch.zeros((), dtype=w.dtype)) for w, m in zip(weights, masks, strict=True)]


def check(choice, weights, scores, count, signed):
    before = [tensor.clone() for tensor in (*weights, *scores)]
    kept = choice.keep_top(weights, scores, count, signed)
    for one, other, weight in zip(kept, expected(weights, scores, count, signed), weights, strict=True):
        assert one.dtype == weight.dtype and one.shape == weight.shape
        assert one.stride() == torch.empty_like(weight).stride()
        assert torch.equal(bits(one), bits(other))
    assert all(torch.equal(bits(now), bits(then)) for now, then in zip((*weights, *scores), before, strict=True))


def filled(kind, shape, generator):
    if kind == "equal":
        return torch.full(shape, -1.5)
    if kind == "integers":
        return torch.randint(-2, 3, shape, generator=generator).float()
    if kind == "special":
        return torch.tensor(SPECIAL)[torch.randint(len(SPECIAL), shape, generator=generator)]
    return torch.randn(shape, generator=generator)


def laid_out(tensor, layout):
    """The same values in other places of memory."""
    if layout == "channels_last" and tensor.ndim == 4:
        return tensor.to(memory_format=torch.channels_last)
    if layout == "transposed" and tensor.ndim > 1:
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    return tensor


@st.composite
def cases(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    vectors = st.one_of(st.integers(0, 5 * BLOCK), st.sampled_from([1, BLOCK - 1, BLOCK, BLOCK + 1])).map(lambda n: [n])
    shapes = st.one_of(vectors, st.lists(st.integers(1, 5), min_size=2, max_size=4), st.just([]))
    dtype, layouts = draw(st.sampled_from(DTYPES)), st.sampled_from(["contiguous", "channels_last", "transposed"])
    weights, scores = [], []
    for shape in draw(st.lists(shapes, min_size=1, max_size=3).filter(lambda all_: any(0 not in one for one in all_))):
        kind = draw(st.sampled_from(["normal", "integers", "special", "equal"]))
        scores.append(laid_out(filled(kind, shape, generator).to(dtype), draw(layouts)))
        weight_dtype = draw(st.sampled_from([*DTYPES, torch.float64]))
        weights.append(laid_out(torch.randn(shape, generator=generator).to(weight_dtype), draw(layouts)))
    n = sum(score.numel() for score in scores)
    return weights, scores, draw(st.one_of(st.sampled_from([1, n]), st.integers(1, n))), draw(st.booleans())


class Laws:
    @given(cases())
    @settings(max_examples=30)
    def test_the_choice_is_the_oracles(self, choice, case):
        check(choice, *case)

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK + 1])
    def test_around_whole_blocks(self, choice, n, dtype, signed):
        generator = torch.Generator().manual_seed(n)
        scores, weights = torch.randn(n, generator=generator).to(dtype), torch.randn(n, generator=generator)
        for count in {1, (n + 1) // 2, n}:
            check(choice, [weights], [scores], count, signed)
            check(choice, [weights], [torch.full_like(scores, -0.0)], count, signed)

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_plus_and_minus_zero_tie_over_several_tensors(self, choice, dtype, signed):
        zeros = torch.tensor([0.0, -0.0, -0.0]).repeat(2 * BLOCK).to(dtype)
        zeros[::BLOCK] = -1  # the lowest ranks or the highest
        scores = list(zeros.split([BLOCK + 3, 5, 5 * BLOCK - 8]))
        for count in (BLOCK, BLOCK + 6, 4 * BLOCK):
            check(choice, [torch.ones(len(score)) for score in scores], scores, count, signed)

    @pytest.mark.parametrize("signed", [False, True])
    def test_one_digit_tells_ranks_apart(self, choice, signed):
        # In each of the four digits of a float32, the highest and the lowest too.
        for shift in (0, 8, 16, 23):
            steps = torch.arange(2 * BLOCK, dtype=torch.int32) % 5 - 2
            scores = (0x3F000000 + (steps << shift)).view(torch.float32) * torch.where(steps % 2 == 0, 1, -1)
            for count in (1, BLOCK // 2, BLOCK, 2 * BLOCK - 1):
                check(choice, [torch.ones(2 * BLOCK)], [scores], count, signed)

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("nan", [math.nan, -math.nan])
    def test_one_nan_makes_nan_of_all(self, choice, nan, dtype, signed):
        for place in (0, 2 * BLOCK):
            scores = [torch.ones(3, dtype=dtype), torch.ones(2 * BLOCK + 1, dtype=dtype)]
            scores[1][place] = nan
            weights = [torch.ones(3, dtype=torch.float64), torch.ones(2 * BLOCK + 1, dtype=dtype)]
            for count in (1, 2 * BLOCK + 4):
                assert all(kept.isnan().all() for kept in choice.keep_top(weights, scores, count, signed))

    @pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
    def test_what_is_dropped_is_plus_zero_and_the_rest_has_its_bits(self, choice, dtype):
        weights = torch.tensor([-1.0, -0.0, 0.0, math.inf, -math.inf, math.nan, 5e-39, 1.0] * 8, dtype=dtype)
        scores = torch.randn(64, generator=torch.Generator().manual_seed(0))
        check(choice, [weights], [scores], 32, False)

    def test_what_it_cannot_take_is_left_to_others(self, choice):
        single, double = torch.ones(3), torch.ones(3, dtype=torch.float64)
        assert choice.keep_top([single], [double], 1, False) is None
        assert choice.keep_top([single, single], [single, single.half()], 1, False) is None
        assert choice.keep_top([single.to(torch.float8_e5m2)], [single], 1, False) is None
        assert choice.keep_top([single[:0]], [single[:0]], 0, False) is None
        assert choice.keep_top([single.to("meta")], [single], 1, False) is None
        large = torch.ones((), dtype=torch.float16).expand(1 << 31)
        assert choice.keep_top([large], [large], 1, False) is None

    @pytest.mark.parametrize("fault", ["wrong", "fails"])
    def test_a_triton_that_does_not_work_is_not_used(self, choice, fault, monkeypatch):
        def broken(weights, *_):
            if fault == "fails":
                raise RuntimeError("no C compiler")
            return weights

        monkeypatch.setattr(choice, "_choose", broken)
        for asked in ("", "1"):
            choice._works.cache_clear()
            monkeypatch.setenv("UNTRAINED_NATIVE", asked)
            if not asked:
                assert choice.keep_top([torch.ones(3)], [torch.ones(3)], 1, False) is None
                continue
            with pytest.raises(ImportError, match=r"^UNTRAINED_NATIVE=1: Triton on cpu: (no C|it makes a wrong)"):
                choice.keep_top([torch.ones(3)], [torch.ones(3)], 1, False)
        choice._works.cache_clear()

    def test_it_can_be_turned_off(self, choice, monkeypatch):
        choice._works.cache_clear()
        monkeypatch.setenv("UNTRAINED_NATIVE", "0")
        assert choice.keep_top([torch.ones(3)], [torch.ones(3)], 1, False) is None
        choice._works.cache_clear()
