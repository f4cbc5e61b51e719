"""Measures that are taken batch by batch: accuracy, perplexity, mean IoU, RMSE, R², and functions of one's own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from untrained.search.labels import IGNORED, count_right
from untrained.search.metric import ACCURACY, MEAN_IOU, PERPLEXITY, R2, RMSE, Metric


class Measure(ABC):
    """A metric that is computed from batches: each gives a state, float64 (k,), and states are merged.

    Attributes:
        metric: name, unit and direction.
        of_classes: it is for class labels; False: for values; None: for any.
    """

    metric: Metric
    of_classes: bool | None

    @abstractmethod
    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the state of a batch: logits (batch, classes, ...) and labels, or values and targets of one shape."""

    def merge(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the state of both batches together."""
        return a + b

    @abstractmethod
    def value(self, state: Tensor) -> float:
        """Return the metric; NaN where nothing was counted."""


def _ratio(state: Tensor) -> float:
    total, count = state.tolist()
    return total / count if count else math.nan


@final
class Accuracy(Measure):
    """Accuracy: the share of right answers among the labels that count."""

    metric, of_classes = ACCURACY, True

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return count_right(outputs, labels)

    def value(self, state: Tensor) -> float:
        return _ratio(state)


@final
class Perplexity(Measure):
    """Perplexity: exp of the mean cross entropy, in nats, of the labels that count."""

    metric, of_classes = PERPLEXITY, True

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        total = F.cross_entropy(outputs.float(), labels, ignore_index=IGNORED, reduction="sum")
        return torch.stack([total.double(), (labels != IGNORED).sum().double()])

    def value(self, state: Tensor) -> float:
        mean = _ratio(state)
        return math.exp(mean) if mean < 700 else math.inf if mean >= 700 else math.nan


@final
class MeanIoU(Measure):
    """Mean intersection over union: over the classes that are predicted or labelled anywhere, |both| / |either|."""

    metric, of_classes = MEAN_IOU, True

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        classes, counted = outputs.shape[1], labels != IGNORED
        true, predicted = labels[counted], outputs.argmax(1)[counted]
        both, a, b = (torch.bincount(x, minlength=classes) for x in (true[true == predicted], true, predicted))
        return torch.cat([both, a + b - both]).double()

    def value(self, state: Tensor) -> float:
        both, either = state.view(2, -1)
        return float((both[either > 0] / either[either > 0]).mean())


@final
class RootMeanSquaredError(Measure):
    """Root mean squared error: √(mean over all values of (output − target)²)."""

    metric, of_classes = RMSE, False

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        error = outputs.double() - labels.double()
        return torch.stack([error.square().sum(), error.new_tensor(error.numel())])

    def value(self, state: Tensor) -> float:
        return math.sqrt(_ratio(state))


@final
class RSquared(Measure):
    """Coefficient of determination R²: 1 − Σ(target − output)² / Σ(target − mean)², the mean over several outputs.

    The state is the number of examples, then of each output the mean of the targets, Σ(target − mean)², and the squared
    errors; merged as in Chan, Golub & LeVeque 1983, so that targets far from 0 lose no digits.
    """

    metric, of_classes = R2, False

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        y = labels.double().flatten(1) if labels.dim() > 1 else labels.double()[:, None]
        error = (outputs.double().view_as(labels) - labels.double()).view_as(y).square().sum(0)
        mean = y.mean(0) if len(y) else torch.zeros_like(error)
        return torch.cat([error.new_tensor([len(y)]), mean, (y - mean).square().sum(0), error])

    def merge(self, a: Tensor, b: Tensor) -> Tensor:
        (mean_a, spread_a, error_a), (mean_b, spread_b, error_b) = a[1:].view(3, -1), b[1:].view(3, -1)
        count = a[:1] + b[:1]
        share = b[:1] / count.clamp_min(1)
        spread = spread_a + spread_b + (mean_b - mean_a).square() * a[:1] * share
        return torch.cat([count, mean_a + (mean_b - mean_a) * share, spread, error_a + error_b])

    def value(self, state: Tensor) -> float:
        mean, spread, error = state[1:].view(3, -1)
        rounding = torch.finfo(torch.float64).eps * mean.abs()
        if not bool((spread > 4 * state[0] * rounding.square()).all()):
            raise ValueError("R² needs targets that differ, and all targets of an output are the same")
        return float((1 - error / spread).mean())


@final
class OwnMeasure(Measure):
    """A function's mean over batches, weighted by their examples.

    Args:
        function: gives the mean of a batch from (outputs, targets), as the model and the data give them; its attribute
            `higher_is_better` states the direction, and `unit` the unit ("%": a share in 0..1; by default none).

    Raises:
        ValueError: it is no function, or states no direction.
    """

    of_classes = None

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        name = getattr(function, "__name__", type(function).__name__).strip("<>")
        higher = getattr(function, "higher_is_better", None)
        if not callable(function) or not isinstance(higher, bool):
            raise ValueError(f"the metric {name} must state its direction: {name}.higher_is_better = True, or False")
        self.function = function
        self.metric = Metric(name, str(getattr(function, "unit", "")), higher)

    def state(self, outputs: Tensor, labels: Tensor) -> Tensor:
        found = scalar(f"the metric {self.metric.name}", self.function(outputs, labels)).detach()
        return torch.stack([found.double() * len(labels), found.new_tensor(len(labels), dtype=torch.float64)])

    def value(self, state: Tensor) -> float:
        if not self.metric.holds(value := _ratio(state)):
            share = " and a share in 0..1, as its unit is %" if self.metric.unit == "%" else ""
            raise ValueError(f"the metric {self.metric.name} must be finite{share}, got {value}")
        return value


def scalar(name: str, value: Any) -> Tensor:
    """Return one number as a tensor; raise a ValueError for anything else."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.reshape(())
    if not isinstance(value, Tensor) and isinstance(value, int | float):
        return torch.tensor(float(value), dtype=torch.float64)
    kind = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise ValueError(f"{name} must give one number for a batch, got {kind}")


MEASURES: dict[str, type[Measure]] = {
    "accuracy": Accuracy,
    "perplexity": Perplexity,
    "mean-iou": MeanIoU,
    "rmse": RootMeanSquaredError,
    "r2": RSquared,
}
