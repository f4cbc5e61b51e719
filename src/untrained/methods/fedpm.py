"""FedPM's probabilistic masks: Bernoulli supermasks with another gradient, and a price on the mask's entropy.

    W_eff = W ⊙ m,   m ~ Bern(θ),   θ = σ(s)
    ∂L/∂s = W ⊙ θ · θ(1 - θ) ⊙ ∂L/∂W_eff               the authors' Bern passes θ·g back, and not g
    penalty = entropy · mean H(θ),   H(θ) = -θ log2 θ - (1 - θ) log2 (1 - θ), in bits

This is the client's part, without the averaging of masks on the server. Evaluated and saved is the likelier code.

Source: Isik, Pase, Gunduz, Weissman, Zorzi, "Sparse Random Networks for Communication-Efficient Federated Learning",
ICLR 2023, arXiv 2209.15328, and its authors' code for the gradient. The penalty on H(m)/n: Mestoukirdi et al. 2023,
arXiv 2309.10834, equation 3 in expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from untrained.methods.base import Tensors
from untrained.methods.masks import draw
from untrained.methods.recipe import STEADY, Paper, Recipe
from untrained.methods.sampling import BernoulliMask, sigmoid_slope
from untrained.weights.laws import SignedConstant


@final
@dataclass(frozen=True)
class FedPM(BernoulliMask):
    """FedPM's masks: Bern(σ(s)) with the gradient of its authors, and a price on entropy.

    Args:
        entropy: price of a bit of entropy per weight in the loss.

    Example:
        >>> model = ut.mask_(nn.Linear(3, 1), ut.FedPM(entropy=0.1), seed=0)
        >>> ut.penalty(model).ndim
        0
    """

    entropy: float = 0.0

    _limits: ClassVar = {"entropy": (0, math.inf)}
    paper = Paper(
        "Sparse Random Networks for Communication-Efficient Federated Learning",
        "2209.15328",
        Recipe("adam", lr=0.1, factor=STEADY),
        SignedConstant(nonlinearity="linear"),  # theirs are e times as large
        epochs=600,
        batch_size=128,
    )

    recipe = Recipe("adam", lr=0.3, warmup=1.0, label_smoothing=0.05)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        theta = draw(torch.rand, weight.shape, generator).clamp_(0.001, 0.999)
        return torch.logit(theta).to(weight)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight * torch.sigmoid(scores) * sigmoid_slope(scores)

    def penalty(self, weights: Tensors, scores: Tensors) -> Tensor | None:
        if not self.entropy:
            return None
        # H = softplus(s) - s·σ(s), in nats.
        nats = [(F.softplus(s) - s * torch.sigmoid(s)).sum() for s in scores.values()]
        return self.entropy / math.log(2) * torch.stack(nats).sum() / max(1, sum(s.numel() for s in scores.values()))
