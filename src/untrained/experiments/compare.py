"""Many methods, fractions kept and seeds on one budget: the grid, the searches side by side, the table, the picture."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from untrained import plot
from untrained.data.dataset import DataSet, load_data, resolve_name
from untrained.experiments.by_name import law_of, method_of, split, takes_keep, with_absolute_path
from untrained.experiments.run_folder import claim_folder, resume_command, write_settings
from untrained.experiments.tables import of_lines
from untrained.experiments.testbed import Testbed, device_named
from untrained.methods import METHODS
from untrained.runs.settings import CompareSettings, GridSettings, Setup
from untrained.runs.table import RANDOM, TWIN, Cell, Line, lines_of, read_cell, write_cell, write_results
from untrained.search.checkpoint import holds_run
from untrained.search.run_files import CELLS, PICTURE
from untrained.terminal.progress import counting


@final
@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        lines: the table: the twin, the random subnetworks, then the methods as they were named.
        cells: every single network.
        folder: where everything was written: results.csv, results.json, picture.png, and a folder per network.
        picture: the picture, or None when matplotlib is not installed.
    """

    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]
    folder: Path
    picture: Path | None

    def _repr_html_(self) -> str:
        return of_lines(self.lines).html()


def compare(settings: CompareSettings | None = None, **changes: Any) -> Comparison:
    """Search with every method, fraction kept and seed, on the same network, data and number of epochs.

    The trained twin and random subnetworks are always among them. Nothing is chosen by anything: the last epoch counts,
    validation data is reported beside test data. Searches run side by side by joblib, a core each; under
    `joblib.parallel_config(backend="dask")` or `"ray"` on a cluster. Every finished network is written at once, so that
    a comparison that was interrupted goes on with `resume=True`.

    Args:
        settings: what to do.
        changes: fields of `CompareSettings` to change, such as `methods="edge-popup,biprop"`.

    Raises:
        ValueError: a setting is out of range, an unknown method, or the folder holds another run.
        OSError: another run writes into the folder now, or it cannot be written.
        FileNotFoundError, ConnectionError, ImportError: the data set or joblib is not to be had.
        KeyboardInterrupt: after Ctrl-C; it says how to go on.
    """
    settings = replace(settings or CompareSettings(), **changes)
    grid = make_grid(settings)
    validate(settings)
    folder, lines, cells = run_grid(settings, grid, lambda cell: settings, "compare")
    picture = None
    if plot.available():
        picture = folder / PICTURE
        title = f"{settings.model} on {settings.data}, {settings.epochs} epochs"
        plot.save(plot.comparison(title, lines), picture)
    return Comparison(lines, cells, folder, picture)


def make_grid(
    settings: GridSettings, places: Callable[[str], Iterable[Mapping[str, Any]]] = lambda method: ({},)
) -> list[Cell]:
    """Every network, its results still missing: method x keep x place x seed, the twin and the random ones first.

    Args:
        settings: methods, fractions kept and seeds.
        places: of a method, the fields of its cells that say where else it is searched.
    """
    texts = list(METHODS) if settings.methods == "all" else split(settings.methods)
    texts = [RANDOM, *texts, *settings.method]
    if settings.methods == "all":
        texts.remove("dense")  # the random network as it is tells nothing new
    keeps: dict[str, Sequence[float | None]] = {TWIN: (None,)}
    for text in texts:
        keeps[text] = settings.keeps() if takes_keep(text) else (None,)
        for keep in keeps[text]:
            method_of(text, keep)  # raises before anything is written
    return [
        Cell(text, keep, seed, **place)
        for text, each in keeps.items()
        for keep in each
        for place in places(text)
        for seed in range(settings.seeds)
    ]


def validate(setup: Setup) -> None:
    """Tell once, before anything is written, what is wrong with joblib, data, network or law.

    Raises:
        ValueError, FileNotFoundError, ConnectionError, ImportError: as `compare`.
    """
    _joblib()
    Testbed(setup, load_data(setup.data, setup.data_dir, size=setup.size), device_named(setup.device), 0).network()
    if setup.weights != "recommended":
        law_of(setup.weights)


