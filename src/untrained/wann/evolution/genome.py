"""Genomes: networks that can grow; `breeding` has the compiled loops over the arrays of a population.

Every input and the bias has a gene to every output from the start, most of them switched off; genes are switched off,
never removed (Gaier & Ha 2019, section 3 and the authors' code). Nodes are numbered: bias 0, inputs, outputs, then
hidden nodes in order of birth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from untrained.wann.evolution.breeding import breed, express, layers
from untrained.wann.evolution.presets import Preset
from untrained.wann.networks.activations import LINEAR, NAMES
from untrained.wann.networks.batch import Packed

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
            _, _, visited = layers(fixed, self.nodes[p], sources, targets)
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
        chances = np.cumsum([*preset.mutations.values()])
        breed(self.inputs, self.outputs, parents, mutate, draws, chances / chances[-1], activations, self.arrays, born)
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
        rows, edges = express(self.inputs, self.outputs, disabled_stay, self.arrays, *parts)
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
