"""Kernels of a bank's masks, eight elements a byte, on tensors; where there is none, plain torch."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p

import numpy as np
import torch
from torch import Tensor

from untrained.native.choice import usable
from untrained.native.library import library


def place_masked(bits: np.ndarray, weight: Tensor, out: Tensor) -> None:
    """Write the weight where a bit is set, and +0 elsewhere, into `out`.

    Args:
        bits: uint8; bit i mod 8 of byte ⌊i/8⌋ is that of element i in C order.
        weight: of any shape.
        out: of the same shape, dtype and device.
    """
    kernels = library()
    if kernels is None or not usable(weight, out):
        mask = unpack(bits, weight)
        out.copy_(torch.where(mask, weight, torch.zeros((), dtype=weight.dtype, device=weight.device)))
        return
    kernels.place_masked(_at(bits), _at(weight), c_int64(out.numel()), _at(out))
    torch.autograd.graph.increment_version(out)


def mix_masks(bits: Sequence[np.ndarray], shares: Sequence[float], weight: Tensor) -> Tensor:
    """Return the weight under a mixture of masks: W ⊙ Σᵢ shareᵢ·mᵢ, a fresh tensor; sums of float32 in this order.

    Args:
        bits: the masks, as in `place_masked`.
        shares: a number for each.
        weight: W.
    """
    kernels, numbers = library(), np.array(shares, np.float32)
    if kernels is None or not usable(weight):
        sums = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        for mask, share in zip(bits, numbers.tolist(), strict=True):
            sums += unpack(mask, weight).to(torch.float32) * share
        return weight * sums.to(weight.dtype)
    out = torch.empty_like(weight)
    sizes = c_int64(len(bits)), _at(weight), c_int64(out.numel())
    kernels.mix_masks(_each(bits), _at(numbers), *sizes, _at(out))
    return out


def project_masks(bits: Sequence[np.ndarray], products: Tensor) -> Tensor:
    """Return the sum of the products under each mask: Σⱼ productⱼ·mᵢⱼ, float64 on the CPU.

    Args:
        bits: the masks, as in `place_masked`.
        products: a number for each element of a mask, of any shape.
    """
    kernels = library()
    if kernels is None or not usable(products):
        return torch.stack([(unpack(mask, products) * products).sum(dtype=torch.float64).cpu() for mask in bits])
    sums = torch.empty(len(bits), dtype=torch.float64, device="cpu")
    kernels.project_masks(_each(bits), c_int64(len(bits)), _at(products), c_int64(products.numel()), _at(sums))
    return sums


def project_rows(bits: Sequence[np.ndarray], products: Tensor) -> Tensor:
    """Return the sum of the products of each row under each mask, float64 (masks, rows) on the CPU.

    Args:
        bits: the masks, as in `place_masked`.
        products: (rows, columns), a number for each element of a mask.
    """
    kernels = library()
    if kernels is None or not usable(products):
        return torch.stack([(unpack(mask, products) * products).sum(1, dtype=torch.float64).cpu() for mask in bits])
    sums = torch.zeros(len(bits), len(products), dtype=torch.float64, device="cpu")
    sizes = c_int64(len(bits)), _at(products), *map(c_int64, products.shape)
    if products.numel():
        kernels.project_rows(_each(bits), *sizes, _at(sums))
    return sums


def unpack(bits: np.ndarray, like: Tensor) -> Tensor:
    """Return a mask as bool, of a tensor's shape and on its device."""
    flat = torch.from_numpy(np.unpackbits(bits, count=like.numel(), bitorder="little").view(np.bool_))
    return flat.reshape(like.shape).to(like.device)


def _at(data: np.ndarray | Tensor) -> c_void_p:
    return c_void_p(data.data_ptr() if isinstance(data, Tensor) else data.ctypes.data)


def _each(bits: Sequence[np.ndarray]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(bits))(*(mask.ctypes.data for mask in bits))
