"""Export of a network to ONNX, in single precision."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from untrained.files import atomic_write
from untrained.terminal.extras import install_command
from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.graph import Graph
from untrained.wann.networks.levels import Level, levels, positions

# Old enough for common runtimes.
_OPSET, _IR_VERSION = 17, 8


def write(net: Graph, path: str | Path) -> None:
    """Write a network for ONNX runtimes, whole or not at all.

    The graph's inputs are `x`, float32 (n, inputs), and `w`, the shared weight, a float32 number; its output is `y`,
    float32 (n, outputs). Inputs are scaled within. All nodes of a level that have the same activation are one matrix
    product. The names of classes are in the model's metadata, `labels`, as a JSON list.

    Raises:
        ImportError: onnx is not installed.
        OSError: it cannot be written.
        ValueError: a weight, offset or scale is beyond float32.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError(f"ONNX files need onnx: {install_command('wann')}") from None
    graph = _Model(onnx)
    _add_net(graph, net)
    model = graph.finish(net)
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString(deterministic=True))


class _Model:
    """ONNX graph under construction; every result has a name."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self._nodes, self._constants = onnx, [], {}

    def add(self, operator: str, *operands: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator on named values, and return the name of its result."""
        name = name or f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(operands), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Return the name of a constant; the same one again has the same name."""
        array = np.asarray(value, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            name = f"constant{len(self._constants)}"
            self._constants[key] = self._onnx.numpy_helper.from_array(array, name)
        return self._constants[key].name

    def finish(self, net: Graph) -> Any:
        """Return the model of all nodes, whose output is the result `y`."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        ends = {"x": ["n", net.inputs], "w": [], "y": ["n", net.outputs]}
        x, w, y = (helper.make_tensor_value_info(name, kind, shape) for name, shape in ends.items())
        graph = helper.make_graph(self._nodes, "wann", [x, w], [y], list(self._constants.values()))
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, producer_name="untrained", opset_imports=opset, ir_version=_IR_VERSION)
        if net.labels is not None:
            helper.set_model_props(model, {"labels": json.dumps(list(net.labels))})
        return model


def _add_net(graph: _Model, net: Graph) -> None:
    values = "x"
    if net.offset is not None:
        values = graph.add("Sub", values, graph.constant(_float32("offset", net.offset)))
    if net.scale is not None:
        values = graph.add("Mul", values, graph.constant(_float32("scale", net.scale)))
    # Columns are nodes; the first, the bias, is a column of ones.
    values = graph.add("Pad", values, graph.constant([0, 1, 0, 0], np.int64), graph.constant(1.0))
    parts = levels(net)
    stand, weights = positions(net, parts), _float32("weights", net.own_weights)
    for level in parts:
        values = graph.add("Concat", values, *_groups(graph, net, level, values, stand, weights), axis=1)
    columns = graph.constant(stand[-net.outputs :], np.int64)
    graph.add("Identity", graph.add("Gather", values, columns, axis=1), name="y")


def _groups(
    graph: _Model, net: Graph, level: Level, values: str, stand: np.ndarray, weights: np.ndarray
) -> Sequence[str]:
    """Add the nodes of a level, and return a result per activation."""
    results, start = [], 0
    for kind, count in level.groups:
        mine = (level.targets >= start) & (level.targets < start + count)
        edges, targets = level.edges[mine], level.targets[mine] - start
        columns, rows = np.unique(stand[net.src[edges]], return_inverse=True)
        if not len(columns):  # an empty sum is 0 times the bias
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
        raise ValueError(f"{field} must be within float32, got {np.abs(values).max()}")
    return values.astype(np.float32)


def _sin_pi(graph: _Model, x: str, phase: float = 0.0) -> str:
    two = graph.constant(2.0)
    turns = graph.add("Round", graph.add("Div", x, two))
    rest = graph.add("Sub", x, graph.add("Mul", turns, two))
    if phase:
        rest = graph.add("Add", rest, graph.constant(phase))
    return graph.add("Sin", graph.add("Mul", rest, graph.constant(math.pi)))


def _step(graph: _Model, x: str) -> str:
    return graph.add("Cast", graph.add("Greater", x, graph.constant(0.0)), to=1)  # 1 is float32


def _gaussian(graph: _Model, x: str) -> str:
    return graph.add("Exp", graph.add("Mul", graph.add("Mul", x, x), graph.constant(-0.5)))


_ACTIVATIONS: dict[str, Callable[[_Model, str], str]] = {
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
