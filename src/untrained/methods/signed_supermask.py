"""Signed supermasks: drop a weight, keep it, or turn its sign; sparsity comes from decay of the scores.

    W_eff = W ⊙ m,   m = sign(s)·[|s| > τ]  ∈ {-1, 0, 1}
    ∂L/∂s = W ⊙ ∂L/∂W_eff                               straight through the threshold

The formula is that of the ternary `Threshold`; what makes the method is where it starts (Xavier-uniform scores) and the
weight decay, which pulls scores that the loss has no use for below τ. Nothing else
asks for sparsity. Its authors use ELU (`models.build(…, activation="elu")`) and signed constants scaled for it
(`SignedConstant(nonlinearity="elu")`, He's σ times √1.5), which `recipe="paper"` draws on the command line.

Source: Koster, Grothe, Rettinger, "Signing the Supermask: Keep, Hide, Invert", ICLR 2022, arXiv 2201.13361, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.base import Method
from untrained.methods.masks import checked_number, decode_multiple, ternary_codes
from untrained.methods.recipe import Paper, Recipe
from untrained.methods.schedules import Geometric
from untrained.selection.topk import checked
from untrained.weights.laws import SignedConstant, fans


@final
@dataclass(frozen=True)
class SignedSupermask(Method):
    """Signed supermask: codes -1, 0, 1; how much is kept comes from the decay of the scores.

    Args:
        threshold: τ.
    """

    threshold: float = 0.01

    paper: ClassVar[Paper | None] = Paper(
        "Signing the Supermask: Keep, Hide, Invert",
        "2201.13361",
        # Their decay of 3e-4 a step is decoupled from rate and momentum: here λ·lr/(1 - momentum) = 3e-4.
        Recipe("sgd", lr=0.005, momentum=0.9, weight_decay=0.006, nesterov=True, factor=Geometric(1.0, 0.01)),
        SignedConstant(nonlinearity="elu"),
        epochs=100,
        batch_size=128,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number("threshold", self.threshold, 0)

    @property
    def recipe(self) -> Recipe:
        return Recipe("sgd", lr=1.0, momentum=0.9, weight_decay=1e-4, warmup=1.0, label_smoothing=0.05)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """U(-b, b), b = √(6/(fan in + fan out))."""
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1
        return (drawn * math.sqrt(6 / max(1, sum(fans(weight.shape))))).to(weight)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: ternary_codes(checked(scores[name], name), self.threshold) for name in weights}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_multiple(weight, codes)
