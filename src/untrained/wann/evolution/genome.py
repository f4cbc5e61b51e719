"""Genomes: networks that can grow. A population is a few arrays; breeding and expression are compiled loops over it.

Every input and the bias has a gene to every output from the start, most of them switched off; genes are never removed
(Gaier & Ha 2019, section 3 and the authors' code). Nodes are numbered: bias 0, inputs, outputs, then hidden nodes in
order of birth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.presets import Preset
from untrained.wann.networks.activations import LINEAR, NAMES
from untrained.wann.networks.batch import Packed
from untrained.wann.numerics.jit import compiled, inlined

_SPARE = 32


@final
@dataclass(frozen=True, eq=False)
class Population:
    """P genomes, each in a row of every array; what lies behind a genome's own length is 0.

    Args:
        inputs: inputs of a network.
        outputs: outputs of a network.
        act: int8 (P, N), activation id of every node; bias and inputs have none.
        src: int32 (P, E), source of every gene.
        dst: int32 (P, E), destination of every gene.
        on: uint8 (P, E), whether the gene is switched on.
        nodes: int32 (P,), how many nodes.
        genes: int32 (P,), how many genes.
    """

    inputs: int
    outputs: int
    act: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    on: np.ndarray
    nodes: np.ndarray
    genes: np.ndarray

    def __len__(self) -> int:
        return len(self.nodes)

    def check(self) -> None:
        """Raise ValueError if these are no genomes: compiled code trusts them."""
        fixed, (size, width) = self.inputs + 1 + self.outputs, self.src.shape
        kinds = [array.dtype for array in self.arrays]
        if kinds != [np.int8, np.int32, np.int32, np.uint8, np.int32, np.int32]:
            raise ValueError(f"genomes: got arrays of {kinds}")
        shapes = [array.shape for array in self.arrays]
        if shapes != [(size, self.act.shape[1]), *3 * [(size, width)], (size,), (size,)]:
            raise ValueError(f"genomes: got arrays of shapes {shapes}")
        if not ((self.nodes >= fixed) & (self.nodes <= self.act.shape[1])).all():
            raise ValueError("genomes: a number of nodes is out of range")
        if not ((self.genes >= 0) & (self.genes <= width)).all():
            raise ValueError("genomes: a number of genes is out of range")
        there = np.arange(width) < self.genes[:, None]
        sources = (self.src >= 0) & (self.src < self.nodes[:, None])
        targets = (self.dst > self.inputs) & (self.dst < self.nodes[:, None])
        if not (sources & targets & (self.on <= 1))[there].all():
            raise ValueError("genomes: a gene leads from or to a node that is none")
        computed = (np.arange(self.act.shape[1]) > self.inputs) & (np.arange(self.act.shape[1]) < self.nodes[:, None])
        if not ((self.act >= 1) & (self.act <= len(NAMES)))[computed].all():
            raise ValueError("genomes: an activation is none of ours")
        for p in range(size):
            _, _, visited = _layers(fixed, self.nodes[p], self.genes[p], self.src[p], self.dst[p])
            outwards = self.src[p, : self.genes[p]]
            if visited < self.nodes[p] - fixed or ((outwards > self.inputs) & (outwards < fixed)).any():
                raise ValueError("genomes: one is not feed-forward")

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, in the order of the fields."""
        return self.act, self.src, self.dst, self.on, self.nodes, self.genes

    @staticmethod
    def first(inputs: int, outputs: int, size: int, enabled: float, draws: np.ndarray) -> Population:
        """The first population: no hidden nodes, linear outputs, each gene on with probability `enabled`.

        Args:
            inputs: inputs of a network.
            outputs: outputs of a network.
            size: how many genomes.
            enabled: probability that a gene is on.
            draws: uniform numbers, float64 (size, (inputs + 1)·outputs).
        """
        fixed, genes = inputs + 1 + outputs, (inputs + 1) * outputs
        blank = _blank(size, fixed + _SPARE, genes + 2 * _SPARE)
        act, src, dst, on, nodes, lengths = blank
        act[:, inputs + 1 : fixed] = LINEAR
        src[:, :genes] = np.tile(np.arange(inputs + 1), outputs)
        dst[:, :genes] = np.repeat(np.arange(inputs + 1, fixed), inputs + 1)
        on[:, :genes] = draws < enabled
        nodes[:], lengths[:] = fixed, genes
        return Population(inputs, outputs, *blank)

    def children(
        self, parents: np.ndarray, mutate: np.ndarray, draws: np.ndarray, preset: Preset, activations: np.ndarray
    ) -> Population:
        """The next population.

        Args:
            parents: int64 (P,), whose child each is.
            mutate: bool (P,), False: an unchanged copy.
            draws: uniform numbers for each child, float64 (P, 4).
            preset: has the probabilities of the mutations.
            activations: int8, the ids that a new or changed node may have.
        """
        nodes = _room(self.act.shape[1], int(self.nodes.max()) + 1)
        genes = _room(self.src.shape[1], int(self.genes.max()) + 2)
        born = _blank(len(parents), nodes, genes)
        chances = np.cumsum([preset.add_connection, preset.add_node, preset.enable, preset.change_activation])
        _breed(self.inputs, self.outputs, parents, mutate, draws, chances / chances[-1], activations, self.arrays, born)
        return Population(self.inputs, self.outputs, *born)

    def expressed(self, *, disabled_stay: bool = False) -> tuple[Packed, np.ndarray]:
        """The networks that the genomes describe, and how many connections each genome has switched on.

        Hidden nodes without a way to an output are left out of the networks, but their connections count.

        Args:
            disabled_stay: connections between hidden nodes work though they are switched off, as in the authors' code.
        """
        packed = _express(self.inputs, self.outputs, disabled_stay, *self.arrays)
        *arrays, switched_on = packed
        return Packed(self.inputs, self.outputs, *arrays), switched_on

    def chosen(self, numbers: np.ndarray) -> Population:
        """The genomes of these numbers, in this order."""
        return Population(self.inputs, self.outputs, *(array[numbers] for array in self.arrays))

    def replaced(self, numbers: np.ndarray, others: Population) -> Population:
        """A copy with other genomes in these places."""
        arrays = []
        for mine, theirs in zip(self.arrays, others.arrays, strict=True):
            if mine.ndim == 1:
                merged = mine.copy()
                merged[numbers] = theirs
            else:
                merged = np.zeros((len(mine), max(mine.shape[1], theirs.shape[1])), mine.dtype)
                merged[:, : mine.shape[1]] = mine
                merged[numbers] = 0
                merged[numbers, : theirs.shape[1]] = theirs
            arrays.append(merged)
        return Population(self.inputs, self.outputs, *arrays)


