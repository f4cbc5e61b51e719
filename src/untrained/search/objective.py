"""The loss and the metric of a search: chosen by name, functions of one's own, or decided by what labels are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import torch
import torch.nn.functional as F
from torch import Tensor

from untrained.fields import check_fields, look_up
from untrained.search.labels import IGNORED, cross_entropy, form_of, match_labels
from untrained.search.measures import MEASURES, Measure, OwnMeasure, scalar
from untrained.search.metric import ACCURACY, Metric

Function = Callable[[Any, Any], Any]
Form = Literal["classes", "tokens", "values"]
"""Class labels for logits (batch, classes, ...), class labels for logits (batch, positions, classes), or values."""

LOSSES: dict[str, Form] = {"cross-entropy": "classes", "next-token": "tokens", "mse": "values"}
_SPELLING = re.compile(r"([\w-]+)\s*(?:\(\s*ignore_index\s*=\s*(-?\d{1,18})\s*\))?")
_DEFAULT = {"classes": "accuracy", "tokens": "accuracy", "values": "rmse"}


@final
@dataclass(frozen=True)
class Batch:
    """Outputs and labels of a batch, as they are, and in the form that the built-in losses and metrics need."""

    outputs: Tensor
    labels: Tensor
    own_outputs: Tensor
    own_labels: Tensor


@final
@dataclass(frozen=True)
class Objective:
    """Loss and metric of a search. A form or metric of None is decided by the first batch: see `settle`.

    Attributes:
        form: the form of outputs and labels; None also where the loss and the metric are functions.
        measure: the metric.
        own: the loss, if it is a function.
        ignored: class label that is not counted.
        text: what was chosen, for a checkpoint.
    """

    form: Form | None = None
    measure: Measure | None = None
    own: Function | None = None
    ignored: int = IGNORED
    text: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, loss: str | Function | None, metric: str | Function | None) -> Self:
        """Return the objective that a call of `fit` names.

        Raises:
            ValueError: there is no such loss or metric, or they do not suit each other.
        """
        form, ignored, own = None, IGNORED, None
        for name, given in (("loss", loss), ("metric", metric)):
            if isinstance(given, type):
                raise ValueError(f"{name} must be a function or an object, got the class: write {given.__name__}()")
        if isinstance(loss, str):
            match = _SPELLING.fullmatch(loss.strip())
            form = look_up("loss", LOSSES, match[1] if match else loss)
            if match and match[2] is not None:
                if form == "values":
                    raise ValueError(f"{loss}: mse has no ignore_index")
                ignored = int(match[2])
        elif loss is not None:
            if not callable(loss):
                raise ValueError(f"loss must be one of {', '.join(LOSSES)}, or a function, got {loss!r}")
            own = loss
        measure: Measure | None = None
        if metric is not None:
            measure = look_up("metric", MEASURES, metric)() if isinstance(metric, str) else OwnMeasure(metric)
        found = cls(
            form, measure, own, ignored, ", ".join(_describe(each) for each in (loss, metric) if each is not None)
        )
        found._check()
        return found

    @property
    def metric(self) -> Metric:
        """The metric, of an objective that is settled."""
        assert self.measure is not None
        return self.measure.metric

    def settle(self, inputs: Any, outputs: Any, labels: Tensor) -> Objective:
        """Return the objective with what is not chosen yet, decided by the types and shapes of a batch.

        Integer labels are classes, floats are values. Class labels (batch, n) fit logits (batch, classes, n), and those
        of tokens, (batch, n, classes).

        Raises:
            ValueError: it cannot be decided, with the names to choose from; or the labels of tokens are the inputs.
        """
        form, measure = self.form, self.measure
        if form is None and (self.own is None or measure is None or measure.of_classes is not None):
            form = _find_form(outputs, labels, self.own is None)
        if measure is None:
            assert form is not None
            measure = MEASURES[_DEFAULT[form]]()
        if form == "tokens" and isinstance(inputs, Tensor) and torch.equal(inputs, labels.to(inputs.dtype)):
            raise ValueError(
                "labels are the inputs themselves, and a network would learn to copy them: the label of a position is "
                f"the token after it, {self.ignored} where there is none"
            )
        found = Objective(form, measure, self.own, self.ignored, self.text)
        found._check()
        return found

    def match(self, outputs: Any, labels: Tensor) -> Batch:
        """Return a batch in the form that loss and metric need.

        Raises:
            ValueError: labels do not fit the outputs.
        """
        if self.form is None:
            return Batch(outputs, labels, outputs, labels)
        if self.form == "values":
            return Batch(*_match_values(outputs, labels), outputs, labels)
        logits = outputs
        if self.form == "tokens":
            if outputs.dim() != 3:
                raise ValueError(f"next-token needs logits (batch, positions, classes), got {form_of(outputs)}")
            logits = outputs.movedim(-1, 1)
        matched = match_labels(logits, labels)
        if self.ignored != IGNORED:
            matched = torch.where(matched == self.ignored, IGNORED, matched)
        return Batch(logits, matched, outputs, labels)

    def loss(self, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, to learn from; label smoothing is for class labels alone."""
        if self.own is not None:
            return self._own_loss(batch)
        if self.form == "values":
            return F.mse_loss(batch.outputs, batch.labels.to(batch.outputs.dtype))
        return cross_entropy(batch.outputs, batch.labels, label_smoothing=smoothing)

    def total(self, batch: Batch) -> Tensor:
        """Return the loss of a batch times the number it is the mean over, and that number, float64 (2,)."""
        count = self.count(batch)
        if self.own is None and self.form != "values":
            loss = cross_entropy(batch.outputs.float(), batch.labels, reduction="sum").double()
            return torch.stack([loss, count])
        outputs = batch.outputs.double() if self.own is None else batch.outputs
        exact = Batch(outputs, batch.labels, batch.own_outputs, batch.own_labels)
        return torch.stack([self.loss(exact).double() * count, count])

    def count(self, batch: Batch) -> Tensor:
        """Return the number that the loss of a batch is the mean over: labels that count, values, or examples."""
        if self.own is not None:
            return torch.tensor(len(batch.own_labels), dtype=torch.float64, device=batch.own_labels.device)
        return (batch.labels != IGNORED if self.form != "values" else torch.ones_like(batch.labels)).sum().double()

    def state(self, batch: Batch) -> Tensor:
        """Return the state of the metric."""
        assert self.measure is not None
        with torch.no_grad():
            if self.measure.of_classes is None:
                return self.measure.state(batch.own_outputs, batch.own_labels)
            return self.measure.state(batch.outputs, batch.labels)

    def facts(self) -> dict[str, Any]:
        """Return what a ticket keeps of a settled objective: its loss, unless it is cross entropy with accuracy."""
        own = {form: name for name, form in LOSSES.items()}
        loss = getattr(self.own, "__name__", "function") if self.own else own.get(self.form or "classes", "")
        return {} if loss == "cross-entropy" and self.metric == ACCURACY else {"loss": loss}

    def merge(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the state of the metric over both parts."""
        assert self.measure is not None
        return self.measure.merge(a, b)

    def value(self, state: Tensor) -> float:
        """Return the metric in its state."""
        assert self.measure is not None
        return self.measure.value(state)

    def _own_loss(self, batch: Batch) -> Tensor:
        assert self.own is not None
        name = getattr(self.own, "__name__", "loss")
        loss = self.own(batch.own_outputs, batch.own_labels)
        if not isinstance(loss, Tensor) or not loss.is_floating_point():
            raise ValueError(f"the loss {name} must give a float tensor of one number, got {form_of(loss)}")
        loss = scalar(f"the loss {name}", loss)
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError(f"the loss {name} must depend on the outputs, and has no gradient")
        return loss

    def _check(self) -> None:
        if self.form is None or self.measure is None or self.measure.of_classes is None:
            return
        if self.measure.of_classes != (self.form != "values"):
            kind = {"classes": "classes", "tokens": "classes", "values": "values"}[self.form]
            raise ValueError(f"the metric {self.measure.metric.name} does not suit labels that are {kind}")


def _describe(chosen: str | Function) -> str:
    """Return a name, or what a function says of itself; of code from a file that is its path and hash."""
    return (
        chosen if isinstance(chosen, str) else getattr(chosen, "spelling", getattr(chosen, "__qualname__", "function"))
    )


def _find_form(outputs: Any, labels: Tensor, strict: bool) -> Form:
    """Return the form of a batch; `strict`: float labels that look like classes are refused."""
    shape = tuple(outputs.shape)
    if labels.is_floating_point():
        if tuple(labels.shape) == shape or _fits_values(outputs, labels):
            if strict:
                _refuse_classes(outputs, labels)
            return "values"
        return "classes"  # whose check names both
    tokens = outputs.dim() == 3 and tuple(labels.shape) == shape[:2]
    if tokens and tuple(labels.shape) == (shape[0], *shape[2:]):
        raise ValueError(
            f"logits {shape} fit labels {tuple(labels.shape)} with the classes on axis 1 and on the last axis: "
            "pass loss='cross-entropy' for the first, loss='next-token' for the second"
        )
    return "tokens" if tokens else "classes"


def _refuse_classes(outputs: Any, labels: Tensor) -> None:
    """Raise a ValueError if floats look like classes: for these is cross entropy."""
    flat = labels.detach().flatten(1) if labels.dim() > 1 else labels.detach()[:, None]
    if not flat.numel():
        return
    share = labels.dim() == 2 and flat.shape[1] > 1 and bool((flat >= 0).all())
    if share and torch.allclose(flat.sum(1), torch.ones_like(flat[:, 0]), atol=1e-4):
        expected = (outputs.shape[0], *outputs.shape[2:])
        raise ValueError(
            f"labels look like class probabilities: for classes they must be integers {expected}, got "
            f"{form_of(labels)}; for values, pass loss='mse'"
        )
    if bool(((flat == 0) | (flat == 1)).all()):
        raise ValueError(
            f"labels are 0.0 and 1.0 alone, got {form_of(labels)}: classes must be integers; for values, pass "
            "loss='mse'"
        )


def _fits_values(outputs: Tensor, labels: Tensor) -> bool:
    """Return True if the two differ in a last axis of length 1 alone."""
    a, b = tuple(outputs.shape), tuple(labels.shape)
    return a == b or a == (*b, 1) or b == (*a, 1)


def _match_values(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of one shape: torch would broadcast (batch, 1) and (batch,) to (batch, batch)."""
    if labels.is_complex() or not _fits_values(outputs, labels):
        raise ValueError(f"targets must have the shape of the outputs {tuple(outputs.shape)}, got {form_of(labels)}")
    return outputs.reshape(labels.shape), labels if labels.is_floating_point() else labels.to(outputs.dtype)
