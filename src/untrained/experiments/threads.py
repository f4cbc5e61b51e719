"""Threads of a search: a network that is too small for several runs on one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from untrained.masking.state import MaskState
from untrained.search.evaluation import set_mode

_SMALL = 10_000_000  # multiplications of a forward pass


@contextmanager
def suitable_threads(network: nn.Module, example: Tensor, batch: int) -> Iterator[None]:
    """Give torch one thread in this context if a step of the masked network is small.

    Several threads wait for each other after every operation. On a busy machine that takes far longer than a small
    operation itself. What is small depends on the network and the batch alone, so that a run is the same again.

    Args:
        network: a masked network.
        example: an input (1, ...), on its device.
        batch: number of inputs of a step.
    """
    before = torch.get_num_threads()
    small = example.device.type == "cpu" and batch * multiplications(network, example) < _SMALL
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def multiplications(network: nn.Module, example: Tensor) -> float:
    """Return the multiplications by masked weights in a forward pass; infinity where they cannot be counted.

    A weight is used once for every position of the output: Σ weights · outputs / units.
    """
    counts: list[float] = []

    def count(module: nn.Module, _: object, output: object) -> None:
        for state in (child for child in module.children() if isinstance(child, MaskState)):
            known = isinstance(output, Tensor) and len(state.shape) > 1
            counts.append(math.prod(state.shape[1:]) * output.numel() if known else math.inf)  # pyright: ignore

    owners = [module for module in network.modules() if any(isinstance(c, MaskState) for c in module.children())]
    hooks = [module.register_forward_hook(count) for module in owners]
    try:
        with set_mode(network, training=False):
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts) if len(counts) >= len(owners) else math.inf
