"""The state of a search between two generations, which a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.front import Found
from untrained.wann.evolution.genome import Population


@final
@dataclass(frozen=True, eq=False)
class State:
    """State of a search between two generations.

    Args:
        population: islands × population genomes, island after island.
        generation: number of generations that have passed.
        front: Pareto front of the networks found so far.
        island_best: float64 (islands,), the best validated reward of each island's present attempt.
        island_since: int64 (islands,), the generation that found it, or that the attempt began with.
        ended: the best rewards of attempts that a restart has ended.
        means: float64 (P, V), the mean rewards of each genome over its earlier generations, if the search averages.
        trials: int64 (P,), the number of these generations; 0 for a child.
    """

    population: Population
    generation: int
    front: tuple[Found, ...]
    island_best: np.ndarray
    island_since: np.ndarray
    ended: tuple[float, ...]
    means: np.ndarray
    trials: np.ndarray

    def averaged(self, rewards: np.ndarray) -> np.ndarray:
        """Return the mean rewards over this generation and the earlier ones of each genome, (P, V)."""
        trials = self.trials[:, None]
        return np.where(trials > 0, (self.means * trials + rewards) / (trials + 1), rewards)
