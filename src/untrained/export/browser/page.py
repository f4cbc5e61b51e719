"""A found network as one HTML file that runs in a browser without a server.

The page holds the ticket unchanged. A reader in JavaScript, written from docs/format.md alone, makes the weights from
the seed again, checks the ticket's hashes and runs the network.
"""

from __future__ import annotations

import base64
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup
from torch import nn

from untrained.data.dataset import load_data
from untrained.data.splits import Split
from untrained.export.browser.head import write_head
from untrained.export.browser.program import write_program
from untrained.export.network import (
    build_network,
    check_entries,
    check_labels,
    check_per_channel,
    list_methods,
    read_input_shape,
)
from untrained.files import atomic_write
from untrained.methods import Method
from untrained.tickets.networks import name_of
from untrained.tickets.summary import summary
from untrained.tickets.ticket import Ticket

READER = "sha256 json header ticket inflate weights compact network".split()
_SCRIPTS = [*READER, *"dom answer pen picture edge_flow board numbers choices alive page".split()]
# How a data set's images were made: the drawing is scaled into a box of so many pixels and centred so.
_FITS = {"mnist": {"box": 20, "by": "mass"}}
_DRAWN = {"digits": "a digit", "mnist": "a digit", "kmnist": "a character"}
# A method that overrides none of these is a mask: its effective weights are those drawn where the code is not 0.
_MEANING_OF_CODES = "frozen", "given", "decode", "shown"


def to_html(ticket: Ticket, path: str | Path, model: nn.Module | None = None, *, examples: Split | None = None) -> None:
    """Write a page that runs the network in a browser.

    The file needs no other file and no network. The user draws on it or gives it a picture, and it shows the class
    probabilities and which edges carried them. An unfinished file is never left behind.

    Args:
        ticket: the ticket, its weights drawn from the seed.
        path: the HTML file.
        model: a freshly built model of the ticket's architecture; not needed for the networks of `untrained.models`.
        examples: test images, of which the first of each of ten classes come with the page; None: those of the digits
            that come with the package, if the network is for them.

    Raises:
        ValueError: the examples do not have the shape of the network's input.
        TicketError: the weights are those of a pretrained model or not float32, there is no JavaScript for a method,
            law or layer, `meta` does not fit the network, or the shape of its input is not known.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,), shape=(1, 8, 8)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_html(ut.Ticket.of(model), "network.html")
        >>> import pathlib
        >>> "never trained" in pathlib.Path("network.html").read_text(encoding="utf-8")
        True
    """
    network, reading = read_network(ticket, model)
    page = _render(ticket, network, reading, examples)
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")


def is_mask(method: type[Method]) -> bool:
    """Return True if the method's effective weights are the drawn ones where the code is not 0, by definition."""
    return all(getattr(method, name) is getattr(Method, name) for name in _MEANING_OF_CODES)


