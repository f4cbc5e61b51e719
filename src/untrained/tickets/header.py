"""The header of a ticket: canonical JSON, composed strictly and parsed without trust."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from untrained._version import __version__
from untrained.fields import kinds_of
from untrained.methods import Method
from untrained.methods.schedules import Schedule
from untrained.tickets.codec import Encoded
from untrained.weights.laws import DTYPES, WeightLaw
from untrained.weights.source import Source

KEY = "untrained"
FORMATS = (1, 2)
# Tensors whose codes are all equal cost no byte, so a hostile header could ask for any amount of memory.
MOST_WEIGHTS_PER_BYTE = 1 << 16
MANY_WEIGHTS, MOST_OF_MANY_PER_BYTE = 1 << 32, 1 << 10
_STORABLE_NAMES = (
    "bool uint8 int8 int16 uint16 int32 uint32 int64 uint64 float16 bfloat16 float32 float64 complex64 float8_e4m3fn "
    "float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz"
).split()
_DEEPEST = 4  # more than a structure in a method in a method


class TicketError(ValueError):
    """Error of a ticket that cannot be read, or that does not fit the model.

    Example:
        >>> try:
        ...     ut.load("nowhere.ticket")
        ... except ut.TicketError as error:
        ...     print(error)
        nowhere.ticket: no such file
    """


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise a TicketError where memory runs out: a small file may claim a large network."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        out = isinstance(error, MemoryError | torch.OutOfMemoryError)  # torch's allocator for the CPU has only words
        if not out and "allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
        raise TicketError(f"it needs more memory than there is ({' '.join(str(error).split())[:200]})") from None


@dataclass(frozen=True)
class TensorEntry:
    """Origin of a tensor that is not stored whole.

    It is masked by a method, constant, or (neither) whole: drawn from the seed, or that of the pretrained model.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    method: Method | None = None
    constant: float | None = None

    def source(self, name: str, seed: int, law: WeightLaw | None, pretrained: Tensor | None = None) -> Source:
        """Return the source of its frozen values; its method gives the fraction kept."""
        like = self if pretrained is None else pretrained
        keep = None if self.method is None else self.method.final_keep
        return Source.of(like, name, seed=seed, law=law, keep=keep)

    def given(self, name: str, seed: int) -> Tensor | None:
        """Return the codes that the seed alone gives to a masked tensor, UNDECIDED elsewhere; None if it gives none."""
        assert self.method is not None
        return self.method.given(self.source(name, seed, None))


