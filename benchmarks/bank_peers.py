"""Twenty tasks on one frozen network beside trained networks: what each way costs in bytes, and its accuracy.

    .venv/bin/python benchmarks/bank_peers.py --data-dir DIR      (after bank_tasks.py; about a quarter of an hour)

Every way gets the same layers with the same norms, and one epoch of each task. Test data, once.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

import bank_tasks as tasks
import untrained as ut
from harness import measured, write
from untrained.methods.recipe import WEIGHTS_UNDER_NORMS as TRAINED

TASKS = 20


def accuracy(model: Callable[[Tensor], Tensor], data: ut.DataSet, change: tasks.Change) -> float:
    """Return the accuracy on the test data of a task."""
    right = total = 0
    for x, y in tasks.Changed(data.batches("test", 1000), change):
        right, total = right + int((model(x).argmax(1) == y).sum()), total + len(y)
    return right / total


def train(model: nn.Module, data: ut.DataSet, change: tasks.Change, number: int) -> nn.Module:
    """Train the weights of a network on one task, and return it for evaluation."""
    batches = tasks.Changed(data.batches("train", tasks.BATCH, seed=number), change)
    ut.fit(model, batches, epochs=tasks.EPOCHS, recipe=TRAINED, seed=number, title=None)
    return model.eval()


def plain(number: int) -> nn.Module:
    torch.manual_seed(number)
    return tasks.network()


def bank(data: ut.DataSet, changes: list[tasks.Change], scenario: str) -> tuple[list[float], float]:
    found = list(tasks.tickets(scenario, range(len(changes))))
    models = [ticket.apply_(tasks.network()).eval() for ticket in found]
    sizes = [len(ticket.to_bytes()) for ticket in found]
    return [accuracy(model, data, change) for model, change in zip(models, changes, strict=True)], sum(sizes)


def networks(data: ut.DataSet, changes: list[tasks.Change], scenario: str) -> tuple[list[float], float]:
    found = [accuracy(train(plain(i), data, change, i), data, change) for i, change in enumerate(changes)]
    return found, len(changes) * _bytes(plain(0))


def one_after_another(data: ut.DataSet, changes: list[tasks.Change], scenario: str) -> tuple[list[float], float]:
    model = plain(0)
    for number, change in enumerate(changes):
        train(model, data, change, number)
    return [accuracy(model, data, change) for change in changes], _bytes(model)


def many_heads(data: ut.DataSet, changes: list[tasks.Change], scenario: str) -> tuple[list[float], float]:
    """Train one network with a head for each task, on all tasks at once; the norms are shared."""
    trunk = nn.Sequential(*list(plain(0))[:-1])
    heads = nn.ModuleList(nn.Linear(256, 10, bias=False) for _ in changes)
    parameters = [*trunk.parameters(), *heads.parameters()]
    loss = nn.CrossEntropyLoss(label_smoothing=TRAINED.label_smoothing)
    steps = tasks.EPOCHS * len(data.batches("train", tasks.BATCH))
    optimizer = torch.optim.SGD(parameters, TRAINED.lr, TRAINED.momentum, weight_decay=TRAINED.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TRAINED.lr, steps, cycle_momentum=False)
    for epoch in range(tasks.EPOCHS):
        sets = [tasks.Changed(data.batches("train", tasks.BATCH, seed=i), change) for i, change in enumerate(changes)]
        for each in sets:
            each.set_epoch(epoch)
        for batches in zip(*sets, strict=False):  # a step sees a batch of every task, in one pass
            logits = trunk(torch.cat([x for x, _ in batches])).split([len(y) for _, y in batches])
            losses = [loss(head(z), y) for head, z, (_, y) in zip(heads, logits, batches, strict=True)]
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
            schedule.step()
    trunk.eval()
    models = [nn.Sequential(trunk, head) for head in heads]
    with torch.no_grad():
        found = [accuracy(model, data, change) for model, change in zip(models, changes, strict=True)]
    return found, _bytes(trunk) + sum(map(_bytes, heads))


def low_bit_heads(data: ut.DataSet, changes: list[tasks.Change], scenario: str) -> tuple[list[float], float]:
    """Train a head of four bits for each task on the features of the frozen random network."""
    found, size = [], 0
    shared = ut.Bank(tasks.network(), seed=tasks.SEED)
    methods = {r"fc[12]\.weight": ut.Dense(), r"fc3\.weight": ut.Nudge(step=1.0, levels=7)}
    for number, change in enumerate(changes):
        model = shared.masked(methods)
        batches = tasks.Changed(data.batches("train", tasks.BATCH, seed=number), change)
        ut.fit(model, batches, epochs=tasks.EPOCHS, seed=number, title=None)
        ticket = ut.Ticket.of(model)
        size += len(ticket.to_bytes())
        found.append(accuracy(ticket.apply_(tasks.network()).eval(), data, change))
    return found, size


WAYS = {
    "a bank of masks": bank,
    "a trained network for each task": networks,
    "one trained network with a head for each task, all tasks at once": many_heads,
    "one trained network, one task after another": one_after_another,
    "heads of 4 bits on the frozen random network": low_bit_heads,
}


def _bytes(model: nn.Module) -> int:
    return sum(4 * tensor.numel() for tensor in model.state_dict().values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, rows = ut.load_data("mnist", arguments.data_dir), measured("bank_peers")
    for scenario in ("permuted", "pairs"):
        for name, way in WAYS.items():
            if any((row["scenario"], row["way"]) == (scenario, name) for row in rows):
                continue  # delete the file to measure anew
            found, size = way(data, tasks.SCENARIOS[scenario][:TASKS], scenario)
            rows.append(
                {
                    "scenario": scenario,
                    "way": name,
                    "accuracy": statistics.mean(found),
                    "least": min(found),
                    "bytes": size,
                }
            )
            print(rows[-1], flush=True)
            write("bank_peers", rows)


if __name__ == "__main__":
    main()
