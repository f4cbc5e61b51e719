"""Networks whose connections share one weight, as plain arrays that run with numpy alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from untrained.wann.networks.activations import FUNCTIONS, NAMES

WEIGHTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
"""The six shared weights of the paper ("standard" in the authors' files)."""

_TYPES: dict[str, type[np.generic]] = {"act": np.int8, "edge_ptr": np.int64, "src": np.int32}
_TYPES |= dict.fromkeys(("weights", "offset", "scale"), np.float64)


@dataclass(frozen=True, eq=False)
class Graph:
    """Arrays of a feed-forward network, checked and read-only; `Net`, built on it, describes the fields.

    Raises:
        ValueError: the arrays are no feed-forward network.
    """

    inputs: int
    outputs: int
    act: np.ndarray
    edge_ptr: np.ndarray
    src: np.ndarray
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    scale: np.ndarray | None = None
    labels: tuple[str, ...] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in _TYPES.items():
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _read_only(name, values, dtype))
        self._check()

    def _check(self) -> None:
        for name, count in (("inputs", self.inputs), ("outputs", self.outputs)):
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        nodes = len(self.act)
        if nodes < self.outputs:
            raise ValueError(f"act must hold at least the {self.outputs} outputs, got {nodes} computed nodes")
        if nodes and not ((self.act >= 1) & (self.act <= len(NAMES))).all():
            wrong = self.act[(self.act < 1) | (self.act > len(NAMES))][0]
            raise ValueError(f"act must hold activation ids from 1 to {len(NAMES)}, got {wrong}")
        counts = np.diff(self.edge_ptr)
        whole = len(self.edge_ptr) == nodes + 1 and self.edge_ptr[0] == 0 and self.edge_ptr[-1] == len(self.src)
        if not whole or (counts < 0).any():
            raise ValueError(
                f"edge_ptr must ascend from 0 to the {len(self.src)} connections in {nodes + 1} numbers, "
                f"got {len(self.edge_ptr)} numbers"
            )
        target = np.repeat(np.arange(nodes), counts) + self.inputs + 1
        wrong = np.flatnonzero((self.src < 0) | (self.src >= target))
        if len(wrong):
            edge = wrong[0]
            raise ValueError(
                f"src must hold nodes before their targets, got connection {edge} from {self.src[edge]} "
                f"to {target[edge]}"
            )
        for name, length in (("weights", len(self.src)), ("offset", self.inputs), ("scale", self.inputs)):
            values = getattr(self, name)
            if values is not None and values.shape != (length,):
                raise ValueError(f"{name} must have shape ({length},), got {values.shape}")
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}")
        if self.labels is not None and len(self.labels) != self.outputs:
            raise ValueError(f"labels must be {self.outputs}, one per output, got {len(self.labels)}")

    def __call__(self, x: Any, w: Any = 1.0) -> np.ndarray:
        """Return the outputs at a shared weight.

        Args:
            x: inputs, (n, inputs).
            w: the shared weight, or several of them, (V,).

        Returns:
            float64 (n, outputs), or (V, n, outputs) for several weights.

        Raises:
            ValueError: a shape is wrong.
        """
        x, w = self.scaled(x), np.asarray(w, float)
        if w.ndim > 1:
            raise ValueError(f"w must be a number or have shape (V,), got {w.shape}")
        shared = w.reshape(-1, 1)
        values = np.ones((self.inputs + 1 + len(self.act), shared.size, len(x)))
        values[1 : self.inputs + 1] = x.T[:, None]
        with np.errstate(all="ignore"):  # outputs of a network that breaks down are NaN or infinite
            for k, kind in enumerate(self.act):
                total = np.zeros(values.shape[1:])
                # One by one: np.sum's order depends on the shape, and another order rounds otherwise.
                for e in range(self.edge_ptr[k], self.edge_ptr[k + 1]):
                    source = values[self.src[e]]
                    total += source if self.weights is None else self.weights[e] * source
                values[self.inputs + 1 + k] = FUNCTIONS[NAMES[kind - 1]](shared * total)
        out = np.moveaxis(values[-self.outputs :], 0, -1)
        return out if w.ndim else out[0]

    def scaled(self, x: Any) -> np.ndarray:
        """Return the inputs as the first nodes get them: (x - offset)·scale, float64 (n, inputs).

        Raises:
            ValueError: the shape is wrong, or a value is no finite number.
        """
        x = np.asarray(x, float)
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"inputs must have shape (n, {self.inputs}), got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"inputs must be finite, got {x[~np.isfinite(x)][0]}")
        with np.errstate(over="ignore"):
            x = x if self.offset is None else x - self.offset
            return x if self.scale is None else x * self.scale

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self.src)

    @property
    def targets(self) -> np.ndarray:
        """Target node of every connection, int64 (connections,)."""
        return np.repeat(np.arange(len(self.act)), np.diff(self.edge_ptr)) + self.inputs + 1

    @property
    def own_weights(self) -> np.ndarray:
        """Weight of every connection that the shared one multiplies, float64 (connections,)."""
        return np.ones(len(self.src)) if self.weights is None else self.weights

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other fields."""
        return dataclasses.replace(self, **changes)


def _read_only(name: str, values: Any, dtype: type[np.generic]) -> np.ndarray:
    """Return a read-only copy of this type; a value that the type does not have is an error."""
    original = np.asarray(values)
    with np.errstate(invalid="ignore"):
        array = original.astype(dtype)
    numbers = original.ndim == 1 and original.dtype.kind in "biuf"
    if not numbers or (original.size and not np.array_equal(array, original, equal_nan=True)):
        raise ValueError(f"{name} must be {np.dtype(dtype)} (n,), got {original.dtype} {original.shape}")
    array.setflags(write=False)
    return array
