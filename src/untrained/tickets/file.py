"""Reading of a ticket's file, and writing of format 1: safetensors, with the header in one metadata key."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from untrained.methods.base import UNDECIDED
from untrained.tickets import compact, container, hashes, header
from untrained.tickets.codec import Codes, Encoded, decode_each
from untrained.tickets.header import TensorEntry, TicketError

_LONGEST = 2000  # characters of a message


def to_bytes(head: dict[str, Any], encoded: Mapping[str, Encoded], extra: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a ticket's file in format 1.

    Raises:
        ValueError: the header is longer than safetensors allow.
    """
    stored = {f"codes/{n}": torch.from_numpy(np.frombuffer(bytearray(e.data), np.uint8)) for n, e in encoded.items()}
    stored |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    text = header.to_json(head | {"sha256": hashes.of_file(head, stored)})
    try:
        return safetensors.torch.save(stored, metadata={header.KEY: text})
    except SafetensorError as error:
        meta = len(header.to_json(head["meta"]))
        raise ValueError(
            f"this ticket cannot be written: its header takes {len(text):,} bytes, {meta:,} of them meta ({error})"
        ) from None


def read(data: bytes) -> dict[str, Any]:
    """Read the fields of a Ticket from the bytes of its file, and make all checks that need no weights.

    Raises:
        TicketError: they are damaged, not a ticket, or of another format.
    """
    if data.startswith(compact.MAGIC):
        return compact.read(data)
    if data.startswith(container.TRAINED):
        raise TicketError(
            "a trained opponent's file, not a ticket; untrained.opponents.compressed.Compressed.load reads it"
        )
    if data.startswith(container.BANK):
        raise TicketError("a bank of tasks, not a ticket; `untrained bank extract` takes one out of it")
    head, stored = _read_safetensors(data)
    if head.get("sha256") != hashes.of_file({k: v for k, v in head.items() if k != "sha256"}, stored):
        raise TicketError("its contents do not have the sha256 in its header: the file is damaged")
    header.check_format(head)
    fields, coded = header.parse(head, 1)
    fields |= {field: head[field] for field in ("weights_sha256", "sample_sha256")}
    header.check_expansion(fields["tensors"], len(data))
    expected = {f"codes/{name}" for name in coded}
    for name in sorted(stored.keys() ^ expected):
        if name in expected:
            raise TicketError(f"{name!r} is named in the header and missing")
        if not name.startswith("extra/"):
            raise TicketError(f"{name!r} is stored and not named in the header")
    extra = {name.removeprefix("extra/"): t for name, t in stored.items() if name.startswith("extra/")}
    for name, tensor in extra.items():
        if name in fields["tensors"]:
            raise TicketError(f"{name!r} is both stored and drawn from the seed")
        if math.prod(max(1, side) for side in tensor.shape) >= 1 << 62:
            raise TicketError(f"{name!r} has the impossible shape {tuple(tensor.shape)}")
    codes = _decode(fields["tensors"], fields["seed"], coded, stored)
    return fields | {"codes": codes, "extra": extra, "format": 1}


def _decode(
    tensors: Mapping[str, TensorEntry], seed: int, coded: Mapping[str, Encoded], stored: Mapping[str, Tensor]
) -> Codes:
    """Decode the codes of every masked tensor; those that the seed gives are filled in."""
    encoded, all_given = [], {}
    for name, codes in coded.items():
        data, entry = stored[f"codes/{name}"], tensors[name]
        if data.dtype != torch.uint8 or data.ndim != 1:
            raise TicketError(f"the codes of {name!r} are not a row of bytes")
        all_given[name] = given = entry.given(name, seed)
        wanted = math.prod(entry.shape) if given is None else int((given == UNDECIDED).sum())
        if (n := sum(codes.counts)) != wanted:
            raise TicketError(f"{name!r} has {n} codes for shape {entry.shape}, not {wanted}")
        encoded.append(replace(codes, data=data.numpy().tobytes()))
    decoded, held = decode_each(encoded), {}
    for name, given in all_given.items():
        try:
            flat = next(decoded)
        except ValueError as error:
            raise TicketError(f"the codes of {name!r}: {error}") from None
        if given is not None:
            free = flat if isinstance(flat, Tensor) else flat.codes()
            flat = given.masked_scatter(given == UNDECIDED, free)
        held[name] = flat, tensors[name].shape
    return Codes(held)


def _read_safetensors(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the header, not checked yet, and the stored tensors.

    Raises:
        TicketError: it is damaged, or another file.
    """
    try:
        stored, metadata = safetensors.torch.load(data), _read_metadata(data)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError, OverflowError, AssertionError) as error:
        raise TicketError(f"not a ticket, or a damaged one ({error})") from None
    if header.KEY not in metadata:
        raise TicketError("a safetensors file, but not a ticket: its metadata have no 'untrained'")
    return header.from_json(metadata[header.KEY]), stored


def _read_metadata(data: bytes) -> dict[str, str]:
    """Return the metadata, and refuse what safetensors accept: a name twice, tensors not described by an object."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(members := dict(pairs)) < len(pairs):
            raise ValueError("a name is there twice")
        return members

    index = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=unique)
    if not all(isinstance(line, dict) for line in index.values()):
        raise ValueError("a tensor is not described by an object")
    return index.get("__metadata__", {})


@contextmanager
def add_path_to_errors(path: str | Path) -> Iterator[None]:
    """Prefix every TicketError raised inside with the file's name, and keep the message short and printable."""
    try:
        yield
    except TicketError as error:
        message = str(error)  # parts of it may be from the file, and could steer a terminal
        message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]} …"
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        raise TicketError(f"{path}: {message}") from None
