"""Progress bars on a terminal or in a notebook; elsewhere no output, or plain lines."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from untrained.terminal.text import printable

if TYPE_CHECKING:
    from torch import Tensor

_INTERVAL = 0.2  # seconds between two updates
TITLE, STATUS = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[status]}", markup=False)


def bar(*columns: ProgressColumn, quiet: bool = False) -> RichProgress:
    """Return a progress bar on standard error or in a notebook's cell.

    It is hidden if `quiet`, or if standard error is no terminal and this is no notebook.
    """
    console = Console(stderr=True)
    if console.is_jupyter and not quiet:
        return _CellBar(*columns, console=console)
    console.quiet = quiet or not console.is_terminal  # rich before 14.3 ends a hidden bar with an empty line
    return RichProgress(*columns, console=console, disable=console.quiet, transient=True)


@final
class _CellBar(RichProgress):
    """Progress bar as the output of a notebook's cell, where that of rich needs widgets. Its last state stays."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        super().__init__(*columns, console=console)
        self._handle: Any = None
        self._last_update = 0.0

    def start(self) -> None:
        from IPython.display import display

        self._handle = display(self._text(), raw=True, display_id=True)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.update(self._text(), raw=True)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._refresh()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._refresh()

    def _refresh(self) -> None:
        if self._handle is not None and time.monotonic() - self._last_update >= _INTERVAL:
            self._last_update = time.monotonic()
            self._handle.update(self._text(), raw=True)

    def _text(self) -> dict[str, str]:
        page = Console(file=io.StringIO(), width=120, color_system=None, force_jupyter=False)
        with page.capture() as captured:
            page.print(self.get_renderable())
        return {"text/plain": captured.get().strip()}


@final
class Progress:
    """Progress bar over the batches of all epochs, with `batches` in each."""

    def __init__(self, title: str, epochs: int, batches: int, *, quiet: bool = False) -> None:
        self._bar = bar(TITLE, BarColumn(), MofNCompleteColumn(), STATUS, TimeRemainingColumn(), quiet=quiet)
        self._task = self._bar.add_task(printable(title), total=epochs * batches, status="")
        self._batches, self._batch_status, self._epoch_status = batches, "", ""
        self._last_update = time.monotonic()
        self._start_of_epoch = self._last_update

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def batch_done(self, totals: Tensor, metric: Callable[[], str]) -> None:
        """Advance by a batch.

        Args:
            totals: the epoch's loss, the number that it is the mean over, and examples, so far.
            metric: a function that returns the epoch's metric so far, as text.
        """
        self._bar.advance(self._task)
        now = time.monotonic()
        # Reading the totals waits for the device, so it is done only for values that are shown.
        if self._bar.disable or now - self._last_update < _INTERVAL:
            return
        self._last_update = now
        loss, counted, examples = totals.tolist()
        self._batch_status = f"loss {loss / max(counted, 1):.3f}  {metric()}"
        if now > self._start_of_epoch:  # a coarse clock may stand still for a batch
            self._batch_status += f"  {examples / (now - self._start_of_epoch):,.0f}/s"
        self._bar.update(self._task, status=self._batch_status + self._epoch_status)

    def epoch_done(self, row: Mapping[str, float | int], validation: str) -> None:
        """Show the end of an epoch, and move the bar there: a resumed run starts in the middle.

        Args:
            row: metrics of the epoch.
            validation: its metric on validation data as text; empty without these.
        """
        self._start_of_epoch = time.monotonic()
        self._epoch_status = f"  validation {validation}" if validation else ""
        self._epoch_status += f"  flips {row['flips']:.2%}" if "flips" in row else ""
        # Shown here too, as no batch may follow that is late enough to be shown.
        status = self._batch_status + self._epoch_status
        self._bar.update(self._task, completed=row["epoch"] * self._batches, status=status)


@contextmanager
def show_step(title: str) -> Iterator[None]:
    """Show the name of a step while it lasts: with its time on a terminal, elsewhere as a line on standard error."""
    shown = bar(TITLE, TimeElapsedColumn())
    shown.add_task(printable(title), total=None)
    if shown.disable:
        print_line(title)
    with shown:
        yield


def print_line(text: str) -> None:
    """Print a line on standard error at once, if there is one."""
    if sys.stderr is not None:
        print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def show_progress(title: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; yield a function to call with a status text after each item."""
    with bar(TITLE, BarColumn(), MofNCompleteColumn(), STATUS, TimeRemainingColumn()) as shown:
        task = shown.add_task(title, total=total, completed=done, status="")
        yield lambda status: shown.update(task, advance=1, status=printable(status))
