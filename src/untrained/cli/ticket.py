"""The commands about what was found: its accuracy, its cost, its speed, and other forms of it."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from untrained._version import __version__
from untrained.cli.app import app
from untrained.terminal.text import print_facts, print_table, say

if TYPE_CHECKING:
    from untrained.tickets.ticket import Ticket


@app.command(name="eval")
def evaluate(
    ticket: Path,
    /,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    method: str | None = None,
    amp: bool = False,
) -> None:
    """Accuracy of a ticket's network on test data, and the sha256 of its file.

    Args:
        ticket: The ticket; its network must be one of ours.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
        data: Data set: a known name or a folder of images (default: the one it was found on).
        data_dir: Where the data set is, or where to download it to.
        amp: Compute in bfloat16.
    """
    import torch

    from untrained.data.batches import Batches
    from untrained.data.dataset import Split, find_folder, load_data
    from untrained.search.evaluation import evaluate as measure
    from untrained.tickets.ticket import Ticket, naming, rebuild

    _know(method)
    read = Ticket.load(ticket)
    with naming(ticket):
        meta = _task_of(read)
        network = read.apply_(rebuild(read))
    name, (_, height, width) = data or meta["data"], meta["shape"]
    test = load_data(name, data_dir, size=None if find_folder(name) is None else (height, width))
    labels = [unicodedata.normalize("NFC", label) for label in meta["labels"]]
    if list(test.shape) != meta["shape"] or sorted(test.labels) != sorted(labels):
        raise ValueError(
            f"{ticket} is for images {tuple(meta['shape'])} of {_classes(meta['labels'])}; "
            f"{test.name} has {test.shape} of {_classes(test.labels)}"
        )
    classes = torch.tensor(
        [labels.index(label) for label in test.labels], device="cpu"
    )  # another order in older tickets
    batches = Batches(Split(test.test.images, classes[test.test.labels]), 500, mean=meta["mean"], std=meta["std"])
    result = measure(network, batches, amp=amp)
    say(f"accuracy  {result.accuracy:.2%} on {result.examples:,} test images of {test.name}")
    print(f"sha256    {hashlib.sha256(ticket.read_bytes()).hexdigest()}")


@app.command
def info(ticket: Path | None = None, /, *, method: str | None = None, system: bool = False) -> None:
    """What a ticket says of itself, what it keeps, and what it costs; or what runs here.

    Args:
        ticket: The ticket.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
        system: Say instead which versions, threads and kernels are used on this machine, and why.
    """
    from untrained.tickets.summary import summary
    from untrained.tickets.ticket import Ticket

    if (ticket is None) != system:
        raise ValueError("info needs a ticket, or --system instead")
    if ticket is None:
        print_facts(_system())
        return
    _know(method)
    read = Ticket.load(ticket)
    print_facts(_facts(read))
    print(f"\n{summary(read)}")


@app.command
def verify(ticket: Path, /, *, method: str | None = None) -> None:
    """Draw every weight of a ticket again, and check the sha256 of them all.

    Args:
        ticket: The ticket.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
    """
    from untrained.tickets.ticket import Ticket, naming

    _know(method)
    read = Ticket.load(ticket)
    with naming(ticket):
        read.verify()
    say(f"{ticket}: good, its weights have sha256 {read.weights_sha256}")


@app.command
def bench(ticket: Path, /, *, batch: str = "1,8,64", method: str | None = None) -> None:
    """How fast a ticket's network runs here: dense, bfloat16, int8, and packed into about two bits per weight.

    One thread. The error is the largest difference from dense float32 over the largest output, on random inputs.

    Args:
        ticket: The ticket; its network must be one of ours.
        batch: How many inputs at a time: sizes with commas between them.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
    """
    from untrained.packed.bench import bench as run
    from untrained.packed.bench import verdict
    from untrained.tickets.ticket import Ticket, naming

    _know(method)
    if not all(size.strip().isdecimal() for size in batch.split(",")):
        raise ValueError(f"--batch must be sizes such as 1,8,64, got {batch!r}")
    read = Ticket.load(ticket)
    with naming(ticket):
        rows = run(read, [int(size) for size in batch.split(",")])
    cells = [(r.variant, str(r.batch), f"{r.ms:,.3f}", f"{r.bytes:,}", f"{r.error:.1e}") for r in rows]
    print_table(("how it runs", "batch", "ms", "bytes of weights", "error"), cells)
    print("\n".join(verdict(rows)))


@app.command
def report(run: Path, /) -> None:
    """Write report.html into the folder of a run: one page about what was found, and how, for your browser.

    It needs no network, and nothing is computed anew. `find` and `wann` write it themselves when they are done.

    Args:
        run: The run's folder: of `find`, `wann`, a network of `compare`, or `fit(out=…)`.
    """
    from untrained.report import write_report
    from untrained.runs.run import read_run
    from untrained.wann.runs import report as wann

    if wann.holds_network(run):
        page = wann.write_report(run)
    else:
        page = write_report(run)
        for gap in read_run(run).gaps:
            say(f"not shown: {gap}")
    say(f"{page}: {page.stat().st_size:,} bytes")


@app.command
def export(
    ticket: Path,
    /,
    *,
    to: Literal["html", "onnx", "safetensors", "torch"],
    out: Path | None = None,
    method: str | None = None,
) -> None:
    """Write a ticket's network for something else.

    html: one page that draws the weights from the seed and runs the network in a browser, to draw into and share.
    onnx: for ONNX runtimes. safetensors, torch: every weight as a plain tensor, for `load_state_dict`.

    Args:
        ticket: The ticket; its network must be one of ours.
        to: What to write.
        out: The file (default: beside the ticket, with the ending that suits).
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
    """
    from untrained import export as formats
    from untrained.tickets.ticket import Ticket, naming

    _know(method)
    out = out or ticket.with_suffix({"torch": ".pt"}.get(to, f".{to}"))
    if out.resolve() == ticket.resolve():
        raise ValueError(f"--out: {out} is the ticket itself")
    write = {
        "html": formats.to_html,
        "onnx": formats.to_onnx,
        "safetensors": formats.to_safetensors,
        "torch": formats.to_torch,
    }[to]
    read = Ticket.load(ticket)
    with naming(ticket):
        write(read, out)
    say(f"{out}: {out.stat().st_size:,} bytes")


def _know(method: str | None) -> None:
    """Import somebody's own method, so that tickets may name it."""
    if method is not None:
        from untrained.experiments.by_name import own_class

        own_class(method)


