"""Slot machines: every connection has K random values and learns which one to use.

    W_eff = W_j,   j = argmax_k s_k (greedy)            or, while training, j ~ softmax(s) (probabilistic)
    ∂L/∂s_k = W_k ⊙ ∂L/∂W_eff                           straight through, to every value's score

No weight is dropped: code j ∈ 1 … K is the number of the value, and costs log2 K bits. The values are draws 0 … K - 1
of the law.

Source: Aladago, Torresani, "Slot Machines: Discovering Winning Combinations of Random Weights in Neural Networks",
ICML 2021, arXiv 2101.06475, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.methods.masks import draw, xavier_bound
from untrained.methods.recipe import STEADY, Paper, Recipe
from untrained.methods.sampling import uniform_noise
from untrained.selection.topk import checked
from untrained.weights.laws import XavierUniform
from untrained.weights.source import Source


@final
@dataclass(frozen=True)
class SlotMachines(Method):
    """Slot machines: one of K frozen values per connection; codes 1 … K.

    Args:
        values: K, from 2 to 127.
        greedy: use the value of the highest score; else draw it from softmax(s) while training.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.SlotMachines(values=4), seed=0)
        >>> ut.scores(model)[0].shape, int((model.weight == 0).sum())
        (torch.Size([4, 10, 100]), 0)
    """

    values: int = 8
    greedy: bool = True

    law = XavierUniform()
    _limits: ClassVar = {"values": (2, 127)}

    @property
    def paper(self) -> Paper:  # pyright: ignore[reportIncompatibleVariableOverride]
        title = "Slot Machines: Discovering Winning Combinations of Random Weights in Neural Networks"
        learnt = Recipe("sgd", lr=0.1 if self.greedy else 50.0, momentum=0.9, factor=STEADY)
        return Paper(title, "2101.06475", learnt, XavierUniform(), 120 if self.greedy else 160, 128)

    @property
    def recipe(self) -> Recipe:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.greedy:
            return Recipe("sgd", lr=2.0, momentum=0.9, warmup=1.0, label_smoothing=0.05)
        return Recipe("adam", lr=1.0, warmup=1.0, label_smoothing=0.05)

    @property
    def samples(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.greedy

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Draw U(0, b), b = √(6/(fan in + fan out)), of shape (K, *shape)."""
        return (draw(torch.rand, (self.values, *weight.shape), generator) * xavier_bound(weight)).to(weight)

    @property
    def planes(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.values

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        return torch.stack([source.draw(number) for number in range(self.values)])

    def shown(self, source: Source, codes: Tensor) -> Tensor:
        if codes.numel() and not 1 <= int(codes.min()) <= int(codes.max()) <= self.values:
            given = f"{int(codes.min())} … {int(codes.max())}"
            raise ValueError(f"the codes of {source.name!r} must be in 1 … {self.values}, got {given}")
        return source.draw_each(codes.view(torch.uint8) - 1)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: _find_highest(checked(scores[name], name)) for name in weights}

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        shown = weight[0].clone()
        for number in range(1, self.values):
            shown = torch.where(codes == number + 1, weight[number], shown)
        return shown

    def sampled_codes(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        return {name: _sample(checked(scores[name], name), noise, name) for name in weights}


def _find_highest(scores: Tensor) -> Tensor:
    """Return 1 + the lowest index of the highest along the first axis; plane by plane, far faster than argmax."""
    best, codes = scores[0], torch.ones(scores.shape[1:], dtype=torch.int8, device=scores.device)
    for number in range(1, len(scores)):
        codes = torch.where(scores[number] > best, number + 1, codes)
        best = torch.maximum(best, scores[number])
    return codes.to(torch.int8)


def _sample(scores: Tensor, noise: Tensor, name: str) -> Tensor:
    """Return 1 + j with probability softmax(s)_j: the number of cumulative probabilities below a uniform number."""
    chances = torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), 0)
    uniform = uniform_noise(noise, scores[0], name)
    codes, passed = torch.ones_like(uniform), torch.zeros_like(uniform)
    for chance in chances[:-1]:
        passed = passed + chance
        codes = codes + (uniform >= passed)
    return codes.to(torch.int8)
