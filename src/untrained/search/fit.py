"""The search loop: plain torch, from scores (or weights) that know nothing to ones that do."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from untrained.data.batches import Batches
from untrained.fields import check_fields
from untrained.files import sole_writer
from untrained.masking import mask as attach
from untrained.masking.advance import advance_, move_, penalty
from untrained.masking.state import MaskState
from untrained.methods.recipe import SCORES, WEIGHTS, Recipe
from untrained.optim import for_scores
from untrained.search import checkpoint
from untrained.search.checkpoint import Row
from untrained.search.evaluation import device_of, evaluate
from untrained.search.labels import IGNORED, cross_entropy, labels_for, logits_of, pairs, tally
from untrained.search.run_files import TICKET
from untrained.search.trace import Trace, flips_of
from untrained.terminal.progress import Progress
from untrained.tickets.ticket import save


class SizedBatches(Protocol):
    """Batches of (inputs, int64 labels) that can be counted and gone through again: a DataLoader, or our `Batches`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Any: ...


@final
@dataclass(frozen=True)
class History:
    """What happened, one row per epoch.

    A row holds `epoch` (from 1), `lr` at its end, `train_loss` (label smoothing included), `train_accuracy`,
    `examples_per_second`, `seconds`;
    for masked models `flips`, the share of weights whose mask changed during the epoch; and with validation data
    `val_loss` and `val_accuracy`. Accuracies are shares of the labels, in 0..1.
    """

    rows: list[Row] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """One quantity over the epochs."""
        return [row[name] for row in self.rows]


