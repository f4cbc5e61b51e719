"""Tasks of examples: rows of inputs to train on, to choose by and to report."""

from __future__ import annotations

import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from untrained.data.holdout import hold_out
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.numerics.losses import in_blocks
from untrained.wann.tasks.task import Part, Task, seeds_of

_Rows = tuple[np.ndarray, np.ndarray]


class Examples(Task):
    """Base class of tasks whose rewards are losses on examples; a network gets the inputs scaled to [0, 1].

    Args:
        x: inputs, (n, inputs), finite.
        y: targets, (n,) or (n, outputs).
        validation: fraction of the examples held out to choose by, or those examples as (x, y); None: the training
            examples, which are also used, with a warning, where the fraction is less than one example.
        test: examples to report on, as (x, y).
        batch: training examples per generation, drawn anew for each; None: all.
        value_range: least and greatest value of all inputs, which become 0 and 1; None: those of each column of the
            training examples.
        name: of the task.
    """

    by_chance = False

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        validation: float | tuple[Any, Any] | None = 0.1,
        test: tuple[Any, Any] | None = None,
        batch: int | None = 1000,
        value_range: tuple[float, float] | None = None,
        name: str,
    ) -> None:
        self.name, self._batch = name, batch
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise ValueError(f"{name}: batch must be a whole number, at least 1, or None, got {batch}")
        inputs = read_table(x, f"{name}: inputs")
        train, self.inputs = (inputs, self._targets(y, len(inputs), learn=True)), inputs.shape[1]
        if validation is None:
            held = train
        elif not isinstance(validation, float | int):
            held = self._pair(validation, "validation")
        else:
            train, held = self._hold_out(train, validation)
        self._parts = {"train": train, "validation": held}
        if test is not None:
            self._parts["test"] = self._pair(test, "test")
        self._offset, self._scale = _scaling(name, train[0], value_range)

    @abstractmethod
    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        """Return targets as the kernels read them; `learn`: set `outputs` from them."""

    @abstractmethod
    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the mean loss of every network at every weight, (P, V)."""

    @abstractmethod
    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the same loss from outputs (V, n, outputs), for each weight, with numpy alone."""

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        self.check(networks)
        shared = np.asarray(weights, float)
        total = np.zeros((len(networks), len(shared)))
        for each in seeds_of(seed, part, reps):
            x, y = self._draw_batch(int(each), part)
            if AVAILABLE:
                total -= self._losses(networks, shared, in_blocks(x), y)
            else:
                total -= [self._plain_loss(networks.net(p)(x, shared), y) for p in range(len(networks))]
            if self._batch is None or part != "train":
                return total  # every repetition would be the same
        return total / reps

    def examples(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Return the examples of a part: inputs as they were passed, and targets.

        Raises:
            ValueError: there is no such part.
        """
        if part not in self._parts:
            raise ValueError(f"{self.name}: part must be one of {', '.join(self._parts)}, got {part}")
        return self._parts[part]

    def identity(self) -> dict[str, Any]:
        content = hashlib.sha256()
        for x, y in self._parts.values():
            content.update(repr((x.shape, y.shape)).encode() + x.tobytes() + y.tobytes())
        content.update(self._offset.tobytes() + self._scale.tobytes())
        return {"name": self.name, "examples": content.hexdigest(), "batch": self._batch}

    def finished(self, net: Net) -> Net:
        return net.replace(offset=self._offset, scale=self._scale)

    def _draw_batch(self, seed: int, part: Part) -> _Rows:
        """Return the batch of a seed, scaled; all examples of the other parts."""
        x, _ = self.examples(part)
        if part != "train" or self._batch is None or self._batch >= len(x):
            return self._scale_inputs(part)
        keys = np.random.Philox(key=seed).random_raw(len(x))
        return self._scale_inputs(part, np.sort(np.argpartition(keys, self._batch)[: self._batch]))

    def _scale_inputs(self, part: Part, rows: Any = slice(None)) -> _Rows:
        x, y = self.examples(part)
        with np.errstate(over="ignore"):
            return (x[rows] - self._offset) * self._scale, y[rows]

    def _pair(self, values: tuple[Any, Any], part: str) -> _Rows:
        if not isinstance(values, tuple | list) or len(values) != 2:
            raise ValueError(f"{self.name}: {part} must be (x, y), got {type(values).__name__}")
        x = read_table(values[0], f"{self.name}: {part} inputs")
        if x.shape[1] != self.inputs:
            raise ValueError(f"{self.name}: {part} inputs must have {self.inputs} columns, got {x.shape[1]}")
        return x, self._targets(values[1], len(x))

    def _hold_out(self, examples: _Rows, fraction: float) -> tuple[_Rows, _Rows]:
        x, y = examples
        count = round(fraction * len(x)) if 0 < fraction < 1 else len(x)
        if count == len(x):
            raise ValueError(
                f"{self.name}: validation must be a fraction that leaves some of {len(x)} examples to train on, "
                f"examples (x, y), or None to choose by the training examples, got {fraction}"
            )
        if count == 0:
            warnings.warn(
                f"{self.name}: {len(x)} examples are too few to hold {fraction} of them out: networks are chosen by "
                "the training examples (validation=None), or by examples that you give as validation=(x, y)",
                stacklevel=4,
            )
            return examples, examples
        kept, held = hold_out(len(x), count)
        return (x[kept], y[kept]), (x[held], y[held])


def _scaling(name: str, x: np.ndarray, value_range: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers that are subtracted from the inputs, and the factors after that."""
    if value_range is None:
        low, high = x.min(0), x.max(0)
    else:
        limits = read_table([value_range], f"{name}: value_range")
        if limits.shape != (1, 2) or not limits[0, 0] < limits[0, 1]:
            raise ValueError(f"{name}: value_range must be the least and the greatest value, got {value_range}")
        low, high = np.broadcast_to(limits, (x.shape[1], 2)).T
    with np.errstate(all="ignore"):
        scale = np.where(high > low, 1 / np.where(high > low, high - low, 1), 1)
    # A range too wide or too narrow for float64 stays as it is.
    return low, np.where(np.isfinite(scale) & (scale > 0), scale, 1)


def read_table(x: Any, name: str) -> np.ndarray:
    """Return x as float64 (rows, columns), neither of them 0; other values are refused by the name."""
    try:
        table = np.asarray(x, float)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be numbers, got others") from None
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"{name} must have shape (rows, columns), neither of them 0, got {table.shape}")
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"{name} must be finite, got {table[row, column]} in row {row}, column {column}")
    return table
