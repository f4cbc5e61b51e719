"""The picture of a sweep: accuracy along one axis, in full and enlarged."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from untrained.plot.figure import BASELINES, COLOURS, add_legend, empty, heading, one_line, open_frame
from untrained.plot.figure import TWIN as GREY
from untrained.runs.table import RANDOM, RANDOM_SUBNETWORK, TWIN, Line, by_method
from untrained.search.metric import ACCURACY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Axis = Literal["keep", "width", "weights"]
_ENLARGED = 6  # the enlarged panel shows at most so many times the least error
_TICKS = 12  # along an axis, so that their labels have room


@final
@dataclass(frozen=True)
class _Curve:
    """Lines of one method, with their colour and marker."""

    method: str
    lines: tuple[Line, ...]
    colour: str
    marker: str
    style: str

    def label(self) -> str:
        name = one_line(RANDOM_SUBNETWORK if self.method == RANDOM else self.method, 120)
        return "\n".join(textwrap.wrap(name, 40)[:3])

    def paint_points(self, axes: Axes, x: Sequence[float], y: Sequence[float], **errors: Sequence[float]) -> None:
        style: dict[str, Any] = {"color": self.colour, "marker": self.marker, "ls": "", "capsize": 3}
        axes.errorbar(x, y, **errors, **style, ms=7, label=self.label())

    def paint_level(self, axes: Axes, line: Line, *, upright: bool) -> None:
        middle, low, high = _range(line)
        level, band = (axes.axvline, axes.axvspan) if upright else (axes.axhline, axes.axhspan)
        level(middle, color=self.colour, lw=1.8, label=self.label())
        band(low, high, color=self.colour, alpha=0.2, lw=0)


def sweep(title: str, axis: _Axis, lines: Sequence[Line]) -> Figure:
    """Draw test accuracy along an axis, with a band or bar of one standard deviation.

    Random subnetworks have far lower accuracies than found ones, so there are two panels: all accuracies, and the best
    ones enlarged.

    Args:
        title: the text above the picture.
        axis: the setting that was varied. Fractions kept and widths run from left to right, laws from top to bottom.
        lines: the table; a line without a successful search is a gap.

    Example:
        >>> small = dict(widths=(8,), epochs=1, seeds=1, jobs=1, methods="biprop")
        >>> found = ut.sweep(keep="0.3,0.6", out="run", **small)
        >>> ut.plot.sweep("digits", "keep", found.lines).axes[0].get_xlabel()
        'weights kept, %'
    """
    curves, close = list(_curves(lines)), _close(lines)
    laws = list(dict.fromkeys(line.law for line in lines if line.law is not None))
    by_law = axis == "weights"
    figure = empty(11, 2.6 + 0.5 * len(laws) if by_law else 5.8)
    figure.suptitle(heading(title), parse_math=False)
    panels = figure.subplots(1, 2 if close else 1, squeeze=False, sharey=by_law)[0]
    metric = lines[0].metric if lines else ACCURACY
    title = f"{metric.words} on test data{metric.suffix}"
    whole = (0, 101) if metric.unit == "%" else None  # None: as matplotlib chooses
    for axes, limits in zip(panels, (whole, close), strict=False):
        if by_law:
            _paint_laws(axes, curves, laws)
            axes.set(xlabel=title, **({} if limits is None else {"xlim": limits}))
        else:
            _paint_curves(axes, axis, curves)
            axes.set(ylabel=title, **({} if limits is None else {"ylim": limits}))
        open_frame(axes, grid=True)
    if close:
        (panels[0].axvspan if by_law else panels[0].axhspan)(*close, color="black", alpha=0.07, lw=0)
        panels[0].set_title("all accuracies" if metric == ACCURACY else "all", fontsize="medium")
        panels[1].set_title("the grey strip, enlarged", fontsize="medium")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        add_legend(figure, handles, labels, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _curves(lines: Sequence[Line]) -> Iterator[_Curve]:
    """Yield the lines of each method, with a different colour and marker for each."""
    number = 0
    for method, its in by_method(lines).items():
        if method == TWIN:
            yield _Curve(method, tuple(its), GREY, "s", "-")
        elif method == RANDOM:
            yield _Curve(method, tuple(its), BASELINES[0], "x", ":")
        else:
            yield _Curve(method, tuple(its), COLOURS[number % len(COLOURS)], "oD^vP"[number // len(COLOURS) % 5], "-")
            number += 1


def _close(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return the limits of the second panel in percent; None if the first one is close enough."""
    good = [line for line in lines if line.seeds and line.metric.unit == "%" and line.metric.higher_is_better]
    ends = [_range(line)[1:] for line in good if line.method != RANDOM]
    if not ends:
        return None
    best = max(100 * line.test for line in good)
    low = max(min(low for low, _ in ends), 100 - _ENLARGED * max(100 - best, 0.5))
    high = min(100.0, max(high for _, high in ends))
    pad = max(0.06 * (high - low), 0.1)
    return (low - pad, min(100.0, high + pad)) if high - low < 50 else None


