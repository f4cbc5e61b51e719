"""Pictures of a finished run, made from what lies in its folder: how it learned, and what it says."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from untrained.plot.figure import BASELINES, FOUND, TWIN, empty, name_as_given, one_line, percent
from untrained.runs import table
from untrained.runs.run import Run
from untrained.search.run_files import ANSWERS, METRICS, TRACE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points; nothing that is written is smaller.
SMALL, FONT = 8, 9
# Inches that a line of small text needs.
_LINE = 0.15
_MOST_CLASSES, _NUMBERED = 2_000, 20


def curves(run: Run) -> Figure:
    """Draw accuracy and loss over epochs: found subnetwork, trained twin, and as lines what learned nothing.

    Args:
        run: the run; without validation data, what was measured on the training data is shown.

    Raises:
        ValueError: the run has no metrics.
        ImportError: matplotlib is not installed.
    """
    on = "val" if any(_points(run.rows, "val_accuracy")) else "train"
    networks = [(table.FOUND, run.rows, FOUND, 2.5), (table.TWIN, run.twin, TWIN, 1.5)]
    if not any(_points(run.rows, f"{on}_accuracy")):
        raise lacking(run, METRICS)
    figure = empty(10, 4.2)
    accuracy, loss = figure.subplots(1, 2)
    for name, rows, colour, width in networks:
        for axes, quantity, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
            epochs, values = _points(rows, f"{on}_{quantity}")
            # One epoch makes no line.
            marker = "o" if len(epochs) == 1 else None
            if epochs:
                axes.plot(epochs, [scale * x for x in values], color=colour, lw=width, marker=marker, label=name)
    others = [
        row for row in run.table if row.name not in {name for name, *_ in networks} and _is_number(row.val_accuracy)
    ]
    for row, colour in zip(others if on == "val" else (), BASELINES, strict=False):
        name = one_line(row.name)
        accuracy.axhline(100 * row.val_accuracy, color=colour, lw=1.5, ls="--", label=name)
    data = {"val": "validation", "train": "training"}[on]
    accuracy.set(xlabel="epoch", ylabel=f"accuracy on {data} data, %", ylim=(0, 102))
    loss.set(xlabel="epoch", ylabel=f"loss (cross entropy) on {data} data, nats")
    loss.set_ylim(bottom=0)
    for axes in (accuracy, loss):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    name_as_given(accuracy.legend(loc="best", frameon=False, fontsize=FONT))
    return figure


def layers(run: Run) -> Figure:
    """Draw for every layer how much of it is kept, and over the epochs how much of its mask changed.

    Args:
        run: the run.

    Raises:
        ValueError: the run has no trace, or one without a whole epoch.
        ImportError: matplotlib is not installed.
    """
    from matplotlib.colors import PowerNorm

    line_of(run, None)
    kept, lines = (
        run.kept,
        [line for line in run.trace if any(t["flips"] is not None for t in line["tensors"].values())],
    )
    if not lines:
        raise ValueError(
            f"{run.folder}: its {TRACE} holds no whole epoch yet, and this picture shows what changed in one"
        )
    flips = np.array([[line["tensors"][name]["flips"] for line in lines] for name in kept], float)
    figure = empty(11, min(18.0, max(3.2, 1.2 + _LINE * 1.15 * len(kept))))
    bars, heat = figure.subplots(1, 2, width_ratios=(2, 3), sharey=True)
    places = range(len(kept))
    bars.barh(places, percent(kept.values()), color=FOUND, height=0.75)
    bars.set(xlabel="weights kept, %", ylabel="layer", xlim=(0, 100), ylim=(len(kept) - 0.5, -0.5))
    step = -(-len(kept) // int(17 / _LINE / 1.15))
    named = list(kept)[::step]
    bars.set_yticks(places[::step], [layer_name(name) for name in named], fontsize=SMALL, parse_math=False)
    bars.spines[["top", "right"]].set_visible(False)
    # Little changes in the end: the root of a share shows it.
    norm = PowerNorm(0.5, 0, 100 * float(np.nanmax(flips)) or 1.0)
    image = heat.imshow(100 * flips, cmap="cividis", norm=norm, aspect="auto", interpolation="nearest")
    heat.tick_params(labelleft=False)
    heat.set_xlabel("epoch")
    few = range(0, len(lines), -(-len(lines) // 12))
    heat.set_xticks(few, [str(lines[place]["epoch"]) for place in few])
    figure.colorbar(image, ax=heat, label="mask changed,\n% of weights per epoch", pad=0.02).minorticks_off()
    return figure


def scores(run: Run, epoch: int | None = None) -> Figure:
    """Draw how the scores of each drawn layer lie, at first and at an epoch.

    Args:
        run: the run.
        epoch: which, 0 being before the first step; default the last one that was noted.

    Raises:
        ValueError: the run has no trace, or not of this epoch.
        ImportError: matplotlib is not installed.
    """
    now = line_of(run, epoch)
    first, samples = run.trace[0], run.samples
    columns = min(4, len(samples))
    rows = -(-len(samples) // columns)
    figure = empty(max(5.0, 3.0 * columns), 0.6 + 2.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, sample in zip(grid.flat, samples, strict=False):
        axes.set_title(layer_name(sample.name), fontsize=FONT, parse_math=False)
        _stairs(axes, first["tensors"][sample.name]["scores"], color="#555555", lw=1.2, zorder=3)
        if now is not first:
            _stairs(axes, now["tensors"][sample.name]["scores"], color=FOUND, fill=True, alpha=0.7)
        axes.set_xlabel("score (no unit)", fontsize=FONT)
        axes.set(ylim=(0, 105), yticks=(0, 50, 100))
        axes.tick_params(labelsize=SMALL)
        axes.locator_params(axis="x", nbins=4)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(samples) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("scores in a bin,\n% of its fullest bin", fontsize=FONT)
    told = f"line: {_at(first)}" + (f" · filled: {_at(now)}" if now is not first else "")
    figure.suptitle(told, fontsize=FONT)
    return figure


def confusion(run: Run) -> Figure:
    """Draw what the network says of the test images of each class, in percent of the class.

    Args:
        run: the run; up to 20 classes have numbers written in.

    Raises:
        ValueError: the run has no answers, or more than 2,000 classes.
        ImportError: matplotlib is not installed.
    """
    from matplotlib.colors import PowerNorm

    if run.answers is None:
        raise lacking(run, ANSWERS)
    right, said = run.answers.labels.numpy(), run.answers.predicted.numpy()
    count = max(len(_given_names(run)), int(right.max()) + 1, int(said.max()) + 1)
    if count > _MOST_CLASSES:
        raise ValueError(f"{run.folder}: {count:,} classes are more than the {_MOST_CLASSES:,} that a picture can show")
    counts = np.zeros((count, count))
    np.add.at(counts, (right, said), 1)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)

    side = min(12.0, max(5.0, 2.4 + 0.36 * count))
    figure = empty(side + 1, side)
    axes = figure.subplots()
    # Mistakes are few: the root of a share shows them.
    norm = PowerNorm(0.5, 0, 100)
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    names, step = class_names(run, count, 18), -(-count // 50)
    ticks, texts = range(0, count, step), names[::step]
    axes.set_yticks(ticks, texts, fontsize=SMALL, parse_math=False)
    upright = 90 if max(map(len, texts)) > 3 else 0
    axes.set_xticks(ticks, texts, fontsize=SMALL, parse_math=False, rotation=upright)
    axes.set(xlabel="class that the network says", ylabel="class that is right")
    told = f"{count:,} classes, of every {step} one named"
    if count > 200:
        # A mistake in a cell of one pixel would not be seen.
        y, x = shares.nonzero()
        order = np.argsort(shares[y, x], kind="stable")
        y, x = y[order], x[order]
        axes.scatter(x, y, c=shares[y, x], s=5, marker="s", linewidths=0, cmap="Blues", norm=norm)
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
        told += "; marks are larger than a class is"
    if step > 1:
        axes.set_title(told, fontsize=FONT)
    if count <= _NUMBERED:
        for y, x in zip(*shares.nonzero(), strict=True):
            share = shares[y, x]
            text = "<1" if share < 0.5 else f"{share:.0f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color="w" if norm(share) > 0.6 else "k")
    bar = figure.colorbar(image, ax=axes, label="of the images of a class, %", shrink=0.8)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    bar.minorticks_off()
    return figure


def mistakes(run: Run) -> Figure:
    """Draw the test images that the network is most wrong about.

    Args:
        run: the run.

    Raises:
        ValueError: the run has no answers, or no wrong one.
        ImportError: matplotlib is not installed.
    """
    if run.mistakes is None:
        raise lacking(run, ANSWERS)
    wrong = run.mistakes
    if not len(wrong.images):
        raise ValueError(f"{run.folder}: there is nothing to draw, as all its answers on the test data are right")
    its = [class_names(run, 0, 16, among=each) for each in (wrong.predicted, wrong.labels)]
    says = list(zip(*its, wrong.probability, strict=True))
    # One form for all.
    form = "says {}, is {} ({})" if max(len(a) + len(b) for a, b, _ in says) <= 10 else "says {}\nis {} ({})"
    columns = min(6, len(says))
    rows = -(-len(says) // columns)
    figure = empty(max(5.0, 1.75 * columns), 0.5 + 1.75 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, (said, right, share) in zip(grid.flat, wrong.images, says, strict=False):
        pixels = image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy()
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(form.format(said, right, _probability(share)), fontsize=SMALL, parse_math=False)
    told = f"the {len(says)} it is most wrong about; in brackets, the probability that it gives the right class"
    figure.suptitle(textwrap.fill(told, 60 if columns < 4 else 200), fontsize=FONT)
    return figure


def lacking(run: Run, name: str) -> ValueError:
    """What to raise where a file is not there, or holds nothing that can be drawn."""
    said = next((gap for gap in run.gaps if gap.startswith(name)), "")
    return ValueError(
        (said and f"{run.folder}: {said}") or f"{run.folder}: its {name} is missing, which this picture is made from"
    )


def line_of(run: Run, epoch: int | None) -> Mapping[str, Any]:
    """The line of the trace for an epoch; by default the last."""
    if not run.trace:
        raise lacking(run, TRACE)
    if epoch is None:
        return run.trace[-1]
    for line in run.trace:
        if line["epoch"] == epoch:
            return line
    known = f"{run.trace[0]['epoch']} to {run.trace[-1]['epoch']}"
    raise ValueError(f"{run.folder}: its {TRACE} has epochs {known}, and {epoch} is not among them")


def layer_name(name: str, longest: int = 26) -> str:
    """A tensor's name as one reads it, its end being what tells it from others."""
    short = name.removesuffix(".weight")
    return one_line(short if len(short) <= longest else f"…{short[1 - longest :]}", longest)


