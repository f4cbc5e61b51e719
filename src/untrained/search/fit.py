"""The search loop: epochs, evaluation, and the files of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from untrained.data.batches import Batches
from untrained.files import sole_writer
from untrained.masking.advance import move_
from untrained.masking.mask import is_masked, masks, record
from untrained.masking.state import MaskState
from untrained.methods.base import Method
from untrained.methods.recipe import Recipe
from untrained.search import checkpoint
from untrained.search.checkpoint import Row
from untrained.search.epoch import Plan, SizedBatches, make_learners, train_epoch
from untrained.search.evaluation import find_device, measure
from untrained.search.history import Epoch, History
from untrained.search.objective import Function, Objective
from untrained.search.recipes import Recipes, find_recipes
from untrained.search.run_files import TICKET
from untrained.search.trace import Trace, count_flips
from untrained.terminal.progress import Progress
from untrained.tickets.start import start_from_
from untrained.tickets.ticket import Ticket, save


def fit(
    model: nn.Module,
    train: SizedBatches,
    val: Iterable[tuple[Tensor, Tensor]] | None = None,
    *,
    epochs: int = 10,
    recipe: Recipe | Mapping[Method, Recipe] | Literal["paper"] | None = None,
    amp: bool = False,
    accumulate: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    start: Ticket | str | Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    meta: Mapping[str, Any] | None = None,
    title: str | None = "",
    loss: str | Function | None = None,
    metric: str | Function | None = None,
) -> History:
    """Search for a subnetwork (masked model), or train the weights (plain model).

    Scores learn by `recipe`, those of each method by its own, and parameters named by `also_train` by `WEIGHTS`; of a
    plain model, all that require a gradient learn. Under torchrun each process takes its share of `train` (if
    `ut.Batches`); only the first writes.

    Args:
        model: gives logits (batch, classes) or (batch, classes, ...), or values; stays on its device.
        train: batches of inputs and labels: integers (batch, ...), where -100 is not counted, or values.
        val: batches to evaluate after every epoch; they do not influence the search.
        epochs: passes over `train`, whose (or whose sampler's) `set_epoch` is called if there is one.
        recipe: None: that of each method, or `WEIGHTS` for a plain model; "paper": that of each method's authors; one
            for all, or {method: recipe}. All must have the same label smoothing.
        amp, accumulate: forward and loss in bfloat16 autocast; batches per optimizer step.
        seed: of random numbers drawn while learning (dropout).
        out: folder for `metrics.jsonl`, `checkpoint.pt` and, if masked, `trace.jsonl` (of each epoch, for a report),
            all written after every epoch, and `found.ticket`, written at the end and on Ctrl-C.
        resume: go on from `out/checkpoint.pt` if there is one; in one process on a CPU to the same bits.
        start: a ticket, or its file, to begin with, see `start_from_`; the checkpoint of a resumed run comes first.
        on_epoch: called with an `Epoch` after each; an error that it raises ends the search, which `resume` continues.
        meta: JSON-able facts for the ticket.
        title: of the progress bar; None: no bar.
        loss: "cross-entropy", "next-token", "mse", or a function (outputs, targets) → mean; None: by the labels' type.
        metric: "accuracy", "perplexity", "mean-iou", "rmse", "r2", or a function likewise, with a `higher_is_better`.

    Raises:
        ValueError: wrong input, a loss that is not finite, a run already in `out`, or a checkpoint that does not fit.
        OSError: `out` cannot be written, or another run writes into it.
        KeyboardInterrupt: on Ctrl-C, after the ticket is written; the checkpoint is that of the last whole epoch.

    Example:
        >>> model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup(keep=0.5))
        >>> ut.fit(model, [(torch.ones(3, 4), torch.arange(3))], epochs=2).column("epoch")
        [1, 2]
    """
    _check_input(model, train, val, epochs, accumulate)
    recipes, objective = find_recipes(recipe, model), Objective.of(loss, metric)
    different, search = tuple(dict.fromkeys(recipes.values())), _describe(model)
    plan = Plan(different, epochs, accumulate, amp, seed, len(train), search, objective.text)
    folder = None if out is None else Path(out)
    return _Search(model, train, val, plan, recipes, folder, resume, start, on_epoch, meta, objective).run(title)


@final
@dataclass
class _Search:
    """A call of `fit`: the model, its optimizers, the data and the files."""

    model: nn.Module
    train: SizedBatches
    val: Iterable[tuple[Tensor, Tensor]] | None
    plan: Plan
    recipes: Recipes
    folder: Path | None
    resume: bool
    start: Ticket | str | Path | None
    on_epoch: Callable[[Epoch], None] | None
    meta: Mapping[str, Any] | None
    objective: Objective

    def __post_init__(self) -> None:
        self.masked, self.history = is_masked(self.model), History()
        self.learners = make_learners(self.model, self.recipes)
        self.optimizers = [optimizer for _, optimizer in self.learners]
        self.rank, self.world = _join_processes(self.model)
        # The plan counts the batches of all processes, the loop those of this one: shares are taken in between.
        if isinstance(self.train, Batches):
            self.train = self.train.shard(self.rank, self.world)
        # Restoring and choosing use the model itself; only the forward pass goes through the wrapper, as it averages
        # gradients. It copies the first process's tensors in place, so that the optimizers' parameters stay the same.
        self.replica = DistributedDataParallel(self.model) if self.world > 1 else self.model
        self.masks: dict[str, Tensor] = {}
        self.trace: Trace | None = None

    def run(self, title: str | None) -> History:
        """Search until the last epoch."""
        lock = sole_writer(self.folder) if self.folder is not None and self.rank == 0 else nullcontext()
        cuda = [device] if (device := find_device(self.model)).type == "cuda" else []
        bar = Progress(title or "", self.plan.epochs, len(self.train), quiet=self.rank != 0 or title is None)
        with lock, torch.random.fork_rng(cuda), bar as progress:
            self._start()
            try:
                for epoch in range(len(self.history.rows), self.plan.epochs):
                    row, self.objective = train_epoch(
                        self.replica, self.train, self.learners, self.plan, epoch, progress, self.objective
                    )
                    self._finish_epoch(row, progress)
            except KeyboardInterrupt:
                self._save_ticket()
                raise
        self._save_ticket()
        return self.history

    def _start(self) -> None:
        folder, rows, facts = self.folder, self.history.rows, self.plan.facts
        if folder is not None and not self.resume and checkpoint.holds_run(folder):
            raise ValueError(f"{folder} holds a run already; pass resume=True to go on with it, or another folder")
        torch.manual_seed(self.plan.seed + self.rank)  # first: a checkpoint brings the generator's state
        if folder is not None and self.resume and (folder / checkpoint.NAME).is_file():
            columns = ["flips"] * self.masked + ["val_loss", "val_accuracy"] * (self.val is not None)
            name = None if self.objective.measure is None else self.objective.metric.name
            rows.extend(checkpoint.restore(folder, self.model, self.optimizers, facts, columns, name))
        if self.start is not None and not rows:
            start_from_(self.model, self.start)
        if self.rank != 0:
            self.folder = folder = None  # every process restores, and only the first writes
        if folder is not None and not rows:
            checkpoint.write(folder, self.model, self.optimizers, facts, rows)
        if self.masked:
            steps = -(-len(self.train) // self.plan.accumulate)
            # Masks depend on the schedules, so these are set to the step where the run stopped before masks are taken.
            move_(self.model, len(rows) * steps, self.plan.epochs * steps)
            self.masks = masks(self.model)
            if folder is not None:
                self.trace = Trace.of(self.model)
                self.trace.load(folder, len(rows))
                self.trace.add(len(rows), self.model, self.masks, {})

    def _finish_epoch(self, row: Row, progress: Progress) -> None:
        if (name := f"train_{self.objective.metric.name}") not in (self.history.rows or [row])[0]:
            raise ValueError(f"the labels give {name}, and the epochs before have another metric")
        if self.masked:
            before, self.masks = self.masks, masks(self.model)
            row["flips"], flips = count_flips(before, self.masks)
            if self.trace is not None:
                self.trace.add(int(row["epoch"]), self.model, self.masks, flips)
        if self.world > 1:  # running statistics: each process has only had its share of the data
            for buffer in self.model.buffers():
                dist.broadcast(buffer, 0)
        shown = ""
        if self.val is not None:
            found = measure(self.model, self.val, self.objective, self.plan.amp)
            row |= {"val_loss": found.loss, f"val_{found.metric.name}": found.value}
            shown = found.metric.brief(found.value)
        self.history.rows.append(row)
        progress.epoch_done(row, shown)
        if self.folder is not None:
            if self.trace is not None:
                self.trace.write(self.folder)  # first: a resumed run drops a line more than the checkpoint has
            checkpoint.write(self.folder, self.model, self.optimizers, self.plan.facts, self.history.rows)
        if self.on_epoch is not None and self.rank == 0:
            self.on_epoch(Epoch(row, self.plan.epochs, self.history, self.model, self.folder))

    def _save_ticket(self) -> None:
        if self.folder is not None and self.masked:
            save(self.model, self.folder / TICKET, meta=self.meta)


def _check_input(model: nn.Module, train: Sized, val: object, epochs: int, accumulate: int) -> None:
    if epochs < 1 or accumulate < 1:
        raise ValueError(f"epochs and accumulate must be 1 or more, got {epochs} and {accumulate}")
    if not is_masked(model) and any(isinstance(module, MaskState) for module in model.modules()):
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
        raise ValueError("train must have at least one batch, got none")
    if isinstance(val, Iterator):
        raise ValueError("val must give its batches after every epoch, as a list or a loader does, got an iterator")


def _describe(model: nn.Module) -> str:
    """Return seed, law and method of every masked tensor as text; the shapes of a plain model."""
    if not is_masked(model):
        return ", ".join(f"{name} {tuple(p.shape)}" for name, p in model.named_parameters())
    kept = record(model)
    states = ", ".join(f"{s.name} {s.shape} {s.group.planned}" for s in kept.states)
    return f"seed {kept.seed}, {kept.law}, {states}, also trained: {sorted(kept.trained)}"


def _join_processes(model: nn.Module) -> tuple[int, int]:
    """Return (rank, number of processes), after joining the group if torchrun started this process."""
    if not dist.is_available():
        return 0, 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if find_device(model).type == "cuda" else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
