"""Evaluation of a classifier on labelled batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from untrained.masking.bake import one_choice
from untrained.masking.mask import is_masked
from untrained.search.labels import IGNORED, compute_logits, count_right, cross_entropy, iterate_pairs, match_labels


class Result(NamedTuple):
    """Mean cross entropy, accuracy in 0..1, and the number of labels that they are taken over."""

    loss: float
    accuracy: float
    examples: int


class Answers(NamedTuple):
    """Labels and predicted classes, int64 (n,), and the probability of the right class, float32 (n,) in 0..1."""

    labels: Tensor
    predicted: Tensor
    probability: Tensor

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return int((self.labels == self.predicted).sum()) / len(self.labels)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False) -> Result:
    """Evaluate a classifier, masked or plain, in evaluation mode; the model is unchanged afterwards.

    Args:
        model: gives logits (batch, classes), or (batch, classes, ...) for a label per pixel, say.
        batches: pairs of inputs and labels (batch,) or (batch, ...); a label of -100 is not counted.
        amp: bfloat16 autocast.

    Raises:
        ValueError: no label counts, or inputs, labels and logits do not match.

    Example:
        >>> model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup(keep=0.5))
        >>> ut.evaluate(model, [(torch.ones(6, 4), torch.arange(6) % 3)] * 2).examples
        12
    """
    totals = torch.zeros(3, dtype=torch.float64, device=find_device(model))
    with _set_evaluation_mode(model):
        for logits, labels in _predict(model, batches, amp):
            loss = cross_entropy(logits.float(), labels, reduction="sum")
            totals += torch.cat([loss.double()[None], count_right(logits, labels)])
    loss, right, examples = totals.tolist()
    if not examples:
        raise ValueError("there is no label to evaluate on")
    return Result(loss / examples, right / examples, int(examples))


@torch.no_grad()
def collect_answers(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False) -> Answers:
    """Return the answer to every label that counts, on the CPU; arguments are those of `evaluate`."""
    parts = []
    with _set_evaluation_mode(model):
        for logits, labels in _predict(model, batches, amp):
            right = logits.float().softmax(1).gather(1, labels.clamp_min(0)[:, None])[:, 0]
            parts.append([each[labels != IGNORED].cpu() for each in (labels, logits.argmax(1), right)])
    if not parts:
        raise ValueError("there is no example to evaluate on")
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _predict(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], amp: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and labels of every batch that is not empty."""
    for x, y in iterate_pairs(batches, device := find_device(model)):
        if len(y):
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                logits = compute_logits(model, x)
            yield logits, match_labels(logits, y)


@contextmanager
def _set_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode, and choose the masks once for all batches."""
    with set_mode(model, training=False), one_choice(model) if is_masked(model) else nullcontext():
        yield


@contextmanager
def set_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Set training or evaluation mode; afterwards restore the mode of every module."""
    before = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        model.train(before[model])  # a module may do more than set its flag
        for module, was_training in before.items():
            module.training = was_training


def find_device(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