def _paint_curves(axes: Axes, axis: _Axis, curves: Sequence[_Curve]) -> None:
    """Paint accuracy against the share kept in percent, or against the width on a logarithmic axis."""
    for curve in curves:
        points = sorted((place, *_range(line)) for line in curve.lines if (place := _place(line, axis)) is not None)
        if points:
            x, middle, low, high = zip(*points, strict=True)
            style: dict[str, Any] = {"color": curve.colour, "marker": curve.marker}
            axes.plot(x, middle, curve.style, **style, ms=6, lw=1.8, label=curve.label())
            axes.fill_between(x, low, high, color=curve.colour, alpha=0.2, lw=0)
        for line in curve.lines if axis == "keep" else ():
            if _place(line, axis) is None and line.seeds:
                # A twin is a level; a method that learns the fraction kept is a point there.
                if curve.method == TWIN:
                    curve.paint_level(axes, line, upright=False)
                else:
                    curve.paint_points(axes, [100 * line.kept], [_range(line)[0]], yerr=[line.metric.factor * line.std])
        for line in curve.lines if axis == "width" and curve.method == TWIN else ():
            if line.width == 1 and line.seeds:
                axes.axhline(_range(line)[0], color=GREY, lw=1.2, ls="--", label=f"{TWIN}, width 1")
    if axis == "keep":
        axes.set(xlabel="weights kept, %", xlim=(0, 100))
        return
    widths = sorted({line.width for curve in curves for line in curve.lines if line.width is not None})
    axes.set_xscale("log", base=2)
    axes.set_xlabel("width, times that of the network")
    axes.set_xticks(ticks := _with_room(widths), [f"{width:g}" for width in ticks])
    axes.minorticks_off()


def _paint_laws(axes: Axes, curves: Sequence[_Curve], laws: Sequence[str]) -> None:
    """Paint accuracy from left to right, in a row for each law, the methods a little apart."""
    rows = {law: row for row, law in enumerate(laws)}
    trained = {curve.method for curve in curves if all(line.law is None for line in curve.lines)}
    found = [curve.method for curve in curves if curve.method not in (*trained, RANDOM)]
    for curve in curves:
        good = [line for line in curve.lines if line.seeds]
        if curve.method in trained:
            for line in good:
                curve.paint_level(axes, line, upright=True)
            continue
        shift = 0.5 * ((found.index(curve.method) + 0.5) / len(found) - 0.5) if curve.method in found else 0.0
        x, y = [_range(line)[0] for line in good], [rows[str(line.law)] + shift for line in good]
        curve.paint_points(axes, x, y, xerr=[line.metric.factor * line.std for line in good])
    names = [one_line(law, 80).replace("(", "\n(") for law in laws]
    axes.set_yticks(range(len(laws)), names, parse_math=False)
    axes.set_ylim(len(laws) - 0.5, -0.5)


def _place(line: Line, axis: _Axis) -> float | None:
    if axis == "width":
        return line.width
    return None if line.keep is None else 100 * line.keep


def _range(line: Line) -> tuple[float, float, float]:
    """Return the mean, and one standard deviation below and above it, of shares in percent."""
    factor = line.metric.factor
    return factor * line.test, factor * (line.test - line.std), factor * (line.test + line.std)


def _with_room(places: Sequence[float]) -> list[float]:
    """Return the ascending places on a logarithmic axis whose labels do not touch."""
    shown: list[float] = []
    for place in places:
        if not shown or math.log(place / shown[-1]) >= math.log(places[-1] / places[0]) / _TICKS:
            shown.append(place)
    return shown
