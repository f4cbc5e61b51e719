"""Threshold masks: a weight is kept while its score is above a fixed threshold, however many that are.

    W_eff = W ⊙ [s > τ]                                 or, ternary, W ⊙ sign(s)·[|s| > τ]
    ∂L/∂s = W ⊙ ∂L/∂W_eff                               straight through the threshold

Piggyback: τ = 5·10⁻³, s = 10⁻² at first, so that everything is kept, on a pretrained network (`mask_(…,
weights=None)`). SupSup's learned masks for tasks without labels are the same with τ = 0 and random first scores:
`Threshold(threshold=0.0, start=None)`. The ternary variant turns a weight round where the score is below -τ.

Source: Mallya, Davis, Lazebnik, "Piggyback", ECCV 2018, arXiv 1801.06519, section 3; Wortsman et al., "Supermasks in
Superposition", NeurIPS 2020, arXiv 2006.14769, appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import decode_multiple, ternary_codes, uniform_scores
from untrained.methods.recipe import Paper, Recipe
from untrained.methods.schedules import Geometric
from untrained.selection.topk import checked


@final
@dataclass(frozen=True)
class Threshold(Method):
    """Threshold mask (Piggyback, SupSup): keep a weight while its score is above τ.

    Args:
        threshold: τ.
        ternary: keep where |s| > τ, with the sign of the score: codes -1, 0, 1.
        start: the first score of every weight; None: U(-b, b), b = 1/√(fan in), as edge-popup.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.Threshold(), seed=0, weights=None)
        >>> bool(ut.masks(model)["weight"].all())  # at first everything is kept
        True
    """

    threshold: float = 5e-3
    ternary: bool = False
    start: float | None = 1e-2

    _limits: ClassVar = {"threshold": (0, math.inf), "start": (-1e4, 1e4)}
    paper = Paper(
        "Piggyback: Adapting a Single Network to Multiple Tasks by Learning to Mask Weights",
        "1801.06519",
        Recipe("adam", lr=1e-4, factor=Geometric(1.0, 0.1, steps=1, until=0.5)),
        None,  # those of a pretrained network
        epochs=30,
        batch_size=32,
    )

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        if self.start is None:
            return uniform_scores(weight, generator)
        return torch.full_like(weight, self.start)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        codes = {name: ternary_codes(checked(scores[name], name), self.threshold) for name in weights}
        return codes if self.ternary else {name: code.clamp(min=0) for name, code in codes.items()}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_multiple(weight, codes)
