"""The command line that does a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from untrained.terminal.text import clean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LONGEST = 10_000


def command_of(words: str, default: DataclassInstance, settings: Mapping[str, Any]) -> str:
    """The command with the settings that are not the default ones; nothing where no settings are known.

    Args:
        words: what it begins with, such as "untrained find".
        default: settings as they are when nothing is said.
        settings: those of the run, as its config.toml names them.
    """
    line = words.split()
    for field in fields(default):
        name, usual = field.name.replace("_", "-"), getattr(default, field.name)
        value = settings.get(name)
        if value is None or value == (list(usual) if isinstance(usual, tuple) else usual):
            continue
        if isinstance(value, bool):
            line.append(f"--{name}" if value else f"--no-{name}")
        else:
            line += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(clean(word, _LONGEST) for word in line) if settings else ""
