"""Fields of dataclasses: every word of every Literal is taken and no other, and numbers become Python's own."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import types
import typing

import numpy as np
import pytest
import torch

import untrained as ut
from untrained.fields import check_fields, kinds_of


def _dataclasses():
    for module in pkgutil.walk_packages(ut.__path__, "untrained."):
        if module.name != "untrained.__main__":
            for cls in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(cls) and dataclasses.is_dataclass(cls) and not inspect.isabstract(cls):
                    if cls.__module__ == module.name:
                        yield cls


def _words(hint):
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [word for part in typing.get_args(hint) for word in _words(part)]
    return list(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else []


WORDS = [
    pytest.param(cls, name, words, id=f"{cls.__name__}.{name}")
    for cls in _dataclasses()
    for name, hint in typing.get_type_hints(cls).items()
    if (words := _words(hint)) and name in kinds_of(cls)
]
# Values for fields without a default; their kinds do not matter here.
_ANY = {
    "population": 8,
    "generations": 1,
    "reps": 1,
    "axis": "keep",
    "lines": (),
    "cells": (),
    "folder": None,
    "picture": None,
    "report": None,
    "kind": "bias",
}


def test_there_are_words_to_check():
    assert len(WORDS) >= 15


@pytest.mark.parametrize(("cls", "name", "words"), WORDS)
def test_a_field_takes_its_words_and_no_other(cls, name, words):
    needed = {
        field.name: _ANY[field.name]
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for word in words:
        assert getattr(cls(**needed | {name: word}), name) == word
    for other in ("", words[0].upper(), words[0] + " ", 1, words):
        with pytest.raises(ValueError, match=f'^{name} must be "{words[0]}".* got "?{re.escape(str(other))}'):
            cls(**needed | {name: other})


@dataclasses.dataclass(frozen=True)
class Mixed:
    number: float = 1.0
    count: int | None = 1
    flag: bool = True
    word: str = ""
    choice: typing.Literal["a", "b"] | None = None

    def __post_init__(self):
        check_fields(self)


def test_numbers_and_words_of_other_libraries_become_pythons():
    mixed = Mixed(torch.tensor(2), np.int64(3), np.bool_(False), np.str_("x"), np.str_("b"))
    assert [type(value) for value in vars(mixed).values()] == [float, int, bool, str, str]
    assert mixed == Mixed(2.0, 3, False, "x", "b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"number": "1"}, "number must be of type float, got '1'"),
        ({"number": 10**400}, "number is too large"),
        ({"number": True}, "number.* True"),
        ({"count": 1.5}, "count must be of type None or int, got 1.5"),
        ({"flag": 1}, "flag.* 1"),
        ({"word": None}, "word.* None"),
        ({"choice": "c"}, '^choice must be "a" or "b" or None, got "c"$'),
    ],
)
def test_other_values_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        Mixed(**fields)
