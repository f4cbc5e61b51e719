"""Many methods, fractions kept and seeds on one budget: the grid, parallel searches, the table, the picture."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from untrained import plot
from untrained.clusters.cluster import cluster_named
from untrained.data.dataset import resolve_name
from untrained.data.own import Data, is_own
from untrained.experiments.by_name import entrant_of, last_of, law_of, split, takes_keep
from untrained.experiments.choices import chance_of, data_of
from untrained.experiments.parts import in_own_folder, join, part_of, read_parts
from untrained.experiments.run_folder import claim_folder, resume_command, slug, write_settings
from untrained.experiments.testbed import Workbench, choose_device, opponents_for, suits
from untrained.masking.densities import takes_densities
from untrained.methods import METHODS
from untrained.opponents import Opponent
from untrained.own_code import short, with_absolute_path
from untrained.report.grid_page import write_grid_report
from untrained.runs.machine import Machine, note_machine
from untrained.runs.reference import find_references
from untrained.runs.settings import CompareSettings, GridSettings, Setup, settle
from untrained.runs.table import RANDOM, TWIN, Cell, Line, lines_of, read_cell, write_cell, write_results
from untrained.runs.text_tables import of_lines
from untrained.search.checkpoint import holds_run
from untrained.search.metric import ACCURACY, Metric
from untrained.search.run_files import CELLS, PICTURE
from untrained.terminal.extras import install_command
from untrained.terminal.progress import show_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True)
class Comparison:
    """Results of `compare`.

    Attributes:
        lines: the table: the twin, the random subnetworks, then the methods in the order of their names.
        cells: a cell for each network.
        folder: the folder of results.csv, summary.csv, results.json, picture.png, and a folder per network.
        picture: the picture, or None when matplotlib is not installed, or for a part (`cell`).
        report: one HTML page about all networks, or None for a part.
    """

    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]
    folder: Path
    picture: Path | None
    report: Path | None

    def _repr_html_(self) -> str:
        return of_lines(self.lines).html()


def compare(settings: CompareSettings | None = None, **changes: Any) -> Comparison:
    """Search with every method, fraction kept and seed, on the same network, data and number of epochs.

    The trained twin and random subnetworks are always among them. There is no model selection: results are those of
    the last epoch, on validation and test data. joblib runs the searches in parallel, a core each; or, with
    `jobs="dask:ADDRESS"` or `"ray:ADDRESS"`, the workers of a cluster, which share the folders. Each finished network
    is written at once, so an interrupted comparison continues with `resume=True`. With `cell="i/n"` only the i-th of n
    equal parts is searched, on any machine; `merge=(folder,)` joins all parts to what one process would have written.

    Args:
        settings: the settings; default `CompareSettings()`.
        changes: fields of `CompareSettings` to change, such as `methods="edge-popup,biprop"`.

    Raises:
        ValueError: a setting is out of range, an unknown method or row, or the folder holds another run.
        OSError: another run writes into the folder now, or it cannot be written.
        FileNotFoundError, ConnectionError, ImportError: the data set or joblib cannot be found.
        KeyboardInterrupt: after Ctrl-C, with the command that resumes the run.

    Example:
        >>> found = ut.compare(methods="biprop", widths=(8,), epochs=1, seeds=1, jobs=1, out="run")
        >>> [line.method for line in found.lines]
        ['trained twin', 'random-subnetwork', 'biprop']
    """
    settings = settle(settings or CompareSettings(), changes)
    grid = make_grid(settings)
    bench = validate(settings)
    metric = bench.objective.metric
    chance = chance_of(bench.data, metric)
    title = f"{settings.describe_network()} on {settings.data}, {settings.epochs} epochs"

    def draw(lines: Sequence[Line], _: Sequence[Cell]) -> Figure:
        return plot.comparison(title, lines)

    return run_grid(settings, grid, lambda cell: settings, "compare", draw, chance, {}, metric)


def make_grid(
    settings: GridSettings, places: Callable[[str], Iterable[Mapping[str, Any]]] = lambda method: ({},)
) -> list[Cell]:
    """Return a cell without results for each method, keep, place and seed; the twin and the random ones come first.

    Args:
        settings: methods, fractions kept and seeds; "opponents" are those that suit the network.
        places: a function that returns further fields of a method's cells, such as widths.

    Raises:
        ValueError: there is no such method, or an opponent has another width than a network that has none.
    """
    # The whole random network is in the table of `find`.
    groups = {"all": [name for name in METHODS if name != "dense"], "opponents": opponents_for(settings.model)}
    texts = [RANDOM, *(text for each in split(settings.methods) for text in groups.get(each, [each])), *settings.method]
    keeps: dict[str, Sequence[float | None]] = {TWIN: (None,)}
    for text in texts:
        keeps[text] = settings.keeps() if takes_keep(text) else (None,)
        for keep in keeps[text]:
            entrant = entrant_of(text, keep)  # raises before any file is written
            if isinstance(entrant, Opponent) and not suits(entrant, settings.model):
                raise ValueError(f"{text}: {settings.model} has no width to vary; leave it out, or take another model")
    return [
        Cell(text, keep, seed, **place)
        for text, each in keeps.items()
        for keep in each
        for place in places(text)
        for seed in range(settings.seeds)
    ]


def validate(setup: Setup, data: Data | None = None) -> Workbench:
    """Return the workbench, or raise the errors of `compare` for joblib, data, network, law, loss and metric.

    This is before a file is written. `data` are read if they are not given.
    """
    _import_joblib()
    bench = Workbench(setup, data_of(setup) if data is None else data, choose_device(setup.device), 0)
    bench.network()
    if setup.weights != "recommended":
        law_of(setup.weights)
    _ = bench.objective
    return bench


def run_grid(
    settings: GridSettings,
    grid: Sequence[Cell],
    setup_of: Callable[[Cell], Setup],
    command: str,
    draw: Callable[[Sequence[Line], Sequence[Cell]], Figure],
    chance: float | None,
    facts: Mapping[str, Any] = {},
    metric: Metric = ACCURACY,
) -> Comparison:
    """Search the missing cells of a grid, write each one at once, then the table, the picture and the page.

    Args:
        settings: the folder, whether to resume, and the number of jobs.
        grid: all cells, in the order of the table.
        setup_of: a function that returns the settings of a cell's network.
        command: the command that resumes the run after Ctrl-C.
        draw: a function that draws the picture of the table and its networks.
        chance: metric on validation data up to which a network has not learned; None if that is not known.
        facts: what else results.json tells the page.
        metric: the metric of the cells.
    """
    against = settings.against or TWIN
    find_references(list(dict.fromkeys(cell.place for cell in grid)), against)  # raises before any file is written
    if isinstance(settings.jobs, str):
        cluster_named(settings.jobs, "jobs")  # raises before any file is written
    if settings.cell is not None:
        grid = part_of(grid, settings.cell)
    parts = read_parts(settings, grid) if settings.merge else {}
    settings = in_own_folder(settings)
    name = slug(f"{command}-{short(settings.model)}-{Path(settings.data).name}")
    with claim_folder(settings, name, lambda folder: (folder / CELLS).is_dir()) as folder:
        if not (folder / CELLS).is_dir():
            write_settings(folder, settings)
        (folder / CELLS).mkdir(exist_ok=True)

        join(parts, folder)
        done = {cell.name: read for cell, (_, read) in parts.items()} or {
            cell.name: read for cell in grid if (read := read_cell(folder, cell)) is not None
        }
        missing = {cell: setup_of(cell) for cell in grid if cell.name not in done}
        try:
            with show_progress(command, len(grid), len(done), "networks") as advance:
                for cell in _run_cells(settings, missing, folder.resolve()):
                    write_cell(folder, cell)
                    done[cell.name] = cell
                    advance(f"{cell.method} {cell.error or metric.show(cell.test)}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; go on with: {resume_command(command, folder, settings)}") from None
        cells = tuple(done[cell.name] for cell in grid)
        if settings.cell is not None:
            return Comparison(tuple(lines_of(cells, metric=metric)), cells, folder, None, None)
        lines = tuple(lines_of(cells, against, chance, metric))
        facts = facts if metric == ACCURACY else {**facts, "metric": asdict(metric)}
        write_results(folder, lines, cells, command=command, against=settings.against, chance=chance, **facts)
        picture = folder / PICTURE if plot.available() else None
        if picture is not None:
            plot.save(draw(lines, cells), picture)
        report = write_grid_report(folder)
    return Comparison(lines, cells, folder, picture, report)


def _import_joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise ImportError(f"comparing needs joblib: {install_command('compare')}") from None
    return joblib


def _run_cells(settings: GridSettings, cells: Mapping[Cell, Setup], folder: Path) -> Iterator[Cell]:
    """Yield every cell with its results, as they are done."""
    if isinstance(settings.jobs, str):
        yield from _run_on_cluster(settings.jobs, cells, folder)
        return
    joblib = _import_joblib()
    _, configured = joblib.parallel.get_active_backend()
    jobs = settings.jobs
    if jobs is None and configured in (None, 1):
        # Without joblib.parallel_config: a core each, or the one GPU for one after the other.
        jobs = -1 if choose_device(settings.device).type == "cpu" else 1
    work = [joblib.delayed(run_cell)(*arguments) for arguments in _arguments(cells, folder)]
    try:
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    except ValueError:  # a backend that returns everything at the end
        yield from joblib.Parallel(n_jobs=jobs)(work)
    else:
        with _children_ignore_sigint():
            results = pool(work)  # starts the workers
        try:
            for cell in results:  # noqa: UP028  `yield from` closes the results itself
                yield cell
        except GeneratorExit:  # interrupted between two cells
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib advises to take all results
                results.close()
            raise


def _arguments(cells: Mapping[Cell, Setup], folder: Path) -> list[tuple[Setup, Cell, str, Path]]:
    """Return the arguments of `run_cell` for workers in any folder."""
    return [
        (_make_paths_absolute(setup), cell, with_absolute_path(cell.method), folder / CELLS / cell.name)
        for cell, setup in cells.items()
    ]


def _run_on_cluster(name: str, cells: Mapping[Cell, Setup], folder: Path) -> Iterator[Cell]:
    """Yield every cell with its results, as the workers of a cluster are done with them."""
    kind, address = cluster_named(name, "jobs")
    with contextlib.closing(kind(None, address)) as cluster:
        for _, cell in cluster.run(_run_part, _arguments(cells, folder)):
            yield cell


def _run_part(_: None, arguments: tuple[Setup, Cell, str, Path]) -> Cell:
    return run_cell(*arguments)


@contextlib.contextmanager
def _children_ignore_sigint() -> Iterator[None]:
    """Make worker processes started in this block ignore SIGINT; the parent terminates them."""
    if threading.current_thread() is not threading.main_thread():  # other threads cannot set handlers
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _make_paths_absolute(settings: Setup) -> Setup:
    """Return the settings without relative paths, for workers in other folders."""
    data_dir = None if settings.data_dir is None else Path(settings.data_dir).expanduser().resolve()
    own = {name: getattr(settings, name) for name in ("model", "loss", "metric")}
    own = {name: with_absolute_path(text) for name, text in own.items() if text is not None}
    data = with_absolute_path(settings.data) if is_own(settings.data) else resolve_name(settings.data)
    return replace(settings, data_dir=data_dir, data=data, **own)


def run_cell(settings: Setup, cell: Cell, method_text: str, folder: Path) -> Cell:
    """Search one network of the grid on one thread, resuming if it was interrupted, and return its results.

    Args:
        settings: settings of the network.
        cell: the network's place in the grid.
        method_text: its method, with absolute paths.
        folder: the folder of its ticket, metrics and checkpoint.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bench = Workbench(settings, data_of(settings), choose_device(settings.device), cell.seed, quiet=True)
        resume, epochs = holds_run(folder), settings.epochs
        folder.mkdir(parents=True, exist_ok=True)
        note_machine(folder, Machine.with_torch(bench.device))
        if cell.method == TWIN:
            row = bench.train_twin(folder, resume=resume)
        elif isinstance(entrant := entrant_of(method_text, cell.keep), Opponent):
            row, epochs = bench.train_opponent(entrant, cell.method, folder), entrant.passes(epochs)
        else:
            last = last_of(method_text)
            if not takes_densities(entrant):
                bench = replace(bench, setup=replace(settings, densities="uniform"))
            if any(each.learns for each in (entrant, last) if each is not None):
                row, _ = bench.search(bench.masked(entrant, last), cell.method, folder, resume=resume, last=last)
            else:
                row, epochs = bench.baseline(cell.method, entrant, last), 0
    except Exception as error:  # a search that diverged or does not suit the network does not end the others
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return replace(cell, error=" ".join(text.split()) or "failed")
    finally:
        torch.set_num_threads(threads)
    return replace(
        cell,
        accuracy=row.accuracy,
        val_accuracy=row.val_accuracy,
        value=row.value,
        val_value=row.val_value,
        seconds=0.0 if row.seconds is None else row.seconds / epochs,
        weights=row.weights,
        kept=row.kept,
        file_bytes=row.file_bytes,
        epochs=epochs,
    )
