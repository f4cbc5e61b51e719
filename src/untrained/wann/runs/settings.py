"""The settings of a search for weight agnostic networks: the flags of `untrained wann`. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

from cyclopts import Parameter, Token

from untrained.fields import check_fields
from untrained.runs.settings import number_or_cluster


def accept_task(task: str, file: str | Path) -> str:
    """Return the task that a file names, if it is built in or comes with Gymnasium.

    Raises:
        ValueError: it is a module, which would be run, or a table, which would be read.
    """
    if flag := format_task_flag(task[:500]):
        kind = "a table, which would be read" if task.lower().endswith(".csv") else "a module, which would be run"
        raise ValueError(
            f"{file} names {task[:500]!r}, {kind}; a file alone may not do that: if you trust it, add{flag}"
        )
    return task


def format_task_flag(task: str) -> str:
    """Return the flag that allows a file to name this task; an empty string if it needs no permission."""
    own = task.lower().endswith(".csv") or ":" in task.removeprefix("gym:")
    return f" --task {shlex.quote(task)}" if own else ""


def _task(_: Any, tokens: Sequence[Token]) -> str:
    """Return the task of the flag, or that of the settings file if a file may name it."""
    token = tokens[0]
    return token.value if token.source == "cli" else accept_task(token.value, token.source)


@final
@dataclass(frozen=True, kw_only=True)
class WannSettings:
    """Settings of `untrained wann` and `evolve`.

    Args:
        task: Task of the networks: digits, mnist, swingup, swingup-hard, cartpole, pendulum, acrobot,
            mountain-car, gym:ID (any Gymnasium environment) or a .csv file whose last column is to be predicted.
        data_dir: Folder of MNIST, or for its download.
        max_steps: Steps after which an episode of a gym:ID ends (default: the limit that it is registered with).
        predict: What the last column of a table holds, classes or numbers (default: words are classes, and so are few
            whole numbers; it is printed).
        preset: Settings of the search, named as the authors' files: default, swingup, laptop_swing, biped, mnist256; or
            ours, archive, digits and table (default: the one for the task).
        generations: Number of generations (default: 300, by the preset archive 800, or as many as --minutes allow).
        minutes: Minutes after which to stop searching; tuning follows.
        population: Networks per island (default: the preset's).
        islands: Populations that evolve separately (default: 1, by the preset archive 4).
        migrate_every: Generations after which each island sends its best to the next; 0: never.
        restart_after: Generations without a better network after which an island starts anew; 0: never.
        workers: Threads, or processes for gym tasks; or the cluster that evaluates networks: dask:ADDRESS, ray:ADDRESS,
            or dask or ray, by the package's own variables or on this machine (default: one thread or one per core,
            whichever measures quicker, and for gym tasks a process per core).
        seed: Seed of all random numbers of the search.
        tune: Weights to tune afterwards: the shared weight alone, or that of every connection, too.
        trials: Trials of each kind of weights in the table.
        official_quirks: Two quirks of the authors' code, which are mended otherwise; see the docs.
        out: Folder for the networks, metrics, checkpoint and picture (default: a new one under runs).
        resume: Go on with the search in the folder of --out.

    Example:
        >>> wann.WannSettings(task="digits", minutes=2).trials
        100
    """

    task: Annotated[str, Parameter(converter=_task)] = "swingup"
    data_dir: Path | None = None
    max_steps: int | None = None
    predict: Annotated[Literal["classes", "numbers"] | None, Parameter()] = None
    preset: str | None = None
    generations: int | None = None
    minutes: float | None = None
    population: int | None = None
    islands: int | None = None
    migrate_every: int = 0
    restart_after: int = 0
    workers: Annotated[int | str | None, Parameter(converter=number_or_cluster)] = None
    seed: int = 0
    tune: Annotated[Literal["shared", "weights"], Parameter()] = "weights"
    trials: int = 100
    official_quirks: bool = False
    out: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("out", "data_dir"):
            if isinstance(path := getattr(self, name), str):
                object.__setattr__(self, name, Path(path))
        check_fields(self)
        for name in ("generations", "minutes", "population", "islands", "workers", "trials", "max_steps"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.resume and self.out is None:
            raise ValueError("resume needs out, the folder of the run to go on with")
