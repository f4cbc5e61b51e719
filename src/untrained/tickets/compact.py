"""Writing and reading of format 2: a header that is compressed, hashes as bytes, codes in contexts.

Format 1 is in `file.py`; docs/format.md specifies both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from untrained.methods.base import UNDECIDED
from untrained.tickets import coded, container, header
from untrained.tickets.codec import Codes
from untrained.tickets.contexts import Seeded
from untrained.tickets.header import TensorEntry, TicketError
from untrained.weights.laws import WeightLaw

MAGIC = b"ticket 2"
HASHES = 2 * 32
"""Bytes of the two hashes behind the check."""
_SHA256 = re.compile("[0-9a-f]{64}")


def fits(hashes: tuple[str, str]) -> bool:
    """Return True if these are two sha256s, which the format has bytes for."""
    return all(_SHA256.fullmatch(each) for each in hashes)


def encode_tensor(codes: Tensor, name: str, entry: TensorEntry, seed: int, law: WeightLaw | None) -> bytes:
    """Return the codes of a masked tensor as bytes."""
    given = entry.given(name, seed)
    free = None if given is None else (given == UNDECIDED).numpy().reshape(-1)
    flat = codes.cpu().contiguous().numpy().reshape(-1)
    return coded.encode(flat, Seeded(seed, name, entry.shape, law), free)


def to_bytes(
    head: Mapping[str, Any], hashes: tuple[str, str], encoded: Mapping[str, bytes], extra: Mapping[str, Tensor]
) -> bytes:
    """Return the bytes of a ticket's file.

    Args:
        head: the header, without the lines of `extra`.
        hashes: the sha256s of the weights and of their sample.
        encoded: the codes by name.
        extra: the tensors that are stored whole.

    Raises:
        ValueError: the header is longer than the format allows.
    """
    lines, data = dict(head["tensors"]), {name: container.codes_bytes(codes) for name, codes in encoded.items()}
    for name, tensor in extra.items():
        lines[name], data[name] = container.store(tensor)
    own = b"".join(map(bytes.fromhex, hashes))
    return container.pack(MAGIC, own, {**head, "tensors": lines}, data)


def read(data: bytes) -> dict[str, Any]:
    """Read the fields of a Ticket from the bytes of its file, and make all checks that need no weights.

    Raises:
        TicketError: the file is damaged, or not as the format demands.
    """
    own, head, side = container.unpack(data, HASHES)
    hashes = {"weights_sha256": own[:32].hex(), "sample_sha256": own[32:].hex()}
    stored = {n: line for n, line in head["tensors"].items() if isinstance(line, dict) and "stored" in line}
    drawn = {name: line for name, line in head["tensors"].items() if name not in stored}
    fields, masked = header.parse({**head, "tensors": drawn}, 2)
    header.check_expansion(fields["tensors"], len(side.data))
    jobs, extra, given = {}, {}, {}
    for name in sorted(head["tensors"]):
        try:
            if name in stored:
                extra[name] = container.take_stored(name, stored[name], side)
            elif name in masked:
                jobs[name], given[name] = _job(name, fields, side)
        except ValueError as error:
            raise error if isinstance(error, TicketError) else TicketError(f"{name!r}: {error}") from None
    if side.at != len(side.data):
        raise TicketError("it holds more than its tensors")
    return fields | hashes | {"codes": _decode(fields["tensors"], jobs, given), "extra": extra, "format": 2}


def _job(name: str, fields: Mapping[str, Any], side: coded.Side) -> tuple[coded.Job, Tensor | None]:
    """Return the coded codes of a tensor, and those that the seed gives."""
    entry: TensorEntry = fields["tensors"][name]
    given = entry.given(name, fields["seed"])
    free = None if given is None else (given == UNDECIDED).numpy().reshape(-1)
    n = math.prod(entry.shape) if free is None else int(np.count_nonzero(free))
    seeded = Seeded(fields["seed"], name, entry.shape, fields["law"])
    return coded.Job(container.take_codes(side), seeded, free, n), given


def _decode(
    tensors: Mapping[str, TensorEntry], jobs: Mapping[str, coded.Job], given: Mapping[str, Tensor | None]
) -> Codes:
    decoded, held = coded.decode_each(list(jobs.values())), {}
    for name in jobs:
        try:
            flat = next(decoded)
        except ValueError as error:
            raise TicketError(f"the codes of {name!r}: {error}") from None
        its = given[name]
        if its is not None:
            free = flat if isinstance(flat, Tensor) else flat.codes()
            flat = its.masked_scatter(its == UNDECIDED, free)
        held[name] = flat, tensors[name].shape
    return Codes(held)
