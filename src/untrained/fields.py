"""Frozen dataclasses as configuration: the types and words of their fields, enforced, and classes by name."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

Entry = TypeVar("Entry")


@functools.cache
def kinds_of(cls: type) -> dict[str, frozenset[type]]:
    """Return the types that each field of a dataclass may have; for a Literal the types of its words."""
    return {name: frozenset(map(_kind, parts)) for name, parts in _list_parts(cls).items()}


def check_fields(config: Any) -> None:
    """Convert numbers to Python's types, integers in float fields to floats, and check types, words and limits.

    The limits are those of a class attribute `_limits`: {name: (lowest, highest)} of fields that hold finite numbers.

    Raises:
        ValueError: a field is not as annotated, or outside its limits; the message names it.
    """
    check_words(config)
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
    for name, (low, high) in getattr(config, "_limits", {}).items():
        value = getattr(config, name)
        if isinstance(value, int | float) and not (low <= value <= high and value < math.inf):
            limits = f"{low:g} or more" if high == math.inf else f"in [{low:.10g}, {high:.10g}]"
            raise ValueError(f"{name} must be {limits}, got {value!r}")


def check_words(config: Any) -> None:
    """Check that every Literal field of a dataclass has one of its words.

    Raises:
        ValueError: a field has another word; the message names it.
    """
    for name, words in _list_parts(type(config)).items():
        value = getattr(config, name)
        if any(isinstance(word, str) for word in words) and value not in words:
            raise ValueError(f"{name} must be {' or '.join(map(_quoted, words))}, got {_quoted(value)}")


def final_classes(*modules: types.ModuleType) -> dict[str, type]:
    """Return the final classes that modules define, by name."""
    return {
        name: cls
        for module in modules
        for name, cls in vars(module).items()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and getattr(cls, "__final__", False)
    }


def look_up(what: str, table: Mapping[str, Entry], name: Any) -> Entry:
    """Return the entry of a table by its name.

    Raises:
        ValueError: there is none; the message lists all names, the nearest one first.
    """
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {what} {reprlib.repr(name)}{suggest(name, table)}; known: {', '.join(table)}")
    return table[name]


def suggest(name: Any, names: Iterable[str]) -> str:
    """Return " (did you mean …?)" with the name that is spelt most like a wrong one; nothing if none is."""
    as_typed = {known.lower().replace("_", "-"): known for known in names}
    spelt = str(name)[:100].lower().replace("_", "-")
    nearest = difflib.get_close_matches(spelt, as_typed, n=1)
    return f" (did you mean {as_typed[nearest[0]]}?)" if nearest else ""


def hint_at_percent(keep: Any) -> str:
    """Return ": it is a fraction …" for a fraction kept that was given in percent; nothing for another number."""
    if not isinstance(keep, int | float) or not 2 <= keep <= 100:
        return ""
    return f": it is a fraction of the weights; for {float(keep):g} % write {float(keep) / 100:g}"


def plain(value: Any) -> Any:
    """Return a number or word of another library (numpy, torch) in Python's type; other values unchanged."""
    if isinstance(value, str):
        return str.__str__(value)
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


@functools.cache
def _list_parts(cls: type) -> dict[str, list[Any]]:
    """Return the types and words that the annotation of each field allows."""
    hints = typing.get_type_hints(cls)
    return {field.name: list(_parts(hints[field.name])) for field in dataclasses.fields(cls)}


def _parts(hint: Any) -> Iterator[Any]:
    """Yield the types of a union, and the words of a Literal."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Literal):
        for part in typing.get_args(hint):
            yield from _parts(part)
    else:
        yield None if hint is type(None) else hint


def _kind(part: Any) -> type:
    return typing.get_origin(part) or (part if isinstance(part, type) else type(part))


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
