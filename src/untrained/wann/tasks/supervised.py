"""Classification and regression as tasks, whose rewards are negative losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.numerics.losses import cross_entropy, in_blocks, single, squared_error
from untrained.wann.tasks.examples import Examples, read_table
from untrained.wann.tasks.task import Part


@final
class Classify(Examples):
    """Task of classification: the reward is minus the cross-entropy of the softmax of the outputs, in nats.

    Example:
        >>> task = wann.Classify([[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"], validation=None)
        >>> task.inputs, task.outputs, task.labels
        (2, 2, ('no', 'yes'))

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
            classes = np.asarray(y)
            values = np.unique(classes)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}: classes must all be numbers or all be names, none missing") from None
        if classes.shape != (count,):
            raise ValueError(f"{self.name}: classes must have shape ({count},), one per row, got {classes.shape}")
        if classes.dtype.kind == "f" and not np.isfinite(classes).all():
            raise ValueError(f"{self.name}: classes must be finite, got {classes[~np.isfinite(classes)][0]}")
        if learn:
            self._values = np.arange(len(self.labels)) if self.labels else values
            self.labels = self.labels or tuple(str(value) for value in values)
        self.outputs = len(self.labels)
        if self.outputs < 2:
            raise ValueError(f"{self.name}: classes must be at least 2, got {self.outputs}")
        places = np.searchsorted(self._values, classes).clip(max=self.outputs - 1)
        wrong = np.flatnonzero(self._values[places] != classes)
        if len(wrong):
            found = classes[wrong[0]].item()
            raise ValueError(f"{self.name}: classes must be among {self.labels}, got {found!r} in row {wrong[0]}")
        return places.astype(np.int64)

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._measure(networks, weights, blocks, y, count_right=False)[0]

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            highest = out.max(-1, keepdims=True)
            log_sum = np.log(np.exp(out - highest).sum(-1)) + highest[..., 0]
            return (log_sum - out[:, np.arange(len(y)), y]).mean(-1)

    def _measure(
        self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray, *, count_right: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        losses, right = np.zeros((2, len(networks), len(weights)))
        cross_entropy(*_kernel_arguments(networks, weights, blocks, y), count_right, losses, right)
        return losses, right

    def scores(
        self, networks: Packed, weights: Sequence[float], seed: int = 0, *, reps: int = 1, part: Part = "test"
    ) -> np.ndarray:
        """Return the accuracy, (P, V): the highest output is the answer; ties go to the lowest class."""
        self.check(networks)
        x, y = self._scale_inputs(part)
        shared = np.asarray(weights, float)
        if AVAILABLE:
            return self._measure(networks, shared, in_blocks(x), y, count_right=True)[1]
        outs = (networks.net(p)(x, shared) for p in range(len(networks)))
        return np.array([((out.argmax(-1) == y) & ~np.isnan(out).any(-1)).mean(-1) for out in outs])

    def ensemble_accuracy(self, net: Net, part: Part = "test") -> float:
        """Return the accuracy of `net.predict`, the ensemble over the six standard weights."""
        x, y = self.examples(part)
        return float((self.finished(net).predict(x) == y).mean())

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"labels": list(self.labels)}

    def finished(self, net: Net) -> Net:
        return super().finished(net).replace(labels=self.labels)


@final
class Regress(Examples):
    """Task of regression: the reward is minus the mean squared error over examples and outputs.

    Example:
        >>> x = torch.arange(20.0).reshape(10, 2).numpy()
        >>> task = wann.Regress(x, x.sum(1), validation=0.2)
        >>> [task.examples(part)[0].shape for part in ("train", "validation")]
        [(8, 2), (2, 2)]

    Args:
        x: inputs, (n, inputs), finite.
        y: targets, (n,) or (n, outputs), finite.
        options: those of `Examples`.

    Raises:
        ValueError: inputs or targets are not as described.
    """

    measure = "minus squared error"

    def __init__(self, x: Any, y: Any, *, name: str = "regress", **options: Any):
        super().__init__(x, y, name=name, **options)

    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        targets = np.asarray(y)
        targets = read_table(targets[:, None] if targets.ndim == 1 else targets, f"{self.name}: targets")
        if len(targets) != count:
            raise ValueError(f"{self.name}: targets must be {count}, one per row of inputs, got {len(targets)}")
        if learn:
            self.outputs = targets.shape[1]
        elif targets.shape[1] != self.outputs:
            raise ValueError(f"{self.name}: targets must be {self.outputs} per row, got {targets.shape[1]}")
        return targets

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        losses = np.zeros((len(networks), len(weights)))
        squared_error(*_kernel_arguments(networks, weights, blocks, y), losses)
        return losses

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return ((out - y) ** 2).mean((-1, -2))


def _kernel_arguments(networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    n = networks
    return n.node_ptr, n.edge_ptr, n.src, n.act, single(n.weight), single(weights), blocks, y, n.outputs
