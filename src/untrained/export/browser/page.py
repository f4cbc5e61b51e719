"""A found network as one HTML file that runs anywhere without a server.

The page holds the ticket as it is. A reader in JavaScript, written from docs/format.md alone, makes the weights from
the seed again, checks the ticket's hashes and runs the network.
"""

from __future__ import annotations

import base64
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup
from torch import nn

from untrained import methods
from untrained.data.dataset import load_data
from untrained.export.browser.program import program_of
from untrained.export.network import found_network, input_shape
from untrained.files import written_whole
from untrained.methods import Method
from untrained.tickets.header import TicketError
from untrained.tickets.summary import summary
from untrained.tickets.ticket import Ticket
from untrained.weights import laws as weights

_SCRIPTS = "sha256 json header ticket weights network picture edge_flow numbers page".split()
_METHODS = (
    "EdgePopup RandomSubnetwork Dense GemMiner FedPM RelaxedBernoulli Threshold SignedSupermask Multicoated Bernoulli "
    "Biprop SlotMachines IteRand PartlyFrozen"
).split()
_LAWS = (
    "SignedConstant UnsignedConstant KaimingNormal KaimingUniform XavierNormal XavierUniform XavierConstant Standard "
    "Prototype"
).split()
# How a data set's images were made: the drawing is scaled into a box of so many pixels and centred so.
_FITS = {"mnist": {"box": 20, "by": "mass"}}
_DRAWN = {"digits": "a digit", "mnist": "a digit", "kmnist": "a character"}


