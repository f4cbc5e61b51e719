"""Pictures of found networks and of runs, for those who have matplotlib: `pip install untrained[plot]`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from untrained.files import written_whole
from untrained.wann.activations import FUNCTIONS, NAMES
from untrained.wann.net import Net
from untrained.wann.packed import WEIGHTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEAL, _GREY, _CURVES = "#1b7f79", "#8a8a8a", ("#1b7f79", "#c97b2b", "#b2475f", "#4a5a9a", "#6b6b6b")
_INK, _FAINT, _UNUSED, _EDGE = "#2b2f36", "#6d747e", "#ededed", "#3d4a5c"
_PLUS, _MINUS = "#0072b2", "#d55e00"
# Greys for the two plain functions; the others in colours that the colour-blind tell apart (Paul Tol's "muted").
_FILL: dict[str, str] = dict(
    zip(
        NAMES,
        (
            *("#c8c8c8", "#332288", "#44aa99", "#ddcc77", "#117733", "#88ccee", "#6f6f6f", "#999933"),
            *("#cc6677", "#aa4499", "#882255"),
        ),
        strict=True,
    )
)
_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150
# Inches: of the network, the image that its inputs are, the legend.
_TALL, _MAP, _MARGIN, _ROW, _LEGEND_COLUMN = 7.0, 3.6, 0.25, 0.28, 1.3
# Points; and characters.
_FONT, _SMALL, _LONGEST = 9, 8, 28
# More used inputs than these are dots without names.
_NAMED = 40
# To and fro while ordering layers; how steeply a connection may pass the nodes of a layer.
_SWEEPS, _STEEPEST = 24, 0.45


def draw_net(net: Net, path: str | Path | None = None, *, names: Sequence[str] | None = None) -> Figure:
    """Draw a network in layers, from its inputs on the left to its outputs on the right, a colour per activation.

    A node stands right of all its sources; of inputs without use there is only the number.
    With tuned weights, a connection is as wide as its weight is large, and coloured by its sign. A square number of
    inputs without names (64, 256, 784; 36 at least) is drawn as the image that they are.

    Args:
        net: the network.
        path: a .png, .svg or .pdf file to write as well.
        names: of the inputs.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `names` are not one per input, or the file's ending is none of those.
        OSError: the file cannot be written.
    """
    kind = _kind(path)
    figure = _figure()
    layout = _layout(net, names)
    figure.set_size_inches(layout.width, layout.height)
    _paint(figure.add_axes((0, 0, 1, 1)), net, layout)
    _save(figure, path, kind)
    return figure


def draw_weights(
    weights: Sequence[float] | np.ndarray,
    rewards: Mapping[str, Sequence[float] | np.ndarray],
    deviations: Mapping[str, Sequence[float] | np.ndarray] | None = None,
) -> Figure:
    """Draw the reward over the shared weight, with the six standard weights and the best one marked.

    Args:
        weights: (V,).
        rewards: the mean rewards of every curve by its name, (V,).
        deviations: their standard deviations, drawn as bands, (V,).

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(7, 4, layout="constrained")
    _weights(figure.subplots(), weights, rewards, deviations or {})
    return figure


