"""Export of a network to a torch module, to tune its weights by their gradients."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from untrained.wann.networks.activations import FORMULAS, NAMES
from untrained.wann.networks.graph import Graph
from untrained.wann.networks.levels import levels, positions


@final
class TorchNet(nn.Module):
    """Module of a network whose connections have a trainable weight each.

    Its only parameter is `weight`, (connections,), in the order of the network's connections. A computed node is

        h = activation(Σ weight · h[source])

    whose gradient is that of the activation; 0 for step.

    Args:
        net: the network.
        w: the shared weight; a connection starts at w times its weight.
        dtype: of the parameter and of all arithmetic.

    Raises:
        ValueError: `w` is no finite number.
    """

    weight: nn.Parameter

    def __init__(self, net: Graph, w: float = 1.0, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if not math.isfinite(w):
            raise ValueError(f"w must be finite, got {w}")
        self._net = net
        self.weight = nn.Parameter((w * torch.tensor(net.own_weights)).to(dtype))
        self._levels = levels(net)
        stand = positions(net, self._levels)
        # Buffers follow the module to another device; a checkpoint need not hold them, as the network gives them.
        self.register_buffer("_outputs", torch.from_numpy(stand[-net.outputs :].copy()), persistent=False)
        for number, level in enumerate(self._levels):
            self.register_buffer(f"_edges{number}", torch.from_numpy(level.edges), persistent=False)
            self.register_buffer(f"_sources{number}", torch.from_numpy(stand[net.src[level.edges]]), persistent=False)
            self.register_buffer(f"_targets{number}", torch.from_numpy(level.targets), persistent=False)
        for name in ("offset", "scale"):
            values = getattr(net, name)
            buffer = None if values is None else torch.tensor(values).to(dtype)
            self.register_buffer(f"_{name}", buffer, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (n, outputs), for inputs (n, inputs).

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 2 or x.shape[1] != self._net.inputs:
            raise ValueError(f"inputs must have shape (n, {self._net.inputs}), got {tuple(x.shape)}")
        # A row per node: rows are picked and added up faster than columns.
        values = torch.cat((self.weight.new_ones(1, len(x)), self._scale_inputs(x.to(self.weight.dtype)).T))
        for number, level in enumerate(self._levels):
            edges, sources, targets = (self.get_buffer(f"_{part}{number}") for part in ("edges", "sources", "targets"))
            terms = values.index_select(0, sources) * self.weight.index_select(0, edges)[:, None]
            totals = terms.new_zeros(len(level.nodes), len(x)).index_add(0, targets, terms)
            parts = totals.split([count for _, count in level.groups])
            pairs = zip(level.groups, parts, strict=True)
            values = torch.cat((values, *(FORMULAS[NAMES[kind - 1]](torch, part) for (kind, _), part in pairs)))
        return values.index_select(0, self.get_buffer("_outputs")).T

    def _scale_inputs(self, x: Tensor) -> Tensor:
        if self._net.offset is not None:
            x = x - self.get_buffer("_offset")
        return x if self._net.scale is None else x * self.get_buffer("_scale")

    def to_net(self) -> Graph:
        """Return the network with the weights as they are now, to be run at the shared weight 1.

        Raises:
            ValueError: a weight is no finite number.
        """
        return self._net.replace(weights=self.weight.detach().double().cpu().numpy())

    def extra_repr(self) -> str:
        return f"inputs={self._net.inputs}, outputs={self._net.outputs}, connections={self._net.connections}"
