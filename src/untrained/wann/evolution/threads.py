"""Choice between one thread and several by measuring: on a busy machine, more threads can be ten times slower."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar, final

_PAIRS = 3  # the median of three leaves out a call that compiles, or that starts the threads
_RARE = 20  # a measurement may take a twentieth of the time

T = TypeVar("T")


@final
class ThreadChoice:
    """Choice between one thread and several: the one whose calls took less time when both were measured in turn.

    Calls alternate until there are three of each, and the lower median is chosen. Since the load of a machine changes,
    it is measured again when twenty times as much work is done as a measurement takes, in seconds or in calls,
    whichever is sooner: in seconds when the machine becomes slower, in calls when it becomes faster.

    Args:
        several: number of threads to compare with one.
        clock: returns seconds.
    """

    def __init__(self, several: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._counts, self._clock = (1, several), clock
        self._taken: tuple[list[float], list[float]] = ([], [])
        self._seconds = self._calls = 0.0  # until the next measurement
        #: Number of threads; None: not measured yet.
        self.chosen: int | None = None

    def run(self, work: Callable[[int], T]) -> T:
        """Call `work` with a number of threads, take the time, and return its result."""
        start = self._clock()
        if self.chosen is not None and self._seconds > 0 and self._calls > 0:
            result = work(self.chosen)
            self._seconds, self._calls = self._seconds - (self._clock() - start), self._calls - 1
            return result
        turn = int(len(self._taken[0]) > len(self._taken[1]))
        result = work(self._counts[turn])
        self._taken[turn].append(self._clock() - start)
        if len(self._taken[1]) == _PAIRS:
            self._choose()
        return result

    def _choose(self) -> None:
        one, several = map(median, self._taken)
        self.chosen = self._counts[several < one]
        self._seconds = _RARE * _PAIRS * (one + several)
        self._calls = self._seconds / max(min(one, several), 1e-9)
        self._taken = ([], [])
