"""Kills of a process that changes a bank: `PYTHONPATH=src:tests python tests/bank_kills.py 200`."""

import collections
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import untrained as ut
from bank_mutations import filled
from untrained.bank import change, file


def grow(path, bank, names):
    """Remove all tasks but the first, add them again, and so on."""
    for name in names[:0:-1]:
        change.remove(path, name)
    while True:
        for task in bank.tasks[1:]:
            change.append(path, bank._shared, task)
        for name in bank.names[:0:-1]:
            change.remove(path, name)


def main(count, seed=0):
    """Kill so often, and return how often there were how many tasks; anything but the first so many is an error."""
    chance, bank, found = random.Random(seed), filled(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        path, whole = Path(folder) / "a.bank", Path(folder) / "whole.bank"
        bank.save(whole)
        change.append(path, bank._shared, bank.tasks[0])
        for _ in range(count):
            with file.opened(path) as read:
                names = read.names
            child = os.fork()
            if not child:
                try:
                    grow(path, bank, names)
                finally:
                    os._exit(1)
            time.sleep(chance.random() * 0.05)
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            read = ut.Bank.load(path)
            n = len(read.names)
            assert read.names == bank.names[:n] and n
            assert all(read.task(name).file == bank.task(name).file for name in read.names)
            if chance.randrange(2):  # what a kill left does not hinder the next one
                for task in bank.tasks[n:]:
                    change.append(path, bank._shared, task)
                assert path.read_bytes() == whole.read_bytes()
            found[n] += 1
    return found


if __name__ == "__main__":
    print(sorted(main(*map(int, sys.argv[1:])).items()))
