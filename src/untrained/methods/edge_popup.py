"""edge-popup: keep the edges with the highest scores, and let every edge's score learn, kept or not.

    W_eff = W ⊙ m,   m = 1 for the ⌈keep·n⌉ highest |s|, 0 elsewhere
    ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff                        straight through m

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted Neural Network?",
CVPR 2020, arXiv 1911.13299, section 3. The paper ranks by s; its authors' code ranks by |s|, the default here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import anneal, current, groups, mean_magnitude, top_codes, uniform_scores
from untrained.methods.recipe import PAPER, SCORES, Paper, Recipe
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
            `Cubic(0.5, 0.05, until=0.5)`, whose last value is the fraction kept in the end.
        scope: "layer" keeps that fraction of every tensor, "global" of all of them ranked together, "normalised" too,
            but each tensor's scores divided by their mean absolute value first. At a low keep a schedule from a half
            down keeps layers from being cut before their scores have learnt anything (`keeping`).
        signed: rank by the score itself, as the paper writes it, instead of by its absolute value, as its code does.
            The gradient is then W ⊙ ∂L/∂W_eff.
        structure: patterns that the mask must have: `NofM(2, 4)` or `Block(32, 32)`; of every tensor alone.

    Example:
        >>> model = ut.mask_(ut.models.fc((300, 100)), ut.EdgePopup(keep=0.1, scope="global"), seed=0)
        >>> sum(int(mask.sum()) for mask in ut.masks(model).values())
        26620
    """

    keep: float | Schedule = 0.5
    scope: Literal["layer", "global", "normalised"] = "layer"
    signed: bool = False
    structure: Structure | None = None

    paper = Paper(
        "What's Hidden in a Randomly Weighted Neural Network?", "1911.13299", PAPER, SignedConstant(), 100, 128
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.structure is not None:
            if self.structure.keep not in (None, self.keep):
                raise ValueError(f"keep must be {self.structure.keep:g} with {self.structure}, got {self.keep}")
            if self.together:
                raise ValueError(f'scope must be "layer" with {self.structure}, got "{self.scope}"')

    @property
    def recipe(self) -> Recipe:  # pyright: ignore[reportIncompatibleVariableOverride]
        return replace(SCORES, lr=4.0) if self.signed else SCORES

    @property
    def together(self) -> bool:
        return self.scope != "layer"

    @property
    def takes_keep(self) -> bool:
        return self.structure is None or self.structure.keep is None

    def keeping(self, keep: float) -> Self:
        if not self.takes_keep:
            return self
        return replace(self, keep=anneal(keep) if self.together else keep)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        scores = uniform_scores(weight, generator)
        if self.structure is None:
            return scores
        # Any draw of that size is right: a block's score starts like that of an edge.
        shape = self.structure.score_shape(weight.shape)
        return scores.flatten()[: torch.Size(shape).numel()].reshape(shape)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        if self.structure is None:
            return top_codes(self._rank_scores(scores), self.keep, together=self.together, signed=self.signed)
        codes = {}
        for name, weight in weights.items():
            keep = current(self.keep)
            mask = self.structure.choose(scores[name], weight.shape, keep, signed=self.signed, name=name)
            codes[name] = mask.to(torch.int8)
        return codes

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return weight if self.signed else scores.sign() * weight

    def effective(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        if self.structure is not None:
            spread = {name: self.structure.spread(scores[name], weight.shape) for name, weight in weights.items()}
            return self.through(weights, spread, self.codes(weights, scores))
        if self.scope == "normalised":
            return super().effective(weights, scores)
        effective = {}
        for group in groups(weights, self.together):
            frozen, ranked = [weights[name] for name in group], [scores[name] for name in group]
            kept = keep_top(frozen, ranked, current(self.keep), self.signed, group)
            effective |= dict(zip(group, kept, strict=True))
        return effective

    def _rank_scores(self, scores: Tensors) -> Tensors:
        if self.scope != "normalised":
            return scores
        return {name: _normalise(score.detach()) for name, score in scores.items()}


def _normalise(scores: Tensor) -> Tensor:
    """Return s / mean|s|, in float64, where no two scores become equal; a tensor of zeros unchanged."""
    mean = mean_magnitude(scores)
    return scores.double() / torch.where(mean > 0, mean, 1.0)
