"""Commands about banks: many tasks in one file, on one frozen network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from untrained.cli.app import CONFIG_HELP
from untrained.cli.ticket import OwnModel, facts_of, metric_in, test_batches
from untrained.runs.settings import Settings
from untrained.terminal.text import Table, say

if TYPE_CHECKING:
    from torch import Tensor

    from untrained.bank.bank import Bank

_ROUNDS = 200  # of a switch that is timed

app = App(
    name="bank",
    default_parameter=Parameter(negative=()),
    help="""Keep many tasks in one file: one frozen network, and about a bit per weight for each task.

    ```
    untrained bank add tasks.bank --name digits              search, and add what is found
    untrained bank add tasks.bank --name more --ticket FILE  add a ticket
    untrained bank list tasks.bank                           its tasks, and their bytes
    untrained bank eval tasks.bank                           every task's accuracy
    untrained bank which tasks.bank IMAGE                    the task that an image belongs to
    untrained bank extract tasks.bank digits out.ticket      a task as a ticket of its own
    untrained bank remove tasks.bank digits
    untrained bank bench tasks.bank                          the time of a switch
    ```
    """,
)


@app.command
def add(
    file: Path,
    /,
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008  a frozen dataclass
    *,
    name: str,
    ticket: Path | None = None,
    config: Annotated[Path | None, Parameter(help=CONFIG_HELP)] = None,
) -> None:
    """Add a task: search for one with the options of `find`, or take a ticket.

    The first task makes the file, and its seed, weights and network are the bank's. Later ones take these from the bank
    (a seed of 0 too), and other ones are refused before the search.

    Ctrl-C leaves a checkpoint; the same command with `--out` and `--resume` continues.

    Args:
        file: The bank.
        name: Name of the task in the bank.
        ticket: A ticket that was found elsewhere on the same seed, weights and network.
    """
    from untrained.bank.file import opened
    from untrained.experiments.add_task import add_ticket, find_task

    if ticket is None:
        ticket, row = find_task(settings, file, name)
        what = "test images" if row.value is None else "test data"
        say(f"found    {row.metric.words} {row.metric.show(row.test)} on {what}; {ticket}")
    elif settings != Settings(model=settings.model):
        raise ValueError("--ticket is a finished search: leave the options of a search out, but for a --model of yours")
    add_ticket(file, name, ticket, None if settings.model == Settings().model else settings.model)
    with opened(file) as read:
        say(f"added    {name}: {read.bytes_of(name):,} bytes; {file} has {_count(read.names)} in {read.end:,} bytes")


@app.command(name="list")
def list_(file: Path, /, *, json_: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the tasks of a bank, and its bytes beside those of as many dense and int8 models.

    Args:
        file: The bank.
        json_: Print JSON.
    """
    from untrained.bank.file import opened
    from untrained.bank.summary import TaskSummary
    from untrained.bank.task import Task
    from untrained.data.dataset import without_place

    rows: list[dict[str, Any]] = []
    dense = int8 = 0
    with opened(file) as read:
        for name, ticket, data in read.tickets():
            its = TaskSummary.of(Task.of(name, ticket, data), read.bytes_of(name))
            facts = {"accuracy": its.accuracy, "data": without_place(str(ticket.meta.get("data") or "")) or None}
            rows.append({"name": name, "kept": its.kept, "weights": its.weights, "bytes": its.file_bytes, **facts})
            dense, int8 = dense + its.dense_bytes, int8 + its.int8_bytes
        end = read.end
    if json_:
        print(json.dumps({"tasks": rows, "bytes": end, "dense_bytes": dense, "int8_bytes": int8}))
        return
    cells = [
        (
            row["name"],
            f"{row['kept']:,} of {row['weights']:,}",
            f"{row['bytes']:,}",
            "" if row["accuracy"] is None else f"{row['accuracy']:.2%}",
            str(row["data"] or ""),
        )
        for row in rows
    ]
    Table(("task", "kept weights", "bytes", "accuracy", "data"), cells).print()
    print(f"{_count(rows)} in {end:,} bytes; as dense models {dense:,}, as int8 {int8:,}")


