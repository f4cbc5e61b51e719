"""Conversion of a network to a list of operations that a small interpreter runs, in JavaScript or numpy.

Value 0 is the image; operation k takes the values that its `in` names and gives value k + 1. Shapes are without the
batch axis. Dropout and flattening are left out: they leave the bytes of a tensor as they are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from untrained.models import BinaryActivation
from untrained.tickets.header import TicketError

Op = dict[str, Any]


def write_program(network: nn.Module, shape: Sequence[int]) -> list[Op]:
    """Return the operations of a network in evaluation, in order, with tensors by their names in its state dict.

    Args:
        network: the network.
        shape: the shape of one input, without the batch axis.

    Raises:
        TicketError: it has a layer or an operation that is not supported, or its forward pass cannot be traced.
    """
    for name, module in network.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            raise TicketError(f"no operation for a hook or another forward on the layer {name!r}")
    try:
        graph = _Tracer().trace(network)
        _Shapes(network, graph=graph).run(torch.zeros(1, *shape, device="cpu"))
    except Exception as error:  # a forward pass may raise errors of any class
        raise TicketError(f"its forward pass cannot be traced for an input of shape {tuple(shape)}: {error}") from None
    return _write_operations(network, graph)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BinaryActivation) or super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Interpreter that notes the shape of every tensor; generated code would run the names of layers."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = list(result.shape[1:])
        return result


def _write_operations(network: nn.Module, graph: fx.Graph) -> list[Op]:
    # A tensor that layers share has the first of its names.
    names = {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    values: dict[fx.Node, int] = {}
    ops: list[Op] = []
    last = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if values:
                raise TicketError("its network takes more than one input")
            values[node] = 0
        elif node.op == "output":
            last = node.args[0]
        elif "shape" in node.meta or node.target not in _SIZES:
            given = [
                argument
                for argument in (*node.args, *node.kwargs.values())
                if isinstance(argument, fx.Node) and argument in values
            ]
            operation = _write_operation(network, names, node, given)
            if operation is not None:
                ops.append(operation | {"in": [values[value] for value in given]})
            values[node] = values[given[0]] if operation is None else len(ops)
    if not isinstance(last, fx.Node) or values[last] != len(ops) or not ops:
        raise TicketError("its network does not end in one tensor")
    if len(ops[-1]["shape"]) != 1:
        raise TicketError(f"its network ends in shape {ops[-1]['shape']}, expected one number per class")
    return ops


def _write_operation(network: nn.Module, names: Mapping[int, str], node: fx.Node, given: list[fx.Node]) -> Op | None:
    """Return the operation of a node, without its inputs; None if it has none."""
    if node.op == "call_module":
        name = str(node.target)
        layer = network.get_submodule(name)
        write, label = _MODULES.get(type(layer)), f"{type(layer).__name__} (layer {name!r})"
    else:
        name, layer = node.name, node
        write, label = _FUNCTIONS.get(node.target), str(getattr(node.target, "__name__", node.target))
    if write is None or not given:
        raise TicketError(f"no operation for {label}")
    before, after = _get_shape(given[0]), _get_shape(node)
    try:
        operation = write(layer, names, before, after)
    except _Unsupported as error:
        raise TicketError(f"no operation for {label}: {error}") from None
    return None if operation is None else operation | {"name": name, "from": before, "shape": after}


class _Unsupported(ValueError):
    """Error for a setting of a layer for which there is no operation."""


def _get_shape(node: fx.Node) -> list[int]:
    if "shape" not in node.meta:
        raise TicketError(f"no operation for {node.name}: it gives no single tensor")
    return node.meta["shape"]


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value, value]


def _tensors(names: Mapping[int, str], **tensors: Tensor | None) -> dict[str, str]:
    return {field: names[id(tensor)] for field, tensor in tensors.items() if tensor is not None}


def _linear(layer: nn.Linear, names: Mapping[int, str], given: list[int], _: list[int]) -> Op:
    if len(given) != 1:
        raise _Unsupported(f"its input has shape {given}, expected one dimension")
    return {"op": "linear"} | _tensors(names, weight=layer.weight, bias=layer.bias)


def _conv(layer: nn.Conv2d, names: Mapping[int, str], *_: list[int]) -> Op:
    if layer.padding_mode != "zeros":
        raise _Unsupported(f"padding of mode {layer.padding_mode!r}, expected zeros")
    sizes = {field: list(getattr(layer, field)) for field in ("stride", "padding", "dilation")}
    if isinstance(layer.padding, str):  # a reader pads the other sides so far as the shape of the result needs
        rows = zip(layer.kernel_size, layer.dilation, strict=True)
        sizes["padding"] = [d * (k - 1) // 2 if layer.padding == "same" else 0 for k, d in rows]
    tensors = _tensors(names, weight=layer.weight, bias=layer.bias)
    return {"op": "conv", "kernel": list(layer.kernel_size), "groups": layer.groups} | sizes | tensors


def _norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, names: Mapping[int, str], *_: list[int]) -> Op:
    if layer.running_mean is None:
        raise _Unsupported("it has no running statistics")
    tensors = _tensors(names, mean=layer.running_mean, variance=layer.running_var, weight=layer.weight, bias=layer.bias)
    return {"op": "norm", "eps": layer.eps} | tensors


def _layer_norm(layer: nn.LayerNorm, names: Mapping[int, str], given: list[int], _: list[int]) -> Op:
    parts = math.prod(given) // math.prod(layer.normalized_shape)
    return {"op": "layernorm", "parts": parts, "eps": layer.eps} | _tensors(names, weight=layer.weight, bias=layer.bias)


def _group_norm(layer: nn.GroupNorm, names: Mapping[int, str], *_: list[int]) -> Op:
    tensors = _tensors(names, weight=layer.weight, bias=layer.bias)
    return {"op": "groupnorm", "parts": layer.num_groups, "eps": layer.eps} | tensors


def _max_pool(layer: nn.MaxPool2d, *_: Any) -> Op:
    if _pair(layer.dilation) != [1, 1] or layer.return_indices:
        raise _Unsupported("dilation or indices")
    return _pool("maxpool", layer)


def _avg_pool(layer: nn.AvgPool2d, *_: Any) -> Op:
    if layer.ceil_mode or layer.divisor_override is not None:
        raise _Unsupported("ceil_mode or divisor_override")
    if _pair(layer.padding) != [0, 0] and not layer.count_include_pad:
        raise _Unsupported("padding that does not count")
    return _pool("avgpool", layer)


def _pool(kind: str, layer: nn.MaxPool2d | nn.AvgPool2d) -> Op:
    sizes = {"kernel": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
    return {"op": kind} | {field: _pair(value) for field, value in sizes.items()}


def _adaptive_pool(kind: str) -> Callable[..., Op]:
    def write(_: Any, names: Mapping[int, str], given: list[int], got: list[int]) -> Op:
        (height, width), (rows, columns) = given[1:], got[1:]
        if height % rows or width % columns:
            raise _Unsupported(f"from {given[1:]} to {got[1:]} pixels, expected a whole number of times")
        window = [height // rows, width // columns]
        return {"op": kind, "kernel": window, "stride": window, "padding": [0, 0]}

    return write


def _mean(node: fx.Node, names: Mapping[int, str], given: list[int], _: list[int]) -> Op:
    axes: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if len(given) != 3 or not isinstance(axes, tuple | list) or {axis % 4 for axis in axes} != {2, 3}:
        raise _Unsupported("expected the mean of all pixels of a channel")
    return {"op": "avgpool", "kernel": given[1:], "stride": given[1:], "padding": [0, 0]}


def _skip(_: Any, names: Mapping[int, str], given: list[int], got: list[int]) -> None:
    if math.prod(given) != math.prod(got):
        raise _Unsupported(f"from {given} to {got}: it mixes examples")


def _drop(node: fx.Node, *_: Any) -> None:
    if node.kwargs.get("training", True):
        raise _Unsupported("it is random in evaluation, too: write training=self.training")


def _without_fields(kind: str) -> Callable[..., Op]:
    return lambda *_: {"op": kind}


def _gelu(layer: nn.GELU, *_: Any) -> Op:
    if layer.approximate != "none":
        raise _Unsupported("its approximation")
    return {"op": "gelu"}


def _clip(layer: nn.Hardtanh, *_: Any) -> Op:
    if not math.isfinite(layer.min_val) or not math.isfinite(layer.max_val):
        raise _Unsupported("an infinite bound")
    return {"op": "clip", "low": layer.min_val, "high": layer.max_val}


def _log_softmax(layer: nn.LogSoftmax, names: Mapping[int, str], given: list[int], _: list[int]) -> Op:
    if len(given) != 1 or layer.dim not in (1, -1):
        raise _Unsupported("expected it over the classes, dim=1")
    return {"op": "logsoftmax"}


def _add(node: fx.Node, names: Mapping[int, str], given: list[int], got: list[int]) -> Op:
    values = [argument for argument in node.args if isinstance(argument, fx.Node)]
    if len(values) != 2 or node.kwargs or any(_get_shape(value) != got for value in values):
        raise _Unsupported("expected a sum of two tensors of one shape")
    return {"op": "add"}


def _as_layer(kind: type[nn.Module]) -> Callable[..., Op | None]:
    """Return the writer of a function that has the arguments of a layer."""

    def write(node: fx.Node, *shapes: Any) -> Op | None:
        fields = {name: value for name, value in node.kwargs.items() if name != "_stacklevel" and value is not None}
        if any(isinstance(value, fx.Node) for value in (*node.args[1:], *fields.values())):
            raise _Unsupported("an argument that is computed")
        try:
            layer = kind(*node.args[1:], **fields)
        except TypeError as error:
            raise _Unsupported(str(error)) from None
        return _MODULES[kind](layer, *shapes)

    return write


_SIZES = {"size", "dim", getattr, operator.getitem, operator.mul, operator.floordiv}  # numbers, for a reshape
_MODULES: dict[type, Callable[..., Op | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool("avgpool"),
    nn.AdaptiveMaxPool2d: _adaptive_pool("maxpool"),
    nn.ReLU: _without_fields("relu"),
    nn.ELU: lambda layer, *_: {"op": "elu", "alpha": layer.alpha},
    nn.SELU: _without_fields("selu"),
    nn.LeakyReLU: lambda layer, *_: {"op": "leakyrelu", "slope": layer.negative_slope},
    nn.ReLU6: _clip,
    nn.Hardtanh: _clip,
    nn.Sigmoid: _without_fields("sigmoid"),
    nn.Tanh: _without_fields("tanh"),
    nn.SiLU: _without_fields("silu"),
    nn.GELU: _gelu,
    nn.Softplus: lambda layer, *_: {"op": "softplus", "beta": layer.beta},
    nn.LogSoftmax: _log_softmax,
    BinaryActivation: _without_fields("sign"),
    nn.Flatten: _skip,
    nn.Dropout: lambda *_: None,
    nn.Dropout2d: lambda *_: None,
    nn.Identity: lambda *_: None,
}
_FUNCTIONS: dict[Any, Callable[..., Op | None]] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    "add": _add,
    torch.flatten: _skip,
    torch.reshape: _skip,
    "flatten": _skip,
    "reshape": _skip,
    "view": _skip,
    "contiguous": _skip,
    torch.mean: _mean,
    "mean": _mean,
    F.dropout: _drop,
    F.max_pool2d: _as_layer(nn.MaxPool2d),
    F.avg_pool2d: _as_layer(nn.AvgPool2d),
    F.adaptive_avg_pool2d: _as_layer(nn.AdaptiveAvgPool2d),
    F.log_softmax: _as_layer(nn.LogSoftmax),
}
_ACTIVATIONS = {
    nn.ReLU: (torch.relu, F.relu, "relu"),
    nn.ELU: (F.elu,),
    nn.SELU: (F.selu,),
    nn.LeakyReLU: (F.leaky_relu,),
    nn.ReLU6: (F.relu6,),
    nn.Hardtanh: (F.hardtanh,),
    nn.Sigmoid: (torch.sigmoid, F.sigmoid, "sigmoid"),
    nn.Tanh: (torch.tanh, F.tanh, "tanh"),
    nn.SiLU: (F.silu,),
    nn.GELU: (F.gelu,),
    nn.Softplus: (F.softplus,),
}
_FUNCTIONS |= {function: _as_layer(kind) for kind, functions in _ACTIVATIONS.items() for function in functions}
