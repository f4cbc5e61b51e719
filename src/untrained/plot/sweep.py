"""The picture of a sweep: accuracy along one axis, once in full and once from close by."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from untrained.plot.figure import BASELINES, COLOURS, empty, heading, name_as_given, one_line
from untrained.plot.figure import TWIN as GREY
from untrained.runs.table import RANDOM, RANDOM_SUBNETWORK, TWIN, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACCURACY = "accuracy on test data, %"
_ENLARGED = 6  # the panel from close by shows at most so many times the least error
_TICKS = 12  # along an axis, that their labels have room


@final
@dataclass(frozen=True)
class _Curve:
    """A method along the axis, in percent: its colour, its marker, how its line is drawn."""

    method: str
    lines: tuple[Line, ...]
    colour: str
    marker: str
    style: str

    def label(self) -> str:
        name = one_line(RANDOM_SUBNETWORK if self.method == RANDOM else self.method, 120)
        return "\n".join(textwrap.wrap(name, 40)[:3])


def sweep(title: str, axis: Literal["keep", "width", "weights"], lines: Sequence[Line]) -> Figure:
    """Draw test accuracy along an axis, with a band or bar of one standard deviation.

    Random subnetworks are far below everything that was searched, so that there are two panels: all accuracies, and
    those of the best from close by.

    Args:
        title: above everything.
        axis: what was varied. Fractions kept and widths run from left to right, laws of the weights from top to bottom.
        lines: the table; a line without a search that went well is a gap.

    Raises:
        ImportError: matplotlib is not installed.
    """
    curves, close = list(_curves(lines)), _close(lines)
    laws = list(dict.fromkeys(line.law for line in lines if line.law is not None))
    figure = empty(11, 5.8 if axis != "weights" else 2.6 + 0.5 * len(laws))
    figure.suptitle(heading(title), parse_math=False)
    panels = figure.subplots(1, 2 if close else 1, squeeze=False, sharey=axis == "weights")[0]
    for axes in panels:
        if axis == "weights":
            _by_law(axes, curves, laws)
        else:
            _along(axes, axis, curves)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, limits in zip(panels, ((0, 101), close), strict=False):
        axes.set(
            **{"xlabel": _ACCURACY, "xlim": limits} if axis == "weights" else {"ylabel": _ACCURACY, "ylim": limits}
        )
    if close:
        (panels[0].axvspan if axis == "weights" else panels[0].axhspan)(*close, color="black", alpha=0.07, lw=0)
        panels[0].set_title("all accuracies", fontsize="medium")
        panels[1].set_title("the grey strip, enlarged", fontsize="medium")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        columns = min(4, len(handles))
        name_as_given(figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False))
    return figure


def _curves(lines: Sequence[Line]) -> Iterator[_Curve]:
    """The lines of each method, in the colours and markers that tell it from the others."""
    by_method: dict[str, list[Line]] = {}
    for line in lines:
        by_method.setdefault(line.method, []).append(line)
    number = 0
    for method, its in by_method.items():
        if method == TWIN:
            yield _Curve(method, tuple(its), GREY, "s", "-")
        elif method == RANDOM:
            yield _Curve(method, tuple(its), BASELINES[0], "x", ":")
        else:
            yield _Curve(method, tuple(its), COLOURS[number % len(COLOURS)], "oD^vP"[number // len(COLOURS) % 5], "-")
            number += 1


def _close(lines: Sequence[Line]) -> tuple[float, float] | None:
    """From where to where the second panel goes, in percent; None if the first one is close enough."""
    ends = [(100 * (x.accuracy - x.std), 100 * (x.accuracy + x.std)) for x in lines if x.seeds and x.method != RANDOM]
    if not ends:
        return None
    best = max(100 * line.accuracy for line in lines if line.seeds)
    low = max(min(end for end, _ in ends), 100 - _ENLARGED * max(100 - best, 0.5))
    high = min(100.0, max(end for _, end in ends))
    pad = max(0.06 * (high - low), 0.1)
    return (low - pad, min(100.0, high + pad)) if high - low < 50 else None


def _along(axes: Axes, axis: Literal["keep", "width", "weights"], curves: Sequence[_Curve]) -> None:
    """Accuracy from left to right: against the share kept in percent, or the width on a logarithmic axis."""
    shown = [line for curve in curves for line in curve.lines]
    for curve in curves:
        told = [(place, *_range(line)) for line in curve.lines if (place := _place(line, axis)) is not None]
        if told:
            xs, middle, below, above = zip(*sorted(told, key=lambda point: point[0]), strict=True)
            axes.plot(
                xs, middle, curve.style, color=curve.colour, marker=curve.marker, ms=6, lw=1.8, label=curve.label()
            )
            axes.fill_between(xs, below, above, color=curve.colour, alpha=0.2, lw=0)
        for line in curve.lines:
            if _place(line, axis) is None:
                _alone(axes, curve, line)
            elif curve.method == TWIN and line.width == 1 and line.seeds:
                axes.axhline(100 * line.accuracy, color=GREY, lw=1.2, ls="--", label=f"{TWIN}, width 1")
    if axis == "keep":
        axes.set(xlabel="weights kept, %", xlim=(0, 100))
        return
    widths = sorted({line.width for line in shown if line.width is not None})
    axes.set_xscale("log", base=2)
    axes.set_xlabel("width, times that of the network")
    axes.set_xticks(ticks := _with_room(widths), [f"{width:g}" for width in ticks])
    axes.minorticks_off()


def _alone(axes: Axes, curve: _Curve, line: Line) -> None:
    """What has no place on the axis: the twin is a level, a method that learns how much it keeps a point at that."""
    accuracy, below, above = _range(line)
    if not line.seeds:
        return
    if curve.method == TWIN:
        axes.axhline(accuracy, color=curve.colour, lw=1.8, label=curve.label())
        axes.axhspan(below, above, color=curve.colour, alpha=0.2, lw=0)
    else:
        spread = 100 * line.std
        axes.errorbar(
            100 * line.kept,
            accuracy,
            spread,
            color=curve.colour,
            marker=curve.marker,
            capsize=3,
            ls="",
            label=curve.label(),
        )


def _by_law(axes: Axes, curves: Sequence[_Curve], laws: Sequence[str]) -> None:
    """Accuracy from left to right, a row for each law, the methods a little apart."""
    rows = {law: row for row, law in enumerate(laws)}
    searched = [curve.method for curve in curves if curve.method not in (TWIN, RANDOM)]
    for curve in curves:
        good = [line for line in curve.lines if line.seeds]
        if curve.method == TWIN:
            for accuracy, below, above in map(_range, good):
                axes.axvline(accuracy, color=curve.colour, lw=1.8, label=curve.label())
                axes.axvspan(below, above, color=curve.colour, alpha=0.2, lw=0)
            continue
        apart = 0.5 * ((searched.index(curve.method) + 0.5) / len(searched) - 0.5) if curve.method in searched else 0.0
        axes.errorbar(
            [100 * line.accuracy for line in good],
            [rows[str(line.law)] + apart for line in good],
            xerr=[100 * line.std for line in good],
            color=curve.colour,
            marker=curve.marker,
            ms=7,
            capsize=3,
            ls="",
            label=curve.label(),
        )
    names = [one_line(law, 80).replace("(", "\n(") for law in laws]
    axes.set_yticks(range(len(laws)), names, parse_math=False)
    axes.set_ylim(len(laws) - 0.5, -0.5)


def _place(line: Line, axis: Literal["keep", "width", "weights"]) -> float | None:
    if axis == "width":
        return line.width
    return None if line.keep is None else 100 * line.keep


def _range(line: Line) -> tuple[float, float, float]:
    """Mean, and one standard deviation below and above it, in percent."""
    return 100 * line.accuracy, 100 * (line.accuracy - line.std), 100 * (line.accuracy + line.std)


def _with_room(places: Sequence[float]) -> list[float]:
    """Of these ascending places on a logarithmic axis those whose labels do not touch."""
    shown: list[float] = []
    for place in places:
        if not shown or math.log(place / shown[-1]) >= math.log(places[-1] / places[0]) / _TICKS:
            shown.append(place)
    return shown
