"""A found network as plain dense tensors, for `load_state_dict`."""

from __future__ import annotations

import io
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from untrained.export.network import build_network
from untrained.files import atomic_write
from untrained.tickets.ticket import Ticket


def to_safetensors(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write the dense state dict as one safetensors file.

    Args:
        ticket: the ticket.
        path: the file; `safetensors.torch.load_file` reads it, for the model's `load_state_dict`.
        model: a freshly built model of the ticket's architecture, which becomes the network. Needed where the ticket
            was found on a pretrained model, and for a model of another kind whose layers share tensors.

    Raises:
        TicketError: the ticket needs a pretrained model, or does not fit the one given.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_safetensors(ut.Ticket.of(model), "network.safetensors")
        >>> import safetensors.torch
        >>> ut.models.fc((16,)).load_state_dict(safetensors.torch.load_file("network.safetensors"))
        <All keys matched successfully>
    """
    state = _state_dict(ticket, model)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(state, metadata={"format": "pt"}))


def to_torch(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write the dense state dict as a file of PyTorch.

    Args:
        ticket, model: as in `to_safetensors`.
        path: the file; `torch.load(path, weights_only=True)` reads it.

    Raises:
        TicketError, OSError: as in `to_safetensors`.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_torch(ut.Ticket.of(model), "network.pt")
        >>> ut.models.fc((16,)).load_state_dict(torch.load("network.pt", weights_only=True))
        <All keys matched successfully>
    """
    written = io.BytesIO()  # torch's errors for a full disk are no OSError
    torch.save(_state_dict(ticket, model), written)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(written.getbuffer())


def _state_dict(ticket: Ticket, model: nn.Module | None) -> dict[str, Tensor]:
    if model is None and ticket.built_by is None and ticket.law is not None:
        state = dict(ticket.rebuilt()) | dict(ticket.extra)
    else:
        state = build_network(ticket, model).state_dict()
    # Layers may share a tensor, and safetensors needs a separate one for each name.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(state.items())}
