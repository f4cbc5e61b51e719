"""Changes of a bank's file: written whole, a task more, a task less; a kill leaves the old bank or the new one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from untrained.bank.file import HEAD, BankFile, to_bytes
from untrained.bank.shared import Shared
from untrained.bank.task import Task
from untrained.files import atomic_write, locked
from untrained.tickets import header
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TicketError


def save(path: Path, shared: Shared, tasks: Sequence[Task]) -> None:
    """Write a bank; where the file holds the first of these tasks, only the others are written.

    Raises:
        OSError: the file cannot be written.
    """
    data, weights = to_bytes(shared, ((task.name, task.file) for task in tasks)), 0
    for task in tasks:
        weights = header.check_expansion(task.tensors, len(data), weights)
    with locked(path):
        if not _continue_with(path, data):
            with atomic_write(path) as unfinished:
                unfinished.write_bytes(data)


def append(path: Path, shared: Shared, task: Task) -> None:
    """Add a task to a file, whose other tasks are neither decoded nor written, or make the file.

    Raises:
        TicketError: the file is damaged, of other shared facts, or has a task of this name.
        OSError: the file cannot be written.
    """
    with add_path_to_errors(path), locked(path):
        if not path.exists():
            with atomic_write(path) as unfinished:
                unfinished.write_bytes(to_bytes(shared, [(task.name, task.file)]))
            return
        with path.open("rb+") as file:
            bank = BankFile(file)
            if task.name in bank.names:
                raise TicketError(f"it has a task {task.name!r} already; remove it first, or choose another name")
            if bank.shared != shared:
                raise TicketError("its seed, weights or network are not those of the task")
            _write_behind(file, bank.end, *bank.extended(task.name, task.file))


def remove(path: Path, name: str) -> None:
    """Remove a task from a file, which is written anew.

    Raises:
        TicketError: there is none of this name, or the file is damaged.
        OSError: the file cannot be written.
    """
    with add_path_to_errors(path), locked(path):
        with path.open("rb") as file:
            bank = BankFile(file)
            bank.file_of(name)
            data = to_bytes(bank.shared, [(each, bank.file_of(each)) for each in bank.names if each != name])
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(data)


def _continue_with(path: Path, data: bytes) -> bool:
    """Write what is missing behind a file that begins like these bytes; return False if it is another."""
    if not path.is_file():
        return False
    try:
        with path.open("rb+") as file:
            end = BankFile(file).end
            file.seek(HEAD)
            same = end <= len(data) and file.read(end - HEAD) == data[HEAD:end]
            if same:
                _write_behind(file, end, data[end:], data[:HEAD])
            return same
    except TicketError:  # it is damaged, or no bank
        return False


def _write_behind(file: BinaryIO, end: int, records: bytes, head: bytes) -> None:
    """Write records behind the bytes that count, and then the head, in one call of the system."""
    try:
        file.seek(end)
        file.write(records)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise
    file.seek(0)
    file.write(head)
    file.flush()
    os.fsync(file.fileno())
