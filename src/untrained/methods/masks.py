"""Functions that methods share: first scores, groups, the top scores, decoding, the straight-through gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from untrained.methods.schedules import Cubic, Schedule
from untrained.selection.straight_through import is_transformed
from untrained.selection.topk import top
from untrained.weights.laws import fans


def current(value: float | Schedule) -> float:
    """Return the number; a schedule that no search has moved is at its beginning."""
    return value.at(0.0) if isinstance(value, Schedule) else value


def anneal(keep: float) -> float | Schedule:
    """Return a schedule down to a `keep` below a half for scores ranked over all tensors.

    Cubic from a half in the first half of the search, as biprop's authors do in their first epochs, so that no layer
    is cut before its scores have learnt.
    """
    return Cubic(0.5, keep, until=0.5) if keep < 0.5 else keep


def draw(kind: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return float32 numbers by `torch.rand` or `torch.randn`, on the CPU, from this generator alone."""
    return kind(shape, generator=generator, dtype=torch.float32, device="cpu")


def uniform_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return U(-b, b) with b = 1/√(fan in): torch's `kaiming_uniform_(a=√5)`, as edge-popup's authors start."""
    drawn = draw(torch.rand, weight.shape, generator) * 2 - 1
    return (drawn / math.sqrt(max(1, fans(weight.shape)[0]))).to(weight)


def xavier_bound(weight: Tensor) -> float:
    """Return b = √(6/(fan in + fan out)), the bound of Xavier-uniform scores."""
    return math.sqrt(6 / max(1, sum(fans(weight.shape))))


def groups(names: Iterable[str], together: bool) -> list[list[str]]:
    """Return the names of the tensors that are ranked together: all of them, or each alone."""
    return [list(names)] if together else [[name] for name in names]


def top_codes(
    scores: Mapping[str, Tensor], keep: float | Schedule, *, together: bool, signed: bool
) -> dict[str, Tensor]:
    """Return 1 for the ⌈keep·n⌉ highest scores of each tensor, or of all of them together, and 0 elsewhere."""
    codes = {}
    for group in groups(scores, together):
        chosen = top([scores[name] for name in group], current(keep), signed=signed, names=group)
        codes |= {name: mask.to(torch.int8) for name, mask in zip(group, chosen, strict=True)}
    return codes


def decode_mask(weight: Tensor, codes: Tensor) -> Tensor:
    """Return W where the code is not 0 (or the mask true), and +0 elsewhere."""
    # "grad where x > ½, else 0": the same in one pass, where torch.where takes fifty times as long.
    return torch.ops.aten.threshold_backward(weight, codes.bool().to(weight.dtype), 0.5)


def decode_multiple(weight: Tensor, codes: Tensor) -> Tensor:
    """Return W · code, rounded once, and +0 where the code is 0."""
    return decode_mask(weight * codes.to(weight.dtype), codes)


def ternary_codes(scores: Tensor, threshold: float) -> Tensor:
    """Return sign(s) where |s| > threshold, 0 elsewhere, as int8."""
    return torch.nn.functional.hardshrink(scores, threshold).sign().to(torch.int8)


def mean_magnitude(values: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Return the mean of |x| in whole units of max|x|·2⁻²²: the same for any order, thread count and device.

        mean = (m·2⁻²²) · Σ ⌊|x|/m·2²²⌉ / count,   m = max|x|; every partial sum is an exact integer

    Args:
        values: x, fewer than 2³¹ elements; bfloat16 and float16 count as float32.
        chosen: mask of the elements to take, also for m; None: all.

    Returns:
        A float64 scalar; 0 where there is no element.
    """
    size = values.detach().abs().to(torch.promote_types(values.dtype, torch.float32))
    if chosen is not None:
        size = decode_mask(size, chosen)
    if not size.numel():
        return size.new_zeros((), dtype=torch.float64)
    count = size.new_tensor(size.numel()) if chosen is None else chosen.sum()
    largest = size.max()
    largest = torch.where(largest > 0, largest, 1.0)
    units = size.div_(largest).mul_(2.0**22).round_().sum(dtype=torch.float64)  # in place: `size` is a copy
    return largest.double() * 2.0**-22 * units / count.double().clamp(min=1)


def round_to(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a float64 scalar by way of float32, so that it is rounded in the same way everywhere."""
    return value.to(torch.promote_types(dtype, torch.float32)).to(dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, scores: Tensor, slope: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore
        return None, grad * ctx.saved_tensors[0], None


class _TransformedStraightThrough(_StraightThrough):
    """Straight-through estimator in the form that torch.func asks for and torch.compile refuses."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, scores: Tensor, slope: Tensor) -> Tensor:  # pyright: ignore
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):  # pyright: ignore
        ctx.save_for_backward(inputs[2])
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def jvp(ctx, value, scores, slope):  # pyright: ignore
        return ctx.saved_tensors[0] * scores


def straight_through(value: Tensor, scores: Tensor, slope: Tensor) -> Tensor:
    """Return the effective weight `value`, with the gradient ∂L/∂s = slope ⊙ ∂L/∂value; slope has the scores' shape."""
    function = _TransformedStraightThrough if is_transformed() else _StraightThrough
    return function.apply(value.detach(), scores, slope.detach())  # pyright: ignore[reportReturnType]
