"""Networks by name, and the notes on a network from which it is built again."""

import functools
import inspect
import reprlib
from collections.abc import Callable
from typing import Any, ParamSpec, final

import torch
from torch import nn

from untrained.models.arguments import CHECKS, MAX_WEIGHTS

NETWORKS: dict[str, Callable[..., "Network"]] = {}

# Younger than the first tickets, whose networks are noted in the same bytes as ever.
_UNNOTED_AT_DEFAULT = ("activation", "folded")

_Arguments = ParamSpec("_Arguments")


@final
class Network(nn.Sequential):
    """Layers in order, and in `built_by` the name and the arguments that `build` makes them from again."""

    built_by: dict[str, Any]
    __jit_ignored_attributes__ = ("built_by",)  # TorchScript has no dict of several types


def build(name: str, /, **arguments: Any) -> Network:
    """Build a network by name; safe to call with a name and arguments from an untrusted file.

    Args:
        name: a key of `NETWORKS`, such as "conv4".
        arguments: those of that builder; a list will do where it takes a tuple.

    Returns:
        The network, with `built_by` set, so that `build(m.built_by["name"], **m.built_by["arguments"])` is
        the same architecture, also after a trip through JSON.

    Raises:
        ValueError: unknown name or argument, argument of the wrong type or out of range, input too small, or
            more than `MAX_WEIGHTS` weights; nothing has been allocated by then.
    """
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"unknown network {reprlib.repr(name)}; known: {', '.join(NETWORKS)}")
    known = inspect.signature(NETWORKS[name]).parameters
    for key in arguments:
        if key not in known:
            raise ValueError(f"{name} has no argument {reprlib.repr(key)}; it has {', '.join(known)}")
    return NETWORKS[name](**arguments)


def registered(builder: Callable[_Arguments, Network]) -> Callable[_Arguments, Network]:
    """Register a builder in `NETWORKS`, check its arguments and size, and note them on what it builds."""
    name = builder.__name__.replace("_", "-")
    signature = inspect.signature(builder)
    unnoted = [(key, signature.parameters[key].default) for key in _UNNOTED_AT_DEFAULT if key in signature.parameters]

    @functools.wraps(builder)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Network:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        for key, value in call.arguments.items():
            call.arguments[key] = CHECKS[key](key, value)
        # A first build without memory counts the weights; it draws nothing from the random generator.
        with torch.device("meta"):
            weights = sum(p.numel() for p in builder(*call.args, **call.kwargs).parameters())
        if weights > MAX_WEIGHTS:
            raise ValueError(f"this {name} would have {weights:,} weights; the limit is {MAX_WEIGHTS:,}")
        network = builder(*call.args, **call.kwargs)
        noted = {key: value for key, value in call.arguments.items() if (key, value) not in unnoted}
        as_json = {key: list(value) if isinstance(value, tuple) else value for key, value in noted.items()}
        network.built_by = {"name": name, "arguments": as_json}
        return network

    NETWORKS[name] = checked
    return checked
