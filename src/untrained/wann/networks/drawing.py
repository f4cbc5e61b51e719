"""Pictures of networks; they need matplotlib: `pip install untrained[plot]`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untrained.files import atomic_write
from untrained.plot.figure import FONT, INK, MINUS, PLUS, SMALL, empty, one_line
from untrained.plot.figure import FOUND as TEAL
from untrained.wann.networks.activations import FUNCTIONS, NAMES
from untrained.wann.networks.graph import Graph
from untrained.wann.networks.layout import IMAGE, Layout, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT, _UNUSED, _EDGE = "#6d747e", "#ededed", "#3d4a5c"
# Greys for linear and inverse; the others in colours that colour-blind readers tell apart (Paul Tol's "muted").
_COLOURS = "#c8c8c8 #332288 #44aa99 #ddcc77 #117733 #88ccee #6f6f6f #999933 #cc6677 #aa4499 #882255".split()
FILL: dict[str, str] = dict(zip(NAMES, _COLOURS, strict=True))
_MARGIN, _GAP, _ROW, _LEGEND_COLUMN = 0.25, 0.08, 0.28, 1.3  # inches
_NAMED = 40  # more used inputs than these are dots without names
_STEEPEST = 0.45  # greatest slope of a connection that passes the nodes of a layer


def draw_net(net: Graph, path: str | Path | None = None, *, names: Sequence[str] | None = None) -> Figure:
    """Draw a network in layers, from its inputs on the left to its outputs on the right, a colour per activation.

    A node stands right of all its sources; unused inputs are counted, not drawn. With tuned weights, a connection is
    as wide as its weight is large, and coloured by its sign. A square number of inputs without names (64, 256, 784; 36
    at least) is drawn as an image.

    Args:
        net: the network.
        path: a file to write as well, in any format of matplotlib.
        names: of the inputs.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `names` are not one per input, or matplotlib does not write the format.
        OSError: the file cannot be written.
    """
    figure = new_figure()
    paint_net(figure, net, names)
    save(figure, path)
    return figure


def new_figure() -> Figure:
    """Return an empty figure without a layout engine."""
    return empty(6, 6, dpi=150, facecolor="white", layout=None)


def save(figure: Figure, path: str | Path | None) -> None:
    """Write a figure in the format of the path's ending, whole or not at all; without a path write no file."""
    if path is not None:
        with atomic_write(path) as unfinished:
            figure.savefig(unfinished, format=Path(path).suffix[1:].lower())


def paint_net(
    figure: Figure, net: Graph, names: Sequence[str] | None, *, wide: float = 6.0, head: float = 0.0, foot: float = 0.0
) -> None:
    """Size a figure for a network, `wide` inches at least, `head` and `foot` inches left free, and paint it there."""
    if names is not None and len(names) != net.inputs:
        raise ValueError(f"names must be {net.inputs}, one per input, got {len(names)}")
    first, used = net.inputs + 1, np.unique(net.src[net.src <= net.inputs]).tolist()
    side = math.isqrt(net.inputs)
    side = side if names is None and side >= 6 and side * side == net.inputs else 0
    named = not side and len(used) <= _NAMED
    layout = place(net, side=side)
    texts = {k: one_line(name) for k, name in node_names(net, names).items() if named or not 0 < k < first}
    beside = layout.radius + _GAP
    low = min([0.0, *(layout.x[k] - beside - _text_width(text) for k, text in texts.items() if k < first)])
    high = max(layout.x[k] + beside + _text_width(text) for k, text in texts.items() if k >= first)

    legend = _legend(net)
    width = max(float(high - low) + 2 * _MARGIN, wide)
    start = float(low + high - width) / 2  # a narrow network stands in the middle
    rows = math.ceil(len(legend) / int((width - 2 * _MARGIN) / _LEGEND_COLUMN))
    below = _MARGIN + _ROW * (rows + 2)
    height = below + layout.height + _MARGIN
    total = head + height + foot
    figure.set_size_inches(width, total)
    axes = figure.add_axes((0, foot / total, 1, height / total))
    axes.set(xlim=(start, start + width), ylim=(-below, layout.height + _MARGIN))
    axes.set_axis_off()

    _paint_connections(axes, net, layout)
    _paint_inputs(axes, net, layout, IMAGE / side if side else 0.0, 0.5 * layout.radius if named else 0.035)
    _paint_nodes(axes, layout.x[first:], layout.y[first:], layout.radius, [NAMES[k - 1] for k in net.act], "nodes")
    for k, text in texts.items():
        toward, align = (-1, "right") if k < first else (1, "left")
        _write(axes, float(layout.x[k]) + toward * beside, float(layout.y[k]), text, ha=align)
    line = f"{net.connections} connections · {len(net.act) - net.outputs} hidden nodes"
    line += f" · {len(used) - (0 in used)} of {net.inputs} inputs used"
    _write(axes, start + width / 2, -1.6 * _ROW, line, ha="center", fontsize=SMALL, color=FAINT)
    _paint_legend(axes, legend, math.ceil(len(legend) / rows), start + width / 2)


