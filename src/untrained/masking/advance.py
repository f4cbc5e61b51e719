"""Hooks for a training loop: `advance_` after every step of the optimizer, `penalty` as a term of the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from untrained.masking.mask import record


@torch.no_grad()
def advance_(model: nn.Module, step: int, steps: int, *, noise_seed: int | None = None) -> None:
    """Move the methods of a masked model on to step `step` of `steps`, in place.

    Schedules take their values of that step; methods that clamp or drop scores or redraw weights do it. Call it after
    every step of the optimizer in your own loop; `fit` does. It has no effect on other methods.

    Args:
        model: a masked model.
        step: number of steps done.
        steps: number of steps of the whole search.
        noise_seed: a seed beside that of the model for methods that sample, such as the number of a client in federated
            learning: without it all clients would draw the same samples.

    Raises:
        ValueError: the model is not masked, or `step` is not a whole number in 0..steps.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=ut.Linear(1.0, 0.5)))
        >>> ut.advance_(model, 1, 2)
        >>> int(ut.masks(model)["weight"].sum())
        24
    """
    masked = record(model)
    move_(model, step, steps, noise_seed)
    for group in masked.groups:
        # Not `group.tensors`, which refuses the sharded scores of FSDP2: nothing is chosen here.
        before = {state.name: state.frozen for state in group.states}, {s.name: s.scores for s in group.states}
        sources = {state.name: masked.source(state.name, state.weight, group.final) for state in group.states}
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
    """Set schedules and the seed of samples alone to a step, as when an interrupted search resumes."""
    if not 0 <= step <= steps or steps < 1 or step % 1 or steps % 1:
        raise ValueError(f"step must be a whole number in 0..steps, got {step} of {steps}")
    for group in record(model).groups:
        group.move(int(step), int(steps), noise_seed)


def penalty(model: nn.Module) -> Tensor | None:
    """Return the loss term of a masked model's methods, for your own loop; None if they have none.

    Raises:
        ValueError: the model is not masked.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 4), ut.RelaxedBernoulli(sparsity=0.1))
        >>> loss = model(torch.ones(2, 8)).square().mean() + ut.penalty(model)
        >>> loss.shape
        torch.Size([])
    """
    groups = record(model).groups
    terms = [term for g in groups if (term := g.method.penalty(*g.tensors(g.states))) is not None]
    return torch.stack(terms).sum() if terms else None
