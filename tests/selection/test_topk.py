"""Which scores survive, against sorting: exact counts, ties, layouts, dtypes, gradients, errors."""

import decimal
import math
import threading
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from untrained.selection import topk as select
from untrained.selection.straight_through import keep_top
from untrained.selection.topk import SEPARATOR, keep_count, top
from zoo import naive_mask

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
KEEPS = st.one_of(st.sampled_from([0.01, 0.07, 0.3, 0.5, 0.9, 1.0, 1]), st.floats(1e-6, 1.0))
INTEGER_OF = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor):
    """The tensor's own bits: these tell +0 from -0, and NaN equals itself."""
    return tensor.detach().contiguous().view(INTEGER_OF[tensor.element_size()])


def same_bits(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))


# --- inputs: one to four tensors of every shape, kind and layout ---


def filled(kind, shape, generator):
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "rounded":
        return (2 * normal).round() / 4
    if kind == "equal":
        return torch.full(shape, -1.5, dtype=torch.float64)
    if kind == "special":
        values = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1.0, math.inf], dtype=torch.float64)
        return values[torch.randint(6, shape, generator=generator)]
    return normal


def laid_out(tensor, layout):
    """The same values in other places of memory."""
    if layout == "channels_last" and tensor.ndim == 4:
        return tensor.to(memory_format=torch.channels_last)
    if layout == "reversed":
        order = tuple(range(tensor.ndim))[::-1]
        return tensor.permute(order).contiguous().permute(order)
    if layout == "strided":
        wide = torch.full((*tensor.shape, 2), 77.0, dtype=tensor.dtype)
        wide[..., 0] = tensor
        return wide[..., 0]
    return tensor


@dataclass
class Case:
    weights: list[Tensor]
    scores: list[Tensor]
    keep: float
    signed: bool

    def kept(self, scores=None):
        names = [f"w{i}" for i in range(len(self.weights))]
        return keep_top(self.weights, self.scores if scores is None else scores, self.keep, self.signed, names)

    def learning(self):
        return [score.detach().clone().requires_grad_() for score in self.scores]

    def multipliers(self):
        """∂W_eff/∂s, straight through."""
        return [(1 if self.signed else s.sgn()) * w for s, w in zip(self.scores, self.weights, strict=True)]


@st.composite
def cases(draw, mixed=False, least=1):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    shapes = draw(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=least, max_size=4))
    layouts = st.sampled_from(["contiguous", "channels_last", "reversed", "strided"])
    dtype = draw(st.sampled_from(DTYPES))
    weight_dtype = draw(st.sampled_from(DTYPES)) if mixed else dtype
    weights, scores = [], []
    for shape in shapes:
        kind = draw(st.sampled_from(["normal", "rounded", "equal", "special"]))
        scores.append(laid_out(filled(kind, shape, generator).to(dtype), draw(layouts)))
        # Small whole numbers multiply exactly in every dtype.
        weight = torch.randint(-8, 9, shape, generator=generator).to(weight_dtype) if mixed else None
        weight = torch.randn(shape, generator=generator).to(weight_dtype) if weight is None else weight
        weights.append(laid_out(weight, draw(layouts)))
    return Case(weights, scores, draw(KEEPS), draw(st.booleans()))


# --- how many ---


@given(st.one_of(st.floats(1e-9, 1.0), st.decimals("0.001", 1, places=3).map(float)), st.integers(0, 10**10))
@settings(max_examples=300)
def test_keep_count_is_the_exact_decimal_ceiling(keep, n):
    assert keep_count(keep, n) == min(n, max(1, math.ceil(Fraction(str(keep)) * n)))


@pytest.mark.parametrize(
    ("keep", "n", "count"),
    # In binary 0.07 · 1000 is 70.00000000000001 and 0.29 · 100 is 28.999999999999996.
    [
        (0.07, 1000, 70),
        (0.29, 100, 29),
        (0.55, 100, 55),
        (1, 9, 9),
        (1e-9, 9, 1),
        (0.5, 0, 0),
        (1.0, 0, 0),
        (0.5, 1, 1),
    ],
)
def test_keep_count_of_known_cases(keep, n, count):
    assert keep_count(keep, n) == count


