"""The Pareto front of a search: reward against number of connections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.ranking import fronts, mean_rewards
from untrained.wann.networks.net import Net

_CANDIDATES = 16  # networks of each island that are evaluated on validation data

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
        best_counts: how much the best of these counts in `reward`.

    Example:
        >>> wann.Found(wann.Net(1, 1, [1], [0, 1], [1]), rewards=(0.5, 1.0)).reward
        0.75
    """

    net: Net
    rewards: tuple[float, ...]
    best_counts: float = 0.0

    @property
    def mean(self) -> float:
        """The mean over these weights, which estimates the reward at a random shared weight."""
        return sum(self.rewards) / len(self.rewards)

    @property
    def reward(self) -> float:
        """The reward that networks are chosen by: (1 - best_counts) · mean + best_counts · the best of the weights."""
        return (1 - self.best_counts) * self.mean + self.best_counts * max(self.rewards)


def pareto_front(found: Iterable[Found]) -> tuple[Found, ...]:
    """Return the Pareto front of reward against number of connections, by size; of equal networks the first."""
    front: list[Found] = []
    for each in sorted(found, key=lambda each: (each.net.connections, -each.reward)):
        if not front or each.reward > front[-1].reward:
            front.append(each)
    return tuple(front)


def promising(rewards: np.ndarray, switched_on: np.ndarray, best_counts: float) -> np.ndarray:
    """Return the numbers of the best few of a Pareto front of training reward, as `Found.reward`, against connections.

    Args:
        rewards: (P, V), of a population.
        switched_on: connections that each genome has switched on, (P,).
        best_counts: as in `Found`.
    """
    works = np.flatnonzero(mean_rewards(rewards) > -np.inf)
    reward = (1 - best_counts) * rewards[works].mean(1) + best_counts * rewards[works].max(1)
    first = fronts(reward, 1.0 / np.maximum(switched_on[works], 1)) == 0
    return works[first][np.argsort(-reward[first], kind="stable")][:_CANDIDATES]