def to_html(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write a page that runs the network in a browser, whole or not at all.

    It is one file of its own: it asks nothing of any network. One can draw on it or give it a picture, and it shows
    the class probabilities and which edges carried them.

    Args:
        ticket: the ticket, its weights drawn from the seed.
        path: the HTML file.
        model: a freshly built model of the ticket's architecture. May be left out for the networks of
            `untrained.models`.

    Raises:
        TicketError: the weights are those of a pretrained model or not float32, a method, law or layer is unknown to
            the page, `meta` does not fit the network, or the shape of its input is not known.
        OSError: the file cannot be written.
    """
    _check_readable(ticket)
    network, shape = found_network(ticket, model), input_shape(ticket)
    program = program_of(network, shape)
    page = _page(ticket, network, {"shape": shape, "ops": program})
    with written_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def _check_readable(ticket: Ticket) -> None:
    """Raise unless the page's reader knows everything that this ticket is made of."""
    if ticket.law is None:
        raise TicketError("its weights are those of a pretrained model, which a browser page cannot hold")
    law = type(ticket.law)
    if law is not getattr(weights, law.__name__, None) or law.__name__ not in _LAWS:
        raise TicketError(f"no JavaScript for the weights law {law.__name__}")
    for name, entry in ticket.tensors.items():
        if entry.dtype is not torch.float32:
            raise TicketError(f"{name!r} is {entry.dtype}; a browser page reads torch.float32")
        method = entry.method
        while isinstance(method, Method):
            kind = type(method)
            if kind.__module__.split(".")[:2] != methods.__name__.split(".") or kind.__name__ not in _METHODS:
                raise TicketError(f"{name!r}: no JavaScript for the method {kind.__name__}")
            method = getattr(method, "of", None)
    for name, tensor in ticket.extra.items():
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            raise TicketError(f"{name!r} is {tensor.dtype}; a browser page reads torch.float32")


def _page(ticket: Ticket, network: nn.Module, program: dict[str, Any]) -> str:
    data = ticket.to_bytes()
    classes = program["ops"][-1]["shape"][0]
    kind = _kind(program["shape"])
    name = ticket.meta.get("data")
    name = name.encode(errors="replace").decode() if isinstance(name, str) else ""  # half a character cannot be written
    architecture = (ticket.built_by or {}).get("name", type(network).__name__)
    kept = summary(ticket)
    trained = sum(p.numel() for parameter, p in network.named_parameters() if parameter in ticket.extra)
    facts = {
        "ticket": base64.b64encode(data).decode(),
        "program": program,
        "kind": kind,
        "labels": _labels(ticket, classes),
        "fit": _fit(ticket, name, program["shape"]),
        "examples": _examples(name, program["shape"]),
    } | _normalisation(ticket, program["shape"], kind)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_file("page.html"))
    accuracy = ticket.meta.get("accuracy")
    return template.render(
        css=Markup(_file("page.css")),
        script=Markup("\n".join(_file(f"{script}.js") for script in _SCRIPTS)),
        # Inside a script element only "<" could end it, and JSON may write any character by its number.
        facts=Markup(json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")),
        kind=kind,
        data=name,
        drawn=_DRAWN.get(name, "a picture"),
        architecture=architecture,
        summary=kept,
        trained=trained,
        masked=all(int(codes.min()) >= 0 and int(codes.max()) <= 1 for codes in ticket.codes.values() if codes.numel()),
        accuracy=accuracy if isinstance(accuracy, float) else None,
        law=type(ticket.law).__name__,
        methods=sorted({type(entry.method).__name__ for entry in ticket.tensors.values() if entry.method}),
        classes=classes,
    )


def _kind(shape: list[int]) -> str:
    """How one gives the network an input: a drawing for grey images, a picture for coloured ones, or numbers."""
    if len(shape) != 3 or max(shape[1:]) > 1024:
        return "numbers"
    return {1: "drawing", 3: "picture"}.get(shape[0], "numbers")


def _fit(ticket: Ticket, name: str, shape: list[int]) -> dict[str, Any] | None:
    """How a drawing is brought to the form of the data set's images; None: as large as it goes, in the middle."""
    mean = ticket.meta.get("mean")
    if name == "digits" and shape == [1, 8, 8] and isinstance(mean, list) and mean:
        return {"widest": 0.75, "mean": mean[0]}
    return _FITS.get(name)


def _labels(ticket: Ticket, classes: int) -> list[str]:
    labels = ticket.meta.get("labels")
    if labels is None:
        return [f"class {number}" for number in range(classes)]
    if not isinstance(labels, list) or any(not isinstance(label, str) for label in labels):
        raise TicketError(f"meta.labels must be a list of strings, got {str(labels)[:80]}")
    if len(labels) != classes:
        raise TicketError(f"meta.labels has {len(labels)} labels, expected {classes}, one per output of the network")
    return [label if label.strip() else f"class {number}" for number, label in enumerate(labels)]


def _normalisation(ticket: Ticket, shape: list[int], kind: str) -> dict[str, list[float]]:
    """Mean and standard deviation per channel; 0 and 1 where the ticket says nothing."""
    if kind == "numbers":  # they are taken as they are
        return {}
    found = {}
    for field, default in (("mean", 0.0), ("std", 1.0)):
        values = ticket.meta.get(field, [default] * shape[0])
        if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
            raise TicketError(f"meta.{field} must be a list of numbers, got {str(values)[:80]}")
        if len(values) != shape[0] or (field == "std" and min(values) <= 0):
            raise TicketError(f"meta.{field} must be {shape[0]} numbers, a std above 0, got {str(values)[:80]}")
        found[field] = values
    return found


def _examples(name: str, shape: list[int]) -> dict[str, Any] | None:
    """The first test image of each digit, for those who cannot draw; other data sets do not come with the package."""
    if name != "digits" or shape != [1, 8, 8]:
        return None
    test = load_data("digits").test
    first = [int((test.labels == label).nonzero()[0]) for label in range(10)]
    pixels = test.images[torch.tensor(first, device="cpu")]
    return {
        "pixels": base64.b64encode(pixels.numpy().tobytes()).decode(),
        "labels": [str(label) for label in range(10)],
    }


def _file(name: str) -> str:
    return resources.files("untrained.export.browser").joinpath(name).read_text(encoding="utf-8")
