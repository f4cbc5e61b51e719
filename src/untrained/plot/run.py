"""Pictures of a run from the files in its folder: learning curves, layers, scores, answers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from untrained.plot.figure import (
    BASELINES,
    FONT,
    FOUND,
    SMALL,
    TWIN,
    add_legend,
    empty,
    one_line,
    open_frame,
    percent,
)  # fmt: skip
from untrained.runs import table
from untrained.runs.rows import is_number
from untrained.runs.run import Run
from untrained.search.run_files import ANSWERS, METRICS, TRACE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 0.17  # inches that a line of small text needs
_MOST_CLASSES, _NUMBERED = 2_000, 20


def curves(run: Run) -> Figure:
    """Draw accuracy (or another metric) and loss over the epochs, of the found subnetwork and of its baselines.

    Without validation data, the curves are those of the training data.

    Raises:
        ValueError: the run has no metrics.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=1, out="run", title=None)
        >>> ut.plot.curves(ut.read_run("run")).axes[0].get_xlabel()
        'epoch'
    """
    if not _points(run.rows, f"{_part(run)}_{run.metric.name}"):
        raise missing_file(run, METRICS)
    figure = empty(10, 4.2)
    accuracy, loss = figure.subplots(1, 2)
    paint_curves(accuracy, run)
    paint_curves(loss, run, of_loss=True)
    add_legend(accuracy, loc="best", fontsize=FONT)
    return figure


def paint_curves(axes: Axes, run: Run, *, of_loss: bool = False) -> None:
    """Paint the metric or the loss over the epochs, without a legend."""
    part, metric = _part(run), run.metric
    quantity, factor = ("loss", 1.0) if of_loss else (metric.name, metric.factor)
    for name, rows, colour, width in ((table.FOUND, run.rows, FOUND, 2.5), (table.TWIN, run.twin, TWIN, 1.5)):
        if points := _points(rows, f"{part}_{quantity}"):
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(epochs) == 1 else None  # one epoch makes no line
            values = [factor * value for value in values]
            axes.plot(epochs, values, color=colour, lw=width, marker=marker, label=name)
    if not of_loss and part == "val":
        others = [row for row in run.table if row.name not in (table.FOUND, table.TWIN) and is_number(row.val)]
        for row, colour in zip(others, BASELINES, strict=False):
            axes.axhline(factor * row.val, color=colour, lw=1.5, ls="--", label=one_line(row.name))
    data = {"val": "validation", "train": "training"}[part]
    title = f"{metric.words} on {data} data{metric.suffix}"
    if of_loss:
        title = f"loss{' (cross entropy)' if run.loss_unit else ''} on {data} data{run.loss_unit}"
    axes.set(xlabel="epoch", ylabel=title)
    if of_loss or metric.unit == "%":
        axes.set_ylim(0, None if of_loss else 102)
    axes.locator_params(axis="x", integer=True)
    open_frame(axes, grid=True)


def layers(run: Run) -> Figure:
    """Draw for each layer the share of weights kept and, over the epochs, the share of its mask that changed.

    Raises:
        ValueError: the run has no trace, or one without a whole epoch.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=1, out="run", title=None)
        >>> ut.plot.layers(ut.read_run("run")).axes[0].get_xlabel()
        'weights kept, %'
    """
    from matplotlib.colors import PowerNorm

    line_of(run, None)
    lines = [line for line in run.trace if any(t["flips"] is not None for t in line["tensors"].values())]
    if not lines:
        raise ValueError(f"{run.folder}: its {TRACE} must hold a whole epoch for this picture, and holds none yet")
    flips = np.array([[line["tensors"][name]["flips"] for line in lines] for name in run.kept], float)
    figure = empty(11, min(18.0, max(3.2, 1.2 + _LINE * len(run.kept))))
    bars, heat = figure.subplots(1, 2, width_ratios=(2, 3), sharey=True)
    paint_kept(bars, run, height=17)
    # Few weights change at the end: the root of a share shows them.
    norm = PowerNorm(0.5, 0, 100 * float(np.nanmax(flips)) or 1.0)
    image = heat.imshow(100 * flips, cmap="cividis", norm=norm, aspect="auto", interpolation="nearest")
    heat.tick_params(labelleft=False)
    heat.set_xlabel("epoch")
    few = range(0, len(lines), -(-len(lines) // 12))
    heat.set_xticks(few, [str(lines[place]["epoch"]) for place in few])
    figure.colorbar(image, ax=heat, label="mask changed,\n% of weights per epoch", pad=0.02).minorticks_off()
    return figure


def paint_kept(axes: Axes, run: Run, *, height: float) -> None:
    """Paint the share of weights kept in each layer as bars; names are left out where `height` inches have no room."""
    kept = run.kept
    axes.barh(range(len(kept)), percent(kept.values()), color=FOUND, height=0.75)
    axes.set(xlabel="weights kept, %", ylabel="layer", xlim=(0, 100), ylim=(len(kept) - 0.5, -0.5))
    few = slice(None, None, -(-len(kept) // int(height / _LINE)))
    names = [layer_name(name) for name in list(kept)[few]]
    axes.set_yticks(range(len(kept))[few], names, fontsize=SMALL, parse_math=False)
    open_frame(axes)


def scores(run: Run, epoch: int | None = None) -> Figure:
    """Draw histograms of the scores of each drawn layer, before the search and after an epoch.

    Args:
        run: the run.
        epoch: the epoch, 0 for before the first step; default the last one in the trace.

    Raises:
        ValueError: the run has no trace, or none of this epoch.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=1, out="run", title=None)
        >>> ut.plot.scores(ut.read_run("run")).axes[0].get_xlabel()
        'score (no unit)'
    """
    now = line_of(run, epoch)
    first, samples = run.trace[0], run.samples
    columns = min(4, len(samples))
    rows = -(-len(samples) // columns)
    figure = empty(max(5.0, 3.0 * columns), 0.6 + 2.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, sample in zip(grid.flat, samples, strict=False):
        axes.set_title(layer_name(sample.name), fontsize=FONT, parse_math=False)
        _paint_histogram(axes, first["tensors"][sample.name]["scores"], color="#555555", lw=1.2, zorder=3)
        if now is not first:
            _paint_histogram(axes, now["tensors"][sample.name]["scores"], color=FOUND, fill=True, alpha=0.7)
        axes.set_xlabel("score (no unit)", fontsize=FONT)
        axes.set(ylim=(0, 105), yticks=(0, 50, 100))
        axes.tick_params(labelsize=SMALL)
        axes.locator_params(axis="x", nbins=4)
        open_frame(axes)
    for axes in list(grid.flat)[len(samples) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("scores in a bin,\n% of its fullest bin", fontsize=FONT)
    title = f"line: {_moment(first)}" + (f" · filled: {_moment(now)}" if now is not first else "")
    figure.suptitle(title, fontsize=FONT)
    return figure


def _paint_histogram(axes: Axes, histogram: Mapping[str, Any], **style: Any) -> None:
    counts, low = np.array(histogram["counts"], float), histogram["low"]
    # If all scores are equal, the bins of the trace go from there to 1 more.
    edges = np.linspace(low, low + (histogram["high"] - low or 1.0), len(counts) + 1)
    axes.stairs(100 * counts / max(1.0, counts.max()), edges, **style)


def confusion(run: Run) -> Figure:
    """Draw the confusion matrix of the test images, in percent of each true class.

    Up to 20 classes have their numbers written in.

    Raises:
        ValueError: the run has no answers, or more than 2,000 classes.

    Example:
        >>> _ = ut.find(widths=(8,), epochs=1, twin=False, out="run")
        >>> ut.plot.confusion(ut.read_run("run")).axes[0].get_ylabel()
        'true class'
    """
    from matplotlib.colors import PowerNorm

    if run.answers is None:
        raise missing_file(run, ANSWERS)
    labels, predicted = run.answers.labels.numpy(), run.answers.predicted.numpy()
    count = max(len(_known_names(run)), int(labels.max()) + 1, int(predicted.max()) + 1)
    if count > _MOST_CLASSES:
        raise ValueError(f"{run.folder}: classes must be {_MOST_CLASSES:,} or fewer for this picture, got {count:,}")
    shares = np.zeros((count, count))
    np.add.at(shares, (labels, predicted), 1)
    shares *= 100 / np.maximum(shares.sum(1, keepdims=True), 1)

    side = min(12.0, max(5.0, 2.4 + 0.36 * count))
    figure = empty(side + 1, side)
    axes = figure.subplots()
    norm = PowerNorm(0.5, 0, 100)  # mistakes are few: the root of a share shows them
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    step = -(-count // 50)
    ticks, texts = range(0, count, step), class_names(run, range(0, count, step), 18)
    axes.set_yticks(ticks, texts, fontsize=SMALL, parse_math=False)
    rotation = 90 if max(map(len, texts)) > 3 else 0
    axes.set_xticks(ticks, texts, fontsize=SMALL, parse_math=False, rotation=rotation)
    axes.set(xlabel="predicted class", ylabel="true class")
    title = f"{count:,} classes, of every {step} one named"
    rows, columns = shares.nonzero()
    if count > 200:
        # A mistake in a cell of one pixel would not be seen.
        order = np.argsort(shares[rows, columns], kind="stable")
        y, x = rows[order], columns[order]
        axes.scatter(x, y, c=shares[y, x], s=5, marker="s", linewidths=0, cmap="Blues", norm=norm)
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
        title += "; marks are larger than a class is"
    if step > 1:
        axes.set_title(title, fontsize=FONT)
    for y, x in zip(rows, columns, strict=True) if count <= _NUMBERED else ():
        text = "<1" if shares[y, x] < 0.5 else f"{shares[y, x]:.0f}"
        colour = "w" if norm(shares[y, x]) > 0.6 else "k"
        axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, color=colour)
    bar = figure.colorbar(image, ax=axes, label="of the images of a class, %", shrink=0.8)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    bar.minorticks_off()
    return figure


def mistakes(run: Run) -> Figure:
    """Draw the wrongly classified test images whose true class has the lowest probability.

    Raises:
        ValueError: the run has no answers, or no wrong one.

    Example:
        >>> _ = ut.find(widths=(8,), epochs=1, twin=False, out="run")
        >>> len(ut.plot.mistakes(ut.read_run("run")).axes)
        24
    """
    if run.mistakes is None:
        raise missing_file(run, ANSWERS)
    wrong = run.mistakes
    if not len(wrong.images):
        raise ValueError(f"{run.folder}: answers must include a wrong one for this picture, got none")
    names = [class_names(run, classes, 16) for classes in (wrong.predicted, wrong.labels)]
    texts = list(zip(*names, wrong.probability, strict=True))
    # One form for all.
    form = "says {}, is {} ({})" if max(len(a) + len(b) for a, b, _ in texts) <= 10 else "says {}\nis {} ({})"
    columns = min(6, len(texts))
    rows = -(-len(texts) // columns)
    figure = empty(max(5.0, 1.75 * columns), 0.5 + 1.75 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, (predicted, label, share) in zip(grid.flat, wrong.images, texts, strict=False):
        pixels = image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy()
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        text = form.format(predicted, label, "<1 %" if share < 0.005 else f"{100 * share:.0f} %")
        axes.set_title(text, fontsize=SMALL, parse_math=False)
    title = f"the {len(texts)} it is most wrong about; in brackets, the probability that it gives the right class"
    figure.suptitle(textwrap.fill(title, 60 if columns < 4 else 200), fontsize=FONT)
    return figure


def missing_file(run: Run, name: str) -> ValueError:
    """Return the error for a file that is missing or has no data to draw."""
    gap = next((gap for gap in run.gaps if gap.startswith(name)), "")
    return ValueError(f"{run.folder}: {gap or f'its {name} is missing, which this picture is made from'}")


def line_of(run: Run, epoch: int | None) -> Mapping[str, Any]:
    """Return the line of the trace for an epoch; by default the last."""
    if not run.trace:
        raise missing_file(run, TRACE)
    for line in run.trace if epoch is not None else run.trace[-1:]:
        if epoch is None or line["epoch"] == epoch:
            return line
    known = f"{run.trace[0]['epoch']} to {run.trace[-1]['epoch']}"
    raise ValueError(f"{run.folder}: epoch must be one of its {TRACE}, {known}, got {epoch}")


def layer_name(name: str, longest: int = 26) -> str:
    """Return a tensor's name for a picture: without ".weight", and cut at the start, as the ends differ."""
    short = name.removesuffix(".weight")
    return one_line(short if len(short) <= longest else f"…{short[1 - longest :]}", longest)


def class_names(run: Run, classes: Iterable[int], longest: int) -> list[str]:
    """Return the names of these classes, or their numbers where the ticket has no name."""
    names = _known_names(run)
    return [one_line(names[k] if k < len(names) else k, longest) for k in classes]


def _known_names(run: Run) -> Sequence[object]:
    # Not `run.labels`, which makes a name for every possible number.
    names = run.ticket.meta.get("labels")
    return names if isinstance(names, list) else ()


def _part(run: Run) -> str:
    """Return the data of the curves: "val", or "train" without validation data."""
    return "val" if _points(run.rows, f"val_{run.metric.name}") else "train"


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of the rows that have this quantity."""
    return [(float(r["epoch"]), float(r[key])) for r in rows if is_number(r.get(key)) and is_number(r["epoch"])]


def _moment(line: Mapping[str, Any]) -> str:
    return f"after epoch {line['epoch']}" if line["epoch"] else "before the first step"
