"""The network of a ticket, ready to be exported."""

from __future__ import annotations

from torch import nn

from untrained.tickets.networks import read_input_shape as read_input_shape
from untrained.tickets.networks import rebuild
from untrained.tickets.ticket import Ticket


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