def _classes(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:3]) + (", …" if len(labels) > 3 else "")
    return f"{len(labels)} classes ({shown})"


def _task_of(ticket: Ticket) -> dict[str, Any]:
    """The facts in `meta` that an evaluation needs, checked."""
    from untrained.tickets.header import TicketError

    meta = ticket.meta
    lists = {name: meta.get(name) for name in ("shape", "labels", "mean", "std")}
    kinds = {"shape": int, "labels": str, "mean": float, "std": float}
    right = isinstance(meta.get("data"), str) and all(
        isinstance(given, list) and given and all(type(entry) is kinds[name] for entry in given)
        for name, given in lists.items()
    )
    if not right or len(meta["shape"]) != 3 or not len(meta["mean"]) == len(meta["std"]) == meta["shape"][0]:
        raise TicketError("it does not say what data it is for; evaluate it from Python")
    return dict(meta)


def _system() -> dict[str, object]:
    import platform

    import torch

    from untrained.native.library import levels, status

    kernels = status()
    if kernels.library is None:
        says = f"none: {kernels.reason}; torch's own operations are used, and nothing is lost but speed"
    else:
        says = f"{kernels.level}, of {', '.join(levels())} here, in {kernels.library._name}"
    return {
        "untrained": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "kernels": says,
    }


def _facts(ticket: Ticket) -> dict[str, object]:
    method = {str(entry.method): None for entry in ticket.tensors.values() if entry.method is not None}
    network = ticket.built_by
    facts: dict[str, object] = {
        "seed": ticket.seed,
        "weights": ticket.law or "those of the pretrained model",
        "method": ", ".join(method),
        "network": "not one of ours" if network is None else f"{network['name']} {network['arguments']}",
    }
    for name in ("data", "accuracy", "val_accuracy"):
        if name in ticket.meta:
            facts[name] = ticket.meta[name]
    return facts
