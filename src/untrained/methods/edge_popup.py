"""edge-popup: keep the edges with the highest scores, and let every edge's score learn, kept or not.

    W_eff = W ⊙ m,   m = 1 for the ⌈keep·n⌉ highest |s|, 0 elsewhere
    ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff                        straight through m

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted Neural Network?",
CVPR 2020, arXiv 1911.13299, section 3. The paper ranks by s; its authors' code ranks by |s|, and so do we by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from untrained.methods.base import Method
from untrained.methods.masks import (
    annealed,
    checked_keep,
    groups,
    mean_magnitude,
    share,
    top_codes,
    uniform_scores,
)
from untrained.methods.recipe import PAPER, Paper
from untrained.methods.schedules import Schedule
from untrained.methods.structure import Structure
from untrained.selection.straight_through import keep_top
from untrained.weights.laws import SignedConstant


@final
@dataclass(frozen=True)
class EdgePopup(Method):
    """edge-popup: keep the edges with the highest scores, and let every score learn.

    Args:
        keep: fraction of the weights kept, in (0, 1]; exactly ⌈keep·n⌉ of n; or a schedule, such as
            `Cubic(0.5, 0.05, until=0.5)`, whose last value is what is kept in the end.
        scope: "layer" keeps that fraction of every tensor, "global" of all of them ranked together, "normalised" too,
            but each tensor's scores divided by their mean absolute value first. At a low keep a schedule from a half
            down keeps layers from being cut before their scores have learnt anything (`keeping`).
        signed: rank by the score itself, as the paper writes it, instead of by its absolute value, as its code does.
            The gradient is then W ⊙ ∂L/∂W_eff.
        structure: patterns that the mask must have: `NofM(2, 4)` or `Block(32, 32)`; of every tensor alone.
    """

    keep: float | Schedule = 0.5
    scope: Literal["layer", "global", "normalised"] = "layer"
    signed: bool = False
    structure: Structure | None = None

    paper: ClassVar[Paper | None] = Paper(
        "What's Hidden in a Randomly Weighted Neural Network?", "1911.13299", PAPER, SignedConstant(), 100, 128
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keep", checked_keep(self.keep))
        if self.structure is not None:
            if self.structure.keep not in (None, self.keep):
                raise ValueError(f"keep must be {self.structure.keep:g} with {self.structure}, got {self.keep}")
            if self.together:
                raise ValueError(f"scope must be 'layer' with structure {self.structure}, got {self.scope!r}")

    @property
    def together(self) -> bool:
        return self.scope != "layer"

    @property
    def takes_keep(self) -> bool:
        return self.structure is None or self.structure.keep is None

    def keeping(self, keep: float) -> Self:
        if not self.takes_keep:
            return self
        return replace(self, keep=annealed(keep) if self.together else keep)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        scores = uniform_scores(weight, generator)
        if self.structure is None:
            return scores
        # Any draw of that size will do: a block's score starts as that of an edge does.
        shape = self.structure.score_shape(weight.shape)
        return scores.flatten()[: torch.Size(shape).numel()].reshape(shape)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.structure is None:
            return top_codes(self._ranked(scores), self.keep, together=self.together, signed=self.signed)
        return {
            name: self.structure.choose(scores[name], weight.shape, share(self.keep), signed=self.signed, name=name).to(
                torch.int8
            )
            for name, weight in weights.items()
        }

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight if self.signed else scores.sign() * weight

    def effective(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.structure is not None:
            spread = {name: self.structure.spread(scores[name], weight.shape) for name, weight in weights.items()}
            return self.through(weights, spread, self.codes(weights, scores))
        if self.scope == "normalised":
            return super().effective(weights, scores)
        effective = {}
        for group in groups(weights, self.together):
            frozen, ranked = [weights[name] for name in group], [scores[name] for name in group]
            kept = keep_top(frozen, ranked, share(self.keep), self.signed, group)
            effective |= dict(zip(group, kept, strict=True))
        return effective

    def _ranked(self, scores: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if self.scope != "normalised":
            return scores
        return {name: _normalised(score.detach()) for name, score in scores.items()}


def _normalised(scores: Tensor) -> Tensor:
    """s / mean|s|, in float64, where no two scores become one; a tensor of zeros as it is."""
    mean = mean_magnitude(scores)
    return scores.double() / torch.where(mean > 0, mean, 1.0)