def _room(present: int, needed: int) -> int:
    return present if needed <= present else max(needed, int(present * 1.5))


def _blank(size: int, nodes: int, genes: int) -> tuple[np.ndarray, ...]:
    return (
        np.zeros((size, nodes), np.int8),
        np.zeros((size, genes), np.int32),
        np.zeros((size, genes), np.int32),
        np.zeros((size, genes), np.uint8),
        np.zeros(size, np.int32),
        np.zeros(size, np.int32),
    )


@compiled
def _layers(fixed, nodes, genes, src, dst):
    """Longest-path layer (from 1) of every hidden node over all genes between hidden nodes, and an order to visit.

    Also how many the order has: fewer than there are hidden nodes if they go round in a circle.
    """
    hidden = nodes - fixed
    layer, order = np.ones(hidden, np.int32), np.empty(hidden, np.int32)
    first, waits = np.zeros(hidden + 1, np.int32), np.zeros(hidden, np.int32)
    for e in range(genes):
        if src[e] >= fixed and dst[e] >= fixed:
            first[src[e] - fixed + 1] += 1
            waits[dst[e] - fixed] += 1
    for i in range(hidden):
        first[i + 1] += first[i]
    free = first[:hidden].copy()
    target = np.empty(first[hidden], np.int32)
    for e in range(genes):
        if src[e] >= fixed and dst[e] >= fixed:
            target[free[src[e] - fixed]] = dst[e] - fixed
            free[src[e] - fixed] += 1
    ready = 0
    for i in range(hidden):
        if waits[i] == 0:
            order[ready] = i
            ready += 1
    done = 0
    while done < ready:
        i = order[done]
        done += 1
        for t in range(first[i], first[i + 1]):
            j = target[t]
            layer[j] = max(layer[j], layer[i] + 1)
            waits[j] -= 1
            if waits[j] == 0:
                order[ready] = j
                ready += 1
    return layer, order, ready


