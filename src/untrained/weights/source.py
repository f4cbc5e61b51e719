"""Sources of the frozen values of tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from untrained.weights.laws import WeightLaw, chunks
from untrained.weights.random import uniforms


class Shaped(Protocol):
    """A tensor, or a description of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> torch.dtype: ...


@final
@dataclass(frozen=True)
class Source:
    """The source of one tensor's frozen values: its seed, name, shape and law, or a pretrained tensor.

    Attributes:
        seed: of all draws.
        name: the tensor's name in its model.
        shape: its shape.
        dtype: the drawn values are rounded to it.
        law: their distribution, or None for those of a pretrained model.
        keep: fraction of the weights that will be kept; used only by `scaled` laws.
        pretrained: the model's values where there is no law.

    Example:
        >>> ut.Source(0, "fc.weight", (1, 2), torch.float16, ut.UnsignedConstant()).draw()
        tensor([[1., 1.]], dtype=torch.float16)
    """

    seed: int
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    law: WeightLaw | None
    keep: float = 1.0
    pretrained: Tensor | None = None

    @staticmethod
    def of(like: Shaped, name: str, *, seed: int, law: WeightLaw | None, keep: float | None) -> Source:
        """Return the source of a tensor like this one; without a law its present values; keep None keeps all."""
        own = like if law is None and isinstance(like, Tensor) else None
        return Source(seed, name, tuple(like.shape), like.dtype, law, 1.0 if keep is None else keep, own)

    def draw(self, number: int = 0) -> Tensor:
        """Draw `number` of the weights, or the pretrained ones, of which there is only one.

        Raises:
            ValueError: another draw of pretrained weights was asked for.
        """
        if self.law is not None:
            drawn = self.law.draw(self.shape, seed=self.seed, name=self.name, keep=self.keep, number=number)
            return drawn.to(self.dtype)
        if number or self.pretrained is None:
            raise self._redraw_error()
        return self.pretrained.detach()

    def draw_each(self, numbers: Tensor) -> Tensor:
        """Draw each weight from a given draw: element i is that of `draw(numbers[i])`.

        Args:
            numbers: uint8, of the weights' shape, on the CPU.

        Raises:
            ValueError: the weights are pretrained ones.
        """
        if self.law is None:
            raise self._redraw_error()
        return self.law.draw_each(numbers, seed=self.seed, name=self.name, keep=self.keep).to(self.dtype)

    def _redraw_error(self) -> ValueError:
        return ValueError(f"{self.name!r} has pretrained weights (weights=None), which cannot be drawn again")

    def uniforms(self, purpose: str) -> Tensor:
        """Draw U(-1, 1) for another purpose than weights: the units of a tensor named NAME#purpose, float32."""
        out = np.empty(math.prod(self.shape), np.float32)
        for block, part in chunks(len(out), 4):
            uniforms(self.seed, f"{self.name}#{purpose}", block, out[part], np.float32(1))
        return torch.from_numpy(out).reshape(self.shape)
