"""Methods and laws from text: `edge-popup(scope=global)`, `mine.py:MyMethod`, `kaiming-normal`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from untrained.fields import final_classes, look_up
from untrained.methods import METHODS, Method, schedules, structure
from untrained.methods.nudge import Nudge
from untrained.opponents import OPPONENTS, Opponent
from untrained.own_code import arguments, import_place, is_code, literal, parse
from untrained.weights import laws
from untrained.weights.laws import WeightLaw

_SHORT = {"small": ("edge-popup", {"signed": True, "last": Nudge(step=1.0, levels=7)})}
_KNOWN = METHODS | {short: METHODS[name] for short, (name, _) in _SHORT.items()}


def spelled(name: str) -> str:
    """Return the name of a class as the command line spells it: signed-constant for SignedConstant."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


_LAWS = {spelled(name): cls for name, cls in final_classes(laws).items()}
_PARTS = final_classes(structure, schedules) | {cls.__name__: cls for cls in METHODS.values()}
Made = TypeVar("Made")


def method_of(text: str, keep: float | None = None, **fields: Any) -> Method:
    """Return the method that a text names.

    Args:
        text: a name of `METHODS`, `FILE.py:CLASS` or `package.module:CLASS`, optionally with fields in brackets: words,
            numbers, True, False, None, `NofM(2, 4)`, `Cubic(0.5, 0.1)` and the like; and `last=`, see `last_of`.
        keep: fraction to keep, for methods that take it; a `keep=` in the brackets wins.
        fields: more fields, left out where None.

    Raises:
        ValueError: there is no such method, or it has no such field.
        FileNotFoundError: there is no such file.
    """
    cls, given, _ = _read(text)
    given = {field: value for field, value in fields.items() if value is not None} | given
    method = _build(text, cls, given)
    return method if keep is None or _gives_keep(text) else method.keeping(keep)


def last_of(text: str) -> Method | None:
    """Return the method of the last layer alone, `last=` in the brackets of a text; None if there is none.

    Raises:
        ValueError: it is no method; and as `method_of`.
    """
    return _read(text)[2]


def opponent_of(text: str, keep: float | None = None) -> Opponent | None:
    """Return the trained opponent that a text names, as `method_of` does with methods; None if it names none."""
    name, given, _ = _parse(text)
    if name not in OPPONENTS:
        return None
    opponent = _build(text, OPPONENTS[name], given)
    return opponent if keep is None or _gives_keep(text) else opponent.keeping(keep)


def entrant_of(text: str, keep: float | None = None) -> Method | Opponent:
    """Return the method or the trained opponent that a text names."""
    if (opponent := opponent_of(text, keep)) is None and not names_code([text]):
        look_up("method", _KNOWN | OPPONENTS, _parse(text)[0])
    return opponent or method_of(text, keep)


def takes_keep(text: str) -> bool:
    """Return True if `entrant_of` uses its `keep` for this text: it takes one, and the text gives none."""
    return entrant_of(text).takes_keep and not _gives_keep(text)


def law_of(text: str) -> WeightLaw:
    """Return the law of frozen weights that a text names, such as `kaiming-normal(scaled=True)`.

    Raises:
        ValueError: there is no such law, or it has no such field.
    """
    name, given, _ = _parse(text)
    return _build(text, look_up("weights law", _LAWS, name), given)


def names_code(texts: Iterable[str]) -> bool:
    """Return True if a method, or one in a list, names a file or module, which `method_of` would run."""
    return any(is_code(text) for each in texts for text in split(each))


def split(texts: str) -> list[str]:
    """Split a list at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in texts:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def import_method(name: str) -> type[Method]:
    """Import the Method that `FILE.py:CLASS` or `package.module:CLASS` names, which runs the file.

    Raises:
        ValueError: it is no final Method, or the file cannot be run.
        FileNotFoundError: there is no such file.
    """
    place, _, cls_name = name.rpartition(":")
    module = import_place(place)
    cls = getattr(module, cls_name, None)
    if not (inspect.isclass(cls) and issubclass(cls, Method)):
        raise ValueError(f"{place} has no untrained.Method called {cls_name!r}")
    check_class(cls)
    return cls


def check_class(cls: type[Method]) -> None:
    """Raise a ValueError unless a class is a final method."""
    if inspect.isabstract(cls) or not (dataclasses.is_dataclass(cls) and getattr(cls, "__final__", False)):
        raise ValueError(f"{cls.__name__} must be a @final @dataclass(frozen=True) with init_scores and codes")


def _gives_keep(text: str) -> bool:
    """Return True if a text gives a keep, for other layers than the last."""
    return bool(_parse(text)[2] - {"last"})


def _read(text: str) -> tuple[type[Method], dict[str, Any], Method | None]:
    """Return (class, its fields, the method of the last layer)."""
    name, given, _ = _parse(text)
    cls = import_method(name) if names_code([text]) else look_up("method", _KNOWN, name)
    last = None
    if "last" in given and "last" not in inspect.signature(cls).parameters:
        last = given.pop("last")
        if not isinstance(last, Method):
            raise ValueError(f"{text}: last must be a method, such as Nudge(step=0.5, levels=31), got {last!r}")
    return cls, given, last


def _parse(text: str) -> tuple[str, dict[str, Any], set[str]]:
    """Return (name, fields in the brackets, those of them that give a `keep` or are one)."""

    def read(call: ast.Call) -> tuple[dict[str, Any], set[str]]:
        keepers = {str(field.arg) for field in call.keywords for part in ast.walk(field) if _is_keep(part)}
        return arguments(call, _value), keepers

    given, (fields, keepers) = parse(text, read)
    name, own = _SHORT.get(given, (given, {}))
    return name, own | fields, keepers


def _is_keep(part: ast.AST) -> bool:
    return isinstance(part, ast.keyword) and part.arg == "keep"


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        made = look_up("part", _PARTS, node.func.id)
        return made(*map(_value, node.args), **arguments(node, _value, fields_only=False))
    return literal(node)


def _build(text: str, cls: type[Made], given: Mapping[str, Any]) -> Made:
    known = inspect.signature(cls).parameters
    for name in given:
        if name not in known:
            raise ValueError(f"{text}: there is no field {name!r}; it has {', '.join(known) or 'none'}")
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"{text}: {error}") from None