@compiled
def _nth(flags, count, wanted, n):
    """Where `wanted` is found for the n-th time among the first `count` flags."""
    for e in range(count):
        if flags[e] == wanted:
            if n == 0:
                return e
            n -= 1
    return -1


@compiled
def _new_connection(inputs, outputs, nodes, genes, src, dst, u_source, u_target):
    """A pair (source, target) without a gene, the target in a later layer; (-1, -1) if there is none.

    A source is drawn among those that have such a target, then one of its targets: the same as trying sources in
    random order until one has a target.
    """
    fixed = inputs + 1 + outputs
    hidden_layer, _, _ = _layers(fixed, nodes, genes, src, dst)
    last = 1
    for i in range(nodes - fixed):
        last = max(last, hidden_layer[i] + 1)
    layer = np.zeros(nodes, np.int32)
    layer[inputs + 1 : fixed] = last
    layer[fixed:] = hidden_layer
    later = np.zeros(last + 1, np.int32)  # nodes in layers after this one
    for i in range(inputs + 1, nodes):
        for k in range(layer[i]):
            later[k] += 1
    out_degree = np.zeros(nodes, np.int32)
    for e in range(genes):
        out_degree[src[e]] += 1
    open_sources = np.zeros(nodes, np.uint8)
    count = 0
    for i in range(nodes):
        if out_degree[i] < later[layer[i]]:
            open_sources[i] = 1
            count += 1
    if count == 0:
        return -1, -1
    source = _nth(open_sources, nodes, 1, min(int(u_source * count), count - 1))
    is_open = np.zeros(nodes, np.uint8)
    for i in range(inputs + 1, nodes):
        is_open[i] = layer[i] > layer[source]
    for e in range(genes):
        if src[e] == source:
            is_open[dst[e]] = 0
    count = later[layer[source]] - out_degree[source]
    return source, _nth(is_open, nodes, 1, min(int(u_target * count), count - 1))


@compiled
def _breed(inputs, outputs, parents, mutate, draws, chances, activations, old, new):
    """Copy each parent, then change one thing: chances are cumulative for connection, node, enable, activation."""
    old_act, old_src, old_dst, old_on, old_nodes, old_genes = old
    new_act, new_src, new_dst, new_on, new_nodes, new_genes = new
    fixed = inputs + 1 + outputs
    for c in range(parents.shape[0]):
        p = parents[c]
        n, m = old_nodes[p], old_genes[p]
        act, src, dst, on = new_act[c], new_src[c], new_dst[c], new_on[c]
        act[:n], src[:m], dst[:m], on[:m] = old_act[p, :n], old_src[p, :m], old_dst[p, :m], old_on[p, :m]
        new_nodes[c], new_genes[c] = n, m
        if not mutate[c]:
            continue
        enabled = 0
        for e in range(m):
            enabled += int(on[e])
        u = draws[c]
        if u[0] < chances[0]:
            source, target = _new_connection(inputs, outputs, n, m, src, dst, u[1], u[2])
            if source >= 0:
                src[m], dst[m], on[m] = source, target, 1
                new_genes[c] = m + 1
        elif u[0] < chances[1]:
            if enabled > 0:
                e = _nth(on, m, 1, min(int(u[1] * enabled), enabled - 1))
                on[e] = 0
                src[m], dst[m], on[m] = src[e], n, 1
                src[m + 1], dst[m + 1], on[m + 1] = n, dst[e], 1
                act[n] = activations[min(int(u[2] * activations.shape[0]), activations.shape[0] - 1)]
                new_nodes[c], new_genes[c] = n + 1, m + 2
        elif u[0] < chances[2]:
            if enabled < m:
                on[_nth(on, m, 0, min(int(u[1] * (m - enabled)), m - enabled - 1))] = 1
        elif n > fixed and activations.shape[0] > 1:
            i = fixed + min(int(u[1] * (n - fixed)), n - fixed - 1)
            others = 0
            for k in range(activations.shape[0]):
                others += activations[k] != act[i]
            pick = min(int(u[2] * others), others - 1)
            for k in range(activations.shape[0]):
                if activations[k] != act[i]:
                    if pick == 0:
                        act[i] = activations[k]
                        break
                    pick -= 1