def read_network(ticket: Ticket, model: nn.Module | None) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network of a ticket, and what the reader in JavaScript needs beside the ticket to run it.

    Raises:
        TicketError: the reader has no such method, law or layer; the network or its input's shape is not known.
    """
    in_script = _find_in_script("methods")
    check_entries(ticket, "JavaScript", _find_in_script("laws"), lambda m: is_mask(m) or m.__name__ in in_script)
    network, shape = build_network(ticket, model), read_input_shape(ticket)
    masks = sorted({method.__name__ for _, method in list_methods(ticket) if is_mask(method)})
    return network, {"masks": masks, "program": {"shape": shape, "ops": write_program(network, shape)}}


def _find_in_script(table: str) -> set[str]:
    """Return the names of a table of the reader, each of which has a line such as `laws.Standard = …`."""
    return set(re.findall(rf"^{table}\.(\w+) = ", read_file("weights.js"), re.MULTILINE))


def _render(ticket: Ticket, network: nn.Module, reading: dict[str, Any], examples: Split | None) -> str:
    shape, classes = reading["program"]["shape"], reading["program"]["ops"][-1]["shape"][0]
    kind, meta = _choose_input(shape), ticket.meta
    name = meta.get("data")
    name = name.encode(errors="replace").decode() if isinstance(name, str) else ""  # a lone surrogate is no UTF-8
    facts = {
        "ticket": base64.b64encode(ticket.to_bytes()).decode(),
        **reading,
        "kind": kind,
        "labels": check_labels(meta.get("labels"), classes),
        "fit": _FITS.get(name),
        "examples": None,
    }
    if kind != "numbers":  # numbers are not normalised
        facts |= {
            "mean": check_per_channel(meta, "mean", shape[0], 0.0),
            "std": check_per_channel(meta, "std", shape[0], 1.0),
        }
    if name == "digits" and shape == [1, 8, 8]:
        facts["fit"] = {"widest": 0.75, "mean": facts["mean"][0]} if "mean" in meta else None
        examples = examples or load_data("digits").test
    if examples is not None and kind != "numbers":
        facts["examples"] = _choose_examples(examples, shape, facts["labels"])
    accuracy, size = meta.get("accuracy"), summary(ticket)
    trained = sum(p.numel() for parameter, p in network.named_parameters() if parameter in ticket.extra)
    masked = all(int(codes.min()) >= 0 and int(codes.max()) <= 1 for codes in ticket.codes.values() if codes.numel())
    lead = f"Its {size.weights:,} weights were drawn at random from one seed. What was learned is only "
    lead += f"which {size.kept:,} of them to keep." if masked else "a small integer for each, its code."
    architecture = name_of(ticket) or type(network).__name__
    title = f"{name or architecture}: a network that was {'hardly' if trained else 'never'} trained"
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(read_file("page.html"))
    return template.render(
        css=Markup(read_file("page.css") + read_file("answer.css")),
        script=Markup("\n".join(read_file(f"{script}.js") for script in _SCRIPTS)),
        facts=write_facts(facts),
        kind=kind,
        data=name,
        drawn=_DRAWN.get(name, "a picture"),
        head=write_head(title, lead),
        lead=lead,
        architecture=architecture,
        summary=size,
        trained=trained,
        # Stored tensors, such as running statistics, are those of the found choice alone.
        part=_name_part(size.kept / size.weights) if masked and not ticket.extra else None,
        accuracy=accuracy if isinstance(accuracy, float) else None,
        law=type(ticket.law).__name__,
        methods=sorted({type(entry.method).__name__ for entry in ticket.tensors.values() if entry.method}),
        classes=classes,
    )


def _name_part(share: float) -> str | None:
    """Return the part of the weights that is kept, in words; None if that is all of them."""
    if share == 1:
        return None
    return "half" if abs(share - 0.5) < 0.005 else f"{100 * share:.3g} %"


def _choose_input(shape: list[int]) -> str:
    """Return "drawing" for grey images, "picture" for coloured ones, else "numbers"."""
    if len(shape) != 3 or max(shape[1:]) > 1024:
        return "numbers"
    return {1: "drawing", 3: "picture"}.get(shape[0], "numbers")


def _choose_examples(split: Split, shape: list[int], labels: list[str]) -> dict[str, Any]:
    """Return the first image of each of the first ten classes."""
    found = [(split.labels == label).nonzero() for label in range(len(labels))]
    first = torch.tensor([int(each[0]) for each in found if len(each)][:10], dtype=torch.int64, device="cpu")
    images = split.images[first]
    if list(images.shape[1:]) != shape:
        raise ValueError(f"examples must be images of shape {tuple(shape)}, got {tuple(images.shape[1:])}")
    pixels = base64.b64encode(images.numpy().tobytes()).decode()
    return {"pixels": pixels, "labels": [labels[label] for label in split.labels[first].tolist()]}


def write_facts(facts: dict[str, Any]) -> Markup:
    """Return facts as JSON for a script element of a page."""
    # Inside a script element only "<" could end it, and JSON may write any character by its number.
    return Markup(json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"))


def read_file(name: str) -> str:
    return resources.files("untrained.export.browser").joinpath(name).read_text(encoding="utf-8")
