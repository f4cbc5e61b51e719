"""FedPM's probabilistic masks: Bernoulli supermasks with another gradient, and a price on the mask's entropy.

    W_eff = W ⊙ m,   m ~ Bern(θ),   θ = σ(s)
    ∂L/∂s = W ⊙ θ · θ(1 - θ) ⊙ ∂L/∂W_eff               the authors' Bern passes θ·g back, and not g
    penalty = entropy · mean H(θ),   H(θ) = -θ log2 θ - (1 - θ) log2 (1 - θ), in bits

What one client does; the server's averaging of masks is another matter. Evaluated and saved is the likelier code.

Source: Isik, Pase, Gunduz, Weissman, Zorzi, "Sparse Random Networks for Communication-Efficient Federated Learning",
ICLR 2023, arXiv 2209.15328, and its authors' code for the gradient. The penalty on H(m)/n: Mestoukirdi et al. 2023,
arXiv 2309.10834, equation 3 in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from untrained.methods.base import Method
from untrained.methods.masks import checked_number
from untrained.methods.recipe import STEADY, Paper, Recipe
from untrained.methods.sampling import likely_codes, sampled_codes, sigmoid_slope
from untrained.weights.laws import SignedConstant


@final
@dataclass(frozen=True)
class FedPM(Method):
    """FedPM's masks: Bern(σ(s)) with the gradient of its authors, and a price on entropy if you like.

    Args:
        entropy: what a bit of entropy per weight costs in the loss.
    """

    entropy: float = 0.0

    paper: ClassVar[Paper | None] = Paper(
        "Sparse Random Networks for Communication-Efficient Federated Learning",
        "2209.15328",
        Recipe("adam", lr=0.1, factor=STEADY),
        SignedConstant(nonlinearity="linear"),  # theirs are e times as large
        epochs=600,
        batch_size=128,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number("entropy", self.entropy, 0)

    @property
    def recipe(self) -> Recipe:
        return Recipe("adam", lr=0.3, warmup=1.0, label_smoothing=0.05)

    @property
    def samples(self) -> bool:
        return True

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        theta = torch.rand(weight.shape, generator=generator, dtype=torch.float32, device="cpu").clamp_(0.001, 0.999)
        return torch.logit(theta).to(weight)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: likely_codes(scores[name], name) for name in weights}

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight * torch.sigmoid(scores) * sigmoid_slope(scores)

    def sampled_codes(
        self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor
    ) -> dict[str, Tensor]:
        return {name: sampled_codes(scores[name], noise, name) for name in weights}

    def penalty(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> Tensor | None:
        if not self.entropy:
            return None
        # H = softplus(s) - s·σ(s), in nats.
        nats = [(F.softplus(s) - s * torch.sigmoid(s)).sum() for s in scores.values()]
        return self.entropy / math.log(2) * torch.stack(nats).sum() / max(1, sum(s.numel() for s in scores.values()))
