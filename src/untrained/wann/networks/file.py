"""Networks as files: readable JSON, written strictly and parsed without trust; docs/wann-format.md specifies it."""

from __future__ import annotations

import json
import math
import reprlib
from itertools import chain
from pathlib import Path
from typing import Any, Never

import numpy as np

from untrained.files import atomic_write
from untrained.wann.networks.activations import IDS, NAMES, ids_of
from untrained.wann.networks.graph import Graph

FORMAT = "untrained-wann/1"
# A million connections fit. Empty lists take thirty times their bytes in memory, more than any other text, so they
# are counted before the text is parsed.
MOST_BYTES, MOST_LISTS = 16 << 20, 1 << 20
MOST_INPUTS = MOST_OUTPUTS = 10**6

_REQUIRED = ("format", "inputs", "outputs", "nodes")
_OPTIONAL = ("labels", "offset", "scale", "meta")


class NetError(ValueError):
    """Error of a file that holds no network of this format.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("net.json").write_text('{"format": "untrained-wann/9"}')
        >>> try: wann.Net.load("net.json")
        ... except wann.NetError as error: print(error)
        net.json is no network: format must be 'untrained-wann/1', got 'untrained-wann/9'
    """


def write(net: Graph, path: str | Path) -> None:
    """Write a network, whole or not at all; the same network always gives the same bytes.

    A network that is read again is equal in everything, except that in `meta` tuples become lists and keys strings.

    Raises:
        OSError: it cannot be written.
        NetError: the format cannot hold it: `meta` is not JSON-able, or a limit of the format is exceeded.
    """
    try:
        data = _text(to_document(net)).encode()
        # A file that cannot be read again must not be written.
        _from_bytes(data)
    except NetError as error:
        raise NetError(f"{path} cannot be written: {error}") from None
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(data)


def read(path: str | Path) -> dict[str, Any]:
    """Read the arguments of `Net` from a file.

    Raises:
        OSError: there is no such file.
        NetError: the file is not of this format; the message names the file and the field.
    """
    with Path(path).open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        return _from_bytes(data)
    except NetError as error:
        raise NetError(f"{path} is no network: {error}") from None


def to_document(net: Graph) -> dict[str, Any]:
    """Return a network as the object that the file holds; fields that are None or empty are left out."""
    document: dict[str, Any] = {"format": FORMAT, "inputs": int(net.inputs), "outputs": int(net.outputs)}
    if net.labels is not None:
        document["labels"] = list(net.labels)
    for name in ("offset", "scale"):
        if getattr(net, name) is not None:
            document[name] = getattr(net, name).tolist()
    per_edge = [net.src] if net.weights is None else [net.src, net.weights]
    parts = ([part.tolist() for part in np.split(array, net.edge_ptr[1:-1])] for array in per_edge)
    document["nodes"] = [[NAMES[kind - 1], *rest] for kind, *rest in zip(net.act.tolist(), *parts, strict=True)]
    if net.meta:
        document["meta"] = dict(net.meta)
    return document


def from_document(document: Any) -> dict[str, Any]:
    """Return the arguments of `Net` that the object of a file describes.

    Raises:
        NetError: a field is missing, unknown, or not as the format demands.
    """
    _check_fields(document)
    inputs = _count("inputs", document["inputs"], MOST_INPUTS)
    outputs = _count("outputs", document["outputs"], MOST_OUTPUTS)
    nodes = _list("nodes", document["nodes"])
    if len(nodes) < outputs:
        raise NetError(f"nodes must be at least the {outputs} outputs, got {len(nodes)}")
    act, sources, weights = _nodes(nodes, inputs)
    labels, meta = None, document.get("meta", {})
    if "labels" in document:
        labels = tuple(_label(number, label) for number, label in enumerate(_list("labels", document["labels"])))
    if not isinstance(meta, dict):
        raise NetError(f"meta must be an object, got {reprlib.repr(meta)}")
    _json("meta", meta)
    scaling = {name: _numbers(name, document[name]) for name in ("offset", "scale") if name in document}
    edge_ptr = np.cumsum([0, *map(len, sources)])
    src = np.fromiter(chain.from_iterable(sources), np.int32, edge_ptr[-1])
    try:
        return vars(Graph(inputs, outputs, act, edge_ptr, src, weights, **scaling, labels=labels, meta=meta))
    except ValueError as error:
        raise NetError(str(error)) from None


