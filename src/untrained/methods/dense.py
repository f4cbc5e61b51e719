"""Baseline that keeps every weight: the random network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors


@final
@dataclass(frozen=True)
class Dense(Method):
    """Every weight kept; the scores are zeros and not used.

    Example:
        >>> ut.masks(ut.mask_(nn.Linear(3, 1), ut.Dense(), seed=0))
        {'weight': tensor([[True, True, True]])}
    """

    learns = False

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return torch.zeros_like(weight)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: torch.ones_like(weight, dtype=torch.int8) for name, weight in weights.items()}
