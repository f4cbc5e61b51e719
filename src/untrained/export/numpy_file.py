"""A found network as one file of Python that needs numpy alone."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from untrained._version import __version__
from untrained.export.browser.program import Op, write_program
from untrained.export.network import build_network, check_entries, identify, read_input_shape
from untrained.files import atomic_write
from untrained.methods import METHODS
from untrained.tickets.container import DICTIONARY
from untrained.tickets.ticket import Ticket
from untrained.weights import laws

_ABOUT = '''"""Reader of a found network, with numpy alone: it draws a ticket's weights from their seed, and runs them.

    python {module}.py found.ticket image.npy  prints the most probable classes of an input or a batch
    model = {module}.load("found.ticket")  checks the hashes of the ticket
    logits = model(model.normalise(pixels))  of a batch (n, *SHAPE): whole numbers 0…255 or floats 0…1

Written by untrained {version}, for tickets of one network: the data below are its operations. The ticket's file, of
format 2, is described in docs/format.md of untrained.
"""
'''


def to_numpy(ticket: Ticket, path: str | Path, model: nn.Module | None = None) -> None:
    """Write a readable file of Python that loads tickets of this network and runs it, with numpy alone.

    `load(path)` of the file checks the ticket's hashes, draws its weights and returns the network, which takes
    normalised inputs (batch, *shape). The ticket is not in the file: it reads any that was found on the same network,
    and refuses others. An unfinished file is never left behind.

    Args:
        ticket: the ticket, its weights drawn from the seed, float32.
        path: the file.
        model: a freshly built model of the ticket's architecture; not needed for the networks of `untrained.models`.

    Raises:
        TicketError: the weights are those of a pretrained model or not float32, a method, law or layer is not one that
            the file knows, or the shape of the network's input is not known.
        OSError: the file cannot be written.

    Example:
        >>> model = ut.mask_(ut.models.fc((16,)), ut.EdgePopup(keep=0.5), seed=0)
        >>> ut.export.to_numpy(ut.Ticket.of(model), "found.py")
        >>> import pathlib
        >>> "torch" in pathlib.Path("found.py").read_text(encoding="utf-8")
        False
    """
    check_entries(ticket, "numpy", vars(laws), lambda method: method in METHODS.values())
    network, shape = build_network(ticket, model), read_input_shape(ticket)
    text = _write(Path(path), shape, write_program(network, shape), ticket)
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def _write(path: Path, shape: list[int], program: list[Op], ticket: Ticket) -> str:
    reader, runner = (_read_part(name) for name in ("ticket.py", "network.py"))
    imports = sorted(
        {*re.findall(r"^import \w+$|^from pathlib .*$", reader + runner, re.MULTILINE)}, key=lambda i: (i[0] == "f", i)
    )
    reader, runner = (
        re.split(r"^import numpy as np\n", part, flags=re.MULTILINE)[1].strip() for part in (reader, runner)
    )
    runner = runner[runner.index("# end\n") + 6 :].strip()
    tensors = {name: list(entry.shape) for name, entry in (*ticket.tensors.items(), *ticket.extra.items())}
    operations = "".join(f"    {_literal(op)},\n" for op in program)
    data = (
        f"SHAPE = {shape}\nOPERATIONS = [\n{operations}]\nTENSORS = {_literal(tensors)}\n"
        f"NETWORK = {_literal(identify(ticket))}\n"
    )
    reader = reader.replace('DICTIONARY = ""', f"DICTIONARY = {DICTIONARY.decode()!r}")
    module = path.stem if path.stem.isidentifier() and path.suffix == ".py" else "found"
    about = _ABOUT.format(module=module, version=__version__)
    return "\n".join([about, *imports, "", "import numpy as np", "", data, f"{reader}\n\n", f"{runner}\n"])


def _literal(facts: Any) -> str:
    """Return facts of JSON as a literal of Python: data, whatever the text in it."""
    return repr(json.loads(json.dumps(facts)))


def _read_part(name: str) -> str:
    return resources.files("untrained.export.standalone").joinpath(name).read_text(encoding="utf-8")
