"""Weights as small integers times a scale: the quantisers of the opponents, all pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

_CLIPPINGS = 64


def spread(scale: Tensor, weight: Tensor) -> Tensor:
    """Return a scale, (1,) or (rows,), in the weight's dtype and broadcast over all axes but the first."""
    return scale.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))


def best_clipping(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Return (codes, scale) of the least squared error of each output channel among 64 clippings of it.

    For r = 1/64 … 1: scale = r·max|w|/levels in float16, codes = clamp(round(w/scale), -levels, levels).

    Args:
        weight: (rows, ...), of any layer.
        levels: the largest code.

    Source: Jacob et al. 2018, section 2.1, here symmetric and per channel; the clipping by weight error needs no data.
    """
    rows = _rows(weight, True)
    largest = rows.abs().amax(1) if rows.numel() else rows.new_zeros(len(rows))
    best, least = largest.new_zeros(len(rows), dtype=torch.float16), rows.square().sum(1)
    for part in range(1, _CLIPPINGS + 1):
        scale = (largest * (part / _CLIPPINGS / levels)).to(torch.float16)
        error = (rows - decode(_round(rows, scale, levels), scale)).square_().sum(1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return _round(rows, best, levels).view_as(weight), best


def fast_codes(weight: Tensor, levels: int, *, per_channel: bool, least: int = 0) -> Tensor:
    """Return codes in -levels … levels of a weight, by a step that costs one pass while the network learns.

    codes = sign(w)·clamp(round(|w|/step), least, levels), step = 2·mean|w|/√levels over the weights that are not 0.

    Args:
        weight: (rows, ...).
        levels: the largest code.
        per_channel: a step for each row; otherwise one for all.
        least: the least size of a code where the weight is not 0.

    Source: the first step of Esser et al. 2020, arXiv 1902.08153, section 2.1.
    """
    rows = _rows(weight, per_channel)
    size, present = rows.abs(), rows.count_nonzero(1).clamp_min_(1)
    step = size.sum(1) * (2 / levels**0.5) / present
    codes = size.div_(torch.where(step > 0, step, 1)[:, None]).round_().clamp_(least, levels)
    return codes.mul_(rows.sign()).view_as(weight)


def fit_scale(weight: Tensor, codes: Tensor, *, per_channel: bool) -> Tensor:
    """Return the scale of least squared error for given codes, Σ w·c / Σ c², in float16: (rows,) or (1,); 0 of none."""
    rows, codes = _rows(weight, per_channel), _rows(codes, per_channel)
    square = torch.linalg.vector_norm(codes, 2, 1).square()
    return torch.where(square > 0, (rows * codes).sum(1) / square, 0.0).to(torch.float16)


def code_rows(weight: Tensor, levels: int, least: int = 0) -> tuple[Tensor, Tensor]:
    """Return codes as `fast_codes` gives them for each output channel, and the scale of least squared error."""
    codes = fast_codes(weight, levels, per_channel=True, least=least)
    return codes, fit_scale(weight, codes, per_channel=True)


def decode(codes: Tensor, scale: Tensor) -> Tensor:
    """Return codes · scale in the dtype of the codes: the weights that a file holds."""
    return codes * spread(scale, codes)


def straight_through(weight: Tensor, value: Tensor) -> Tensor:
    """Return `value`, whose gradient goes to `weight` unchanged (Bengio et al. 2013, arXiv 1308.3432)."""
    return _StraightThrough.apply(weight, value)  # pyright: ignore[reportReturnType]


def _rows(weight: Tensor, per_channel: bool) -> Tensor:
    """Return a weight as (rows, rest), or as (1, all)."""
    return weight.detach().flatten(1) if per_channel else weight.detach().flatten()[None]


def _round(rows: Tensor, scale: Tensor, levels: int) -> Tensor:
    wide = spread(scale, rows)
    return (rows / torch.where(wide > 0, wide, 1)).round_().clamp_(-levels, levels).mul_(wide > 0)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, value: Tensor):  # pyright: ignore
        return value

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore
        return grad, None
