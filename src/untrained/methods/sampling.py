"""What methods that sample share: noise that a recomputed region meets again, Bernoulli masks, their likely code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from untrained.selection.topk import checked


@torch.library.custom_op("untrained::noise", mutates_args=())
def _drawn(noise: Tensor, shape: Sequence[int], like: Tensor, name: str, normal: bool) -> Tensor:
    digest = hashlib.sha256(f"noise/{int(noise)}/{name}".encode()).digest()
    generator = torch.Generator(like.device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    if normal:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=like.device)
    # Half a unit above 0, so that neither its logarithm nor that of 1 - u is infinite.
    drawn = torch.rand(shape, generator=generator, dtype=torch.float32, device=like.device)
    return drawn.clamp_(2.0**-25, 1 - 2.0**-24)


@_drawn.register_fake
def _(noise: Tensor, shape: Sequence[int], like: Tensor, name: str, normal: bool) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.float32, device=like.device)


def uniform_noise(noise: Tensor, like: Tensor, name: str) -> Tensor:
    """U(0, 1), float32 of the shape and on the device of `like`: a pure function of the noise and the tensor's name."""
    return _drawn(noise, list(like.shape), like.detach(), name, False)


def normal_noise(noise: Tensor, like: Tensor, name: str) -> Tensor:
    """N(0, 1), as `uniform_noise`."""
    return _drawn(noise, list(like.shape), like.detach(), name, True)


def likely_codes(scores: Tensor, name: str) -> Tensor:
    """1 where σ(s) ≥ ½, 0 elsewhere: the likelier code of a Bernoulli mask.

    Raises:
        ValueError: a score is NaN.
    """
    return (checked(scores, name) >= 0).to(torch.int8)


def sampled_codes(scores: Tensor, noise: Tensor, name: str) -> Tensor:
    """One sample of Bern(σ(s)): 1 where u < σ(s).

    Raises:
        ValueError: a score is NaN.
    """
    return (uniform_noise(noise, scores, name) < torch.sigmoid(checked(scores, name))).to(torch.int8)


def sigmoid_slope(scores: Tensor) -> Tensor:
    """σ'(s) = σ(s)·(1 - σ(s))."""
    theta = torch.sigmoid(scores)
    return theta * (1 - theta)
