"""Tune the weights of a network by gradient, on examples."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.networks.to_torch import TorchNet
from untrained.wann.tasks.examples import Examples
from untrained.wann.tasks.supervised import Classify

_BATCH, _RATE = 256, 0.01


def descend(task: Examples, net: Net, *, epochs: int, seed: int) -> Net:
    """Train a network by Adam with a falling rate, and return it with the epoch's weights that are best on validation.

    Args:
        task: has the examples.
        net: the network, with its first weights.
        epochs: passes over the training examples.
        seed: of their order.
    """
    x, y = (torch.as_tensor(array) for array in task.examples("train"))
    x = x.float()
    network = TorchNet(task.finished(net))
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    steps = epochs * -(-len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    generator = torch.Generator().manual_seed(seed)
    best, best_reward = net, -np.inf
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(_BATCH):
            out = network(x[rows])
            loss = F.cross_entropy(out, y[rows]) if isinstance(task, Classify) else F.mse_loss(out, y[rows].float())
            optimizer.zero_grad()
            if not loss.requires_grad:
                return net  # steps between the weights and the outputs let no gradient through
            loss.backward()
            optimizer.step()
            schedule.step()
        weights = network.to_net().weights
        if weights is not None and np.isfinite(weights).all():
            reached = net.replace(weights=weights)
            reward = float(task.rewards(Packed.of([reached]), (1.0,), 0, part="validation")[0, 0])
            if reward > best_reward:
                best, best_reward = reached, reward
    return best
