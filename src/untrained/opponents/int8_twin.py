"""Trained twin, quantised to 8 bits after the training.

    W = scale_row · code,  code in -127 … 127,  scale float16 per output channel, by the least squared error of weights

Source: Jacob et al. 2018, arXiv 1712.05877 (symmetric, without zero points). Budget: the epochs of the twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import nn

from untrained.opponents.base import Coded, Opponent
from untrained.opponents.course import Course, Weights
from untrained.opponents.quantise import best_clipping


@final
@dataclass(frozen=True)
class Int8Twin(Opponent):
    """Trained twin with codes of 8 bits."""

    def coded(self, weights: Weights) -> Coded:
        return {name: best_clipping(weight, 127) for name, weight in weights.items()}

    def train(self, course: Course) -> tuple[nn.Module, float]:
        network = course.network()
        return network, course.fit(network)
