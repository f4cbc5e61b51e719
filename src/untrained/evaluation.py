"""How well a network does on labelled batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrained.attach import is_masked, one_choice


class Result(NamedTuple):
    """Mean cross entropy, share of right answers in 0..1, and the number of examples they are taken over."""

    loss: float
    accuracy: float
    examples: int


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False) -> Result:
    """Evaluate a classifier, masked or plain, in evaluation mode; the model is left as it was.

    Args:
        model: gives logits (batch, classes).
        batches: pairs of inputs and int64 labels (batch,).
        amp: run in bfloat16 autocast.

    Raises:
        ValueError: there is no example.
    """
    totals = torch.zeros(3, dtype=torch.float64, device=device_of(model))
    with _evaluating(model):
        for x, y in batches:
            if len(y):
                totals += _count(model, x.to(totals.device), y.to(totals.device), amp)
    loss, right, examples = totals.tolist()
    if not examples:
        raise ValueError("there is no example to evaluate on")
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
        for x, y in batches:
            if len(y):
                with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                    logits = model(x.to(device))
                right = logits.float().softmax(1).gather(1, y.to(device)[:, None])[:, 0]
                parts.append((y.cpu(), logits.argmax(1).cpu(), right.cpu()))
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
            for x, y in batches:
                if len(y):
                    model(x.to(device_of(model)))
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
        for module, was_training in before.items():
            module.training = was_training


def device_of(model: nn.Module) -> torch.device:
    """Where a model's first parameter is."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _count(model: nn.Module, x: Tensor, y: Tensor, amp: bool) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
        logits = model(x)
    loss = F.cross_entropy(logits.float(), y, reduction="sum")
    right = (logits.argmax(1) == y).sum()
    return torch.stack([loss.double(), right.double(), torch.tensor(float(len(y)), device=x.device).double()])