@app.command(name="eval")
def evaluate(
    file: Path,
    /,
    *,
    task: str | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    loss: str | None = None,
    metric: str | None = None,
    infer: bool = False,
    model: OwnModel = None,
) -> None:
    """Measure the accuracy, or another metric, of every task on the test data of its search.

    Args:
        file: The bank.
        task: Measure this task alone.
        data: Data set for the one task: a known name, a folder of images, or FILE.py:NAME of your function (default:
            that of its search, but for code: files do not run code).
        data_dir: Folder of the data sets and folders of images, or for their download.
        loss, metric: As in find (default: by the type of the labels; the task's metric, if it is a built-in one).
        infer: Also infer the task of each batch of 128 images, normalised as those of their own task, and measure the
            answers of the inferred one: the names of the classes must be the same. The page beside the bank then shows
            which tasks were taken for which.
    """
    import torch

    from untrained.bank.file import task_in_errors
    from untrained.bank.network import load_with
    from untrained.experiments.choices import function_of
    from untrained.report.bank_page import write_bank_report
    from untrained.search.evaluation import evaluate as measure
    from untrained.tickets.file import add_path_to_errors

    if data is not None and task is None:
        raise ValueError(f"--data is for one task: add --task, got --data {data}")
    if infer and task is not None:
        raise ValueError("--infer is for all tasks: leave --task out")
    bank, cells, metrics, taken_for = load_with(file, model), [], {}, []
    if infer and (unnamed := [task.name for task in bank.tasks if task.labels is None]):
        raise ValueError(f"--infer needs the labels of every task, and {unnamed[0]!r} has none")
    for its in bank.tasks if task is None else [bank.task(task)]:
        with add_path_to_errors(file), task_in_errors(its.name):
            facts = facts_of(its.meta, data)
            chosen = function_of(metric or metric_in(its.meta))
        name, batches = test_batches(file, f"task {its.name!r}", facts, data, data_dir, loss)
        with bank.using(its.name) as network:
            result = measure(network, batches, loss=function_of(loss), metric=chosen)
        metrics |= {result.metric.words: None}
        cells.append((its.name, result.metric.show(result.value), f"{result.examples:,}", name))
        if infer:
            shares, right = _infer(bank, its.name, batches)
            taken_for.append([shares[each] for each in bank.names])
            cells[-1] += (f"{shares[its.name]:.2%}", f"{right:.2%}")
    more = ("batches inferred", "accuracy inferred") if infer else ()
    Table(("task", ", ".join(metrics) or "accuracy", "examples", "data", *more), cells).print()
    if infer and cells:
        say(f"page     {write_bank_report(file, torch.tensor(taken_for))}")


@app.command
def which(file: Path, /, *images: Path, model: OwnModel = None) -> None:
    """Infer the task that each image belongs to: the one whose answer has the least entropy.

    Args:
        file: The bank; its tasks must have images of one shape and normalisation.
        images: Image files, scaled to the size of the network's.
    """
    import torch

    from untrained.bank.file import task_in_errors
    from untrained.bank.network import load_with
    from untrained.data.image_files import Form, ImageFiles
    from untrained.tickets.file import add_path_to_errors

    if not images:
        raise ValueError("which needs one image or more")
    bank, forms = load_with(file, model), {}
    for task in bank.tasks:
        with add_path_to_errors(file), task_in_errors(task.name):
            facts = facts_of(task.meta)
        forms.setdefault(json.dumps([facts[each] for each in ("shape", "mean", "std")]), task.name)
    if len(forms) != 1:
        listed = ", ".join(f"{form} of {name!r}" for form, name in forms.items()) or "no task"
        raise ValueError(f"{file} needs tasks of one shape, mean and std, got {listed}")
    shape, mean, std = json.loads(next(iter(forms)))
    pixels = ImageFiles(images, Form(*shape, scaled=True, threads=1))[torch.arange(len(images))]
    inputs = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    found = bank.which(inputs, "each", per="row")
    for image, task in zip(images, found.task or (), strict=True):
        say(f"{image}  {task}")


