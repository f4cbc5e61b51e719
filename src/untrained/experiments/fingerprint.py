"""Fingerprints of objects, the code of functions and classes too: what a resumed run must share with the one before."""

from __future__ import annotations

import dis
import functools
import hashlib
import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

_CODE = ("co_argcount co_posonlyargcount co_kwonlyargcount co_flags co_code co_exceptiontable co_names co_varnames "
         "co_freevars co_cellvars")  # fmt: skip
_CACHE = type(functools.cache(len))
_AROUND = types.MethodType, staticmethod, classmethod, property, functools.cached_property, _CACHE
_WRITTEN = types.FunctionType, staticmethod, classmethod  # of the special attributes of a class


def fingerprint(value: object) -> str:
    """Return the sha256 of all that a value consists of, or "unknown" and why a part has no contents to be read.

    Tensors and fields are their contents. A function or class of the user is its compiled code, with its defaults, its
    closure and the globals that it reads; that of an installed package is its name.
    """
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=4).dump(value)
    except Exception as error:  # an object may raise errors of any class
        return " ".join(f"unknown, {type(error).__name__}, {error}".replace(": ", ", ").split())[:200]
    return hashlib.sha256(file.getbuffer()).hexdigest()


@final
class _Pickler(pickle.Pickler):
    """Pickler of contents, by which nothing is read back: of code it writes what it does, and not where it is."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return tuple, (str(value.dtype), tuple(value.shape), hashlib.sha256(flat.numpy().tobytes()).digest())
        if isinstance(value, torch.Generator):
            return tuple, ("generator", value.initial_seed())  # its state moves
        if isinstance(value, types.ModuleType):
            return tuple, ("module", value.__name__)
        if isinstance(value, types.CodeType):
            return tuple, (*(getattr(value, name) for name in _CODE.split()), *map(_in_order, value.co_consts))
        if isinstance(value, types.FunctionType):
            return tuple, ("function",), _parts_of(value)  # a function may read itself: its parts come later
        if isinstance(value, type) and not _is_installed(value.__module__):
            its = {name: _in_order(part) for name, part in sorted(vars(value).items()) if name != "_abc_impl"}
            its = {name: part for name, part in its.items() if name[:2] != "__" or isinstance(part, _WRITTEN)}
            return tuple, ("class",), (value.__qualname__, value.__bases__, its)
        if isinstance(value, _AROUND):
            names = "__func__", "__self__", "fget", "fset", "func", "__wrapped__"
            return tuple, tuple(getattr(value, name, None) for name in names)
        return NotImplemented


def _parts_of(function: types.FunctionType) -> tuple[Any, ...]:
    """Return what a function does: its code and all that this reads."""
    cells = [_in_order(cell.cell_contents) for cell in function.__closure__ or () if cell != types.CellType()]
    always, known = (function.__defaults__, function.__kwdefaults__, cells), function.__globals__
    if _is_installed(known.get("__name__")):  # it may wrap a function of the user, in its closure
        return function.__module__, function.__qualname__, *always
    names = sorted(_globals_of(function.__code__) & known.keys())
    return function.__code__, {name: _in_order(known[name]) for name in names}, *always


def _globals_of(code: types.CodeType) -> set[str]:
    """Return the names of the globals that code and the functions in it read."""
    names = {str(each.argval) for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals_of(each) for each in code.co_consts if isinstance(each, types.CodeType)))


def _in_order(value: object) -> object:
    """Return a set as a list in an order that is the same in every process."""
    return ["set", *sorted(map(repr, value))] if isinstance(value, set | frozenset) else value


@functools.cache
def _is_installed(module: str | None) -> bool:
    """Return True for modules of Python, of this package, and of packages that are installed."""
    top = (module or "").partition(".")[0]
    file = Path(getattr(sys.modules.get(top), "__file__", None) or "")
    known = {"untrained", "builtins", *sys.stdlib_module_names} - {"__main__"}
    return top in known or bool({"site-packages", "dist-packages"} & {*file.parts})
