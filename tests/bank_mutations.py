"""Damaged and forged banks in any number: `PYTHONPATH=src:tests python tests/bank_mutations.py 100000`.

A damaged file must be refused or load to the same tasks. A forged one, with its hashes made again, may hold others,
but `verify` says so where their weights are others; it is read without a crash, soon, and in little memory.
"""

import collections
import hashlib
import random
import struct
import sys
import tempfile
import time
from pathlib import Path

import torch

import untrained as ut
from mutations import SECONDS, changed
from untrained.bank.shared import Shared
from untrained.tickets import coded, compact, container

METHODS = {
    "edge-popup": ut.EdgePopup(keep=0.3),
    "signed": ut.EdgePopup(keep=0.1, signed=True),
    "nudge": ut.Nudge(levels=3),
    "slots": ut.SlotMachines(values=3),
    'Größe 3, "quoted"': ut.RandomSubnetwork(keep=0.3),
}


def net():
    return ut.models.fc((24, 16), norm="batch", shape=(1, 6, 6))


def filled(names=tuple(METHODS)):
    """A bank of these tasks, one with a head of its own."""
    bank = ut.Bank(net(), seed=3)
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        model = bank.masked(METHODS[name], heads={"fc3": 4} if name == "nudge" else None)
        model.train()(torch.randn(32, 1, 6, 6) + seed)
        bank.add(name, model.eval(), meta={"labels": ["a", "b"], "accuracy": 0.5 + seed / 16})
    return bank


def check(data):
    return hashlib.sha256(data).digest()[:8]


def assembled(shared, records):
    """A file whose hashes are right: the stored bytes of the shared facts, and name and body of each record."""
    kept, opening = shared, shared
    for name, body in records:
        rest = coded.varint(len(name)) + name + coded.varint(len(body))
        kept, opening = kept + check(rest + body) + rest + body, opening + check(rest + body) + rest
    numbers = struct.pack("<QQ", 40 + len(kept), len(records)) + check(opening)
    return b"utbank/1" + check(numbers) + numbers + kept


def with_numbers(data, **numbers):
    """A file with other numbers in its head, whose check is right: end, count and digest, as bytes."""
    own = dict(zip(("end", "count", "digest"), (data[16:24], data[24:32], data[32:40]), strict=True)) | numbers
    head = b"".join(own.values())
    return data[:8] + check(head) + head + data[40:]


class Parts:
    """An honest bank, taken apart."""

    def __init__(self, bank):
        self.text = Shared.of(bank.model, bank.seed, bank.law).to_text()
        self.headers, self.hashes, self.tensors = [], [], []
        self.names = [name.encode() for name in bank.names]
        for task in bank.tasks:
            own, text, side = container.take_apart(task.file, compact.HASHES)
            self.headers.append(text.encode())
            self.hashes.append(own)
            self.tensors.append(side.data[side.at :])

    def records(self, headers=None):
        known, found = self.text, []
        for name, own, text, tensors in zip(
            self.names, self.hashes, headers or self.headers, self.tensors, strict=True
        ):
            free = 64 * (64 + len(tensors))
            found.append((name, own + container.text_bytes(text, known, free) + tensors))
            known = self.text + text if len(found) == 1 else known
        return found

    def file(self, text=None, records=None):
        return assembled(
            container.text_bytes(self.text if text is None else text), self.records() if records is None else records
        )


def mutated(parts, chance):
    """(a changed file, whether its hashes were made again)."""
    kind, records = chance.randrange(7), parts.records()
    at = chance.randrange(len(records))
    if kind == 0:
        return changed(parts.file(), chance), False
    if kind == 1:  # a body
        records[at] = records[at][0], changed(records[at][1], chance)
    elif kind == 2:  # a name
        records[at] = changed(records[at][0], chance), records[at][1]
    elif kind == 3:  # a header
        headers = [*parts.headers]
        headers[at] = changed(headers[at], chance)
        records = parts.records(headers)
    elif kind == 4:
        return parts.file(changed(parts.text, chance)), True
    elif kind == 5:  # records, or their bodies alone, in another order, missing, or twice
        other = chance.randrange(len(records))
        if chance.randrange(2):
            records[at], records[other] = records[other], records[at]
        else:
            records[at] = records[other] if chance.randrange(2) else (records[at][0], records[other][1])
        records = records[: chance.randrange(len(records) + 1)] if chance.randrange(2) else records
    else:  # the numbers of the head
        data = bytearray(parts.file())
        data[16:40] = changed(data[16:40], chance)[:24].ljust(24, b"\0")
        data[8:16] = check(data[16:40])
        return bytes(data), True
    return parts.file(records=records), True


def outcome(honest, data, forged, path):
    """What became of a file: "refused", "same" or "others"; anything else raises an error."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        read = ut.Bank.load(path, net())
        files = {name: read.ticket(name).to_bytes() for name in read.names}
        if files == {task.name: task.file for task in honest.tasks}:
            return "same"
        assert forged, "a damaged file was loaded to other tasks"
        for name in read.names:
            own = read.ticket(name)
            own.verify()
            assert not own.extra or own.apply_(read._live.fitted(own)), name
        return "others"
    except ut.TicketError as error:
        assert str(error).startswith(f"{path}: ") or (forged and "sha256 of the weights" in str(error)), error
        assert str(error).isprintable()
        return "refused"
    finally:
        assert time.process_time() - start < SECONDS, "it took too long"


def main(count, seed=0):
    honest, fates = filled(), collections.Counter()
    parts = Parts(honest)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            try:
                fates[outcome(honest, *mutated(parts, chance), Path(folder) / "a.bank")] += 1
            except Exception as error:
                fates["WRONG"] += 1
                print(f"{seed}/{number}: {type(error).__name__}: {error}", flush=True)
            if number % 10_000 == 9_999:
                print(number + 1, dict(fates), flush=True)
    return fates


if __name__ == "__main__":
    print(dict(main(*map(int, sys.argv[1:]))))
