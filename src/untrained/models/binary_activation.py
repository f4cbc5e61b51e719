"""Activations of one bit."""

from typing import final

import torch
from torch import Tensor, nn


@final
class BinaryActivation(nn.Module):
    """The sign of the input, exactly ±1, with a clipped straight-through gradient.

    y = +1 where x ≥ 0 (-0.0 too), -1 where x < 0; ∂L/∂x = ∂L/∂y where |x| ≤ 1, 0 elsewhere. NaN stays NaN, so that
    a diverged search is detected. The output has the shape and dtype of the input.

    Source: Diffenderfer & Kailkhura 2021, arXiv 2103.09377 (multi-prize tickets MPT-1/1); the gradient is that of
    Hubara et al. 2016, arXiv 1602.02830.

    Example:
        >>> ut.models.BinaryActivation()(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.,  1.,  1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        clipped = torch.clamp(x, -1, 1)
        # The difference is exactly 0, or NaN, and is there for its gradient.
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype) + (clipped - clipped.detach())
