"""The task that inputs belong to, by the entropy of what a network of many tasks says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor

from untrained.bank.superposition import Objective, Superposition, shuffled
from untrained.bank.task import Task

How = Literal["statistics", "gradient", "binary", "each"]
FEW = 16
"""Rows below which a batch is too small for statistics and slopes."""
FEWEST = 5
"""Tasks and random subnetworks that evidence is compared among, at the least."""


@final
@dataclass(frozen=True)
class Inferred:
    """Answer of `Bank.which`.

    Attributes:
        task: the likeliest task, None for none of them; a list of one for each row with `per="row"`.
        names: the tasks in question.
        evidence: a number for each of them, more where it is likelier, float64 (tasks,) or (rows, tasks).

    Example:
        >>> found = ut.Inferred("letters", ("digits", "letters"), torch.tensor([0.25, 0.75]))
        >>> float(found["letters"])
        0.75
    """

    task: str | list[str | None] | None
    names: tuple[str, ...]
    evidence: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.evidence[..., self.names.index(name)]


def infer(
    network: Superposition,
    tasks: Sequence[Task],
    x: Tensor,
    how: How | None,
    objective: Literal["entropy", "superfluous"],
    per: str,
    unknown: float | None,
) -> Inferred:
    """Infer the task of a batch, or of every row; `Bank.which` documents it."""
    if per not in ("batch", "row"):
        raise ValueError(f"per must be 'batch' or 'row', got {per!r}")
    _check(tasks, x, how, objective, unknown)
    rows = per == "row"
    how = how or _best(network, tasks, x, objective, rows)
    with torch.enable_grad():
        x = x.detach().clone() if x.is_inference() else x.detach()
        aim = _entropy_of_spread if objective == "entropy" else _superfluous(tasks)
        if how == "statistics":
            if rows or objective != "entropy":
                raise ValueError("how='statistics' is for the mean of a batch: take how='each' per row, or for outputs")
            evidence = network.distances(tasks, x).neg()
        elif how == "each":
            evidence = _each(network, tasks, x, objective, rows)
        elif how == "binary" and rows:
            evidence = torch.cat([_halve(network, tasks, row, aim) for row in x.split(1)])
        elif how == "binary":
            evidence = _halve(network, tasks, x, aim)[0]
        else:
            network.mix_(tasks)
            evidence = network.slopes(x, aim, rows=rows).neg()
        best = evidence.reshape(-1, len(tasks)).argmax(1).tolist()
        if unknown is None:
            known = [True] * len(best)
        elif how == "statistics":
            known = [float(-evidence.max()) <= (1 + unknown) / len(x) ** 0.5]
        else:
            known = _known(network, tasks, x, aim, rows, unknown)
    names = tuple(task.name for task in tasks)
    answers = [names[place] if is_known else None for place, is_known in zip(best, known, strict=True)]
    return Inferred(answers if rows else answers[0], names, evidence)


def _best(network: Superposition, tasks: Sequence[Task], x: Tensor, objective: str, rows: bool) -> How:
    """Return the way that was most often right: docs/bank.md has the figures."""
    if rows or len(x) < FEW:
        return "each"
    return "statistics" if objective == "entropy" and network.has_statistics(tasks) else "gradient"


def _known(
    network: Superposition, tasks: Sequence[Task], x: Tensor, aim: Objective, rows: bool, epsilon: float
) -> list[bool]:
    """Return False where evidence is near to uniform: T · max softmax(-∂H/∂α) < 1 + ε, or a random one has most.

    Random subnetworks make T up to five: the softmax of one task alone would always be 1.
    """
    some = [*tasks, *(shuffled(tasks[i % len(tasks)], seed=i) for i in range(FEWEST - len(tasks)))]
    network.mix_(some)
    evidence = network.slopes(x, aim, rows=rows).neg().reshape(-1, len(some))
    share, place = evidence.softmax(1).max(1)
    return ((share * len(some) >= 1 + epsilon) & (place < len(tasks))).tolist()


def _each(network: Superposition, tasks: Sequence[Task], x: Tensor, objective: str, rows: bool) -> Tensor:
    """Return minus each task's own entropy, as a share of the highest; or minus its share of superfluous outputs."""
    columns = []
    for task in tasks:
        with torch.no_grad():
            logits = network.logits(task, x)
        if objective == "entropy":
            values = _entropy(logits) / torch.tensor(logits.shape[1]).log()
        else:
            _check_superfluous(logits, _labels(task))
            values = logits.softmax(1)[:, _labels(task) :].sum(1)
        columns.append(values.double().cpu() if rows else values.double().mean().cpu())
    return torch.stack(columns, -1).neg()


def _halve(network: Superposition, tasks: Sequence[Task], x: Tensor, aim: Objective) -> Tensor:
    """Return the evidence after ⌈log₂ T⌉ halvings, (1, tasks): one more for each that a task was kept in."""
    evidence, left, kept = torch.zeros(1, len(tasks), dtype=torch.float64), list(range(len(tasks))), 0
    while True:
        network.mix_([tasks[i] for i in left])
        slopes = network.slopes(x, aim, rows=False).neg()
        evidence[0, left] = kept + slopes.softmax(0)
        if len(left) == 1:
            return evidence
        places = slopes.argsort(descending=True, stable=True)[: -(-len(left) // 2)].tolist()
        left, kept = sorted(left[place] for place in places), kept + 1


def _entropy(logits: Tensor) -> Tensor:
    """Return H of each row's softmax."""
    logs = logits.log_softmax(1)
    return -(logs.exp() * logs).sum(1)


def _entropy_of_spread(logits: Tensor) -> Tensor:
    """Return H of the rows' logits less their mean over the batch, at a standard deviation of 1; of one row, as it is.

    A superposition of many has small logits, most of which is the same for every row. What is the same says nothing of
    the task, but its entropy outweighs that of the rest.
    """
    if len(logits) == 1:
        return _entropy(logits)
    spread = logits - logits.mean(0)
    return _entropy(spread / spread.std().clamp_min(torch.finfo(spread.dtype).tiny))


def _superfluous(tasks: Sequence[Task]) -> Objective:
    """Return G = log Σ exp of the outputs, in which those of the labels are constants."""
    real = max(_labels(task) for task in tasks)

    def objective(logits: Tensor) -> Tensor:
        _check_superfluous(logits, real)
        return torch.cat([logits[:, :real].detach(), logits[:, real:]], 1).logsumexp(1)

    return objective


def _labels(task: Task) -> int:
    if task.labels is None:
        raise ValueError(f"objective='superfluous' needs the labels of every task, and {task.name!r} has none")
    return len(task.labels)


def _check_superfluous(logits: Tensor, real: int) -> None:
    if logits.shape[1] <= real:
        raise ValueError(f"objective='superfluous' needs more outputs than labels, got {logits.shape[1]} and {real}")


def _check(tasks: Sequence[Task], x: Tensor, how: str | None, objective: str, unknown: float | None) -> None:
    if not tasks:
        raise ValueError("there is no task to choose from")
    if how is not None and how not in get_args(How):
        raise ValueError(f"how must be None, 'statistics', 'gradient', 'binary' or 'each', got {how!r}")
    if objective not in ("entropy", "superfluous"):
        raise ValueError(f"objective must be 'entropy' or 'superfluous', got {objective!r}")
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0:
        form = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"expected inputs with one row or more, got {form}")
    if unknown is not None and not (isinstance(unknown, int | float) and 0 < unknown < float("inf")):
        raise ValueError(f"unknown must be above 0, such as 0.125, or None, got {unknown!r}")
