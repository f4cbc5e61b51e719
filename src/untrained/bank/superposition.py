"""The superposition of tasks: one network under the mean of their weights, and its slope along each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from untrained.bank.live import Live
from untrained.bank.statistics import distances, norms_of
from untrained.bank.task import Task
from untrained.native import bank as kernels

Objective = Callable[[Tensor], Tensor]
"""A number for each row of logits (rows, classes)."""


@final
class Superposition:
    """Network of its own under the mean of several tasks' weights: Wᵢ the effective weights, W(α) = Σᵢ αᵢ Wᵢ, αᵢ = 1/T.

    For masks Wᵢ = W ⊙ mᵢ, mixed from their bits; of the other tensors one task's is there at a time.

    Source: Wortsman et al. 2020, "Supermasks in Superposition" (arXiv 2006.14769), section 3.3.
    """

    def __init__(self, live: Live) -> None:
        self._live = live.twin()
        self._tasks: tuple[Task, ...] = ()
        self._mixed: list[str] = []

    def fits(self, live: Live) -> bool:
        """Return True unless the bank's network was moved or converted since."""
        live.follow()
        return all((t.device, t.dtype) == (live.held[n].device, live.held[n].dtype) for n, t in self._live.held.items())

    @torch.no_grad()
    def mix_(self, tasks: Sequence[Task]) -> None:
        """Write the mean of these tasks, unless it is there.

        Raises:
            ValueError: a tensor has not the same shape in all of them.
        """
        if len(tasks) == len(self._tasks) and all(map(_is, tasks, self._tasks)):
            return
        for task in tasks:
            for name in tasks[0].tensors.keys() | tasks[0].extra.keys():
                if _shape(task, name) != _shape(tasks[0], name):
                    raise ValueError(
                        f"{name!r} has shape {_shape(task, name)} in task {task.name!r} and "
                        f"{_shape(tasks[0], name)} in {tasks[0].name!r}, so that they have no mean: take how='each'"
                    )
        self._tasks = ()
        self._live.show_(tasks[0])
        self._mixed = [name for name, held in self._live.held.items() if _differs(tasks, name, held)]
        for name in self._mixed:
            held = self._live.held[name]
            held.copy_(self._mean(tasks, name))
            held.requires_grad_(isinstance(held, nn.Parameter))
        self._tasks = tuple(tasks)

    def slopes(self, x: Tensor, objective: Objective, *, rows: bool) -> Tensor:
        """Return the slopes of the objective along each task's share, float64 (tasks,); `rows`: (rows, tasks).

        ∂G/∂αᵢ = ⟨∂G/∂W, Wᵢ⟩, summed over the tensors. Batch norms take the statistics of the batch, which are those of
        the superposition as no stored ones are; of one row alone, the mean of the tasks' own.
        """
        parameters = [(name, self._live.held[name]) for name in self._mixed if self._live.held[name].requires_grad]
        norms = [each for each in self._live.module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms if len(x) > 1 else ():
            norm.train().momentum = 0.0  # which leaves the running ones
        try:
            values = objective(read_logits(self._live.module, x))
        except ValueError:
            self._tasks = ()
            raise
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.eval().momentum = momentum
        slopes = []
        for value in values if rows else (values.mean(),):
            grads = torch.autograd.grad(value, [p for _, p in parameters], retain_graph=True, allow_unused=True)
            pairs = [(name, grad) for (name, _), grad in zip(parameters, grads, strict=True) if grad is not None]
            slopes.append(
                sum((self._project(name, grad) for name, grad in pairs), torch.zeros(len(self._tasks)).double())
            )
        return torch.stack(slopes) if rows else slopes[0]

    def logits(self, task: Task, x: Tensor) -> Tensor:
        """Return the logits of one task alone."""
        self._tasks = ()
        return read_logits(self._live.show_(task), x)

    def distances(self, tasks: Sequence[Task], x: Tensor) -> Tensor:
        """Return how far a batch lies from each task, by the statistics of its first norm: float64 (tasks,)."""
        self._tasks = ()
        return distances(self._live, tasks, x)

    def has_statistics(self, tasks: Sequence[Task]) -> bool:
        """Return True where each task has moved the running statistics of the network's first norm."""
        norms = norms_of(self._live.module)
        name = next((name for name, held in self._live.held.items() if norms and held is norms[0].running_mean), "")
        return all(name in task.extra and bool(task.extra[name].any()) for task in tasks)

    def _mean(self, tasks: Sequence[Task], name: str) -> Tensor:
        held, share = self._live.held[name], 1 / len(tasks)
        total = torch.zeros_like(held)
        for places, weight in self._by_weight(tasks, name):
            total += kernels.mix_masks([tasks[i].bits[name] for i in places], [share] * len(places), weight)
        for task in tasks:
            if name not in task.bits:
                own = self._own(task, name)
                if not own.is_floating_point():
                    return own
                total += own * share
        return total

    @torch.no_grad()
    def _project(self, name: str, grad: Tensor) -> Tensor:
        out = torch.zeros(len(self._tasks), dtype=torch.float64)
        for places, weight in self._by_weight(self._tasks, name):
            out[places] = kernels.project_masks([self._tasks[i].bits[name] for i in places], grad * weight)
        for i, task in enumerate(self._tasks):
            if name not in task.bits:
                out[i] = (grad * self._own(task, name)).sum(dtype=torch.float64)
        return out

    def _by_weight(self, tasks: Sequence[Task], name: str) -> Iterator[tuple[list[int], Tensor]]:
        """Yield the places of the tasks that mask the same frozen weight; a law may scale it by their keep."""
        found: dict[int, tuple[list[int], Tensor]] = {}
        for place, task in enumerate(tasks):
            if name in task.bits:
                weight = self._live.frozen(name, task.tensors[name])
                found.setdefault(id(weight), ([], weight))[0].append(place)
        yield from found.values()

    def _own(self, task: Task, name: str) -> Tensor:
        if name in task.extra:
            return task.extra[name].to(self._live.held[name].device)
        return self._live.effective(task, name)


def read_logits(module: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of a classifier, float (rows, classes).

    Raises:
        ValueError: the network does not take the inputs, or gives something else.
    """
    try:
        logits = module(x)
    except (RuntimeError, ValueError, IndexError) as error:
        form = f"{tuple(x.shape)} of {x.dtype}"
        raise ValueError(f"the network takes no inputs {form}: {str(error).splitlines()[0]}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x) or not logits.is_floating_point():
        form = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the network's outputs must be logits ({len(x)}, classes), got {form}")
    if logits.shape[1] < 2:
        raise ValueError("the network must have two outputs or more: of one alone the entropy is always 0")
    if not logits.isfinite().all():
        raise ValueError("the outputs must be finite, got NaN or infinity: are the inputs?")
    return logits.float() if logits.itemsize < 4 else logits


def shuffled(task: Task, seed: int) -> Task:
    """Return a random subnetwork that keeps of each tensor as much as a task does: its codes in another order."""
    order, bits, others = np.random.default_rng(seed), {}, {}
    for name, mask in task.bits.items():
        flat = np.unpackbits(mask, count=torch.Size(task.tensors[name].shape).numel(), bitorder="little")
        bits[name] = np.packbits(order.permutation(flat), bitorder="little")
    for name, codes in task.others.items():
        places = torch.from_numpy(order.permutation(codes.numel()))
        others[name] = codes.flatten()[places].reshape(codes.shape)
    return task.of_codes(bits, others)


def _is(one: object, other: object) -> bool:
    return one is other


def _shape(task: Task, name: str) -> tuple[int, ...] | None:
    if name in task.extra:
        return tuple(task.extra[name].shape)
    return tuple(task.tensors[name].shape) if name in task.tensors else None


def _differs(tasks: Sequence[Task], name: str, held: Tensor) -> bool:
    """Return True where a tensor is not the same in all tasks by its entry."""
    entries = [task.tensors.get(name) for task in tasks]
    alike = entries[0] is not None and entries[0].method is None and all(each == entries[0] for each in entries)
    return held.is_floating_point() and not alike