def draw_generations(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw reward and connections over the generations of a search.

    Args:
        rows: one per generation, with "generation", "best", "mean" and "connections".

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a row lacks one of these.
    """
    figure = _figure(10, 4, layout="constrained")
    rewards, connections = figure.subplots(1, 2)
    _generations(rewards, rows)
    _growth(connections, rows)
    return figure


def draw_front(
    connections: Sequence[int] | np.ndarray, rewards: Sequence[float] | np.ndarray, chosen: int | None = None
) -> Figure:
    """Draw reward against connections, and the best reward that so many connections reach.

    Args:
        connections: of every network, (P,).
        rewards: of every network, (P,).
        chosen: the number of the network to mark.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(7, 4, layout="constrained")
    _front(figure.subplots(), connections, rewards, chosen)
    return figure


def draw_run(
    path: str | Path | None,
    *,
    net: Net,
    names: Sequence[str] | None,
    rows: Sequence[Mapping[str, Any]],
    front: Sequence[tuple[int, float]],
    weights: Sequence[float] | np.ndarray,
    rewards: Mapping[str, Sequence[float] | np.ndarray],
    title: str,
) -> Figure:
    """Draw a whole run: the network; below it the search, the front and the reward over the shared weight.

    Args:
        path: a .png, .svg or .pdf file to write, or None.
        net: the network found.
        names: of its inputs.
        rows: as for `draw_generations`.
        front: (connections, reward) of networks; those as large as `net` are marked.
        weights: as for `draw_weights`.
        rewards: as for `draw_weights`.
        title: above everything.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `names` are not one per input, or the file's ending is not .png, .svg or .pdf.
        OSError: the file cannot be written.
    """
    kind = _kind(path)
    figure = _figure()
    layout = _layout(net, names)
    head, foot = 0.45, 3.3
    width, height = max(layout.width, 13.0), layout.height + head + foot
    figure.set_size_inches(width, height)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, foot / height - 0.02), wspace=0.04)
    panels = figure.subplots(1, 3)
    _generations(panels[0], rows)
    same = [number for number, (size, _) in enumerate(front) if size == net.connections]
    best = max(same, key=lambda number: front[number][1], default=None)
    _front(panels[1], [size for size, _ in front], [reward for _, reward in front], best)
    _weights(panels[2], weights, rewards, {})
    left = (width - layout.width) / 2
    _paint(figure.add_axes((left / width, foot / height, layout.width / width, layout.height / height)), net, layout)
    # One line, and as long as the picture is wide.
    line = _plain(title, int(width * 8))
    figure.text(0.5, 1 - 0.3 / height, line, ha="center", va="center", fontsize=13, color=_INK, parse_math=False)
    _save(figure, path, kind)
    return figure


# Where everything goes: layers, order within them, heights, inches.


@final
@dataclass(frozen=True)
class _Layers:
    """A network in layers; its items are its nodes and, numbered after them, the bends of its connections."""

    nodes: int
    #: Of every item; -1 for inputs without use.
    layer: np.ndarray
    #: Of every connection: its items from source to target.
    chains: list[list[int]]
    #: Between every two layers: pairs of items, (n, 2).
    links: list[np.ndarray]
    #: Of every layer: its items from the top.
    order: list[np.ndarray]


def _layers(net: Net) -> _Layers:
    """Layers by the longest path; a source's connections to later layers share a bend in every layer they pass."""
    first, nodes = net.inputs + 1, net.inputs + 1 + len(net.act)
    layer = np.full(nodes, -1)
    layer[np.unique(net.src[net.src < first])] = 0
    for k in range(len(net.act)):
        sources = net.src[net.edge_ptr[k] : net.edge_ptr[k + 1]]
        layer[first + k] = 1 + layer[sources].max(initial=0)
    layer[-net.outputs :] = 1 + layer[: -net.outputs].max(initial=0)

    targets = np.repeat(np.arange(first, nodes), np.diff(net.edge_ptr))
    bends: dict[tuple[int, int], int] = {}
    chains = []
    for source, target in zip(net.src.tolist(), targets.tolist(), strict=True):
        passed = [(source, between) for between in range(layer[source] + 1, layer[target])]
        chains.append([source, *(bends.setdefault(place, nodes + len(bends)) for place in passed), target])
    layer = np.concatenate([layer, np.array([between for _, between in bends], int)])

    links: list[set[tuple[int, int]]] = [set() for _ in range(layer.max())]
    for chain in chains:
        for a, b in pairwise(chain):
            if layer[a] < layer[b]:  # two outputs share a layer
                links[layer[a]].add((a, b))
    order = [np.flatnonzero(layer == number) for number in range(layer.max() + 1)]
    return _Layers(nodes, layer, chains, [np.array(sorted(link), int).reshape(-1, 2) for link in links], order)


