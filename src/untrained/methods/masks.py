"""What the methods that keep the top scores share: first scores, groups, codes, and what a code of 0 or 1 means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from untrained.select import top
from untrained.weights import fans


def uniform_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    """U(-b, b) with b = 1/√(fan in): torch's `kaiming_uniform_(a=√5)`, as edge-popup's authors start."""
    drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float32) * 2 - 1
    return (drawn / math.sqrt(max(1, fans(weight.shape)[0]))).to(weight)


def groups(names: Iterable[str], together: bool) -> list[list[str]]:
    """The tensors that are ranked with one another: all of them, or each alone."""
    return [list(names)] if together else [[name] for name in names]


def top_codes(scores: Mapping[str, Tensor], keep: float, *, together: bool, signed: bool) -> dict[str, Tensor]:
    """1 for the ⌈keep·n⌉ highest scores of each tensor, or of all of them together; 0 elsewhere."""
    codes = {}
    for group in groups(scores, together):
        chosen = top([scores[name] for name in group], keep, signed=signed, names=group)
        codes |= {name: mask.to(torch.int8) for name, mask in zip(group, chosen, strict=True)}
    return codes


def decode_mask(weight: Tensor, codes: Tensor) -> Tensor:
    """W where the code is not 0, and +0 elsewhere."""
    return torch.where(codes != 0, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))
