"""A generation: the networks that its genomes describe, which of them are to be evaluated, and how they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.front import promising
from untrained.wann.evolution.memory import Memory
from untrained.wann.evolution.state import State
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.batch import Packed


@final
@dataclass(frozen=True, eq=False)
class Generation:
    """Networks of a generation.

    Args:
        networks: P of them, island after island.
        switched_on: connections that each genome has switched on, (P,).
        names: of the networks on their islands; equal networks have the same.
        new: the numbers of the networks to evaluate: of equal ones the first, and none that the search knows well.
        memory: rewards of earlier generations.
    """

    networks: Packed
    switched_on: np.ndarray
    names: Sequence[bytes]
    new: np.ndarray
    memory: Memory

    @staticmethod
    def of(state: State, islands: int, *, disabled_stay: bool) -> Generation:
        """Return the generation of a state; arguments as for `Population.expressed`."""
        networks, switched_on = state.population.expressed(disabled_stay=disabled_stay)
        # Islands do not share what they remember, so that none depends on the others.
        island = np.repeat(np.arange(islands, dtype="<u4"), len(networks) // islands)
        names = [name + number.tobytes() for name, number in zip(networks.digests(), island, strict=True)]
        return Generation(networks, switched_on, names, state.memory.new(names, state.survivors), state.memory)

    def evaluate(self, evaluator: Evaluator, weights: Sequence[float], seed: int, reps: int) -> np.ndarray:
        """Return the rewards of the new networks, and 0 for all others, (P, V)."""
        rewards = np.zeros((len(self.networks), len(weights)))
        if len(self.new):
            rewards[self.new] = evaluator.rewards(self.networks.chosen(self.new), weights, seed, reps=reps)
        return rewards

    def promising(self, rewards: np.ndarray, islands: int, best_counts: float) -> np.ndarray:
        """Return the numbers of the few networks of each island that deserve a look on validation data."""
        parts = np.split(np.arange(len(self.networks)), islands)
        return np.concatenate([p[promising(rewards[p], self.switched_on[p], best_counts)] for p in parts])

    def judge(self, rewards: np.ndarray, weights: int) -> tuple[Memory, np.ndarray]:
        """Return what the search has seen then, and each network's rewards by that, (P, V).

        Args:
            rewards: (P, V); those of networks that are not new do not count.
            weights: V.

        Raises:
            ValueError: the shape is wrong.
        """
        if rewards.shape != (len(self.networks), weights):
            raise ValueError(f"rewards must be of shape {(len(self.networks), weights)}, got {rewards.shape}")
        memory = self.memory.after([self.names[number] for number in self.new], rewards[self.new])
        return memory, memory.judge(self.names)
