"""Relaxed Bernoulli gates: gates between 0 and 1 that the loss reaches without a straight-through step.

    training:   W_eff = W ⊙ z,   z = min(1, max(0, z̃))
        "gaussian":  z̃ = s + ½ + ε,   ε ~ N(0, width²)
        "concrete":  z̃ = 1.2·σ((ln u - ln(1 - u) + s)/width) - 0.1,   u ~ U(0, 1)
    penalty = sparsity · mean P(z > 0):   Φ((s + ½)/width), or σ(s - width·ln(0.1/1.1))
    evaluated, and saved:  z = 1 where s > 0, 0 elsewhere: the gate without noise, rounded

There is no paper's recipe here: of the paper only the abstract was available.

The gradient is that of the formulas, 0 where a gate is clipped. The gradient of the rounded gate is that of the gate
without noise. The fraction kept follows from the price `sparsity`.

Source: Tsayag, Lindenbaum 2026, arXiv 2603.08914 (frozen random weights; read in its abstract only); gaussian gates:
Yamada et al. 2020, arXiv 1810.04247; hard concrete gates: Louizos et al. 2018, arXiv 1712.01312, equations 10-12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import current, draw
from untrained.methods.recipe import Recipe
from untrained.methods.sampling import normal_noise, sigmoid_slope, uniform_noise
from untrained.methods.schedules import Schedule
from untrained.selection.topk import checked

_LOW, _SPAN = -0.1, 1.2


@final
@dataclass(frozen=True)
class RelaxedBernoulli(Method):
    """Relaxed Bernoulli gates (gaussian or hard concrete): differentiable gates with a price on every open one.

    Args:
        gate: "gaussian" or "concrete".
        sparsity: price in the loss of all gates being open; or a schedule.
        width: the temperature of concrete gates, the standard deviation of gaussian ones.

    Example:
        >>> model = ut.mask_(nn.Linear(3, 1), ut.RelaxedBernoulli(sparsity=0.1), seed=0)
        >>> 0 < ut.penalty(model).item() < 0.1
        True
    """

    gate: Literal["gaussian", "concrete"] = "gaussian"
    sparsity: float | Schedule = 0.0
    width: float = 0.5

    recipe = Recipe("adam", lr=0.1, warmup=1.0, label_smoothing=0.05)
    samples = True
    _limits: ClassVar = {"sparsity": (0, math.inf), "width": (1e-3, math.inf)}

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Draw N(0, 0.01²): gates half open, and no two alike."""
        return (0.01 * draw(torch.randn, weight.shape, generator)).to(weight)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: (checked(scores[name], name) > 0).to(torch.int8) for name in weights}

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        """Return the slope of the gate without noise."""
        inside = (self._stretch(scores, 0.0) - 0.5).abs() < 0.5
        gate = sigmoid_slope(scores / self.width) * _SPAN / self.width if self.gate == "concrete" else 1.0
        return weight * gate * inside

    def sampled(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        effective = {}
        for name, weight in weights.items():
            like = checked(scores[name], name)
            if self.gate == "gaussian":
                drawn = self.width * normal_noise(noise, like, name)
            else:
                drawn = torch.logit(uniform_noise(noise, like, name))
            effective[name] = weight * self._stretch(scores[name], drawn.to(like.dtype)).clamp(0, 1)
        return effective

    def penalty(self, weights: Tensors, scores: Tensors) -> Tensor | None:
        price = current(self.sparsity)
        if not price:
            return None
        size = max(1, sum(s.numel() for s in scores.values()))
        return price * torch.stack([self._open_chance(s).sum() for s in scores.values()]).sum() / size

    def _stretch(self, scores: Tensor, noise: Tensor | float) -> Tensor:
        """Return the gate before it is clipped; with noise 0 its median."""
        if self.gate == "gaussian":
            return scores + 0.5 + noise
        return torch.sigmoid((scores + noise) / self.width) * _SPAN + _LOW

    def _open_chance(self, scores: Tensor) -> Tensor:
        """Return P(z > 0)."""
        if self.gate == "gaussian":
            return torch.special.ndtr((scores + 0.5) / self.width)
        return torch.sigmoid(scores - self.width * math.log(-_LOW / (_SPAN + _LOW)))
