"""The picture of a frontier: accuracy over bytes, tickets and trained networks apart, and the front of each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from untrained.plot.figure import INK, MINUS, PLUS, SMALL, add_legend, empty, heading, one_line, open_frame
from untrained.runs.frontier import Entry, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

# Marks of methods as matplotlib and as Vega call them; Vega's own come first, then paths in a square of side 2.
_MARKS = (
    ("o", "circle"), ("s", "square"), ("D", "diamond"), ("^", "triangle-up"), ("v", "triangle-down"), ("P", "cross"),
    ("<", "triangle-left"), (">", "triangle-right"),
    ("X", "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z"),
    ("*", "M0,-1L.22,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.22,-.31Z"),
    ("p", "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z"), ("h", "M0,-1L.87,-.5L.87,.5L0,1L-.87,.5L-.87,-.5Z"),
    ("d", "M0,-1L.6,0L0,1L-.6,0Z"), ("8", "M-.41,-1L.41,-1L1,-.41L1,.41L.41,1L-.41,1L-1,.41L-1,-.41Z"),
)  # fmt: skip
_ENLARGED = 4  # the picture shows at most so many times the least error
# Places of a label beside its point, in points, and the corner of the label there.
_PLACES = [(6, 5, "left", "bottom"), (6, -5, "left", "top"), (-6, 5, "right", "bottom"), (-6, -5, "right", "top"),
           (0, 9, "center", "bottom"), (0, -9, "center", "top")]  # fmt: skip
_SIDES = {False: ("tickets", PLUS), True: ("trained networks", MINUS)}


def frontier(title: str, entries: Sequence[Entry]) -> Figure:
    """Draw test accuracy over bytes: a point per row, bars of one standard deviation, and the fronts as stairs.

    Tickets are blue and filled, trained networks orange and hollow; each method has a marker of its own. The stairs
    of a side lead through the rows with the best validation accuracy for their bytes, and the wide grey ones through
    those of both sides. Rows of which a seed failed or did not learn are left out.

    Args:
        title: the text above the picture.
        entries: the rows of the table.

    Example:
        >>> ut.plot.frontier("digits", []).axes[0].get_xlabel()
        'bytes to ship'
    """
    figure = empty(11, 6.8)
    axes = figure.subplots()
    axes.set_title(heading(title), parse_math=False)
    axes.set(xscale="log", xlabel="bytes to ship", ylabel="accuracy on test data, %")
    open_frame(axes, grid=True)
    sound = [entry for entry in entries if not entry.fault]
    if not sound:
        axes.text(0.5, 0.5, "no network finished and learned", transform=axes.transAxes, ha="center")
        return figure
    floor, top = limits_of(sound)
    axes.set_ylim(floor, top)
    handles = _paint(axes, sound)
    low = list(dict.fromkeys(entry.cells[0].method for entry in sound if 100 * entry.accuracy < floor))
    notes = [f"below the picture: rows of {', '.join(one_line(name) for name in low)[:130]}"] if low else []
    if hidden := len(entries) - len(sound):
        notes.append(f"not shown, as a seed failed or did not learn: {hidden} of {len(entries)} rows")
    axes.text(0, -0.11, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=SMALL, parse_math=False)
    add_legend(figure, handles=handles, loc="outside right center", fontsize=SMALL)
    _label(figure, axes, sound)
    return figure


def marks_of(entries: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Return the mark of each method, for matplotlib and for Vega: tickets first, each side from the first mark on."""
    sides = ([entry.cells[0].method for entry in entries if entry.trained == trained] for trained in _SIDES)
    return {method: _MARKS[n % len(_MARKS)] for its in sides for n, method in enumerate(dict.fromkeys(its))}


