"""A table of numbers as a network takes it: standardised columns and a column of ones, in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

_ROUNDING = 1e-12  # a column that differs by less of its mean is constant
_DIGITS = 4  # of a mean and a standard deviation, after the first


def measure(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column; that of a constant one is 0.

    Raises:
        ValueError: one is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = columns.mean(0), columns.std(0)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise ValueError("values are too large: their mean or their variance is infinity")
    return mean, np.where(std > _ROUNDING * np.abs(mean), std, 0.0)


def describe(columns: np.ndarray) -> dict[str, Any]:
    """Return shape, mean and std of a network's input, these rounded to 1e-4 of a deviation; of constant columns 1."""
    mean, std = measure(columns)
    stds = [float(f"{value:.{_DIGITS}e}") for value in np.where(std > 0, std, 1.0)]
    # Short numbers, for they lie in the ticket: of a mean only what counts beside its deviation.
    means = [round(float(m), _DIGITS - math.floor(math.log10(s))) for m, s in zip(mean, stds, strict=True)]
    return {"shape": [len(means) + 1], "mean": [*means, 0.0], "std": [*stds, 1.0]}


def standardise(columns: np.ndarray, facts: Mapping[str, Any]) -> Tensor:
    """Return ((x - mean) / std, 1), float64 (rows, columns + 1), by the mean and std in a ticket's facts."""
    mean, std = (np.array(facts[name][:-1]) for name in ("mean", "std"))
    return torch.from_numpy(np.hstack([(columns - mean) / std, np.ones((len(columns), 1))]))


@final
class Rows:
    """Batches of a table and its targets, in an order that the seed gives, new in each pass."""

    def __init__(self, x: Tensor, y: Tensor, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {size}")
        self._x, self._y, self._size = x, y, size
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self._x) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.randperm(len(self._x), generator=self._generator).split(self._size):
            yield self._x[chosen], self._y[chosen]
