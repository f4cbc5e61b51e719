"""Metrics by which networks are compared: their names, units and directions. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, final

from untrained.fields import check_fields


@final
@dataclass(frozen=True)
class Metric:
    """Metric of a search, as tables, curves and files call it.

    Args:
        name: one word, such as "accuracy" or "rmse"; the columns of `History` are called after it.
        unit: "%" for shares in 0..1, which are shown in percent; "" for plain numbers.
        higher_is_better: the direction.
    """

    name: str = "accuracy"
    unit: str = "%"
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.name.isidentifier() or self.name == "loss":
            raise ValueError(f"a metric's name must be one word, and not loss, got {self.name!r}")
        if len(self.name) > 40 or len(self.unit) > 16 or not self.unit.isprintable():
            raise ValueError(f"a metric's name and unit must be short, got {self.name!r} and {self.unit!r}")

    @property
    def words(self) -> str:
        """The name in words, such as "mean IoU"."""
        return _WORDS.get(self.name, self.name.replace("_", " "))

    @property
    def factor(self) -> float:
        """The factor of values that are shown: 100 for shares."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def suffix(self) -> str:
        """The unit behind a comma, for titles of columns and axes: ", %"; or nothing."""
        return f", {self.unit}" if self.unit else ""

    def bare(self, value: float, sign: str = "") -> str:
        """Return a value as text without its unit: shares in percent with two digits, others with four digits."""
        if self.unit == "%":
            return f"{100 * value:{sign}.2f}"
        return f"{value:{sign}.4g}"

    def show(self, value: float) -> str:
        """Return a value as text with its unit, such as 98.22% or 0.3241."""
        return f"{self.bare(value)}{'%' if self.unit == '%' else f' {self.unit}' if self.unit else ''}"

    def brief(self, value: float) -> str:
        """Return a value as text in three digits, for a line of progress: 98.2%."""
        return f"{value:.1%}" if self.unit == "%" else f"{value:.3g}"

    def holds(self, value: float) -> bool:
        """Return True if a value may be one of this metric: finite, and a share in 0..1."""
        return 0 <= value <= 1 if self.unit == "%" else math.isfinite(value)

    def better(self, value: float) -> float:
        """Return the value, or its negative, so that more is better."""
        return value if self.higher_is_better else -value

    def facts(self, test: float, val: float | None) -> dict[str, Any]:
        """Return a network's values as tickets call them: `accuracy`, `val_accuracy`; or `metric`, `test`, `val`."""
        if self == ACCURACY:
            return {"accuracy": test, "val_accuracy": val}
        return {"metric": asdict(self), "test": test, "val": val}

    @classmethod
    def read(cls, facts: object) -> Self:
        """Return the metric in the facts of a file; accuracy if they name none.

        Raises:
            ValueError: they name one that cannot be.
        """
        metric = facts.get("metric") if isinstance(facts, Mapping) else None
        if metric is None:
            return cls()
        try:
            return cls(**metric)
        except TypeError:
            raise ValueError("its metric is damaged") from None


_WORDS = {"rmse": "RMSE", "r2": "R²", "mean_iou": "mean IoU"}
ACCURACY = Metric()
RMSE = Metric("rmse", "", higher_is_better=False)
R2 = Metric("r2", "")
PERPLEXITY = Metric("perplexity", "", higher_is_better=False)
MEAN_IOU = Metric("mean_iou")
