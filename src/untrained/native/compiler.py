"""Compile the kernels to a shared library on first use, and keep it in a cache.

They are not compiled at installation, which would need a compiler or a wheel for every system, nor against torch's
headers: their interface is plain C with pointers, so that compiling takes seconds and a new torch needs no new library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parent
SOURCES = (
    "bank.cpp",
    "choice.cpp",
    "contexts.cpp",
    "load.cpp",
    "nudge.cpp",
    "packed_indices.cpp",
    "packed_lookup.cpp",
    "straight_through.cpp",
)
_HEADERS = ("parallel.h", "summable.h")
# No flag may change a result: no contraction to fused multiply-adds, no reordering of sums.
_FLAGS = ("-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-shared", "-fPIC")
LEVELS = {
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma"),
    "avx2": ("-mavx2", "-mfma"),
    "portable": (),
}
"""Instruction sets, the best first. Every machine has the portable one; on ARM that is NEON."""

_LONGEST, _MOMENT = 300.0, 2.0  # seconds; usually ten
_LARGEST = 1 << 26  # bytes


class NoCompiler(Exception):
    """Error where the library of kernels cannot be compiled or used."""


def cache() -> Path:
    """Return the folder of libraries: $UNTRAINED_CACHE, or `untrained/kernels` in the user's folder for caches."""
    own = os.environ.get("UNTRAINED_CACHE")
    folder = own or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "untrained" / "kernels"
    return Path(folder).resolve()  # the system searches for a library without a folder elsewhere


def find_library(level: str, flags: tuple[str, ...] = ()) -> Path | None:
    """Find the library for these sources, flags and machine in the cache; remove a damaged one.

    Its name holds the sha256 of its bytes: loading half a library would end the process. A link, or a file that another
    user owns or may write to, counts as damaged.

    Raises:
        NoCompiler: the cache cannot be used, or other users may write to it.
    """
    with _cache_errors():
        stem = _stem(level, flags)
        for path in sorted(_folder().glob(f"{stem}-*.so")):
            if _is_undamaged(path, stem):
                return path
            path.unlink(missing_ok=True)
    return None


def compile_library(level: str, flags: tuple[str, ...] = ()) -> Path:
    """Compile the library for one level into the cache, where it appears complete.

    Args:
        level: one of `LEVELS`.
        flags: more flags for the compiler.

    Raises:
        NoCompiler: there is no compiler, it failed now or before, or the cache cannot be used.
    """
    with _cache_errors():
        compiler, folder, stem = _compiler(), _folder(), _stem(level, flags)
        note = _failure_note(compiler, stem)
        if note.exists():
            raise NoCompiler(note.read_text(encoding="utf-8", errors="replace"))
        with tempfile.TemporaryDirectory(prefix=f".{stem}.", dir=folder) as own:
            unfinished, messages = Path(own, "library"), Path(own, "messages")
            sources = (str(_FOLDER / name) for name in SOURCES)
            code = _run([*compiler, *_FLAGS, *LEVELS[level], *flags, *sources, "-o", str(unfinished)], messages)
            if code is None:
                raise note_failure(level, flags, f"{shlex.join(compiler)} took more than {_LONGEST:g} seconds")
            if code:
                lines = messages.read_text(encoding="utf-8", errors="replace").splitlines()
                errors = [line for line in lines if "error" in line] or [f"exit code {code}"]
                raise NoCompiler(f"{shlex.join(compiler)} failed: {errors[0]}")
            if not (unfinished.exists() and stat.S_ISREG(unfinished.lstat().st_mode)):
                raise note_failure(level, flags, f"{shlex.join(compiler)} wrote no library")
            unfinished.chmod(0o700)
            path = folder / _name(stem, unfinished.read_bytes())
            unfinished.replace(path)
    return path


def note_failure(level: str, flags: tuple[str, ...], reason: str) -> NoCompiler:
    """Note in the cache that this compiler makes no usable library, so that it is not tried at every start.

    Returns:
        The error to raise: the reason, and the file to delete.

    Raises:
        NoCompiler: the cache cannot be used.
    """
    with _cache_errors():
        note = _failure_note(_compiler(), _stem(level, flags))
        reason = f"{reason}; not tried again until the compiler is another or {note} is deleted"
        note.write_text(reason, encoding="utf-8", errors="replace")
    return NoCompiler(reason)


@contextlib.contextmanager
def _cache_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        raise NoCompiler(f"the cache cannot be used: {error}") from None


def _folder() -> Path:
    """Return the cache, made if missing. Code from it runs as the user, so no other user may write to it."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _is_private(folder.stat()):
        raise NoCompiler(f"other users may write to {folder}; set UNTRAINED_CACHE to a private folder")
    return folder


def _is_private(found: os.stat_result) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_undamaged(path: Path, stem: str) -> bool:
    try:
        found = path.lstat()
        fits = stat.S_ISREG(found.st_mode) and _is_private(found) and found.st_size <= _LARGEST
        return fits and path.name == _name(stem, path.read_bytes())
    except OSError:
        return False


def _stem(level: str, flags: tuple[str, ...]) -> str:
    key = hashlib.sha256(repr((_FLAGS, LEVELS[level], flags, sys.platform, platform.machine())).encode())
    for name in (*SOURCES, *_HEADERS):
        key.update((_FOLDER / name).read_bytes())
    return f"kernels-{key.hexdigest()[:16]}-{level}"


def _name(stem: str, library: bytes) -> str:
    return f"{stem}-{hashlib.sha256(library).hexdigest()}.so"


def _failure_note(compiler: list[str], stem: str) -> Path:
    """Return the path of the note that this compiler failed."""
    program = Path(shutil.which(compiler[0]) or compiler[0]).resolve()
    found = program.stat()
    key = hashlib.sha256(repr((compiler, str(program), found.st_size, found.st_mtime_ns)).encode()).hexdigest()
    return _folder() / f"{stem}-{key[:16]}.failed"


def _run(command: list[str], messages: Path) -> int | None:
    """Run a compiler with all processes that it starts; return its exit code, or None where it took too long."""
    group, quiet = (0 if hasattr(os, "killpg") else None), subprocess.DEVNULL
    with (
        messages.open("wb") as file,
        subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=file, process_group=group) as running,
    ):
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return running.wait(_MOMENT)
            if sys.stderr is not None and sys.stderr.isatty():
                print("untrained: compiling kernels for this machine, once; some seconds more", file=sys.stderr)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return running.wait(_LONGEST - _MOMENT)
            return None
        finally:
            if running.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    running.kill() if group is None else os.killpg(running.pid, signal.SIGKILL)


def _compiler() -> list[str]:
    """Return the command of the user's compiler ($CXX), or of the system's."""
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NoCompiler(f"no compiler: CXX={os.environ['CXX']}: {error}") from None
    for command in [given] if given else (["c++"], ["g++"], ["clang++"]):
        if shutil.which(command[0]):
            return command
    raise NoCompiler(f"no compiler {given[0]!r}" if given else "no C++ compiler on the PATH")
