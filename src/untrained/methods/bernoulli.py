"""Bernoulli supermasks: every weight has a probability to be kept, and the probabilities learn.

    W_eff = W ⊙ m · r,   m ~ Bern(σ(s)),   r = n/Σm if rescaled, else 1
    ∂L/∂s = W ⊙ σ'(s) · r ⊙ ∂L/∂W_eff                 straight through the sample; r counts as a constant

A new mask is drawn in every forward pass of training; evaluated and saved is the likelier code of each weight, 1 where
σ(s) ≥ ½. (The authors sample when they evaluate, too.) There is no target sparsity: the fraction kept is learned.

The learning rates of 100 and more in the authors' code are no misprint: σ'(s) ≤ ¼ and |W| ≈ 1/√(fan in) make the
gradient that small, and s must travel several units before σ(s) is near 0 or 1.

Source: Zhou, Lan, Liu, Yosinski, "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask", NeurIPS 2019,
arXiv 1905.01067, section 5 (dynamic weight rescaling in 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.masks import decode_mask, round_to
from untrained.methods.recipe import STEADY, Paper, Recipe
from untrained.methods.sampling import BernoulliMask, sigmoid_slope
from untrained.weights.laws import XavierConstant


@final
@dataclass(frozen=True)
class Bernoulli(BernoulliMask):
    """Bernoulli supermask: each weight is kept with a learned probability σ(s).

    Args:
        rescale: dynamic weight rescaling: multiply the kept weights by n/Σm.
        start: the first score of every weight; 0 is a probability of one half.

    Example:
        >>> model = ut.mask_(ut.models.fc((30, 10)), ut.Bernoulli(start=-1.0), seed=0)
        >>> sum(int(mask.sum()) for mask in ut.masks(model).values())
        0
    """

    rescale: bool = True
    start: float = 0.0

    _limits: ClassVar = {"start": (-1e4, 1e4)}
    paper = Paper(
        "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask",
        "1905.01067",
        Recipe("sgd", lr=100.0, momentum=0.9, factor=STEADY),
        XavierConstant(),
        epochs=2000,
        batch_size=250,
    )
    recipe = Recipe("adam", lr=1.0, warmup=1.0, label_smoothing=0.05)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return torch.full_like(weight, self.start)

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_mask(weight * self._factor(weight, codes), codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight * self._factor(weight, codes) * sigmoid_slope(scores)

    def _factor(self, weight: Tensor, codes: Tensor) -> Tensor:
        """Return r, rounded once to the weight's dtype."""
        if not self.rescale:
            return weight.new_ones(())
        # One division of two float64 tensors: a number by a tensor would be rounded twice.
        kept = (codes != 0).sum().clamp(min=1).double()
        return round_to(torch.full_like(kept, codes.numel()) / kept, weight.dtype)
