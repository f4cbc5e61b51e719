"""Twin with fewer units, all of its weights in float16.

Source: the baseline of every compression of a network: a smaller network. Budget: the epochs of the twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from untrained.opponents.base import Coded, Opponent
from untrained.opponents.course import Course, Weights


@final
@dataclass(frozen=True)
class NarrowTwin(Opponent):
    """Narrow twin.

    Args:
        width: factor on the hidden units, or on the channels.
    """

    width: float = 0.25

    _limits: ClassVar = {"width": (1e-6, 64)}

    def coded(self, weights: Weights) -> Coded:
        return {}

    def train(self, course: Course) -> tuple[nn.Module, float]:
        network = course.network(self.width)
        return network, course.fit(network)
