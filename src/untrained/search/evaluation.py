"""Evaluation of a network on labelled batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from untrained.masking.bake import one_choice
from untrained.masking.mask import is_masked
from untrained.search.labels import IGNORED, compute_outputs, iterate_pairs
from untrained.search.metric import ACCURACY, Metric
from untrained.search.objective import Batch, Function, Objective


class Result(NamedTuple):
    """Mean loss, the metric's value, the number of labels, values or examples of the loss, and the metric."""

    loss: float
    value: float
    examples: int
    metric: Metric

    @property
    def accuracy(self) -> float:
        """Accuracy in 0..1.

        Raises:
            ValueError: the metric is another.
        """
        if self.metric != ACCURACY:
            raise ValueError(f"the metric of these labels is {self.metric.name}, not accuracy: see value")
        return self.value


class Answers(NamedTuple):
    """Labels and predicted classes, int64 (n,), and the probability of the right class, float32 (n,) in 0..1."""

    labels: Tensor
    predicted: Tensor
    probability: Tensor

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return int((self.labels == self.predicted).sum()) / len(self.labels)


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    amp: bool = False,
    loss: str | Function | None = None,
    metric: str | Function | None = None,
) -> Result:
    """Evaluate a network, masked or plain, in evaluation mode; the model is unchanged afterwards.

    Args:
        model: gives logits (batch, classes), or (batch, classes, ...) for a label per pixel, say; or values.
        batches: pairs of inputs and labels (batch,) or (batch, ...); a label of -100 is not counted.
        amp: bfloat16 autocast.
        loss, metric: as of `fit`.

    Raises:
        ValueError: no label counts, or inputs, labels and outputs do not match.

    Example:
        >>> model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup(keep=0.5))
        >>> ut.evaluate(model, [(torch.ones(6, 4), torch.arange(6) % 3)] * 2).examples
        12
    """
    return measure(model, batches, Objective.of(loss, metric), amp)


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[Any], objective: Objective, amp: bool) -> Result:
    """Return what `evaluate` returns, for an objective."""
    totals = torch.zeros(2, dtype=torch.float64, device=find_device(model))
    state = None
    with _set_evaluation_mode(model):
        for batch, objective in _predict(model, batches, objective, amp):  # noqa: B020  settled by the first batch
            totals += objective.total(batch)
            found = objective.state(batch)
            state = found if state is None else objective.merge(state, found)
    loss, examples = totals.tolist()
    if state is None or not examples:
        raise ValueError("there is no label to evaluate on")
    return Result(loss / examples, objective.value(state), int(examples), objective.metric)


@torch.no_grad()
def collect_answers(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, amp: bool = False, loss: str | None = None
) -> Answers:
    """Return a classifier's answer to every label that counts, on the CPU; arguments are those of `evaluate`."""
    parts = []
    with _set_evaluation_mode(model):
        for batch, _ in _predict(model, batches, Objective.of(loss, "accuracy"), amp):
            logits, labels = batch.outputs, batch.labels
            right = logits.float().softmax(1).gather(1, labels.clamp_min(0)[:, None])[:, 0]
            parts.append([each[labels != IGNORED].cpu() for each in (labels, logits.argmax(1), right)])
    if not parts:
        raise ValueError("there is no example to evaluate on")
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _predict(
    model: nn.Module, batches: Iterable[Any], objective: Objective, amp: bool
) -> Iterator[tuple[Batch, Objective]]:
    """Yield every batch that is not empty, and the objective, settled by the first."""
    settled = False
    for x, y in iterate_pairs(batches, device := find_device(model)):
        if len(y):
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                outputs = compute_outputs(model, x)
            objective = objective if settled else objective.settle(x, outputs, y)
            settled = True
            yield objective.match(outputs, y), objective


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