@app.command
def extract(file: Path, name: str, out: Path, /) -> None:
    """Write a task of a bank as a ticket, which needs the bank no more.

    Args:
        file: The bank.
        name: The task.
        out: The ticket.
    """
    from untrained.bank.file import opened
    from untrained.files import atomic_write

    if out.resolve() == file.resolve():
        raise ValueError(f"{out} is the bank itself")
    with opened(file) as read:
        ((_, _, data),) = read.tickets([name])
    with atomic_write(out) as unfinished:
        unfinished.write_bytes(data)
    say(f"{out}: {len(data):,} bytes")


@app.command
def remove(file: Path, name: str, /) -> None:
    """Remove a task from a bank, which is written anew.

    Args:
        file: The bank.
        name: The task.
    """
    from untrained.bank import change
    from untrained.bank.file import opened

    change.remove(file, name)
    with opened(file) as read:
        say(f"removed  {name}; {file} has {_count(read.names)} in {read.end:,} bytes")


@app.command
def bench(file: Path, /, *, model: OwnModel = None) -> None:
    """Time a switch between two tasks here: dense, packed, and torch's copy of as many floats.

    Args:
        file: The bank, of two tasks or more.
    """
    from untrained.bank.network import load_with

    bank = load_with(file, model)
    if len(bank) < 2:
        raise ValueError(f"{file} has {_count(bank)}; a switch needs two")
    first, second = bank.names[:2]
    held = list(bank.use(first).state_dict().values())
    copies = [tensor.clone() for tensor in held]

    def copy() -> None:
        for tensor, other in zip(held, copies, strict=True):
            tensor.copy_(other)

    times = {
        "dense, W ⊙ m into the live network": _median(lambda: bank.use(first), lambda: bank.use(second)),
        "torch's copy_ of the same floats": _median(copy, copy),
    }
    try:
        times["packed"] = _median(lambda: bank.packed(first), lambda: bank.packed(second))
    except ValueError as error:
        say(f"packed is left out: {error}")
    Table(("a switch", "µs"), [(what, f"{1e6 * seconds:,.1f}") for what, seconds in times.items()]).print()


def _infer(bank: Bank, name: str, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[dict[str, float], float]:
    """Return the share of batches of 128 that is taken for each task, and of images that this task answers right."""
    taken, right, total = dict.fromkeys(bank.names, 0), 0, 0
    for images, labels in batches:
        for x, y in zip(images.split(128), labels.split(128), strict=True):
            found = str(bank.which(x).task)
            answers = bank(x, found).argmax(1).tolist()
            own, its = (dict(enumerate(bank.task(each).labels or ())) for each in (name, found))  # outputs may be more
            right += sum(
                its.get(given, given) == own.get(label, label) for given, label in zip(answers, y.tolist(), strict=True)
            )
            taken[found], total = taken[found] + 1, total + len(x)
    count = max(1, sum(taken.values()))
    return {each: n / count for each, n in taken.items()}, right / max(1, total)


def _median(*turns: Callable[[], object]) -> float:
    """Return the median of the seconds that these take in turn, once each is warm."""
    import statistics
    import time

    times = []
    for number in range(_ROUNDS + len(turns)):
        start = time.perf_counter()
        turns[number % len(turns)]()
        times.append(time.perf_counter() - start)
    return statistics.median(times[len(turns) :])


def _count(tasks: Sized) -> str:
    return f"{len(tasks)} task{'s' * (len(tasks) != 1)}"
