"""A found network as a torch module, to tune its weights by their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.levels import levels, positions
from untrained.wann.networks.net import Net


def _sin_pi(x: Tensor) -> Tensor:
    half_turns = torch.round(x).detach()
    return (1 - 2 * torch.remainder(half_turns, 2)) * torch.sin(math.pi * (x - half_turns))


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "step": lambda x: (x > 0).to(x.dtype),
    "sin": _sin_pi,
    "gaussian": lambda x: torch.exp(-x * x / 2),
    "tanh": torch.tanh,
    "sigmoid": lambda x: (torch.tanh(x / 2) + 1) / 2,
    "inverse": lambda x: -x,
    "abs": torch.abs,
    "relu": torch.relu,
    "cos": lambda x: _sin_pi(x + 0.5),
    "square": lambda x: x * x,
}


@final
class TorchNet(nn.Module):
    """A network whose connections have a trainable weight each.

    Its only parameter is `weight`, (connections,), in the order of the network's connections. A computed node is

        h = activation(Σ weight · h[source])

    whose gradient is that of the activation; 0 for step.

    Args:
        net: the network.
        w: the shared weight; a connection starts at w times its own weight.
        dtype: of the parameter, and of what is computed.

    Raises:
        ValueError: `w` is no finite number.
    """

    weight: nn.Parameter

    def __init__(self, net: Net, w: float = 1.0, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if not math.isfinite(w):
            raise ValueError(f"w: got {w}, expected a finite number")
        self._net = net
        own = torch.ones(net.connections, dtype=torch.float64) if net.weights is None else torch.tensor(net.weights)
        self.weight = nn.Parameter((w * own).to(dtype))
        self._levels = levels(net)
        stand = positions(net, self._levels)
        # Buffers follow the module to another device; what the network says anyway is not kept in checkpoints.
        self.register_buffer("_outputs", torch.from_numpy(stand[-net.outputs :].copy()), persistent=False)
        for number, level in enumerate(self._levels):
            self.register_buffer(f"_edges{number}", torch.from_numpy(level.edges), persistent=False)
            self.register_buffer(f"_sources{number}", torch.from_numpy(stand[net.src[level.edges]]), persistent=False)
            self.register_buffer(f"_targets{number}", torch.from_numpy(level.targets), persistent=False)
        for name in ("offset", "scale"):
            given = getattr(net, name)
            value = None if given is None else torch.tensor(given).to(dtype)
            self.register_buffer(f"_{name}", value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs, (n, outputs), for inputs (n, inputs).

        Raises:
            ValueError: the shape is wrong.
        """
        if x.ndim != 2 or x.shape[1] != self._net.inputs:
            raise ValueError(f"inputs: got shape {tuple(x.shape)}, expected (n, {self._net.inputs})")
        # A row per node: rows are picked and added up faster than columns.
        values = torch.cat((self.weight.new_ones(1, len(x)), self._scaled(x.to(self.weight.dtype)).T))
        for number, level in enumerate(self._levels):
            edges, sources, targets = (self.get_buffer(f"_{part}{number}") for part in ("edges", "sources", "targets"))
            terms = values.index_select(0, sources) * self.weight.index_select(0, edges)[:, None]
            totals = terms.new_zeros(len(level.nodes), len(x)).index_add(0, targets, terms)
            parts = totals.split([count for _, count in level.groups])
            done = (FUNCTIONS[NAMES[kind - 1]](part) for (kind, _), part in zip(level.groups, parts, strict=True))
            values = torch.cat((values, *done))
        return values.index_select(0, self.get_buffer("_outputs")).T

    def _scaled(self, x: Tensor) -> Tensor:
        if self._net.offset is not None:
            x = x - self.get_buffer("_offset")
        return x if self._net.scale is None else x * self.get_buffer("_scale")

    def to_net(self) -> Net:
        """The network with the weights as they are now; its shared weight is to be 1.

        Raises:
            ValueError: a weight is no finite number.
        """
        return self._net.replace(weights=self.weight.detach().double().cpu().numpy())

    def extra_repr(self) -> str:
        return f"inputs={self._net.inputs}, outputs={self._net.outputs}, connections={self._net.connections}"
