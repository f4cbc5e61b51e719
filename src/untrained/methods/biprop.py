"""biprop: multi-prize tickets, the best edges of a network whose weights have one magnitude per tensor.

    W_eff = α · sign(W) ⊙ m,   m = 1 for the ⌈keep·n⌉ highest |s|,   α = Σ|W ⊙ m| / Σm
    ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff                    straight through m; α counts as a constant

The backward pass multiplies by |W| sign(W) = W, and not by the α sign(W) of the forward pass: all edges now weigh the
same, so that without |W| the magnitude of the frozen weight, which α approximates, would not matter for which
edges win. With signed constants |W| = α and biprop is edge-popup; its authors draw from a normal distribution.

The real values are -α, 0 and α: one bit a weight and a sign that the seed gives. MPT-1/1 adds binary activations:
`models.build(…, activation="sign")`.

Source: Diffenderfer, Kailkhura, "Multi-Prize Lottery Ticket Hypothesis", ICLR 2021, arXiv 2103.09377, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import anneal, decode_mask, mean_magnitude, round_to, top_codes, uniform_scores
from untrained.methods.recipe import PAPER, Paper
from untrained.methods.schedules import Schedule
from untrained.weights.laws import KaimingNormal


@final
@dataclass(frozen=True)
class Biprop(Method):
    """biprop (multi-prize tickets): edge-popup on weights of one magnitude α per tensor.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n; or a schedule.
        scope: "layer" keeps that fraction of every tensor, "global" of all of them ranked together.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.Biprop(keep=0.1), seed=0)
        >>> model.weight.unique().numel(), int(model.weight.count_nonzero())
        (3, 100)
    """

    keep: float | Schedule = 0.5
    scope: Literal["layer", "global"] = "layer"

    law = KaimingNormal(scaled=True)
    paper = Paper("Multi-Prize Lottery Ticket Hypothesis", "2103.09377", PAPER, KaimingNormal(scaled=True), 250, 128)

    @property
    def together(self) -> bool:
        return self.scope == "global"

    def keeping(self, keep: float) -> Self:
        return replace(self, keep=anneal(keep) if self.together else keep)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return top_codes(scores, self.keep, together=self.together, signed=False)

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        alpha = round_to(mean_magnitude(weight, codes != 0), weight.dtype)
        return decode_mask(alpha * weight.sign(), codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return scores.sign() * weight
