"""Schedules: numbers that move while a search goes on. A plain number is one that stays.

`Method.at(progress)` and `Recipe.rate` ask a schedule for its value at t, the share of the search that is done, 0..1.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import final

from untrained.fields import check_fields


class Schedule(abc.ABC):
    """A number as a function of t, the share of the search that is done. A final schedule is a frozen dataclass."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")

    @abc.abstractmethod
    def at(self, progress: float) -> float:
        """The value at t = `progress`, 0 ≤ t ≤ 1."""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """value, all the time."""

    value: float

    def at(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class _Ramp(Schedule):
    """From `start` to `end`, which is reached at t = `until` and kept.

    Args:
        start: the value at t = 0.
        end: the value from t = `until` on.
        until: share of the search that the way takes, in (0, 1].
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.until <= 1:
            raise ValueError(f"until must be in (0, 1], got {self.until}")

    def at(self, progress: float) -> float:
        way = min(1.0, max(0.0, progress) / self.until)
        return self.end if way == 1 else self.start if way == 0 else self._between(way)

    @abc.abstractmethod
    def _between(self, way: float) -> float:
        """The value on the way, 0 < way < 1."""


@final
@dataclass(frozen=True)
class Linear(_Ramp):
    """start + (end - start)·t/until."""

    def _between(self, way: float) -> float:
        return self.start + (self.end - self.start) * way


@final
@dataclass(frozen=True)
class Cubic(_Ramp):
    """end + (start - end)·(1 - t/until)³: fast at first, slow at the end.

    Source: Zhu & Gupta 2017, arXiv 1710.01878, equation 1; biprop's authors anneal the fraction kept by it.
    """

    def _between(self, way: float) -> float:
        return self.end + (self.start - self.end) * (1 - way) ** 3


@final
@dataclass(frozen=True)
class Geometric(_Ramp):
    """start·(end/start)^(t/until): the same share at every moment; `start` and `end` above 0.

    Args:
        steps: how many equal jumps to make instead of going smoothly; the first at t = until/steps. None: smoothly.
    """

    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.start > 0 and self.end > 0):
            raise ValueError(f"start and end must be above 0, got {self.start} and {self.end}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")

    def _between(self, way: float) -> float:
        if self.steps is not None:
            way = math.floor(way * self.steps + 1e-9) / self.steps  # a step is not late for want of an ulp
        return self.start * (self.end / self.start) ** way