def _sort(layers: _Layers, fixed: set[int]) -> None:
    """Order every layer by the mean position of its neighbours, to and fro; keep the order with fewest crossings."""
    rank = np.zeros(len(layers.layer))

    def settle(number: int, order: np.ndarray) -> None:
        layers.order[number] = order
        rank[order] = (np.arange(len(order)) + 0.5) / max(1, len(order))

    for number, order in enumerate(layers.order):
        settle(number, order)
    best, fewest = list(layers.order), _crossings(layers, rank)
    last = len(layers.order) - 1
    for sweep in range(_SWEEPS):
        forwards = sweep % 2 == 0
        for number in range(1, last + 1) if forwards else range(last - 1, -1, -1):
            if number in fixed:
                continue
            link = layers.links[number - 1][:, ::-1] if forwards else layers.links[number]
            total = np.bincount(link[:, 0], rank[link[:, 1]], len(rank))
            count = np.bincount(link[:, 0], minlength=len(rank))
            order = layers.order[number]
            mean = np.where(count[order] > 0, total[order] / np.maximum(count[order], 1), rank[order])
            settle(number, order[np.argsort(mean, kind="stable")])
        crossings = _crossings(layers, rank)
        if crossings < fewest:
            best, fewest = list(layers.order), crossings
    layers.order[:] = best


def _crossings(layers: _Layers, rank: np.ndarray) -> int:
    """How many pairs of links cross."""
    total = 0
    for link in layers.links:
        a, b = (np.unique(rank[side], return_inverse=True)[1] for side in link.T)
        table = np.zeros((a.max(initial=0) + 2, b.max(initial=0) + 2), int)
        np.add.at(table, (a + 1, b), 1)
        # With whom a link crosses: those that start above it and end below it.
        above = table.cumsum(0)[:, ::-1].cumsum(1)[:, ::-1]
        total += int(above[a, b + 1].sum())
    return total


def _heights(layers: _Layers, steps: list[np.ndarray], pinned: np.ndarray | None) -> np.ndarray:
    """Heights downwards, at least `steps` apart within a layer, and else near the mean of the neighbours."""
    height = np.zeros(len(layers.layer))
    links = np.concatenate([*layers.links, np.empty((0, 2), int)])
    ends = np.concatenate([links, links[:, ::-1]])
    count = np.bincount(ends[:, 0], minlength=len(height))
    for number, order in enumerate(layers.order):
        at = np.concatenate([[0.0], steps[number].cumsum()])[: len(order)]
        height[order] = at - at[-1:] / 2
    for sweep in range(2 * _SWEEPS):
        numbers = range(len(layers.order))
        for number in numbers if sweep % 2 == 0 else reversed(numbers):
            order = layers.order[number]
            if number == 0 and pinned is not None:
                height[order] = pinned[order]
                continue
            total = np.bincount(ends[:, 0], height[ends[:, 1]], len(height))[order]
            wish = np.where(count[order] > 0, total / np.maximum(count[order], 1), height[order])
            at = np.concatenate([[0.0], steps[number].cumsum()])[: len(order)]
            height[order] = _ascending(wish - at) + at
    return height


def _ascending(values: np.ndarray) -> np.ndarray:
    """The nearest values, by squares, of which none is smaller than the one before it."""
    blocks: list[list[float]] = []
    for value in values.tolist():
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * size) / (blocks[-1][1] + size), blocks[-1][1] + size]
    return np.repeat([mean for mean, _ in blocks], [int(size) for _, size in blocks])


@final
@dataclass(frozen=True)
class _Layout:
    """A network on paper, in inches from the lower left."""

    width: float
    height: float
    radius: float
    #: Of every node, NaN for inputs that are not shown.
    x: np.ndarray
    y: np.ndarray
    #: Of every connection: its points from source to target, (n, 2).
    routes: list[np.ndarray]
    #: What stands beside a node.
    texts: dict[int, str]
    #: Pixels along a side of the image that the inputs are, or 0.
    side: int
    #: Whether inputs are dots.
    dots: bool
    #: Of the legend.
    columns: int


