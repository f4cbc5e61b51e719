"""A search goes on: what a loop tells the methods after every step, and what they add to its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from untrained.masking.mask import record


@torch.no_grad()
def advance_(model: nn.Module, step: int, steps: int, *, noise_seed: int | None = None) -> None:
    """Tell the methods of a masked model that `step` of `steps` steps of the optimizer are done; in place.

    Schedules move on, scores are clamped and dropped, weights drawn anew, as the methods have it. Call it
    after every step in a loop of your own; `fit` does. For a method with nothing of the kind it does nothing.

    Args:
        model: a masked model.
        step: how many steps are done.
        steps: how many there will be.
        noise_seed: what the samples of methods that sample depend on besides the model's seed: the number of a client
            of a federation, say, whose samples would be those of all others.

    Raises:
        ValueError: the model is not masked, or not 0 ≤ step ≤ steps in whole numbers.
    """
    kept = record(model)
    move_(model, step, steps, noise_seed)
    for group in kept.groups:
        before = {state.name: state.frozen for state in group.states}, {s.name: s.scores for s in group.states}
        sources = {state.name: kept.source(state.name, state.weight, group.final) for state in group.states}
        after = group.method.stepped(*before, sources, step)
        if after is None:
            continue
        for tensors, changed in zip(before, after, strict=True):
            for name, tensor in tensors.items():
                if changed[name] is not tensor:
                    tensor.copy_(changed[name])
        for state in group.states:
            state.clear_padding_()


def move_(model: nn.Module, step: int, steps: int, noise_seed: int | None = None) -> None:
    """Only the schedules: where a search that was interrupted goes on."""
    if not 0 <= step <= steps or steps < 1 or step % 1 or steps % 1:
        raise ValueError(f"step must be a whole number in 0..steps, got {step} of {steps}")
    for group in record(model).groups:
        group.move(int(step), int(steps), noise_seed)


def penalty(model: nn.Module) -> Tensor | None:
    """What the methods of a masked model add to the loss, for a loop of your own; None: nothing.

    Raises:
        ValueError: the model is not masked.
    """
    terms = []
    for group in record(model).groups:
        term = group.method.penalty(*group.tensors(group.states))
        if term is not None:
            terms.append(term)
    return torch.stack(terms).sum() if terms else None
