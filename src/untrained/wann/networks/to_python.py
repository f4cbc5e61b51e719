"""Export of a network to readable Python source that needs `math` alone."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterator
from itertools import pairwise

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.graph import Graph

_WIDTH = 110

# Name → call of an activation, and below the helper functions that these calls need.
_CALLS = {
    "linear": "{}",
    "step": "_step({})",
    "sin": "_sin({})",
    "gaussian": "_gaussian({})",
    "tanh": "math.tanh({})",
    "sigmoid": "_sigmoid({})",
    "inverse": "-({})",
    "abs": "abs({})",
    "relu": "max({}, 0.0)",
    "cos": "_sin({} + 0.5)",
    "square": "_square({})",
}
_HELPERS = {
    "_step": "def _step(x):\n    return 1.0 if x > 0 else 0.0\n",
    "_sin": (
        "def _sin(x):\n"
        "    # sin(πx); half turns are taken off first, so that a big x loses no digits.\n"
        "    if not math.isfinite(x):\n"
        "        return math.nan\n"
        "    half_turns = round(x)\n"
        "    return (-1.0 if half_turns % 2 else 1.0) * math.sin(math.pi * (x - half_turns))\n"
    ),
    "_gaussian": "def _gaussian(x):\n    return math.exp(-x * x / 2)\n",
    "_sigmoid": "def _sigmoid(x):\n    return (math.tanh(x / 2) + 1) / 2\n",
    "_square": "def _square(x):\n    return x * x\n",
}


def source(net: Graph, name: str = "network") -> str:
    """Return Python source of a function `name(x, w=1.0)` from one input vector to the list of outputs.

    Bias, inputs and computed nodes are h0, h1 … by their numbers. Inputs without connections are left out. Sums add
    up in the order of the sources.

    Raises:
        ValueError: `name` is no ASCII identifier, begins with _, or is taken.
    """
    taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in ("math", "x", "w")
    if not (name.isascii() and name.isidentifier()) or name.startswith("_") or taken:
        raise ValueError(f"name must be an unused ASCII identifier without a leading underscore, got {name!r}")
    body = "".join(f"    {line}\n" for line in _body(net))
    helpers = [text for helper, text in _HELPERS.items() if f"{helper}(" in body]
    function = f"def {name}(x, w=1.0):\n{body}"
    return "\n\n".join(["import math\n", *helpers, function])


def _body(net: Graph) -> Iterator[str]:
    connections = f"{net.connections} connection{'' if net.connections == 1 else 's'}"
    yield f'"""A weight agnostic network of {connections}: inputs x, shared weight w; returns the outputs."""'
    yield f"if len(x) != {net.inputs}:"
    yield f'    raise ValueError(f"x must have {net.inputs} inputs, got {{len(x)}}")'
    yield "w = float(w)"
    first = net.inputs + 1
    for number in sorted(set(net.src[(net.src > 0) & (net.src < first)].tolist())):
        yield f"h{number} = {_input(net, number - 1)}"
    sources, weights = net.src.tolist(), net.own_weights.tolist()
    for k, (start, stop) in enumerate(pairwise(net.edge_ptr.tolist())):
        edges = zip(sources[start:stop], weights[start:stop], strict=True)
        yield from _node(first + k, NAMES[net.act[k] - 1], [_term(number, weight) for number, weight in edges])
    last = first + len(net.act)
    yield f"return [{', '.join(f'h{number}' for number in range(last - net.outputs, last))}]"


def _input(net: Graph, column: int) -> str:
    text = f"float(x[{column}])"
    if net.offset is not None:
        text = f"({text}{_signed(repr(float(-net.offset[column])))})"
    return text if net.scale is None else f"{text} * {float(net.scale[column])!r}"


def _signed(term: str) -> str:
    return f" - {term[1:]}" if term.startswith("-") else f" + {term}"


def _term(number: int, weight: float) -> str:
    """Return weight · h; a factor of 1 is left out."""
    if number == 0:
        return repr(weight)
    sign = {1.0: "", -1.0: "-"}.get(weight)
    return f"{weight!r} * h{number}" if sign is None else f"{sign}h{number}"


def _node(number: int, activation: str, terms: list[str]) -> Iterator[str]:
    """Yield the lines that compute a node: one, or more if its sum is long."""
    total = terms[0] + "".join(_signed(term) for term in terms[1:]) if terms else "0.0"
    line = _assignment(number, activation, total if total.isalnum() else f"({total})")
    if len(line) <= _WIDTH:
        yield line
        return
    # A sum of thousands in one expression would be nested too deeply for the compiler.
    line = f"total = {terms[0]}"
    for term in map(_signed, terms[1:]):
        if len(line) + len(term) > _WIDTH:
            yield line
            line = "total = total"
        line += term
    yield line
    yield _assignment(number, activation, "total")


def _assignment(number: int, activation: str, total: str) -> str:
    return f"h{number} = {_CALLS[activation].format(f'w * {total}')}"
