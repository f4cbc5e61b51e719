"""The memory of tensors: its sha256, and tensors that share it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def sha256_of(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's elements, in C order."""
    flat = tensor.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy()).hexdigest()  # pyright: ignore[reportArgumentType]


def refuse_shared(tensors: Mapping[str, Tensor], only_read: Mapping[str, Tensor] | None = None) -> None:
    """Refuse tensors of which two elements, of two tensors or of one, lie in the same memory.

    Exact for every stride: the columns W[:, :4] and W[:, 4:] share none. Nor does a tensor without memory (on the meta
    device, without elements, of another layout than strided).

    Args:
        tensors: by name, a tied one under one name only.
        only_read: further ones that must share none with the first; among themselves they may.

    Raises:
        ValueError: it names both tensors, or the one that overlaps itself.
    """
    places = [place for name, tensor in tensors.items() if (place := _place(name, tensor, True)) is not None]
    for place in places:
        if 0 in place.strides:
            raise ValueError(_ITSELF.format(place.name))
    places += [place for name, t in (only_read or {}).items() if (place := _place(name, t, False)) is not None]
    for run in _runs(places):
        written = [place for place in run if place.written]
        if written and (len(run) > 1 or not _is_nested(run[0])):
            _refuse_overlaps(written, [place for place in run if not place.written])


_ITSELF = "elements of {!r} share memory (an expanded view, say): give it separate memory with clone()"
_EACH_OTHER = (
    "{!r} and {!r} share memory but are two tensors: register one tensor under both names, or give one of them memory "
    "of its own, with clone()"
)


class _Place(NamedTuple):
    """The bytes that the elements of one tensor take; axes of length 1 are left out."""

    name: str
    device: str
    start: int
    end: int
    item: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    written: bool


def _place(name: str, tensor: Tensor, written: bool) -> _Place | None:
    dense = tensor.layout == torch.strided and not tensor.is_nested
    if not dense or tensor.is_meta or not tensor.numel() or not (start := tensor.data_ptr()):
        return None
    item = tensor.element_size()
    axes = [(size, stride * item) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
    axes = [axis for axis in axes if axis[1] or written]
    end = start + item + sum((size - 1) * stride for size, stride in axes)
    sizes, strides = tuple(size for size, _ in axes), tuple(stride for _, stride in axes)
    return _Place(name, str(tensor.device), start, end, item, sizes, strides, written)


def _runs(places: list[_Place]) -> Iterator[list[_Place]]:
    """Yield the places whose ranges of memory overlap, run by run."""
    run, end = [], 0
    for place in sorted(places, key=lambda place: (place.device, place.start)):
        if run and (place.device != run[0].device or place.start >= end):
            yield run
            run, end = [], 0
        run.append(place)
        end = max(end, place.end)
    if run:
        yield run


def _is_nested(place: _Place) -> bool:
    """Return True if each axis steps over all that the axes of smaller strides reach: no two elements meet then."""
    reach = place.item
    for stride, size in sorted(zip(place.strides, place.sizes, strict=True)):
        if stride < reach:
            return False
        reach += (size - 1) * stride
    return True


def _refuse_overlaps(written: list[_Place], read: list[_Place]) -> None:
    """Mark each tensor on a map of the memory, and refuse one that meets a mark."""
    run = [*written, *read]
    first = min(place.start for place in run)
    unit = math.gcd(*(number for place in run for number in (place.start - first, place.item, *place.strides)))
    dtype = np.dtype(np.min_scalar_type(len(run)))
    taken = np.zeros((max(place.end for place in run) - first) // unit, dtype)
    for number, place in enumerate(run, 1):
        view = np.lib.stride_tricks.as_strided(
            taken[(place.start - first) // unit :],
            (*place.sizes, place.item // unit),
            tuple(stride // unit * dtype.itemsize for stride in (*place.strides, unit)),
        )
        if other := int(view.max()):
            raise ValueError(_EACH_OTHER.format(place.name, run[other - 1].name))
        if place.written:
            view[...] = number
            if not _is_nested(place) and np.count_nonzero(taken == number) < view.size:
                raise ValueError(_ITSELF.format(place.name))
