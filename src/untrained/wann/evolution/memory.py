"""Memory of a search, so that no network is evaluated over and over: most children repeat one that was seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

_ENOUGH = 8  # generations that judge a survivor; four times as many episodes as a choice has
_MOST = 1 << 17  # networks, ten megabytes in a checkpoint
NAME_BYTES = 20
ARRAYS = ("seen_names", "seen_generations", "seen_rewards")  # in a checkpoint


@final
@dataclass(frozen=True, eq=False)
class Memory:
    """Rewards of the networks that a search has seen, averaged over the generations that evaluated each.

    Args:
        seen: by a network's name, the number of these generations and its mean rewards, float64 (V,). The oldest come
            first.
    """

    seen: Mapping[bytes, tuple[int, np.ndarray]] = field(default_factory=dict)

    def new(self, names: Sequence[bytes], survivors: np.ndarray) -> np.ndarray:
        """Return the numbers of the networks to evaluate: each unknown one once, and survivors seen in few generations.

        Args:
            names: of the networks.
            survivors: True for a network that stays from the generation before, (P,).
        """
        first: dict[bytes, int] = {}
        for number, (name, stays) in enumerate(zip(names, survivors.tolist(), strict=True)):
            generations = self.seen[name][0] if name in self.seen else 0
            if generations == 0 or (stays and generations < _ENOUGH):
                first.setdefault(name, number)
        return np.array(sorted(first.values()), np.int64)

    def after(self, names: Sequence[bytes], rewards: np.ndarray) -> Memory:
        """Return the memory after a generation has evaluated these networks.

        Args:
            names: of the networks, all different.
            rewards: of the networks, (P, V).
        """
        seen = dict(self.seen)
        with np.errstate(over="ignore", invalid="ignore"):  # of networks that broke down
            for name, each in zip(names, rewards, strict=True):
                generations, mean = seen.pop(name, (0, each))
                seen[name] = generations + 1, mean + (each - mean) / (generations + 1)
        return Memory(seen)

    def shortened(self) -> Memory:
        """Return the memory without its older half, if there are more than 2¹⁷ networks in it."""
        return Memory(dict([*self.seen.items()][len(self.seen) // 2 :])) if len(self.seen) > _MOST else self

    def judge(self, names: Sequence[bytes]) -> np.ndarray:
        """Return the mean rewards of networks that were all seen, (P, V)."""
        return np.array([self.seen[name][1] for name in names])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the memory as `ARRAYS`, for a checkpoint."""
        names = np.frombuffer(b"".join(self.seen), np.uint8).reshape(-1, NAME_BYTES)
        generations = np.array([count for count, _ in self.seen.values()], np.int64)
        rewards = np.array([each for _, each in self.seen.values()], float)
        return dict(zip(ARRAYS, (names, generations, rewards), strict=True))

    @staticmethod
    def from_arrays(names: np.ndarray, generations: np.ndarray, rewards: np.ndarray, *, weights: int) -> Memory:
        """Return the memory that `to_arrays` gave.

        Raises:
            ValueError: the arrays are not of such a memory.
        """
        count = len(generations) if generations.ndim else 0
        shapes = (count, NAME_BYTES), (count,), (count, weights) if count else (0,)
        expected = [*zip(map(np.dtype, ("uint8", "int64", "float64")), shapes, strict=True)]
        if (given := [(each.dtype, each.shape) for each in (names, generations, rewards)]) != expected:
            raise ValueError(f"its memory is of types and shapes {given}, expected {expected}")
        if (generations < 1).any():
            raise ValueError("its memory has networks that no generation has seen")
        pairs = zip(generations.tolist(), rewards, strict=True)
        return Memory(dict(zip(map(bytes, names), pairs, strict=True)))