def fit(
    model: nn.Module,
    train: SizedBatches,
    val: Iterable[tuple[Tensor, Tensor]] | None = None,
    *,
    epochs: int = 10,
    recipe: Recipe | Literal["paper"] | None = None,
    amp: bool = False,
    accumulate: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    log: Callable[[Row], None] | None = None,
    meta: Mapping[str, Any] | None = None,
    title: str | None = "",
) -> History:
    """Search for a subnetwork (masked model), or train the weights (plain model), as a classifier.

    Of a masked model the scores learn by the recipe and what `also_train` named by `WEIGHTS`; of a plain one whatever
    requires a gradient. The model stays on its device. Under torchrun every process takes its share of `train` (which
    must then be our `Batches`, or be shared out already) and only the first writes and prints.

    Args:
        model: gives logits (batch, classes).
        train: batches of (inputs, labels); `set_epoch` is called on them (or on their sampler) if they have it. Labels
            are (batch,), or (batch, ...) for logits (batch, classes, ...); those of -100 are not counted.
        val: batches to measure after every epoch; nothing is chosen by them here.
        epochs: passes over `train`.
        recipe: default the one that suits the method (`method.recipe`), and `WEIGHTS` for a plain model; "paper" is
            that of the method's authors.
        amp: forward and loss in bfloat16 autocast.
        accumulate: batches per step of the optimizer.
        seed: of what the model draws while it learns (dropout).
        out: folder for `metrics.jsonl`, `checkpoint.pt` (both after every epoch) and, for a masked model,
            `trace.jsonl` (after every epoch: what a report shows of the search) and `found.ticket` (at the end, and on
            Ctrl-C).
        resume: go on from `out/checkpoint.pt` if there is one; in one process on a CPU to the same bits.
        log: called with every row.
        meta: JSON-able facts for the ticket.
        title: what the progress bar says; None: there is none.

    Returns:
        The history, including epochs before a resume.

    Raises:
        ValueError: nothing to learn or to learn from, a loss that is not finite, a masked model that is not passed
            itself, a folder that holds a run already, or a checkpoint that is damaged or of another run.
        OSError: another run writes into the folder now, or it cannot be written.
        KeyboardInterrupt: after Ctrl-C, once the ticket is written; the checkpoint is that of the last whole epoch.
    """
    _refuse_bad_input(model, train, val, epochs, accumulate)
    masked = attach.is_masked(model)
    plan = _Plan(recipe_of(recipe, model), epochs, accumulate, amp, seed, len(train), _identity(model))
    learners = _learners(model, plan.recipe, masked)
    optimizers = [learner.optimizer for learner in learners]
    rank, world = _join_world(model)
    if isinstance(train, Batches):
        train = train.shard(rank, world)
    wrapped = nn.parallel.DistributedDataParallel(model) if world > 1 else model
    folder = Path(out) if out is not None else None
    history = History()
    cuda = [device] if (device := device_of(model)).type == "cuda" else []
    with (
        sole_writer(folder) if folder is not None and rank == 0 else contextlib.nullcontext(),
        torch.random.fork_rng(cuda),
        Progress(title or "", epochs, len(train), quiet=rank != 0 or title is None) as progress,
    ):
        if folder is not None and not resume and checkpoint.holds_run(folder):
            raise ValueError(f"{folder} holds a run already; pass resume=True to go on with it, or another folder")
        torch.manual_seed(seed + rank)
        if folder is not None and resume and (folder / checkpoint.NAME).is_file():
            columns = ["flips"] * masked + ["val_loss", "val_accuracy"] * (val is not None)
            history.rows.extend(checkpoint.restore(folder, model, optimizers, plan.as_facts(), columns))
        folder = folder if rank == 0 else None  # from here on only the first process writes
        if folder is not None and not history.rows:
            checkpoint.write(folder, model, optimizers, plan.as_facts(), history.rows)
        if masked:
            steps = -(-len(train) // accumulate)
            move_(model, len(history.rows) * steps, epochs * steps)
        before = attach.masks(model) if masked else {}
        trace = Trace.of(model) if masked and folder is not None else None
        if trace is not None and folder is not None:
            trace.take_up(folder, len(history.rows))
            trace.add(len(history.rows), model, before, {})
        try:
            for epoch in range(len(history.rows), epochs):
                row = _one_epoch(wrapped, model if masked else None, train, learners, plan, epoch, progress)
                if masked:
                    after = attach.masks(model)
                    row["flips"], flips = flips_of(before, after)
                    before = after
                    if trace is not None:
                        trace.add(epoch + 1, model, after, flips)
                _share_buffers(model, world)
                if val is not None:
                    row["val_loss"], row["val_accuracy"], _ = evaluate(model, val, amp=amp)
                history.rows.append(row)
                progress.epoch_done(row)
                if folder is not None and trace is not None:
                    trace.write(folder)  # first: a line more than the checkpoint has is dropped by a resume
                if folder is not None:
                    checkpoint.write(folder, model, optimizers, plan.as_facts(), history.rows)
                if log is not None and rank == 0:
                    log(row)
        except KeyboardInterrupt:
            if folder is not None and masked:
                save(model, folder / TICKET, meta=meta)
            raise
    if folder is not None and masked:
        save(model, folder / TICKET, meta=meta)
    return history


def _refuse_bad_input(model: nn.Module, train: Sized, val: object, epochs: int, accumulate: int) -> None:
    if epochs < 1 or accumulate < 1:
        raise ValueError(f"epochs and accumulate must be 1 or more, got {epochs} and {accumulate}")
    if not attach.is_masked(model) and any(isinstance(module, MaskState) for module in model.modules()):
        raise ValueError(
            f"a masked model is inside this {type(model).__name__}: pass the model that mask_ was called on "
            "(model.compile() compiles it in place)"
        )
    try:
        batches = len(train)
    except TypeError:  # also of a DataLoader whose data set cannot be counted
        raise ValueError(
            f"train must have a length, as a list or DataLoader has, got a {type(train).__name__}"
        ) from None
    if batches == 0:
        raise ValueError("train has no batch")
    if isinstance(val, Iterator):
        raise ValueError("val can be gone through only once and is needed after every epoch; pass a list or a loader")


def recipe_of(recipe: Recipe | str | None, model: nn.Module) -> Recipe:
    """The recipe that `fit` takes for a model, where it is told this one.

    Raises:
        ValueError: it is no recipe, or the model's methods have none, or several.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in (None, "paper"):
        raise ValueError(f"recipe must be a Recipe, 'paper' or None, got {recipe!r}")
    if not attach.is_masked(model):
        return WEIGHTS
    methods = [group.planned for group in attach.record(model).groups if group.planned.learns]
    if recipe is None:
        recipes = {method.recipe for method in methods}
    else:
        recipes = {method.paper.recipe for method in methods if method.paper is not None}
        if not recipes and methods:
            raise ValueError(f"{type(methods[0]).__name__} has no paper whose recipe could be used")
    if len(recipes) > 1:
        raise ValueError("the model's methods learn by different recipes; pass one as recipe=")
    return next(iter(recipes), SCORES)


@dataclass(frozen=True)
class _Plan:
    """What must be the same for a run to go on where it stopped."""

    recipe: Recipe
    epochs: int
    accumulate: int
    amp: bool
    seed: int
    batches: int
    search: str

    def __post_init__(self) -> None:
        check_fields(self)

    def as_facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {**asdict(self), "recipe": repr(self.recipe)}


def _identity(model: nn.Module) -> str:
    """What is searched, as text: seed, law and method of every masked tensor; of a plain model its shapes."""
    if not attach.is_masked(model):
        return ", ".join(f"{name} {tuple(p.shape)}" for name, p in model.named_parameters())
    record = attach.record(model)
    states = ", ".join(f"{s.name} {s.shape} {s.group.planned}" for s in record.states)
    return f"seed {record.seed}, {record.law}, {states}, also trained: {sorted(record.trained)}"


@dataclass(frozen=True)
class _Learner:
    """One optimizer with its recipe."""

    recipe: Recipe
    optimizer: torch.optim.Optimizer


def _learners(model: nn.Module, recipe: Recipe, masked: bool) -> list[_Learner]:
    named = dict(model.named_parameters())
    others = [named[n] for n in sorted(attach.record(model).trained)] if masked else list(named.values())
    others = [p for p in others if p.requires_grad]
    learners = []
    if masked and attach.scores(model):
        learners.append(_Learner(recipe, for_scores(model, recipe)))
    if others:
        its = WEIGHTS if masked else recipe
        learners.append(_Learner(its, its.build(others)))
    if not learners:
        raise ValueError("nothing to learn: no parameter of the model requires a gradient")
    return learners


def _one_epoch(
    model: nn.Module,
    masked: nn.Module | None,
    train: SizedBatches,
    learners: Sequence[_Learner],
    plan: _Plan,
    epoch: int,
    progress: Progress,
) -> Row:
    """One pass over the data: forward, backward, step. `masked` is the model itself, when it is one."""
    start, device, batches = time.perf_counter(), device_of(model), len(train)
    totals = torch.zeros(4, dtype=torch.float64, device=device)  # loss, right answers, labels, examples
    for each in (train, getattr(train, "sampler", None)):
        if hasattr(each, "set_epoch"):
            each.set_epoch(epoch)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    model.train()
    for number, (x, y) in enumerate(pairs(train, device)):
        first = number - number % plan.accumulate
        group = min(plan.accumulate, batches - first)
        steps_now = number + 1 == first + group
        alone = not steps_now and isinstance(model, nn.parallel.DistributedDataParallel)
        with model.no_sync() if alone else contextlib.nullcontext():  # pyright: ignore[reportCallIssue]
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.amp):
                logits = logits_of(model, x)
                labels = labels_for(logits, y)
                loss = cross_entropy(logits, labels, label_smoothing=plan.recipe.label_smoothing)
            price = penalty(masked) if masked is not None else None
            ((loss if price is None else loss + price) / group).backward()
        if steps_now:
            for learner in learners:
                for parameters in learner.optimizer.param_groups:
                    parameters["lr"] = learner.recipe.rate(epoch, number, batches, plan.epochs)
                learner.optimizer.step()
                learner.optimizer.zero_grad()
            if masked is not None:
                steps = -(-batches // plan.accumulate)
                advance_(masked, epoch * steps + number // plan.accumulate + 1, plan.epochs * steps)
        counts = tally(logits.detach(), labels)
        totals += torch.cat([loss.detach().double() * counts[1:], counts, counts.new_tensor([len(y)])])
        progress.batch_done(totals[:3])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(totals)
    loss, right, counted, examples = totals.tolist()
    if not counted:
        raise ValueError(f"epoch {epoch + 1} has no label to learn from: no batch, or all labels are {IGNORED}")
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} in epoch {epoch + 1}: the search has diverged; try a lower lr")
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch + 1,
        "lr": learners[0].optimizer.param_groups[0]["lr"],
        "train_loss": loss / counted,
        "train_accuracy": right / counted,
        "examples_per_second": examples / max(seconds, 1e-9),  # a coarse clock may stand still for an epoch
        "seconds": seconds,
    }


def _join_world(model: nn.Module) -> tuple[int, int]:
    """(rank, number of processes): joins the others if torchrun started us and nobody has done so yet."""
    if not dist.is_available():
        return 0, 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device_of(model).type == "cuda" else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _share_buffers(model: nn.Module, world: int) -> None:
    """Running statistics of the first process for all: each has only seen its own share of the data."""
    if world > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
