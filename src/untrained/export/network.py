"""The network of a ticket, ready to be exported."""

from __future__ import annotations

from typing import Any

from torch import nn

from untrained.tickets.header import TicketError
from untrained.tickets.ticket import Ticket, rebuild


def build_network(ticket: Ticket, model: nn.Module | None = None) -> nn.Module:
    """Return the found network: plain, dense, frozen, in evaluation mode.

    Args:
        ticket: the ticket.
        model: a freshly built model of the ticket's architecture, which becomes the network; the pretrained one for a
            ticket found with `weights=None`. Not needed for the networks of `untrained.models`.

    Raises:
        TicketError: a model is needed, or the ticket does not fit it.
    """
    if model is None and ticket.law is None:
        raise TicketError("its weights are those of a pretrained model: pass that model")
    if model is None and ticket.built_by is None:
        raise TicketError("its network is not one of untrained.models: pass a freshly built model")
    return ticket.apply_(rebuild(ticket) if model is None else model).eval()


def read_input_shape(ticket: Ticket) -> list[int]:
    """Return the shape of one input, from `meta` or else from the network's arguments.

    Raises:
        TicketError: neither has it.
    """
    arguments: Any = (ticket.built_by or {}).get("arguments", {})
    shape = ticket.meta.get("shape", arguments.get("shape"))
    if not isinstance(shape, list) or not shape or any(type(side) is not int or side < 1 for side in shape):
        raise TicketError(f"meta.shape must be a list of sizes such as [1, 28, 28], got {shape!r}")
    return shape
