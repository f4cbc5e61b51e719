"""A search from beginning to end, and its three baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import nn

from untrained import plot
from untrained.data.dataset import DataSet
from untrained.data.known import KNOWN_NAMES
from untrained.experiments.by_name import last_of, method_of
from untrained.experiments.choices import data_of
from untrained.experiments.run_folder import claim_folder, resume_command, slug, write_settings
from untrained.experiments.testbed import Workbench, choose_device
from untrained.experiments.threads import suitable_threads
from untrained.export import to_html
from untrained.masking.mask import masks
from untrained.methods.dense import Dense
from untrained.methods.random_subnetwork import RandomSubnetwork
from untrained.own_code import short
from untrained.report import write_report
from untrained.runs.film import Film
from untrained.runs.machine import Machine, note_machine
from untrained.runs.run import Row, read_run, write_table
from untrained.runs.settings import Settings, settle
from untrained.runs.table import FOUND, RANDOM_NETWORK, RANDOM_SUBNETWORK
from untrained.runs.text_tables import of_networks
from untrained.search.checkpoint import holds_run
from untrained.search.evaluation import find_device
from untrained.search.history import Epoch, History
from untrained.search.metric import ACCURACY
from untrained.search.run_files import PAGE, PICTURE, TICKET, TWIN_FOLDER
from untrained.terminal.progress import show_step
from untrained.tickets.header import TicketError
from untrained.tickets.start import start_from_
from untrained.tickets.ticket import Ticket


@final
@dataclass(frozen=True)
class Found:
    """Results of `find`.

    Attributes:
        rows: the random network, a random subnetwork, the found subnetwork, and the trained twin unless left out.
        history: the search, epoch by epoch.
        folder: the folder of all files.
        ticket: the found network's file.
        cut: masked tensors without any weight kept, which no signal passes.
        picture: the picture, or None when matplotlib is not installed.
        report: one HTML page about the run.
        page: one HTML page that runs the network, or None when a browser cannot.
        no_page: why there is no such page, or empty.
    """

    rows: tuple[Row, ...]
    history: History
    folder: Path
    ticket: Path
    cut: tuple[str, ...]
    picture: Path | None
    report: Path
    page: Path | None
    no_page: str

    def _repr_html_(self) -> str:
        return of_networks(self.rows).html()


def find(settings: Settings | None = None, *, on_epoch: Callable[[Epoch], None] | None = None, **changes: Any) -> Found:
    """Find a subnetwork, compare it with its baselines, and write ticket, metrics, settings, picture and report.

    The curves are those of the validation data; the test data is used once, for the table. An interrupted run leaves a
    checkpoint and a ticket, and continues with `resume=True`.

    Args:
        settings: the settings; default `Settings()`.
        on_epoch: called with every epoch of the search, as by `fit`; an error in it ends the run, to be resumed.
        changes: fields of `Settings` to change, such as `keep=0.3`.

    Raises:
        ValueError: a setting is out of range, or the folder holds another run.
        OSError: another run writes into the folder now, or it cannot be written.
        FileNotFoundError, ConnectionError, ImportError: the data set cannot be found.
        KeyboardInterrupt: after Ctrl-C, with the command that resumes the run.

    Example:
        >>> found = ut.find(widths=(8,), epochs=1, out="run")
        >>> [row.name for row in found.rows]
        ['random network', 'random subnetwork', 'found subnetwork', 'trained twin']
    """
    settings = settle(settings or Settings(), changes)
    text = str(settings.method)
    method, last = method_of(text, settings.keep, scope=settings.scope), last_of(text)
    if not (method.learns or (last is not None and last.learns)):
        raise ValueError(f"method must be one that searches, got {text}, which is a baseline")
    data = data_of(settings)
    bench = Workbench(settings, data, choose_device(settings.device), settings.seed)
    network = bench.masked(method, last)
    if settings.start is not None and not settings.resume:
        start_from_(network, settings.start)
    _ = bench.objective  # raises before any file is written
    keep = method.final_keep
    parts = [short(settings.model), Path(settings.data).name, Path(text).name]
    parts += [] if keep is None else [f"{keep:g}"]
    name = slug("-".join([*parts, f"seed{settings.seed}"]))
    example = next(iter(bench.data.batches("val", 1)))[0][:1].to(find_device(network))
    with claim_folder(settings, name, holds_run) as folder, suitable_threads(network, example, settings.batch_size):
        return _run(settings, bench, network, folder, on_epoch)


def _run(
    settings: Settings, bench: Workbench, network: nn.Module, folder: Path, on_epoch: Callable[[Epoch], None] | None
) -> Found:
    """Measure, search and write in a folder that is locked against other writers."""
    last = last_of(str(settings.method))
    with show_step(f"{RANDOM_NETWORK}: measuring it"):
        rows = [bench.baseline(RANDOM_NETWORK, Dense())]
    if not holds_run(folder):
        write_settings(folder, settings)
    note_machine(folder, Machine.with_torch(bench.device))
    try:
        options: dict[str, Any] = {"resume": settings.resume, "last": last, "lr": settings.lr, "on_epoch": on_epoch}
        if isinstance(bench.data, DataSet) and bench.objective.metric == ACCURACY:
            film = Film.begin(folder, network, bench.batches("val"), bench.batches("test"), bench.data.test)
            options["on_epoch"] = film.taking(on_epoch)
        found, history = bench.search(network, FOUND, folder, **options)
        keep = None if last is not None else method_of(str(settings.method), settings.keep).final_keep
        share = keep or max(found.kept / found.weights, 1e-9)
        rows += [bench.baseline(RANDOM_SUBNETWORK, RandomSubnetwork(share)), found]
        if settings.twin:
            rows.append(bench.train_twin(folder / TWIN_FOLDER, resume=settings.resume))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: {resume_command('find', folder, settings)}") from None
    write_table(folder, rows)
    report, picture = write_report(folder), None
    if plot.available():
        picture = folder / PICTURE
        plot.save(plot.overview(read_run(folder)), picture)
    cut = tuple(name for name, mask in masks(network).items() if not mask.any())
    return Found(tuple(rows), history, folder, folder / TICKET, cut, picture, report, *_write_page(folder, bench))


def _write_page(folder: Path, bench: Workbench) -> tuple[Path | None, str]:
    """Write the page that runs the network, and return its path, or why there is none.

    It has test images of known data sets: those of a folder may not be for everybody whom the page is given to.
    """
    page, data = folder / PAGE, bench.data
    if not isinstance(data, DataSet) or bench.objective.form != "classes":
        return None, "it is for images and their classes"
    model = None if bench.brought is None else bench.network().cpu()
    images = data.test if isinstance(data, DataSet) and data.name in KNOWN_NAMES else None
    try:
        to_html(Ticket.load(folder / TICKET), page, model, examples=images)
    except TicketError as error:
        page.unlink(missing_ok=True)  # of an earlier version
        return None, str(error)
    return page, ""