def class_names(run: Run, count: int, longest: int, *, among: Iterable[int] | None = None) -> list[str]:
    """Names of so many classes, or of those `among` which they are asked for; where there is none, the number."""
    names = _given_names(run)
    return [one_line(names[k] if k < len(names) else k, longest) for k in (range(count) if among is None else among)]


def _given_names(run: Run) -> Sequence[object]:
    # Not `run.labels`, which makes up a name for every number that there might be.
    names = run.ticket.meta.get("labels")
    return names if isinstance(names, list) else ()


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Epochs, and one quantity at each, of the rows that have it."""
    points = [(row["epoch"], row[key]) for row in rows if _is_number(row.get(key)) and _is_number(row["epoch"])]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e12


def _probability(share: float) -> str:
    return "<1 %" if share < 0.005 else f"{100 * share:.0f} %"


def _at(line: Mapping[str, Any]) -> str:
    return f"after epoch {line['epoch']}" if line["epoch"] else "before the first step"


def _stairs(axes: Axes, histogram: Mapping[str, Any], **how: Any) -> None:
    counts, low = np.array(histogram["counts"], float), histogram["low"]
    # All scores being equal, the trace counts them in bins from there to 1 more.
    edges = np.linspace(low, low + (histogram["high"] - low or 1.0), len(counts) + 1)
    axes.stairs(100 * counts / max(1.0, counts.max()), edges, **how)
