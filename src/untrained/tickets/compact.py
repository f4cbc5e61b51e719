"""Writing and reading of format 2: a header that is compressed, hashes as bytes, codes in contexts.

Format 1 is in `file.py`; docs/format.md specifies both.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrained.methods.base import UNDECIDED
from untrained.tickets import coded, header
from untrained.tickets.codec import Codes
from untrained.tickets.contexts import Seeded
from untrained.tickets.header import TensorEntry, TicketError
from untrained.tickets.narrow import narrowed, widened
from untrained.weights.laws import WeightLaw

MAGIC = b"ticket 2"
_START = len(MAGIC) + 8 + 2 * 32  # of the header: after a check of the rest, and two hashes
_LONGEST = 10**8  # characters of a header
_SHA256 = re.compile("[0-9a-f]{64}")
_DIGITS = ",".join(f'"{digit}"' for digit in range(10))
_DICTIONARY = (
    '"airplane","automobile","bird","cat","deer","dog","frog","horse","ship","truck""cifar10","fashion-mnist","kmnist"'
    '"Bernoulli""rescale":"Biprop""Dense""FedPM""entropy":"GemMiner""decay":0.0,"drops":"IteRand""period":300,"rate":0.1'
    '"Multicoated""coats":"spacing":"linear""PartlyFrozen""locked":0.0,"of":{"pruned":"RandomSubnetwork"'
    '"RelaxedBernoulli""gate":"concrete","sparsity":"width":"SignedSupermask""SlotMachines""greedy":true,"values":'
    '"Threshold""ternary":true,"threshold":"structure":{"name":"NofM","m":4,"n":2"KaimingNormal""KaimingUniform"'
    '"Standard""UnsignedConstant""XavierConstant""XavierNormal""XavierUniform""Prototype""length":1024,"conv2""mnist-conv"'
    '"resnet18""stem":"small","width":1.0"bfloat16","float16","float64","global"'
    'running_mean":{"dtype":"float32","shape":[512],"stored":"float16"},"running_var":{"dtype":"float32","shape":[256],'
    '"stored":"float8_e4m3fn"},"num_batches_tracked":{"dtype":"int64","shape":[],"stored":"int16"},"layer1.0.conv1.weight'
    '":{"dtype":"float32","method":0,"shape":[64,64,3,3]},"bn1.bias":{"constant":0.0,"dtype":"float32","shape":[10]},'
    f'"data":"digits","labels":[{_DIGITS}],"mean":[0.30489175726960355],"shape":[1,8,8],"std":[0.3758923030171914],'
    f'{{"meta":{{"accuracy":0.98,"data":"mnist","labels":[{_DIGITS}],"mean":[0.1306],"shape":[1,28,28],"std":[0.3081],'
    '"task":"classification","val_accuracy":0.985},"methods":[{"keep":0.5,"name":"EdgePopup","scope":"layer","signed":false'
    '}],"network":{"arguments":{"classes":10,"norm":"batch","shape":[1,28,28],"widths":[300,100]},"name":"fc"},'
    '"producer":"untrained 0.1.0","seed":0,"tensors":{"fc1.weight":{"dtype":"float32","method":0,"shape":[512,784]},'
    '"fc2.weight":{"dtype":"float32","method":1,"shape":[512,512]},"fc3.weight":{"dtype":"float32","method":0,"shape":['
    '10,512]}},"weights":{"fan":"in","name":"SignedConstant","nonlinearity":"relu","scaled":false}}'
).encode()
"""The preset dictionary of headers; a part of the format, so that it never changes."""


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
    lines, data = dict(head["tensors"]), {}
    for name, codes in encoded.items():
        data[name] = coded.varint(len(codes)) + codes
    for name, tensor in extra.items():
        narrow, dtype = narrowed(tensor), header.dtype_name(tensor.dtype)
        lines[name] = {"dtype": dtype, "shape": list(tensor.shape), "stored": header.dtype_name(narrow.dtype)}
        data[name] = narrow.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    text = header.to_json({**head, "tensors": lines}).encode()
    if len(text) > _LONGEST:
        meta = len(header.to_json(head["meta"]))
        raise ValueError(f"this ticket cannot be written: its header takes {len(text):,} bytes, {meta:,} of them meta")
    packed = _deflate(text, 9)
    if len(text) > _most_characters(len(packed)):
        packed = _deflate(text, 0)
    rest = b"".join(map(bytes.fromhex, hashes)) + coded.varint(len(packed)) + packed
    rest += b"".join(data[name] for name in sorted(data))
    return MAGIC + _check(rest) + rest


def is_one(path: Path) -> bool:
    """Return True if a file begins like one of format 2."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):  # which format 1 will complain of
        return False


