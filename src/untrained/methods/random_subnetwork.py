"""A random subnetwork: a seeded random choice of ⌈keep·n⌉ weights per tensor, and no learning.

The honest baseline of every search: what a mask of the same size is worth when nobody looked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from untrained.methods.base import Method
from untrained.methods.masks import checked_keep, top_codes, uniform_scores
from untrained.methods.schedules import Schedule


@final
@dataclass(frozen=True)
class RandomSubnetwork(Method):
    """Random scores that never learn.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n, in every tensor; or a schedule.
    """

    keep: float | Schedule = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keep", checked_keep(self.keep))

    @property
    def learns(self) -> bool:
        return False

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return top_codes(scores, self.keep, together=False, signed=False)