@inlined
def _works(on, src, dst, fixed, disabled_stay):
    """Whether a gene is a connection of the network."""
    return on != 0 or (disabled_stay and src >= fixed and dst >= fixed)


@compiled
def _express(inputs, outputs, disabled_stay, act, src, dst, on, nodes, genes):
    """The arrays of a Packed, and the number of connections switched on."""
    fixed = inputs + 1 + outputs
    count = nodes.shape[0]
    node_ptr = np.zeros(count + 1, np.int64)
    switched_on = np.zeros(count, np.int64)
    rows = np.int64(0)
    edges = np.int64(0)
    for p in range(count):
        rows += nodes[p] - inputs - 1
        for e in range(genes[p]):
            switched_on[p] += _works(on[p, e], src[p, e], dst[p, e], fixed, disabled_stay)
        edges += switched_on[p]
    all_act, edge_ptr = np.empty(rows, np.int8), np.zeros(rows + 1, np.int64)
    all_src = np.empty(edges, np.int32)
    row, edge = 0, 0
    for p in range(count):
        n, m = nodes[p], genes[p]
        _, order, _ = _layers(fixed, n, m, src[p], dst[p])
        first = np.zeros(n + 1, np.int32)
        for e in range(m):
            if _works(on[p, e], src[p, e], dst[p, e], fixed, disabled_stay):
                first[dst[p, e] + 1] += 1
        for i in range(n):
            first[i + 1] += first[i]
        free = first[:n].copy()
        sources = np.empty(first[n], np.int32)
        for e in range(m):
            if _works(on[p, e], src[p, e], dst[p, e], fixed, disabled_stay):
                sources[free[dst[p, e]]] = src[p, e]
                free[dst[p, e]] += 1
        live = np.zeros(n, np.uint8)
        for i in range(inputs + 1, fixed):
            for t in range(first[i], first[i + 1]):
                live[sources[t]] = 1
        for k in range(n - fixed - 1, -1, -1):
            i = order[k] + fixed
            if live[i]:
                for t in range(first[i], first[i + 1]):
                    live[sources[t]] = 1
        number = np.zeros(n, np.int32)  # of each node in the network
        number[: inputs + 1] = np.arange(inputs + 1)
        own = inputs + 1
        for k in range(n - inputs - 1):
            i = order[k] + fixed if k < n - fixed else inputs + 1 + k - (n - fixed)
            if k < n - fixed and not live[i]:
                continue
            number[i] = own
            own += 1
            for t in range(first[i], first[i + 1]):
                all_src[edge] = number[sources[t]]
                edge += 1
            all_act[row] = act[p, i]
            row += 1
            edge_ptr[row] = edge
        node_ptr[p + 1] = row
    return node_ptr, edge_ptr[: row + 1].copy(), all_src[:edge].copy(), all_act[:row].copy(), switched_on
