"""Random subnetwork: a seeded random choice of ⌈keep·n⌉ weights per tensor, and no learning.

The baseline of every search: a mask of the same size, found without a search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import top_codes, uniform_scores
from untrained.methods.schedules import Schedule


@final
@dataclass(frozen=True)
class RandomSubnetwork(Method):
    """Random subnetwork: scores that never learn.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n, in every tensor; or a schedule.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.RandomSubnetwork(keep=0.25), seed=0)
        >>> int(ut.masks(model)["weight"].sum()), len(ut.scores(model))
        (250, 0)
    """

    keep: float | Schedule = 0.5

    learns = False

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return top_codes(scores, self.keep, together=False, signed=False)
