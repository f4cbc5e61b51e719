"""Loading of masked ±σ weights directly into the model's memory, without a buffer.

A weight ±σ is a bit, its mask is a bit, and each element can be drawn alone. So the sample by which a ticket is
checked is drawn first, and then all elements in place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from torch import Tensor, nn

from untrained.methods import Method
from untrained.tickets.codec import mask_bits
from untrained.weights.laws import WeightLaw, chunks
from untrained.weights.random import masked_signs, masked_signs_at, signs
from untrained.weights.source import Source


@final
@dataclass(frozen=True)
class DirectLoad:
    """Tensor that is `source.draw()` where a bit is set, and +0 elsewhere.

    Attributes:
        source: draws ±σ in float32.
        law: its law.
        bits: the mask, uint8: bit i mod 8 of byte ⌊i/8⌋ is that of element i in C order.
    """

    source: Source
    law: WeightLaw
    bits: np.ndarray

    @classmethod
    def of(cls, source: Source, method: Method | None, codes: Mapping[str, Tensor], out: Tensor) -> Self | None:
        """Return the loading of a method's codes into `out`, or None if it needs a buffer.

        Applies to methods that override neither `frozen` nor `decode`.
        """
        law = source.law
        if method is None or (type(method).frozen, type(method).decode) != (Method.frozen, Method.decode):
            return None
        if law is None or law.units() is not signs or source.dtype != torch.float32 or not _is_plain(out):
            return None
        bits = mask_bits(codes, source.name)
        return cls(source, law, bits) if len(bits) == math.ceil(out.numel() / 8) else None

    def at(self, places: Tensor) -> Tensor:
        """Return the elements at these places (int64, in C order)."""
        source = self.source
        drawn = masked_signs_at(source.seed, source.name, 0, places.numpy(), self._scale, self.bits)
        return torch.from_numpy(drawn)

    def write_(self, out: Tensor) -> None:
        """Write all elements into `out`: of the source's shape, float32, on the CPU, in C order."""
        flat, scale = out.detach().numpy().reshape(-1), self._scale
        for block, part in chunks(len(flat), 128):
            masked_signs(self.source.seed, self.source.name, block, flat[part], scale, self.bits[16 * block :])
        torch.autograd.graph.increment_version(out)  # autograd must not use the tensor as one that it saved

    @property
    def _scale(self) -> np.float32:
        return self.law.magnitude(self.source.shape, self.source.keep)


def _is_plain(tensor: Tensor) -> bool:
    """Return True for a plain tensor in memory on the CPU, in C order."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and tensor.is_contiguous()
        and not tensor.is_inference()
        and tensor.data_ptr() != 0
    )
