"""What steps episodes of an environment, whoever simulates it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class Episodes(ABC):
    """Episodes that can run side by side; each is named by the index of its seed, and runs once."""

    @abstractmethod
    def start(self, episodes: np.ndarray) -> np.ndarray:
        """Their first observations, float64 (n, inputs); n is at least 1, here and below."""

    @abstractmethod
    def step(self, episodes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations (n, inputs), rewards (n,) and whether they have ended (n,) after one step of each."""

    @abstractmethod
    def end(self, episodes: np.ndarray) -> None:
        """These are stepped no further."""

    @abstractmethod
    def close(self) -> None:
        """Give up whatever still runs."""