def test_keep_count_when_the_caller_computes_in_few_digits():
    with decimal.localcontext() as context:
        context.prec = 3
        # Numbers that no other test asks for, since the answers are remembered.
        assert keep_count(0.123456, 1_234_567) == 152_415


@pytest.mark.parametrize("keep", [0, 0.0, -0.1, 1.0000001, 2, math.inf, -math.inf, math.nan])
def test_a_wrong_keep_is_refused(keep):
    scores = [torch.ones(2, 2)]
    for choose in (
        lambda: keep_count(keep, 10),
        lambda: top(scores, keep),
        lambda: keep_top(scores, scores, keep, False, ["w"]),
    ):
        with pytest.raises(ValueError, match=rf"^keep must be in \(0, 1\], got {keep}"):
            choose()


# --- which ---


@given(cases())
@settings(max_examples=150)
def test_the_choice_is_the_oracles(case):
    before = [tensor.clone() for tensor in (*case.weights, *case.scores)]
    expected = naive_mask(case.scores, case.keep, signed=case.signed)

    masks = top(case.scores, case.keep, signed=case.signed)
    assert all(mask.dtype == torch.bool for mask in masks)
    assert all(torch.equal(mask, e) for mask, e in zip(masks, expected, strict=True))

    for kept, weight, mask in zip(case.kept(), case.weights, expected, strict=True):
        assert same_bits(kept, torch.where(mask, weight, torch.zeros((), dtype=weight.dtype)))
        assert weight.numel() == 0 or kept.data_ptr() != weight.data_ptr()
    assert all(same_bits(now, then) for now, then in zip((*case.weights, *case.scores), before, strict=True))


@given(cases(mixed=True))
@settings(max_examples=60)
def test_weights_may_have_another_dtype_than_scores(case):
    expected = naive_mask(case.scores, case.keep, signed=case.signed)
    for kept, weight, mask in zip(case.kept(), case.weights, expected, strict=True):
        assert same_bits(kept, torch.where(mask, weight, torch.zeros((), dtype=weight.dtype)))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_what_is_dropped_is_plus_zero_and_the_rest_untouched(keep, dtype, weight_dtype, signed):
    # Multiplying by a mask would make NaN of infinities, and -0 of negative weights.
    special = torch.tensor([-1.0, -0.0, 0.0, math.inf, -math.inf, math.nan, 5e-39, 1.0] * 8, dtype=weight_dtype)
    scores = torch.randn(64, generator=torch.Generator().manual_seed(0)).to(dtype)
    (kept,) = keep_top([special], [scores], keep, signed, ["w"])
    (mask,) = naive_mask([scores], keep, signed=signed)
    assert (bits(kept)[~mask] == 0).all()
    # torch's bfloat16 kernels make one NaN of every NaN.
    number = mask & ~special.isnan()
    assert torch.equal(bits(kept)[number], bits(special)[number])
    assert kept[mask & special.isnan()].isnan().all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("value", [0.0, -0.0, 3.0, -3.0, math.inf])
