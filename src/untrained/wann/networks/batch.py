"""Many networks as a handful of flat arrays, which every evaluator reads."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import final

import numpy as np

from untrained.wann.networks.net import Net


@final
class Packed:
    """Networks in evaluation order, one after the other, without padding.

    Node 0 of a network is the bias, which is 1; then come its inputs, then its computed nodes in evaluation order, the
    outputs last. Row r of `act` is a computed node; its sources are src[edge_ptr[r]:edge_ptr[r + 1]]. Network p has the
    rows node_ptr[p]:node_ptr[p + 1].

    Example:
        >>> net = wann.Net(2, 1, act=[1], edge_ptr=[0, 2], src=[1, 2])  # output = w · (x₁ + x₂)
        >>> networks = wann.Packed.of([net, net])
        >>> len(networks), networks.connections.tolist(), networks.net(1).inputs
        (2, [2, 2], 2)

    Args:
        inputs: inputs of each network.
        outputs: outputs of each network.
        node_ptr: int64 (P + 1,).
        edge_ptr: int64 (rows + 1,).
        src: int32 (edges,), node numbers within the network.
        act: int8 (rows,), activation ids.
        weight: float64 (edges,), which the shared weight multiplies; empty: every one is 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        node_ptr: np.ndarray,
        edge_ptr: np.ndarray,
        src: np.ndarray,
        act: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.node_ptr, self.edge_ptr, self.src, self.act = node_ptr, edge_ptr, src, act
        self.weight = np.empty(0) if weight is None else weight

    @staticmethod
    def of(nets: Sequence[Net]) -> Packed:
        """Pack networks that have the same inputs and outputs.

        Raises:
            ValueError: there is none, or they differ in inputs or outputs.
        """
        kinds = {(net.inputs, net.outputs) for net in nets}
        if len(kinds) != 1:
            raise ValueError(f"networks must all have the same inputs and outputs, got {sorted(kinds)}")
        ((inputs, outputs),) = kinds
        node_ptr = np.cumsum([0] + [len(net.act) for net in nets])
        edges = np.concatenate([[0], *(np.diff(net.edge_ptr) for net in nets)])
        src = np.concatenate([net.src for net in nets])
        act = np.concatenate([net.act for net in nets])
        weighted = any(net.weights is not None for net in nets)
        weight = np.concatenate([net.own_weights for net in nets]) if weighted else None
        return Packed(inputs, outputs, node_ptr, np.cumsum(edges), src, act, weight)

    def __len__(self) -> int:
        return len(self.node_ptr) - 1

    def part(self, start: int, stop: int) -> Packed:
        """Return the networks start:stop."""
        rows = slice(self.node_ptr[start], self.node_ptr[stop])
        first, last = self.edge_ptr[rows.start], self.edge_ptr[rows.stop]
        node_ptr = self.node_ptr[start : stop + 1] - rows.start
        edge_ptr = self.edge_ptr[rows.start : rows.stop + 1] - first
        weight = self.weight[first:last]
        return Packed(self.inputs, self.outputs, node_ptr, edge_ptr, self.src[first:last], self.act[rows], weight)

    def chosen(self, numbers: Sequence[int] | np.ndarray) -> Packed:
        """Return the networks of these numbers, in this order."""
        parts = [self.part(number, number + 1) for number in map(int, numbers)]
        if not parts:
            return self.part(0, 0)
        node_ptr = np.cumsum([0] + [len(part.act) for part in parts])
        edge_ptr = np.cumsum(np.concatenate([[0], *(np.diff(part.edge_ptr) for part in parts)]))
        src, act, weight = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("src", "act", "weight")
        )
        return Packed(self.inputs, self.outputs, node_ptr, edge_ptr, src, act, weight)

    def digests(self) -> list[bytes]:
        """Return a hash of 16 bytes for each network; equal networks have the same."""
        rows, edges = self.node_ptr.tolist(), self.edge_ptr[self.node_ptr].tolist()
        act, counts = self.act.tobytes(), np.diff(self.edge_ptr).tobytes()
        src, weight = self.src.tobytes(), self.weight.tobytes()
        found = []
        for (row, end), (edge, last) in zip(pairwise(rows), pairwise(edges), strict=True):
            parts = act[row:end], counts[8 * row : 8 * end], src[4 * edge : 4 * last], weight[8 * edge : 8 * last]
            found.append(blake2b(b"".join(parts), digest_size=16).digest())
        return found

    def net(self, number: int) -> Net:
        """Return one network."""
        one = self.part(number, number + 1)
        return Net(self.inputs, self.outputs, one.act, one.edge_ptr, one.src, one.weight if len(one.weight) else None)

    @property
    def connections(self) -> np.ndarray:
        """Number of connections of each network, int64 (P,)."""
        return np.diff(self.edge_ptr[self.node_ptr])
