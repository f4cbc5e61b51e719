"""The networks of a search in its folder: the best with a picture, already while it runs, and the front."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.plot.figure import available
from untrained.search.run_files import FOUND, PICTURE, RESULTS
from untrained.terminal.progress import print_line
from untrained.wann.evolution.front import Found
from untrained.wann.evolution.search import Row, Search
from untrained.wann.runs.settings import WannSettings


@final
class BestSoFar:
    """Network and picture of the best so far, written while a search runs; a callback of `Search.run`.

    They are written after the first choice of a better network than those of the first generation, then at times that
    double. A folder with results keeps them until the end of the search, which continues a finished one.

    Args:
        folder: of the run.
        settings: of the run.
        clock: returns seconds.
    """

    def __init__(self, folder: Path, settings: WannSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._settings, self._clock = folder, settings, clock
        self._start, self._wait = clock(), 0.0
        self._finished_before = (folder / RESULTS).exists()

    def __call__(self, search: Search, row: Row) -> None:
        waits = self._clock() - self._start < self._wait
        if self._finished_before or waits or "front" not in row or not _has_learned(search):
            return
        best = search.best
        best.net.replace(meta=facts_of(best, search, self._settings)).save(self._folder / FOUND)
        written = FOUND
        if available():
            draw(self._folder / PICTURE, search, search.choosing_weights, best.rewards, "validation reward")
            written = PICTURE
        self._wait = 2 * (self._clock() - self._start)
        of = f"validation reward {best.reward:,.4g}, {best.net.connections:,} connections"
        print_line(f"{search.task.name}: the best so far is in {self._folder / written}  ({of})")


def _has_learned(search: Search) -> bool:
    """Return True if the network chosen last is better than the one chosen first."""
    chosen = [row["chosen"] for row in search.rows if "chosen" in row]
    return bool(chosen) and chosen[-1] > chosen[0]


def facts_of(found: Found, search: Search, settings: WannSettings) -> dict[str, Any]:
    """Return the metadata of a network's file: how it was found."""
    own = settings.task.lower().endswith(".csv")
    task = Path(settings.task).name if own else settings.task  # where a table lies is nobody else's
    where = {"task": task, "seed": search.seed, "generations": search.state.generation}
    limit = {} if settings.max_steps is None else {"max_steps": settings.max_steps}
    return where | limit | {"validation": found.reward}


def write_front(folder: Path, search: Search, settings: WannSettings) -> None:
    """Write every network of the front into a folder, in place of those of an earlier front."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*-connections.json"):
        old.unlink()
    for each in search.front:
        name = f"{each.net.connections:05}-connections.json"
        each.net.replace(meta=facts_of(each, search, settings)).save(folder / name)


def draw(
    path: Path, search: Search, weights: Sequence[float] | np.ndarray, rewards: Sequence[float] | np.ndarray, what: str
) -> None:
    """Draw the best network and the search; below it the network's rewards, named `what`, over the shared weight."""
    from untrained.wann.runs.drawing import draw_run

    best = search.best.net
    draw_run(
        path,
        net=best,
        names=search.task.input_names,
        rows=search.rows,
        front=[(each.net.connections, each.reward) for each in search.front],
        weights=weights,
        rewards=rewards,
        measure=what,
        title=f"{search.task.name}: {best.connections} connections, one shared weight",
        most=search.task.most,
    )
