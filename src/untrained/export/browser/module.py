"""A found network as a module of JavaScript, for browsers and node."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from untrained._version import __version__
from untrained.export.browser.page import READER, read_file, read_network
from untrained.export.network import identify
from untrained.files import atomic_write
from untrained.tickets.header import to_json
from untrained.tickets.ticket import Ticket

_ABOUT = """// Reader of a found network: it draws its weights from the seed, and runs them. Written by untrained
// {version}, for tickets of one network; the ticket's file is described in docs/format.md of untrained.
//
//     import {{ load }} from "./found.js";
//     const network = load(await (await fetch("found.ticket")).arrayBuffer());   // node: load(fs.readFileSync(…))
//     network.predict(pixels) // [{{ label, probability }}, …] of one input, channel after channel: bytes or floats 0…1
//     network.logits(network.normalise(pixels))
"""


def to_js(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write a module of JavaScript that loads tickets of this network and runs it, in browsers and node.

    `load(bytes)` of the module checks the ticket's hashes, draws its weights and returns the network. The ticket is not
    in the file: it reads any that was found on the same network, and refuses others. An unfinished file is never left
    behind.

    Args:
        ticket: the ticket, its weights drawn from the seed, float32.
        path: the file.
        model: a freshly built model of the ticket's architecture; not needed for the networks of `untrained.models`.

    Raises:
        TicketError: the weights are those of a pretrained model or not float32, there is no JavaScript for a method,
            law or layer, or the shape of its input is not known.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_js(ut.Ticket.of(model), "found.js")
        >>> import pathlib
        >>> "export function load" in pathlib.Path("found.js").read_text(encoding="utf-8")
        True
    """
    _, reading = read_network(ticket, model)
    facts = {
        **reading,
        "classes": reading["program"]["ops"][-1]["shape"][0],
        "tensors": {name: list(entry.shape) for name, entry in (*ticket.tensors.items(), *ticket.extra.items())},
        "network": to_json(identify(ticket)),
    }
    about = _ABOUT.format(version=__version__)
    text = "\n".join(
        [about, *map(read_file, (f"{name}.js" for name in READER)), f"const facts = {json.dumps(facts)};\n"]
    )
    with atomic_write(path) as unfinished:
        unfinished.write_text(text + read_file("module.js"), encoding="utf-8", newline="\n")
