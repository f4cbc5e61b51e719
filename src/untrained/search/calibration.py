"""Running statistics of batch norms, taken anew from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from untrained.search.evaluation import find_device, set_mode
from untrained.search.labels import compute_outputs, iterate_pairs

# A float8 with 3 bits of mantissa is off by 1/16 at most, of a mean of up to four standard deviations by 1/4 of one.
_TOLERANCE = 1 / 4


@torch.no_grad()
def calibrate_(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, dtype: torch.dtype | None = None
) -> nn.Module:
    """Set the running statistics of batch norms to the plain means over these batches.

    A norm's mean μ and variance v (unbiased) become the means of those of all batches; the norms before it use each
    batch's own statistics, as they do while training. All else is as in evaluation: no dropout, no sampled masks. Norms
    that no batch reaches, and those whose `train` keeps them frozen, stay as they are.

    With a `dtype`, each norm's means, and its variances, are then rounded to values which that type holds exactly, so
    that a ticket can store them in it. Where this would change more than the output of a norm can bear,
    |Δμ| ≤ √(v + ε)/4 and |Δv| ≤ (v + ε)/4, they are rounded to float16; where that would too, they stay exact.

    Args:
        model: masked or plain, in any mode, which it keeps.
        batches: as those of `evaluate`, each of two examples or more.
        dtype: such as torch.float8_e4m3fn, or None: no rounding.

    Returns:
        The model itself.

    Raises:
        ValueError: there is no example, an input does not fit, a statistic comes out infinite or NaN, or `dtype` is no
            floating type. The statistics are unchanged then.

    Example:
        >>> norm = ut.calibrate_(nn.BatchNorm1d(2), [(torch.ones(6, 2), torch.zeros(6))])
        >>> norm.running_mean.tolist()
        [1.0, 1.0]
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and _has_statistics(m)}
    if not norms:
        return model
    before = {norm: (norm.momentum, [statistic.clone() for statistic in _statistics(norm)]) for norm in norms.values()}
    unchanged = set(before)
    try:
        with set_mode(model, training=False):
            measured = _measure_(model, norms, batches)
        for name, norm in measured.items():
            if not all(statistic.isfinite().all() for statistic in _statistics(norm)):
                raise ValueError(f"the statistics of {name or 'the norm'} are not finite, as an input or weight is not")
            if dtype is not None:
                _round_(norm, dtype)
        unchanged -= set(measured.values())
    finally:
        for norm, (momentum, statistics) in before.items():
            norm.momentum = momentum
            if norm in unchanged:
                for statistic, value in zip(_statistics(norm), statistics, strict=True):
                    statistic.copy_(value)
    return model


def _measure_(
    model: nn.Module, norms: Mapping[str, _BatchNorm], batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, _BatchNorm]:
    """Measure statistics, and return the norms that have new ones."""
    for norm in norms.values():
        norm.train()
        if norm.training:
            norm.reset_running_stats()
            norm.momentum = None  # torch then takes the plain mean over all batches
    examples = 0
    for x, y in iterate_pairs(batches, find_device(model)):
        if len(y):
            compute_outputs(model, x)
            examples += len(y)
    if not examples:
        raise ValueError("there is no example to calibrate on")
    return {name: norm for name, norm in norms.items() if norm.training and norm.num_batches_tracked}


def _statistics(norm: Any) -> list[Tensor]:
    return [norm.running_mean, norm.running_var, norm.num_batches_tracked]


def _has_statistics(norm: _BatchNorm) -> bool:
    return all(statistic is not None for statistic in _statistics(norm))


def _round_(norm: Any, dtype: torch.dtype) -> None:
    scale = norm.running_var.double() + norm.eps
    for statistic, most in ((norm.running_mean, scale.sqrt()), (norm.running_var, scale)):
        statistic.copy_(_rounded(statistic, dtype, _TOLERANCE * most))


def _rounded(values: Tensor, dtype: torch.dtype, most: Tensor) -> Tensor:
    for narrow in (dtype, torch.float16):
        rounded = values.to(narrow).to(values.dtype)
        # Infinities and NaN, of values that are too large, are not within the bounds.
        if bool(((rounded.double() - values.double()).abs() <= most).all()):
            return rounded
    return values
