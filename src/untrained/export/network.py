"""The network of a ticket, ready to be exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from untrained.methods import METHODS, Method
from untrained.models.brought import KEY
from untrained.tickets.header import TicketError
from untrained.tickets.networks import read_input_shape as read_input_shape
from untrained.tickets.networks import rebuild
from untrained.tickets.ticket import Ticket
from untrained.weights import laws


def build_network(ticket: Ticket, model: nn.Module | None = None) -> nn.Module:
    """Return the found network: plain, dense, frozen, in evaluation mode.

    Args:
        ticket: the ticket.
        model: a freshly built model of the ticket's architecture, which becomes the network; the pretrained one for a
            ticket found with `weights=None`. Not needed for the networks of `untrained.models`.

    Raises:
        TicketError: a model is needed, or the ticket does not fit it.
    """
    return ticket.apply_(rebuild(ticket) if model is None else model).eval()


def check_labels(labels: Any, classes: int) -> list[str]:
    """Return the labels of `meta`, one for each class; a class without a name has its number.

    Raises:
        TicketError: they are none, or not as many.
    """
    if labels is None:
        labels = [""] * classes
    if not isinstance(labels, list) or any(not isinstance(label, str) for label in labels):
        raise TicketError(f"meta.labels must be a list of strings, got {str(labels)[:80]}")
    if len(labels) != classes:
        raise TicketError(f"meta.labels must be {classes} labels, one per output of the network, got {len(labels)}")
    return [label if label.strip() else f"class {number}" for number, label in enumerate(labels)]


def check_per_channel(meta: Any, field: str, channels: int, default: float) -> list[float]:
    """Return `mean` or `std` of `meta`, one number for each channel.

    Raises:
        TicketError: they are none, or not as many.
    """
    values = meta.get(field, [default] * channels)
    if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
        raise TicketError(f"meta.{field} must be a list of numbers, got {str(values)[:80]}")
    if len(values) != channels or (field == "std" and min(values) <= 0):
        raise TicketError(f"meta.{field} must be {channels} numbers, a std above 0, got {str(values)[:80]}")
    return values


def check_entries(
    ticket: Ticket, language: str, known_laws: Collection[str], knows: Callable[[type[Method]], bool]
) -> None:
    """Refuse a ticket that a reader in another language cannot read: other laws, methods or dtypes than it knows."""
    if ticket.law is None:
        raise TicketError(f"its weights are those of a pretrained model, which a reader in {language} does not have")
    law = type(ticket.law)
    if law.__name__ not in known_laws or law is not getattr(laws, law.__name__):
        raise TicketError(f"no {language} for the weights law {law.__name__}")
    dtypes = {name: entry.dtype for name, entry in ticket.tensors.items()}
    dtypes |= {name: tensor.dtype for name, tensor in ticket.extra.items() if tensor.is_floating_point()}
    for name, dtype in dtypes.items():
        if dtype is not torch.float32:
            raise TicketError(f"{name!r} is {dtype}; a reader in {language} reads torch.float32")
    built_in = {method.__name__: method for method in METHODS.values()}
    for name, method in list_methods(ticket):
        # In a ticket a method is its name: another one of the same name is read as the built-in one.
        if built_in.get(method.__name__, method) is not method or not knows(method):
            raise TicketError(f"{name!r}: no {language} for the method {method.__name__}")


def list_methods(ticket: Ticket) -> list[tuple[str, type[Method]]]:
    """Return (tensor, method) for all methods of a ticket, those inside others too."""
    found = []
    for name, entry in ticket.tensors.items():
        method = entry.method
        while isinstance(method, Method):
            found.append((name, type(method)))
            method = getattr(method, "of", None)
    return found


def identify(ticket: Ticket) -> list[Any]:
    """Return what a ticket says of its network's code, by which tickets of two networks of equal tensors differ."""
    told = ticket.meta.get(KEY)
    return json.loads(json.dumps([ticket.built_by, told if isinstance(told, dict) else None]))
