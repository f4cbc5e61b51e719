"""Recipes by which scores (or weights) learn: optimizer, learning rates and schedule, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from untrained.fields import check_fields
from untrained.methods.schedules import Constant, Schedule
from untrained.weights.laws import WeightLaw


@final
@dataclass(frozen=True)
class Recipe:
    """Recipe for `fit`.

    Args:
        optimizer: "sgd" or "adam".
        lr: the highest learning rate.
        momentum: of SGD; Adam uses torch's betas.
        weight_decay: λ of ½·λ·s² in the loss, added to the gradient.
        warmup: epochs over which the rate rises linearly to `lr`; half of the epochs at most.
        cosine: the rate then falls to 0 along half a cosine, "step" by step or "epoch" by epoch.
        factor: factor on `lr`, instead of warm-up and cosine.
        nesterov: use SGD's Nesterov momentum.
        label_smoothing: of the cross entropy.

    Example:
        >>> recipe = ut.Recipe("adam", lr=0.5, warmup=1)
        >>> [recipe.rate(0, step, steps=4, epochs=10) for step in range(4)]
        [0.125, 0.25, 0.375, 0.5]
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

    _limits: ClassVar = dict.fromkeys(("momentum", "weight_decay", "warmup", "label_smoothing"), (0, math.inf))

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Build the optimizer of these parameters, at the highest rate; torch's fused one where there is one."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(parameters, **self.arguments(), fused=fusable(parameters))

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the optimizer, at the highest rate."""
        of_sgd = {"momentum": self.momentum, "nesterov": self.nesterov}
        return {"lr": self.lr, "weight_decay": self.weight_decay} | (of_sgd if self.optimizer == "sgd" else {})

    def rate(self, epoch: int, step: int, steps: int, epochs: int) -> float:
        """Return the learning rate of step `step` of `steps` in epoch `epoch` of `epochs`, all counted from 0.

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
    """Return True where torch's fused optimizers take these parameters.

    Example:
        >>> ut.optim.fusable([torch.zeros(3)]), ut.optim.fusable([torch.zeros(3, device="meta")])
        (True, False)
    """
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)


@final
@dataclass(frozen=True)
class Paper:
    """Experiment of a method's authors: weights, recipe and budget.

    Attributes:
        title: the paper.
        source: its number at arXiv, or where it appeared.
        recipe: recipe of the scores.
        weights: the law of the frozen weights, or the nearest one here; None: those of a pretrained network.
        epochs: passes over the training data.
        batch_size: examples per step.

    Example:
        >>> ut.EdgePopup().paper.source, ut.EdgePopup().paper.epochs
        ('1911.13299', 100)
    """

    title: str
    source: str
    recipe: Recipe
    weights: WeightLaw | None
    epochs: int
    batch_size: int


STEADY = Constant(1.0)
"""Factor of a constant learning rate."""

SCORES = Recipe("sgd", lr=2.0, momentum=0.9, warmup=1.0, label_smoothing=0.05)
"""Our recipe for scores whose gradient goes through W, chosen on validation data (docs/recipe.md)."""

WEIGHTS = Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, warmup=1.0, label_smoothing=0.05)
"""Our recipe for ordinary weights: those of the trained twin and of `also_train`. Chosen in the same way."""

WEIGHTS_UNDER_NORMS = replace(WEIGHTS, lr=0.2)
"""The same for networks with a batch norm without scale and shift, where twice the rate was better."""

PAPER = Recipe("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4, cosine="epoch")
"""Recipe of edge-popup's authors on MNIST and CIFAR-10 (their YAML files): batch 128, 100 epochs."""
