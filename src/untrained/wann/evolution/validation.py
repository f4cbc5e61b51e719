"""Rewards of promising networks on validation data, by which a search chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.batch import Packed

_REPS = 8  # episodes per weight: the rewards of one generation are partly luck


@final
class Validation:
    """Evaluation on validation data, always the same; a network of the last choice is not evaluated again.

    Args:
        evaluator: evaluates the networks.
        weights: shared weights, V.
        seed: of the episodes or batches.
        reps: episodes per weight in a generation; 8 at least are validated.
    """

    def __init__(self, evaluator: Evaluator, weights: Sequence[float], seed: int, reps: int) -> None:
        self._evaluator, self._weights, self._seed, self._reps = evaluator, tuple(weights), seed, max(_REPS, reps)
        self._last: dict[bytes, np.ndarray] = {}

    def rewards(self, networks: Packed, names: Sequence[bytes]) -> np.ndarray:
        """Return the rewards (P, V) of networks, whose names are equal where the networks are."""
        new = [number for number, name in enumerate(names) if name not in self._last]
        known = self._last
        if new:
            how = {"weights": self._weights, "seed": self._seed, "reps": self._reps, "part": "validation"}
            found = self._evaluator.rewards(networks.chosen(new), **how)
            known = known | {names[number]: each for number, each in zip(new, found, strict=True)}
        self._last = {name: known[name] for name in names}
        return np.array([known[name] for name in names])
