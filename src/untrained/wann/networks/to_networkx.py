"""A found network as a networkx graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.net import Net

if TYPE_CHECKING:
    import networkx


def graph(net: Net) -> networkx.DiGraph:
    """A directed graph of a network.

    Nodes are the node numbers, with `kind` (bias, input, hidden, output), `activation` (its name; linear for bias and
    inputs) and, for the outputs of a classifier, `label`. Edges have `weight`, their own one or 1; connections that
    are there twice are one edge, whose weight is their sum.

    Args:
        net: the network.

    Raises:
        ImportError: networkx is not installed.
    """
    try:
        import networkx
    except ImportError:
        raise ImportError("graphs need networkx: pip install 'untrained[wann]'") from None
    found = networkx.DiGraph()
    first = net.inputs + 1
    found.add_node(0, kind="bias", activation="linear")
    found.add_nodes_from(range(1, first), kind="input", activation="linear")
    hidden = len(net.act) - net.outputs
    for k, kind in enumerate(net.act.tolist()):
        found.add_node(first + k, kind="hidden" if k < hidden else "output", activation=NAMES[kind - 1])
    for number, label in enumerate(net.labels or ()):
        found.nodes[first + hidden + number]["label"] = label
    targets = np.repeat(np.arange(len(net.act)) + first, np.diff(net.edge_ptr)).tolist()
    weights = [1.0] * net.connections if net.weights is None else net.weights.tolist()
    for source, target, weight in zip(net.src.tolist(), targets, weights, strict=True):
        before = found.edges[source, target]["weight"] if found.has_edge(source, target) else 0.0
        found.add_edge(source, target, weight=before + weight)
    return found
