"""What the fields of our frozen dataclasses may be: read from their annotations, and checked."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator
from typing import Any


@functools.cache
def kinds_of(cls: type) -> dict[str, frozenset[type]]:
    """The types that each field of a dataclass may have; those of its words, for a Literal."""
    hints = typing.get_type_hints(cls)
    return {field.name: frozenset(_kinds(hints[field.name])) for field in dataclasses.fields(cls)}


def check_fields(config: Any) -> None:
    """Make numbers Python's own and whole numbers of float fields floats; raise unless each field is as annotated.

    Raises:
        ValueError: a field is something else; the message names it.
    """
    for name, kinds in kinds_of(type(config)).items():
        value = plain(getattr(config, name))
        if type(value) is int and int not in kinds and float in kinds:
            try:
                value = float(value)
            except OverflowError:
                raise ValueError(f"{name} is too large") from None
        elif type(value) not in kinds and not any(isinstance(value, kind) for kind in kinds - {int, float, bool, str}):
            expected = " or ".join(sorted("None" if kind is type(None) else kind.__name__ for kind in kinds))
            raise ValueError(f"{name} must be of type {expected}, got {value!r}")
        if value is not getattr(config, name):
            object.__setattr__(config, name, value)


def plain(value: Any) -> Any:
    """Return a number or word of another library (numpy's, torch's) as Python's own; anything else as it is."""
    if isinstance(value, str):
        return str.__str__(value)
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _kinds(hint: Any) -> Iterator[type]:
    if typing.get_origin(hint) is typing.Literal:
        yield from map(type, typing.get_args(hint))
    elif typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _kinds(part)
    else:
        yield typing.get_origin(hint) or hint
