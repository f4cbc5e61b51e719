"""The narrowest dtype that holds every value of a tensor exactly, for tensors that a ticket stores whole."""

from __future__ import annotations

import torch
from torch import Tensor

_FLOATS = (torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float32)
_INTEGERS = (torch.int8, torch.int16, torch.int32)
_NARROWER = dict.fromkeys((torch.float64, torch.float32, torch.float16, torch.bfloat16), _FLOATS)
_NARROWER |= dict.fromkeys((torch.int64, torch.int32, torch.int16), _INTEGERS)


def narrower(dtype: torch.dtype) -> tuple[torch.dtype, ...]:
    """Return the dtypes that a tensor of this one may be narrowed to, in the order in which they are tried."""
    return tuple(each for each in _NARROWER.get(dtype, ()) if each.itemsize < dtype.itemsize)


def narrowed(tensor: Tensor) -> Tensor:
    """Return a tensor in the first narrower dtype that gives back its bits, all finite; itself where there is none."""
    for dtype in narrower(tensor.dtype):
        narrow = tensor.to(dtype)
        if bool(torch.isfinite(narrow.float()).all()) and torch.equal(_bits(narrow.to(tensor.dtype)), _bits(tensor)):
            return narrow
    return tensor


def widened(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a narrowed tensor in its own dtype.

    Raises:
        ValueError: the dtypes do not go together, or it holds an infinity or a NaN.
    """
    if tensor.dtype == dtype:
        return tensor
    if tensor.dtype not in narrower(dtype):
        raise ValueError(f"{tensor.dtype} is not a narrow {dtype}")
    if not bool(torch.isfinite(tensor.float()).all()):
        raise ValueError("its narrow values are not all finite")
    return tensor.to(dtype)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
