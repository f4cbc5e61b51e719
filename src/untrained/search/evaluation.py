"""How well a network does on labelled batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from untrained.masking.bake import one_choice
from untrained.masking.mask import is_masked
from untrained.search.labels import IGNORED, cross_entropy, labels_for, logits_of, pairs, tally


class Result(NamedTuple):
    """Mean cross entropy, share of right answers in 0..1, and the number of labels they are taken over."""

    loss: float
    accuracy: float
    examples: int


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False) -> Result:
    """Evaluate a classifier, masked or plain, in evaluation mode; the model is left as it was.

    Args:
        model: gives logits (batch, classes), or (batch, classes, ...) with a label for each pixel, say.
        batches: pairs of inputs and labels (batch,) or (batch, ...); a label of -100 is not counted.
        amp: run in bfloat16 autocast.

    Raises:
        ValueError: there is no label that counts, or inputs, labels and logits do not go together.
    """
    totals = torch.zeros(3, dtype=torch.float64, device=device_of(model))
    with _evaluating(model):
        for x, y in pairs(batches, totals.device):
            if len(y):
                totals += _count(model, x, y, amp)
    loss, right, examples = totals.tolist()
    if not examples:
        raise ValueError("there is no label to evaluate on")
    return Result(loss / examples, right / examples, int(examples))


class Answers(NamedTuple):
    """What a classifier says of every example: int64 (n,) each, and float32 (n,).

    `labels` are right, `predicted` is what it says; `probability` is what it gives the right class, 0..1.
    """

    labels: Tensor
    predicted: Tensor
    probability: Tensor

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return int((self.labels == self.predicted).sum()) / len(self.labels)


@torch.no_grad()
def answers(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False) -> Answers:
    """As `evaluate`, but every single answer, on the CPU."""
    parts, device = [], device_of(model)
    with _evaluating(model):
        for x, y in pairs(batches, device):
            if len(y):
                with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                    logits = logits_of(model, x)
                counted = (labels := labels_for(logits, y)) != IGNORED
                right = logits.float().softmax(1).gather(1, labels.clamp_min(0)[:, None])[:, 0]
                parts.append([each[counted].cpu() for each in (labels, logits.argmax(1), right)])
    if not parts:
        raise ValueError("there is no example to evaluate on")
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def calibrate_(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> nn.Module:
    """Give norm layers the running statistics of these batches; nothing else changes. For networks that never learn."""
    norms: list[Any] = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not norms:
        return model
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch then takes the plain mean over all batches
        with _mode(model, training=True):
            for x, y in pairs(batches, device_of(model)):
                if len(y):
                    logits_of(model, x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and one choice of a masked model for all batches."""
    with _mode(model, training=False), one_choice(model) if is_masked(model) else nullcontext():
        yield


@contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode; afterwards every module is in the mode it was in."""
    before = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        model.train(before[model])  # a module may do more than to set its flag
        for module, was_training in before.items():
            module.training = was_training


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter is."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _count(model: nn.Module, x: Any, y: Tensor, amp: bool) -> Tensor:
    with torch.autocast(device_of(model).type, torch.bfloat16, enabled=amp):
        logits = logits_of(model, x)
    labels = labels_for(logits, y)
    loss = cross_entropy(logits.float(), labels, reduction="sum")
    return torch.cat([loss.double()[None], tally(logits, labels)])
