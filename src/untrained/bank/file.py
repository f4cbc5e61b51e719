"""Files of banks, `untrained-bank/1`: a head, what all tasks share, and a record for each task.

    head      8 bytes that say of which kind the file is, and a hash of the head's rest; the number of bytes that count,
              the number of tasks, and a hash of what is read at opening: what all tasks share, and all fronts
    shared    the seed, the law of the weights and the network, compressed
    record    its front: a hash of the rest of the record, the task's name, and the number of bytes of its body;
              its body: the task's ticket, whose header is compressed with that of the first task in view

A task is added behind the bytes that count; then the head is overwritten. See docs/format.md, "Banks".
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, final

from torch import nn

from untrained.bank.shared import Shared
from untrained.bank.task import MOST_CHARACTERS, check_name
from untrained.models.brought import Description
from untrained.tickets import coded, compact, container, header
from untrained.tickets.container import CHECK, check
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TicketError, within_memory
from untrained.tickets.networks import rebuild
from untrained.tickets.ticket import Ticket

MAGIC = container.BANK
_NUMBERS = struct.Struct(f"<QQ{CHECK}s")
HEAD = len(MAGIC) + CHECK + _NUMBERS.size
"""Bytes of the head."""
_LONGEST_FRONT = CHECK + 2 + 4 * MOST_CHARACTERS + 9


@dataclass(frozen=True)
class _Record:
    """Task's front, and the place of its body in the file."""

    name: str
    front: bytes
    at: int
    size: int


@final
class BankFile:
    """Bank's file open for reading: the names at once, tasks when they are asked for.

    Attributes:
        shared: what all tasks share.
        end: the bytes of the file that count.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self._read(0, HEAD)
        if not head.startswith(MAGIC):
            raise TicketError("not a bank, or one of another format")
        if len(head) < HEAD or head[len(MAGIC) :][:CHECK] != check(head[-_NUMBERS.size :]):
            raise TicketError("its head is damaged")
        self.end, count, digest = _NUMBERS.unpack(head[-_NUMBERS.size :])
        if (size := os.fstat(file.fileno()).st_size) < self.end:
            raise TicketError(f"it has {size:,} bytes of {self.end:,}: it was cut off")
        self._opening = hashlib.sha256()
        packed, at = self._take_shared()
        self._records: dict[str, _Record] = {}
        fault = self._take_fronts(at, count)
        if fault or self._opening.digest()[:CHECK] != digest:
            raise TicketError(self._find_damage() or fault or "its tasks are not those of its head")
        text = container.inflate(packed)
        self.shared, self._text = Shared.of_text(text), text.encode()

    @property
    def names(self) -> list[str]:
        """The names of the tasks, in the order in which they were added."""
        return list(self._records)

    def bytes_of(self, name: str) -> int:
        """Return the bytes that a task takes."""
        return len(self._records[name].front) + self._records[name].size

    def file_of(self, name: str) -> bytes:
        """Return a task's ticket as the bytes of a file of format 2.

        Raises:
            TicketError: there is none of this name, or it is damaged.
        """
        if name not in self._records:
            raise TicketError(f"it has no task {name!r}; it has {', '.join(map(repr, self.names)) or 'none yet'}")
        known = self._text if name == self.names[0] else self._text + self._first_text
        with task_in_errors(name):
            own, text, tensors = _unpack(self._body(name), known)
            return container.assemble(compact.MAGIC, own, text.encode(), tensors)

    def tickets(self, only: Iterable[str] | None = None) -> Iterator[tuple[str, Ticket, bytes]]:
        """Yield name, ticket, and the bytes of the ticket's file.

        Args:
            only: the names; None: all.

        Raises:
            TicketError: a task is missing or damaged; the message names it.
        """
        if isinstance(only, str):
            raise TypeError(f"only must be the names of tasks, such as [{only!r}], got {only!r}")
        weights = 0
        for name in self.names if only is None else dict.fromkeys(only):
            data = self.file_of(name)
            with task_in_errors(name):
                ticket = Ticket.from_bytes(data)
                self.shared.check(ticket)
                weights = header.check_expansion(ticket.tensors, self.end, weights)
                yield name, ticket, data

    def describing(self) -> Ticket | None:
        """Return the first task whose facts describe a network that is brought, or else the first; None if empty."""
        first: Ticket | None = None
        for _, ticket, _ in self.tickets():
            if Description.of(ticket.meta) is not None:
                return ticket
            first = first or ticket
        return first

    def build(self) -> nn.Module:
        """Build the network, if it is one of `untrained.models`, or one of a library that a task describes.

        Raises:
            TicketError: it is another one, with what it needs; or its arguments are refused.
        """
        ticket = self.describing() if self.shared.network is None else None
        return self.shared.build() if ticket is None or ticket.built_by is not None else rebuild(ticket)

    def extended(self, name: str, data: bytes) -> tuple[bytes, bytes]:
        """Return the record of a further task, and the head that goes with it; `data` is its ticket's file."""
        front, body, _ = _record(name, data, self._text + self._first_text)
        opening = self._opening.copy()
        opening.update(front)
        end = self.end + len(front) + len(body)
        return front + body, _head(end, len(self._records) + 1, opening)

    def _read(self, at: int, n: int) -> bytes:
        self._file.seek(at)
        return self._file.read(n)

    def _take_shared(self) -> tuple[bytes, int]:
        """Return the compressed text of what all tasks share, and the place behind it."""
        side = coded.Side(self._read(HEAD, min(9, max(0, self.end - HEAD))))
        try:
            n = coded.read_varint(side)
        except ValueError as error:
            raise TicketError(f"its header: {error}") from None
        at = HEAD + side.at
        if n > self.end - at:
            raise TicketError("its header: bytes are missing")
        text = self._read(at, n)
        self._opening.update(side.data[: side.at] + text)
        return text, at + n

    def _take_fronts(self, at: int, count: int) -> str:
        """Read the fronts of all records, and return what is wrong with them."""
        for number in range(1, count + 1):
            side = coded.Side(self._read(at, max(0, min(_LONGEST_FRONT, self.end - at))))
            try:
                side.take(CHECK)
                name = check_name(side.take(coded.read_varint(side)).decode())
                size = coded.read_varint(side)
                if name in self._records or size > self.end - at - side.at:
                    raise ValueError(f"{name!r} is there already, or bytes are missing")
            except ValueError as error:
                return f"task {number} of {count} is damaged: {error}"
            front = side.data[: side.at]
            self._opening.update(front)
            self._records[name] = _Record(name, front, at + side.at, size)
            at += side.at + size
        return "" if at == self.end else "it holds more than its tasks"

    def _find_damage(self) -> str:
        """Return which of the tasks is damaged."""
        for number, name in enumerate(self._records, 1):
            try:
                self._body(name)
            except TicketError as error:
                return f"task {number}, {name!r}: {error}"
        return ""

    def _body(self, name: str) -> bytes:
        record = self._records[name]
        body = self._read(record.at, record.size)
        if record.front[:CHECK] != check(record.front[CHECK:] + body):
            raise TicketError("it is damaged: its bytes do not have the hash before them")
        return body

    @cached_property
    def _first_text(self) -> bytes:
        """The header of the first task, which those of the others are compressed with."""
        if not self._records:
            return b""
        first = self.names[0]
        with task_in_errors(first):
            return _unpack(self._body(first), self._text)[1].encode()


