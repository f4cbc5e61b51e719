"""Layout of a drawn network: its layers, the order within them, places in inches.

After Sugiyama, Tagawa & Toda (1981): layers by the longest path, a bend in every layer that a connection passes, the
order of a layer by the mean of its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from untrained.wann.networks.graph import Graph
from untrained.wann.networks.levels import depths

#: Side of the image of the inputs, in inches.
IMAGE = 3.6
_TALL = 7.0  # height of a layer of average size, in inches
_SWEEPS = 24  # passes to and fro over the layers


@final
@dataclass(frozen=True)
class Layout:
    """Places on paper, in inches from the lower left corner.

    Args:
        width: of the network.
        height: of the network.
        radius: of a node.
        x: of every node; NaN for inputs that are not shown.
        y: of every node.
        routes: points of every connection from source to target, (n, 2).
    """

    width: float
    height: float
    radius: float
    x: np.ndarray
    y: np.ndarray
    routes: list[np.ndarray]


@final
@dataclass(frozen=True)
class _Layers:
    """Layers of items: nodes and, numbered after them, the bends of connections.

    Args:
        layer: of every item; -1 for unused inputs.
        chains: items of every connection from source to target.
        links: pairs of items between every two layers, (n, 2).
        order: items of every layer from the top.
    """

    layer: np.ndarray
    chains: list[list[int]]
    links: list[np.ndarray]
    order: list[np.ndarray]


def place(net: Graph, *, side: int = 0) -> Layout:
    """Return the place of every node and connection.

    Args:
        net: the network.
        side: pixels on a side of the image of the inputs, all of which are shown; 0: inputs are a layer.
    """
    layers = _layers(net)
    order, nodes, last = layers.order, net.inputs + 1 + len(net.act), len(layers.order) - 1
    if side:
        order[0] = np.roll(order[0], -int(0 in order[0]))  # the bias stands below the image
    _sort(layers, {0, last} if side else {last})

    # Nodes are a unit apart, bends less.
    thin = min(0.3, 8 / max(1, *(int((items >= nodes).sum()) for items in order)))
    steps = []
    for items in order:
        bent = (items >= nodes).astype(int)
        steps.append(np.array([1.0, 0.65, thin])[bent[:-1] + bent[1:]])
    steps[last] = np.full(len(steps[last]), 1.35)
    unit = float(np.clip(_TALL / max(1.0, *(step.sum() for step in steps[1:])), 0.19, 0.44))
    radius = 0.38 * unit
    steps[0] *= min(1.0, _TALL / unit / max(1, len(steps[0])))

    busy = max((len(link) for link in layers.links), default=1)
    x = layers.layer * float(np.clip(max(10.5 / len(order), 0.01 * busy), 0.62, 2.0))
    shown, image = layers.layer >= 0, None
    if side:
        rows, columns = (np.divmod(np.arange(net.inputs), side) + np.array(0.5)) * IMAGE / side
        x += IMAGE
        x[: net.inputs + 1] = [IMAGE - radius, *columns]
        image = np.array([IMAGE / 2 + 0.2 + radius, *(rows - IMAGE / 2)]) / unit
        shown[1 : net.inputs + 1] = True
    height = unit * _heights(layers, steps, image)
    reach = [height[shown].min(), height[shown].max()] + [-IMAGE / 2, IMAGE / 2] * bool(side)
    y = max(reach) + radius - height
    routes = [np.stack([x[chain], y[chain]], 1) for chain in layers.chains]
    x, y = (np.where(shown, values, np.nan)[:nodes] for values in (x, y))
    return Layout(float(np.nanmax(x)), float(np.ptp(reach)) + 2 * radius, radius, x, y, routes)


def _layers(net: Graph) -> _Layers:
    """Put nodes in layers by the longest path; a source's connections share a bend in every layer they pass."""
    first, nodes = net.inputs + 1, net.inputs + 1 + len(net.act)
    layer = depths(net)
    layer[np.setdiff1d(np.arange(first), net.src)] = -1
    layer[-net.outputs :] = 1 + layer[: -net.outputs].max(initial=0)

    bends: dict[tuple[int, int], int] = {}
    chains = []
    for source, target in zip(net.src.tolist(), net.targets.tolist(), strict=True):
        passed = [(source, between) for between in range(layer[source] + 1, layer[target])]
        chains.append([source, *(bends.setdefault(bend, nodes + len(bends)) for bend in passed), target])
    layer = np.concatenate([layer, np.array([between for _, between in bends], int)])

    links: list[set[tuple[int, int]]] = [set() for _ in range(layer.max())]
    for chain in chains:
        for a, b in pairwise(chain):
            if layer[a] < layer[b]:  # two outputs share a layer
                links[layer[a]].add((a, b))
    order = [np.flatnonzero(layer == number) for number in range(layer.max() + 1)]
    return _Layers(layer, chains, [np.array(sorted(link), int).reshape(-1, 2) for link in links], order)


def _sort(layers: _Layers, fixed: set[int]) -> None:
    """Order every layer by the mean position of its neighbours, to and fro; an even number of sweeps crosses least."""
    rank = np.zeros(len(layers.layer))
    last = len(layers.order) - 1

    def settle(number: int, items: np.ndarray) -> None:
        layers.order[number] = items
        rank[items] = (np.arange(len(items)) + 0.5) / max(1, len(items))

    for number, items in enumerate(layers.order):
        settle(number, items)
    for sweep in range(_SWEEPS):
        forwards = sweep % 2 == 0
        for number in range(1, last + 1) if forwards else range(last - 1, -1, -1):
            if number not in fixed:
                link = layers.links[number - 1][:, ::-1] if forwards else layers.links[number]
                items = layers.order[number]
                settle(number, items[np.argsort(_mean(rank, link)[items], kind="stable")])


def _mean(values: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Return the mean value of every item's neighbours; an item without neighbours keeps its value."""
    total = np.bincount(links[:, 0], values[links[:, 1]], len(values))
    count = np.bincount(links[:, 0], minlength=len(values))
    return np.where(count > 0, total / np.maximum(count, 1), values)


def _heights(layers: _Layers, steps: list[np.ndarray], image: np.ndarray | None) -> np.ndarray:
    """Return heights, downwards, at least `steps` apart within a layer and near the mean of the neighbours.

    `image`: fixed heights of bias and inputs.
    """
    height = np.zeros(len(layers.layer))
    links = np.concatenate([*layers.links, np.empty((0, 2), int)])
    ends = np.concatenate([links, links[:, ::-1]])
    stacked = [
        np.concatenate([[0.0], step.cumsum()])[: len(items)] for step, items in zip(steps, layers.order, strict=True)
    ]
    for items, at in zip(layers.order, stacked, strict=True):
        height[items] = at - at[-1:] / 2
    if image is not None:
        height[: len(image)] = image
    free = range(int(image is not None), len(layers.order))
    for sweep in range(2 * _SWEEPS):
        for number in free if sweep % 2 == 0 else reversed(free):
            items, at = layers.order[number], stacked[number]
            height[items] = _make_ascending(_mean(height, ends)[items] - at) + at
    return height


def _make_ascending(values: np.ndarray) -> np.ndarray:
    """Return the nearest ascending values, by least squares."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, size = value, 1
        while blocks and blocks[-1][0] > mean:
            before, more = blocks.pop()
            mean, size = (before * more + mean * size) / (more + size), more + size
        blocks.append((mean, size))
    return np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
