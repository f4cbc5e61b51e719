"""Everything kept: the random network as it is, the other honest baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from untrained.methods.base import Method


@final
@dataclass(frozen=True)
class Dense(Method):
    """Every weight kept; its scores are zeros that nobody reads."""

    @property
    def learns(self) -> bool:
        return False

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return torch.zeros_like(weight)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: torch.ones_like(weight, dtype=torch.int8) for name, weight in weights.items()}
