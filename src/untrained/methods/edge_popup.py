"""edge-popup: keep the edges with the highest scores, and let every edge's score learn, kept or not.

    W_eff = W ⊙ m,   m = 1 for the ⌈keep·n⌉ highest |s|, 0 elsewhere
    ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff                        straight through m

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted Neural Network?",
CVPR 2020, arXiv 1911.13299, section 3. The paper ranks by s; its authors' code ranks by |s|, and so do we by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from untrained.methods.base import Method
from untrained.methods.masks import decode_mask, groups, top_codes, uniform_scores
from untrained.select import SEPARATOR, keep_count, keep_top

Scope = Literal["layer", "global"]


@final
@dataclass(frozen=True)
class EdgePopup(Method):
    """edge-popup: keep the edges with the highest scores, and let every score learn.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n.
        scope: "layer" keeps that fraction of every tensor, "global" of all of them ranked together.
        signed: rank by the score itself, as the paper writes it, instead of by its absolute value, as its code does.
            The gradient is then W ⊙ ∂L/∂W_eff.
    """

    keep: float = 0.5
    scope: Scope = "layer"
    signed: bool = False

    def __post_init__(self) -> None:
        keep_count(self.keep, 1)
        object.__setattr__(self, "keep", float(self.keep))
        if self.scope not in ("layer", "global"):
            raise ValueError(f"scope must be 'layer' or 'global', got {self.scope!r}")

    @property
    def together(self) -> bool:
        return self.scope == "global"

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return top_codes(scores, self.keep, together=self.together, signed=self.signed)

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_mask(weight, codes)

    def effective(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        effective = {}
        for group in groups(weights, self.together):
            frozen, ranked = [weights[name] for name in group], [scores[name] for name in group]
            kept = keep_top(frozen, ranked, self.keep, self.signed, SEPARATOR.join(group))
            effective |= dict(zip(group, kept, strict=True))
        return effective