def read(path: Path) -> dict[str, Any]:
    """Read the fields of a Ticket from its file, and make all checks that need no weights.

    Raises:
        TicketError: the file is damaged, or not as the format demands.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TicketError(f"it cannot be read ({error})") from None
    if data[len(MAGIC) : len(MAGIC) + 8] != _check(data[len(MAGIC) + 8 :]):
        raise TicketError("its contents do not have the hash at its beginning: the file is damaged")
    side = coded.Side(data)
    try:
        side.take(len(MAGIC) + 8)
        hashes = {"weights_sha256": side.take(32).hex(), "sample_sha256": side.take(32).hex()}
        head = header.from_json(_inflate(side.take(coded.read_varint(side))))
    except ValueError as error:
        raise error if isinstance(error, TicketError) else TicketError(f"its header: {error}") from None
    if not isinstance(head.get("tensors"), dict):
        raise TicketError("its header has no tensors")
    stored = {n: line for n, line in head["tensors"].items() if isinstance(line, dict) and "stored" in line}
    drawn = {name: line for name, line in head["tensors"].items() if name not in stored}
    fields, masked = header.parse({**head, "tensors": drawn}, 2)
    header.check_expansion(fields["tensors"], len(data))
    jobs, extra, given = {}, {}, {}
    for name in sorted(head["tensors"]):
        try:
            if name in stored:
                extra[name] = _read_stored(name, stored[name], side)
            elif name in masked:
                jobs[name], given[name] = _job(name, fields, side)
        except ValueError as error:
            raise error if isinstance(error, TicketError) else TicketError(f"{name!r}: {error}") from None
    if side.at != len(data):
        raise TicketError("it holds more than its tensors")
    return fields | hashes | {"codes": _decode(fields["tensors"], jobs, given), "extra": extra, "format": 2}


def _job(name: str, fields: Mapping[str, Any], side: coded.Side) -> tuple[coded.Job, Tensor | None]:
    """Return the coded codes of a tensor, and those that the seed gives."""
    entry: TensorEntry = fields["tensors"][name]
    given = entry.given(name, fields["seed"])
    free = None if given is None else (given == UNDECIDED).numpy().reshape(-1)
    n = math.prod(entry.shape) if free is None else int(np.count_nonzero(free))
    seeded = Seeded(fields["seed"], name, entry.shape, fields["law"])
    return coded.Job(side.take(coded.read_varint(side)), seeded, free, n), given


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


def _read_stored(name: str, line: Mapping[str, Any], side: coded.Side) -> Tensor:
    """Read a tensor that is stored whole."""
    header.check_keys(repr(name), line, {"dtype": (str,), "shape": (list,), "stored": (str,)}, set())
    shape, names = line["shape"], (line["dtype"], line["stored"])
    if any(type(side) is not int for side in shape):
        raise TicketError(f"{name!r}: shape must be integers, got {str(shape)[:80]}")
    header.check_name(name)
    header.check_shape(name, shape)
    own, narrow = (header.STORABLE.get(each) for each in names)
    if own is None or narrow is None:
        raise TicketError(f"{name!r} is of dtype {str(names[0])[:40]!r}, stored as {str(names[1])[:40]!r}")
    raw = torch.from_numpy(np.frombuffer(bytearray(side.take(math.prod(shape) * narrow.itemsize)), np.uint8))
    if narrow == torch.bool and bool((raw > 1).any()):
        raise TicketError(f"{name!r} has bools that are neither 0 nor 1")
    return widened(raw.view(narrow).reshape(shape), own)


def _deflate(text: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    return packer.compress(text) + packer.flush()


def _inflate(packed: bytes) -> str:
    """Return the text of a header, whose size may not be far more than that of its bytes."""
    most, unpacker = _most_characters(len(packed)), zlib.decompressobj(-15, _DICTIONARY)
    try:
        text = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise TicketError(f"its header cannot be decompressed ({error})") from None
    if len(text) > most or not unpacker.eof or unpacker.unused_data:
        raise TicketError("its header does not end where it should")
    return text.decode("ascii", "replace")  # which is refused as JSON that is not canonical


def _most_characters(packed: int) -> int:
    return min(_LONGEST, (1 << 16) + 64 * packed)


def _check(rest: bytes) -> bytes:
    return hashlib.sha256(rest).digest()[:8]
