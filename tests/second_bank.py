"""The file of a bank in the second reader, written from docs/format.md and nothing else."""

import hashlib
import json
import zlib

from second_compact import DICTIONARY, Bytes


def _check(data):
    return hashlib.sha256(data).digest()[:8]


def _text(packed, known):
    unpacker = zlib.decompressobj(-15, (DICTIONARY + known)[-(2**15) :])
    text = unpacker.decompress(packed)
    assert unpacker.eof and not unpacker.unused_data
    head = json.loads(text)
    assert json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() == text
    return text, head


def _stored(number):
    """A varint."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + _stored(number // 128)


def read_bank(file):
    """The shared facts, and {name: the task's ticket as a file of format 2}, whose header is not compressed."""
    assert file[:8] == b"utbank/1" and file[8:16] == _check(file[16:40])
    end, count = (int.from_bytes(file[at : at + 8], "little") for at in (16, 24))
    assert end <= len(file)
    side = Bytes(file[40:end])
    packed = side.take(side.varint())
    opening, records = _stored(len(packed)) + packed, {}
    for _ in range(count):
        start = side.data
        check, name = side.take(8), side.take(side.varint()).decode()
        size = side.varint()
        front = start[: len(start) - len(side.data)]
        body = side.take(size)
        assert check == _check(front[8:] + body) and name not in records
        assert 1 <= len(name) <= 200 and name.isprintable()
        opening, records[name] = opening + front, body
    assert not side.data and file[32:40] == _check(opening)
    text, shared = _text(packed, b"")
    assert shared.keys() == {"network", "seed", "weights"}
    known, tasks = text, {}
    for name, body in records.items():
        side = Bytes(body)
        hashes, n = side.take(64), side.varint()
        text, head = _text(side.take(n), known)
        assert len(text) <= min(10**8, 64 * (len(body) - len(_stored(n))))
        assert head["weights"] == shared["weights"]
        assert shared["weights"] is None or head["seed"] == shared["seed"]
        assert None in (head["network"], shared["network"]) or head["network"] == shared["network"]
        known = known if tasks else known + text
        packer = zlib.compressobj(0, wbits=-15)
        packed = packer.compress(text) + packer.flush()
        rest = hashes + _stored(len(packed)) + packed + side.data
        tasks[name] = b"ticket 2" + _check(rest) + rest
    return shared, tasks
