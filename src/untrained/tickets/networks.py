"""The network of a ticket: built again from what the ticket says of it, or by what the user names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrained.masking.masked_class import tensors_of
from untrained.models import build
from untrained.models.brought import Brought, Description
from untrained.models.libraries import described
from untrained.models.own import brought
from untrained.tickets.file import add_path_to_errors
from untrained.tickets.header import TicketError, within_memory
from untrained.tickets.ticket import Ticket


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """Load a ticket into a freshly built model, bit for bit the network that was saved.

    Args:
        path: the ticket.
        model: a model of the same architecture; may be left out when the network is one of `untrained.models`.

    Returns:
        The model: a plain dense nn.Module, frozen.

    Raises:
        TicketError: the file is damaged or not a ticket, or it does not fit the model, which is unchanged then.

    Example:
        >>> ut.save(ut.mask_(nn.Linear(64, 32), ut.EdgePopup(keep=0.5)), "found.ticket")
        >>> model = ut.load("found.ticket", nn.Linear(64, 32))
        >>> int((model.weight != 0).sum())
        1024
    """
    ticket = Ticket.load(path)
    with add_path_to_errors(path):
        return ticket.apply_(rebuild(ticket) if model is None else model)


@within_memory()
def rebuild(ticket: Ticket) -> nn.Module:
    """Build the network of a ticket, if it is one of `untrained.models`, in memory that `apply_` will fill.

    Raises:
        TicketError: it is another one, or a pretrained one; its arguments are refused, or its tensors are not the
            ticket's.
    """
    own = None if (told := Description.of(ticket.meta)) is None else described(told)
    if told is not None and own is not None and ticket.built_by is None and ticket.law is not None:
        return _build_library(ticket, own, told)
    if ticket.built_by is None or ticket.law is None:
        raise TicketError(need_of(ticket))
    try:
        with torch.device("meta"):  # a small file may name a large network: compared before it has memory
            network = build(ticket.built_by["name"], **ticket.built_by["arguments"])
    except ValueError as error:
        raise TicketError(f"its network cannot be built: {error}") from None
    ticket._check_fit(tensors_of(network))
    return network.to_empty(device=torch.get_default_device())


def _build_library(ticket: Ticket, own: Brought, told: Description) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):
                ticket._check_fit(tensors_of(own.make(told.shape, told.classes, pretrained=False)))
            # Built again, as buffers that no state dict holds have values only then.
            return own.make(told.shape, told.classes, pretrained=False)
    except TicketError:
        raise
    except (ValueError, ImportError) as error:
        raise TicketError(f"its network cannot be built: {error}") from None


def network_for(ticket: Ticket, text: str | None, what: str = "the ticket") -> nn.Module | None:
    """Return a new network for a ticket from the text of `--model`, which runs the code it names; None without a text.

    In warnings the ticket is called `what`.

    Raises:
        ValueError: the text names no network of a user, or other arguments than the ticket's; and as `Brought.build`.
        TicketError: the ticket does not say the shape of its inputs and the number of its classes.
    """
    if text is None:
        return None
    if (own := brought(text)) is None:
        raise ValueError(f"--model must be FILE.py:NAME, as the networks of untrained.models need none, got {text!r}")
    told = Description.of(ticket.meta)
    if told is None:
        shape, labels = ticket.meta.get("shape"), ticket.meta.get("labels")
        if not isinstance(shape, list) or not isinstance(labels, list):
            raise TicketError("its meta has no shape and labels; load it from Python, with a freshly built model")
        return own.build(shape, len(labels), pretrained=ticket.law is None)
    check_same(told, own, told.shape, told.classes, what)
    return own.build(told.shape, told.classes, seed=ticket.seed, pretrained=ticket.law is None)


def check_same(told: Description, own: Brought, shape: Sequence[int], classes: int, what: str) -> None:
    """Refuse a user's network, for so many classes of inputs of a shape, that is not the one of a description.

    Code that has another sha256 than when `what` was made is a warning: it may do the same.

    Raises:
        ValueError: its name in the file, its arguments, its shape, its classes or its configuration are others.
    """
    now = json.loads(json.dumps(own.describe(shape, classes)))  # with lists for tuples, as a file has them
    digest = now.get("sha256", "")
    if now["arguments"] != {**told.arguments}:
        raise ValueError(f"its network has other arguments than {own.text!r}: give {told.flag}")
    if (digest or told.sha256) and now["name"].rpartition(":")[2] != told.name.rpartition(":")[2]:  # files may move
        raise ValueError(f"its network is another than {own.text!r}: give {told.flag}")
    if now.get("config", {}) != told.config:
        raise ValueError(f"{own.text} has another configuration than the network of {what}")
    if (tuple(shape), classes) != (told.shape, told.classes):
        raise ValueError(
            f"its network is for inputs {told.shape} and {told.classes} classes, got {tuple(shape)} and {classes}"
        )
    if digest != told.sha256:
        warnings.warn(
            f"{told.name} has sha256 {digest[:12]}…, and had {told.sha256[:12]}… when {what} was made: "
            "its weights are checked, what the code does with them is not",
            stacklevel=3,
        )


def need_of(ticket: Ticket) -> str:
    """Return in words what a ticket needs whose network it does not give."""
    told = Description.of(ticket.meta)
    if told is None and ticket.law is None:
        return "its weights are those of a pretrained model: pass that model"
    if told is None:
        return "it does not describe its network; pass a freshly built model"
    code = f" (sha256 {told.sha256}), and code that a file names is not run" if told.sha256 else ", pretrained"
    return (
        f"its network is that of {told.text}{code}: "
        f"give {told.flag}, or pass {'the pretrained' if ticket.law is None else 'a freshly built'} model"
    )


def read_input_shape(ticket: Ticket) -> list[int]:
    """Return the shape of one input, from `meta` or else from the network's arguments.

    Raises:
        TicketError: neither has it.
    """
    arguments: Any = (ticket.built_by or {}).get("arguments", {})
    if (told := Description.of(ticket.meta)) is not None:
        return list(told.shape)
    shape = ticket.meta.get("shape", arguments.get("shape"))
    if not isinstance(shape, list) or not shape or any(type(side) is not int or side < 1 for side in shape):
        raise TicketError(f"meta.shape must be a list of sizes such as [1, 28, 28], got {shape!r}")
    return shape


def name_of(ticket: Ticket) -> str | None:
    """Return the name of a ticket's network, if it has one; it may be from a stranger's file."""
    if ticket.built_by is not None:
        return ticket.built_by["name"]
    return None if (told := Description.of(ticket.meta)) is None else told.name
