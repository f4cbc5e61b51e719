"""A bank on the network that a user names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from untrained.bank.bank import Bank
from untrained.bank.file import opened, task_in_errors
from untrained.models.brought import Description
from untrained.models.own import brought
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TicketError
from untrained.tickets.networks import check_same, network_for


def load_with(path: Path, text: str | None) -> Bank:
    """Load a bank onto the network that the text of `--model` names, which runs its code; None: onto its own.

    Raises:
        ValueError: the text names no network of a user or another than the bank's, or the bank needs none or is empty.
        TicketError: as `Bank.load`; or tasks are of different networks.
    """
    if text is None:
        return Bank.load(path)
    with opened(path) as read:
        if read.shared.network is not None:
            raise ValueError(f"{path} builds its network, {read.shared.network['name']}, by itself: leave --model out")
        if (ticket := read.describing()) is None:
            raise ValueError(f"{path} has no task")
        network = network_for(ticket, text, "the bank's first task")
    bank = Bank.load(path, network)
    with add_path_to_errors(path):
        _check_tasks(bank, text)
    return bank


def _check_tasks(bank: Bank, text: str) -> None:
    """Refuse tasks of different networks, and warn of each version of the code that is not the present one."""
    first: Description | None = None
    seen = set[str]()
    for task in bank.tasks:
        if (told := Description.of(task.meta)) is None:
            continue
        with task_in_errors(task.name):
            if first is not None and replace(told, sha256=first.sha256) != first:
                raise TicketError(f"its network is {told.words}, and that of other tasks {first.words}")
            if first is not None and told.sha256 not in seen and (own := brought(text)) is not None:
                check_same(told, own, told.shape, told.classes, f"task {task.name!r}")
        first = first or told
        seen.add(told.sha256)
