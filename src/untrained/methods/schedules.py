"""Schedules: numbers that change during a search, as functions of t, the share of the search that is done, 0..1.

`Method.at(progress)` and `Recipe.rate` ask a schedule for its value at t.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import ClassVar, final

from untrained.fields import check_fields


class Schedule(abc.ABC):
    """Number as a function of t, the share of the search that is done. A final schedule is a frozen dataclass.

    Example:
        >>> isinstance(ut.Linear(1.0, 0.0), ut.Schedule)
        True
    """

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")

    @abc.abstractmethod
    def at(self, progress: float) -> float:
        """Return the value at t = `progress`, 0 ≤ t ≤ 1."""


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """Constant schedule: value at every t.

    Example:
        >>> ut.Constant(0.1).at(0.5)
        0.1
    """

    value: float

    def at(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class _Ramp(Schedule):
    """Schedule from `start` to `end`, which is reached at t = `until` and kept.

    Args:
        start: the value at t = 0.
        end: the value from t = `until` on.
        until: the share of the search after which `end` is reached, in (0, 1].
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
        """Return the value at t = way · until, 0 < way < 1."""


@final
@dataclass(frozen=True)
class Linear(_Ramp):
    """Linear schedule: start + (end - start)·t/until.

    Example:
        >>> ut.Linear(1.0, 0.5, until=0.5).at(0.25)
        0.75
    """

    def _between(self, way: float) -> float:
        return self.start + (self.end - self.start) * way


@final
@dataclass(frozen=True)
class Cubic(_Ramp):
    """Cubic schedule: end + (start - end)·(1 - t/until)³, fast at first, slow at the end.

    Source: Zhu & Gupta 2017, arXiv 1710.01878, equation 1; biprop's authors anneal the fraction kept by it.

    Example:
        >>> ut.Cubic(0.5, 0.25).at(0.5)
        0.28125
    """

    def _between(self, way: float) -> float:
        return self.end + (self.start - self.end) * (1 - way) ** 3


@final
@dataclass(frozen=True)
class Geometric(_Ramp):
    """Geometric schedule: start·(end/start)^(t/until), the same factor in equal times; `start` and `end` above 0.

    Args:
        steps: number of equal jumps instead of a smooth curve; the first at t = until/steps. None: smooth.

    Example:
        >>> ut.Geometric(1.0, 0.25).at(0.5)
        0.5
    """

    steps: int | None = None

    _limits: ClassVar = {"steps": (1, math.inf)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.start > 0 and self.end > 0):
            raise ValueError(f"start and end must be above 0, got {self.start} and {self.end}")

    def _between(self, way: float) -> float:
        if self.steps is not None:
            way = math.floor(way * self.steps + 1e-9) / self.steps  # 1e-9: a rounding error must not delay a step
        return self.start * (self.end / self.start) ** way
