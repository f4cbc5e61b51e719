"""Merging of tasks: union, intersection or majority of their masks as the ticket of a new task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from untrained.bank.live import Live
from untrained.bank.overlap import count_ones
from untrained.bank.task import Task
from untrained.masking.masked_class import tensors_of
from untrained.methods.edge_popup import EdgePopup
from untrained.selection.topk import keep_of
from untrained.tickets import hashes
from untrained.tickets.codec import Bits, Codes
from untrained.tickets.header import TensorEntry
from untrained.tickets.ticket import Ticket

How = Literal["union", "intersection", "majority"]
Calibrate = Callable[[nn.Module], object]


@torch.no_grad()
def merge(live: Live, tasks: Sequence[Task], how: How, calibrate: Calibrate | None) -> Ticket:
    """Return the ticket of several tasks merged; see `Bank.merge`.

    Raises:
        ValueError: there are not two tasks or more, each once; the rule is unknown; or tensors do not go together, the
            first of which is named.
    """
    names = [task.name for task in tasks]
    if len(names) < 2 or len({*names}) < len(names):
        raise ValueError(f"a merge needs two different tasks or more, got {names}")
    if how not in ("union", "intersection", "majority"):
        raise ValueError(f"how must be 'union', 'intersection' or 'majority', got {how!r}")
    parts = [task.ticket() for task in tasks]
    first, held, tensors = parts[0], {}, {}
    for name in sorted({each for part in parts for each in (*part.tensors, *part.extra)}):
        entries = [task.tensors.get(name) for task in tasks]
        entry = entries[0]
        if entry is None:
            if any(name not in part.extra for part in parts):
                raise ValueError(f"{name!r} must be each task's own, or none's")
        elif all(name in task.bits for task in tasks):
            tensors[name], held[name] = _merge_masks(name, entry, tasks, how)
        elif any(each != entry for each in entries) or not _same_codes(name, tasks, parts):
            raise ValueError(
                f"{name!r} cannot be merged: it is no mask, and not the same, in all of {', '.join(names)}"
            )
        else:
            tensors[name] = entry
            if name in first.codes:
                held[name] = first.codes[name], entry.shape
    shared = {key: value for key, value in first.meta.items() if all(part.meta.get(key) == value for part in parts)}
    shared.pop("accuracy", None)  # that of another network
    merged = replace(
        first,
        tensors=tensors,
        codes=Codes(held),
        extra={name: _mean(name, [part.extra[name] for part in parts]) for name in first.extra},
        built_by=first.built_by if all(part.built_by == first.built_by for part in parts) else None,
        meta={**shared, "merged": {"how": how, "tasks": names}},
    )
    full, sample = hashes.of_weights(merged.rebuilt(tensors_of(live.fresh())))
    merged = replace(merged, weights_sha256=full, sample_sha256=sample)
    return merged if calibrate is None else _calibrated(merged, live.fitted(merged), calibrate)


def _merge_masks(
    name: str, entry: TensorEntry, tasks: Sequence[Task], how: How
) -> tuple[TensorEntry, tuple[Bits, tuple[int, ...]]]:
    masks, n = [task.bits[name] for task in tasks], torch.Size(entry.shape).numel()
    if all(task.tensors[name] == entry and np.array_equal(task.bits[name], masks[0]) for task in tasks):
        return entry, (Bits(masks[0], n), entry.shape)
    if how == "majority":
        count = sum(np.unpackbits(mask, count=n, bitorder="little").astype(np.int32) for mask in masks)
        bits = np.packbits(2 * np.asarray(count) > len(masks), bitorder="little")
    else:
        bits = (np.bitwise_or if how == "union" else np.bitwise_and).reduce(masks)
    kept = count_ones(bits)
    if n and not kept:
        raise ValueError(f"the {how} keeps no weight of {name!r}")
    # Of the methods whose codes are masks the one that says how many weights are kept.
    method = EdgePopup(keep=keep_of(kept, n) if n else 1.0)
    return replace(entry, method=method), (Bits(bits, n), entry.shape)


def _same_codes(name: str, tasks: Sequence[Task], parts: Sequence[Ticket]) -> bool:
    """Return True if a tensor that is no mask has the same codes in all tasks; they may depend on the seed."""
    first = tasks[0].others.get(name)
    if first is None:
        return True
    seeds = {part.seed for part in parts}
    return len(seeds) == 1 and all(torch.equal(first, task.others[name]) for task in tasks[1:])


def _mean(name: str, values: Sequence[Tensor]) -> Tensor:
    """Return the mean of floating tensors, the largest of whole numbers (such as numbers of batches)."""
    first = values[0]
    if any(each.shape != first.shape or each.dtype != first.dtype for each in values):
        sizes = " and ".join(sorted({str(tuple(each.shape)) for each in values}))
        raise ValueError(f"{name!r} must be of one size and type in all tasks, got {sizes}")
    if all(torch.equal(first, each) for each in values[1:]):
        return first
    if first.is_complex() or first.is_floating_point():
        wide = torch.complex128 if first.is_complex() else torch.float64
        return torch.stack([each.to(wide) for each in values]).mean(0).to(first.dtype)
    return torch.stack([each.to(torch.int64) for each in values]).amax(0).to(first.dtype)


def _calibrated(ticket: Ticket, model: nn.Module, calibrate: Calibrate) -> Ticket:
    """Return the ticket with its own tensors as `calibrate` leaves them in its network."""
    with torch.enable_grad():
        calibrate(model.eval())
    found = {name: tensor.detach().cpu().clone() for name, tensor in tensors_of(model).items() if name in ticket.extra}
    for name, before in ticket.extra.items():
        if name not in found or (found[name].shape, found[name].dtype) != (before.shape, before.dtype):
            raise ValueError(f"calibrate must leave {name!r} of shape {tuple(before.shape)} and {before.dtype}")
    return replace(ticket, extra=found)
