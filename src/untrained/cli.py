"""The command line: reads flags, calls the library, prints what it says. Torch is imported by the commands alone."""

from __future__ import annotations

import hashlib
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Toml

from untrained._version import __version__
from untrained.settings import CompareSettings, Settings
from untrained.wann.cli import app as wann

if TYPE_CHECKING:
    from untrained.comparison import Line
    from untrained.lab import Row
    from untrained.ticket import Ticket

_CONFIG_HELP = "TOML file with any of these settings, such as a run's config.toml; flags given here win over it."

app = App(
    name="untrained",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Find subnetworks that work inside networks whose weights are never trained.

    A found network is a ticket: one seed and about one bit per weight.

    ```
    untrained find                     search on the embedded digits
    untrained info   RUN/found.ticket  what it keeps, and what it costs
    untrained eval   RUN/found.ticket  its accuracy
    untrained verify RUN/found.ticket  draw every weight again and check
    untrained bench  RUN/found.ticket  how fast it runs, packed and not
    untrained compare                  every method on the same network
    untrained wann                     networks whose connections share one weight
    ```
    """,
)

app.command(wann)


@app.command
def find(
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008  a frozen dataclass
    *,
    config: Annotated[Path | None, Parameter(help=_CONFIG_HELP)] = None,
) -> None:
    """Find a subnetwork, and compare it with what it must be compared with.

    Searches, then prints one table: the random network as it is, a random subnetwork of the same size, the found
    subnetwork, and the same network with its weights trained.

    Writes into the folder of `--out`: found.ticket, metrics.jsonl, config.toml, checkpoint.pt and picture.png, and
    the twin's metrics and checkpoint into its folder twin.
    Once the search has begun, Ctrl-C leaves a checkpoint and a ticket; `--resume` goes on from there with the run's
    own settings.

    ```
    untrained find --widths 512 512 --data mnist --data-dir data --epochs 5
    untrained find --config runs/mine/config.toml --seed 1 --out runs/other
    untrained find --out runs/mine --resume
    ```
    """
    from untrained.experiment import find as run

    found = run(settings)
    _print_rows(found.rows)
    print("Of the first three networks not one weight was trained; of the found one only the mask was learned.\n")
    if found.cut:
        print(f"Nothing is kept of {', '.join(found.cut)}: the network is cut through. Try a higher --keep,")
        print("or --scope layer, which keeps that fraction of every layer.\n")
    print(f"ticket   {found.ticket}")
    if found.picture is None:
        print("picture  none: it needs matplotlib (pip install 'untrained[plot]')")
    else:
        print(f"picture  {found.picture}")


@app.command
def compare(
    settings: Annotated[CompareSettings, Parameter(name="*")] = CompareSettings(),  # noqa: B008  a frozen dataclass
    *,
    config: Annotated[Path | None, Parameter(help=_CONFIG_HELP)] = None,
) -> None:
    """Search with every method, fraction kept and seed, on the same network, data and number of epochs.

    Prints one table: mean ± standard deviation over the seeds, bits per weight on disk, seconds an epoch. The trained
    twin and random subnetworks are always in it. Nothing is chosen by the test data, or by anything else: the last
    epoch counts.

    Writes into the folder of `--out`: results.csv, results.json, picture.png, config.toml, and a folder per network.
    Ctrl-C loses nothing that was finished; `--resume` goes on.

    ```
    untrained compare --methods edge-popup,biprop --keep 0.5,0.1 --epochs 10
    untrained compare --method mine.py:MyMethod
    untrained compare --data mnist --data-dir data --widths 512 512 --epochs 5 --out runs/mnist
    untrained compare --out runs/mnist --resume
    ```
    """
    from untrained.comparison import compare as run

    found = run(settings)
    _print_lines(found.lines)
    for line in found.lines:
        if line.error:
            print(_printable(f"{line.method}: a search failed: {line.error}"))
    print(f"table    {found.folder / 'results.csv'}")
    print(f"picture  {found.picture or 'none: it needs matplotlib (pip install untrained[plot])'}")


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
    from untrained.batches import Batches
    from untrained.data import load_data
    from untrained.evaluation import evaluate as measure
    from untrained.ticket import Ticket, naming, rebuild

    _know(method)
    read = Ticket.load(ticket)
    with naming(ticket):
        meta = _task_of(read)
        network = read.apply_(rebuild(read))
    name, (_, height, width) = data or meta["data"], meta["shape"]
    test = load_data(name, data_dir, size=width if height == width and Path(name).is_dir() else None)
    if list(test.shape) != meta["shape"] or list(test.labels) != meta["labels"]:
        raise ValueError(
            f"{ticket} is for images {tuple(meta['shape'])} of {_classes(meta['labels'])}; "
            f"{test.name} has {test.shape} of {_classes(test.labels)}"
        )
    batches = Batches(test.test, 500, mean=meta["mean"], std=meta["std"])
    result = measure(network, batches, amp=amp)
    print(f"accuracy  {result.accuracy:.2%} on {result.examples:,} test images of {test.name}")
    print(f"sha256    {hashlib.sha256(ticket.read_bytes()).hexdigest()}")


@app.command
def info(ticket: Path | None = None, /, *, method: str | None = None, system: bool = False) -> None:
    """What a ticket says of itself, what it keeps, and what it costs; or what runs here.

    Args:
        ticket: The ticket.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
        system: Say instead which versions, threads and kernels are used on this machine, and why.
    """
    from untrained.cost import summary
    from untrained.ticket import Ticket

    if (ticket is None) != system:
        raise ValueError("info needs a ticket, or --system instead")
    if ticket is None:
        _print_facts(_system())
        return
    _know(method)
    read = Ticket.load(ticket)
    _print_facts(_facts(read))
    print(_printable(f"\n{summary(read)}"))


@app.command
def verify(ticket: Path, /, *, method: str | None = None) -> None:
    """Draw every weight of a ticket again, and check the sha256 of them all.

    Args:
        ticket: The ticket.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
    """
    from untrained.ticket import Ticket, naming

    _know(method)
    read = Ticket.load(ticket)
    with naming(ticket):
        read.verify()
    print(f"{ticket}: good, its weights have sha256 {read.weights_sha256}")


@app.command
def bench(ticket: Path, /, *, batch: str = "1,8,64", method: str | None = None) -> None:
    """How fast a ticket's network runs here: dense, bfloat16, int8, and packed into about two bits per weight.

    One thread. The error is the largest difference from dense float32 over the largest output, on random inputs.

    Args:
        ticket: The ticket; its network must be one of ours.
        batch: How many inputs at a time: sizes with commas between them.
        method: FILE.py:CLASS of a method of your own that the ticket was found by.
    """
    from untrained.bench import bench as run
    from untrained.bench import verdict
    from untrained.ticket import Ticket, naming

    _know(method)
    if not all(size.strip().isdecimal() for size in batch.split(",")):
        raise ValueError(f"--batch must be sizes such as 1,8,64, got {batch!r}")
    read = Ticket.load(ticket)
    with naming(ticket):
        rows = run(read, [int(size) for size in batch.split(",")])
    cells = [(r.variant, str(r.batch), f"{r.ms:,.3f}", f"{r.bytes:,}", f"{r.error:.1e}") for r in rows]
    _print_table(("how it runs", "batch", "ms", "bytes of weights", "error"), cells)
    print("\n".join(verdict(rows)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user got wrong is one line on standard error and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.config = _config_of(arguments)
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        print(f"\nuntrained: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        sys.exit(130)
    except (CycloptsError, ValueError, OSError, ImportError) as error:
        print(f"untrained: {_printable(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(2)
    finally:
        app.config = ()  # one call's file of settings is none of the next one's


def _config_of(arguments: Sequence[str]) -> tuple[Toml, ...]:
    """The file of settings behind --config, or of the run to resume: it must be known before the flags are read."""
    path = _value_of("--config", arguments)
    if path is None and "--resume" in arguments and (out := _value_of("--out", arguments)) is not None:
        own = Path(out) / "config.toml"
        path = str(own) if own.is_file() else None
    if path is None:
        return ()
    if not Path(path).is_file():
        raise ValueError(f"--config: no such file: {path!r}")
    try:
        tomllib.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"--config: {path} is not TOML: {error}") from None
    return (Toml(path, must_exist=True, use_commands_as_keys=False),)


def _value_of(flag: str, arguments: Sequence[str]) -> str | None:
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == flag:
            return value if equals else next(iter(arguments[number + 1 :]), "")
    return None


def _know(method: str | None) -> None:
    """Import somebody's own method, so that tickets may name it."""
    if method is not None:
        from untrained.spelling import own_class

        own_class(method)


def _classes(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:3]) + (", …" if len(labels) > 3 else "")
    return f"{len(labels)} classes ({shown})"


