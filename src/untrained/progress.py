"""One line that tells how a run is going; silent when nobody is looking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

_SECONDS_BETWEEN_LOOKS = 0.2


@final
class Progress:
    """A progress bar on standard error over the batches of all epochs.

    Args:
        title: what is being done.
        epochs: how many epochs.
        batches: batches per epoch.
        quiet: show nothing; also when standard error is no terminal.
    """

    def __init__(self, title: str, epochs: int, batches: int, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[says]}"),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True)
        self._task = self._bar.add_task(title, total=epochs * batches, says="")
        self._batches, self._epoch_says = batches, ""
        self._last_look = time.monotonic()
        self._start_of_epoch = self._last_look

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def batch_done(self, totals: Tensor) -> None:
        """Move on by a batch; `totals` are the epoch's (loss, right answers, examples) so far."""
        self._bar.advance(self._task)
        now = time.monotonic()
        # Reading the totals waits for the device, so do it only when somebody could see it.
        if self._bar.disable or now - self._last_look < _SECONDS_BETWEEN_LOOKS:
            return
        self._last_look = now
        loss, right, examples = totals.tolist()
        speed = examples / (now - self._start_of_epoch)
        says = f"loss {loss / examples:.3f}  accuracy {right / examples:.1%}  {speed:,.0f}/s"
        self._bar.update(self._task, says=says + self._epoch_says)

    def epoch_done(self, row: Mapping[str, float | int]) -> None:
        """Note the end of an epoch, and bring the bar there (a resumed run starts in the middle)."""
        self._start_of_epoch = time.monotonic()
        self._epoch_says = f"  validation {row['val_accuracy']:.1%}" if "val_accuracy" in row else ""
        self._epoch_says += f"  flips {row['flips']:.2%}" if "flips" in row else ""
        self._bar.update(self._task, completed=row["epoch"] * self._batches)


@contextmanager
def counting(title: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error over things that take long; what it yields is called for each, with its news."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[says]}")
    with RichProgress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(title, total=total, completed=done, says="")
        yield lambda says: bar.update(task, advance=1, says=says)
