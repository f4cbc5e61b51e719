"""Facts that `info` prints: of a ticket, or of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from untrained._version import __version__

if TYPE_CHECKING:
    from untrained.tickets.ticket import Ticket


def describe_system() -> dict[str, object]:
    """Return the versions, threads and kernels used on this machine."""
    import platform

    import torch

    from untrained.native import processor
    from untrained.native.library import levels, status

    kernels = status()
    if kernels.library is None:
        text = f"none: {kernels.reason}; torch's operations are used, with the same results but slower"
    else:
        text = f"{kernels.level}, of {', '.join(levels())} here, in {kernels.library._name}"
    return {
        "untrained": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "processor": processor.name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "kernels": text,
    }


def list_facts(ticket: Ticket) -> dict[str, object]:
    """Return the facts of a ticket, but for those about its weights and its size."""
    from untrained.data.dataset import without_place

    method = {str(entry.method): None for entry in ticket.tensors.values() if entry.method is not None}
    facts: dict[str, object] = {
        "format": ticket.format,
        "seed": ticket.seed,
        "weights": ticket.law or "those of the pretrained model",
        "method": ", ".join(method),
        **_describe_network(ticket),
    }
    for name in ("data", "accuracy", "val_accuracy"):
        if name in ticket.meta:
            fact = ticket.meta[name]
            facts[name] = without_place(fact) if name == "data" and isinstance(fact, str) else fact
    return facts


def _describe_network(ticket: Ticket) -> dict[str, object]:
    from untrained.models.brought import Description

    if ticket.built_by is not None:
        return {"network": f"{ticket.built_by['name']} {ticket.built_by['arguments']}"}
    if (told := Description.of(ticket.meta)) is None:
        return {"network": "not one of untrained.models: from Python, ut.load(path, model)"}
    code = {"sha256 of its code": told.sha256} if told.sha256 else {}
    return {"network": told.text, **code, **({"needs": told.flag} if code or ticket.law is None else {})}
