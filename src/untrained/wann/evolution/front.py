"""The Pareto front of a search: reward against number of connections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.networks.net import Net

# The shared weights at which networks are chosen, as fractions of the largest that the search uses: evenly spread,
# because a network must be good at a random one.
CHOOSING = np.linspace(-15, 15, 16) / 16


@final
@dataclass(frozen=True, eq=False)
class Found:
    """A member of the front: a network and its rewards on validation data, or on seeds that no search uses.

    Args:
        net: the network.
        rewards: its reward at each of `Search.choosing_weights`.

    Example:
        >>> wann.Found(wann.Net(1, 1, [1], [0, 1], [1]), rewards=(0.5, 1.0)).reward
        0.75
    """

    net: Net
    rewards: tuple[float, ...]

    @property
    def reward(self) -> float:
        """The mean over these weights, which estimates the reward at a random shared weight."""
        return sum(self.rewards) / len(self.rewards)


def pareto_front(found: Iterable[Found]) -> tuple[Found, ...]:
    """Return the Pareto front of reward against number of connections, by size; of equal networks the first."""
    front: list[Found] = []
    for each in sorted(found, key=lambda each: (each.net.connections, -each.reward)):
        if not front or each.reward > front[-1].reward:
            front.append(each)
    return tuple(front)