def _check_fields(document: Any) -> None:
    if not isinstance(document, dict):
        raise NetError(f"it must be an object, got {reprlib.repr(document)}")
    version = document.get("format")
    if version != FORMAT:
        raise NetError(f"format must be {FORMAT!r}, got {reprlib.repr(version)}")
    for field in _REQUIRED:
        if field not in document:
            raise NetError(f"{field}: missing")
    if unknown := document.keys() - {*_REQUIRED, *_OPTIONAL}:
        raise NetError(f"{reprlib.repr(min(unknown, key=str))}: unknown field")


def _nodes(nodes: list[Any], inputs: int) -> tuple[np.ndarray, list[list[int]], np.ndarray | None]:
    """Return activation ids, sources of every node, and weights of all connections if there are any."""
    kinds, sources, weights = [], [], []
    length = len(nodes[0]) if nodes and isinstance(nodes[0], list) else 2
    if length not in (2, 3):
        raise NetError(f"nodes[0] must be activation, sources and perhaps weights, got {length} elements")
    for number, node in enumerate(nodes):
        field = f"nodes[{number}]"
        if not isinstance(node, list) or len(node) != length:
            raise NetError(f"{field} must be a list of {length}, got {reprlib.repr(node)}")
        if not isinstance(node[0], str) or node[0] not in IDS:
            raise NetError(f"{field}: activation must be one of {', '.join(NAMES)}, got {reprlib.repr(node[0])}")
        kinds.append(node[0])
        sources.append(_list(field, node[1]))
        own = inputs + 1 + number
        for source in node[1]:
            if type(source) is not int or not 0 <= source < own:
                raise NetError(f"{field}: source must be the number of a node before {own}, got {reprlib.repr(source)}")
        if length == 3:
            weights.append(_numbers(field, node[2]))
            if len(weights[-1]) != len(node[1]):
                raise NetError(f"{field}: weights must be {len(node[1])}, one per source, got {len(weights[-1])}")
    return ids_of(kinds), sources, np.concatenate(weights) if weights else None


def _count(field: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise NetError(f"{field} must be an integer from 1 to {most:,}, got {reprlib.repr(value)}")
    return value


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NetError(f"{field} must be a list, got {reprlib.repr(value)}")
    return value


def _label(number: int, value: Any) -> str:
    if not isinstance(value, str):
        raise NetError(f"labels[{number}] must be a string, got {reprlib.repr(value)}")
    _json(f"labels[{number}]", value)
    return value


def _numbers(field: str, value: Any) -> np.ndarray:
    numbers = _list(field, value)
    for number in numbers:
        if type(number) is not int and type(number) is not float:
            raise NetError(f"{field} must hold numbers, got {reprlib.repr(number)}")
    try:
        array = np.array(numbers, np.float64)
    except OverflowError:
        raise NetError(f"{field} must hold numbers within float64, got a larger integer") from None
    if not np.isfinite(array).all():
        raise NetError(f"{field} must hold finite numbers")
    return array


def _from_bytes(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise NetError(f"it has more than {MOST_BYTES:,} bytes")
    if data.count(b"[") + data.count(b"{") > MOST_LISTS:
        raise NetError(f"it has more than {MOST_LISTS:,} lists and objects")
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_object, parse_float=_parse_finite, parse_constant=_refuse_constant
        )
    except NetError:
        raise
    except UnicodeError:
        raise NetError("it is not Unicode text in UTF-8") from None
    except RecursionError:
        raise NetError("it is nested too deeply") from None
    except ValueError as error:
        raise NetError(f"it is not JSON ({error})") from None
    return from_document(document)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise NetError(f"{reprlib.repr(key)}: given twice")
        document[key] = value
    return document


def _parse_finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NetError(f"the number {reprlib.repr(text)} is beyond float64")
    return value


def _refuse_constant(text: str) -> Never:
    raise NetError(f"numbers must be finite, got {text}")


def _text(document: dict[str, Any]) -> str:
    """Return the document with a line for every field, node, and entry of `meta`."""
    fields = []
    for name, value in document.items():
        text = _json(name, value)
        if name == "nodes":
            text = "[\n" + ",\n".join(f"    {_json(name, node)}" for node in value) + "\n  ]"
        elif name == "meta":
            entries = (f"    {_json(name, {key: entry})[1:-1]}" for key, entry in value.items())
            text = "{\n" + ",\n".join(entries) + "\n  }"
        fields.append(f"  {_json(name, name)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _json(field: str, value: Any) -> str:
    """Return a value as JSON; half of a surrogate pair, which JSON can escape, is refused, too."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeError:
        raise NetError(f"{field}: it is not Unicode text") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise NetError(f"{field}: it cannot be written as JSON ({error})") from None
    return text
