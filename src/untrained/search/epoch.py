"""The training of one epoch: forward, backward and optimizer steps over all batches."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from untrained.fields import check_fields
from untrained.masking.advance import advance_, penalty
from untrained.masking.mask import is_masked, record
from untrained.methods.recipe import WEIGHTS, Recipe
from untrained.optim import for_scores
from untrained.search.checkpoint import Row
from untrained.search.evaluation import find_device
from untrained.search.labels import compute_outputs, iterate_pairs
from untrained.search.objective import Objective
from untrained.search.recipes import Recipes
from untrained.terminal.progress import Progress

Learner = tuple[Recipe, torch.optim.Optimizer]


class SizedBatches(Protocol):
    """Batches of (inputs, labels) with a length, for any number of passes: a DataLoader, or `ut.Batches`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Any: ...


@final
@dataclass(frozen=True)
class Plan:
    """Settings that a resumed run must share."""

    recipes: tuple[Recipe, ...]
    epochs: int
    accumulate: int
    amp: bool
    seed: int
    batches: int
    search: str
    objective: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def facts(self) -> dict[str, Any]:
        """Texts and numbers, as a checkpoint stores them."""
        facts = {name: value for name, value in vars(self).items() if name != "recipes"}
        return {"recipe": ", ".join(map(repr, self.recipes)), **facts}


def make_learners(model: nn.Module, recipes: Recipes) -> list[Learner]:
    """Make an optimizer for each recipe of scores, and one for what learns beside them: by `WEIGHTS` where masked."""
    named, masked = dict(model.named_parameters()), is_masked(model)
    scores: dict[Recipe, list[nn.Parameter]] = {}
    for state in record(model).states if masked else ():
        if state.group.planned.learns:
            scores.setdefault(recipes[state.group.planned], []).append(state.scores)
    learners: list[Learner] = [(recipe, for_scores(its, recipe)) for recipe, its in scores.items()]
    others = [named[name] for name in (sorted(record(model).trained) if masked else named)]
    if others := [parameter for parameter in others if parameter.requires_grad]:
        recipe = WEIGHTS if masked else recipes[None]
        learners.append((recipe, recipe.build(others)))
    if not learners:
        raise ValueError("the model must have a parameter that requires a gradient, got none")
    return learners


def train_epoch(
    replica: nn.Module,
    train: SizedBatches,
    learners: Sequence[Learner],
    plan: Plan,
    epoch: int,
    progress: Progress,
    objective: Objective,
) -> tuple[Row, Objective]:
    """Train for one epoch, counted from 0, and return its row, and the objective as its first batch settles it.

    `replica` is the model, possibly wrapped by DDP.

    Raises:
        ValueError: `train` yields more batches than its length, no label counts, or the loss is not finite.
    """
    model: nn.Module = replica.module if isinstance(replica, DistributedDataParallel) else replica
    masked, device, batches, start = is_masked(model), find_device(model), len(train), time.perf_counter()
    steps = -(-batches // plan.accumulate)
    totals = torch.zeros(3, dtype=torch.float64, device=device)  # loss, number it is the mean over, examples
    state: Tensor | None = None  # of the metric
    for each in (train, getattr(train, "sampler", None)):
        if (set_epoch := getattr(each, "set_epoch", None)) is not None:
            set_epoch(epoch)
    replica.train()
    for number, (x, y) in enumerate(iterate_pairs(train, device)):
        if number == batches:
            raise ValueError(f"train must yield len(train) = {batches} batches, got more")
        step, place = divmod(number, plan.accumulate)
        group = min(plan.accumulate, batches - step * plan.accumulate)  # batches of this step; the last may have fewer
        last = place + 1 == group
        # Gradients add up in each process and are averaged over the processes once a step, with its last batch.
        alone = not last and isinstance(replica, DistributedDataParallel)
        with replica.no_sync() if alone else nullcontext():  # pyright: ignore[reportCallIssue]
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.amp):
                outputs = compute_outputs(replica, x)
                if number == 0:
                    objective = objective.settle(x, outputs, y)
                batch = objective.match(outputs, y)
                loss = objective.loss(batch, plan.recipes[0].label_smoothing)
            price = penalty(model) if masked else None
            ((loss if price is None else loss + price) / group).backward()
        if last:
            _step_optimizers(learners, epoch, number, batches, plan.epochs)
            if masked:  # after the optimizer: methods clamp or redraw the changed values
                advance_(model, epoch * steps + step + 1, plan.epochs * steps)
        count, found = objective.count(batch), objective.state(batch)
        totals += torch.stack([loss.detach().double() * count, count, count.new_tensor(len(y))])
        state = found if state is None else objective.merge(state, found)
        progress.batch_done(totals, functools.partial(_describe, objective, state))
    if replica is not model:
        dist.all_reduce(totals)
        state = _merge_processes(state, objective)
    rate, seconds = learners[0][1].param_groups[0]["lr"], time.perf_counter() - start
    return _make_row(epoch, rate, totals.tolist(), state, objective, seconds), objective


def _describe(objective: Objective, state: Tensor) -> str:
    """Return the metric so far as text; some, such as R² of one batch, cannot be computed yet."""
    try:
        return f"{objective.metric.words} {objective.metric.brief(objective.value(state))}"
    except ValueError:
        return ""


def _merge_processes(state: Tensor | None, objective: Objective) -> Tensor | None:
    """Return the state of the metric over all processes, each of which has a batch."""
    if state is None:
        return None
    states = [torch.empty_like(state) for _ in range(dist.get_world_size())]
    dist.all_gather(states, state)
    return functools.reduce(objective.merge, states)


def _step_optimizers(learners: Sequence[Learner], epoch: int, number: int, batches: int, epochs: int) -> None:
    for recipe, optimizer in learners:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch, number, batches, epochs)
        optimizer.step()
        optimizer.zero_grad()


def _make_row(
    epoch: int, lr: float, totals: Sequence[float], state: Tensor | None, objective: Objective, seconds: float
) -> Row:
    loss, counted, examples = totals
    if state is None or not counted:
        raise ValueError(
            f"epoch {epoch + 1} has no label to learn from: no batch, or all labels are {objective.ignored}"
        )
    if not math.isfinite(loss):
        raise ValueError(f"loss must be finite, got {loss} in epoch {epoch + 1}: the search diverged; try a lower lr")
    return {
        "epoch": epoch + 1,
        "lr": lr,
        "train_loss": loss / counted,
        f"train_{objective.metric.name}": objective.value(state),
        "examples_per_second": examples / max(seconds, 1e-9),  # a coarse clock may stand still for an epoch
        "seconds": seconds,
    }
