"""IteRand: edge-popup that redraws some of the dropped weights at intervals.

    W_eff = W ⊙ m,   m = 1 for the ⌈keep·n⌉ highest s (signed), 0 elsewhere
    ∂L/∂s = W ⊙ ∂L/∂W_eff                               straight through m
    after every `period` steps each weight with m = 0 is drawn anew with probability `rate`

The paper keeps R seeds and R masks to rebuild such a network. Here draw d of weight i is a function of (seed, name, i,
d), so that one seed and one small integer per weight are enough: code 0 is a dropped weight, code 1 + d one that is
kept in its d-th draw. A weight has 255 draws; after the last comes the first.

The frozen values are (2, *shape): the weights as they are, and the number of each one's draw.

Source: Chijiwa et al., "Pruning Randomly Initialized Neural Networks with Iterative Randomization", NeurIPS 2021,
arXiv 2106.09269, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import decode_mask, top_codes, uniform_scores
from untrained.methods.recipe import PAPER, Paper, Recipe
from untrained.methods.schedules import Schedule
from untrained.weights.laws import KaimingUniform
from untrained.weights.source import Source

DRAWS = 255
"""The number of values a weight can have: as many as a byte has beside 0."""


@final
@dataclass(frozen=True)
class IteRand(Method):
    """IteRand: edge-popup by signed score, with redraws of dropped weights at intervals; codes 0 and 1 + draw.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n, in every tensor; or a schedule.
        period: steps of the optimizer between two redraws.
        rate: probability that a dropped weight is drawn anew then.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.IteRand(keep=0.1, period=1, rate=1.0), seed=0)
        >>> ut.advance_(model, 1, 10)  # draws all dropped weights anew
        >>> int(model.weight.count_nonzero())
        100
    """

    keep: float | Schedule = 0.5
    period: int = 300
    rate: float = 0.1

    law = KaimingUniform()
    paper = Paper(
        "Pruning Randomly Initialized Neural Networks with Iterative Randomization",
        "2106.09269",
        PAPER,
        KaimingUniform(),
        epochs=100,
        batch_size=128,
    )
    recipe = Recipe("sgd", lr=4.0, momentum=0.9, warmup=1.0, label_smoothing=0.05)
    planes = 2
    _limits: ClassVar = {"period": (1, math.inf), "rate": (0, 1)}

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        numbers = torch.zeros(source.shape, dtype=torch.uint8, device="cpu") if codes is None else _draw_numbers(codes)
        return torch.stack([source.draw_each(numbers), numbers.to(source.dtype)])

    def shown(self, source: Source, codes: Tensor) -> Tensor:
        return decode_mask(source.draw_each(_draw_numbers(codes)), codes)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        kept = top_codes(scores, self.keep, together=False, signed=True)
        return {
            # Rounded: an average of equal numbers may be a last bit below. Above 127 the codes are negative.
            name: (kept[name].to(torch.uint8) * (1 + weight[1].round().to(torch.uint8))).to(torch.int8)
            for name, weight in weights.items()
        }

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_mask(weight[0], codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight[0]

    def stepped(
        self, weights: Tensors, scores: Tensors, sources: Mapping[str, Source], step: int
    ) -> tuple[Tensors, Tensors] | None:
        if step == 0 or step % self.period:
            return None
        redrawn = {}
        for name, code in self.codes(weights, scores).items():
            lucky = sources[name].uniforms(f"redraw/{step}") < 2 * self.rate - 1
            numbers = weights[name][1].cpu().to(torch.int64)
            numbers = torch.where((code.cpu() == 0) & lucky, (numbers + 1) % DRAWS, numbers).to(torch.uint8)
            redrawn[name] = torch.stack([sources[name].draw_each(numbers), numbers.to(sources[name].dtype)])
        return redrawn, scores


def _draw_numbers(codes: Tensor) -> Tensor:
    """Return the number of each weight's draw, uint8; 0 where it is dropped."""
    return torch.where(codes != 0, codes.view(torch.uint8) - 1, 0)
