"""Progress bar of a search on a terminal or in a notebook; no output otherwise."""

from __future__ import annotations

import time
from typing import Self, final

from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

from untrained.terminal.progress import STATUS, TITLE, bar
from untrained.terminal.text import printable
from untrained.wann.evolution.search import Row, Search
from untrained.wann.numerics.jit import AVAILABLE


@final
class SearchProgress:
    """A progress bar over the generations; a callback of `Search.run`.

    Args:
        search: the search.
        generations: their number at the end of the search.

    Example:
        >>> preset = wann.Preset(population=8, generations=3, reps=1, tournament=2)
        >>> search = wann.Search(wann.digits(), preset)
        >>> with wann.SearchProgress(search, 3) as progress:
        ...     front = search.run(callbacks=[progress])
        >>> len(search.rows)
        3
    """

    def __init__(self, search: Search, generations: int) -> None:
        self._bar = bar(TITLE, BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), STATUS)
        status = "the first time, kernels are compiled: half a minute, once" if AVAILABLE else "without numba: slow"
        self._task = self._bar.add_task(
            printable(search.task.name), total=generations, completed=search.state.generation, status=status
        )
        self._episodes = len(search.weights) * search.preset.reps * search.preset.population * search.islands
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, search: Search, row: Row) -> None:
        passed, self._last = time.monotonic() - self._last, time.monotonic()
        best, mean = (row[name] for name in ("best", "mean"))
        status = "every network broke down"
        if best is not None and mean is not None:
            status = f"best {best:,.4g}  mean {mean:,.4g}  {row['connections']} connections"
        if "chosen" in row:
            status += f"  chosen {row['chosen']:,.4g}"
        if passed > 0:  # a coarse clock may stand still for a generation
            status += f"  {self._episodes / passed:,.0f} evaluations/s"
        self._bar.update(self._task, completed=search.state.generation, status=status)