def _layout(net: Net, names: Sequence[str] | None) -> _Layout:
    if names is not None and len(names) != net.inputs:
        raise ValueError(f"names: got {len(names)}, expected {net.inputs}, one per input")
    layers = _layers(net)
    side = math.isqrt(net.inputs)
    side = side if names is None and side >= 6 and side * side == net.inputs else 0
    last, nodes = len(layers.order) - 1, layers.nodes
    if side:
        layers.order[0] = np.roll(layers.order[0], -int(0 in layers.order[0]))  # the bias stands below the image
    _sort(layers, {0, last} if side else {last})

    bends = [int((order >= nodes).sum()) for order in layers.order]
    thin = min(0.3, 8 / max(1, *bends))
    steps = []
    for order in layers.order:
        bent = (order >= nodes).astype(int)
        steps.append(np.array([1.0, 0.65, thin])[bent[:-1] + bent[1:]])
    steps[last] = np.full(max(0, len(layers.order[last]) - 1), 1.35)
    unit = float(np.clip(_TALL / max(1.0, *(step.sum() for step in steps[1:])), 0.19, 0.44))
    radius = 0.38 * unit
    dots = not side and len(layers.order[0]) > _NAMED
    if dots:
        steps[0] = np.full(len(steps[0]), min(0.5, _TALL / unit / len(steps[0])))

    texts = dict(enumerate(_outputs(net), nodes - net.outputs))
    if not side and not dots:
        for number in layers.order[0].tolist():
            texts[number] = "bias" if number == 0 else _plain(names[number - 1]) if names else f"input {number}"
    elif 0 in layers.order[0]:
        texts[0] = "bias"
    left = _MARGIN + max((_text_width(text) for number, text in texts.items() if number <= net.inputs), default=0.0)
    left = _MARGIN + _MAP if side else left + radius + 0.08
    right = _MARGIN + radius + 0.08 + max(_text_width(text) for number, text in texts.items() if number > net.inputs)
    busy = max((len(link) for link in layers.links), default=1)
    column = float(np.clip(max(10.5 / len(layers.order), 0.01 * busy), 0.62, 2.0))
    x = left + column * layers.layer
    pinned = None
    if side:
        pixel = _MAP / side
        rows, columns = np.divmod(np.arange(net.inputs), side)
        x[1 : net.inputs + 1] = _MARGIN + (columns + 0.5) * pixel
        x[0] = _MARGIN + _MAP - radius
        pinned = np.concatenate([[_MAP / 2 + 0.2 + radius], (rows + 0.5) * pixel - _MAP / 2]) / unit
    height = unit * _heights(layers, steps, pinned)
    used = layers.layer >= 0
    if side and pinned is not None:
        used[1 : net.inputs + 1] = True
        height[1 : net.inputs + 1] = unit * pinned[1:]
    low, high = float(height[used].min()), float(height[used].max())
    if side:
        low, high = min(low, -_MAP / 2), max(high, _MAP / 2)
    width = max(float(x[used].max()) + right, 6.0)
    # A narrow network stands in the middle of the picture.
    x = x + (width - float(x[used].max()) - right) / 2
    entries = len(_legend(net))
    rows = math.ceil(entries / int((width - 2 * _MARGIN) / _LEGEND_COLUMN))
    columns = math.ceil(entries / rows)
    below = _MARGIN + _ROW * (rows + 2)
    y = below + radius + high - height
    routes = [np.stack([x[chain], y[chain]], 1) for chain in layers.chains]
    x, y = (np.where(used, values, np.nan)[:nodes] for values in (x, y))
    tall = below + high - low + 2 * radius + _MARGIN
    return _Layout(width, tall, radius, x, y, routes, texts, side, dots, columns)