STORABLE: dict[str, torch.dtype] = {
    name: dtype for name in _STORABLE_NAMES if (dtype := getattr(torch, name, None)) is not None
}
"""The dtypes of tensors that are stored whole, by name."""


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def to_json(value: Any) -> str:
    """Return canonical JSON: keys sorted, no spaces, ASCII, finite numbers only.

    Raises:
        ValueError: the value is not JSON-able.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        why = error if (key := _other_key(value)) is None else f"keys must be strings, got {key!r}"
        raise ValueError(f"this cannot be written as JSON: {why}") from None


def _other_key(value: Any, depth: int = 0) -> Any:
    """Return a key that is no string where keys are of several kinds, which JSON cannot sort."""
    if depth > 99 or not isinstance(value, dict | list | tuple):
        return None
    if isinstance(value, dict) and len(set(map(type, value))) > 1:
        return next(key for key in value if not isinstance(key, str))
    inner = value.values() if isinstance(value, dict) else value
    return next((key for part in inner if (key := _other_key(part, depth + 1)) is not None), None)


def from_json(text: str) -> dict[str, Any]:
    """Parse JSON that `to_json` wrote, and refuse any other spelling."""
    try:
        value = json.loads(text)
        canonical = to_json(value)
    except (ValueError, RecursionError) as error:
        raise TicketError(f"its header is not JSON ({error})") from None
    if not isinstance(value, dict) or canonical != text:
        raise TicketError("its header is not an object in canonical JSON")
    return value


def compose(
    tensors: Mapping[str, TensorEntry], law: WeightLaw | None, facts: Mapping[str, Any], encoded: Mapping[str, Encoded]
) -> dict[str, Any]:
    """Return the header as a JSON-able object, without its sha256; `facts` become fields of it.

    In format 2, what describes codes is not in the header: `encoded` is empty then.
    """
    methods: list[Method] = []
    described = {}
    for name, entry in tensors.items():
        line: dict[str, Any] = {"shape": list(entry.shape), "dtype": dtype_name(entry.dtype)}
        if entry.constant is not None:
            line["constant"] = entry.constant
        if entry.method is not None:
            if entry.method not in methods:
                methods.append(entry.method)
            line["method"] = methods.index(entry.method)
        if name in encoded:
            codes = encoded[name]
            line |= {"coding": codes.coding, "values": list(codes.values), "counts": list(codes.counts)}
        described[name] = line
    return {
        **facts,
        "weights": None if law is None else describe(law),
        "methods": [describe(method) for method in methods],
        "tensors": described,
        "producer": f"untrained {__version__}",
    }


def check_format(head: Mapping[str, Any]) -> None:
    """Refuse the header of a safetensors file whose format is not 1."""
    version = head.get("format")
    if type(version) is not int or version != 1:
        raise TicketError(f"its format is {version!r}; this version of untrained reads formats 1 and 2")


def parse(head: Mapping[str, Any], version: int) -> tuple[dict[str, Any], dict[str, Encoded]]:
    """Return the fields of a Ticket and its codes, still without bytes; each field of the header is checked.

    Raises:
        TicketError: a field is missing, unknown, or not as the format demands.
    """
    check_keys("the header", head, _HEADER_KINDS | (_HASHES if version == 1 else {}), set())
    if not 0 <= head["seed"] < 1 << 64:
        raise TicketError(f"seed must be in [0, 2**64), got {head['seed']}")
    law = None if head["weights"] is None else revive(WeightLaw, head["weights"], "weights law")
    methods = [revive(Method, method) for method in head["methods"]]
    network = head["network"]
    if network is not None:
        check_keys("the network", network, {"name": (str,), "arguments": (dict,)}, set())
    tensors, coded = {}, {}
    for name, line in head["tensors"].items():
        tensors[name], codes = _parse_entry(name, line, methods, law, version)
        if codes is not None:
            coded[name] = codes
    if not coded:
        raise TicketError("it holds no codes")
    fields = {"law": law, "tensors": tensors, "built_by": network}
    return fields | {"seed": head["seed"], "meta": head["meta"]}, coded


def _parse_entry(
    name: str, line: Any, methods: Sequence[Method], law: WeightLaw | None, version: int
) -> tuple[TensorEntry, Encoded | None]:
    """Parse the line of one tensor; it has codes only if it is masked."""
    check_name(name)
    if not isinstance(line, dict):
        raise TicketError(f"{name!r} is described by {line!r}")
    masked = line.keys() >= {"method"}
    kinds = {"shape": (list,), "dtype": (str,)} | ({"method": (int,)} if masked else {})
    described = masked and version == 1
    kinds |= {"coding": (str,), "values": (list,), "counts": (list,)} if described else {}
    check_keys(repr(name), line, kinds, set() if masked else {"constant"})
    for field in ("shape", *(("values", "counts") if described else ())):
        if any(type(number) is not int for number in line[field]):
            raise TicketError(f"{name!r}: {field} must be integers, got {line[field]}")
    check_shape(name, line["shape"])
    if line["dtype"] not in DTYPES:
        raise TicketError(f"{name!r} has dtype {line['dtype']!r}; the format has {', '.join(DTYPES)}")
    constant = line.get("constant")
    if "constant" in line and type(constant) is not float:
        raise TicketError(f"{name!r}: constant must be a float, got {constant!r}")
    if constant is not None and abs(constant) > torch.finfo(DTYPES[line["dtype"]]).max:
        raise TicketError(f"{name!r}: constant {constant!r} is beyond {line['dtype']}")
    if constant is None and (law is not None or masked) and len(line["shape"]) < 2:
        raise TicketError(f"{name!r}: only tensors of two or more dimensions are drawn, got shape {line['shape']}")
    method = codes = None
    if masked:
        if not 0 <= line["method"] < len(methods):
            raise TicketError(f"{name!r} names method {line['method']} of {len(methods)}")
        method = methods[line["method"]]
        codes = Encoded("", (), (), b"")  # in format 2 all is in its bytes
        if described:
            codes = Encoded(line["coding"], tuple(line["values"]), tuple(line["counts"]), b"")
    return TensorEntry(tuple(line["shape"]), DTYPES[line["dtype"]], method, constant), codes


def check_name(name: str) -> None:
    """Refuse the name of a tensor that is no Unicode text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise TicketError(f"the name {name!r} is not Unicode text") from None


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Refuse a shape that no tensor can have."""
    size = math.prod(max(1, side) for side in shape)  # a 0 must not hide a huge number
    if any(side < 0 for side in shape) or len(shape) > 64 or size >= 1 << 62:
        raise TicketError(f"{name!r} has the impossible shape {list(shape)}")


def check_expansion(tensors: Mapping[str, TensorEntry], file_bytes: int, beside: int = 0) -> int:
    """Refuse a file that needs far more memory than a valid ticket of its size.

    Args:
        tensors: those of a ticket.
        file_bytes: the bytes of its file.
        beside: the weights of other tickets in the same file.

    Returns:
        The weights of them all, counted as they need memory.
    """
    weights = sum(math.prod(e.shape) * (1 if e.method is None else e.method.planes) for e in tensors.values())
    weights += beside
    if weights > min(MOST_WEIGHTS_PER_BYTE * file_bytes, max(MANY_WEIGHTS, MOST_OF_MANY_PER_BYTE * file_bytes)):
        raise TicketError(f"it claims {weights:,} weights in {file_bytes:,} bytes")
    return weights


_HEADER_KINDS: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    **dict.fromkeys(("tensors", "meta"), (dict,)),
    **dict.fromkeys(("weights", "network"), (dict, type(None))),
    "producer": (str,),
    "methods": (list,),
}
_HASHES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    **dict.fromkeys(("weights_sha256", "sample_sha256", "sha256"), (str,)),
}


def check_keys(what: str, given: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]], optional: set[str]) -> None:
    """Refuse an object whose fields are not these, each of one of its types."""
    if wrong := (given.keys() ^ kinds.keys()) - (optional & given.keys()):
        raise TicketError(f"{what} has missing or unknown fields: {', '.join(map(repr, sorted(wrong)))}")
    for field, allowed in kinds.items():
        if type(given[field]) not in allowed:
            raise TicketError(f"{what}: {field} must be a {allowed[0].__name__}, got {str(given[field])[:80]!r}")


def describe(config: Any) -> dict[str, Any]:
    """Return a law, a method or a part of one as JSON: its class name and its fields, without those that are None."""
    described: dict[str, Any] = {"name": type(config).__name__}
    for field, kinds in kinds_of(type(config)).items():
        value = getattr(config, field)
        if dataclasses.is_dataclass(value):
            described[field] = describe(value)
        elif value is not None:
            described[field] = float(value) if float in kinds and type(value) is int else value
    return described


def _final_classes(base: type) -> Iterator[type]:
    for cls in base.__subclasses__():
        yield from _final_classes(cls)
        if not inspect.isabstract(cls):
            yield cls


def revive(base: type, described: Any, what: str = "method", depth: int = 0) -> Any:
    """Return the law or method that `describe` described: only known classes with their fields."""
    known = {cls.__name__: cls for cls in _final_classes(base)}
    name = described.get("name") if isinstance(described, dict) else described
    if not isinstance(described, dict) or not isinstance(name, str) or name not in known:
        hint = f"unknown {what} {str(name)[:80]!r}; known: {', '.join(sorted(known))}"
        raise TicketError(
            f"{hint}. If it is yours, import the module that defines it first (or pass --method FILE.py:CLASS)"
        )
    cls, given = known[name], {}
    kinds = kinds_of(cls)
    for field, value in described.items():
        inner = [kind for kind in kinds.get(field, ()) if inspect.isabstract(kind) and kind is not Schedule]
        if type(value) is dict and inner and depth < _DEEPEST:
            given[field] = revive(inner[0], value, field, depth + 1)
        elif value is not None and type(value) in kinds.get(field, ()):
            given[field] = value
    given |= {field: None for field in kinds if field not in described and type(None) in kinds[field]}
    if described.keys() - {"name"} - given.keys() or given.keys() != kinds.keys():
        raise TicketError(f"{what} {cls.__name__} has the wrong fields: {reprlib.repr(described)}")
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise TicketError(f"{what} {cls.__name__}: {error}") from None
