"""A found network as plain dense tensors, for `load_state_dict`."""

from __future__ import annotations

import io
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from untrained.export.network import found_network
from untrained.files import written_whole
from untrained.tickets.header import TicketError
from untrained.tickets.ticket import Ticket


def to_safetensors(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write the dense state dict as one safetensors file.

    Args:
        ticket: the ticket.
        path: the file; `safetensors.torch.load_file` reads it, for the model's `load_state_dict`.
        model: a freshly built model of the ticket's architecture, which becomes the network. Needed where the ticket
            was found on a pretrained model, and for a model of your own whose layers share tensors.

    Raises:
        TicketError: the ticket needs a pretrained model, or does not fit the one given.
        OSError: the file cannot be written.
    """
    state = _state(ticket, model)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(state, metadata={"format": "pt"}))


def to_torch(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write the dense state dict with `torch.save`; `torch.load(path, weights_only=True)` reads it.

    Args:
        ticket: the ticket.
        path: the file.
        model: as in `to_safetensors`.

    Raises:
        TicketError: the ticket needs a pretrained model, or does not fit the one given.
        OSError: the file cannot be written.
    """
    written = io.BytesIO()  # into a file, torch has errors of its own for a full disk
    torch.save(_state(ticket, model), written)
    with written_whole(path) as unfinished:
        unfinished.write_bytes(written.getbuffer())


def _state(ticket: Ticket, model: nn.Module | None) -> dict[str, Tensor]:
    if model is None and ticket.law is None:
        raise TicketError("its weights are those of a pretrained model: pass that model")
    if model is None and ticket.built_by is None:
        state = dict(ticket.rebuilt()) | dict(ticket.extra)
    else:
        state = found_network(ticket, model).state_dict()
    # Layers may share a tensor, and safetensors wants each name's own.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(state.items())}
