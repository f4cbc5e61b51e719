"""Code that a user names, `FILE.py:NAME` or `package.module:NAME`, with arguments in brackets.

Only a flag or an argument of the user may name it: what a file names (a ticket, a run's settings) is not run.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

_SPELLING = re.compile(r"([^()]+)(\(.*\))?", re.DOTALL)
_LONGEST = 1000
OBJECT = "object:"
"""Beginning of the text of an object that a user gave in Python; its name is the rest."""
_WORD = re.compile(r"=\s*(?!(?:True|False|None)\b)([A-Za-z_][\w-]*)\s*(?=[,)])")
Read = TypeVar("Read")


@final
@dataclass(frozen=True)
class OwnCode:
    """Function or class of a user, imported.

    Attributes:
        name: its name without a folder, such as "cnn.py:build": a file that moves keeps it.
        value: the function or class.
        sha256: of the file that defines it, alone.
    """

    name: str
    value: Callable[..., Any]
    sha256: str

    @staticmethod
    def of(name: str) -> OwnCode:
        """Import what `FILE.py:NAME` or `package.module:NAME` names, which runs the file.

        Raises:
            ValueError: the file cannot be run, has no such name, or it is no function or class.
            FileNotFoundError: there is no such file.
        """
        place, _, own = name.strip().rpartition(":")
        module = import_place(place)
        shown = short(name)
        if (value := getattr(module, own, None)) is None:
            near = difflib.get_close_matches(own, [each for each in vars(module) if not each.startswith("_")], 1)
            raise ValueError(f"{place} has no {own!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if not callable(value):
            raise ValueError(f"{shown} must be a function or a class, got {type(value).__name__}")
        return OwnCode(shown, value, _sha256_of(module, place))


def is_code(text: str) -> bool:
    """Return True if a text names a file's or module's function or class, or a library's network."""
    return ":" in text.partition("(")[0]


def with_absolute_path(text: str) -> str:
    """Return the text with an absolute path to the file or folder that it names, for processes in other folders."""
    name = text.partition("(")[0].strip()
    place, colon, own = name.rpartition(":")
    if place == "hf" and Path(own).is_dir():
        return text.replace(own, str(Path(own).resolve()), 1)
    return text.replace(place, str(_path(place).resolve()), 1) if colon and place.endswith(".py") else text


def short(text: str) -> str:
    """Return the text without the folder of the file that it names, or the name of an object."""
    text = text.removeprefix(OBJECT).strip()
    name, bracket, rest = text.partition("(")
    place, colon, own = name.rpartition(":")
    return f"{Path(place).name}:{own}{bracket}{rest}" if colon and place.endswith(".py") else text


def spelled(name: str, given: Mapping[str, Any]) -> str:
    """Return name and arguments as one text, which `parse` reads."""
    inner = ", ".join(f"{field}={value!r}" for field, value in given.items())
    return f"{name}({inner})" if inner else name


def import_place(place: str) -> types.ModuleType:
    """Import FILE.py or package.module, which runs it.

    The folder of a file becomes the last on Python's path, so that the file can import its neighbours.

    Raises:
        ValueError: it raises an error.
        FileNotFoundError: there is no such file.
    """
    try:
        return _module_of(_path(place)) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError as error:
        if error.filename is None:
            raise
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    except (Exception, SystemExit) as error:  # a file may raise errors of any class
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def parse(text: str, read: Callable[[ast.Call], Read]) -> tuple[str, Read]:
    """Return the name in `NAME(field=value, …)`, and what `read` takes from the brackets; nothing is run.

    Raises:
        ValueError: the text is not so, or `read` refuses it.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST:
        raise ValueError(f"{text[:80]!r} is not a name, or a name with fields in brackets")
    # Words need no quotes, not even Python's keywords, such as global.
    quoted = _WORD.sub(r"='\1'", match[2] or "()")
    try:
        call = ast.parse(f"_{quoted}", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("one pair of brackets is enough")
        return match[1].strip(), read(call)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        reason = "they are not well formed" if isinstance(error, SyntaxError | RecursionError | MemoryError) else error
        raise ValueError(f"{text!r} must be NAME(field=value, …): {reason}") from None


def literal(node: ast.expr) -> Any:
    """Return the word, number, list or the like that a value is.

    Raises:
        ValueError: it is something else.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ValueError(f"{ast.unparse(node)[:80]!r} is no word, number or known part") from None


def arguments(
    call: ast.Call, value: Callable[[ast.expr], Any] = literal, *, fields_only: bool = True
) -> dict[str, Any]:
    """Return the fields in the brackets of a call.

    Args:
        call: the call.
        value: a function that returns the value of an expression.
        fields_only: refuse values without a name.

    Raises:
        ValueError: a value has no name, a field is there twice, or a value is refused.
    """
    if (fields_only and call.args) or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("every value needs the name of its field")
    given = {str(keyword.arg): value(keyword.value) for keyword in call.keywords}
    if len(given) < len(call.keywords):
        raise ValueError("a field is given twice")
    return given


def _path(place: str) -> Path:
    return Path(place).expanduser() if place.startswith("~") else Path(place)


def _module_of(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    # Equal files of one place are one module: a class that is defined twice would be two methods of one name.
    path, source = path.resolve(), path.read_bytes()
    digest = hashlib.sha256(f"{path}\n".encode() + source).hexdigest()[:12]
    name = f"untrained_own_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(__file__=str(path), _untrained_sha256=hashlib.sha256(source).hexdigest())
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _sha256_of(module: types.ModuleType, place: str) -> str:
    if (known := vars(module).get("_untrained_sha256")) is not None:
        return known
    if (file := getattr(module, "__file__", None)) is None:
        raise ValueError(f"{place} is not in a file of its own")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
