"""Winning ticket of iterative magnitude pruning: train, prune the smallest weights, rewind the others, and train again.

    round r = 0 … R: w ← mask_r ⊙ w(0), trained for all epochs; mask_(r+1) = top(|w|, keep^((r+1)/R)) of all layers
    the weights of the last round: code 0 where pruned, else ±1 … ±7, times a float16 scale per output channel, which
    the network sees, straight through, in the last quarter of each round

All weights are ranked together, as Frankle & Carbin do for deep networks. They rewind to w(0); the epoch of warm-up of
the twin's recipe is what they (section 5), and rewinding to a later step what Frankle et al. 2020, need for that.
Source: Frankle & Carbin 2019, arXiv 1803.03635; Frankle et al. 2020, arXiv 1912.05671.
Budget: R + 1 times the epochs of the twin, which the table shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from untrained.opponents.base import Coded, Opponent
from untrained.opponents.course import Course, Weights, weights_of
from untrained.opponents.quantise import code_rows
from untrained.selection.topk import top

_LEVELS, _QUANTISED = 7, 0.75


@final
@dataclass(frozen=True)
class ImpTicket(Opponent):
    """Winning ticket.

    Args:
        keep: fraction of all weights that is not 0.
        rounds: number of prunings R, each of the same share of what is left.
    """

    keep: float = 0.05
    rounds: int = 5

    _limits: ClassVar = {"rounds": (1, 100)}

    @torch.no_grad()
    def coded(self, weights: Weights) -> Coded:
        return {name: code_rows(weight, _LEVELS, least=1) for name, weight in weights.items()}

    def constrained(self, weights: Weights, done: float) -> Weights:
        used = super().constrained(weights, done) if done >= _QUANTISED else weights
        # A product with the mask has no gradient to pruned weights, so these stay 0.
        return {name: value * (weights[name] != 0) for name, value in used.items()}

    def train(self, course: Course) -> tuple[nn.Module, float]:
        network, seconds = course.network(), 0.0
        for number in range(self.rounds + 1):
            last = number == self.rounds
            seconds += course.fit(network, self.constrained, stage="" if last else f"round{number}")
            if not last:
                masks = _prune(weights_of(network), self.keep ** ((number + 1) / self.rounds))
                network = course.network()
                with torch.no_grad():
                    for name, weight in weights_of(network).items():
                        weight.mul_(masks[name])
        return network, seconds

    def passes(self, epochs: int) -> int:
        return (self.rounds + 1) * epochs


def _prune(weights: Weights, keep: float) -> dict[str, Tensor]:
    masks = top([weight.detach() for weight in weights.values()], keep, names=list(weights))
    return dict(zip(weights, masks, strict=True))
