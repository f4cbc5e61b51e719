"""Tasks of examples: classify them, or predict numbers. Rewards are negative losses over a batch."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from untrained.wann.activations import NAMES
from untrained.wann.jit import AVAILABLE, inlined, inlined_reordered, reordered
from untrained.wann.net import Net
from untrained.wann.packed import Packed
from untrained.wann.task import Part, Task, part_seed
from untrained.wann.vector_math import activate32, exp32

_BLOCK = 128  # examples side by side: a block of values of 500 nodes stays in the second-level cache
f32 = np.float32


class Examples(Task):
    """Rows of inputs, some of them held out to choose by; a network sees them scaled to [0, 1].

    Args:
        x: inputs, (n, inputs), finite.
        y: what to predict, (n,) or (n, outputs).
        validation: fraction of the examples held out to choose by, or those examples as (x, y).
        test: examples to report on, as (x, y).
        batch: training examples per generation, drawn anew for each; None: all.
        value_range: least and greatest value of all inputs, which become 0 and 1; None: those of each column of the
            training examples.
        name: what the task is called.
    """

    by_chance = False

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        validation: float | tuple[Any, Any] = 0.1,
        test: tuple[Any, Any] | None = None,
        batch: int | None = 1000,
        value_range: tuple[float, float] | None = None,
        name: str,
    ) -> None:
        self.name, self._batch = name, batch
        inputs = _table(x, f"{name}: inputs")
        train, self.inputs = (inputs, self._targets(y, len(inputs), learn=True)), inputs.shape[1]
        if batch is not None and batch < 1:
            raise ValueError(f"{name}: got a batch of {batch}, expected at least 1")
        if isinstance(validation, tuple):
            held = self._pair(validation, "validation")
        else:
            train, held = self._hold_out(train, validation)
        self._parts = {"train": train, "validation": held}
        if test is not None:
            self._parts["test"] = self._pair(test, "test")
        low, high = (
            np.broadcast_to(value_range, (self.inputs, 2)).T if value_range else (train[0].min(0), train[0].max(0))
        )
        self._offset, self._scale = low, 1 / np.where(high > low, high - low, 1)

    @abstractmethod
    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        """What to predict as the kernels have it; `learn`: from it the outputs are known."""

    @abstractmethod
    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Mean loss of every network at every weight, (P, V)."""

    @abstractmethod
    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The same loss from outputs (V, n, outputs), for each weight, with numpy alone."""

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        self.check(networks)
        shared = np.asarray(weights, float)
        total = np.zeros((len(networks), len(shared)))
        for rep in range(reps):
            x, y = self._drawn(part_seed(seed + rep, part), part)
            if AVAILABLE:
                total -= self._losses(networks, shared, _blocks(x), y)
            else:
                total -= [self._plain_loss(networks.net(p)(x, shared), y) for p in range(len(networks))]
            if self._batch is None or part != "train":
                return total  # every repetition would be the same
        return total / reps

    def examples(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """The examples of a part: inputs as they were given, and what to predict.

        Raises:
            ValueError: there is no such part.
        """
        if part not in self._parts:
            raise ValueError(f"{self.name}: there are no {part} examples, expected one of {', '.join(self._parts)}")
        return self._parts[part]

    def identity(self) -> dict[str, Any]:
        content = hashlib.sha256()
        for x, y in self._parts.values():
            content.update(repr((x.shape, y.shape)).encode() + x.tobytes() + y.tobytes())
        return {"name": self.name, "examples": content.hexdigest(), "batch": self._batch}

    def finished(self, net: Net) -> Net:
        return net.replace(offset=self._offset, scale=self._scale)

    def _drawn(self, seed: int, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """The batch of a seed, scaled; all examples of the other parts."""
        x, y = self.examples(part)
        if part == "train" and self._batch is not None and self._batch < len(x):
            keys = np.random.Philox(key=seed).random_raw(len(x))
            rows = np.sort(np.argpartition(keys, self._batch)[: self._batch])
            x, y = x[rows], y[rows]
        return (x - self._offset) * self._scale, y

    def _pair(self, given: tuple[Any, Any], part: str) -> tuple[np.ndarray, np.ndarray]:
        x = _table(given[0], f"{self.name}: {part} inputs")
        if x.shape[1] != self.inputs:
            raise ValueError(f"{self.name}: {part} inputs have {x.shape[1]} columns, expected {self.inputs}")
        return x, self._targets(given[1], len(x))

    def _hold_out(
        self, examples: tuple[np.ndarray, np.ndarray], fraction: float
    ) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        x, y = examples
        count = round(fraction * len(x)) if 0 < fraction < 1 else 0
        if not 0 < count < len(x):
            raise ValueError(f"{self.name}: cannot hold out {fraction} of {len(x)} examples to choose by")
        order = np.argsort(np.random.Philox(key=len(x)).random_raw(len(x)), kind="stable")
        kept, held = np.sort(order[count:]), np.sort(order[:count])
        return (x[kept], y[kept]), (x[held], y[held])


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
        self.labels: tuple[str, ...] = tuple(labels or ())
        super().__init__(x, y, name=name, **options)

    def _targets(self, y: Any, count: int, *, learn: bool = False) -> np.ndarray:
        given = np.asarray(y)
        if given.shape != (count,):
            raise ValueError(
                f"{self.name}: classes have shape {given.shape}, expected ({count},), one per row of inputs"
            )
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            raise ValueError(f"{self.name}: a class is NaN or infinite")
        if learn and not self.labels:
            self._values = np.unique(given)
            self.labels = tuple(str(value) for value in self._values)
        elif learn:
            self._values = np.arange(len(self.labels))
        self.outputs = len(self.labels)
        if self.outputs < 2:
            raise ValueError(f"{self.name}: got {self.outputs} class, expected at least 2")
        places = np.searchsorted(self._values, given).clip(max=self.outputs - 1)
        wrong = np.flatnonzero(self._values[places] != given)
        if len(wrong):
            raise ValueError(f"{self.name}: class {given[wrong[0]]!r} of row {wrong[0]}, expected one of {self.labels}")
        return places.astype(np.int64)

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self._measured(networks, weights, blocks, y, count_right=False)[0]

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        highest = out.max(-1, keepdims=True)
        log_sum = np.log(np.exp(out - highest).sum(-1)) + highest[..., 0]
        return (log_sum - out[:, np.arange(len(y)), y]).mean(-1)

    def _measured(
        self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray, *, count_right: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        n = networks
        losses, right = np.zeros((2, len(n), len(weights)))
        _cross_entropy(
            n.node_ptr,
            n.edge_ptr,
            n.src,
            n.act,
            n.weight.astype(f32),
            weights.astype(f32),
            blocks,
            y,
            n.outputs,
            count_right,
            losses,
            right,
        )
        return losses, right

    def scores(
        self, networks: Packed, weights: Sequence[float], seed: int = 0, *, reps: int = 1, part: Part = "test"
    ) -> np.ndarray:
        """Accuracy: the fraction of all examples in whose class the output is highest (ties: the lowest), (P, V)."""
        self.check(networks)
        x, y = self.examples(part)
        x = (x - self._offset) * self._scale
        shared = np.asarray(weights, float)
        if AVAILABLE:
            return self._measured(networks, shared, _blocks(x), y, count_right=True)[1]
        outs = (networks.net(p)(x, shared) for p in range(len(networks)))
        return np.array([(out.argmax(-1) == y).mean(-1) for out in outs])

    def ensemble_accuracy(self, net: Net, part: Part = "test") -> float:
        """Fraction that `net.predict`, the ensemble over the six standard weights, gets right."""
        x, y = self.examples(part)
        return float((self.finished(net).predict(x) == y).mean())

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
        targets = _table(given[:, None] if given.ndim == 1 else given, f"{self.name}: targets")
        if len(targets) != count:
            raise ValueError(f"{self.name}: got {len(targets)} targets for {count} rows of inputs")
        if learn:
            self.outputs = targets.shape[1]
        elif targets.shape[1] != self.outputs:
            raise ValueError(f"{self.name}: got {targets.shape[1]} targets per row, expected {self.outputs}")
        return targets

    def _losses(self, networks: Packed, weights: np.ndarray, blocks: np.ndarray, y: np.ndarray) -> np.ndarray:
        n, losses = networks, np.zeros((len(networks), len(weights)))
        _squared_error(
            n.node_ptr,
            n.edge_ptr,
            n.src,
            n.act,
            n.weight.astype(f32),
            weights.astype(f32),
            blocks,
            y,
            n.outputs,
            losses,
        )
        return losses

    def _plain_loss(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((out - y) ** 2).mean((-1, -2))


def _table(x: Any, what: str) -> np.ndarray:
    try:
        table = np.asarray(x, float)
    except (TypeError, ValueError):
        raise ValueError(f"{what}: got values that are no numbers") from None
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"{what}: got shape {table.shape}, expected (rows, columns), neither of them 0")
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"{what}: got {table[row, column]} in row {row}, column {column}, expected finite numbers")
    return table


def _blocks(x: np.ndarray) -> np.ndarray:
    """Examples side by side, float32 (blocks, 1 + inputs, 128), the first row of each 1 for the bias; padded with 0."""
    count = -(-len(x) // _BLOCK)
    rows = np.zeros((count * _BLOCK, x.shape[1] + 1), f32)
    rows[:, 0] = 1
    rows[: len(x), 1:] = x
    return np.ascontiguousarray(rows.reshape(count, _BLOCK, -1).transpose(0, 2, 1))


@inlined
def _add(z, source, weight, e):
    """z ← z + source, times the weight of connection e if connections have weights of their own."""
    if weight.shape[0] > 0:
        for q in range(_BLOCK):
            z[q] += weight[e] * source[q]
    else:
        for q in range(_BLOCK):
            z[q] += source[q]


@inlined_reordered
def _sum_inputs(row0, rows, edge_ptr, src, weight, block, base, deeper):
    """base[k] ← the part of each node's sum that inputs and bias give, which is the same at every shared weight.

    deeper[k] ← whether there is another part.
    """
    inputs = block.shape[0] - 1
    for k in range(rows):
        base[k, :] = f32(0.0)
        deeper[k] = 0
        for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
            if src[e] <= inputs:
                _add(base[k], block[src[e]], weight, e)
            else:
                deeper[k] = 1


@inlined_reordered
def _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes):
    """nodes[k] ← value of every computed node for one block."""
    for k in range(rows):
        z = nodes[k]
        z[:] = base[k]
        if deeper[k]:
            for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
                if src[e] > inputs:
                    _add(z, nodes[src[e] - inputs - 1], weight, e)
        activate32(act[row0 + k], z, w, f32(0.0), f32(0.5), f32(1.0))


@inlined_reordered
def _sum_of_logs(values, count):
    """Σ log of values of at least 1: 32 of them are multiplied before each logarithm, which costs more than they do."""
    result = 0.0
    for start in range(0, count, 32):
        product = 1.0
        for q in range(start, min(start + 32, count)):
            product *= np.float64(values[q])
        result += math.log(product)
    return result


@reordered
def _cross_entropy(node_ptr, edge_ptr, src, act, weight, shared, blocks, y, outputs, count_right, losses, right):
    inputs = blocks.shape[1] - 1
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    base, nodes = np.empty((most, _BLOCK), np.float32), np.empty((most, _BLOCK), np.float32)
    deeper = np.empty(most, np.uint8)
    highest, total = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    w = np.empty(_BLOCK, np.float32)
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for b in range(blocks.shape[0]):
            start = b * _BLOCK
            count = min(_BLOCK, y.shape[0] - start)
            _sum_inputs(row0, rows, edge_ptr, src, weight, blocks[b], base, deeper)
            for v in range(shared.shape[0]):
                w[:] = shared[v]
                _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes)
                out = nodes[rows - outputs : rows]
                highest[:] = out[0]
                for o in range(1, outputs):
                    for q in range(_BLOCK):
                        highest[q] = max(highest[q], out[o, q])
                total[:] = f32(0.0)
                for o in range(outputs):
                    for q in range(_BLOCK):
                        total[q] += exp32(out[o, q] - highest[q])
                losses[p, v] += _sum_of_logs(total, count)
                for q in range(count):
                    losses[p, v] += np.float64(highest[q] - out[y[start + q], q])
                if count_right:
                    for q in range(count):
                        first = 0
                        while out[first, q] < highest[q]:
                            first += 1
                        right[p, v] += first == y[start + q]
        for v in range(shared.shape[0]):
            losses[p, v] /= y.shape[0]
            right[p, v] /= y.shape[0]


@reordered
def _squared_error(node_ptr, edge_ptr, src, act, weight, shared, blocks, y, outputs, losses):
    inputs = blocks.shape[1] - 1
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    base, nodes = np.empty((most, _BLOCK), np.float32), np.empty((most, _BLOCK), np.float32)
    deeper = np.empty(most, np.uint8)
    w = np.empty(_BLOCK, np.float32)
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for b in range(blocks.shape[0]):
            start = b * _BLOCK
            _sum_inputs(row0, rows, edge_ptr, src, weight, blocks[b], base, deeper)
            for v in range(shared.shape[0]):
                w[:] = shared[v]
                _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes)
                for o in range(outputs):
                    for q in range(min(_BLOCK, y.shape[0] - start)):
                        losses[p, v] += (np.float64(nodes[rows - outputs + o, q]) - y[start + q, o]) ** 2
        losses[p] /= y.shape[0] * outputs
