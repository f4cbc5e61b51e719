"""Compilation with numba where it is installed; without it the same functions run as plain Python, slowly."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AVAILABLE = importlib.util.find_spec("numba") is not None

VERSION = f"numba {importlib.metadata.version('numba')}" if AVAILABLE else "no numba"

Function = Callable[..., Any]

# Neither "nnan" nor "ninf": NaN and infinity stay NaN and infinity.
_REORDERING = {"reassoc", "nsz", "arcp", "contract"}


def _njit(function: Function, **options: Any) -> Function:
    if not AVAILABLE:
        return function
    from numba import njit

    return njit(error_model="numpy", nogil=True, **options)(plain(function))


def compiled(function: Function, *, on_disk: bool = True) -> Function:
    """Compile at the first call, keep the result on disk, and let other threads run meanwhile.

    Divisions follow IEEE 754 (numba's `error_model="numpy"`); sums keep their order (no fastmath).
    """
    return _njit(function, cache=on_disk)


def reordered(function: Function) -> Function:
    """Compile like `compiled`, but let sums change their order: for the single-precision kernels alone."""
    return _njit(function, cache=True, fastmath=_REORDERING)


def inlined(function: Function) -> Function:
    """Compile into every caller, so that loops over the function become vector instructions."""
    return _njit(function, forceinline=True)


def inlined_reordered(function: Function) -> Function:
    """Compile into every caller, and let sums change their order: for the single-precision functions alone."""
    return _njit(function, forceinline=True, fastmath=_REORDERING)


def plain(function: Function) -> Function:
    """Return the Python function behind one that may be compiled."""
    return getattr(function, "py_func", function)


def interpreted(function: Function) -> Function:
    """Return a copy of a plain function in which the library's own compiled functions are plain, too."""
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        if getattr(names.get(name), "__module__", "") == "untrained.wann.numerics.vector_math":
            names[name] = interpreted(plain(names[name]))
    copy = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@contextmanager
def watch_compiling(tell: Callable[[int, str], None]) -> Iterator[None]:
    """Call `tell` with number and name of each function that is compiled meanwhile, not of those found on disk."""
    if not AVAILABLE:
        yield
        return
    from numba.core import event

    depth = number = 0  # numba compiles under one lock, and functions that a function calls before it is done

    class Watch(event.Listener):
        def on_start(self, event: Any) -> None:
            nonlocal depth, number
            if not depth:
                number += 1
                tell(number, event.data["dispatcher"].py_func.__name__.strip("_").split("_")[0])
            depth += 1

        def on_end(self, event: Any) -> None:
            nonlocal depth
            depth -= 1

    with event.install_listener("numba:compile", Watch()):
        yield


def bound(template: Function, name: str, file: str | None = None, **names: Any) -> Function:
    """Return a copy of a function whose global names stand for other values.

    Numba compiles globals in as constants, and keeps compiled code on disk under the function's name; so a template
    bound to other functions is as fast as one written for them, and starts as quickly the second time.

    Args:
        template: a plain function.
        name: of the copy; another one for everything that is bound differently.
        file: source file of the copy, beside which compiled code is kept; None: the template's.
        names: values of the global names.
    """
    code = template.__code__.replace(co_name=name, co_qualname=name)
    code = code if file is None else code.replace(co_filename=file)
    return types.FunctionType(code, {**template.__globals__, **names}, name, template.__defaults__)
