"""Signed supermasks: drop a weight, keep it, or turn its sign; sparsity comes from decay of the scores.

    W_eff = W ⊙ m,   m = sign(s)·[|s| > τ]  ∈ {-1, 0, 1}
    ∂L/∂s = W ⊙ ∂L/∂W_eff                               straight through the threshold

The formula is that of the ternary `Threshold`; the difference is where it starts (Xavier-uniform scores) and the weight
decay, which pulls scores with little gradient below τ and is the only cause of sparsity. Its authors use ELU
(`models.build(…, activation="elu")`) and signed constants scaled for it (`SignedConstant(nonlinearity="elu")`, He's σ
times √1.5), which `recipe="paper"` draws on the command line.

Source: Koster, Grothe, Rettinger, "Signing the Supermask: Keep, Hide, Invert", ICLR 2022, arXiv 2201.13361, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import decode_multiple, draw, ternary_codes, xavier_bound
from untrained.methods.recipe import Paper, Recipe
from untrained.methods.schedules import Geometric
from untrained.selection.topk import checked
from untrained.weights.laws import SignedConstant


@final
@dataclass(frozen=True)
class SignedSupermask(Method):
    """Signed supermask: codes -1, 0, 1; the fraction kept follows from the decay of the scores.

    Args:
        threshold: τ.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.SignedSupermask(), seed=0)
        >>> model.weight.unique().numel()  # -σ, 0 and σ
        3
    """

    threshold: float = 0.01

    _limits: ClassVar = {"threshold": (0, math.inf)}
    paper = Paper(
        "Signing the Supermask: Keep, Hide, Invert",
        "2201.13361",
        # Their decay of 3e-4 a step is decoupled from rate and momentum: here λ·lr/(1 - momentum) = 3e-4.
        Recipe("sgd", lr=0.005, momentum=0.9, weight_decay=0.006, nesterov=True, factor=Geometric(1.0, 0.01)),
        SignedConstant(nonlinearity="elu"),
        epochs=100,
        batch_size=128,
    )

    recipe = Recipe("sgd", lr=1.0, momentum=0.9, weight_decay=1e-4, warmup=1.0, label_smoothing=0.05)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Draw U(-b, b), b = √(6/(fan in + fan out))."""
        return ((draw(torch.rand, weight.shape, generator) * 2 - 1) * xavier_bound(weight)).to(weight)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: ternary_codes(checked(scores[name], name), self.threshold) for name in weights}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_multiple(weight, codes)
