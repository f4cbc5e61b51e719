"""The kernels as a shared library: compiled on first use by the machine's own compiler, and kept in a cache.

Not at installation: that would need a compiler to install, or a wheel for every system. Not against torch's headers:
the kernels are plain C to the outside and take pointers, so that compiling takes seconds, and a new torch needs no
new library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from untrained.files import written_whole

_FOLDER = Path(__file__).parent
SOURCES = ("choice.cpp", "load.cpp", "packed.cpp", "step.cpp")
_HEADERS = ("parallel.h",)
# Nothing that changes a result: no contraction to fused multiply-adds, no reordering of sums.
_FLAGS = ("-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-shared", "-fPIC")
LEVELS = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma"),
    "avx2": ("-mavx2", "-mfma"),
    "portable": (),
}
"""Instruction sets, the best first. Portable is what every machine of the kind has; on ARM that is NEON."""


class NoCompiler(Exception):
    """Why there is no library."""


def cache() -> Path:
    """Where libraries are kept: $UNTRAINED_CACHE, or `untrained/kernels` in the user's folder for caches."""
    own = os.environ.get("UNTRAINED_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "untrained" / "kernels"


def kept(level: str, flags: tuple[str, ...] = ()) -> Path:
    """The file of the library for these sources, flags and machine, whether or not it is there yet."""
    key = hashlib.sha256(repr((_FLAGS, LEVELS[level], flags, sys.platform, platform.machine())).encode())
    for name in (*SOURCES, *_HEADERS):
        key.update((_FOLDER / name).read_bytes())
    return cache() / f"kernels-{key.hexdigest()[:16]}-{level}.so"


def built(level: str, flags: tuple[str, ...] = ()) -> Path:
    """The library for one level, compiled into the cache unless it is there; no process ever sees half of it.

    Args:
        level: one of `LEVELS`.
        flags: more flags for the compiler.

    Raises:
        NoCompiler: there is none, it failed, or the cache cannot be written or belongs to somebody else.
    """
    try:
        path = kept(level, flags)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _refuse_strangers(path.parent)
        if not path.exists():
            _compile(path, (*_FLAGS, *LEVELS[level], *flags))
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise NoCompiler(f"the cache cannot be used: {error}") from None
    return path


def _compile(path: Path, flags: tuple[str, ...]) -> None:
    compiler = _compiler()
    with written_whole(path) as unfinished:
        command = [*compiler, *flags, *(str(_FOLDER / name) for name in SOURCES), "-o", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"exit code {done.returncode}"]
            raise NoCompiler(f"{shlex.join(compiler)} failed: {lines[0]}")


def _compiler() -> list[str]:
    """The user's choice ($CXX), or the system's compiler."""
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NoCompiler(f"no compiler: CXX={os.environ['CXX']}: {error}") from None
    for command in [given] if given else (["c++"], ["g++"], ["clang++"]):
        if shutil.which(command[0]):
            return command
    raise NoCompiler(f"no compiler {given[0]!r}" if given else "no C++ compiler on the PATH")


def _refuse_strangers(folder: Path) -> None:
    """What is loaded from here runs as the user: nobody else may write here."""
    if not hasattr(os, "getuid"):
        return
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoCompiler(f"others may write to {folder}; set UNTRAINED_CACHE to a folder of your own")
