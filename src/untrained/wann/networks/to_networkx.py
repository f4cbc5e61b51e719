"""Export of a network to networkx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from untrained.terminal.extras import install_command
from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.graph import Graph

if TYPE_CHECKING:
    import networkx


def to_digraph(net: Graph) -> networkx.DiGraph:
    """Return the directed graph of a network.

    Nodes are the node numbers, with `kind` (bias, input, hidden, output), `activation` (its name; linear for bias and
    inputs) and, for the outputs of a classifier, `label`. Edges have `weight`, 1 if it is not tuned; connections that
    are there twice are one edge, whose weight is their sum.

    Raises:
        ImportError: networkx is not installed.
    """
    try:
        import networkx
    except ImportError:
        raise ImportError(f"graphs need networkx: {install_command('wann')}") from None
    graph = networkx.DiGraph()
    first, hidden = net.inputs + 1, len(net.act) - net.outputs
    graph.add_node(0, kind="bias", activation="linear")
    graph.add_nodes_from(range(1, first), kind="input", activation="linear")
    for k, kind in enumerate(net.act.tolist()):
        graph.add_node(first + k, kind="hidden" if k < hidden else "output", activation=NAMES[kind - 1])
    for number, label in enumerate(net.labels or (), start=first + hidden):
        graph.nodes[number]["label"] = label
    graph.add_edges_from(zip(net.src.tolist(), net.targets.tolist(), strict=True), weight=0.0)
    for source, target, weight in zip(net.src.tolist(), net.targets.tolist(), net.own_weights.tolist(), strict=True):
        graph.edges[source, target]["weight"] += weight
    return graph
