"""A whole run: search, tuning, the columns of the paper's table, picture, report and files."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.files import atomic_write, sole_writer
from untrained.plot.figure import available
from untrained.runs.machine import Machine, note_machine
from untrained.runs.settings import to_toml
from untrained.search.run_files import CONFIG, FOUND, FRONT, PICTURE, REPORT, RESULTS, TUNED
from untrained.terminal.progress import show_step
from untrained.wann.evolution import checkpoint
from untrained.wann.evolution.front import Found
from untrained.wann.evolution.presets import preset_named
from untrained.wann.evolution.progress import SearchProgress
from untrained.wann.evolution.search import Row, Search
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.numerics import jit
from untrained.wann.runs.best_so_far import BestSoFar, draw, facts_of, write_front
from untrained.wann.runs.settings import WannSettings, format_task_flag
from untrained.wann.tasks.by_name import preset_of, task_named
from untrained.wann.tasks.task import Task
from untrained.wann.tuning.columns import Column, ensemble, four_columns, six_weights, without_connections
from untrained.wann.tuning.tune import best_shared, tuned

_GENERATIONS, _NEVER = {"pareto": 300, "archive": 800}, 1_000_000  # about a minute on two cores
_ISLANDS = {"pareto": 1, "archive": 4}  # half of the searches find no network that balances
_SAVE_EVERY = 20.0  # seconds
_CURVE = np.linspace(-3, 3, 61)


@final
@dataclass(frozen=True)
class WannRun:
    """The result of `evolve`.

    Attributes:
        front: the Pareto front of reward against number of connections, by size.
        columns: the scores of the best network on test data, or in further episodes, by kind of weights.
        ensemble: accuracy of the six weights together, for classifiers.
        shared: the tuned shared weight.
        attempts: best reward of every island, and of attempts that a restart has ended.
        measure: name of the columns' scores.
        folder: the folder of all files.
        picture: the picture, or None when matplotlib is not installed.
        report: one HTML page about the run.
        most: greatest reward that there can be, if it is known.

    Example:
        >>> run = wann.evolve(task="digits", population=8, generations=1, trials=1, tune="shared", workers=1, out="run")
        >>> run.measure, run.report.name
        ('accuracy', 'report.html')
    """

    front: tuple[Found, ...]
    columns: tuple[Column, ...]
    ensemble: float | None
    shared: float
    attempts: tuple[float, ...]
    measure: str
    folder: Path
    picture: Path | None
    report: Path
    most: float | None = None


def evolve(
    settings: WannSettings | None = None, *, tell: Callable[[str], None] | None = None, **changes: Any
) -> WannRun:
    """Search for weight agnostic networks, tune the best one, and write networks, metrics, picture and report.

    Networks and weights are chosen on validation data, or in episodes that the search does not use; the table shows
    test data, or further episodes. The best network so far and its picture are written soon, and overwritten now and
    then. An interrupted run leaves them, checkpoint and metrics, and continues with `resume=True`.

    Args:
        settings: all settings; None: the default ones.
        tell: called with a line about how a table was read, before the search.
        changes: fields of `WannSettings` to change, such as `task="digits"`.

    Raises:
        ValueError: a setting is not valid, or the folder holds another run.
        OSError, ImportError: the task's data, or a package that it needs, are missing.
        KeyboardInterrupt: after Ctrl-C; the message has the command that resumes.

    Example:
        >>> run = wann.evolve(task="digits", population=8, generations=1, trials=1, tune="shared", workers=1, out="run")
        >>> [column.name for column in run.columns][2:4]
        ['random shared weight', 'tuned shared weight']
    """
    settings = replace(settings or WannSettings(), **changes)
    if settings.task.lower().endswith(".csv"):
        settings = replace(settings, task=str(Path(settings.task).resolve()))  # found again from any folder
    task = task_named(settings.task, settings.data_dir, max_steps=settings.max_steps, predict=settings.predict)
    if tell is not None and task.about:
        tell(task.about)
    search = _new_search(settings, task)
    folder = _folder(settings, task)
    with sole_writer(folder):
        return _run_in(folder, settings, task, search)


def _run_in(folder: Path, settings: WannSettings, task: Task, search: Search) -> WannRun:
    """Search, tune and measure, and write all results into the folder; the caller keeps other writers out."""
    if settings.resume:
        search.restore(folder)
    elif (folder / checkpoint.NAME).exists():
        raise ValueError(f"{folder} holds a run; --resume goes on with it, another --out starts one")
    else:
        with atomic_write(folder / CONFIG) as unfinished:
            # A cluster's address is for this time only, and a file may not name one.
            local = replace(settings, workers=None) if isinstance(settings.workers, str) else settings
            unfinished.write_text(to_toml(local), encoding="utf-8")
    workers = search.evaluator.workers
    threads = 1 if isinstance(workers, str) else workers  # those of a cluster are not asked
    note_machine(folder, Machine.here(threads, f"numpy {np.__version__}, {jit.VERSION}"))
    try:
        search.save(folder)
        _run_search(search, settings, folder)
        with show_step(f"{task.name}: tuning the shared weight"):
            shared = best_shared(task, search.best.net, seed=settings.seed)
        own = _tune(search, settings, shared)
        facts = facts_of(search.best, search, settings) | {"shared_weight": shared}
        best = search.best.net
        (folder / RESULTS).unlink(missing_ok=True)  # of another network, if the run goes on after its end
        for net, name in _named(best, own):
            net.replace(meta=facts).save(folder / name)
        with show_step(f"{task.name}: measuring the table, {settings.trials} trials of each kind of weights"):
            columns = four_columns(task, best, own, shared=shared, trials=settings.trials, seed=settings.seed)
            columns.insert(0, six_weights(task, best, trials=settings.trials, seed=settings.seed))
            columns.append(without_connections(task, trials=settings.trials, seed=settings.seed))
            rewards = task.scores(Packed.of([best]), tuple(_CURVE.tolist()), search.seed, reps=20)[0]
            together = ensemble(task, best)
        # Once more, with the figures of the test: measuring takes time, and may be interrupted.
        for (net, name), column in zip(_named(best, own), columns[3:-1], strict=True):
            tested = {"measure": task.measure, column.name: _figures(column)}
            net.replace(meta=facts | tested).save(folder / name)
    except KeyboardInterrupt:
        cluster = f" --workers {shlex.quote(settings.workers)}" if isinstance(settings.workers, str) else ""
        again = f"untrained wann --out {shlex.quote(str(folder))} --resume{format_task_flag(settings.task)}{cluster}"
        raise KeyboardInterrupt(f"interrupted; go on with: {again}") from None
    picture = folder / PICTURE if available() else None
    page = folder / REPORT
    found = search.front, tuple(columns), together, shared, search.attempts, task.measure
    run = WannRun(*found, folder, picture, page, task.most)
    _write_results(run, task, rewards)
    if picture is not None:
        with show_step(f"{task.name}: drawing {picture.name}"):
            draw(picture, search, _CURVE, rewards, task.measure)
    with show_step(f"{task.name}: writing {page.name}"):
        from untrained.wann.runs.report import write_report  # imports torch, which takes seconds

        write_report(folder)
    return run


def _tune(search: Search, settings: WannSettings, shared: float) -> Net | None:
    """Return the best network with a tuned weight for every connection, if that is asked for and there are any."""
    task, best = search.task, search.best.net
    if settings.tune == "shared" or not best.connections:
        return None
    with show_step(f"{task.name}: tuning a weight for each of {best.connections:,} connections"):
        return tuned(task, best, shared=shared, seed=settings.seed, workers=settings.workers)


def _named(best: Net, own: Net | None) -> list[tuple[Net, str]]:
    """Return the network, and that with tuned weights if there is one, with the names of their files."""
    return [(best, FOUND)] if own is None else [(best, FOUND), (own, TUNED)]


def _figures(column: Column) -> dict[str, float]:
    """Return the finite figures of a column, for a network's file."""
    figures = {"mean": column.mean, "std": column.std, **column.measures}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _new_search(settings: WannSettings, task: Task) -> Search:
    preset = preset_named(settings.preset or preset_of(settings.task))
    if settings.population is not None:
        preset = replace(preset, population=settings.population)
    return Search(
        task,
        preset,
        seed=settings.seed,
        islands=settings.islands or _ISLANDS[preset.selection],
        migrate_every=settings.migrate_every,
        restart_after=settings.restart_after,
        workers=settings.workers,
        official_quirks=settings.official_quirks,
    )


