"""Progress of a search: a bar on a terminal or in a notebook, elsewhere plain lines on standard error."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Self, final

from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

from untrained.terminal.progress import STATUS, TITLE, bar, print_line
from untrained.terminal.text import printable
from untrained.wann.evolution.search import Row, Search
from untrained.wann.numerics.jit import AVAILABLE, watch_compiling

_QUIET = 5.0  # seconds between two lines, at first


@final
class SearchProgress:
    """Progress bar over the generations, or lines where there is no terminal; a callback of `Search.run`.

    Lines are at least 5 s apart, later a twentieth of the time that has passed. Kernels are named while they are
    compiled.

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
        self._task = self._bar.add_task(
            printable(search.task.name),
            total=generations,
            completed=search.state.generation,
            status="" if AVAILABLE else "without numba: slow",
        )
        self._episodes = len(search.weights) * search.preset.reps  # per network
        self._name, self._generations = search.task.name, generations
        self._start = self._last = self._said = time.monotonic()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._bar.start()
        self._open.enter_context(watch_compiling(self._compiling))
        if self._bar.disable:
            print_line(f"{self._name}: search begins")
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
        self._bar.stop()

    def _compiling(self, number: int, kernel: str) -> None:
        status = f"compiling kernel {number}: {kernel}"
        self._bar.update(self._task, status=status)
        if self._bar.disable:
            print_line(f"{self._name}: {status}")

    def __call__(self, search: Search, row: Row) -> None:
        passed, self._last = time.monotonic() - self._last, time.monotonic()
        best, mean = (row[name] for name in ("best", "mean"))
        status = "every network broke down"
        if best is not None and mean is not None:
            status = f"best {best:,.4g}  mean {mean:,.4g}  {row['connections']} connections"
        if "chosen" in row:
            status += f"  chosen {row['chosen']:,.4g}"
        if passed > 0:  # a coarse clock may stand still for a generation
            status += f"  {row['evaluated'] * self._episodes / passed:,.0f} evaluations/s"
        if search.evaluator.choice is not None and (threads := search.evaluator.choice.chosen):
            status += f"  {threads} thread{'s' * (threads > 1)}"
        self._bar.update(self._task, completed=search.state.generation, status=status)
        if self._bar.disable and self._last - self._said >= max(_QUIET, (self._last - self._start) / 20):
            self._said = self._last
            done = f"generation {search.state.generation:,} of {self._generations:,}"
            print_line(f"{self._name}: {done}  {self._last - self._start:,.0f} s  {status}")