def _outputs(net: Net) -> list[str]:
    if net.labels is not None:
        return [_plain(label) for label in net.labels]
    return ["output"] if net.outputs == 1 else [f"output {number + 1}" for number in range(net.outputs)]


def _legend(net: Net) -> list[tuple[str, str]]:
    """What the legend explains, (kind, text)."""
    counts = Counter(net.act.tolist())
    entries = [(NAMES[kind - 1], f"{NAMES[kind - 1]} ({counts[kind]})") for kind in sorted(counts)]
    return entries if net.weights is None else [*entries, ("+", "weight > 0"), ("-", "weight < 0")]


def _plain(text: object, longest: int = _LONGEST) -> str:
    """One line of printable characters, not too long."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _text_width(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=_FONT), ismath=False)
    return width / 72


# What is painted there.


def _paint(axes: Axes, net: Net, layout: _Layout) -> None:
    """Paint a network on axes as large as its layout, one unit an inch."""
    axes.set(xlim=(0, layout.width), ylim=(0, layout.height))
    axes.set_axis_off()
    _paint_connections(axes, net, layout)
    _paint_inputs(axes, net, layout)
    first = net.inputs + 1
    at = np.stack([layout.x[first:], layout.y[first:]], 1)
    _paint_nodes(axes, at, layout.radius, [NAMES[kind - 1] for kind in net.act], "nodes")
    for number, text in layout.texts.items():
        side = -1 if number < first else 1
        x = layout.x[number] + side * (layout.radius + 0.08)
        _write(axes, x, layout.y[number], text, ha="right" if side < 0 else "left")
    _paint_legend(axes, net, layout)


def _paint_connections(axes: Axes, net: Net, layout: _Layout) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_rgba
    from matplotlib.path import Path as Curve

    size = np.ones(len(net.src)) if net.weights is None else np.abs(net.weights)
    # The thin ones lie on the wide ones.
    order = np.argsort(-size, kind="stable")
    curves = [Curve(*_route(layout.routes[edge], layout.radius)) for edge in order]
    many = len(curves) > 300
    alpha = float(np.clip(6 / math.sqrt(len(curves) + 1), 0.3, 0.75))
    widths, colours = 0.8 if many else 1.1, [to_rgba(_EDGE, alpha)] * len(curves)
    if net.weights is not None and len(curves):
        widths = 0.4 + (1.6 if many else 2.6) * size[order] / (size.max() or 1.0)
        colours = [to_rgba(_PLUS if weight > 0 else _MINUS, alpha) for weight in net.weights[order]]
    lines = PathCollection(curves, facecolors="none", edgecolors=colours, linewidths=widths, zorder=1)
    lines.set_gid("connections")
    axes.add_collection(lines, autolim=False)


def _route(route: np.ndarray, radius: float) -> tuple[np.ndarray, list[int]]:
    """Points and codes of a smooth curve that leaves and arrives level."""
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


def _paint_inputs(axes: Axes, net: Net, layout: _Layout) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle, Rectangle

    shapes: list[Any] = []
    fills, edges = [], []
    fan = np.bincount(net.src, minlength=net.inputs + 1)
    for number in range(net.inputs + 1):
        x, y = layout.x[number], layout.y[number]
        if layout.side and number:
            pixel = _MAP / layout.side
            shapes.append(Rectangle((x - 0.46 * pixel, y - 0.46 * pixel), 0.92 * pixel, 0.92 * pixel))
            fills.append(_tint(fan[number] / fan[1 : net.inputs + 1].max()) if fan[number] else _UNUSED)
            edges.append("none")
        elif fan[number]:
            shapes.append(Circle((x, y), 0.035 if layout.dots and number else 0.55 * layout.radius))
            fills.append(_INK if number else "white")
            edges.append(_INK)
    # Pixels lie under the connections, so that one sees where these begin.
    zorder = 0.5 if layout.side else 2
    patches = PatchCollection(shapes, facecolors=fills, edgecolors=edges, linewidths=1.0, zorder=zorder)
    patches.set_gid("inputs")
    axes.add_collection(patches, autolim=False)


def _tint(share: float) -> tuple[float, float, float]:
    """From light to darker teal."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - (0.25 + 0.55 * share) * (1 - part) for part in to_rgb(_TEAL))
    return red, green, blue


