"""Tasks of examples: classify them, or predict numbers. Rewards are negative losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.numerics.losses import cross_entropy, in_blocks, single, squared_error
from untrained.wann.tasks.examples import Examples, table
from untrained.wann.tasks.task import Part


@final
class Classify(Examples):
    """Tell classes apart: the reward is minus the cross-entropy of the softmax of the outputs, in nats.

    Args:
        x: inputs, (n, inputs), finite.
        y: classes, (n,): any numbers or names; class k is the k-th of them in order.
        labels: names of the classes, if `y` holds numbers from 0.
        options: those of `Examples`.

    Raises:
        ValueError: inputs or classes are not as described.
    """

    #: Without the step function, as the authors classify.
    activations = tuple(name for name in NAMES[:10] if name != "step")
    measure = "accuracy"

    def __init__(self, x: Any, y: Any, *, labels: Sequence[str] | None = None, name: str = "classify", **options: Any):
        self.labels: tuple[str, ...] = tuple(map(str, labels or ()))
        super().__init__(x, y, name=name, **options)

    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        try:
            given = np.asarray(y)
            known = np.unique(given)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}: classes of several kinds, or missing ones") from None
        if given.shape != (count,):
            raise ValueError(
                f"{self.name}: classes have shape {given.shape}, expected ({count},), one per row of inputs"
            )
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            raise ValueError(f"{self.name}: a class is NaN or infinite")
        if learn and not self.labels:
            self._values = known
            self.labels = tuple(str(value) for value in self._values)
        elif learn:
            self._values = np.arange(len(self.labels))
        self.outputs = len(self.labels)
        if self.outputs < 2:
            raise ValueError(f"{self.name}: got {self.outputs} class, expected at least 2")
        places = np.searchsorted(self._values, given).clip(max=self.outputs - 1)
        wrong = np.flatnonzero(self._values[places] != given)
        if len(wrong):
            raise ValueError(
                f"{self.name}: class {given[wrong[0]].item()!r} of row {wrong[0]}, expected one of {self.labels}"
            )
        return places.astype(np.int64)

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._measured(networks, weights, blocks, y, count_right=False)[0]

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            highest = out.max(-1, keepdims=True)
            log_sum = np.log(np.exp(out - highest).sum(-1)) + highest[..., 0]
            return (log_sum - out[:, np.arange(len(y)), y]).mean(-1)

    def _measured(
        self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray, *, count_right: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        losses, right = np.zeros((2, len(networks), len(weights)))
        cross_entropy(*_read_by_kernels(networks, weights, blocks, y), count_right, losses, right)
        return losses, right

    def scores(
        self, networks: Packed, weights: Sequence[float], seed: int = 0, *, reps: int = 1, part: Part = "test"
    ) -> np.ndarray:
        """Accuracy: the fraction of all examples in whose class the output is highest (ties: the lowest), (P, V)."""
        self.check(networks)
        x, y = self._scaled(part)
        shared = np.asarray(weights, float)
        if AVAILABLE:
            return self._measured(networks, shared, in_blocks(x), y, count_right=True)[1]
        outs = (networks.net(p)(x, shared) for p in range(len(networks)))
        return np.array([((out.argmax(-1) == y) & ~np.isnan(out).any(-1)).mean(-1) for out in outs])

    def ensemble_accuracy(self, net: Net, part: Part = "test") -> float:
        """Fraction that `net.predict`, the ensemble over the six standard weights, gets right."""
        x, y = self.examples(part)
        return float((self.finished(net).predict(x) == y).mean())

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"labels": list(self.labels)}

    def finished(self, net: Net) -> Net:
        return super().finished(net).replace(labels=self.labels)


@final
class Regress(Examples):
    """Predict numbers: the reward is minus the mean squared error over examples and outputs.

    Args:
        x: inputs, (n, inputs), finite.
        y: what to predict, (n,) or (n, outputs), finite.
        options: those of `Examples`.

    Raises:
        ValueError: inputs or targets are not as described.
    """

    measure = "minus squared error"

    def __init__(self, x: Any, y: Any, *, name: str = "regress", **options: Any):
        super().__init__(x, y, name=name, **options)

    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        given = np.asarray(y)
        targets = table(given[:, None] if given.ndim == 1 else given, f"{self.name}: targets")
        if len(targets) != count:
            raise ValueError(f"{self.name}: got {len(targets)} targets for {count} rows of inputs")
        if learn:
            self.outputs = targets.shape[1]
        elif targets.shape[1] != self.outputs:
            raise ValueError(f"{self.name}: got {targets.shape[1]} targets per row, expected {self.outputs}")
        return targets

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        losses = np.zeros((len(networks), len(weights)))
        squared_error(*_read_by_kernels(networks, weights, blocks, y), losses)
        return losses

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return ((out - y) ** 2).mean((-1, -2))


def _read_by_kernels(networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    n = networks
    return n.node_ptr, n.edge_ptr, n.src, n.act, single(n.weight), single(weights), blocks, y, n.outputs
