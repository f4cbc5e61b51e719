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
    Task,
    TaskID,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from untrained.terminal.text import printable

if TYPE_CHECKING:
    from torch import Tensor

_INTERVAL = 0.2  # seconds between two updates
_QUIET = 30.0  # seconds between two lines inside an epoch, where there is no terminal
_NARROW, _WIDE, _FROM = 10, 40, 140  # characters of a bar, and of the terminal from which on it is wide


@final
class _LineColumn(ProgressColumn):
    """Text of one line, which is cut off where the terminal is too narrow for all columns."""

    def __init__(self, text: Callable[[Task], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text(task), no_wrap=True, overflow="ellipsis")


TITLE, STATUS = _LineColumn(lambda task: task.description), _LineColumn(lambda task: task.fields["status"])


def _columns() -> list[ProgressColumn]:
    """Return title, bar, percentage, time that remains, and status: title and status yield where there is no room."""
    width = _WIDE if Console(stderr=True).width >= _FROM else _NARROW
    whole = Column(no_wrap=True)
    times = TaskProgressColumn(table_column=whole), TimeRemainingColumn(table_column=whole)
    return [TITLE, BarColumn(width, table_column=whole), *times, STATUS]


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
    """Progress bar over the batches of all epochs, with `batches` in each; a line per epoch without a terminal."""

    def __init__(self, title: str, epochs: int, batches: int, *, quiet: bool = False) -> None:
        self._bar = bar(*_columns(), quiet=quiet)
        self._task = self._bar.add_task(printable(title), total=epochs * batches, status="")
        self._prints = self._bar.disable and not quiet
        self._name, self._epochs, self._batches = title or "search", epochs, batches
        self._batch_status = self._epoch_status = ""
        self._start = self._last_update = self._start_of_epoch = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        if self._prints:
            print_line(f"{self._name}: {_count(self._epochs, 'epoch')} of {_count(self._batches, 'batch', 'batches')}")
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
        if now - self._last_update < (_QUIET if self._prints else _INTERVAL) or (
            self._bar.disable and not self._prints
        ):
            return
        self._last_update = now
        loss, counted, examples = totals.tolist()
        self._batch_status = f"loss {loss / max(counted, 1):.3f}  {metric()}"
        if now > self._start_of_epoch:  # a coarse clock may stand still for a batch
            self._batch_status += f"  {examples / (now - self._start_of_epoch):,.0f}/s"
        self._bar.update(self._task, status=self._status())
        if self._prints:
            task = self._bar.tasks[self._task]
            print_line(f"{self._name}: {task.percentage:.0f} %  {now - self._start:,.0f} s  {self._batch_status}")

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
        self._bar.update(self._task, completed=row["epoch"] * self._batches, status=self._status())
        if self._prints:
            self._last_update = self._start_of_epoch
            passed = self._start_of_epoch - self._start
            done = f"epoch {row['epoch']:,} of {self._epochs:,}  {passed:,.1f} s  loss {row['train_loss']:.3f}"
            print_line(f"{self._name}: {done}{self._epoch_status}")

    def _status(self) -> str:
        """Return the figures of the last epoch, and those of the present one, which a narrow terminal may cut off."""
        return f"{self._epoch_status}  {self._batch_status}".strip()


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
def show_progress(title: str, total: int, done: int, items: str = "items") -> Iterator[Callable[[str], None]]:
    """Show a progress bar; yield a function to call with a status text after each item.

    Without a terminal these are lines: how many of the `items` are to do, and one after each.
    """
    start = time.monotonic()
    title_, *others = _columns()
    with bar(title_, MofNCompleteColumn(table_column=Column(no_wrap=True)), *others) as shown:
        task = shown.add_task(title, total=total, completed=done, status="")
        if shown.disable:
            print_line(f"{title}: {total - done:,} of {total:,} {items} to do")

        def advance(status: str) -> None:
            shown.update(task, advance=1, status=printable(status))
            if shown.disable:
                passed = time.monotonic() - start
                print_line(f"{title}: {shown.tasks[task].completed:,.0f} of {total:,}  {passed:,.1f} s  {status}")

        yield advance


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
