"""Exact choice on a GPU, in Triton: a radix select in which nothing waits for the device.

Ranks become unsigned integers of the same order, and are read digit by digit, the highest digit first. For each digit
a histogram over all tensors, among the ranks that begin with the digits found so far, gives the next digit of the
threshold, the lowest rank kept. Kept are the ranks above it, and of those equal to it the first in C order, whose
places come from a count per block and its running sum. For T tensors that is 4·T histograms (2·T in half precision), T
counts, a sum and T writes.

An error cannot be raised without waiting: where a score is NaN, all effective weights of its group become NaN.
"""
# To pyright, a kernel is Python, and Triton may not be there.
# pyright: reportMissingImports=false, reportIndexIssue=false, reportPossiblyUnboundVariable=false

import functools
import os
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 2048
"""Elements that one program reads at a time; no fewer than its threads, lest Triton holds an element twice."""
_WARPS = 8
# Each histogram program adds its bins to the device's once, so more programs than fill a GPU only cost.
_MOST_PROGRAMS = 1024
_BINS = tl.constexpr(256)
_STATE = tl.constexpr(4)
_INFINITY = {torch.float32: 0x7F800000, torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
_UNSIGNED = {2: torch.uint16, 4: torch.uint32}
_SIGNED = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def keep_top(weights: Sequence[Tensor], scores: Sequence[Tensor], count: int, signed: bool) -> list[Tensor] | None:
    """Return the weights with the `count` highest scores of them all and +0 elsewhere; None: no kernel for these.

    A NaN among the scores makes NaN of every element of the result. The first call for a device, a dtype and a
    `signed` compiles, and waits for the device once, to see that the choice is right; no later one waits.

    Args:
        weights: frozen weights, of 2, 4 or 8 bytes.
        scores: of the same shapes, one of float32, float16 and bfloat16, on one device, fewer than 2³¹ in all.
        count: how many are kept, 1 ≤ count ≤ all.
        signed: rank by the scores themselves instead of by their absolute values.
    """
    kinds = {(score.dtype, score.device) for score in scores}
    alike = len(kinds) == 1 and {weight.device for weight in weights} == {scores[0].device}
    if not alike or scores[0].dtype not in _INFINITY or any(weight.itemsize not in _SIGNED for weight in weights):
        return None
    if count < 1 or sum(score.numel() for score in scores) >= 1 << 31:
        return None
    with torch.cuda.device_of(scores[0]):
        return _choose(weights, scores, count, signed) if _works(*kinds.pop(), signed) else None


@functools.cache
def _works(dtype: torch.dtype, device: torch.device, signed: bool) -> bool:
    """Return True where Triton compiles for this device and chooses correctly, with ties in three blocks.

    Raises:
        ImportError: it does not, and UNTRAINED_NATIVE requires it.
    """
    asked = os.environ.get("UNTRAINED_NATIVE", "")
    if asked == "0":
        return False
    cycle = torch.arange(3 * BLOCK, device=device) % 19 - 9
    kept = torch.zeros(len(cycle))
    kept[(cycle if signed else cycle.abs()).cpu().argsort(descending=True, stable=True)[: BLOCK // 2]] = 1
    try:
        (found,) = _choose([torch.ones_like(cycle, dtype=torch.float32)], [cycle.to(dtype)], BLOCK // 2, signed)
        why = "" if torch.equal(found.cpu(), kept) else "it makes a wrong choice"
    except Exception as error:  # no C compiler, too old a GPU or a Triton before 3.4: many kinds
        why = str(error)
    if why and asked:
        raise ImportError(f"UNTRAINED_NATIVE={asked}: Triton on {device}: {why}")
    return not why


def _choose(weights: Sequence[Tensor], scores: Sequence[Tensor], count: int, signed: bool) -> list[Tensor]:
    """Choose as `keep_top` does, on the current device and stream."""
    device, digits = scores[0].device, scores[0].itemsize
    kind = {"DIGITS": digits, "INFINITY": _INFINITY[scores[0].dtype], "SIGNED": signed, "BLOCK": BLOCK}
    kind |= {"num_warps": _WARPS, "enable_fp_fusion": False}  # given, or a Triton warns of its default
    ranked = [score.contiguous().view(_UNSIGNED[digits]) for score in scores]
    blocks = [triton.cdiv(score.numel(), BLOCK) for score in scores]
    firsts = [sum(blocks[:i]) for i in range(len(blocks))]
    table = torch.zeros(digits * _BINS.value + (digits + 1) * _STATE.value, dtype=torch.int32, device=device)
    for digit in range(digits):
        for rank, programs in zip(ranked, blocks, strict=True):
            if programs:
                grid = (min(programs, _MOST_PROGRAMS),)
                _histogram[grid](rank, table, rank.numel(), count, DIGIT=digit, **kind)
    ties = torch.empty(sum(blocks), dtype=torch.int32, device=device)
    for rank, programs, first in zip(ranked, blocks, firsts, strict=True):
        if programs:
            _count_ties[(programs,)](rank, table, ties, rank.numel(), first, **kind)
    ties = ties.cumsum(0, dtype=torch.int32)
    effective = [torch.empty_like(weight) for weight in weights]
    for out, weight, rank, programs, first in zip(effective, weights, ranked, blocks, firsts, strict=True):
        if programs:
            bits = _SIGNED[weight.itemsize]
            flat = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
            frozen = weight.contiguous().view(bits)
            _write[(programs,)](rank, frozen, flat.view(bits), table, ties, rank.numel(), first, **kind)
            if flat is not out:
                out.copy_(flat)
    return effective


@triton.jit
def _keys(bits, INFINITY: tl.constexpr, DIGITS: tl.constexpr, SIGNED: tl.constexpr):
    """Return (integers in the order of the ranks, equal where these are, -0 and +0 too; the mask of NaN)."""
    HIGHEST: tl.constexpr = (1 << (8 * DIGITS - 1)) - 1
    bits = bits.to(tl.uint32)
    magnitude = bits & HIGHEST
    keys = magnitude
    if SIGNED:
        keys = tl.where(bits > HIGHEST, HIGHEST - magnitude, HIGHEST + magnitude)
    return keys, magnitude > INFINITY


@triton.jit
def _state(table, DIGIT: tl.constexpr, DIGITS: tl.constexpr):
    """Return the threshold's first DIGIT digits; of the ranks that begin with them the number kept, and the number."""
    state = table + DIGITS * _BINS + DIGIT * _STATE
    return tl.load(state).to(tl.uint32, bitcast=True), tl.load(state + 1), tl.load(state + 2)


@triton.jit
def _descend(table, DIGIT: tl.constexpr, DIGITS: tl.constexpr):
    """Return `_state` of DIGIT from that of DIGIT - 1 and its histogram; the first program stores it."""
    prefix, left, among = _state(table, DIGIT - 1, DIGITS)
    bins = tl.arange(0, _BINS)
    found = tl.load(table + (DIGIT - 1) * _BINS + bins)
    above = tl.sum(found) - tl.cumsum(found)  # falls to 0; the digit is the first bin where fewer than `left` lie above
    digit = tl.sum((above >= left).to(tl.int32))
    left -= tl.max(tl.where(above < left, above, 0))
    among = tl.sum(tl.where(bins == digit, found, 0))
    prefix = (prefix << 8) | digit.to(tl.uint32)
    if tl.program_id(0) == 0:
        state = table + DIGITS * _BINS + DIGIT * _STATE
        tl.store(state, prefix.to(tl.int32, bitcast=True))
        tl.store(state + 1, left)
        tl.store(state + 2, among)
    return prefix, left, among


@triton.jit(do_not_specialize=["count"])
def _histogram(
    scores,
    table,
    n,
    count,
    DIGIT: tl.constexpr,
    DIGITS: tl.constexpr,
    INFINITY: tl.constexpr,
    SIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add digit DIGIT of the ranks that begin with the threshold's first DIGIT digits to the histogram of DIGIT."""
    SHIFT: tl.constexpr = 8 * (DIGITS - 1 - DIGIT)
    bins = tl.arange(0, _BINS)
    found = tl.zeros([_BINS], tl.int32)
    broken = tl.zeros([BLOCK], tl.int32)
    if DIGIT > 0:
        prefix, _, _ = _descend(table, DIGIT, DIGITS)
    elif tl.program_id(0) == 0:
        tl.store(table + DIGITS * _BINS + 1, count)
    for start in range(tl.program_id(0).to(tl.int64) * BLOCK, n, tl.num_programs(0) * BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        agree = offsets < n
        keys, nan = _keys(tl.load(scores + offsets, mask=agree, other=0), INFINITY, DIGITS, SIGNED)
        if DIGIT > 0:
            agree = agree & ((keys >> (SHIFT + 8)) == prefix)
        else:
            broken |= nan.to(tl.int32)
        found += tl.histogram(((keys >> SHIFT) & (_BINS - 1)).to(tl.int32), _BINS, mask=agree)
    tl.atomic_add(table + DIGIT * _BINS + bins, found, mask=found > 0, sem="relaxed")
    if DIGIT == 0:
        tl.store(table + DIGITS * _BINS + 3, 1, mask=tl.max(broken) > 0)


@triton.jit(do_not_specialize=["first"])
def _count_ties(
    scores,
    table,
    ties,
    n,
    first,
    DIGITS: tl.constexpr,
    INFINITY: tl.constexpr,
    SIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Count the ranks of each block that equal the threshold; not read where all of them are kept."""
    threshold, left, among = _descend(table, DIGITS, DIGITS)
    block = tl.program_id(0)
    if left < among:
        offsets = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = offsets < n
        keys, _ = _keys(tl.load(scores + offsets, mask=inside, other=0), INFINITY, DIGITS, SIGNED)
        tl.store(ties + first + block, tl.sum((inside & (keys == threshold)).to(tl.int32)))
    else:
        tl.store(ties + first + block, 0)


@triton.jit(do_not_specialize=["first"])
def _write(
    scores,
    weights,
    out,
    table,
    ties,
    n,
    first,
    DIGITS: tl.constexpr,
    INFINITY: tl.constexpr,
    SIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the weight where the rank is above the threshold or among the first `left` equal to it, else +0."""
    threshold, left, among = _state(table, DIGITS, DIGITS)
    block = tl.program_id(0)
    offsets = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    keys, _ = _keys(tl.load(scores + offsets, mask=inside, other=0), INFINITY, DIGITS, SIGNED)
    tied = inside & (keys == threshold)
    if left < among:
        before = tl.load(ties + first + block - 1, mask=first + block > 0, other=0)
        tied = tied & (before + tl.cumsum(tied.to(tl.int32)) <= left)
    kept = tl.where(tied | (keys > threshold), tl.load(weights + offsets, mask=inside, other=0), 0)
    nan = tl.load(table + DIGITS * _BINS + 3) != 0
    tl.store(out + offsets, tl.where(nan, -1, kept), mask=inside)  # all bits set: a NaN in every format
