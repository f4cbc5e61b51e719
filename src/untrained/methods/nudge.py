"""Nudges: move each frozen weight by a small whole number of steps, or build it from that number alone.

    around "weight":  W_eff = W + c·δ        around "zero":  W_eff = c·δ
    c = clamp(round(S/δ), -L, L) ∈ {-L … L},   δ = step/√(fan in)
    ∂L/∂S = ∂L/∂W_eff                                   straight through the rounding

The latent scores S start at u·δ·127/256 around the weight, so that every c is 0 and the network is the random one, and
at u·max(1, step)/√(fan in) around zero, u ~ U(-1, 1). Nothing is ranked.

δ has 16 significant bits. So c·δ is exact in float32, and W + c·δ is rounded once, with or without a fused
multiply-add: every compiler and device gives the same bits.

It is hardly a supermask: around zero it is training with 2L + 1 levels, quantised from the start, from a random network
that costs no bytes; around the weight the codes are the small difference to such a network. Ada-Sup and multicoated
supermasks are near: their whole numbers multiply W instead of being added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import decode_mask, uniform_scores
from untrained.methods.recipe import Recipe
from untrained.native import choice as kernels
from untrained.selection.straight_through import is_traced, is_transformed
from untrained.selection.topk import checked
from untrained.weights.laws import Standard, fans


@final
@dataclass(frozen=True)
class Nudge(Method):
    """Nudge: the random weight plus a whole number of steps, W + c·step/√(fan in) with c in -L … L.

    Codes are c + L + 1 around the weight, where nothing is dropped (a padding row has code 0), and c around zero, where
    W is not used. Tensors need two or more dimensions, also inside another method.

    Args:
        step: size of a step in units of 1/√(fan in), 0.001 to 1000.
        levels: L, the most steps in each direction, 1 to 63.
        around: start from the random "weight", or from "zero".

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.Nudge(step=1, levels=1, around="zero"), seed=0)
        >>> [f"{value:.3f}" for value in model.weight.unique().tolist()]
        ['-0.100', '0.000', '0.100']
    """

    step: float = 2.0
    levels: int = 3
    around: Literal["weight", "zero"] = "weight"

    law = Standard()
    _limits: ClassVar = {"step": (1e-3, 1e3), "levels": (1, 63)}

    @property
    def recipe(self) -> Recipe:  # pyright: ignore[reportIncompatibleVariableOverride]
        decay = 1e-4 if self.around == "zero" else 0.0
        return Recipe("sgd", lr=0.2, momentum=0.9, weight_decay=decay, warmup=1.0, label_smoothing=0.05)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        # Around the weight a little less than a half step, so that no score of bfloat16 is rounded up to one.
        width = max(1.0, self.step) if self.around == "zero" else self.step * 127 / 256
        return uniform_scores(weight, generator) * width

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: self._round(checked(scores[name], name), weight) for name, weight in weights.items()}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        exact, step = torch.promote_types(weight.dtype, torch.float32), step_size(self.step, weight.shape)
        moves = codes.to(exact) - self._centre
        if self.around == "zero":
            return (moves * step).to(weight.dtype)
        return decode_mask(torch.add(weight.to(exact), moves, alpha=step).to(weight.dtype), codes)

    def effective(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        if is_transformed() or is_traced(*weights.values(), *scores.values()):
            return super().effective(weights, scores)
        if not torch.is_grad_enabled():
            return {name: self.move(weight, scores[name], name) for name, weight in weights.items()}
        return {name: _Move.apply(self, weight, scores[name], name) for name, weight in weights.items()}  # pyright: ignore

    def move(self, weight: Tensor, scores: Tensor, name: str) -> Tensor:
        """Return `decode(weight, codes)` of these scores; the codes are not stored between."""
        step, scores = step_size(self.step, weight.shape), scores.detach()
        frozen = weight if self.around == "weight" else None
        if weight.dtype == torch.float32 and (out := kernels.nudge(frozen, scores, step, self.levels)) is not None:
            return out
        moves = self._count_moves(scores, step)
        if torch.isnan(moves.sum()):
            checked(scores, name)  # raises
        # In place: fresh memory costs more than the arithmetic. Adding 0 makes +0 of -0.
        moves = moves.to(torch.promote_types(weight.dtype, torch.float32)).mul_(step).add_(0.0)
        return (moves if frozen is None else moves.add_(frozen)).to(weight.dtype)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        return scores.new_ones(())

    @property
    def _centre(self) -> int:
        """The code of a weight that is not moved."""
        return self.levels + 1 if self.around == "weight" else 0

    def _round(self, scores: Tensor, weight: Tensor) -> Tensor:
        return (self._count_moves(scores, step_size(self.step, weight.shape)) + self._centre).to(torch.int8)

    def _count_moves(self, scores: Tensor, step: float) -> Tensor:
        # By a product, as compilers for GPUs do not round quotients exactly; in float32 whatever the scores are.
        return (scores.to(torch.float32) * (1 / step)).round_().clamp(-self.levels, self.levels)


class _Move(torch.autograd.Function):
    """Straight-through estimator of slope 1: the gradient passes as it is, without a copy."""

    @staticmethod
    def forward(ctx, method: Nudge, weight: Tensor, scores: Tensor, name: str) -> Tensor:  # pyright: ignore
        return method.move(weight, scores, name)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore
        return None, None, grad, None


def step_size(step: float, shape: Sequence[int]) -> float:
    """Return step/√(fan in), rounded to 16 significant bits."""
    fraction, exponent = math.frexp(step / math.sqrt(max(1, fans(shape)[0])))
    return math.ldexp(round(fraction * 2**16), exponent - 16)


# As torch.compiler.assume_constant_result does, which would import torch._dynamo: two seconds.
step_size._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
