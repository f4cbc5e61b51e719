"""The distance of a batch from each task, by the statistics that the task's first norm has stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from untrained.bank.live import Live
from untrained.bank.task import Task
from untrained.native import bank as kernels


def norms_of(module: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network that keep running statistics."""
    return [each for each in module.modules() if isinstance(each, _BatchNorm) and each.running_mean is not None]


@torch.enable_grad()
def distances(live: Live, tasks: Sequence[Task], x: Tensor) -> Tensor:
    """Return how far a batch lies from each task, in standard deviations: float64 (tasks,).

        d_i² = mean over the channels of (h̄ᵢ - μᵢ)² / (vᵢ + ε)

    h̄ᵢ is the mean over the batch of what the first batch norm gets under task i, μᵢ and vᵢ are the task's stored
    statistics. A batch of n rows of task i has a distance near 1/√n. Where h̄ is linear in the one weight before the
    norm, all tasks are read off one forward and backward pass: h̄ᵢ = Σⱼ cⱼ Wⱼ mᵢⱼ with c = ∂h̄/∂W.

    Args:
        live: a network of its own, into which tasks are written.
        tasks: the tasks.
        x: the batch.

    Raises:
        ValueError: no norm with running statistics is reached, a task has none, or the norm's input is not finite.
    """
    first, means = _read_off(live, tasks, x)
    if means is None:
        means = torch.stack([first.means, *(_reach(live.show_(task), x).means for task in tasks[1:])])
    means = means.detach().double().cpu()
    if not means.isfinite().all():
        raise ValueError("what the first norm gets must be finite, got NaN or infinity: are the inputs?")
    centre, variance = (_stored(live, tasks, each) for each in (first.norm.running_mean, first.norm.running_var))
    for task, moved in zip(tasks, centre.any(1).tolist(), strict=True):
        if not moved:
            raise ValueError(f"task {task.name!r} has no statistics: it was never run in training mode")
    return ((means - centre).square() / (variance + first.norm.eps)).mean(1).sqrt()


class _Reached(Exception):
    """Signal that a forward pass has come to a norm."""

    def __init__(self, norm: _BatchNorm, input: Tensor) -> None:
        super().__init__()
        self.norm, self.x = norm, input


@final
class _First(NamedTuple):
    """The first norm, and the means over batch and space of each channel of its input."""

    norm: Any
    means: Tensor


def _reach(module: nn.Module, x: Tensor) -> _First:
    """Run a network as far as the first norm."""

    def stop(norm: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(norm, *given, **named)  # pyright: ignore[reportArgumentType]

    hooks = [norm.register_forward_pre_hook(stop, with_kwargs=True) for norm in norms_of(module)]
    try:
        module(x)
    except _Reached as reached:
        channels = reached.x.transpose(0, 1).flatten(1)
        return _First(reached.norm, channels.mean(1, dtype=torch.promote_types(channels.dtype, torch.float32)))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"the network takes no inputs {tuple(x.shape)} of {x.dtype}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    raise ValueError("how='statistics' needs a batch norm with running statistics; the network runs through none")


def _read_off(live: Live, tasks: Sequence[Task], x: Tensor) -> tuple[_First, Tensor | None]:
    """Return what the first task gives, and the means under all, (tasks, channels).

    None: they are not linear in one masked weight alone, each channel in its own row; a random mask tells.
    """
    held = {name: tensor for name, tensor in live.held.items() if isinstance(tensor, nn.Parameter)}
    module = live.show_(tasks[0])
    for tensor in held.values():
        tensor.requires_grad_(tensor.is_floating_point())
    try:
        first, grads = _reach(module, x), [None] * len(held)
        if first.means.requires_grad:
            grads = torch.autograd.grad(first.means.sum(), list(held.values()), allow_unused=True)
    finally:
        for tensor in held.values():
            tensor.requires_grad_(False)
    used = {name: grad for name, grad in zip(held, grads, strict=True) if grad is not None}
    name, rows = next((name for name in used if name in tasks[0].bits), ""), len(first.means)
    if not name or len(held[name]) != rows or not _alike(live, tasks, name, used):
        return first, None
    with torch.no_grad():
        weight = live.frozen(name, tasks[0].tensors[name])
        products = (used[name] * weight).reshape(rows, -1)
        drawn = np.frombuffer(np.random.default_rng(0).bytes(-(-products.numel() // 8)), np.uint8)  # a random mask
        sums = kernels.project_rows([*(task.bits[name] for task in tasks), drawn], products)
        means, expected = sums[:-1], sums[-1]
        biases = first.means.double().cpu() - means[0]
        kernels.place_masked(drawn, weight, held[name])
        probe = _reach(module, x).means.double().cpu() - biases
    linear = bool(((probe - expected).abs() <= 1e-4 * probe.abs().max().clamp_min(1e-12)).all())
    return first, means + biases if linear else None


def _alike(live: Live, tasks: Sequence[Task], name: str, used: Collection[str]) -> bool:
    """Return True where all tasks mask the same frozen weight, and share what else may be used before the norm."""
    weight = live.frozen(name, tasks[0].tensors[name])
    behind = {id(tensor) for norm in norms_of(live.module) for tensor in norm.buffers(recurse=False)}
    buffers = {
        each for each, held in live.held.items() if not isinstance(held, nn.Parameter) and id(held) not in behind
    }
    others = (buffers | set(used)) - {name}
    return all(
        name in task.bits
        and live.frozen(name, task.tensors[name]) is weight
        and all(_same(task, tasks[0], other) for other in others)
        for task in tasks
    )


def _same(task: Task, first: Task, name: str) -> bool:
    """Return True for a tensor without a mask that two tasks share."""
    if name in task.extra:
        return name in first.extra and torch.equal(task.extra[name], first.extra[name])
    entry = task.tensors.get(name)
    return entry is not None and entry.method is None and entry == first.tensors.get(name)


def _stored(live: Live, tasks: Sequence[Task], statistic: Tensor) -> Tensor:
    """Return what each task has stored of a statistic, float64 (tasks, channels)."""
    name = next(name for name, tensor in live.held.items() if tensor is statistic)
    return torch.stack([task.extra[name] for task in tasks]).double()
