"""The state of a search between two generations, which a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.front import Found
from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.memory import Memory


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
        survivors: bool (P,), True for a genome that stays from the generation before, if the search remembers.
        memory: rewards of earlier generations, if the search remembers them.
    """

    population: Population
    generation: int
    front: tuple[Found, ...]
    island_best: np.ndarray
    island_since: np.ndarray
    ended: tuple[float, ...]
    survivors: np.ndarray
    memory: Memory
