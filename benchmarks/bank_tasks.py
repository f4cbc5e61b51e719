"""The tasks of the benchmarks of a bank: MNIST permuted, rotated, split, and in pairs of classes, as tickets.

    .venv/bin/python benchmarks/bank_tasks.py --data-dir DIR      (DIR holds MNIST/raw; about an hour on one core)

Each task is searched on one network 784-256-256-10 of one seed, by `small` at a keep of 0.03, for one epoch,
and becomes runs/benchmarks/bank/SCENARIO/NUMBER.ticket; what is there already is not searched again. The test data are
not read.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import untrained as ut

TICKETS = Path(__file__).parent.parent / "runs" / "benchmarks" / "bank"
EPOCHS, BATCH, SEED = 1, 128, 0
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@final
@dataclass(frozen=True)
class Changed:
    """Batches whose images and labels are changed into those of a task."""

    batches: ut.Batches
    change: Change

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.change(x, y) for x, y in self.batches)

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)


def permuted(number: int) -> Change:
    """Return the change of task `number`: one fixed order of the pixels."""
    order = torch.randperm(784, generator=torch.Generator().manual_seed(number))
    return lambda x, y: (x.flatten(1)[:, order].view_as(x), y)


def rotated(number: int) -> Change:
    """Return the change of task `number`: a turn by 30° times it."""
    angle = torch.tensor(torch.pi / 6 * number)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])

    def change(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        grid = F.affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False, padding_mode="border"), y

    return change


def pair(one: int, other: int) -> Change:
    """Return the change of a task of two classes, whose labels become 0 and 1."""

    def change(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        its = (y == one) | (y == other)
        return x[its], (y[its] == other).long()

    return change


PAIRS = list(itertools.combinations(range(10), 2))
SCENARIOS: dict[str, list[Change]] = {
    "rotated": [rotated(number) for number in range(12)],
    "split": [pair(2 * number, 2 * number + 1) for number in range(5)],
    "pairs": [pair(*PAIRS[place]) for place in torch.randperm(45, generator=torch.Generator().manual_seed(0))[:20]],
    "permuted": [permuted(number) for number in range(250)],
}


def network() -> nn.Module:
    """Return the network of all tasks."""
    return ut.models.fc((256, 256), norm="batch")


def method(model: nn.Module) -> dict[str, ut.Method]:
    """Return the methods of `small` at a keep of 0.03."""
    masks = ut.EdgePopup(keep=0.03, signed=True)
    return ut.balanced(model, masks, ut.Nudge(step=1.0, levels=7))


def search(bank: ut.Bank, data: ut.DataSet, change: Change, number: int, start: str | None = None) -> ut.Ticket:
    """Search one task, and return its ticket."""
    model = bank.masked(method(bank.model), start=start)  # pyright: ignore[reportArgumentType]
    train = Changed(data.batches("train", BATCH, seed=number), change)
    ut.fit(model, train, epochs=EPOCHS, seed=number, title=None)
    large = itertools.islice(Changed(data.batches("train", 10 * BATCH, seed=number), change), 10)
    ut.calibrate_(model, large, dtype=torch.float8_e4m3fn)
    return ut.Ticket.of(model)


def tickets(scenario: str, numbers: Iterable[int]) -> Iterator[ut.Ticket]:
    """Yield the tickets of tasks that were searched."""
    for number in numbers:
        yield ut.Ticket.load(TICKETS / scenario / f"{number:03}.ticket")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, bank = ut.load_data("mnist", arguments.data_dir), ut.Bank(network(), seed=SEED)
    for scenario, changes in SCENARIOS.items():
        (TICKETS / scenario).mkdir(parents=True, exist_ok=True)
        for number, change in enumerate(changes):
            path = TICKETS / scenario / f"{number:03}.ticket"
            if not path.exists():
                search(bank, data, change, number).save(path)
                print(path.stem, scenario, flush=True)


if __name__ == "__main__":
    main()
