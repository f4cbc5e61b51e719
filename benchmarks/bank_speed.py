"""Switching of tasks, and inferring the task, in process CPU time of one thread.

    .venv/bin/python benchmarks/bank_speed.py      (about two minutes)

Switching writes W ⊙ m into the live parameters; the floor is a copy of the same floats. Inferring is compared with a
forward and backward pass of the dense network of a batch of 128.
"""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

import untrained as ut
from harness import interleave, machine, write

ROUNDS = 25
TASKS = 250


def switching(model: nn.Module) -> list[dict[str, object]]:
    """Time switches of a live network between two tasks beside `copy_` of all its masked tensors."""
    bank = ut.Bank(model)
    for name, keep in {"one": 0.5, "other": 0.4}.items():
        bank.add(name, bank.masked(ut.RandomSubnetwork(keep=keep)))
    targets = [held for name, held in bank.model.named_parameters() if name in bank.tasks[0].tensors]
    sources, names = [torch.randn_like(each) for each in targets], itertools.cycle(bank.names)

    def copy() -> None:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)

    variants: dict[str, Callable[[], object]] = {"copy_": copy, "use": lambda: bank.use(next(names))}
    return [asdict(timing) for timing in interleave(variants, reference="copy_", rounds=ROUNDS)]


def packed_switch(model: nn.Module) -> float:
    """Return the microseconds until the packed network of another task is there."""
    bank = ut.Bank(model)
    for name, keep in {"one": 0.5, "other": 0.4}.items():
        bank.add(name, bank.masked(ut.RandomSubnetwork(keep=keep)))
        bank.packed(name)
    taken, names = [], itertools.cycle(bank.names)
    for _ in range(1000):
        name, start = next(names), time.perf_counter()
        bank.packed(name)
        taken.append(time.perf_counter() - start)
    return 1e6 * sorted(taken)[500]


def inferring() -> list[dict[str, object]]:
    """Time `which` among many tasks beside a forward and backward pass of the dense network."""
    bank = ut.Bank(ut.models.fc((512, 512), norm="batch"))
    for number in range(TASKS):
        model = bank.masked(ut.RandomSubnetwork(keep=0.3 + number / 1000))
        model.train()(torch.randn(128, 1, 28, 28))  # its norms have statistics then
        bank.add(str(number), model.eval())
    dense, x, y = ut.models.fc((512, 512), norm="batch"), torch.randn(128, 1, 28, 28), torch.randint(10, (128,))

    def step() -> None:
        dense.zero_grad()
        F.cross_entropy(dense(x), y).backward()

    variants: dict[str, Callable[[], object]] = {"forward and backward": step}
    for how in ("statistics", "gradient", "binary", "each"):  # a bank each: a superposition is kept until another use
        variants[f"which, {how}"] = partial(copy.deepcopy(bank).which, x, how=how)
    return [asdict(timing) for timing in interleave(variants, reference="forward and backward", rounds=9)]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(4096, 4096, bias=False))
    found = {
        "4096 × 4096": switching(wide),
        "ResNet-50": switching(ut.models.build("resnet50")),
        "packed, microseconds": packed_switch(ut.models.fc((512, 512))),
        f"inferring among {TASKS}": inferring(),
    }
    write("bank_speed", {"machine": machine(), **found})


if __name__ == "__main__":
    main()
