"""The training of one epoch: forward, backward and optimizer steps over all batches."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from untrained.fields import check_fields
from untrained.masking.advance import advance_, penalty
from untrained.masking.mask import is_masked, record
from untrained.methods.recipe import WEIGHTS, Recipe
from untrained.optim import for_scores
from untrained.search.checkpoint import Row
from untrained.search.evaluation import find_device
from untrained.search.labels import IGNORED, compute_logits, count_right, cross_entropy, iterate_pairs, match_labels
from untrained.search.recipes import Recipes
from untrained.terminal.progress import Progress

Learner = tuple[Recipe, torch.optim.Optimizer]


class SizedBatches(Protocol):
    """Batches of (inputs, int64 labels) with a length, for any number of passes: a DataLoader, or `ut.Batches`."""

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
    replica: nn.Module, train: SizedBatches, learners: Sequence[Learner], plan: Plan, epoch: int, progress: Progress
) -> Row:
    """Train for one epoch, counted from 0, and return its row; `replica` is the model, possibly wrapped by DDP.

    Raises:
        ValueError: `train` yields more batches than its length, no label counts, or the loss is not finite.
    """
    model: nn.Module = replica.module if isinstance(replica, DistributedDataParallel) else replica
    masked, device, batches, start = is_masked(model), find_device(model), len(train), time.perf_counter()
    steps = -(-batches // plan.accumulate)
    totals = torch.zeros(4, dtype=torch.float64, device=device)  # loss, right answers, labels, examples
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
                logits = compute_logits(replica, x)
                labels = match_labels(logits, y)
                loss = cross_entropy(logits, labels, label_smoothing=plan.recipes[0].label_smoothing)
            price = penalty(model) if masked else None
            ((loss if price is None else loss + price) / group).backward()
        if last:
            _step_optimizers(learners, epoch, number, batches, plan.epochs)
            if masked:  # after the optimizer: methods clamp or redraw the changed values
                advance_(model, epoch * steps + step + 1, plan.epochs * steps)
        counts = count_right(logits.detach(), labels)
        totals += torch.cat([loss.detach().double() * counts[1:], counts, counts.new_tensor([len(y)])])
        progress.batch_done(totals[:3])
    if replica is not model:
        dist.all_reduce(totals)
    return _make_row(epoch, learners[0][1].param_groups[0]["lr"], totals.tolist(), time.perf_counter() - start)


def _step_optimizers(learners: Sequence[Learner], epoch: int, number: int, batches: int, epochs: int) -> None:
    for recipe, optimizer in learners:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch, number, batches, epochs)
        optimizer.step()
        optimizer.zero_grad()


def _make_row(epoch: int, lr: float, totals: Sequence[float], seconds: float) -> Row:
    loss, right, counted, examples = totals
    if not counted:
        raise ValueError(f"epoch {epoch + 1} has no label to learn from: no batch, or all labels are {IGNORED}")
    if not math.isfinite(loss):
        raise ValueError(f"loss must be finite, got {loss} in epoch {epoch + 1}: the search diverged; try a lower lr")
    return {
        "epoch": epoch + 1,
        "lr": lr,
        "train_loss": loss / counted,
        "train_accuracy": right / counted,
        "examples_per_second": examples / max(seconds, 1e-9),  # a coarse clock may stand still for an epoch
        "seconds": seconds,
    }