def node_names(net: Graph, names: Sequence[str] | None = None) -> dict[int, str]:
    """Return the names of used inputs, a used bias and the outputs, by node; `names` are those of all inputs."""
    inputs = ["bias", *(names or (f"input {k}" for k in range(1, net.inputs + 1)))]
    ends = net.labels or (["output"] if net.outputs == 1 else [f"output {k + 1}" for k in range(net.outputs)])
    used = np.unique(net.src[net.src <= net.inputs]).tolist()
    return {k: inputs[k] for k in used} | dict(enumerate(ends, net.inputs + 1 + len(net.act) - net.outputs))


def _paint_connections(axes: Axes, net: Graph, layout: Layout) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.path import Path as Curve

    size = np.abs(net.own_weights)
    # The thin ones lie on the wide ones.
    order = np.argsort(-size, kind="stable")
    curves = [Curve(*_route(layout.routes[edge], layout.radius)) for edge in order]
    many = len(curves) > 300
    alpha = float(np.clip(6 / math.sqrt(len(curves) + 1), 0.3, 0.75))
    widths, colours = 0.8 if many else 1.1, [to_rgba(_EDGE, alpha)] * len(curves)
    if net.weights is not None and len(curves):
        widths = 0.4 + (1.6 if many else 2.6) * size[order] / (size.max() or 1.0)
        colours = [to_rgba(PLUS if weight > 0 else MINUS, alpha) for weight in net.weights[order]]
    lines = PathCollection(curves, facecolors="none", edgecolors=colours, linewidths=widths, zorder=1)
    axes.add_collection(lines, autolim=False).set_gid("connections")


def _route(route: np.ndarray, radius: float) -> tuple[np.ndarray, list[int]]:
    """Return points and codes of a smooth curve that leaves and arrives level."""
    steps = np.diff(route, axis=0)
    if steps[0, 0] <= 0:  # from output to output
        reach = np.array([radius + 0.3 * abs(steps[0, 1]), 0])
        return np.array([route[0], route[0] - reach, route[1] - reach, route[1]]), [1, 4, 4, 4]
    incline = steps[:, 1] / steps[:, 0]
    # At a bend: as steep as the flatter side, and never so steep as to cut the node beside it.
    flatter = np.minimum(np.minimum(abs(incline[:-1]), abs(incline[1:])), _STEEPEST)
    level = np.where(incline[:-1] * incline[1:] > 0, np.sign(incline[1:]) * flatter, 0)
    incline = np.concatenate([[0], level, [0]])
    ends = route.copy()
    ends[0, 0] += radius
    ends[-1, 0] -= radius
    points, codes = [route[0], ends[0]], [1, 2]
    for number, (a, b) in enumerate(pairwise(ends)):
        reach = (b[0] - a[0]) / 2
        leaves, arrives = reach * np.array([[1, incline[number]], [1, incline[number + 1]]])
        points += [a + leaves, b - arrives, b]
        codes += [4, 4, 4]
    return np.array(points), codes