def _printable(text: str) -> str:
    """The text without what could steer a terminal: a ticket may come from anybody."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _task_of(ticket: Ticket) -> dict[str, Any]:
    """The facts in `meta` that an evaluation needs, checked."""
    from untrained.header import TicketError

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


def _print_rows(rows: Sequence[Row]) -> None:
    cells = [
        (
            row.name,
            f"{row.accuracy:.2%}",
            f"{row.kept:,}",
            f"{row.file_bytes:,}",
            "" if row.seconds is None else f"{row.seconds:,.1f}",
        )
        for row in rows
    ]
    _print_table(("network", "test accuracy", "weights kept", "bytes to ship", "seconds"), cells, "found subnetwork")


def _print_lines(lines: Sequence[Line]) -> None:
    cells = [
        (
            line.method,
            "" if line.keep is None else f"{line.keep:g}",
            f"{100 * line.accuracy:.2f} ± {100 * line.std:.2f}",
            f"{100 * line.val_accuracy:.2f}",
            f"{100 * line.kept:.1f} %",
            f"{line.bits:.3f}",
            f"{line.file_bytes:,.0f}",
            f"{line.seconds:,.2f}",
        )
        for line in lines
        if line.seeds
    ]
    titles = "keep", "test, %", "validation, %", "kept", "bits/weight", "bytes to ship", "s/epoch"
    _print_table(("method", *titles), cells)


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], bold: str | None = None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(escape, row), style="bold" if row[0] == bold else None)
    # A pipe has no width of its own; rich would cut the table to 80 columns.
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def _print_facts(facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        print(_printable(f"{name:<14}{value}"))


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