def _folder(settings: WannSettings, task: Task) -> Path:
    if settings.out is not None:
        return settings.out
    name = task.name.replace(":", "-").replace("/", "-")
    return Path("runs") / f"wann-{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _run_search(search: Search, settings: WannSettings, folder: Path) -> None:
    """Search, and write checkpoint, metrics and front even if the search is interrupted."""
    saved = time.monotonic()

    def save_now_and_then(search: Search, row: Row) -> None:
        nonlocal saved
        if time.monotonic() - saved > _SAVE_EVERY:
            search.save(folder)
            saved = time.monotonic()

    generations = settings.generations
    if generations is None:
        generations = _NEVER if settings.minutes else _GENERATIONS[search.preset.selection]
    if settings.minutes and search.state.generation >= generations:
        generations = _NEVER  # a run that has all its generations continues for the minutes
    seconds = None if settings.minutes is None else 60 * settings.minutes
    early = BestSoFar(folder, settings)
    with SearchProgress(search, generations) as progress:
        try:
            search.run(generations, seconds=seconds, callbacks=(progress, save_now_and_then, early))
        finally:
            write_front(folder / FRONT, search, settings)
            search.save(folder)


def _write_results(run: WannRun, task: Task, rewards: np.ndarray) -> None:
    curve = {"weights": _CURVE.tolist(), "rewards": [r if np.isfinite(r) else None for r in rewards.tolist()]}
    results = {
        "measure": run.measure,
        "most": run.most,
        "columns": [
            {"name": c.name, "mean": c.mean, "std": c.std, "scores": c.scores}
            | {"measures": {name: value if np.isfinite(value) else None for name, value in c.measures.items()}}
            for c in run.columns
        ],
        "ensemble": run.ensemble,
        "shared_weight": run.shared,
        "connections": run.front[-1].net.connections,
        "validation": run.front[-1].reward,
        "attempts": run.attempts,
        "curve": curve,
        "input_names": None if task.input_names is None else list(task.input_names),
    }
    with atomic_write(run.folder / RESULTS) as unfinished:
        unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values."""
    finite = [value for value in values if np.isfinite(value)]
    return (float(np.mean(finite)), float(np.std(finite))) if finite else (float("nan"), float("nan"))