def run_grid(
    settings: GridSettings, grid: Sequence[Cell], setup_of: Callable[[Cell], Setup], command: str
) -> tuple[Path, tuple[Line, ...], tuple[Cell, ...]]:
    """Search what is missing of a grid, note every network at once, and write the table: (folder, lines, cells).

    Args:
        settings: the folder, whether to go on there, and how many jobs.
        grid: all cells, in the order of the table.
        setup_of: what the network of a cell is made of and searched with.
        command: what was called, and what goes on after Ctrl-C.
    """
    name = f"{command}-{settings.model}-{Path(settings.data).name}"
    with claim_folder(settings, name, lambda folder: (folder / CELLS).is_dir()) as folder:
        if not (folder / CELLS).is_dir():
            write_settings(folder, settings)
        (folder / CELLS).mkdir(exist_ok=True)

        done = {cell.name: cell for cell in map(functools.partial(read_cell, folder), grid) if cell is not None}
        missing = {cell: setup_of(cell) for cell in grid if cell.name not in done}
        try:
            with counting(command, len(grid), len(done)) as advance:
                for cell in _all(settings, missing, folder.resolve()):
                    write_cell(folder, cell)
                    done[cell.name] = cell
                    advance(f"{cell.method} {cell.error or f'{cell.accuracy:.2%}'}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; go on with: {resume_command(command, folder, settings)}") from None
        cells = tuple(done[cell.name] for cell in grid)
        lines = tuple(lines_of(cells))
        write_results(folder, lines, cells)
    return folder, lines, cells


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise ImportError("comparing needs joblib: pip install 'untrained[compare]'") from None
    return joblib


def _all(settings: GridSettings, cells: Mapping[Cell, Setup], folder: Path) -> Iterator[Cell]:
    """Every cell with its results, as they come."""
    joblib = _joblib()
    _, configured = joblib.parallel.get_active_backend()
    jobs = settings.jobs
    if jobs is None:  # what joblib is told; else a core each, or the one GPU for one after the other
        own = -1 if device_named(settings.device).type == "cpu" else 1
        jobs = own if configured in (None, 1) else None
    work = [
        joblib.delayed(run_cell)(
            _with_absolute_paths(setup), cell, with_absolute_path(cell.method), folder / CELLS / cell.name
        )
        for cell, setup in cells.items()
    ]
    try:
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    except ValueError:  # a backend that returns everything at the end
        yield from joblib.Parallel(n_jobs=jobs)(work)
    else:
        with _children_ignore_sigint():
            results = pool(work)  # starts the workers
        yield from results


@contextlib.contextmanager
def _children_ignore_sigint() -> Iterator[None]:
    """Processes that start in here leave Ctrl-C to us: we stop them, and they have nothing to say about it."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may say who hears what
        yield
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def _with_absolute_paths(settings: Setup) -> Setup:
    """Without relative paths, which mean something else to a worker that was started elsewhere."""
    data_dir = None if settings.data_dir is None else Path(settings.data_dir).expanduser().resolve()
    return replace(settings, data_dir=data_dir, data=resolve_name(settings.data))


def run_cell(settings: Setup, cell: Cell, method_text: str, folder: Path) -> Cell:
    """One network of the grid, searched on one thread; goes on where it was interrupted.

    Args:
        settings: what its network is made of and searched with.
        cell: which.
        method_text: its method, with nothing in it that depends on where the worker is.
        folder: for its ticket, metrics and checkpoint.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lab = Testbed(settings, _data(settings), device_named(settings.device), cell.seed, quiet=True)
        resume = holds_run(folder)
        if cell.method == TWIN:
            row, _ = lab.train_twin(folder, resume=resume)
        elif not (method := method_of(method_text, cell.keep)).learns:
            row = lab.baseline(cell.method, method)
        else:
            row, _ = lab.search(lab.masked(method), cell.method, folder, resume=resume)
    except Exception as error:  # it diverged, does not go with this network, or is somebody's own: the others go on
        says = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return replace(cell, error=" ".join(str(says).split()) or "failed")
    finally:
        torch.set_num_threads(threads)
    return replace(
        cell,
        accuracy=row.accuracy,
        val_accuracy=row.val_accuracy,
        seconds=0.0 if row.seconds is None else row.seconds / settings.epochs,
        weights=row.weights,
        kept=row.kept,
        file_bytes=row.file_bytes,
    )


def _data(settings: Setup) -> DataSet:
    return _loaded(settings.data, settings.data_dir, settings.size)


@functools.lru_cache(maxsize=1)
def _loaded(data: str, data_dir: Path | None, size: int | None) -> DataSet:
    return load_data(data, data_dir, size=size)
