"""A found network: small, frozen, and runnable with numpy alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from untrained.wann.networks.activations import FUNCTIONS, NAMES
from untrained.wann.networks.batch import WEIGHTS

if TYPE_CHECKING:
    import networkx
    import torch
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True, eq=False)
class Net:
    """A network all of whose connections share one weight.

    Node 0 is the bias, whose value is 1; then come the inputs, then the computed nodes in evaluation order, the
    outputs last. With w the shared weight, a computed node has the value

        h = activation(w · Σ h[source])

    over its sources; w multiplies the connections of the bias, too (Gaier & Ha 2019, section 3).

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        act: activation id of every computed node, int8 (K,); see `untrained.wann.networks.activations`.
        edge_ptr: int64 (K + 1,); the sources of computed node k are src[edge_ptr[k]:edge_ptr[k + 1]].
        src: int32 (E,), node numbers, each before its target.
        weights: a weight per connection, float64 (E,), once they were tuned; the shared one multiplies them. None: 1.
        offset: subtracted from the inputs, float64 (inputs,); None: 0.
        scale: what the inputs are then multiplied by, float64 (inputs,); None: 1.
        labels: class names, if it is a classifier.
        meta: facts that travel with it, JSON-able.

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
        kinds: dict[str, type[np.generic]] = {"act": np.int8, "edge_ptr": np.int64, "src": np.int32}
        kinds |= dict.fromkeys(("weights", "offset", "scale"), np.float64)
        for name, kind in kinds.items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _frozen(name, given, kind))
        self._check()

    def _check(self) -> None:
        if self.inputs < 1 or self.outputs < 1:
            raise ValueError(f"a network needs inputs and outputs, got {self.inputs} and {self.outputs}")
        nodes = len(self.act)
        if nodes < self.outputs:
            raise ValueError(f"act: got {nodes} computed nodes, expected at least the {self.outputs} outputs")
        if nodes and not ((self.act >= 1) & (self.act <= len(NAMES))).all():
            raise ValueError(f"act: got an activation id outside 1..{len(NAMES)}")
        counts = np.diff(self.edge_ptr)
        whole = len(self.edge_ptr) == nodes + 1 and self.edge_ptr[0] == 0 and self.edge_ptr[-1] == len(self.src)
        if not whole or (counts < 0).any():
            raise ValueError("edge_ptr: expected ascending from 0 to the number of connections, one more than nodes")
        target = np.repeat(np.arange(nodes), counts) + self.inputs + 1
        wrong = np.flatnonzero((self.src < 0) | (self.src >= target))
        if len(wrong):
            edge = wrong[0]
            raise ValueError(f"src: connection {edge} goes from {self.src[edge]} to {target[edge]}, expected forwards")
        for name, length in (("weights", len(self.src)), ("offset", self.inputs), ("scale", self.inputs)):
            given = getattr(self, name)
            if given is not None and given.shape != (length,):
                raise ValueError(f"{name}: got shape {given.shape}, expected ({length},)")
            if given is not None and not np.isfinite(given).all():
                raise ValueError(f"{name}: expected finite numbers")
        if self.labels is not None and len(self.labels) != self.outputs:
            raise ValueError(f"labels: got {len(self.labels)}, expected {self.outputs}, one per output")

    def __call__(self, x: Any, w: Any = 1.0) -> np.ndarray:
        """The outputs at a shared weight.

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
            raise ValueError(f"w: got shape {w.shape}, expected a number or (V,)")
        shared = w.reshape(-1, 1)
        values = np.ones((self.inputs + 1 + len(self.act), shared.size, len(x)))
        values[1 : self.inputs + 1] = x.T[:, None]
        with np.errstate(all="ignore"):  # a network may break down; its outputs say so
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
        """The inputs as the network sees them: (x - offset)·scale, float64 (n, inputs).

        Raises:
            ValueError: the shape is wrong, or a value is no finite number.
        """
        x = np.asarray(x, float)
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"inputs: got shape {x.shape}, expected (n, {self.inputs})")
        if not np.isfinite(x).all():
            raise ValueError("inputs: got NaN or infinity, expected finite numbers")
        with np.errstate(over="ignore"):
            x = x if self.offset is None else x - self.offset
            return x if self.scale is None else x * self.scale

    def predict(self, x: Any) -> np.ndarray:
        """What the ensemble over the six standard weights says; with tuned weights, what those alone say.

        A classifier: the class numbers, int64 (n,), by the mean of its softmax outputs; ties go to the lowest.
        Otherwise the mean output, float64 (n, outputs); where it acts rather than predicts, one weight does better.

        Raises:
            ValueError: a shape is wrong.
        """
        out = self(x, WEIGHTS if self.weights is None else (1.0,))
        return out.mean(0) if self.labels is None else softmax(out).mean(0).argmax(-1)

    @property
    def connections(self) -> int:
        """How many connections it has."""
        return len(self.src)

    def replace(self, **changes: Any) -> Net:
        """A copy with other fields."""
        return dataclasses.replace(self, **changes)

    def save(self, path: str | Path) -> None:
        """Write it as JSON (format untrained-wann/1, see docs/wann-format.md), whole or not at all.

        Raises:
            OSError: it cannot be written.
            ValueError: `meta` is not JSON-able.
        """
        from untrained.wann.networks.file import write

        write(self, path)

    @staticmethod
    def load(path: str | Path) -> Net:
        """Read what `save` wrote.

        Raises:
            OSError: there is no such file.
            NetError: it is not such a file; the message says why.
        """
        from untrained.wann.networks.file import read

        return read(path)

    def to_onnx(self, path: str | Path) -> None:
        """Write it for ONNX runtimes: inputs `x` (n, inputs) and `w` (a number), output `y` (n, outputs), all float32.

        Raises:
            ImportError: onnx is not installed.
        """
        from untrained.wann.networks.to_onnx import write

        write(self, path)

    def to_torch(self, w: float = 1.0) -> torch.nn.Module:
        """A torch module whose connections have a weight each (at first w times its own), to be tuned."""
        from untrained.wann.networks.to_torch import TorchNet

        return TorchNet(self, w)

    def to_networkx(self) -> networkx.DiGraph:
        """A directed graph; nodes have `kind` (bias, input, hidden, output) and `activation`, edges have `weight`.

        Raises:
            ImportError: networkx is not installed.
        """
        from untrained.wann.networks.to_networkx import graph

        return graph(self)

    def to_python(self, name: str = "network") -> str:
        """Readable Python source of a function `name(x, w)` for one input vector; it needs only `math`."""
        from untrained.wann.networks.to_python import source

        return source(self, name)

    def draw(self, path: str | Path | None = None, *, names: tuple[str, ...] | None = None) -> Figure:
        """Draw it in layers, a colour per activation; also into a file (.png, .svg, .pdf) if there is a path.

        Args:
            path: where to.
            names: of the inputs.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from untrained.wann.networks.drawing import draw_net

        return draw_net(self, path, names=names)


def _frozen(name: str, given: Any, kind: type[np.generic]) -> np.ndarray:
    """A copy of this type that cannot be written to; a value that the type does not have is an error."""
    original = np.asarray(given)
    with np.errstate(invalid="ignore"):
        array = original.astype(kind)
    whole = original.ndim == 1 and original.dtype.kind in "biuf"
    if not whole or (original.size and not np.array_equal(array, original, equal_nan=True)):
        raise ValueError(f"{name}: got {original.dtype} {original.shape}, expected {np.dtype(kind)} (n,)")
    array.setflags(write=False)
    return array


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
