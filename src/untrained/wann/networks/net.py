"""Found networks: run, saved, drawn and exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from untrained.wann.networks import file, to_networkx, to_onnx, to_python
from untrained.wann.networks.graph import WEIGHTS, Graph

if TYPE_CHECKING:
    import networkx
    import torch
    from matplotlib.figure import Figure


@final
class Net(Graph):
    """Network all of whose connections share one weight.

    Node 0 is the bias, whose value is 1; then come the inputs, then the computed nodes in evaluation order, the
    outputs last. With w the shared weight, a computed node has the value

        h = activation(w · Σ h[source])

    over its sources; w multiplies the connections of the bias, too (Gaier & Ha 2019, section 3).

    Example:
        >>> net = wann.Net(2, 1, act=[5, 1], edge_ptr=[0, 2, 3], src=[0, 1, 3])  # output = w · tanh(w · (1 + x₁))
        >>> net([[0.0, 9.0], [-1.0, 9.0]], w=-0.5).shape
        (2, 1)
        >>> net.save("net.json")
        >>> wann.Net.load("net.json").connections
        3

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        act: activation id of every computed node, int8 (K,); see `untrained.wann.networks.activations`.
        edge_ptr: int64 (K + 1,); the sources of computed node k are src[edge_ptr[k]:edge_ptr[k + 1]].
        src: int32 (E,), node numbers, each before its target.
        weights: a weight per connection, float64 (E,), once they were tuned; the shared one multiplies them. None: 1.
        offset: subtracted from the inputs, float64 (inputs,); None: 0.
        scale: factors that the inputs are then multiplied by, float64 (inputs,); None: 1.
        labels: class names of a classifier.
        meta: facts that are stored with it, JSON-able.

    Raises:
        ValueError: the arrays are no feed-forward network.
    """

    def predict(self, x: Any) -> np.ndarray:
        """Return the output of the ensemble over the six standard weights; with tuned weights, that of the network.

        A classifier: the class numbers, int64 (n,), by the mean of its softmax outputs; ties go to the lowest.
        Otherwise the mean output, float64 (n, outputs); for control tasks a single weight does better.

        Raises:
            ValueError: a shape is wrong.
        """
        out = self(x, WEIGHTS if self.weights is None else (1.0,))
        return out.mean(0) if self.labels is None else softmax(out).mean(0).argmax(-1)

    def save(self, path: str | Path) -> None:
        """Write the network as JSON (format untrained-wann/1, see docs/wann-format.md), whole or not at all.

        Raises:
            OSError: it cannot be written.
            ValueError: `meta` is not JSON-able.
        """
        file.write(self, path)

    @staticmethod
    def load(path: str | Path) -> Net:
        """Read a network that `save` wrote.

        Raises:
            OSError: there is no such file.
            NetError: the file holds no network; the message gives the reason.
        """
        return Net(**file.read(path))

    def to_onnx(self, path: str | Path) -> None:
        """Write an ONNX graph: inputs `x` (n, inputs) and `w` (a number), output `y` (n, outputs), all float32.

        Raises:
            ImportError: onnx is not installed.
        """
        to_onnx.write(self, path)

    def to_torch(self, w: float = 1.0) -> torch.nn.Module:
        """Return a torch module whose connections have a weight each to be tuned, at first w times the present one."""
        from untrained.wann.networks.to_torch import TorchNet

        return TorchNet(self, w)

    def to_networkx(self) -> networkx.DiGraph:
        """Return a directed graph; nodes have `kind` and `activation`, edges have `weight`.

        Raises:
            ImportError: networkx is not installed.
        """
        return to_networkx.to_digraph(self)

    def to_python(self, name: str = "network") -> str:
        """Return Python source of a function `name(x, w)` for one input vector; it needs only `math`."""
        return to_python.source(self, name)

    def draw(self, path: str | Path | None = None, *, names: tuple[str, ...] | None = None) -> Figure:
        """Draw the network in layers, a colour per activation; also into a file (.png, .svg, .pdf) if `path` is given.

        Args:
            path: file to write.
            names: of the inputs.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from untrained.wann.networks.drawing import draw_net

        return draw_net(self, path, names=names)


def softmax(x: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
