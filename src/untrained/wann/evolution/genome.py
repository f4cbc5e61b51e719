"""Genomes: networks that can grow. Breeding and expression are compiled loops over the arrays of a population.

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
from untrained.wann.numerics.jit import compiled

_SPARE = 32


@final
@dataclass(frozen=True, eq=False)
class Population:
    """P genomes, each in a row of every array; elements beyond a genome's length are 0.

    Args:
        inputs: inputs of a network.
        outputs: outputs of a network.
        act: int8 (P, N), activation id of every node; bias and inputs have 0, which is none.
        src: int32 (P, E), source of every gene.
        dst: int32 (P, E), destination of every gene.
        on: uint8 (P, E), 1 where the gene is switched on.
        nodes: int32 (P,), number of nodes.
        genes: int32 (P,), number of genes.

    Example:
        >>> population = wann.Population.first(3, 2, size=4, enabled=0.5, draws=torch.zeros(4, 8).numpy())
        >>> networks, switched_on = population.expressed()
        >>> len(networks), switched_on.tolist()
        (4, [8, 8, 8, 8])
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
        """Raise ValueError unless compiled code can trust these arrays to be genomes."""
        fixed, size, width = self.inputs + 1 + self.outputs, len(self.src), self.act.shape[1]
        given = [(array.dtype, array.shape) for array in self.arrays]
        if given != _layout(size, width, self.src.shape[1]):
            raise ValueError(f"genomes: got arrays of types and shapes {given}")
        if not ((self.nodes >= fixed) & (self.nodes <= width)).all():
            raise ValueError("genomes: a number of nodes is out of range")
        if not ((self.genes >= 0) & (self.genes <= self.src.shape[1])).all():
            raise ValueError("genomes: a number of genes is out of range")
        nodes, used = self.nodes[:, None], np.arange(self.src.shape[1]) < self.genes[:, None]
        sources, targets = (self.src >= 0) & (self.src < nodes), (self.dst > self.inputs) & (self.dst < nodes)
        if not (sources & targets & (self.on <= 1))[used].all():
            raise ValueError("genomes: a gene has a source, a target or a switch that does not exist")
        computed = (np.arange(width) > self.inputs) & (np.arange(width) < nodes)
        if not ((self.act >= 1) & (self.act <= len(NAMES)))[computed].all():
            raise ValueError("genomes: an activation is unknown")
        for p in range(size):
            sources, targets = self.src[p, : self.genes[p]], self.dst[p, : self.genes[p]]
            _, _, visited = _layers(fixed, self.nodes[p], sources, targets)
            if visited < self.nodes[p] - fixed or ((sources > self.inputs) & (sources < fixed)).any():
                raise ValueError("genomes: one is not feed-forward")

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays, in the order of the fields."""
        return self.act, self.src, self.dst, self.on, self.nodes, self.genes

    @staticmethod
    def first(inputs: int, outputs: int, size: int, enabled: float, draws: np.ndarray) -> Population:
        """Return genomes without hidden nodes, with linear outputs, and each gene on with probability `enabled`.

        Args:
            inputs: inputs of a network.
            outputs: outputs of a network.
            size: number of genomes.
            enabled: probability that a gene is on.
            draws: uniform numbers, float64 (size, (inputs + 1)·outputs).
        """
        fixed, genes = inputs + 1 + outputs, (inputs + 1) * outputs
        blank = _make_blank(size, fixed + _SPARE, genes + 2 * _SPARE)
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
        """Return the next population: copies of the parents, most of them with one mutation.

        Args:
            parents: int64 (P,), the number of each child's parent.
            mutate: bool (P,), False: an unchanged copy.
            draws: uniform numbers for each child, float64 (P, 4).
            preset: has the probabilities of the mutations.
            activations: int8, the ids that a new or changed node may have.
        """
        nodes = _widen(self.act.shape[1], int(self.nodes.max()) + 1)
        genes = _widen(self.src.shape[1], int(self.genes.max()) + 2)
        born = _make_blank(len(parents), nodes, genes)
        chances = np.cumsum([preset.add_connection, preset.add_node, preset.enable, preset.change_activation])
        _breed(self.inputs, self.outputs, parents, mutate, draws, chances / chances[-1], activations, self.arrays, born)
        return Population(self.inputs, self.outputs, *born)

    def expressed(self, *, disabled_stay: bool = False) -> tuple[Packed, np.ndarray]:
        """Return the networks that the genomes describe, and the number of connections that each has switched on.

        Hidden nodes without a way to an output are left out of the networks, but their connections count.

        Args:
            disabled_stay: connections between hidden nodes work though they are switched off, as in the authors' code.
        """
        node_ptr, switched_on = np.zeros(len(self) + 1, np.int64), np.zeros(len(self), np.int64)
        # Long enough for all nodes and genes.
        act, edge_ptr = np.empty(self.nodes.sum(), np.int8), np.zeros(self.nodes.sum() + 1, np.int64)
        src = np.empty(self.genes.sum(), np.int32)
        parts = node_ptr, edge_ptr, src, act, switched_on
        rows, edges = _express(self.inputs, self.outputs, disabled_stay, self.arrays, *parts)
        arrays = node_ptr, edge_ptr[: rows + 1].copy(), src[:edges].copy(), act[:rows].copy()
        return Packed(self.inputs, self.outputs, *arrays), switched_on

    def chosen(self, numbers: np.ndarray) -> Population:
        """Return the genomes of these numbers, in this order."""
        return Population(self.inputs, self.outputs, *(array[numbers] for array in self.arrays))

    def replaced(self, numbers: np.ndarray, others: Population) -> Population:
        """Return a copy with other genomes in these places."""
        nodes = max(self.act.shape[1], others.act.shape[1])
        merged = _make_blank(len(self), nodes, max(self.src.shape[1], others.src.shape[1]))
        for new, mine, theirs in zip(merged, self.arrays, others.arrays, strict=True):
            new[(slice(None), *map(slice, mine.shape[1:]))] = mine
            new[numbers] = 0
            new[(numbers, *map(slice, theirs.shape[1:]))] = theirs
        return Population(self.inputs, self.outputs, *merged)


def _widen(present: int, needed: int) -> int:
    return present if needed <= present else max(needed, int(present * 1.5))


def _layout(size: int, nodes: int, genes: int) -> list[tuple[np.dtype, tuple[int, ...]]]:
    """Return the types and shapes of the arrays of a population."""
    per_gene = [(np.dtype(kind), (size, genes)) for kind in (np.int32, np.int32, np.uint8)]
    return [(np.dtype(np.int8), (size, nodes)), *per_gene, *2 * [(np.dtype(np.int32), (size,))]]


def _make_blank(size: int, nodes: int, genes: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros(shape, kind) for kind, shape in _layout(size, nodes, genes))


# Numba compiles plain loops several times faster than expressions of arrays, which a new user waits for.
@compiled
def _group(keys, values, chosen, count):
    """Return (first, grouped): the chosen values with key k are grouped[first[k] : first[k + 1]], in their order."""
    first = np.zeros(count + 2, np.int32)
    for e in range(keys.shape[0]):
        if chosen[e]:
            first[keys[e] + 2] += 1
    for k in range(count):
        first[k + 2] += first[k + 1]
    grouped = np.zeros(first[count + 1], np.int32)
    for e in range(keys.shape[0]):
        if chosen[e]:
            grouped[first[keys[e] + 1]] = values[e]
            first[keys[e] + 1] += 1  # from the start of its group to the end, which is the start of the next
    return first, grouped


@compiled
def _layers(fixed, nodes, src, dst):
    """Return the longest-path layer (from 1) of every hidden node, an order to visit them in, and its length.

    All genes between hidden nodes count. If these go round in a circle, not every hidden node is in the order.
    """
    hidden = nodes - fixed
    inner = np.zeros(src.shape[0], np.uint8)
    for e in range(src.shape[0]):
        inner[e] = src[e] >= fixed and dst[e] >= fixed
    first, targets = _group(src, dst, inner, nodes)
    layer, order, waits = np.zeros(hidden, np.int32), np.zeros(hidden, np.int32), np.zeros(hidden, np.int32)
    for e in range(src.shape[0]):
        if inner[e]:
            waits[dst[e] - fixed] += 1
    ready = 0
    for i in range(hidden):
        layer[i] = 1
        if waits[i] == 0:
            order[ready] = i
            ready += 1
    done = 0
    while done < ready:
        i = order[done]
        done += 1
        for t in range(first[fixed + i], first[fixed + i + 1]):
            j = targets[t] - fixed
            layer[j] = max(layer[j], layer[i] + 1)
            waits[j] -= 1
            if waits[j] == 0:
                order[ready] = j
                ready += 1
    return layer, order, ready


@compiled
def _pick(values, wanted, u):
    """Return the place of one of the values that equal `wanted`, by a uniform number u in [0, 1); -1 if none does."""
    count = 0
    for e in range(values.shape[0]):
        count += values[e] == wanted
    n = min(int(u * count), count - 1)
    for e in range(values.shape[0]):
        if values[e] == wanted:
            if n == 0:
                return e
            n -= 1
    return -1


@compiled
def _new_connection(inputs, outputs, nodes, src, dst, u_source, u_target):
    """Draw a pair (source, target) without a gene, the target in a later layer; (-1, -1) if there is none.

    A source is drawn among the nodes that have such a target, then one of its targets: the same as trying sources in
    random order until one has a target.
    """
    fixed = inputs + 1 + outputs
    hidden_layer, _, _ = _layers(fixed, nodes, src, dst)
    last = 1
    for i in range(nodes - fixed):
        last = max(last, hidden_layer[i] + 1)
    layer, later = np.zeros(nodes, np.int32), np.zeros(last + 1, np.int32)  # later: number of nodes in layers after one
    for i in range(inputs + 1, nodes):
        layer[i] = last if i < fixed else hidden_layer[i - fixed]
        for before in range(layer[i]):
            later[before] += 1
    targets = np.zeros(nodes, np.int32)  # number of genes from this node
    for e in range(src.shape[0]):
        targets[src[e]] += 1
    is_open = np.zeros(nodes, np.uint8)
    for i in range(nodes):
        is_open[i] = targets[i] < later[layer[i]]
    source = _pick(is_open, 1, u_source)
    if source < 0:
        return -1, -1
    for i in range(nodes):
        is_open[i] = layer[i] > layer[source]
    for e in range(src.shape[0]):
        if src[e] == source:
            is_open[dst[e]] = 0
    return source, _pick(is_open, 1, u_target)


@compiled
def _breed(inputs, outputs, parents, mutate, draws, chances, activations, old, new):
    """Copy each parent, then change one thing: chances are cumulative for connection, node, enable, activation."""
    old_act, old_src, old_dst, old_on, old_nodes, old_genes = old
    new_act, new_src, new_dst, new_on, new_nodes, new_genes = new
    fixed = inputs + 1 + outputs
    others = np.zeros(activations.shape[0], np.uint8)
    for c in range(parents.shape[0]):
        p = parents[c]
        n, m, u = old_nodes[p], old_genes[p], draws[c]
        act, src, dst, on = new_act[c], new_src[c], new_dst[c], new_on[c]
        for i in range(n):
            act[i] = old_act[p, i]
        for e in range(m):
            src[e], dst[e], on[e] = old_src[p, e], old_dst[p, e], old_on[p, e]
        new_nodes[c], new_genes[c] = n, m
        if not mutate[c]:
            continue
        if u[0] < chances[0]:
            source, target = _new_connection(inputs, outputs, n, src[:m], dst[:m], u[1], u[2])
            if source >= 0:
                src[m], dst[m], on[m] = source, target, 1
                new_genes[c] = m + 1
        elif u[0] < chances[1]:
            e = _pick(on[:m], 1, u[1])
            if e >= 0:
                on[e] = 0
                src[m], dst[m], on[m] = src[e], n, 1
                src[m + 1], dst[m + 1], on[m + 1] = n, dst[e], 1
                act[n] = activations[min(int(u[2] * activations.shape[0]), activations.shape[0] - 1)]
                new_nodes[c], new_genes[c] = n + 1, m + 2
        elif u[0] < chances[2]:
            e = _pick(on[:m], 0, u[1])
            if e >= 0:
                on[e] = 1
        elif n > fixed:
            i = fixed + min(int(u[1] * (n - fixed)), n - fixed - 1)
            for k in range(activations.shape[0]):
                others[k] = activations[k] != act[i]
            other = _pick(others, 1, u[2])
            if other >= 0:
                act[i] = activations[other]


@compiled
def _express(inputs, outputs, disabled_stay, genomes, node_ptr, edge_ptr, all_src, all_act, switched_on):
    """Set the arrays of a Packed and the connections that each genome has switched on; return their used lengths."""
    act, src, dst, on, nodes, genes = genomes
    fixed = inputs + 1 + outputs
    row, edge = 0, 0
    for p in range(nodes.shape[0]):
        n, m = nodes[p], genes[p]
        sources, targets = src[p, :m], dst[p, :m]
        works = np.zeros(m, np.uint8)
        for e in range(m):
            works[e] = on[p, e] != 0 or (disabled_stay and sources[e] >= fixed and targets[e] >= fixed)
            switched_on[p] += works[e]
        _, order, _ = _layers(fixed, n, sources, targets)
        first, incoming = _group(targets, sources, works, n)
        live = np.zeros(n, np.uint8)  # nodes with a way to an output
        for t in range(first[inputs + 1], first[fixed]):
            live[incoming[t]] = 1
        for k in range(n - fixed - 1, -1, -1):
            i = order[k] + fixed
            if live[i]:
                for t in range(first[i], first[i + 1]):
                    live[incoming[t]] = 1
        number = np.zeros(n, np.int32)  # of each node in the network
        for i in range(inputs + 1):
            number[i] = i
        own = inputs + 1
        for k in range(n - inputs - 1):
            i = order[k] + fixed if k < n - fixed else inputs + 1 + k - (n - fixed)
            if k < n - fixed and not live[i]:
                continue
            number[i] = own
            own += 1
            for t in range(first[i], first[i + 1]):
                all_src[edge] = number[incoming[t]]
                edge += 1
            all_act[row] = act[p, i]
            row += 1
            edge_ptr[row] = edge
        node_ptr[p + 1] = row
    return row, edge