def _paint_inputs(axes: Axes, net: Graph, layout: Layout, pixel: float, radius: float) -> None:
    """Paint inputs as discs, or as pixels this wide, the darker the more connections they have."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle, Rectangle

    patches: list[Any] = []
    fan = np.bincount(net.src, minlength=net.inputs + 1)
    most = max(1, fan[1 : net.inputs + 1].max())
    for number, (x, y) in enumerate(zip(layout.x[: net.inputs + 1], layout.y, strict=False)):
        if pixel and number:
            tint = 1 - (0.25 + 0.55 * fan[number] / most) * (1 - np.array(to_rgb(TEAL)))
            corner = x - 0.46 * pixel, y - 0.46 * pixel
            patches.append(Rectangle(corner, 0.92 * pixel, 0.92 * pixel, fc=tint if fan[number] else _UNUSED, lw=0))
        elif number and fan[number]:
            patches.append(Circle((x, y), radius, fc=INK, ec=INK))
        elif fan[number]:
            patches.append(Circle((x, y), 0.5 * layout.radius, fc="white", ec=INK))
    # Pixels lie under the connections, whose beginnings stay visible.
    inputs = PatchCollection(patches, match_original=True, zorder=0.5 if pixel else 2)
    axes.add_collection(inputs, autolim=False).set_gid("inputs")


def _paint_nodes(axes: Axes, x: Any, y: Any, radius: float, kinds: Sequence[str], gid: str) -> None:
    """Paint discs in the colour of their activation, and in them its curve."""
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle

    at, fills = np.stack([x, y], 1), [FILL[kind] for kind in kinds]
    circles = [Circle((x, y), radius) for x, y in at]
    discs = PatchCollection(circles, facecolors=fills, edgecolors="white", linewidths=1.2, zorder=3)
    axes.add_collection(discs, autolim=False).set_gid(gid)
    glyphs = LineCollection(
        [centre + radius * _glyph(kind) for centre, kind in zip(at, kinds, strict=True)],
        colors=["white" if np.dot(to_rgb(fill), (0.3, 0.59, 0.11)) < 0.58 else INK for fill in fills],
        linewidths=float(np.clip(9 * radius, 0.8, 1.6)),
        zorder=4,
    )
    axes.add_collection(glyphs, autolim=False).set_gid(f"{gid}-curves")


def _glyph(kind: str) -> np.ndarray:
    """Return the curve of an activation in the unit disc, (n, 2)."""
    reach = {"cos": 1.5, "tanh": 2.5, "sigmoid": 5.0, "gaussian": 2.5}.get(kind, 1.0)
    x = np.linspace(-reach, reach, 61)
    y = FUNCTIONS[kind](x)
    return np.stack([x / reach * 0.6, 0.85 * ((y - y.min()) / np.ptp(y) - 0.5)], 1)


def _legend(net: Graph) -> list[tuple[str, str]]:
    """Return the legend's entries: (activation or colour, label)."""
    counts = sorted(Counter(net.act.tolist()).items())
    entries = [(NAMES[kind - 1], f"{NAMES[kind - 1]} ({count})") for kind, count in counts]
    return entries if net.weights is None else [*entries, (PLUS, "weight > 0"), (MINUS, "weight < 0")]


def _paint_legend(axes: Axes, entries: Sequence[tuple[str, str]], columns: int, middle: float) -> None:
    row, column = np.divmod(np.arange(len(entries)), columns)
    x, y = middle + 0.2 + _LEGEND_COLUMN * (column - columns / 2), -_ROW * (2.6 + row)
    kinds = [kind for kind, _ in entries if kind in FILL]
    _paint_nodes(axes, x[: len(kinds)], y[: len(kinds)], 0.11, kinds, "legend")
    for (sign, text), left, height in zip(entries, x, y, strict=True):
        if sign not in FILL:
            axes.plot((left - 0.1, left + 0.1), (height, height), color=sign, lw=2)
        _write(axes, left + 0.17, height, text, fontsize=SMALL)


def _text_width(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT), ismath=False)
    return width / 72


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    # Text is no formula: a "$" in it is a dollar.
    axes.text(x, y, text, **{"fontsize": FONT, "color": INK, "va": "center_baseline", "parse_math": False} | style)
