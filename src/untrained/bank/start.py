"""First scores of a new task from the choices of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from untrained.bank.task import Task
from untrained.masking.mask import record
from untrained.masking.state import MaskState


@torch.no_grad()
def start_at_mean_(model: nn.Module, tasks: Sequence[Task], start: str) -> None:
    """Add to the first scores of a masked model, in place, what earlier tasks chose: s ← s + max|s| · m̄.

    m̄ is the share of the tasks that keep a weight. SupSup starts at the mean of earlier scores, which tickets do not
    hold: of a score they hold only whether its weight is kept.

    Raises:
        ValueError: `start` is another word, there are no tasks, or the scores are not one for each weight.

    Source: Wortsman et al. 2020, section 4.2 ("transfer").
    """
    if start != "mean":
        raise ValueError(f"start must be 'mean' or None, got {start!r}")
    if not tasks:
        raise ValueError("start='mean' needs a task in the bank, got none")
    for state in record(model).states:
        shared = [task.masks(state.name) for task in tasks if state.name in task.masked]
        if not shared:
            continue
        if state.scores.shape != torch.Size(state.shape):
            raise ValueError(
                f"start='mean' needs one score for each weight; {state.name!r} has {tuple(state.scores.shape)}"
            )
        n = state.scores.numel()
        total = sum(np.unpackbits(mask, count=n, bitorder="little").astype(np.float32) for mask in shared)
        mean = torch.from_numpy(total / len(shared)).reshape(state.shape).to(state.scores)
        lift = state.scores.abs().max() * mean
        state.scores.add_(lift.copysign(state.scores) if _ranks_by_size(state) else lift)


def _ranks_by_size(state: MaskState) -> bool:
    """Return True where a score far below 0 is as good as one far above."""
    weights, size = {state.name: state.frozen}, state.scores.abs()
    above, below = (state.group.method.codes(weights, {state.name: s})[state.name] for s in (size, -size))
    return torch.equal(above, below)
