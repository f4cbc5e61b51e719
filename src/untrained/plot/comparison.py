"""The picture of a comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from untrained.plot.figure import COLOURS, empty, heading, name_as_given, one_line, percent
from untrained.runs.table import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison(title: str, lines: Sequence[Line]) -> Figure:
    """Draw test accuracy against bytes shipped: a point per method and fraction kept, bars of one standard deviation.

    Args:
        title: above everything.
        lines: the table; lines without a search that went well are left out.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = empty(10, 6.5)
    axes = figure.subplots()
    by_method: dict[str, list[Line]] = {}
    for line in lines:
        if line.seeds:
            by_method.setdefault(line.method, []).append(line)
    for number, (method, its) in enumerate(by_method.items()):
        # Ten colours that colour-blind readers tell apart, and a marker for each round of them.
        colour, marker = COLOURS[number % len(COLOURS)], "osD^v"[number // len(COLOURS) % 5]
        its = sorted(its, key=lambda line: line.file_bytes)
        sizes, accuracies = [line.file_bytes for line in its], percent(line.accuracy for line in its)
        spread = percent(line.std for line in its)
        axes.errorbar(
            sizes, accuracies, yerr=spread, color=colour, marker=marker, ms=7, lw=1.2, capsize=2, label=_short(method)
        )
        for line, size, accuracy in zip(its, sizes, accuracies, strict=True):
            if line.keep is not None:
                axes.annotate(f"{line.keep:g}", (size, accuracy), (4, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="bytes to ship", ylabel="accuracy on test data, %")
    axes.set_title(heading(title), parse_math=False)
    good = [100 * line.accuracy for line in lines if line.seeds and line.accuracy > 0.6]
    if good:
        # A random subnetwork at 10 % would squeeze all the others into one line.
        axes.set_ylim(min(good) - 1, min(100.0, max(good) + 0.6))
    below = [
        method for method, its in by_method.items() if good and all(100 * line.accuracy < min(good) for line in its)
    ]
    if below:
        axes.text(
            0.01,
            0.01,
            f"below the picture: {', '.join(map(_short, below))[:140]}",
            transform=axes.transAxes,
            fontsize=8,
            parse_math=False,
        )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if by_method:
        name_as_given(figure.legend(loc="outside right center", frameon=False, fontsize=8))
    return figure


def _short(name: str) -> str:
    return one_line(name if len(name) <= 36 else f"…{name[-35:]}", 36)
