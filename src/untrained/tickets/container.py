"""Files of tickets (format 2) and of trained opponents: a check, a compressed header, and tensors without gaps.

    8 bytes that say of which kind the file is, the first 8 of the sha256 of all behind them, bytes of the kind's own,
    the number of bytes of the compressed header, these, and the tensors

See docs/format.md, "Format 2".
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrained.tickets import coded, header
from untrained.tickets.header import TicketError
from untrained.tickets.narrow import narrowed, widened

KIND = 8
"""Bytes at the beginning that say of which kind the file is."""
TRAINED = b"trained1"
"""The kind of a trained opponent's file."""
BANK = b"utbank/1"
"""The kind of a bank's file."""
CHECK = 8
"""Bytes of a hash that finds damage."""
LONGEST = 10**8
"""The most characters of a header."""
MOST_PER_BYTE, FREE = 64, 1 << 16
"""The most characters of a header for each of its compressed bytes, and beside these."""
_DIGITS = ",".join(f'"{digit}"' for digit in range(10))
DICTIONARY = (
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


def pack(kind: bytes, own: bytes, head: Mapping[str, Any], data: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a file.

    Args:
        kind: eight bytes.
        own: bytes of the kind's own.
        head: the header, with "meta" among its fields.
        data: the bytes of the tensors by name.

    Raises:
        ValueError: the header is longer than the format allows.
    """
    text = header.to_json(head).encode()
    if len(text) > LONGEST:
        meta = len(header.to_json(head["meta"]))
        raise ValueError(f"this ticket cannot be written: its header takes {len(text):,} bytes, {meta:,} of them meta")
    return assemble(kind, own, text, b"".join(data[name] for name in sorted(data)))


def assemble(kind: bytes, own: bytes, text: bytes, tensors: bytes) -> bytes:
    """Return the bytes of a file from its parts, which `take_apart` gives."""
    rest = own + text_bytes(text) + tensors
    return kind + check(rest) + rest


def whole(path: Path) -> bytes:
    """Return all bytes of a file.

    Raises:
        TicketError: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise TicketError("no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise TicketError(f"it cannot be read ({error})") from None


def take_apart(data: bytes, own: int) -> tuple[bytes, str, coded.Side]:
    """Return the bytes of the kind's own, the header's text, and what is behind that, of a file whose kind is known.

    Raises:
        TicketError: it is damaged.
    """
    if data[KIND : KIND + CHECK] != check(data[KIND + CHECK :]):
        raise TicketError("its contents do not have the hash at its beginning: the file is damaged")
    side = coded.Side(data)
    try:
        side.take(KIND + CHECK)
        return side.take(own), inflate(side.take(coded.read_varint(side))), side
    except ValueError as error:
        raise error if isinstance(error, TicketError) else TicketError(f"its header: {error}") from None


def unpack(data: bytes, own: int) -> tuple[bytes, dict[str, Any], coded.Side]:
    """Return the same with the header parsed.

    Raises:
        TicketError: it is damaged.
    """
    its_own, text, side = take_apart(data, own)
    head = header.from_json(text)
    if not isinstance(head.get("tensors"), dict):
        raise TicketError("its header has no tensors")
    return its_own, head, side


def check(rest: bytes) -> bytes:
    """Return the bytes by which damage of these is found."""
    return hashlib.sha256(rest).digest()[:CHECK]


def codes_bytes(codes: bytes) -> bytes:
    """Return the bytes of codes with their number before them."""
    return coded.varint(len(codes)) + codes


def take_codes(side: coded.Side) -> bytes:
    """Return what `codes_bytes` was given."""
    return side.take(coded.read_varint(side))


def store(tensor: Tensor) -> tuple[dict[str, Any], bytes]:
    """Return the line of a tensor that is stored whole, and its bytes in the narrowest dtype."""
    narrow = narrowed(tensor)
    dtypes = {"dtype": header.dtype_name(tensor.dtype), "stored": header.dtype_name(narrow.dtype)}
    data = narrow.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return dtypes | {"shape": list(tensor.shape)}, data


def take_stored(name: str, line: Mapping[str, Any], side: coded.Side) -> Tensor:
    """Read a tensor that `store` wrote.

    Raises:
        ValueError: its line is not as the format demands, or bytes are missing.
    """
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


def text_bytes(text: bytes, known: bytes = b"", free: int = FREE) -> bytes:
    """Return the text of a header compressed, with the number of its bytes before them.

    Args:
        text: in ASCII.
        known: text that its reader has already, and that it resembles.
        free: characters that it may have beside those for its bytes.
    """
    packed = deflate(text, 9, known)
    if len(text) > _most_characters(len(packed), free):
        packed = deflate(text, 0, known)
    return coded.varint(len(packed)) + packed


def deflate(text: bytes, level: int, known: bytes = b"") -> bytes:
    """Return the bytes of a header's text."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY + known)
    return packer.compress(text) + packer.flush()


def inflate(packed: bytes, known: bytes = b"", free: int = FREE) -> str:
    """Return the text of a header, whose size may not be far more than that of its bytes."""
    most, unpacker = _most_characters(len(packed), free), zlib.decompressobj(-15, DICTIONARY + known)
    try:
        text = unpacker.decompress(packed, most + 1)
    except zlib.error as error:
        raise TicketError(f"its header cannot be decompressed ({error})") from None
    if len(text) > most or not unpacker.eof or unpacker.unused_data:
        raise TicketError("its header does not end where it should")
    return text.decode("ascii", "replace")  # which is refused as JSON that is not canonical


def _most_characters(packed: int, free: int) -> int:
    return min(LONGEST, free + MOST_PER_BYTE * packed)
