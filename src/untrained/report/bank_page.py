"""The page about a bank: how good its tasks are, how far they overlap, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from untrained.bank.file import opened
from untrained.bank.overlap import overlap_matrix
from untrained.bank.summary import RANK, BankSummary
from untrained.bank.task import Task
from untrained.files import atomic_write
from untrained.report.charts import channel, short_names
from untrained.report.page import Chart, Image, Section, Table, render
from untrained.report.pixels import weights_image
from untrained.terminal.text import clean
from untrained.tickets.networks import name_of

_BARS, _MATRIX, _PAIRS, _POINTS = 40, 40, 6, 60
_TASKS, _UNITS = 4, 11
_NAMED = {"labelExpr": "names[datum.value]"}


def write_bank_report(path: str | Path, inferred: Tensor | None = None) -> Path:
    """Write the page about a bank's file beside it, as NAME.html, and return its path.

    Args:
        path: the file.
        inferred: (tasks, tasks): of the batches of each task the share that was taken for each; None: not measured.

    Raises:
        TicketError: the file is missing, damaged or no bank.
    """
    path = Path(path)
    with opened(path) as file:
        tasks = [Task.of(name, ticket, data) for name, ticket, data in file.tickets()]
        found, end = BankSummary.of(tasks, {name: file.bytes_of(name) for name in file.names}), file.end
    page = path.with_name(f"{path.name}.html")
    with atomic_write(page) as unfinished:
        unfinished.write_text(render_bank(tasks, found, end, inferred), encoding="utf-8", newline="\n")
    return page


def render_bank(tasks: Sequence[Task], found: BankSummary, file_bytes: int, inferred: Tensor | None = None) -> str:
    """Return the page as HTML.

    Args:
        tasks: the tasks of a bank.
        found: their summary.
        file_bytes: bytes of the bank's file.
        inferred: as in `write_bank_report`.
    """
    count = f"{len(tasks):,} task{'s' * (len(tasks) != 1)}"
    lead = f"{count} on one frozen network, each a choice among its weights. The file has {file_bytes:,} bytes."
    if not tasks:
        return render(f"{count} on one frozen network", [lead], [])
    first = tasks[0].ticket()
    network = clean(name_of(first) or "a network")
    lead += " The weights are " + (f"random, from seed {first.seed}." if first.law else "a pretrained model's.")
    sections = [*_accuracies(found), *_overlaps(tasks), *_bytes(found, file_bytes), *_table(found), *_pictures(tasks)]
    return render(f"{count} on {network}", [lead], [*sections, _inferred(tasks, inferred)])


def _accuracies(found: BankSummary) -> Iterator[Section]:
    known = [(task.name, 100 * task.accuracy) for task in found.tasks if task.accuracy is not None]
    if not known:
        yield Section("Accuracy", ["No task's facts have an accuracy."])
        return
    few, mean = len(known) <= _BARS, sum(y for _, y in known) / len(known)
    text = f"The mean is {mean:.2f} %, the lowest {min(y for _, y in known):.2f} %."
    if missing := len(found.tasks) - len(known):
        text += f" {missing:,} without an accuracy in their facts are left out."
    values = [{"task": number, "y": y} for number, (_, y) in enumerate(known)]
    names = {"name": "names", "value": short_names([name for name, _ in known], 24)}
    if few:
        spec: dict[str, Any] = {
            "height": {"step": 22}, "data": {"values": values}, "mark": {"type": "bar", "color": "var(--teal)"},
            "encoding": {"y": channel("task", "task", "ordinal", axis=_NAMED),
                         "x": channel("y", "accuracy, %", domain=[0, 100])},
        }  # fmt: skip
    else:
        y = channel("y", "accuracy, %", zero=False)
        spec = {"height": 280, "layer": [
            {"data": {"values": values}, "mark": {"type": "point", "size": 25, "color": "var(--teal)"},
             "encoding": {"x": channel("task", "task, in the order of the bank", nice=False), "y": y}},
            {"data": {"values": [{"y": mean}]}, "mark": {"type": "rule", "strokeDash": [6, 4], "color": "var(--grey)"},
             "encoding": {"y": y}},
        ]}  # fmt: skip
    caption = "The accuracy of each task, as its facts have it." + ("" if few else " The dashed line is the mean.")
    yield Section("Accuracy", [text], charts=[Chart(caption, {**spec, "params": [names]})])


def _overlaps(tasks: Sequence[Task]) -> Iterator[Section]:
    if len(tasks) < 2:
        return
    share, chance = overlap_matrix(tasks)
    beyond = (share - chance).fill_diagonal_(-math.inf).nan_to_num_(-math.inf)
    chosen = beyond.amax(1).argsort(descending=True, stable=True)[:_MATRIX].sort().values.tolist()
    places = [(i, j) for i in chosen for j in chosen if i != j and math.isfinite(float(beyond[i, j]))]
    if not places:
        yield Section("Overlap", ["No two tasks mask a tensor in common."])
        return
    expected = sorted({round(100 * float(chance[i, j]), 1) for i, j in places})
    level = f"{expected[0]} %" if len(expected) == 1 else f"{expected[0]} % to {expected[-1]} %, by the shares kept"
    text = (
        f"Weights that both tasks keep, of those that at least one of them keeps. Chance alone gives {level}. Searches "
        "that start from equal first scores overlap by more, even where tasks have nothing in common."
    )
    caption = f"Overlap of each pair of tasks, in %; chance gives {level}."
    if len(chosen) < len(tasks):
        caption += f" Shown are the {len(chosen)} of {len(tasks):,} tasks that overlap another most beyond chance."
    chart = Chart(caption, _map(tasks, chosen, share.fill_diagonal_(math.nan), "overlap, %"))
    yield Section("Overlap", [text], _alike(tasks, share, chance, beyond), [chart])


def _alike(tasks: Sequence[Task], share: Tensor, chance: Tensor, beyond: Tensor) -> Table:
    upper = beyond.clone()
    upper[tuple(torch.tril_indices(len(tasks), len(tasks)))] = -math.inf
    rows = []
    for place in upper.flatten().argsort(descending=True, stable=True)[:_PAIRS].tolist():
        i, j = divmod(place, len(tasks))
        if math.isfinite(float(upper[i, j])):
            names = f"{clean(tasks[i].name, 28)} and {clean(tasks[j].name, 28)}"
            rows.append((names, f"{float(share[i, j]):.1%}", f"{float(chance[i, j]):.1%}"))
    return Table(("most alike", "overlap", "chance"), rows)


def _inferred(tasks: Sequence[Task], share: Tensor | None) -> Section:
    title = "Inferred tasks"
    if share is None:
        how = "needs images, and a bank's file has none: `untrained bank eval --infer` measures it and writes it here."
        return Section(title, [f"How often the task of a batch is inferred rightly {how}"])
    right = share.diagonal()
    mistaken = share.sum(0) + share.sum(1) - 2 * right  # others for this task, and this task for others
    chosen = mistaken.argsort(descending=True, stable=True)[:_MATRIX].sort().values.tolist()
    text = f"Of the batches {float(right.mean()):.1%} were taken for their own task, as a mean over the tasks."
    caption = "Batches of each task (lines) by the task that they were taken for (columns), in %."
    if len(chosen) < len(tasks):
        caption += f" Shown are the {len(chosen)} of {len(tasks):,} tasks that were mistaken most."
    return Section(title, [text], charts=[Chart(caption, _map(tasks, chosen, share, "batches, %"))])


def _map(tasks: Sequence[Task], chosen: Sequence[int], share: Tensor, title: str) -> dict[str, Any]:
    values = [
        {"a": a, "b": b, "share": 100 * float(share[i, j])}
        for a, i in enumerate(chosen)
        for b, j in enumerate(chosen)
        if not math.isnan(float(share[i, j]))
    ]
    step = 26 if len(chosen) <= 12 else 16
    axis = {**_NAMED, "labelOverlap": len(chosen) > 12}
    range_ = {
        "range": ["var(--low)", "var(--high)"],
        "zero": False,
        "legend": {"gradientLength": 140, "format": ".3~g"},
    }
    names = short_names([tasks[i].name for i in chosen], 20)
    return {
        "height": {"step": step},
        "usermeta": {"widest": 160 + (step + 8) * max(6, len(chosen))},
        "params": [{"name": "names", "value": names}],
        "data": {"values": values},
        "mark": "rect",
        "encoding": {
            "x": channel("b", None, "ordinal", axis={**axis, "labelAngle": -45}),
            "y": channel("a", None, "ordinal", axis=axis),
            "color": channel("share", title, **range_),
        },
    }


def _bytes(found: BankSummary, file_bytes: int) -> Iterator[Section]:
    start = file_bytes - found.total("file_bytes")
    dense = [*accumulate(task.dense_bytes for task in found.tasks)]
    largest = accumulate((task.dense_bytes for task in found.tasks), max)
    own = [a + b for a, b in zip(accumulate(task.adapter_bytes for task in found.tasks), largest, strict=True)]
    lines = {
        "the bank": ("var(--teal)", [start + n for n in accumulate(task.file_bytes for task in found.tasks)]),
        f"one float model, adapters of rank {RANK}": ("var(--blue)", own),
        "int8 models": ("var(--orange)", [*accumulate(task.int8_bytes for task in found.tasks)]),
        "models of 32-bit floats": ("var(--grey)", dense),
    }  # fmt: skip
    t = len(dense)
    at = sorted({round(1 + (t - 1) * n / (_POINTS - 1)) for n in range(_POINTS)})
    values = [{"tasks": n, "y": ys[n - 1], "line": name} for name, (_, ys) in lines.items() for n in at]
    colours = [colour for colour, _ in lines.values()]
    legend = {"columns": 1, "labelLimit": 320}
    spec = {
        "height": 280,
        "data": {"values": values},
        "mark": {"type": "line", "point": t < 30, "strokeWidth": 2},
        "encoding": {
            "x": channel("tasks", "tasks", axis={"tickMinStep": 1, "format": "d"}, zero=False, nice=False),
            "y": channel("y", "bytes", axis={"format": "~s", "labelOverlap": True}, type="log"),
            "color": channel("line", None, "nominal", legend=legend, domain=list(lines), range=colours),
        },
    }
    text = (
        f"The bank has {lines['the bank'][1][-1]:,} bytes, {t:,} model{'s' * (t > 1)} of 32-bit floats {dense[-1]:,}. "
        "An int8 model is a byte for each weight of a matrix and a float16 scale for each row. Adapters are two "
        f"matrices of rank {RANK} in float16 for each masked matrix, and a task's own tensors, beside one model."
    )
    yield Section("Size", [text], charts=[Chart("Bytes over the number of tasks, on a logarithmic axis.", spec)])


def _table(found: BankSummary) -> Iterator[Section]:
    table = found.table()
    rows = [[clean(cell, 60) for cell in row] for row in table.rows]
    yield Section("Tasks", [f"{clean(table.notes[0], 300).capitalize()}."], Table(table.titles, rows))


def _pictures(tasks: Sequence[Task]) -> Iterator[Section]:
    name = _first_layer(tasks[0])
    its = [task for task in tasks if name in {*task.bits, *task.others}]
    law, shape = tasks[0].ticket().law, tasks[0].meta.get("shape")
    if not name or law is None:
        return
    entry = its[0].tensors[name]
    sides = tuple(entry.shape[1:]) if len(entry.shape) == 4 else tuple(shape or ())
    step = max(1, (len(its) - 1) // max(1, _TASKS - 1))
    shown = [("frozen weights", entry.source(name, its[0].ticket().seed, law).draw())]
    for task in its[::step][:_TASKS]:
        ticket = task.ticket()
        weights = dict(ticket.rebuilt(without=ticket.tensors.keys() - {name}))[name]
        shown.append((f"in use by {clean(task.name, 40)}", weights))
    limit, rows = max(float(weights.abs().max()) for _, weights in shown), []
    for title, weights in shown:
        images = weights[:_UNITS].reshape(-1, *sides)[:, 0].float()
        rows.append(
            (title, [Image(weights_image(each, limit), f"unit {n}, {title}") for n, each in enumerate(images, 1)])
        )
    text = "Blue is positive, orange negative, empty is dropped; of several input channels the first is shown."
    yield Section("The first layer", [text], images=rows)


def _first_layer(task: Task) -> str:
    """Return the first masked tensor whose inputs are pixels; "" if there is none."""
    shape = task.meta.get("shape")
    pixels = (
        math.prod(shape) if isinstance(shape, list) and len(shape) == 3 and all(type(n) is int for n in shape) else 0
    )
    for name in sorted({*task.bits, *task.others}):
        sides = task.tensors[name].shape
        if math.prod(sides) and ((len(sides) == 4 and math.prod(sides[2:]) > 1) or (pixels and sides[1:] == (pixels,))):
            return name
    return ""
