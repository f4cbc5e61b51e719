"""The best that a search has found: reward against number of connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

from untrained.wann.net import Net


@final
@dataclass(frozen=True, eq=False)
class Found:
    """A network, and its rewards on what chooses among networks: validation data, or seeds that no search uses.

    Args:
        net: the network.
        rewards: its reward at each of the search's shared weights.
    """

    net: Net
    rewards: tuple[float, ...]

    @property
    def reward(self) -> float:
        """Mean over the shared weights."""
        return sum(self.rewards) / len(self.rewards)


@final
class Front:
    """Networks of which none is beaten by one that is not bigger, from the smallest to the best.

    Args:
        found: candidates.
    """

    def __init__(self, found: Iterable[Found] = ()) -> None:
        self._found: list[Found] = []
        self.update(found)

    def update(self, found: Iterable[Found]) -> None:
        """Take in what is not beaten, and drop what now is; equals stay what they were."""
        candidates = sorted([*self._found, *found], key=lambda each: (each.net.connections, -each.reward))
        self._found = []
        for each in candidates:
            if not self._found or each.reward > self._found[-1].reward:
                self._found.append(each)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def best(self) -> Found:
        """The one with the highest reward.

        Raises:
            ValueError: nothing was found: every network broke down, or no generation has passed.
        """
        if not self._found:
            raise ValueError("nothing was found yet: no generation has passed, or every network broke down")
        return self._found[-1]
