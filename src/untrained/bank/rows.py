"""Rows of a batch whose tasks are different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def gather(outputs: Mapping[str, Tensor], groups: Mapping[str, Sequence[int]], rows: int) -> Tensor:
    """Return the outputs of all groups in the order of the rows.

    Raises:
        ValueError: they are no tensors with a row for each input, or not of one shape.
    """
    for name, its in groups.items():
        given = outputs[name]
        if not isinstance(given, Tensor) or not given.ndim or len(given) != len(its):
            got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise ValueError(f"a batch of several tasks needs a network that returns a tensor of rows, got {got}")
    first = next(iter(outputs.values()))
    shapes = {tuple(each.shape[1:]) for each in outputs.values()}
    if len(shapes) == 1:
        out = first.new_empty(rows, *first.shape[1:])
    elif all(len(shape) == 1 for shape in shapes) and first.is_floating_point():
        out = first.new_full((rows, max(shape[0] for shape in shapes)), -torch.inf)
    else:
        raise ValueError(f"the outputs of one batch must be of one shape, or rows of classes, got {sorted(shapes)}")
    for name, its in groups.items():
        index = torch.tensor(its, device=out.device)
        if len(shapes) == 1:
            out = out.index_copy(0, index, outputs[name])
        else:
            out[index, : outputs[name].shape[1]] = outputs[name]
    return out