def _paint_nodes(axes: Axes, at: np.ndarray, radius: float, kinds: Sequence[str], gid: str) -> None:
    """Discs in the colour of their activation, and in them its curve."""
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle

    discs = PatchCollection(
        [Circle((x, y), radius) for x, y in at],
        facecolors=[_FILL[kind] for kind in kinds],
        edgecolors="white",
        linewidths=1.2,
        zorder=3,
    )
    discs.set_gid(gid)
    axes.add_collection(discs, autolim=False)
    dark = [float(np.dot(to_rgb(_FILL[kind]), (0.3, 0.59, 0.11))) < 0.58 for kind in kinds]
    glyphs = LineCollection(
        [centre + radius * _glyph(kind) for centre, kind in zip(at, kinds, strict=True)],
        colors=["white" if light else _INK for light in dark],
        linewidths=float(np.clip(9 * radius, 0.8, 1.6)),
        zorder=4,
    )
    glyphs.set_gid(f"{gid}-curves")
    axes.add_collection(glyphs, autolim=False)


def _glyph(kind: str) -> np.ndarray:
    """The curve of an activation in the unit disc, (n, 2)."""
    reach = {"sin": 1.0, "cos": 1.5, "square": 1.0, "tanh": 2.5, "sigmoid": 5.0, "gaussian": 2.5}.get(kind, 1.0)
    x = np.linspace(-reach, reach, 61)
    y = FUNCTIONS[kind](x)
    y = (y - y.min()) / np.ptp(y) - 0.5
    return np.stack([x / reach * 0.6, y * (0.95 if kind in ("linear", "inverse") else 0.85)], 1)


