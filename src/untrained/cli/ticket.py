"""Commands about tickets and runs: `eval`, `info`, `verify`, `bench`, `report` and `export`."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from untrained.cli.app import AsJson, app
from untrained.cli.facts import describe_system, list_facts
from untrained.search.run_files import TICKET
from untrained.terminal.renderings import to_plain
from untrained.terminal.text import Table, print_facts, say

if TYPE_CHECKING:
    from untrained.tickets.ticket import Ticket

_METHOD_HELP = "FILE.py:CLASS of your method, if the ticket was found by one."
OwnMethod = Annotated[str | None, Parameter(help=_METHOD_HELP)]
_MODEL_HELP = "FILE.py:NAME of your network with its arguments in brackets, if the ticket was found on one."
OwnModel = Annotated[str | None, Parameter(help=_MODEL_HELP)]


def _find_ticket(_: type, tokens: Sequence[Token]) -> Path:
    path = Path(tokens[0].value)
    return path / TICKET if path.is_dir() else path


TicketFile = Annotated[Path, Parameter(converter=_find_ticket)]


@app.command(name="eval")
def evaluate(
    ticket: TicketFile,
    /,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    model: OwnModel = None,
    method: OwnMethod = None,
    loss: str | None = None,
    metric: str | None = None,
    amp: bool = False,
    as_json: AsJson = False,
) -> Any:
    """Measure the accuracy, or another metric, of a ticket's network on test data, and print the sha256 of its file.

    Args:
        ticket: The ticket, or the folder of its run.
        data: Data set: a known name, a folder of images, or FILE.py:NAME of your function (default: that of the
            search, but for code: files do not run code).
        data_dir: Folder of the data set, or for its download; for a ticket of a folder of images, where that lies.
        loss, metric: As in find (default: by the type of the labels; the ticket's metric, if it is a built-in one).
        amp: Compute in bfloat16.
    """
    from untrained.experiments.choices import function_of
    from untrained.search.evaluation import evaluate as measure
    from untrained.search.metric import ACCURACY
    from untrained.tickets.networks import network_for, rebuild

    with read_ticket(ticket, method) as read:
        facts = facts_of(read.meta, data)
        network = read.apply_(network_for(read, model) or rebuild(read))
        metric = metric or metric_in(read.meta)
    name, batches = test_batches(ticket, str(ticket), facts, data, data_dir, loss)
    result = measure(network, batches, amp=amp, loss=function_of(loss), metric=function_of(metric))
    what = "images" if facts else "labels or values"
    say(f"{result.metric.words:<8}  {result.metric.show(result.value)} on {result.examples:,} test {what} of {name}")
    print(f"sha256    {_hash_file(ticket)}")
    facts = {"ticket": ticket, "data": name, "sha256": _hash_file(ticket), **result._asdict()}
    return facts | ({"accuracy": result.value} if result.metric == ACCURACY else {})


@app.command
def info(
    ticket: TicketFile | None = None, /, *, method: OwnMethod = None, system: bool = False, as_json: AsJson = False
) -> Any:
    """Print a ticket's facts, the weights it keeps and its size; or the facts of this machine.

    Args:
        ticket: The ticket, or the folder of its run.
        system: Print instead the versions, threads and kernels used on this machine, and the reason.
    """
    from untrained.tickets.summary import summary

    if (ticket is None) != system:
        raise ValueError("info needs a ticket, or --system instead")
    if ticket is None:
        print_facts(system_facts := describe_system())
        return system_facts
    with read_ticket(ticket, method) as read:
        facts, short = list_facts(read), summary(read)
    sha256 = _hash_file(ticket)
    print_facts(facts | {"sha256 of the ticket": sha256})
    print(f"\n{short}")
    facts = {name: fact if isinstance(fact, int | float) else str(fact) for name, fact in facts.items()}
    counted = {"weights": short.weights, "kept": short.kept, **to_plain(short)}
    return {"ticket": ticket, "sha256": sha256, "facts": facts, "summary": counted}


@app.command
def verify(ticket: TicketFile, /, *, model: OwnModel = None, method: OwnMethod = None, as_json: AsJson = False) -> Any:
    """Draw every weight of a ticket again, and check the sha256 of them all; print it, and that of the file.

    A network of your own is needed only for a ticket that was found on its pretrained weights; of another one it is
    also checked that the ticket fits it.

    Args:
        ticket: The ticket, or the folder of its run.
    """
    from untrained.tickets.networks import network_for

    with read_ticket(ticket, method) as read:
        network = network_for(read, model)
        read.verify(network)
        if network is not None:
            read.apply_(network)
    say(f"{ticket}: good, its weights have sha256 {read.weights_sha256}")
    print(f"sha256 of the ticket: {_hash_file(ticket)}")
    return {"ticket": ticket, "good": True, "weights_sha256": read.weights_sha256, "sha256": _hash_file(ticket)}


@app.command
def bench(
    ticket: TicketFile,
    /,
    *,
    batch: str = "1,8,64",
    model: OwnModel = None,
    method: OwnMethod = None,
    as_json: AsJson = False,
) -> Any:
    """Time a ticket's network here: dense, bfloat16, int8, and packed into about two bits per weight.

    One thread. The error is the largest difference from dense float32 over the largest output, on random inputs.

    Args:
        ticket: The ticket, or the folder of its run.
        batch: Numbers of inputs at a time, with commas between them.
    """
    from untrained.packed.bench import bench as run
    from untrained.packed.bench import verdict
    from untrained.tickets.networks import network_for

    if not all(size.strip().isdecimal() for size in batch.split(",")):
        raise ValueError(f"--batch must be sizes such as 1,8,64, got {batch!r}")
    with read_ticket(ticket, method) as read:
        rows = run(read, [int(size) for size in batch.split(",")], network_for(read, model))
    cells = [
        (r.variant + ", emulated" * r.emulated, str(r.batch), f"{r.ms:,.3f}", f"{r.bytes:,}", f"{r.error:.1e}")
        for r in rows
    ]
    Table(("how it runs", "batch", "ms", "bytes of weights", "error"), cells).print()
    if any(r.emulated for r in rows):
        print("emulated: this processor has no instructions for bfloat16; torch computes in float32, and rounds")
    print("\n".join(verdict(rows)))
    return {"ticket": ticket, "rows": rows, "verdict": verdict(rows)}


@app.command
def report(run: Path, /) -> None:
    """Write report.html into the folder of a run, or a page beside a bank's file: its results, for your browser.

    The page needs no network, and shows results without computing them again. `find`, `compare`,
    `sweep`, `frontier` and `wann` write it at their end.

    Args:
        run: The run's folder: of `find`, `compare`, `sweep`, `frontier`, `wann`, a network of one of these, or
            `fit(out=…)`; or a bank's file.
    """
    from untrained.report import write_report
    from untrained.runs.grid import holds_grid, read_grid
    from untrained.runs.run import read_run
    from untrained.wann.runs import report as wann

    if wann.holds_search(run):
        page = wann.write_report(run)
    else:
        page = write_report(run)
        for gap in () if run.is_file() else (read_grid if holds_grid(run) else read_run)(run).gaps:
            say(f"not shown: {gap}")
    say(f"{page}: {page.stat().st_size:,} bytes")


@app.command
def export(
    ticket: TicketFile,
    /,
    *,
    to: Literal["html", "js", "numpy", "onnx", "safetensors", "torch"],
    out: Path | None = None,
    model: OwnModel = None,
    dense: bool = False,
    method: OwnMethod = None,
) -> None:
    """Write a ticket's network in another format.

    html: one page that draws the weights from the seed and runs the network in a browser, to draw into and share.
    onnx: for ONNX runtimes; takes pixels 0..255, and most weights are a fifth of a byte. numpy: a readable file of
    Python that loads tickets of this network, with numpy alone; js: a module of JavaScript that does. safetensors,
    torch: every weight as a plain tensor, for `load_state_dict`.

    Args:
        ticket: The ticket, or the folder of its run.
        to: The format.
        out: The file (default: beside the ticket, with the ending of the format).
        dense: With onnx, write plain floats instead of packed weights, and take normalised images.
    """
    from untrained import export as formats
    from untrained.tickets.networks import network_for

    if dense and to != "onnx":
        raise ValueError(f"--dense is for --to onnx, got --to {to}")
    out = out or ticket.with_suffix({"torch": ".pt", "numpy": ".py"}.get(to, f".{to}"))
    if out.resolve() == ticket.resolve():
        raise ValueError(f"--out: {out} is the ticket itself")
    with read_ticket(ticket, method) as read:
        network = network_for(read, model)
        getattr(formats, f"to_{to}")(read, out, network, **({"dense": True} if dense else {}))
    say(f"{out}: {out.stat().st_size:,} bytes")


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def read_ticket(path: Path, method: str | None) -> Iterator[Ticket]:
    """Read a ticket, whose method may be a class of the user; errors inside the block name the file."""
    from untrained.experiments.by_name import import_method
    from untrained.tickets.file import add_path_to_errors
    from untrained.tickets.ticket import Ticket

    if method is not None:
        import_method(method)
    ticket = Ticket.load(path)
    with add_path_to_errors(path):
        yield ticket


def _describe_classes(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:3]) + (", …" if len(labels) > 3 else "")
    return f"{len(labels)} classes ({shown})"


def facts_of(meta: Mapping[str, Any], data: str | None = None) -> dict[str, Any]:
    """Return the facts in `meta` for an evaluation, checked; none for data that are the user's code, which need none.

    Raises:
        TicketError: one is missing, or of another type; or the data are of code.
    """
    from untrained.data.own import is_own
    from untrained.own_code import spelled
    from untrained.tickets.header import TicketError

    if data is not None and is_own(data):
        return {}
    if isinstance(code := meta.get("data_code"), dict):
        needed = spelled(str(code.get("name")), code.get("arguments") or {})
        raise TicketError(f"it was found on data of code, which no file runs: add --data {needed}")
    good = isinstance(meta.get("data"), str)
    for name, kind in {"shape": int, "labels": str, "mean": float, "std": float}.items():
        values = meta.get(name)
        good = good and isinstance(values, list) and values and all(type(value) is kind for value in values)
    if not good or len(meta["shape"]) != 3 or not len(meta["mean"]) == len(meta["std"]) == meta["shape"][0]:
        raise TicketError("its meta has no data set; evaluate it from Python")
    return dict(meta)


def metric_in(meta: Mapping[str, Any]) -> str | None:
    """Return the name of the built-in metric in `meta`; None if there is none, or one of a function.

    Raises:
        TicketError: it cannot be one.
    """
    from untrained.search.measures import MEASURES
    from untrained.search.metric import Metric
    from untrained.tickets.header import TicketError

    try:
        found = Metric.read(meta) if "metric" in meta else None
    except ValueError as error:
        raise TicketError(str(error)) from None
    return next((name for name, kind in MEASURES.items() if kind.metric == found), None)


def test_batches(
    path: Path, what: str, facts: Mapping[str, Any], data: str | None, data_dir: Path | None, loss: str | None
) -> tuple[str, Iterable[Any]]:
    """Return the name of a ticket's data set and batches of its test part, with the classes in the ticket's order.

    Args:
        path: the file of the ticket, or of its bank.
        what: the ticket, in messages.
        facts: of `facts_of`; none for data of code, whose classes are not checked.
        data, data_dir: another data set or folder than that of the search; code is run.
        loss: the text of `--loss`.

    Raises:
        ValueError: the images or classes are others.
        FileNotFoundError: the folder of the images is not where it was.
    """
    import torch

    from untrained.data.batches import Batches
    from untrained.data.dataset import Split, find_folder, load_data
    from untrained.data.own import read_data
    from untrained.experiments.choices import ignored_by
    from untrained.runs.data_folder import locate_data

    if data is not None and not facts:
        made = read_data(data, data_dir, None, ignored_by(loss))
        return made.name, made.batches("test", 500)
    name, (_, height, width) = data or locate_data(facts["data"], data_dir, path), facts["shape"]
    test = load_data(name, data_dir, size=None if find_folder(name) is None else (height, width))
    labels = [unicodedata.normalize("NFC", label) for label in facts["labels"]]
    if list(test.shape) != facts["shape"] or sorted(test.labels) != sorted(labels):
        raise ValueError(
            f"{what} is for images {tuple(facts['shape'])} of {_describe_classes(facts['labels'])}; "
            f"{test.name} has {test.shape} of {_describe_classes(test.labels)}"
        )
    # Older tickets have the classes in another order.
    classes = torch.tensor([labels.index(label) for label in test.labels], device="cpu")
    split = Split(test.test.images, classes[test.test.labels])
    return test.name, Batches(split, 500, mean=facts["mean"], std=facts["std"])
