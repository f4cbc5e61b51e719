"""Multicoated supermasks: several nested masks laid over one another, so that the best edges count several times.

    W_eff = W ⊙ M,   M = Σ_i m_i ∈ {0 … N},   m_i = [|s| ≥ τ_i],   τ_1 ≤ τ_2 ≤ … ≤ τ_N
    ∂L/∂s = N · sign(s) ⊙ W ⊙ ∂L/∂W_eff                the sum over the coats, straight through each

The first coat keeps the ⌈keep·n⌉ highest |s|. The others are
* "linear": at equal distances in |s| between the lowest and the highest score kept, so that few edges have many coats;
* "uniform": of equal ratios, coat i keeping keep·(N + 1 - i)/N of the weights, exactly.

Source: Okoshi et al., "Multicoated Supermasks Enhance Hidden Networks", ICML 2022, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import current, decode_mask, decode_multiple, draw
from untrained.methods.recipe import PAPER, Paper, Recipe
from untrained.methods.schedules import Schedule
from untrained.selection.topk import keep_of, top
from untrained.weights.laws import SignedConstant, fans


@final
@dataclass(frozen=True)
class Multicoated(Method):
    """Multicoated supermask: N nested masks added up; codes 0 … N.

    Args:
        keep: fraction of the weights that the first coat keeps, in (0, 1]; exactly ⌈keep·n⌉ of n; or a schedule.
        coats: N, from 1 (edge-popup) to 127.
        spacing: rule by which the further coats shrink, "linear" or "uniform".

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.Multicoated(keep=0.4, coats=2, spacing="uniform"), seed=0)
        >>> model.weight.abs().unique(return_counts=True)[1]
        tensor([600, 200, 200])
    """

    keep: float | Schedule = 0.5
    coats: int = 3
    spacing: Literal["linear", "uniform"] = "linear"

    law = SignedConstant(scaled=True)
    paper = Paper(
        "Multicoated Supermasks Enhance Hidden Networks",
        "PMLR 162 (ICML 2022)",
        PAPER,
        SignedConstant(scaled=True),
        epochs=100,
        batch_size=128,
    )
    recipe = Recipe("sgd", lr=0.5, momentum=0.9, warmup=1.0, label_smoothing=0.05)
    _limits: ClassVar = {"coats": (1, 127)}

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """N(0, 2/(fan out)), as the authors."""
        drawn = draw(torch.randn, weight.shape, generator)
        return (drawn * math.sqrt(2 / max(1, fans(weight.shape)[1]))).to(weight)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: self._coats(scores[name].detach(), name) for name in weights}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        return decode_multiple(weight, codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return self.coats * scores.sign() * weight

    def _coats(self, scores: Tensor, name: str) -> Tensor:
        keep = current(self.keep)
        (first,) = top([scores], keep, names=[name])
        if self.spacing == "uniform":
            inner = [top([scores], ratio, names=[name])[0] for ratio in _ratios(keep, self.coats, scores.numel())]
            return torch.stack([first, *inner]).sum(0).to(torch.int8)
        if not scores.numel():
            return first.to(torch.int8)
        size = scores.abs().to(torch.promote_types(scores.dtype, torch.float32))
        below = size.max() - size
        width = decode_mask(below, first).max()
        # At the highest score 0 would be one coat too many.
        missing = (below * self.coats / torch.where(width > 0, width, 1.0)).ceil().clamp(1, self.coats)
        return decode_mask(self.coats + 1 - missing, first).to(torch.int8)


def _ratios(keep: float, coats: int, n: int) -> list[float]:
    """Return the `keep` with which `top` gives coat i + 1 exactly ⌈keep·(N - i)/N·n⌉ of n, i = 1 … N - 1."""
    ratios = (Fraction(repr(keep)) * (coats - coat) / coats for coat in range(1, coats))
    return [keep_of(max(1, math.ceil(ratio * n)), max(1, n)) for ratio in ratios]


# As torch.compiler.assume_constant_result does, which would import torch._dynamo: two seconds.
_ratios._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
