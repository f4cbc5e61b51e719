"""How the scores (or the weights) learn: optimizer, rates and schedule, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor

from untrained.fields import check_fields
from untrained.methods.schedules import Constant, Schedule
from untrained.weights.laws import WeightLaw


@final
@dataclass(frozen=True)
class Recipe:
    """A recipe for `fit`.

    Args:
        optimizer: "sgd" or "adam".
        lr: the highest learning rate.
        momentum: of SGD; Adam uses torch's betas.
        weight_decay: added to the gradient, ½·λ·s² in the loss.
        warmup: epochs over which the rate rises linearly to `lr`; half of the epochs at most.
        cosine: whether the rate then falls to 0 along half a cosine, "step" by step or "epoch" by epoch.
        factor: instead of warm-up and cosine, what `lr` is multiplied by.
        nesterov: whether SGD's momentum looks ahead.
        label_smoothing: of the cross entropy.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.0
    cosine: Literal["step", "epoch"] = "step"
    label_smoothing: float = 0.0
    factor: Schedule | None = None
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("momentum", "weight_decay", "warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """The optimizer of these parameters, at the highest rate; torch's fused one where there is one."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(parameters, **self.arguments(), fused=fusable(parameters))

    def arguments(self) -> dict[str, Any]:
        """What the optimizer of that name is told, at the highest rate."""
        if self.optimizer == "adam":
            return {"lr": self.lr, "weight_decay": self.weight_decay}
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
        }

    def rate(self, epoch: int, step: int, steps: int, epochs: int) -> float:
        """The learning rate of step `step` of `steps` in epoch `epoch` of `epochs`, all counted from 0.

        By steps, with t = epoch + step/steps: lr·(t + 1/steps)/w while t < w, then lr·½(1 + cos π(t - w)/(E - w)).
        By epochs: lr·(epoch + 1)/w, then the same cosine at t = epoch (the authors' code).
        With a `factor`: lr·factor(t/E).
        """
        by_step = self.cosine == "step"
        if self.factor is not None:
            return self.lr * self.factor.at((epoch + step / steps) / epochs)
        warmup = min(self.warmup, epochs / 2)
        time = epoch + step / steps if by_step else epoch
        if time < warmup:
            return self.lr * min(1.0, (time + (1 / steps if by_step else 1)) / warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (time - warmup) / (epochs - warmup)))


def fusable(parameters: Sequence[Tensor]) -> bool:
    """Whether torch's fused optimizers take these parameters."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)


@final
@dataclass(frozen=True)
class Paper:
    """What the authors of a method ran, as far as it can be said in a line.

    Attributes:
        title: the paper.
        source: its number at arXiv, or where it appeared.
        recipe: how the scores learnt.
        weights: the law of the frozen weights, or the nearest of ours; None: those of a pretrained network.
        epochs: passes over the training data.
        batch_size: examples per step.
    """

    title: str
    source: str
    recipe: Recipe
    weights: WeightLaw | None
    epochs: int
    batch_size: int


STEADY = Constant(1.0)
"""The factor of a rate that stays."""

SCORES = Recipe("sgd", lr=2.0, momentum=0.9, warmup=1.0, label_smoothing=0.05)
"""Ours for scores that the loss reaches through W, chosen on validation data (docs/recipe.md)."""

WEIGHTS = Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, warmup=1.0, label_smoothing=0.05)
"""Ours for ordinary weights: the trained twin, and whatever `also_train` names. Chosen in the same way."""

PAPER = Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, cosine="epoch")
"""What edge-popup's authors use on MNIST and CIFAR-10 (their YAML files): batch 128, 100 epochs."""
