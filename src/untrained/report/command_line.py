"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from untrained.own_code import is_code, short
from untrained.terminal.text import clean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LONGEST = 10_000


def command_of(words: str, default: DataclassInstance, settings: Mapping[str, Any]) -> str:
    """Return the command with all settings that differ from the default; "" if no settings are known.

    Whole paths are given by their last part: a page may be for everybody.

    Args:
        words: the first words of the command, such as "untrained find".
        default: default settings.
        settings: settings of the run, as in its config.toml.
    """
    line = words.split()
    for field in fields(default):
        name, default_value = field.name.replace("_", "-"), getattr(default, field.name)
        value = settings.get(name)
        if value is None or value == (list(default_value) if isinstance(default_value, tuple) else default_value):
            continue
        if isinstance(value, bool):
            line.append(f"--{name}" if value else f"--no-{name}")
        else:
            line += [f"--{name}", *(last_part(str(each)) for each in (value if isinstance(value, list) else [value]))]
    return shlex.join(clean(word, _LONGEST) for word in line) if settings else ""


def last_part(text: str) -> str:
    """Return a whole path's last part; other texts as they are."""
    windows = PureWindowsPath(text)
    if not PurePosixPath(text).is_absolute() and not windows.is_absolute() and not text.startswith("~"):
        return text
    return short(text) if is_code(text) and not windows.is_absolute() else windows.name
