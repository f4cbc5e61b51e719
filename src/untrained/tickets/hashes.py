"""The three hashes of a ticket; see docs/format.md, "The three hashes"."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from untrained.tickets.header import dtype_name, to_json

_SAMPLE = 256


def of_file(head: Mapping[str, Any], stored: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the header without this hash, and of each stored tensor with its name, dtype and shape."""
    digest = hashlib.sha256(to_json(head).encode())
    for name, tensor in sorted(stored.items()):
        shape = ",".join(map(str, tensor.shape))
        digest.update(f"\n{name} {dtype_name(tensor.dtype)} {shape}\n".encode())
        digest.update(_raw(tensor))
    return digest.hexdigest()


def of_weights(rebuilt: Iterable[tuple[str, Tensor]]) -> tuple[str, str]:
    """Return the sha256 of all elements of all tensors, and that of their samples."""
    full, sample = hashlib.sha256(), hashlib.sha256()
    for name, tensor in rebuilt:
        flat = tensor.contiguous().reshape(-1)
        for digest, part in ((full, flat), (sample, flat[places(len(flat))])):
            digest.update(f"\n{name}\n".encode())
            digest.update(_raw(part))
    return full.hexdigest(), sample.hexdigest()


def of_samples(samples: Iterable[tuple[str, Tensor]]) -> str:
    """Return the second hash of `of_weights`, from the elements at `places` of each tensor alone."""
    digest = hashlib.sha256()
    for name, sample in samples:
        digest.update(f"\n{name}\n".encode())
        digest.update(_raw(sample))
    return digest.hexdigest()


def places(n: int) -> Tensor:
    """Return the places of the sample of n elements: at most 256, evenly spread; int64."""
    most = min(_SAMPLE, n)
    return torch.from_numpy(np.arange(most, dtype=np.int64) * n // max(1, most))


def _raw(tensor: Tensor) -> Any:
    flat = tensor.contiguous().as_strided((tensor.numel(),), (1,))  # a single element may have any stride
    return flat.view(torch.uint8).numpy()  # a buffer of the elements' bytes
