"""The metric of a table's rows, on the test data and on the validation data."""

from __future__ import annotations

from abc import ABC


class Measured(ABC):
    """Row of a table: its metric is the accuracy, or the value of another one.

    Attributes:
        accuracy, val_accuracy: shares of right answers; NaN if the metric is another.
        value, val_value: of another metric than accuracy; else None.
    """

    accuracy: float
    val_accuracy: float
    value: float | None
    val_value: float | None

    @property
    def test(self) -> float:
        """The metric on the test data: the accuracy, or the value of another metric."""
        return self.accuracy if self.value is None else self.value

    @property
    def val(self) -> float:
        """The metric on the validation data."""
        return self.val_accuracy if self.val_value is None else self.val_value