def limits_of(sound: Sequence[Entry]) -> tuple[float, float]:
    """Return the least and the greatest accuracy to show, in percent, of rows without a fault."""
    ends = [(100 * (entry.accuracy - entry.std), 100 * (entry.accuracy + entry.std)) for entry in sound]
    best = max(100 * entry.accuracy for entry in sound)
    low = max(min(low for low, _ in ends), 100 - _ENLARGED * max(100 - best, 0.5))
    high = min(100.0, max(high for _, high in ends))
    pad = max(0.07 * (high - low), 0.1)
    return low - pad, high + pad


def _paint(axes: Axes, sound: Sequence[Entry]) -> list[Line2D]:
    """Paint fronts and points, and return the entries of the legend."""
    from matplotlib.lines import Line2D

    stairs: dict[str, Any] = {"drawstyle": "steps-post", "zorder": 1}
    end = 1.25 * max(entry.file_bytes for entry in sound)
    marks = marks_of(sound)
    handles = [Line2D([], [], color="#c9ccd1", lw=7, label="Pareto front of all")]
    _climb(axes, pareto_front(sound), end, color="#c9ccd1", lw=7, **stairs)
    for trained, (name, colour) in _SIDES.items():
        its = [entry for entry in sound if entry.trained == trained]
        if not its:
            continue
        style: dict[str, Any] = {"color": colour, "lw": 1.6, "ls": "--" if trained else "-"}
        _climb(axes, pareto_front(its), end, **style, **stairs)
        handles.append(Line2D([], [], **style, label=f"{name}: best for their bytes"))
        for method in dict.fromkeys(entry.cells[0].method for entry in its):
            points: dict[str, Any] = {"color": colour, "marker": marks[method][0], "ls": "", "ms": 7, "mew": 1.4}
            points |= {"mfc": "white"} if trained else {}
            for entry in its:
                if entry.cells[0].method == method:
                    place = entry.file_bytes, 100 * entry.accuracy
                    axes.errorbar(*place, 100 * entry.std, entry.bytes_std, **points, elinewidth=1, capsize=2, zorder=3)
            handles.append(Line2D([], [], **points, label="\n".join(textwrap.wrap(one_line(method, 100), 34)[:3])))
    return handles


def _climb(axes: Axes, front: Sequence[Entry], end: float, **style: Any) -> None:
    """Paint a front as stairs, up to the largest network."""
    sizes, heights = [entry.file_bytes for entry in front], [100 * entry.accuracy for entry in front]
    axes.plot([*sizes, end], [*heights, heights[-1]], **style)


def _label(figure: Figure, axes: Axes, sound: Sequence[Entry]) -> None:
    """Write keep and width beside the points of the fronts, where nothing else is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # makes the layout, which a label inside the axes does not change
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    centres = axes.transData.transform([(entry.file_bytes, 100 * entry.accuracy) for entry in sound])
    boxes = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in centres]
    fronts = (pareto_front([entry for entry in sound if entry.trained == trained]) for trained in _SIDES)
    for entry in {id(entry): entry for entry in [*pareto_front(sound), *chain(*fronts)]}.values():
        if text := _size(entry):
            _place(axes, entry, text, boxes, frame, renderer)


def _place(axes: Axes, entry: Entry, text: str, boxes: list[Bbox], frame: Bbox, renderer: Any) -> None:
    """Write a label at the first place where it covers nothing; leave it out if there is none."""
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL, "color": INK}
    for x, y, across, up in _PLACES:
        place = entry.file_bytes, 100 * entry.accuracy
        label = axes.annotate(text, place, (x, y), ha=across, va=up, **style)
        label.set_in_layout(False)
        box = label.get_window_extent(renderer)
        if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1:
            if not any(box.overlaps(other) for other in boxes):
                boxes.append(box)
                return
        label.remove()


def _size(entry: Entry) -> str:
    cell = entry.cells[0]
    parts = [] if cell.keep is None else [f"{cell.keep:g}"]
    return " ".join([*parts, *([] if cell.width in (None, 1.0) else [f"×{cell.width:g}"])])