@contextmanager
def opened(path: Path) -> Iterator[BankFile]:
    """Yield a bank's file for reading; errors name it."""
    with add_path_to_errors(path), within_memory():
        if not path.is_file():
            raise TicketError("no such file")
        with path.open("rb") as file:
            yield BankFile(file)


def _unpack(body: bytes, known: bytes) -> tuple[bytes, str, bytes]:
    side = coded.Side(body)
    try:
        own, packed = side.take(compact.HASHES), side.take(coded.read_varint(side))
        tensors = side.take(len(body) - side.at)
        return own, container.inflate(packed, known, _free(tensors)), tensors
    except ValueError as error:
        raise TicketError(f"its header: {error}") from None


def _free(tensors: bytes) -> int:
    return container.MOST_PER_BYTE * (compact.HASHES + len(tensors))


@contextmanager
def task_in_errors(name: str) -> Iterator[None]:
    """Prefix every TicketError raised inside with the task's name."""
    try:
        yield
    except TicketError as error:
        raise TicketError(f"task {name!r}: {error}") from None


def to_bytes(shared: Shared, tasks: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the bytes of a bank's file; the same tasks in the same order always give the same bytes.

    Args:
        shared: what all tasks share.
        tasks: the name of each, and its ticket as a file of format 2.
    """
    text = shared.to_text()
    parts, known, opening = [container.text_bytes(text)], text, hashlib.sha256()
    opening.update(parts[0])
    for name, data in tasks:
        front, body, own = _record(name, data, known)
        opening.update(front)
        parts.append(front + body)
        known = text + own if len(parts) == 2 else known
    kept = b"".join(parts)
    return _head(HEAD + len(kept), len(parts) - 1, opening) + kept


def _record(name: str, data: bytes, known: bytes) -> tuple[bytes, bytes, bytes]:
    """Return front and body of a task's record, and the text of its header."""
    own, text, side = container.take_apart(data, compact.HASHES)
    tensors = side.take(len(data) - side.at)
    body = own + container.text_bytes(text.encode(), known, _free(tensors)) + tensors
    rest = coded.varint(len(name.encode())) + name.encode() + coded.varint(len(body))
    return check(rest + body) + rest, body, text.encode()


def _head(end: int, count: int, opening: hashlib._Hash) -> bytes:
    numbers = _NUMBERS.pack(end, count, opening.digest()[:CHECK])
    return MAGIC + check(numbers) + numbers
