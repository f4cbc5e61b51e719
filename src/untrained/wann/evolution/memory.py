"""Memory of a search, so that no network is evaluated over and over: most children repeat one that was seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

_ENOUGH = 8  # generations that judge a survivor; four times as many episodes as a choice has
_RECENT = 1 << 12  # networks that a new memory copies
_MOST = 1 << 17  # networks, ten megabytes in a checkpoint
NAME_BYTES = 20
ARRAYS: tuple[str, ...] = ("seen_names", "seen_generations", "seen_rewards", "seen_earlier")  # in a checkpoint

Seen = Mapping[bytes, tuple[int, np.ndarray]]


@final
@dataclass(frozen=True, eq=False)
class Memory:
    """Rewards of the networks that a search has seen, averaged over the generations that evaluated each.

    Args:
        earlier: by a network's name, the number of these generations and its mean rewards, float64 (V,). The oldest
            come first.
        recent: likewise, of the networks evaluated since; they count where a network is in both.
    """

    earlier: Seen = field(default_factory=dict)
    recent: Seen = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.earlier) + sum(name not in self.earlier for name in self.recent)

    def new(self, names: Sequence[bytes], survivors: np.ndarray) -> np.ndarray:
        """Return the numbers of the networks to evaluate: each unknown one once, and survivors seen in few generations.

        Args:
            names: of the networks.
            survivors: True for a network that stays from the generation before, (P,).
        """
        first: dict[bytes, int] = {}
        for number, (name, stays) in enumerate(zip(names, survivors.tolist(), strict=True)):
            generations = self._of(name)[0]
            if generations == 0 or (stays and generations < _ENOUGH):
                first.setdefault(name, number)
        return np.array(sorted(first.values()), np.int64)

    def after(self, names: Sequence[bytes], rewards: np.ndarray) -> Memory:
        """Return the memory after a generation has evaluated these networks.

        Args:
            names: of the networks, all different.
            rewards: of the networks, (P, V).
        """
        recent = dict(self.recent)
        with np.errstate(over="ignore", invalid="ignore"):  # of networks that broke down
            for name, each in zip(names, rewards, strict=True):
                generations, mean = self._of(name)
                recent.pop(name, None)  # the latest come last
                recent[name] = generations + 1, each if mean is None else mean + (each - mean) / (generations + 1)
        return Memory(self.earlier, recent)

    def judge(self, names: Sequence[bytes]) -> np.ndarray:
        """Return the mean rewards of networks that were all seen, (P, V)."""
        return np.array([self._of(name)[1] for name in names])

    def settled(self) -> Memory:
        """Return the memory with few recent networks, and without its older half if there are more than 2¹⁷.

        So a network that was judged long ago has another chance.
        """
        if len(self.recent) <= _RECENT and len(self) <= _MOST:
            return self
        seen = {name: each for name, each in self.earlier.items() if name not in self.recent} | dict(self.recent)
        return Memory(dict([*seen.items()][len(seen) // 2 :]) if len(seen) > _MOST else seen)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the memory as `ARRAYS`, for a checkpoint."""
        items = [*self.earlier.items(), *self.recent.items()]
        names = np.frombuffer(b"".join(name for name, _ in items), np.uint8).reshape(-1, NAME_BYTES)
        generations = np.array([count for _, (count, _) in items], np.int64)
        rewards = np.array([each for _, (_, each) in items], float)
        arrays: list[np.ndarray] = [names, generations, rewards, np.array(len(self.earlier), np.int64)]
        return dict(zip(ARRAYS, arrays, strict=True))

    @staticmethod
    def from_arrays(
        names: np.ndarray, generations: np.ndarray, rewards: np.ndarray, earlier: np.ndarray, *, weights: int
    ) -> Memory:
        """Return the memory that `to_arrays` gave.

        Raises:
            ValueError: the arrays are not of such a memory.
        """
        count = len(generations) if generations.ndim else 0
        shapes = (count, NAME_BYTES), (count,), (count, weights) if count else (0,), ()
        expected = [*zip(map(np.dtype, ("uint8", "int64", "float64", "int64")), shapes, strict=True)]
        if (given := [(each.dtype, each.shape) for each in (names, generations, rewards, earlier)]) != expected:
            raise ValueError(f"its memory is of types and shapes {given}, expected {expected}")
        if (generations < 1).any() or not 0 <= earlier <= count:
            raise ValueError("its memory has networks that no generation has seen")
        items = [*zip(map(bytes, names), zip(generations.tolist(), rewards, strict=True), strict=True)]
        return Memory(dict(items[: int(earlier)]), dict(items[int(earlier) :]))

    def _of(self, name: bytes) -> tuple[int, np.ndarray | None]:
        return self.recent.get(name) or self.earlier.get(name) or (0, None)
