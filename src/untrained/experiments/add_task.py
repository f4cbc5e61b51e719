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
from untrained.runs.settings import Settings, settle
from untrained.runs.table import FOUND
from untrained.tickets import header
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.networks import rebuild
from untrained.tickets.ticket import Ticket


def find_task(settings: Settings, path: Path, name: str) -> tuple[Path, float]:
    """Search on the network of a bank, or on any for its first task, and return the ticket's path and accuracy.

    Raises:
        ValueError: the name is in use, or the settings ask for another seed, law or network; and as `find`.
        KeyboardInterrupt: after Ctrl-C, with the command that resumes the search.
    """
    check_name(name)
    if path.exists():
        with opened(path) as read:
            if name in read.names:
                raise ValueError(f"{path} has a task {name!r} already; remove it first, or choose another --name")
            shared = read.shared
        settings = _on_its_network(settings, shared)
    try:
        found = find(settings)
    except KeyboardInterrupt as interrupt:
        ours = shlex.join(["untrained", "bank", "add", str(path), "--name", name])
        raise KeyboardInterrupt(str(interrupt).replace("untrained find", ours)) from None
    return found.ticket, next(row.accuracy for row in found.rows if row.name == FOUND)


def add_ticket(path: Path, name: str, ticket: Path) -> None:
    """Add a ticket's file to a bank's, which the first one makes.

    Raises:
        ValueError: the name is in use, or the ticket does not fit; the bank is unchanged then.
    """
    found = Ticket.load(ticket)
    with add_path_to_errors(ticket):
        bank = Bank.load(path, only=()) if path.exists() else Bank(rebuild(found), found.seed, weights=found.law)
        bank.add(name, found)
    change.append(path, bank._shared, bank.task(name))


def _on_its_network(settings: Settings, shared: Shared) -> Settings:
    """Return the settings with the seed, the weights and the network of a bank."""
    if shared.law is None:
        raise ValueError("the weights of this bank are pretrained: add its tasks from Python")
    if shared.network is None:
        raise ValueError("the network of this bank is not one of untrained.models: add its tasks from Python")
    its = {"seed": shared.seed, "model": shared.network["name"], **shared.network["arguments"]}
    own: dict[str, Any] = {}
    for field in (field for field in fields(Settings) if field.name in its):
        value = its[field.name]
        own[field.name] = value = tuple(value) if isinstance(value, list) else value
        if (asked := getattr(settings, field.name)) not in (field.default, value):
            raise ValueError(f"--{field.name} must be that of the bank, {value}, got {asked}")
    settings = settle(replace(settings, **own), {})
    data = data_of(settings)
    bench = Workbench(settings, data, choose_device("cpu"), settings.seed)
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
