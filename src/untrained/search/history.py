"""Metrics of a search, and what its caller sees of each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from torch import nn

from untrained.search.checkpoint import Row


@final
@dataclass(frozen=True)
class History:
    """Metrics of a search, one row per epoch.

    A row holds `epoch` (from 1), `lr` at its end (of the first recipe), `train_loss` (label smoothing included),
    `train_accuracy`, `examples_per_second` and `seconds`; for masked models `flips`, the share of weights whose mask
    changed during the epoch; with validation data `val_loss` and `val_accuracy`. Accuracies are shares of the labels,
    in 0..1. With another metric its name stands for accuracy: `train_rmse`, `val_rmse`.

    Example:
        >>> ut.History([{"epoch": 1, "flips": 0.5}, {"epoch": 2, "flips": 0.25}]).column("flips")
        [0.5, 0.25]
    """

    rows: list[Row] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """Return one metric of every epoch."""
        return [row[name] for row in self.rows]


@final
@dataclass(frozen=True)
class Epoch:
    """An epoch that has just ended, as `fit` passes it to `on_epoch`.

    Attributes:
        row: its metrics, see `History`.
        epochs: number of epochs of the whole search.
        history: the metrics of all epochs so far, this one included.
        model: the model in its present state; `masks`, `codes`, `summary` and `save` work on a masked one.
        folder: the folder of the run's files, all written by now; None: it has none.

    Example:
        >>> seen = []
        >>> model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup(keep=0.5))
        >>> batches = [(torch.ones(3, 4), torch.arange(3))]
        >>> history = ut.fit(model, batches, epochs=2, on_epoch=lambda epoch: seen.append(epoch.number))
        >>> seen
        [1, 2]
    """

    row: Row
    epochs: int
    history: History
    model: nn.Module
    folder: Path | None

    @property
    def number(self) -> int:
        """Number of the epoch, from 1."""
        return int(self.row["epoch"])
