"""Atomic writes of files, and locks of folders that one process at a time writes into."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_OLD = 3600  # seconds after which an unchanged unfinished file counts as abandoned


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it replaces `path` in one step, on any error it is removed.

    A link stays one: the file behind it is written. Unfinished files of killed writers of `path` are removed.

    Raises:
        OSError: the folder does not exist or cannot be written, or `path` is a folder, device, pipe or socket.
    """
    mode = _get_mode(path)
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    prefix = f".unfinished-{_short_hash(path)}-"
    _remove_abandoned(path.parent, prefix)
    unfinished = path.with_name(prefix + secrets.token_hex(8))
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode | 0o600))
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]], **options: Any) -> None:
    """Write a JSON-lines file, an object in each line, whole or not at all; `options` are those of json.dumps.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text("".join(json.dumps(row, **options) + "\n" for row in rows), encoding="utf-8")


def read_json_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the object in each line of a JSON-lines file, None for a line without one; no line without a file."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        yield row if isinstance(row, dict) else None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make a folder and lock it against other processes and threads; the lock ends with the process.

    Raises:
        OSError: the folder is locked, or cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A singleton can be locked twice: `find` holds the folder that its `fit` writes into.
    lock = FileLock(folder.resolve() / ".lock", blocking=False, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another run writes into {folder} now; wait for its end, or pass another folder") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file that is changed in place, which other writers wait for; it ends with the process.

    Raises:
        OSError: another writer has held it for a minute, or there is no folder for it.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():  # which FileLock would make
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    lock = FileLock(path.with_name(f".lock-{_short_hash(path)}"), timeout=60)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another process writes into {path} now; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def _short_hash(path: Path) -> str:
    """Return a short name for a file's name, which may be as long as names can be."""
    return hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


def _get_mode(path: str | Path) -> int | None:
    """Return the permissions of the file; None: there is none yet."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  the stat of a Path would be the same
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a device, pipe or socket; expected a file or a new path")
    return mode & 0o777


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for left in folder.glob(f"{prefix}*"):
        try:
            if time.time() - left.lstat().st_mtime > _OLD:
                left.unlink()
        except OSError:  # removed by another process, or of another user
            continue
