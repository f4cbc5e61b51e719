"""Choice of the highest scores: exactly `count` of them, the lowest flat index first among equal ones.

One rule for every device, dtype and memory format: rank by |score| (by the score itself when `signed`), tensors in
the order given, elements in C order. A whole tensor is never sorted.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from untrained.fields import hint_at_percent
from untrained.native import choice as kernels

# Below this many scores a partition of them all is as fast as finding a band first.
_BAND_FROM = 1 << 14
_SAMPLE = 1 << 14
_AT_ONCE = 1 << 18
SEPARATOR = "\x1f"
"""Separator of names in one string: an operator takes no list of strings."""


@functools.lru_cache(maxsize=4096)
def keep_count(keep: float, n: int) -> int:
    """Return the number of n weights to keep: ⌈keep·n⌉ in decimal arithmetic, at least 1 (0 of 0).

    `keep` counts as the decimal number it prints as: 0.07 of 1000 is 70.

    Raises:
        ValueError: keep is outside (0, 1].
    """
    if not isinstance(keep, Real) or not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], got {keep!r}{hint_at_percent(keep)}")
    return min(n, max(1, math.ceil(Fraction(repr(float(keep))) * n)))


def keep_of(count: int, n: int) -> float:
    """Return a `keep` for which ⌈keep·n⌉ is exactly `count`, 1 ≤ count ≤ n."""
    return (count - 0.5) / n


def top(scores: Sequence[Tensor], keep: float, *, signed: bool = False, names: Sequence[str] = ()) -> list[Tensor]:
    """Return the mask of the ⌈keep·n⌉ highest scores of all the tensors together.

    Args:
        scores: tensors of any shapes, one dtype, one device; n elements in all.
        keep: fraction kept.
        signed: rank by the scores themselves instead of by their absolute values.
        names: the tensors' names, for errors.

    Returns:
        Boolean tensors of the same shapes, ⌈keep·n⌉ of their elements true.

    Raises:
        ValueError: a score is NaN; the message names the tensor.
    """
    return _top([score.detach() for score in scores], keep, signed, SEPARATOR.join(names))


@torch.library.custom_op("untrained::top", mutates_args=())
def _top(scores: Sequence[Tensor], keep: float, signed: bool, names: str) -> list[Tensor]:
    cut = _cut(scores, keep, signed, names.split(SEPARATOR) if names else ())
    if cut is None:
        return [torch.ones(score.shape, dtype=torch.bool, device=score.device) for score in scores]
    masks = [_rank(score, signed) > cut[0] for score in scores]
    for mask, tied in zip(masks, _find_ties(scores, *cut, signed), strict=False):
        mask[tied] = True
    return masks


@_top.register_fake
def _(scores: Sequence[Tensor], keep: float, signed: bool, names: str) -> list[Tensor]:
    return [torch.empty_like(score, dtype=torch.bool) for score in scores]


def unbatch(tensors: Sequence[Tensor], dims: Sequence[int | None], size: int) -> Iterator[list[Tensor]]:
    """Yield the tensors of each element of a torch.func batch; a tensor without a batch axis is in all of them."""
    for number in range(size):
        yield [t if at is None else t.select(at, number) for t, at in zip(tensors, dims, strict=True)]


@_top.register_vmap
def _(info, in_dims, scores, keep, signed, names):
    chosen = [_top(each, keep, signed, names) for each in unbatch(scores, in_dims[0], info.batch_size)]
    return [torch.stack(each) for each in zip(*chosen, strict=True)], [0] * len(scores)


@torch.library.custom_op("untrained::checked", mutates_args=())
def _checked(scores: Tensor, name: str) -> Tensor:
    if torch.isnan(scores).any():
        raise ValueError(f"the scores of {name!r} hold NaN: the search has diverged")
    return scores.clone(memory_format=torch.contiguous_format)


@_checked.register_fake
def _(scores: Tensor, name: str) -> Tensor:
    return torch.empty_like(scores, memory_format=torch.contiguous_format)


@_checked.register_vmap
def _(info, in_dims, scores, name):
    return _checked(scores.movedim(in_dims[0], 0), name), 0


def checked(scores: Tensor, name: str) -> Tensor:
    """Return the scores without their graph, for a choice that compares them; an operator for torch.compile.

    Raises:
        ValueError: a score is NaN; the message names the tensor.
    """
    return _checked(scores.detach(), name)


def choose_highest(
    weights: Sequence[Tensor], scores: Sequence[Tensor], keep: float, signed: bool, names: Sequence[str]
) -> list[Tensor]:
    """Return the weights whose scores are among the top ⌈keep·n⌉ of all n scores given, and +0 for the others.

    By a kernel where there is one. `untrained.selection.straight_through.keep_top` is the same with a gradient.
    """
    count = keep_count(keep, sum(score.numel() for score in scores))
    effective = kernels.keep_top(weights, scores, count, signed)
    if effective is not None:
        return effective
    cut = _cut(scores, keep, signed, names)
    if cut is None:
        return [weight.clone() for weight in weights]
    effective = [_keep_above(weight, score, cut[0], signed) for weight, score in zip(weights, scores, strict=True)]
    for masked, weight, tied in zip(effective, weights, _find_ties(scores, *cut, signed), strict=False):
        masked[tied] = weight[tied]
    return effective


def _keep_above(weight: Tensor, score: Tensor, floor: float, signed: bool) -> Tensor:
    """Return the weight where the rank is above the floor, and +0 elsewhere, in the weight's memory format."""
    out = torch.empty_like(weight)
    if weight.dtype != score.dtype:
        return torch.where(_rank(score, signed) > floor, weight, torch.zeros_like(weight), out=out)
    # These two backward kernels of torch compute `weight * (rank > floor)` in one pass over memory.
    if signed:
        return torch.ops.aten.threshold_backward.grad_input(weight, score, floor, grad_input=out)
    return torch.ops.aten.hardshrink_backward.grad_input(weight, score, floor, grad_input=out)


