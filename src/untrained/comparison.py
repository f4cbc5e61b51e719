"""Many methods, fractions kept and seeds on one network and one budget: the grid, its table, its picture."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from untrained import plot
from untrained.checkpoint import holds_run
from untrained.data import DataSet, load_data
from untrained.grid import TWIN, Cell, Line, lines_of, read_cell, write_cell, write_results
from untrained.lab import Lab, device_named
from untrained.methods import METHODS
from untrained.progress import counting
from untrained.run_folder import open_folder, write_settings
from untrained.settings import CompareSettings
from untrained.spelling import anchored, law_of, method_of, split

_RANDOM = "random-subnetwork"


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
        FileNotFoundError, ConnectionError, ImportError: the data set or joblib is not to be had.
        KeyboardInterrupt: after Ctrl-C; it says how to go on.
    """
    settings = replace(settings or CompareSettings(), **changes)
    joblib, grid = _joblib(), _grid(settings)
    # What is wrong with data, network or law is told here, once.
    lab = Lab(
        settings, load_data(settings.data, settings.data_dir, size=settings.size), device_named(settings.device), 0
    )
    lab.network()
    if settings.weights != "recommended":
        law_of(settings.weights)
    begun = settings.out is not None and (settings.out / "cells").is_dir()
    folder = open_folder(settings, f"compare-{settings.model}-{Path(settings.data).name}", begun)
    if not begun:
        write_settings(folder, settings)
    (folder / "cells").mkdir(exist_ok=True)

    done = {cell.name: cell for cell in map(functools.partial(read_cell, folder), grid) if cell is not None}
    missing = [cell for cell in grid if cell.name not in done]
    try:
        with counting("compare", len(grid), len(done)) as advance:
            for cell in _all(joblib, settings, missing, folder.resolve()):
                write_cell(folder, cell)
                done[cell.name] = cell
                advance(f"{cell.method} {cell.error or f'{cell.accuracy:.2%}'}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: untrained compare --out {folder} --resume") from None
    cells = [done[cell.name] for cell in grid]
    lines = lines_of(cells)
    write_results(folder, lines, cells)
    picture = None
    if plot.available():
        picture = folder / "picture.png"
        title = f"{settings.model} on {settings.data}, {settings.epochs} epochs"
        plot.save(plot.comparison(title, lines), picture)
    return Comparison(tuple(lines), tuple(cells), folder, picture)


def _grid(settings: CompareSettings) -> list[Cell]:
    """Every network, its results still missing; the twin and the random subnetworks first."""
    texts = list(METHODS) if settings.methods == "all" else split(settings.methods)
    texts = [_RANDOM, *texts, *settings.method]
    if settings.methods == "all":
        texts.remove("dense")  # the random network as it is tells nothing new
    keeps: dict[str, Sequence[float | None]] = {TWIN: (None,)}
    for text in texts:
        told = {method_of(text, keep) for keep in (0.3, 0.4, *settings.keeps())}
        keeps[text] = settings.keeps() if len(told) > 1 else (None,)
    return [Cell(text, keep, seed) for text, each in keeps.items() for keep in each for seed in range(settings.seeds)]


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise ImportError("comparing needs joblib: pip install 'untrained[compare]'") from None
    return joblib


def _all(joblib: Any, settings: CompareSettings, cells: Sequence[Cell], folder: Path) -> Iterator[Cell]:
    """Every cell with its results, as they come."""
    _, configured = joblib.parallel.get_active_backend()
    jobs = settings.jobs
    if jobs is None:  # what joblib is told; else a core each, or the one GPU for one after the other
        own = -1 if device_named(settings.device).type == "cpu" else 1
        jobs = own if configured in (None, 1) else None
    settings = _anchored(settings)
    work = [
        joblib.delayed(run_cell)(settings, cell, anchored(cell.method), folder / "cells" / cell.name) for cell in cells
    ]
    try:
        pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    except ValueError:  # a backend that returns everything at the end
        yield from joblib.Parallel(n_jobs=jobs)(work)
    else:
        with _deaf_children():
            results = pool(work)  # starts the workers
        yield from results


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start in here leave Ctrl-C to us: we stop them, and they have nothing to say about it."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may say who hears what
        yield
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def _anchored(settings: CompareSettings) -> CompareSettings:
    """Without relative paths, which mean something else to a worker that was started elsewhere."""
    data_dir = None if settings.data_dir is None else Path(settings.data_dir).expanduser().resolve()
    folder = Path(settings.data).expanduser()
    return replace(settings, data_dir=data_dir, data=str(folder.resolve()) if folder.is_dir() else settings.data)


def run_cell(settings: CompareSettings, cell: Cell, method_text: str, folder: Path) -> Cell:
    """One network of the grid, searched on one thread; goes on where it was interrupted.

    Args:
        settings: those of the comparison.
        cell: which.
        method_text: its method, with nothing in it that depends on where the worker is.
        folder: for its ticket, metrics and checkpoint.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lab = Lab(settings, _data(settings), device_named(settings.device), cell.seed, quiet=True)
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


def _data(settings: CompareSettings) -> DataSet:
    return _loaded(settings.data, settings.data_dir, settings.size)


@functools.lru_cache(maxsize=1)
def _loaded(data: str, data_dir: Path | None, size: int | None) -> DataSet:
    return load_data(data, data_dir, size=size)
