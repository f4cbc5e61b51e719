"""What methods share: first scores, groups, the top scores, what codes mean, the gradient past a choice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from untrained.methods.schedules import Cubic, Schedule
from untrained.selection.straight_through import transformed
from untrained.selection.topk import keep_count, top
from untrained.weights.laws import fans


def checked_keep(keep: float | Schedule) -> float | Schedule:
    """`keep` as a float, or a schedule that begins and ends in (0, 1].

    Raises:
        ValueError: it is outside (0, 1].
    """
    if isinstance(keep, Schedule):
        for progress in (0.0, 1.0):
            keep_count(keep.at(progress), 1)
        return keep
    keep_count(keep, 1)
    return float(keep)


def share(keep: float | Schedule) -> float:
    """The fraction kept now; a schedule nobody moved is at its beginning."""
    return keep.at(0.0) if isinstance(keep, Schedule) else keep


def annealed(keep: float) -> float | Schedule:
    """The way down to a `keep` below a half for scores ranked over all tensors, so that no layer is cut too early.

    Cubic from a half, as biprop's authors do in their first epochs, in the first half of the search.
    """
    return Cubic(0.5, keep, until=0.5) if keep < 0.5 else keep


def checked_number(name: str, given: float, low: float, high: float = math.inf) -> None:
    """Raise a ValueError unless low ≤ given ≤ high, and finite."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high or given == math.inf:
        limits = f"{low:g} or more" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be {limits}, got {given!r}")


def uniform_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    """U(-b, b) with b = 1/√(fan in): torch's `kaiming_uniform_(a=√5)`, as edge-popup's authors start."""
    drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1
    return (drawn / math.sqrt(max(1, fans(weight.shape)[0]))).to(weight)


def groups(names: Iterable[str], together: bool) -> list[list[str]]:
    """The tensors that are ranked with one another: all of them, or each alone."""
    return [list(names)] if together else [[name] for name in names]


def top_codes(
    scores: Mapping[str, Tensor], keep: float | Schedule, *, together: bool, signed: bool
) -> dict[str, Tensor]:
    """1 for the ⌈keep·n⌉ highest scores of each tensor, or of all of them together; 0 elsewhere."""
    codes = {}
    for group in groups(scores, together):
        chosen = top([scores[name] for name in group], share(keep), signed=signed, names=group)
        codes |= {name: mask.to(torch.int8) for name, mask in zip(group, chosen, strict=True)}
    return codes


def decode_mask(weight: Tensor, codes: Tensor) -> Tensor:
    """W where the code is not 0 (or the mask true), and +0 elsewhere."""
    # "grad where x > ½, else 0": the same in one pass, where torch.where takes fifty times as long.
    return torch.ops.aten.threshold_backward(weight, codes.bool().to(weight.dtype), 0.5)


def decode_multiple(weight: Tensor, codes: Tensor) -> Tensor:
    """W · code, one rounding, and +0 where the code is 0."""
    return decode_mask(weight * codes.to(weight.dtype), codes)


def ternary_codes(scores: Tensor, threshold: float) -> Tensor:
    """sign(s) where |s| > threshold, 0 elsewhere, as int8."""
    return torch.nn.functional.hardshrink(scores, threshold).sign().to(torch.int8)


def mean_magnitude(values: Tensor, chosen: Tensor | None = None) -> Tensor:
    """The mean of |x|, in whole units of max|x|·2⁻²² and so the same for any order, thread count and device.

        mean = (m·2⁻²²) · Σ ⌊|x|/m·2²²⌉ / count,   m = max|x|; every partial sum is an exact integer

    Args:
        values: x, fewer than 2³¹ elements; bfloat16 and float16 count as float32.
        chosen: which of them to take; all by default. m is the maximum of those.

    Returns:
        A float64 scalar; 0 where there is nothing to take.
    """
    size = values.detach().abs().to(torch.promote_types(values.dtype, torch.float32))
    if chosen is not None:
        size = decode_mask(size, chosen)
    if not size.numel():
        return size.new_zeros((), dtype=torch.float64)
    count = size.new_tensor(size.numel()) if chosen is None else chosen.sum()
    largest = size.max()
    largest = torch.where(largest > 0, largest, 1.0)
    units = size.div_(largest).mul_(2.0**22).round_().sum(dtype=torch.float64)  # in the place of a copy of ours
    return largest.double() * 2.0**-22 * units / count.double().clamp(min=1)


def rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A float64 scalar in another dtype, by way of float32: said, so that it is the same everywhere."""
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
    """The same for torch.func, in the form that its transforms ask for and torch.compile refuses."""

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
    """`value` in the forward pass; in the backward pass ∂L/∂s = slope ⊙ ∂L/∂value.

    Args:
        value: the effective weight.
        scores: what the gradient goes to.
        slope: what it is multiplied by, of the scores' shape.
    """
    function = _TransformedStraightThrough if transformed() else _StraightThrough
    return function.apply(value.detach(), scores, slope.detach())  # pyright: ignore[reportReturnType]