def _rank(score: Tensor, signed: bool) -> Tensor:
    return score if signed else score.abs()


def _cut(scores: Sequence[Tensor], keep: float, signed: bool, names: Sequence[str]) -> tuple[float, int] | None:
    """Return (floor, ties): keep every rank above `floor` and the first `ties` equal to it. None: keep everything."""
    n = sum(score.numel() for score in scores)
    count = keep_count(keep, n)
    ranks = _ranks(scores, n, signed)
    floor, above, has_nan = (_floor_numpy if ranks.device.type == "cpu" else _floor_torch)(ranks, n - count)
    if has_nan:
        broken = [repr(name) for name, score in zip(names, scores, strict=False) if torch.isnan(score).any()]
        raise ValueError(f"the scores of {', '.join(broken) or 'a tensor'} hold NaN: the search has diverged")
    return None if count == n else (floor, count - above)


def _floor_numpy(ranks: Tensor, dropped: int) -> tuple[float, int, bool]:
    """Return (the highest rank that may be dropped, the number above it, True if any is NaN); `ranks` is overwritten.

    The floor is searched in a narrow band around the same quantile of a regular sample, and in the whole tensor when
    the band misses it.
    """
    rank = ranks.numpy()
    n = len(rank)
    if n and np.isnan(rank.max()):
        return 0.0, 0, True
    if dropped == 0:
        return -math.inf, n, False
    if n >= _BAND_FROM:
        sample = rank[:: n // _SAMPLE].copy()
        centre, spread = (dropped - 1) * len(sample) // n, 2 * math.isqrt(len(sample))
        low, high = max(centre - spread, 0), min(centre + spread, len(sample) - 1)
        sample.partition((low, high))
        floor, ceiling = sample[low] if centre > spread else -math.inf, sample[high]
        parts = [rank[start : start + _AT_ONCE] for start in range(0, n, _AT_ONCE)]  # for memory
        below = sum(np.count_nonzero(part < floor) for part in parts)
        band = np.concatenate([part[(part >= floor) & (part <= ceiling)] for part in parts])
        place = dropped - 1 - below
        if 0 <= place < len(band):
            band.partition(place)
            above = n - below - len(band) + np.count_nonzero(band[place + 1 :] > band[place])
            return float(band[place]), int(above), False
    rank.partition(dropped - 1)
    return float(rank[dropped - 1]), int(np.count_nonzero(rank[dropped:] > rank[dropped - 1])), False


def _floor_torch(ranks: Tensor, dropped: int) -> tuple[float, int, bool]:
    """Return the same as `_floor_numpy` by torch's selection, for other devices than the CPU; one host sync."""
    if dropped == 0:
        return -math.inf, len(ranks), bool(torch.isnan(ranks).any())
    floor = ranks.kthvalue(dropped).values
    found = torch.stack([floor.double(), (ranks > floor).sum().double(), torch.isnan(ranks).any().double()])
    value, above, has_nan = found.tolist()
    return value, int(above), bool(has_nan)


def _find_ties(scores: Sequence[Tensor], floor: float, ties: int, signed: bool) -> Iterator[tuple[Tensor, ...]]:
    """Yield for each tensor the indices of ranks equal to the floor that are kept, until `ties` in all are given."""
    for score in scores:
        if ties == 0:
            return
        flat = score.reshape(-1)
        # In parts on the CPU, for memory and because the first ties often suffice; elsewhere each part waits.
        size = _AT_ONCE if score.device.type == "cpu" else max(1, len(flat))
        found = [torch.empty(0, dtype=torch.int64, device=score.device)]
        for start in range(0, len(flat), size):
            found.append((_rank(flat[start : start + size], signed) == floor).nonzero()[:ties, 0] + start)
            ties -= len(found[-1])
            if ties == 0:
                break
        yield torch.unravel_index(torch.cat(found), score.shape)


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.by_dtype: dict[torch.dtype, Tensor] = {}


_scratch = _Scratch()


def _ranks(scores: Sequence[Tensor], n: int, signed: bool) -> Tensor:
    """Return all ranks in one flat tensor that the caller may overwrite; on the CPU the thread reuses its memory."""
    if len({score.dtype for score in scores}) > 1:
        given = ", ".join(sorted({str(score.dtype) for score in scores}))
        raise ValueError(f"scores that are ranked together must have one dtype, got {given}")
    dtype = torch.float64 if scores[0].dtype == torch.float64 else torch.float32
    device = scores[0].device
    if device.type != "cpu":
        flat = torch.empty(n, dtype=dtype, device=device)
    else:
        flat = _scratch.by_dtype.get(dtype)
        if flat is None or len(flat) < n:
            with torch.inference_mode(False):  # or it could not be used after the evaluation it was made in
                flat = _scratch.by_dtype[dtype] = torch.empty(n, dtype=dtype, device=device)
        flat = flat[:n]
    start = 0
    for score in scores:
        part = flat[start : start + score.numel()].view(score.shape)
        if signed:
            part.copy_(score)
        elif score.dtype == dtype:
            torch.abs(score, out=part)
        else:
            part.copy_(score).abs_()
        start += score.numel()
    return flat
