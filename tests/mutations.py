"""Damaged and forged tickets of format 2 in any number: `PYTHONPATH=src:tests python tests/mutations.py 100000`.

A damaged file must be refused or load to the same network. A forged one, with its hash made again, may hold other
weights, but then `verify` says so; it is read without a crash, soon, and in little memory.
"""

import collections
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

import untrained as ut
from hostile import EXPECTED, MAKERS, masked_as, state
from untrained.tickets import coded, compact, container

COMPACT = {name: ut.Ticket.of(*masked_as(name)).to_bytes(2) for name in MAKERS}
SECONDS = 5
TYPICAL = [b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]


def hashed(rest):
    """A file whose hash is right."""
    return compact.MAGIC + hashlib.sha256(rest).digest()[:8] + rest


def parts(name):
    """The hashes of the weights, the text of the header, and the tensors of an honest ticket."""
    return taken_apart(COMPACT[name])


def taken_apart(data):
    """The same of a file."""
    side = coded.Side(data)
    side.take(16)
    hashes = side.take(64)
    text = container.inflate(side.take(coded.read_varint(side)))
    return hashes, text, side.data[side.at :]


def with_header(hashes, text, tensors, level=9):
    packed = container.deflate(text.encode(), level)
    return hashed(hashes + coded.varint(len(packed)) + packed + tensors)


def changed(data, chance):
    """The data with one to three small changes."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + chance.randrange(1, 9)] = b""
        elif kind == 2:
            data[at : at + chance.randrange(1, 9)] = chance.choice(TYPICAL)
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 4:
            end = at + chance.randrange(1, 33)
            data[at:end] = data[at:end] * 2
        else:
            del data[at:]
    return bytes(data)


def mutated(chance):
    """(name of the honest ticket, a changed file, whether its hash was made again)."""
    name = chance.choice(list(COMPACT))
    data, kind = COMPACT[name], chance.randrange(4)
    if kind == 0:
        return name, changed(data, chance), False
    if kind == 1:
        return name, hashed(changed(data[16:], chance)), True
    hashes, text, tensors = parts(name)
    if kind == 2:
        return name, with_header(hashes, text, changed(tensors, chance)), True
    return name, with_header(hashes, changed(text.encode(), chance).decode("latin1"), tensors), True


def outcome(name, data, forged, path):
    """What became of a file: "refused", "same" or "verify refuses"; anything else raises an error."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        ticket = ut.Ticket.load(path)
        model = MAKERS[name]()
        before = state(model)
        try:
            loaded = ut.load(path, model)
        except ut.TicketError:
            assert state(model) == before, "a refused ticket changed the model"
            return "refused"
        if state(loaded) == EXPECTED[name]:
            return "same"
        assert forged, "a damaged file was loaded to another network"
        try:
            ticket.verify()
        except ut.TicketError:
            return "verify refuses"
        extra = {n: state(model)[n] for n in ticket.extra}  # which no hash of the weights covers
        assert extra != {n: EXPECTED[name][n] for n in extra}, "a wrong network"
        return "other extras"
    except ut.TicketError as error:
        assert str(error).startswith(f"{path}: ") and str(error).isprintable()
        return "refused"
    finally:
        assert time.process_time() - start < SECONDS, "it took too long"


def main(count, seed=0):
    fates = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            name, data, forged = mutated(chance)
            try:
                fates[outcome(name, data, forged, Path(folder) / "a.ticket")] += 1
            except Exception as error:
                fates["WRONG"] += 1
                print(f"{seed}/{number} of {name}: {type(error).__name__}: {error}", flush=True)
            if number % 10_000 == 9_999:
                print(number + 1, dict(fates), flush=True)
    return fates


if __name__ == "__main__":
    print(dict(main(*map(int, sys.argv[1:]))))
