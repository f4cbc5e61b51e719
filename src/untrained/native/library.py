"""Load the kernels that this process uses, at the best level of the machine."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from pathlib import Path
from typing import NamedTuple

import torch

from untrained.native.compiler import LEVELS, NoCompiler, compile_library, find_library, note_failure


class Status(NamedTuple):
    """Loaded library with its level, or the reason why there is none."""

    library: ctypes.CDLL | None
    level: str
    reason: str


def library() -> ctypes.CDLL | None:
    """Return the kernels at the best level of this machine, compiled now if missing; None: use the plain path.

    The environment is read once: UNTRAINED_NATIVE=0 is the plain path; 1, or a level such as avx2, requires kernels.

    Raises:
        ImportError: UNTRAINED_NATIVE requires a library, and there is none.
    """
    return status().library


@functools.cache
def status() -> Status:
    """Return the library of this process, or the reason why there is none."""
    asked = os.environ.get("UNTRAINED_NATIVE", "")
    if asked == "0":
        return Status(None, "", "UNTRAINED_NATIVE=0 turns it off")
    if asked not in ("", "1", *LEVELS):
        raise ImportError(f"UNTRAINED_NATIVE must be 0, 1, {', '.join(LEVELS)} or unset, got {asked!r}")
    level = asked if asked in LEVELS else levels()[0]
    if level not in levels():
        raise ImportError(f"UNTRAINED_NATIVE={level}: this machine has {' and '.join(levels())} only")
    try:
        return Status(load(level), level, "")
    except NoCompiler as why:
        if asked:
            raise ImportError(f"UNTRAINED_NATIVE={asked}: {why}") from None
        return Status(None, "", str(why))


def levels() -> list[str]:
    """Return the levels that this machine can run, the best first; ATEN_CPU_CAPABILITY may allow fewer."""
    best = torch.backends.cpu.get_cpu_capability()
    if best.startswith("AVX512"):
        return list(LEVELS)
    return ["avx2", "portable"] if best == "AVX2" else ["portable"]


def load(level: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Load the library of one level from the cache, or compile it.

    Raises:
        NoCompiler: the library is missing and cannot be compiled.
    """
    path = find_library(level, flags)
    if path is not None:
        with contextlib.suppress(OSError, AttributeError):  # made for another machine
            return _open(path)
        with contextlib.suppress(OSError):
            path.unlink()
    path = compile_library(level, flags)
    try:
        return _open(path)
    except (OSError, AttributeError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise note_failure(level, flags, f"the library cannot be loaded: {error}") from None


def _open(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    _share_threads(loaded)
    return loaded


def _share_threads(loaded: ctypes.CDLL) -> None:
    """Pass torch's parallel loop to the kernels; without it (before torch 2.10) they use one thread."""
    use = loaded.use_parallel_for
    name = next((p for p in (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*") if p.suffix != ".lib"), None)
    of_torch = getattr(ctypes.CDLL(str(name)), "torch_parallel_for", None) if name else None
    if of_torch is not None:
        use(ctypes.cast(of_torch, ctypes.c_void_p))
