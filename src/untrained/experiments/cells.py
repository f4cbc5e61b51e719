"""The searches of a grid: in parallel on this machine or a cluster, each network on one thread."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from untrained.clusters.cluster import cluster_named
from untrained.data.dataset import resolve_name
from untrained.data.own import is_own
from untrained.experiments.choices import data_of
from untrained.experiments.objects import NOTHING, Objects, refuse_unportable
from untrained.experiments.testbed import Workbench, choose_device
from untrained.masking.densities import takes_densities
from untrained.opponents import Opponent
from untrained.own_code import with_absolute_path
from untrained.runs.machine import Machine, note_machine
from untrained.runs.settings import GridSettings, Setup
from untrained.runs.table import TWIN, Cell
from untrained.search.checkpoint import holds_run
from untrained.search.run_files import CELLS
from untrained.terminal.extras import install_command


def import_joblib() -> Any:
    """Import joblib, or raise an ImportError with the extra that has it."""
    try:
        import joblib
    except ImportError:
        raise ImportError(f"comparing needs joblib: {install_command('compare')}") from None
    return joblib


def check_workers(settings: GridSettings, objects: Objects) -> None:
    """Raise a ValueError if the settings name no cluster, or if objects cannot be sent to workers that need them."""
    if isinstance(settings.jobs, str):
        cluster_named(settings.jobs, "jobs")
    if isinstance(settings.jobs, str) or (_many(settings) and not _by_threads()):
        refuse_unportable(objects)


def refuse_threads(settings: GridSettings) -> None:
    """Raise a ValueError if several searches at a time would be threads, which share torch's random numbers."""
    if not isinstance(settings.jobs, str) and _many(settings) and _by_threads():
        raise ValueError(
            "threads share torch's random numbers, which dropout, and a network or loop of your own, may draw: take "
            "processes, joblib.parallel_config('loky'), or jobs=1"
        )


def _many(settings: GridSettings) -> bool:
    return import_joblib().effective_n_jobs(_jobs(settings)) > 1


def _by_threads() -> bool:
    return getattr(import_joblib().parallel.get_active_backend()[0], "supports_sharedmem", False)


def _jobs(settings: GridSettings) -> int | None:
    """Return the number of searches at a time; None for that of joblib's configuration."""
    assert not isinstance(settings.jobs, str)
    _, configured = import_joblib().parallel.get_active_backend()
    if settings.jobs is None and configured in (None, 1):
        # Without joblib.parallel_config: a core each, or the one GPU for one after the other.
        return -1 if choose_device(settings.device).type == "cpu" else 1
    return settings.jobs


def run_cells(settings: GridSettings, cells: Mapping[Cell, Setup], folder: Path, objects: Objects) -> Iterator[Cell]:
    """Yield every cell with its results, as they are done."""
    if isinstance(settings.jobs, str):
        yield from _run_on_cluster(settings.jobs, cells, folder, objects)
        return
    joblib, jobs = import_joblib(), _jobs(settings)
    work = [joblib.delayed(run_cell)(*arguments, objects) for arguments in _arguments(cells, folder, objects)]
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


def _arguments(cells: Mapping[Cell, Setup], folder: Path, objects: Objects) -> list[tuple[Setup, Cell, str, Path]]:
    """Return the arguments of `run_cell` for workers in any folder."""
    texts = {cell: with_absolute_path(objects.text_of(cell.method)) for cell in cells}
    return [(_make_paths_absolute(each), cell, texts[cell], folder / CELLS / cell.name) for cell, each in cells.items()]


def _run_on_cluster(name: str, cells: Mapping[Cell, Setup], folder: Path, objects: Objects) -> Iterator[Cell]:
    """Yield every cell with its results, as the workers of a cluster are done with them."""
    kind, address = cluster_named(name, "jobs")
    with contextlib.closing(kind(objects, address)) as cluster:
        for _, cell in cluster.run(_run_part, _arguments(cells, folder, objects)):
            yield cell


def _run_part(objects: Objects, arguments: tuple[Setup, Cell, str, Path]) -> Cell:
    return run_cell(*arguments, objects)


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


def run_cell(settings: Setup, cell: Cell, method_text: str, folder: Path, objects: Objects = NOTHING) -> Cell:
    """Search one network of the grid on one thread, resuming if it was interrupted, and return its results.

    Its method's text has absolute paths; its folder is that of ticket, metrics and checkpoint.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = data_of(settings) if objects.data is None else objects.data
        bench = Workbench(settings, data, choose_device(settings.device), cell.seed, quiet=True, objects=objects)
        resume, epochs = holds_run(folder), settings.epochs
        folder.mkdir(parents=True, exist_ok=True)
        note_machine(folder, Machine.with_torch(bench.device))
        if cell.method == TWIN:
            row = bench.train_twin(folder, resume=resume)
        elif isinstance(entrant := objects.entrant(method_text, cell.keep), Opponent):
            row, epochs = bench.train_opponent(entrant, cell.method, folder), entrant.passes(epochs)
        else:
            last = objects.last(method_text)
            if not takes_densities(entrant):
                bench = replace(bench, setup=replace(settings, densities="uniform"))
            if any(each.learns for each in (entrant, last) if each is not None):
                network = bench.masked(entrant, last)
                if objects.loop is None:
                    row, _ = bench.search(network, cell.method, folder, resume=resume, last=last)
                else:
                    row, epochs = bench.search_by(objects.loop, network, cell.method, folder, resume=resume)
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
        seconds=0.0 if row.seconds is None else row.seconds / (epochs or settings.epochs),
        weights=row.weights,
        kept=row.kept,
        file_bytes=row.file_bytes,
        epochs=epochs,
    )