@pytest.mark.parametrize("n", [1, 2, 999, 1 << 14, 20_001])
def test_equal_scores_are_told_apart_by_the_lowest_index(n, value, signed):
    shapes = [n // 3, n - n // 3]
    masks = top([torch.full((size,), value) for size in shapes], 0.6, signed=signed)
    assert torch.equal(torch.cat(masks), torch.arange(n) < keep_count(0.6, n))


@pytest.mark.parametrize("signed", [False, True])
def test_plus_and_minus_zero_tie(signed):
    scores = torch.tensor([0.0, -0.0, 0.0, -0.0])
    assert top([scores], 0.5, signed=signed)[0].tolist() == [True, True, False, False]
    assert top([-scores], 0.5, signed=signed)[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("kept_scalar", [False, True])
def test_a_scalar_is_chosen_like_any_other(kept_scalar):
    scores = [torch.tensor(9.0 if kept_scalar else 0.1), torch.tensor([1.0, 2.0, 3.0])]
    assert [mask.tolist() for mask in top(scores, 0.5)] == (
        [True, [False, False, True]] if kept_scalar else [False, [False, True, True]]
    )


# --- large tensors, where the floor is looked for in a band around a sample's quantile ---

LARGE = [select._BAND_FROM - 1, select._BAND_FROM, select._BAND_FROM + 1, 2 * select._SAMPLE + 5, 50_000]
LARGE_KEEPS = [1e-5, 0.001, 0.3, 0.5, 0.97, 0.9999]


def sampled(n):
    """The positions of the regular sample."""
    return slice(None, None, max(1, n // select._SAMPLE))


def large(kind, n):
    draw = np.random.default_rng(n)
    values = draw.standard_normal(n).astype(np.float32)
    if kind == "ties":
        values = np.round(values * 2) / 2
    elif kind == "constant":
        values[:] = 0.25
    elif kind == "near constant":
        values[:] = 0.25
        values[n // 2], values[-1] = 0.5, 0.125
    elif kind == "constant but unsampled":
        values[sampled(n)] = 0.25
    elif kind == "sample too high":
        values[sampled(n)] += 100
    elif kind == "sample too low":
        values[sampled(n)] = values[sampled(n)] * 1e-6 + 1e-7
    elif kind == "sample all infinite":
        values[sampled(n)] = np.inf
    elif kind == "ascending":
        values.sort()
    elif kind == "signed infinities":
        values[draw.random(n) < 0.3] = -np.inf
        values[draw.random(n) < 0.3] = np.inf
    return torch.from_numpy(values)


KINDS = [
    "normal",
    "ties",
    "constant",
    "near constant",
    "constant but unsampled",
    "sample too high",
    "sample too low",
    "sample all infinite",
    "ascending",
    "signed infinities",
]


def sorted_masks(scores, keeps, signed=False):
    """The oracle for large tensors: a stable sort, highest first."""
    order = torch.from_numpy(np.argsort(-(scores if signed else scores.abs()).numpy(), kind="stable"))
    for keep in keeps:
        mask = torch.zeros(len(scores), dtype=torch.bool)
        mask[order[: keep_count(keep, len(scores))]] = True
        yield mask


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_large_tensors(kind, signed):
    for n in LARGE:
        scores = large(kind, n)
        for keep, expected in zip(LARGE_KEEPS, sorted_masks(scores, LARGE_KEEPS, signed), strict=True):
            assert torch.equal(top([scores], keep, signed=signed)[0], expected), (n, keep)
            parts = scores.split([n // 3, n - n // 3])
            kept = torch.cat(keep_top(parts, parts, keep, signed, ["a", "b"]))
            assert torch.equal(kept, scores.where(expected, 0)), (n, keep)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_to_find_the_floor_agree(kind, dtype):
    for n in (1, 2, 100, *LARGE[-4:]):
        ranks = large(kind, n).to(dtype)
        for dropped in {0, 1, n // 2, n - 1} - {n}:
            found = select._floor_torch(ranks.clone(), dropped)
            assert select._floor_numpy(ranks.clone(), dropped) == found, (n, dropped)
            floor, above, has_nan = found
            assert above == (int((ranks > floor).sum()) if dropped else n) and not has_nan


@pytest.mark.parametrize("n", [5, 20_000])
@pytest.mark.parametrize("dropped", [0, 1, 3])
def test_both_ways_to_find_the_floor_see_one_nan(n, dropped):
    for place in (0, 1, n - 1):
        ranks = torch.rand(n, generator=torch.Generator().manual_seed(0))
        ranks[place] = math.nan
        assert select._floor_numpy(ranks.clone(), dropped)[2]
        assert select._floor_torch(ranks.clone(), dropped)[2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@given(cases(mixed=True))
@settings(max_examples=60)
def test_a_gpu_chooses_the_same(case):
    device = Case([w.cuda() for w in case.weights], [s.cuda() for s in case.scores], case.keep, case.signed)
    assert all(same_bits(there.cpu(), here) for there, here in zip(device.kept(), case.kept(), strict=True))


# --- where and how often it is called ---


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_thread_count_changes_nothing(threads, dtype):
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(3, 40_000, generator=generator) * 8).round().to(dtype)
    weights = torch.randn(3, 40_000, generator=generator).to(dtype)
    threads(1)
    alone = keep_top([weights], [scores], 0.3, False, ["w"])[0], top([scores], 0.3)[0]
    threads(2)
    assert same_bits(keep_top([weights], [scores], 0.3, False, ["w"])[0], alone[0])
    assert torch.equal(top([scores], 0.3)[0], alone[1])


def test_choices_made_at_the_same_time_do_not_mix():
    inputs = [large("normal", 30_000 + i) for i in range(4)]
    expected = [next(sorted_masks(scores, [0.3])) for scores in inputs]
    agreed = [[] for _ in inputs]

    def choose(i):
        for _ in range(30):
            agreed[i].append(torch.equal(top([inputs[i]], 0.3)[0], expected[i]))

    workers = [threading.Thread(target=choose, args=(i,)) for i in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert agreed == [[True] * 30] * len(inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("signed", [False, True])
def test_a_choice_in_inference_mode_leaves_later_ones_alone(dtype, signed, in_a_fresh_thread):
    scores = torch.tensor([[3.0, -1.0], [2.0, 4.0]], dtype=dtype)

    def choose():
        with torch.inference_mode():
            first = top([scores], 0.5, signed=signed)[0].tolist()
            keep_top([scores], [scores], 0.5, signed, ["w"])
        learning = scores.clone().requires_grad_()
        keep_top([scores], [learning], 0.5, signed, ["w"])[0].sum().backward()
        return first, top([scores], 0.5, signed=signed)[0].tolist(), learning.grad is not None

    expected = [[True, False], [False, True]]
    assert in_a_fresh_thread(choose) == (expected, expected, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("signed", [False, True])
def test_scores_that_require_a_gradient_are_chosen_like_any_other(dtype, signed, in_a_fresh_thread):
    scores = torch.tensor([[3.0, -1.0], [2.0, 4.0]], dtype=dtype)

    def choose():
        mask = top([scores.clone().requires_grad_()], 0.5, signed=signed)[0].tolist()
        return mask, top([scores], 0.5, signed=signed)[0].tolist()

    expected = [[True, False], [False, True]]
    assert in_a_fresh_thread(choose) == (expected, expected)


def test_another_default_device_changes_nothing(in_a_fresh_thread):
    scores = torch.tensor([[3.0, -1.0], [2.0, 4.0]])

    def choose():
        with torch.device("meta"):
            inside = top([scores], 0.5)[0].tolist()
        return inside, top([scores], 0.5)[0].tolist()

    expected = [[True, False], [False, True]]
    assert in_a_fresh_thread(choose) == (expected, expected)


# --- gradients ---


@given(cases())
@settings(max_examples=80)
def test_the_gradient_reaches_every_edge(case):
    scores, generator = case.learning(), torch.Generator().manual_seed(1)
    grads = [torch.randn(w.shape, generator=generator).to(w.dtype) for w in case.weights]
    torch.autograd.backward(case.kept(scores), grads)
    for score, multiplier, grad in zip(scores, case.multipliers(), grads, strict=True):
        assert score.grad.dtype == score.dtype
        assert torch.equal(score.grad, multiplier * grad)


@given(cases(mixed=True))
@settings(max_examples=40)
def test_the_gradient_has_the_scores_dtype(case):
    scores, generator = case.learning(), torch.Generator().manual_seed(1)
    grads = [(torch.randint(-8, 9, w.shape, generator=generator) / 4).to(w.dtype) for w in case.weights]
    torch.autograd.backward(case.kept(scores), grads)
    for score, multiplier, grad in zip(scores, case.multipliers(), grads, strict=True):
        assert score.grad.dtype == score.dtype
        assert torch.equal(score.grad.double(), multiplier.double() * grad.double())


def test_the_gradient_of_zero_scores_and_dropped_edges():
    weights, scores = torch.tensor([2.0, 3.0, 5.0, 7.0]), torch.tensor([0.0, -0.1, 4.0, -5.0], requires_grad=True)
    (kept,) = keep_top([weights], [scores], 0.5, False, ["w"])
    assert kept.tolist() == [0, 0, 5, 7]
    kept.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert scores.grad.tolist() == [0, -30, 500, -7000]

    (kept,) = keep_top([weights], [signed := scores.detach().requires_grad_()], 0.5, True, ["w"])
    assert kept.tolist() == [2, 0, 5, 0]
    kept.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert signed.grad.tolist() == [2, 30, 500, 7000]


@given(cases(least=2), st.data())
@settings(max_examples=40)
def test_a_loss_may_use_some_of_the_tensors(case, data):
    scores = case.learning()
    kept = case.kept(scores)
    used = data.draw(st.sets(st.integers(0, len(kept) - 1), min_size=1, max_size=len(kept) - 1))
    sum((kept[i].float() * 3).sum() for i in used).backward()
    for i, (score, multiplier) in enumerate(zip(scores, case.multipliers(), strict=True)):
        if i in used:
            assert torch.equal(score.grad, multiplier * 3)
        else:
            assert score.grad is None or not score.grad.any()


@given(cases())
@settings(max_examples=40)
def test_two_forwards_and_one_backward(case):
    scores = case.learning()
    first = case.kept(scores)
    before = [tensor.detach().clone() for tensor in first]
    second = case.kept(scores)
    # A choice among other scores in between, for it uses the same scratch memory.
    top([torch.randn(500, generator=torch.Generator().manual_seed(2))], 0.1)
    assert all(same_bits(now, then) for now, then in zip(first, before, strict=True))
    loss = sum((3 * one).double().sum() + (5 * two).double().sum() for one, two in zip(first, second, strict=True))
    loss.backward()
    for score, multiplier in zip(scores, case.multipliers(), strict=True):
        assert torch.equal(score.grad, multiplier * 5 + multiplier * 3)


def test_frozen_weights_get_no_gradient():
    weights, scores = torch.ones(4, requires_grad=True), torch.rand(4).requires_grad_()
    keep_top([weights], [scores], 0.5, False, ["w"])[0].sum().backward()
    assert weights.grad is None and scores.grad is not None


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("keep", "signed", "weight_dtype", "dtype"),
    [
        (0.5, False, torch.float32, torch.float32),
        (0.5, True, torch.bfloat16, torch.bfloat16),
        (0.5, False, torch.bfloat16, torch.float32),
        (1.0, False, torch.float32, torch.float64),
    ],
)
def test_keep_top_is_a_sound_operator(keep, signed, weight_dtype, dtype, layout):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 4, 5), (4, 1, 2, 3)]
    weights = [laid_out(torch.randn(shape, generator=generator).to(weight_dtype), layout) for shape in shapes]
    scores = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    operator = torch.ops.untrained.keep_top.default
    torch.library.opcheck(operator, (weights, scores, keep, signed, SEPARATOR.join("ab")))


# --- NaN ---


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keep", [0.5, 1.0])
@pytest.mark.parametrize("broken", [{"a"}, {"b"}, {"c"}, {"a", "c"}])
def test_nan_is_refused_by_name(broken, keep, dtype, signed):
    sizes = {"a": 3, "b": 20_000, "c": 7}
    scores = {name: torch.ones(1, size, dtype=dtype) for name, size in sizes.items()}
    for name in broken:
        scores[name][0, -1] = math.nan
    listed = ", ".join(f"'{name}'" for name in sorted(broken))
    for choose in (
        lambda: top(list(scores.values()), keep, signed=signed, names=list(scores)),
        lambda: keep_top(list(scores.values()), list(scores.values()), keep, signed, list(scores)),
    ):
        with pytest.raises(ValueError, match=f"^the scores of {listed} hold NaN: the search has diverged$"):
            choose()


def test_nan_in_one_tensor_alone_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^the scores of '0\.weight' hold NaN"):
        top([torch.tensor([1.0, math.nan])], 0.5, names=["0.weight"])


def test_the_choice_works_again_after_nan():
    with pytest.raises(ValueError, match="hold NaN"):
        top([torch.full((20_000,), math.nan)], 0.5, names=["w"])
    scores = large("normal", 20_000)
    assert torch.equal(top([scores], 0.5)[0], next(sorted_masks(scores, [0.5])))
