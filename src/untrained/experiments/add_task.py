"""A search for a further task of a bank's file, on its seed, weights and network."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from untrained.bank import change
from untrained.bank.bank import Bank
from untrained.bank.file import opened
from untrained.bank.shared import Shared
from untrained.bank.task import check_name
from untrained.experiments.by_name import method_of, spelled
from untrained.experiments.choices import data_of
from untrained.experiments.find import find
from untrained.experiments.testbed import Workbench, choose_device
from untrained.models.brought import Description
from untrained.runs.run import Row
from untrained.runs.settings import Settings, settle
from untrained.runs.table import FOUND
from untrained.tickets import header
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TicketError
from untrained.tickets.networks import check_same, need_of, network_for, rebuild
from untrained.tickets.ticket import Ticket


def find_task(settings: Settings, path: Path, name: str) -> tuple[Path, Row]:
    """Search on the network of a bank, or on any for its first task, and return the ticket's path and its row.

    Raises:
        ValueError: the name is in use, or the settings ask for another seed, law or network; and as `find`.
        KeyboardInterrupt: after Ctrl-C, with the command that resumes the search.
    """
    check_name(name)
    if path.exists():
        with opened(path) as read:
            if name in read.names:
                raise ValueError(f"{path} has a task {name!r} already; remove it first, or choose another --name")
            shared, ticket = read.shared, read.describing() if read.shared.network is None else None
        settings = _on_its_network(settings, shared, path, ticket)
    try:
        found = find(settings)
    except KeyboardInterrupt as interrupt:
        ours = shlex.join(["untrained", "bank", "add", str(path), "--name", name])
        raise KeyboardInterrupt(str(interrupt).replace("untrained find", ours)) from None
    return found.ticket, next(row for row in found.rows if row.name == FOUND)


def add_ticket(path: Path, name: str, ticket: Path, model: str | None = None) -> None:
    """Add a ticket's file to a bank's, which the first one makes.

    Args:
        path: the bank.
        name: name of the task.
        ticket: the ticket.
        model: text of `--model` for a network of a user.

    Raises:
        ValueError: the name is in use, or the ticket does not fit; the bank is unchanged then.
    """
    found = Ticket.load(ticket)
    with add_path_to_errors(ticket):
        network = network_for(found, model)
        if path.exists():
            _refuse_other(path, found)
            bank = Bank.load(path, network, only=())
        else:
            bank = Bank(rebuild(found) if network is None else network, found.seed, weights=found.law)
        bank.add(name, found)
    change.append(path, bank._shared, bank.task(name))


def _refuse_other(path: Path, found: Ticket) -> None:
    """Refuse a ticket of another network than a bank's, as far as the two describe theirs."""
    with opened(path) as read:
        its = read.describing() if read.shared.network is None else None
    told, its = Description.of(found.meta), None if its is None else Description.of(its.meta)
    if told is not None and its is not None and replace(told, sha256=its.sha256) != its:
        raise TicketError(f"its network must be that of the bank, {its.words}, got {told.words}")


def _on_its_network(settings: Settings, shared: Shared, path: Path, ticket: Ticket | None) -> Settings:
    """Return the settings with the seed, the weights and the network of a bank.

    Args:
        settings: the settings.
        shared: what its tasks share.
        path: the bank.
        ticket: a task that describes its network, where the shared facts do not.
    """
    if shared.law is None and (shared.network is not None or not settings.pretrained):
        advice = "add --pretrained" if shared.network is None else "add its tasks from Python"
        raise ValueError(f"the weights of this bank are pretrained: {advice}")
    if shared.law is not None and settings.pretrained:
        raise ValueError("--pretrained: the weights of this bank are drawn from its seed")
    its: dict[str, Any] = {"seed": shared.seed}
    if shared.network is not None:
        its |= {"model": shared.network["name"], **shared.network["arguments"]}
    own: dict[str, Any] = {}
    for field in (field for field in fields(Settings) if field.name in its):
        value = its[field.name]
        own[field.name] = value = tuple(value) if isinstance(value, list) else value
        if (asked := getattr(settings, field.name)) not in (field.default, value):
            raise ValueError(f"--{field.name} must be that of the bank, {value}, got {asked}")
    settings = settle(replace(settings, **own), {})
    data = data_of(settings)
    bench = Workbench(settings, data, choose_device("cpu"), settings.seed)
    if shared.network is None:
        _check_own(bench, path, ticket)
    else:
        network = header.to_json(bench.network().built_by)
        if network != (wanted := header.to_json(shared.network)):
            raise ValueError(f"the network must be that of the bank, {wanted}, got {network} for {data.name}")
    if bench.law(method_of(str(settings.method), settings.keep, scope=settings.scope)) == shared.law:
        return settings
    law = header.describe(shared.law)
    given = ",".join(f"{key}={value!r}" for key, value in law.items() if key != "name")
    text = f"{spelled(law['name'])}({given})"
    if settings.weights != "recommended":
        raise ValueError(f"--weights must be those of the bank, {text}, got {settings.weights}")
    return replace(settings, weights=text)


def _check_own(bench: Workbench, path: Path, ticket: Ticket | None) -> None:
    """Refuse another network than the one that a bank does not build by itself, before the search."""
    if bench.brought is None:
        needs = "its network is not one of untrained.models: give --model FILE.py:NAME"
        raise ValueError(f"{path}: {needs if ticket is None else need_of(ticket)}")
    network = bench.network()
    if ticket is None:
        return
    if (told := Description.of(ticket.meta)) is not None:
        with add_path_to_errors(path):
            check_same(told, bench.brought, bench.data.shape, bench.data.classes, "the bank's first task")
    Bank(network, ticket.seed, weights=ticket.law).add("as a bank has it", ticket)
