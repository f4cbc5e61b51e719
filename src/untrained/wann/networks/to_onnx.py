"""A found network as an ONNX graph, in single precision."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from untrained.files import written_whole
from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.levels import Level, levels, positions
from untrained.wann.networks.net import Net

# Old enough for the runtimes that people have.
_OPSET, _IR_VERSION = 17, 8


def write(net: Net, path: str | Path) -> None:
    """Write a network for ONNX runtimes, whole or not at all.

    The graph's inputs are `x`, float32 (n, inputs), and `w`, the shared weight, a float32 number; its output is `y`,
    float32 (n, outputs). Inputs are scaled within. All nodes of a level that have the same activation are one matrix
    product. The names of classes are in the model's metadata, `labels`, as a JSON list.

    Args:
        net: the network.
        path: the file.

    Raises:
        ImportError: onnx is not installed.
        OSError: it cannot be written.
        ValueError: a weight, offset or scale is beyond float32.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX files need onnx: pip install 'untrained[wann]'") from None
    graph = _Graph(onnx)
    _add_net(graph, net)
    model = graph.model(net)
    onnx.checker.check_model(model, full_check=True)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """An ONNX graph in the making; every result is a name of its own."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self._nodes, self._constants = onnx, [], {}

    def add(self, operator: str, *given: str, **attributes: Any) -> str:
        """The result of an operator on named values."""
        name = f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(given), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant; the same one again has the same name."""
        array = np.asarray(value, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            name = f"constant{len(self._constants)}"
            self._constants[key] = self._onnx.numpy_helper.from_array(array, name)
        return self._constants[key].name

    def finish(self, result: str, name: str) -> None:
        """Give a result its public name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [result], [name], name=name))

    def model(self, net: Net) -> Any:
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        ends = {"x": ["n", net.inputs], "w": [], "y": ["n", net.outputs]}
        x, w, y = (helper.make_tensor_value_info(name, kind, shape) for name, shape in ends.items())
        graph = helper.make_graph(self._nodes, "wann", [x, w], [y], list(self._constants.values()))
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, producer_name="untrained", opset_imports=opset, ir_version=_IR_VERSION)
        if net.labels is not None:
            helper.set_model_props(model, {"labels": json.dumps(list(net.labels))})
        return model


def _add_net(graph: _Graph, net: Net) -> None:
    values = "x"
    if net.offset is not None:
        values = graph.add("Sub", values, graph.constant(_float32("offset", net.offset)))
    if net.scale is not None:
        values = graph.add("Mul", values, graph.constant(_float32("scale", net.scale)))
    # Columns are nodes; the first, the bias, is a column of ones.
    values = graph.add("Pad", values, graph.constant([0, 1, 0, 0], np.int64), graph.constant(1.0))
    found = levels(net)
    stand = positions(net, found)
    weights = np.ones(net.connections, np.float32) if net.weights is None else _float32("weights", net.weights)
    for level in found:
        values = graph.add("Concat", values, *_groups(graph, net, level, values, stand, weights), axis=1)
    columns = graph.constant(stand[-net.outputs :], np.int64)
    graph.finish(graph.add("Gather", values, columns, axis=1), "y")


def _groups(
    graph: _Graph, net: Net, level: Level, values: str, stand: np.ndarray, weights: np.ndarray
) -> Sequence[str]:
    """The nodes of a level, a result per activation."""
    results, start = [], 0
    for kind, count in level.groups:
        mine = (level.targets >= start) & (level.targets < start + count)
        edges, targets = level.edges[mine], level.targets[mine] - start
        columns, rows = np.unique(stand[net.src[edges]], return_inverse=True)
        if not len(columns):  # a sum of nothing is 0 times the bias
            columns = np.zeros(1, np.int64)
        matrix = np.zeros((len(columns), count), np.float32)
        np.add.at(matrix, (rows, targets), weights[edges])
        picked = graph.add("Gather", values, graph.constant(columns, np.int64), axis=1)
        total = graph.add("Mul", graph.add("MatMul", picked, graph.constant(matrix)), "w")
        results.append(_ACTIVATIONS[NAMES[kind - 1]](graph, total))
        start += count
    return results


def _float32(field: str, values: np.ndarray) -> np.ndarray:
    if len(values) and np.abs(values).max() > np.finfo(np.float32).max:
        raise ValueError(f"{field}: got {np.abs(values).max()}, expected numbers within float32")
    return values.astype(np.float32)


def _sin_pi(graph: _Graph, x: str, phase: float = 0.0) -> str:
    two = graph.constant(2.0)
    turns = graph.add("Round", graph.add("Div", x, two))
    rest = graph.add("Sub", x, graph.add("Mul", turns, two))
    if phase:
        rest = graph.add("Add", rest, graph.constant(phase))
    return graph.add("Sin", graph.add("Mul", rest, graph.constant(math.pi)))


def _step(graph: _Graph, x: str) -> str:
    return graph.add("Cast", graph.add("Greater", x, graph.constant(0.0)), to=1)  # 1 is float32


def _gaussian(graph: _Graph, x: str) -> str:
    return graph.add("Exp", graph.add("Mul", graph.add("Mul", x, x), graph.constant(-0.5)))


_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "linear": lambda graph, x: x,
    "step": _step,
    "sin": _sin_pi,
    "gaussian": _gaussian,
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "sigmoid": lambda graph, x: graph.add("Sigmoid", x),
    "inverse": lambda graph, x: graph.add("Neg", x),
    "abs": lambda graph, x: graph.add("Abs", x),
    "relu": lambda graph, x: graph.add("Relu", x),
    "cos": lambda graph, x: _sin_pi(graph, x, 0.5),
    "square": lambda graph, x: graph.add("Mul", x, x),
}
