"""What is hashed of a ticket, and how: docs/format.md, "The three hashes"."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from untrained.header import dtype_name, to_json

_SAMPLE = 256


def of_file(head: Mapping[str, Any], stored: Mapping[str, Tensor]) -> str:
    """sha256 of the header (without its own sha256) and of every stored tensor with its name, dtype and shape."""
    digest = hashlib.sha256(to_json(head).encode())
    for name, tensor in sorted(stored.items()):
        shape = ",".join(map(str, tensor.shape))
        digest.update(f"\n{name} {dtype_name(tensor.dtype)} {shape}\n".encode())
        digest.update(_raw(tensor))
    return digest.hexdigest()


def of_weights(rebuilt: Iterable[tuple[str, Tensor]], *, sample_only: bool = False) -> tuple[str, str]:
    """sha256 of all elements of all tensors, and of at most 256 of each, evenly spread."""
    full, sample = hashlib.sha256(), hashlib.sha256()
    for name, tensor in rebuilt:
        flat = tensor.contiguous().reshape(-1)
        picked = torch.arange(min(_SAMPLE, len(flat))) * len(flat) // max(1, min(_SAMPLE, len(flat)))
        for digest, part in ((sample, flat[picked]), *([] if sample_only else [(full, flat)])):
            digest.update(f"\n{name}\n".encode())
            digest.update(_raw(part))
    return full.hexdigest(), sample.hexdigest()


def _raw(tensor: Tensor) -> Any:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()  # a buffer of the elements' bytes
