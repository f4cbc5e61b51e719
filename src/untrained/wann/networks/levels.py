"""Levels of a network: nodes that can be computed together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np

from untrained.wann.networks.graph import Graph


@final
@dataclass(frozen=True, eq=False)
class Level:
    """Nodes that need only the levels before theirs; those of one activation stand together.

    Args:
        groups: (activation id, number of nodes), in the order of the nodes.
        nodes: node numbers, int64 (M,).
        edges: numbers of the connections into them, int64 (C,); those of a node in the order of its sources.
        targets: index in `nodes` of each connection's target, int64 (C,).
    """

    groups: tuple[tuple[int, int], ...]
    nodes: np.ndarray
    edges: np.ndarray
    targets: np.ndarray


def depths(net: Graph) -> np.ndarray:
    """Return the depth of every node, int64 (nodes,): 0 for bias and inputs, else 1 + that of the deepest source."""
    first = net.inputs + 1
    depth = np.zeros(first + len(net.act), np.int64)
    for k, (start, stop) in enumerate(pairwise(net.edge_ptr)):
        depth[first + k] = 1 + depth[net.src[start:stop]].max(initial=0)
    return depth


def levels(net: Graph) -> list[Level]:
    """Return the fewest levels of computed nodes, those of equal depth."""
    depth = depths(net)[net.inputs + 1 :]
    rows = np.lexsort((net.act, depth))
    return [_level(net, part) for part in np.split(rows, np.flatnonzero(np.diff(depth[rows])) + 1)]


def _level(net: Graph, rows: np.ndarray) -> Level:
    kinds, counts = np.unique(net.act[rows], return_counts=True)
    edges = [np.arange(int(net.edge_ptr[row]), int(net.edge_ptr[row + 1])) for row in rows]
    targets = np.repeat(np.arange(len(rows)), [len(part) for part in edges])
    groups = tuple(zip(kinds.tolist(), counts.tolist(), strict=True))
    return Level(groups, rows + net.inputs + 1, np.concatenate(edges), targets)


def positions(net: Graph, parts: list[Level]) -> np.ndarray:
    """Return the place of every node, int64 (nodes,), when bias, inputs and the levels stand one after the other."""
    order = np.concatenate([np.arange(net.inputs + 1), *(level.nodes for level in parts)])
    return np.argsort(order)
