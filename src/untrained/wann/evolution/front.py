"""The best that a search has found: reward against number of connections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.networks.net import Net

# The shared weights at which networks are chosen, as fractions of the largest that the search uses: evenly spread,
# because a network is to be good at a random one.
CHOOSING = np.linspace(-15, 15, 16) / 16


@final
@dataclass(frozen=True, eq=False)
class Found:
    """A network, and its rewards on what chooses among networks: validation data, or seeds that no search uses.

    Args:
        net: the network.
        rewards: its reward at each of `Search.choosing_weights`.
    """

    net: Net
    rewards: tuple[float, ...]

    @property
    def reward(self) -> float:
        """Mean over these weights: about what a random shared weight is worth."""
        return sum(self.rewards) / len(self.rewards)


def front_of(found: Iterable[Found]) -> tuple[Found, ...]:
    """Those that none beats that is not bigger, from the smallest to the best; of equals the first."""
    front: list[Found] = []
    for each in sorted(found, key=lambda each: (each.net.connections, -each.reward)):
        if not front or each.reward > front[-1].reward:
            front.append(each)
    return tuple(front)
