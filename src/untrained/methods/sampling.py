"""Functions and a base class of methods that sample: noise that a recomputed region gets again, Bernoulli masks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from untrained.methods.base import Method, Tensors
from untrained.selection.topk import checked


@torch.library.custom_op("untrained::noise", mutates_args=())
def _draw_noise(noise: Tensor, shape: Sequence[int], like: Tensor, name: str, normal: bool) -> Tensor:
    digest = hashlib.sha256(f"noise/{int(noise)}/{name}".encode()).digest()
    generator = torch.Generator(like.device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    if normal:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=like.device)
    # Half a unit above 0, so that neither its logarithm nor that of 1 - u is infinite.
    drawn = torch.rand(shape, generator=generator, dtype=torch.float32, device=like.device)
    return drawn.clamp_(2.0**-25, 1 - 2.0**-24)


@_draw_noise.register_fake
def _(noise: Tensor, shape: Sequence[int], like: Tensor, name: str, normal: bool) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.float32, device=like.device)


def uniform_noise(noise: Tensor, like: Tensor, name: str) -> Tensor:
    """Draw U(0, 1), float32 of the shape and on the device of `like`, from the noise and the tensor's name alone."""
    return _draw_noise(noise, list(like.shape), like.detach(), name, False)


def normal_noise(noise: Tensor, like: Tensor, name: str) -> Tensor:
    """Draw N(0, 1), as `uniform_noise`."""
    return _draw_noise(noise, list(like.shape), like.detach(), name, True)


def sigmoid_slope(scores: Tensor) -> Tensor:
    """Return σ'(s) = σ(s)·(1 - σ(s))."""
    theta = torch.sigmoid(scores)
    return theta * (1 - theta)


class BernoulliMask(Method):
    """Mask whose elements are Bern(σ(s)) while training, and the likelier of 0 and 1 (1 where σ(s) ≥ ½) otherwise."""

    samples = True

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return {name: (checked(scores[name], name) >= 0).to(torch.int8) for name in weights}

    def sampled_codes(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        chances = {name: torch.sigmoid(checked(scores[name], name)) for name in weights}
        return {n: (uniform_noise(noise, scores[n], n) < chance).to(torch.int8) for n, chance in chances.items()}
