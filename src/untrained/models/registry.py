"""Networks by name, and the name and arguments from which a network is built again."""

import functools
import inspect
import reprlib
from collections.abc import Callable
from typing import Any, ParamSpec, final

import torch
from torch import nn

from untrained.fields import look_up
from untrained.models.arguments import CHECKS, MAX_WEIGHTS

NETWORKS: dict[str, Callable[..., "Network"]] = {}

# Younger than the first tickets, whose networks are noted in the same bytes as ever.
_UNNOTED_AT_DEFAULT = ("activation", "norm", "folded")

_Arguments = ParamSpec("_Arguments")


@final
class Network(nn.Sequential):
    """Layers in order, with the name and arguments for `build` in `built_by`.

    Example:
        >>> ut.models.fc((5,), classes=2).built_by
        {'name': 'fc', 'arguments': {'widths': [5], 'shape': [1, 28, 28], 'classes': 2}}
    """

    built_by: dict[str, Any]
    __jit_ignored_attributes__ = ("built_by",)  # TorchScript has no dict of several types


def build(name: str, /, **arguments: Any) -> Network:
    """Build a network by name; safe to call with a name and arguments from an untrusted file.

    Args:
        name: a key of `NETWORKS`, such as "conv4".
        arguments: those of that builder; a list may stand for a tuple.

    Returns:
        The network, with `built_by` set, so that `build(m.built_by["name"], **m.built_by["arguments"])` is
        the same architecture, also after a trip through JSON.

    Raises:
        ValueError: unknown name or argument, argument of the wrong type or out of range, input too small, or
            more than `MAX_WEIGHTS` weights; no memory is allocated before the check.

    Example:
        >>> ut.models.build("conv4", width=0.1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    builder = look_up("network", NETWORKS, name)
    known = inspect.signature(builder).parameters
    if unknown := [key for key in arguments if key not in known]:
        raise ValueError(f"{name} has no argument {reprlib.repr(unknown[0])}; it has {', '.join(known)}")
    return builder(**arguments)


def register(builder: Callable[_Arguments, Network]) -> Callable[_Arguments, Network]:
    """Register a builder in `NETWORKS`, check its arguments and size, and store them on the network."""
    name = builder.__name__.replace("_", "-")
    signature = inspect.signature(builder)
    unnoted = [(key, signature.parameters[key].default) for key in _UNNOTED_AT_DEFAULT if key in signature.parameters]

    @functools.wraps(builder)
    def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Network:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        for key, value in call.arguments.items():
            call.arguments[key] = CHECKS[key](key, value)
        # A first build without memory counts the weights; it takes no number from the random generator.
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


def register_variant(
    of: Callable[_Arguments, Network], name: str, first_line: str, builder: Callable[..., Network]
) -> Callable[_Arguments, Network]:
    """Register a builder with the arguments of another builder, and a docstring that refers to it."""

    @functools.wraps(of)
    def named(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Network:
        return builder(*args, **kwargs)

    named.__name__ = named.__qualname__ = name
    named.__doc__ = f"""{first_line}

    All else, the arguments too, is as in `{of.__name__}`.

    Example:
        >>> ut.models.{name}(width=0.05)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return register(named)