def _paint_legend(axes: Axes, net: Net, layout: _Layout) -> None:
    entries = _legend(net)
    rows = math.ceil(len(entries) / layout.columns)
    used = len(np.unique(net.src[(net.src > 0) & (net.src <= net.inputs)]))
    facts = [
        _count(net.connections, "connection"),
        _count(len(net.act) - net.outputs, "hidden node"),
        f"{used} of {_count(net.inputs, 'input')} used",
    ]
    middle, height = layout.width / 2, _MARGIN + _ROW * (rows + 0.4)
    _write(axes, middle, height, " · ".join(facts), ha="center", fontsize=_SMALL, color=_FAINT)
    left = middle - layout.columns * _LEGEND_COLUMN / 2 + 0.2
    places = {
        entry: (left + _LEGEND_COLUMN * (number % layout.columns), _MARGIN + _ROW * (rows - 0.6 - row))
        for number, entry in enumerate(entries)
        for row in [number // layout.columns]
    }
    kinds = {kind: at for (kind, _), at in places.items() if kind in _FILL}
    _paint_nodes(axes, np.array(list(kinds.values())), 0.11, list(kinds), "legend")
    for (kind, text), (x, y) in places.items():
        if kind not in kinds:
            axes.plot((x - 0.1, x + 0.1), (y, y), color=_PLUS if kind == "+" else _MINUS, lw=2)
        _write(axes, x + 0.17, y, text, fontsize=_SMALL)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _write(axes: Axes, x: float, y: float, text: str, **how: Any) -> None:
    # What others wrote is no formula: a "$" in it is a dollar.
    style = {"fontsize": _FONT, "color": _INK, "va": "center_baseline", "parse_math": False}
    axes.text(x, y, text, **(style | how))


# The panels with axes.


def _weights(
    axes: Axes,
    weights: Sequence[float] | np.ndarray,
    rewards: Mapping[str, Sequence[float] | np.ndarray],
    deviations: Mapping[str, Sequence[float] | np.ndarray],
) -> None:
    x = np.asarray(weights, float)
    rank = np.argsort(x, kind="stable")
    for number, (name, given) in enumerate(rewards.items()):
        y, colour = np.asarray(given, float), _CURVES[number % len(_CURVES)]
        label = _plain(name)
        if np.isfinite(y).any():
            best = int(np.where(np.isfinite(y), y, -np.inf).argmax())
            label += f": best {y[best]:.4g} at {x[best]:.2f}".replace("-", "−")
            axes.plot(x[best], y[best], "o", color=colour, ms=7, mec="white", mew=1.2, zorder=4)
        axes.plot(x[rank], y[rank], color=colour, lw=2, label=label)
        if name in deviations:
            spread = np.asarray(deviations[name], float)
            axes.fill_between(x[rank], (y - spread)[rank], (y + spread)[rank], color=colour, alpha=0.15, lw=0)
    for number, weight in enumerate(WEIGHTS if rewards else ()):
        label = "the six standard weights" if number == 0 else None
        axes.axvline(weight, color=_GREY, lw=0.8, ls=(0, (2, 3)), zorder=0, label=label)
    _finish(axes, "reward over the shared weight", "shared weight", "reward", empty=not rewards)


def _generations(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    x = [row["generation"] for row in rows]
    axes.plot(x, [row["best"] for row in rows], color=_TEAL, lw=2, label="best")
    axes.plot(x, [row["mean"] for row in rows], color=_GREY, lw=1.2, label="mean of all")
    _finish(axes, "reward over generations", "generation", "reward", empty=not rows)


def _growth(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    x = [row["generation"] for row in rows]
    axes.plot(x, [row["connections"] for row in rows], color=_TEAL, lw=2, drawstyle="steps-post", label="of the best")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "connections over generations", "generation", "connections", empty=not rows)


def _front(
    axes: Axes,
    connections: Sequence[int] | np.ndarray,
    rewards: Sequence[float] | np.ndarray,
    chosen: int | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    x, y = np.asarray(connections, float), np.asarray(rewards, float)
    rank = np.lexsort((-y, x))
    rank = rank[np.isfinite(y[rank])]
    axes.plot(x, y, "o", color=_GREY, ms=4, alpha=0.6, mec="none", label="networks")
    axes.step(
        x[rank], np.maximum.accumulate(y[rank]), where="post", color=_TEAL, lw=2, label="best of at most this size"
    )
    if chosen is not None:
        axes.plot(x[chosen], y[chosen], "o", color=_CURVES[1], ms=9, mec="white", mew=1.2, label="chosen", zorder=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "reward against size", "connections", "reward", empty=not len(x))


def _finish(axes: Axes, title: str, x: str, y: str, *, empty: bool) -> None:
    axes.set_title(title, fontsize=10, color=_INK)
    axes.set_xlabel(x, fontsize=_FONT, color=_INK)
    axes.set_ylabel(y, fontsize=_FONT, color=_INK)
    axes.tick_params(labelsize=_SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.03, y=0.08)
    if empty:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", fontsize=_SMALL, color=_FAINT)
    elif axes.get_legend_handles_labels()[0]:
        legend = axes.legend(fontsize=_SMALL, loc="best", framealpha=0.85, edgecolor="none")
        for text in legend.get_texts():
            text.set_parse_math(False)


# Figures and files.


def _figure(width: float = 1, height: float = 1, **how: Any) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'untrained[plot]'") from None
    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white", **how)


def _kind(path: str | Path | None) -> str:
    """The kind of file that a name ends in."""
    if path is None:
        return ""
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path}: got a file ending in {suffix!r}, expected one of {', '.join(_SUFFIXES)}")
    return suffix[1:]


def _save(figure: Figure, path: str | Path | None, kind: str) -> None:
    if path is not None:
        with written_whole(path) as unfinished:
            figure.savefig(unfinished, format=kind)
