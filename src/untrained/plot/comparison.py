"""The picture of a comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from untrained.plot.figure import COLOURS, SMALL, add_legend, empty, heading, one_line, open_frame
from untrained.runs.table import Line, by_method
from untrained.search.metric import ACCURACY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST = 36  # characters of a method's name


def comparison(title: str, lines: Sequence[Line]) -> Figure:
    """Draw test accuracy against bytes shipped: a point per method and fraction kept, bars of one standard deviation.

    Args:
        title: the text above the picture.
        lines: the table; lines without a successful search are left out.

    Example:
        >>> found = ut.compare(methods="biprop", widths=(8,), epochs=1, seeds=1, jobs=1, out="run")
        >>> ut.plot.comparison("digits", found.lines).axes[0].get_xlabel()
        'bytes to ship'
    """
    figure = empty(10, 6.5)
    axes = figure.subplots()
    good = [line for line in lines if line.seeds]
    methods, metric = by_method(good), lines[0].metric if lines else ACCURACY
    for number, (method, its) in enumerate(methods.items()):
        its = sorted(its, key=lambda line: line.file_bytes)
        axes.errorbar(
            [line.file_bytes for line in its],
            [metric.factor * line.test for line in its],
            yerr=[metric.factor * line.std for line in its],
            color=COLOURS[number % len(COLOURS)],
            marker="osD^v"[number // len(COLOURS) % 5],
            ms=7,
            lw=1.2,
            capsize=2,
            label=_short(method),
        )
        for line in its:
            if line.keep is not None:
                place = line.file_bytes, metric.factor * line.test
                axes.annotate(f"{line.keep:g}", place, (4, 4), textcoords="offset points", fontsize=SMALL)
    axes.set(xscale="log", xlabel="bytes to ship", ylabel=f"{metric.words} on test data{metric.suffix}")
    axes.set_title(heading(title), parse_math=False)
    # A random subnetwork at 10 % would squeeze all the others into one line.
    high = [100 * line.test for line in good if metric == ACCURACY and line.test > 0.6]
    if high:
        axes.set_ylim(min(high) - 1, min(100.0, max(high) + 0.6))
        below = [_short(m) for m, its in methods.items() if all(100 * line.test < min(high) for line in its)]
        if below:
            text = f"below the picture: {', '.join(below)[:140]}"
            axes.text(0.01, 0.01, text, transform=axes.transAxes, fontsize=SMALL, parse_math=False)
    open_frame(axes, grid=True)
    if methods:
        add_legend(figure, loc="outside right center", fontsize=SMALL)
    return figure


def _short(name: str) -> str:
    return one_line(name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}", _LONGEST)
