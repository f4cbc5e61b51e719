"""The command `predict`: the classes of examples in files."""

from __future__ import annotations

import json as notation
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untrained.cli.app import app
from untrained.cli.ticket import OwnMethod, OwnModel, TicketFile, read_ticket
from untrained.terminal.text import say

if TYPE_CHECKING:
    from torch import Tensor, nn

    from untrained.data.example_files import Input
    from untrained.tickets.ticket import Ticket

_BEST = 3
_LIGHT_ON_DARK = ("digits", "mnist", "fashion-mnist", "kmnist")


@app.command
def predict(
    ticket: TicketFile, /, *files: Path, json: bool = False, model: OwnModel = None, method: OwnMethod = None
) -> None:
    """Print the three most probable classes of pictures, arrays of numpy or rows of CSV files.

    Pictures are scaled and cropped to the network's size, and normalised as in the search. A `.npy` file holds one
    example or a batch, a row of a `.csv` file one example: pixels 0…255 as whole numbers, or floats 0…1; anything, if
    the ticket has no mean and std. A file that cannot be read ends the command.

    Args:
        ticket: The ticket, or the folder of its run.
        files: Pictures, `.npy` or `.csv` files.
        json: Print one JSON object per example and line.
    """
    from untrained.data.example_files import read_examples
    from untrained.export.network import build_network, check_labels
    from untrained.tickets.networks import network_for

    if not files:
        raise ValueError("predict needs a ticket and one or more files")
    with read_ticket(ticket, method) as read:
        network, given = build_network(read, network_for(read, model)), _read_input(read)
        for path in files:
            for numbers, examples in read_examples(path, given):
                probabilities = _probabilities(network, examples, str(path))
                labels = check_labels(read.meta.get("labels"), probabilities.shape[1])
                _warn_of_light(path, examples, given, read.meta)
                for number, row in zip(numbers, probabilities, strict=True):
                    best = list(_rank(labels, row))
                    if json:
                        print(notation.dumps({"file": str(path), "index": number, "best": best}))
                        continue
                    name = path if number is None else f"{path}[{number}]"
                    say(f"{name}  " + ", ".join(f"{one['label']} {one['probability']:.2%}" for one in best))


def _read_input(ticket: Ticket) -> Input:
    """Return the shape of an example, and the mean and std that it is normalised with."""
    from untrained.data.example_files import Input
    from untrained.export.network import check_per_channel, read_input_shape
    from untrained.tickets.header import TicketError

    if (task := ticket.meta.get("task", "classification")) != "classification":
        raise TicketError(f"its task is {task!r}; predict gives classes")
    shape = read_input_shape(ticket)
    if ("mean" in ticket.meta) != ("std" in ticket.meta):
        raise TicketError("its meta has one of mean and std, expected both or none")
    if "mean" not in ticket.meta:
        return Input(tuple(shape), None, None)
    mean, std = (check_per_channel(ticket.meta, field, shape[0], 0.0) for field in ("mean", "std"))
    return Input(tuple(shape), mean, std)


def _probabilities(network: nn.Module, examples: Tensor, what: str) -> Tensor:
    import torch

    kind = next((each.dtype for each in network.parameters() if each.is_floating_point()), torch.float32)
    with torch.inference_mode():
        logits: Any = network(examples.to(kind))
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(examples):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"the network gives {shape} for {len(examples)} examples, expected a number for each class")
    if not logits.isfinite().all():
        raise ValueError(f"{what}: the network's answer is not finite")
    return logits.double().softmax(1)


def _rank(labels: list[str], probabilities: Tensor) -> Iterator[dict[str, Any]]:
    """Yield the most probable classes."""
    for number in probabilities.argsort(descending=True, stable=True)[:_BEST].tolist():
        yield {"class": number, "label": labels[number], "probability": probabilities[number].item()}


def _warn_of_light(path: Path, examples: Tensor, given: Input, meta: Any) -> None:
    """Warn of a picture of dark ink on light paper for a network that saw light on dark."""
    if path.suffix.lower() in (".npy", ".csv") or meta.get("data") not in _LIGHT_ON_DARK or given.std is None:
        return
    assert given.mean is not None
    image = examples[0, 0] * given.std[0] + given.mean[0]
    border = (image[0].mean() + image[-1].mean() + image[:, 0].mean() + image[:, -1].mean()) / 4
    if border > 0.5:
        warnings.warn(f"{path}: light at its edges; the images of {meta['data']} are light on dark", stacklevel=2)
