"""Gem-Miner: probabilities that are rounded, decay towards zero, and are permanently dropped a few at a time.

    W_eff = W ⊙ [p > ½],   p ∈ [0, 1], or dropped
    ∂L/∂p = W ⊙ ∂L/∂W_eff where p is not dropped, 0 where it is
    penalty = decay · Σ p²                              over all p that are not dropped
    after every step:  p ← min(1, max(0, p)); then the lowest p are dropped until ⌈keep(t)·n⌉ are left

keep(t) falls from 1 to `keep` in jumps that drop the same share of the remaining weights each time (`Geometric`). A
dropped weight never comes back. Of the others those with p > ½ are kept, so that `keep` is an upper bound.

The frozen values are (2, *shape): the weights, and 1 where one is dropped.

The authors want a network that *trains* well and fine-tune it afterwards; here the weights stay as they are.

Source: Sreenivasan et al., "Rare Gems: Finding Lottery Tickets at Initialization", NeurIPS 2022, arXiv 2202.12002,
algorithm 1 and its authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import current, decode_mask, draw, groups
from untrained.methods.recipe import Paper, Recipe
from untrained.methods.schedules import Geometric, Schedule
from untrained.selection.topk import checked, keep_count, top
from untrained.weights.laws import SignedConstant
from untrained.weights.source import Source


@final
@dataclass(frozen=True)
class GemMiner(Method):
    """Gem-Miner: clamped probabilities, rounded at ½, of which the lowest are permanently dropped step by step.

    Args:
        keep: largest fraction kept, in (0, 1], reached by `drops` equal jumps; or a schedule.
        scope: "global" drops the lowest of all tensors together, "layer" of every tensor alike.
        decay: λ of the penalty λ Σ p²; the authors' is about 1e-4.
        drops: number of jumps, all within the first four fifths of the search; 0: at once.

    Example:
        >>> [round(ut.GemMiner(keep=0.1).at(progress).keep, 2) for progress in (0.0, 0.4, 0.8)]
        [1.0, 0.32, 0.1]
    """

    keep: float | Schedule = 0.5
    scope: Literal["layer", "global"] = "global"
    decay: float = 0.0
    drops: int = 10

    _limits: ClassVar = {"decay": (0, math.inf), "drops": (0, math.inf)}
    planes = 2
    paper = Paper(
        "Rare Gems: Finding Lottery Tickets at Initialization",
        "2202.12002",
        Recipe("sgd", lr=0.1, momentum=0.9, cosine="epoch"),
        SignedConstant(),
        epochs=150,
        batch_size=128,
    )

    recipe = Recipe("adam", lr=0.03, warmup=1.0, label_smoothing=0.05)

    @property
    def together(self) -> bool:
        return self.scope == "global"

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return draw(torch.rand, weight.shape, generator).to(weight)

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        weight = source.draw()
        return torch.stack([weight, torch.zeros_like(weight)])

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {
            name: (checked(scores[name], name) > 0.5).to(torch.int8) * _mark_left(weight).to(torch.int8)
            for name, weight in weights.items()
        }

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_mask(weight[0], codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return decode_mask(weight[0], _mark_left(weight))

    def penalty(self, weights: Tensors, scores: Tensors) -> Tensor | None:
        if not self.decay:
            return None
        return self.decay * torch.stack([(scores[n] * _mark_left(w)).square().sum() for n, w in weights.items()]).sum()

    def at(self, progress: float) -> Self:
        if isinstance(self.keep, Schedule) or not self.drops:
            return super().at(progress)
        return replace(self, keep=Geometric(1.0, self.keep, until=0.8, steps=self.drops).at(progress), drops=0)

    def stepped(
        self, weights: Tensors, scores: Tensors, sources: Mapping[str, Source], step: int
    ) -> tuple[Tensors, Tensors]:
        marked, clamped = dict(weights), {name: score.clamp(0, 1) for name, score in scores.items()}
        for group in groups(scores, self.together):
            left = sum(int(_mark_left(weights[name]).sum()) for name in group)
            if left > keep_count(current(self.keep), sum(scores[name].numel() for name in group)):
                # A dropped weight ranks below everything else.
                ranks = [clamped[name] - 2 * weights[name][1] for name in group]
                for name, best in zip(group, top(ranks, current(self.keep), signed=True, names=group), strict=True):
                    marked[name] = torch.stack([weights[name][0], 1 - best.to(weights[name].dtype)])
        return marked, clamped


def _mark_left(weight: Tensor) -> Tensor:
    """Return 1 where the weight is not dropped yet, and 0 elsewhere."""
    return 1 - weight[1]
