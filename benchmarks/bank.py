"""The tasks of bank_tasks.py in one bank: accuracy with the task known and inferred, bytes, forgetting.

    .venv/bin/python benchmarks/bank.py --data-dir DIR      (after bank_tasks.py; some minutes)

Test data, once. The task is inferred from batches of 128 images, and from single images.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import bank_tasks as tasks
import untrained as ut
from harness import machine, write

ROWS, SINGLES = 128, 4  # images of a batch, and single ones of each task


Labelled = tuple[Tensor, Tensor]


def test_data(data: ut.DataSet, change: tasks.Change) -> Labelled:
    """Return all test images of a task and their labels."""
    parts = list(tasks.Changed(data.batches("test", 1000), change))
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def accuracy(bank: ut.Bank, name: str, x: Tensor, y: Tensor) -> float:
    return float((bank(x, name).argmax(1) == y).float().mean())


def inferred(bank: ut.Bank, tests: list[Labelled], how: str) -> dict[str, float]:
    """Return how often the task of a batch is inferred right, and the accuracy with the inferred task."""
    found, right = [], 0
    for name, (x, y) in zip(bank.names, tests, strict=True):
        x, y = x[:ROWS], y[:ROWS]
        task = bank.which(x, how=how).task
        right += task == name
        found.append(accuracy(bank, task, x, y))
    return {"right": right / len(tests), "accuracy": statistics.mean(found)}


def inferred_singly(bank: ut.Bank, tests: list[Labelled]) -> dict[str, float]:
    """Return the same for single images: the task whose own output has the least entropy."""
    images = torch.cat([x[-SINGLES:] for x, _ in tests])
    labels = torch.cat([y[-SINGLES:] for _, y in tests])
    true = [name for name in bank.names for _ in range(SINGLES)]
    guessed = bank.which(images, how="each", per="row").task
    right = sum(one == other for one, other in zip(guessed, true, strict=True))
    return {
        "right": right / len(true),
        "accuracy": float((bank(images, guessed).argmax(1) == labels).float().mean()),
    }


def measure(data: ut.DataSet, scenario: str, changes: list[tasks.Change]) -> dict[str, object]:
    """Return the figures of one bank."""
    bank, known, tests, outputs = ut.Bank(tasks.network(), seed=tasks.SEED), [], [], []
    for number, ticket in enumerate(tasks.tickets(scenario, range(len(changes)))):
        bank.add(name := f"{number:03}", ticket)
        x, y = test_data(data, changes[number])
        known.append(accuracy(bank, name, x, y))
        tests.append((torch.cat([x[:ROWS], x[-SINGLES:]]), torch.cat([y[:ROWS], y[-SINGLES:]])))
        outputs.append(bank(tests[-1][0], name))
    summaries = [ut.summary(bank.ticket(name)) for name in bank.names]
    with TemporaryDirectory() as folder:
        bank.save(path := Path(folder) / "tasks.bank")
        size = path.stat().st_size
    tensors = [(each.shape, each.entropy_bits * each.weights / 8) for each in summaries[0].tensors]
    return {
        "tasks": len(bank),
        "accuracy": statistics.mean(known),
        "least": min(known),
        "bytes": size,
        "entropy": sum(each.entropy_bytes for each in summaries),
        "extras": sum(each.extra_bytes for each in summaries),
        "weights": sum(each.weights for each in summaries) // len(bank),
        "tensors of the first": tensors,
        "batch, statistics": inferred(bank, tests, "statistics"),
        "batch, gradient": inferred(bank, tests, "gradient"),
        "batch, binary": inferred(bank, tests, "binary"),
        "batch, each": inferred(bank, tests, "each"),
        "single image, each": inferred_singly(bank, tests),
        "outputs are those of before later tasks came": all(
            torch.equal(bank(x, name), before) for name, (x, _), before in zip(bank.names, tests, outputs, strict=True)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, found = ut.load_data("mnist", arguments.data_dir), {}
    for scenario, changes in tasks.SCENARIOS.items():
        found[scenario] = measure(data, scenario, changes)
        print(scenario, found[scenario], flush=True)
    write("bank", {"machine": machine(), "scenarios": found})


if __name__ == "__main__":
    main()
