"""Checks of a classifier's inputs, logits and labels, which raise a ValueError, and its loss."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrained.data.splits import describe_form

IGNORED = -100  # cross_entropy's ignore_index: such a label is neither learnt from nor counted


def iterate_pairs(batches: Iterable[Any], device: torch.device) -> Iterator[tuple[Any, Tensor]]:
    """Yield the (inputs, labels) of every batch, moved to the device."""
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(f"a batch must be a pair (inputs, labels), got {form_of(batch)}")
        x, y = batch
        if not hasattr(x, "to") or not isinstance(y, Tensor) or y.dim() == 0:
            raise ValueError(f"a batch must be a pair of tensors (inputs, labels), got {form_of(x)} and {form_of(y)}")
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def compute_outputs(model: nn.Module, x: Any) -> Tensor:
    """Return a model's outputs: a float tensor, or the `logits` of what it gives."""
    try:
        outputs = model(x)
    except (ValueError, RuntimeError) as error:
        if (reason := _explain(model, x, str(error))) is None:
            raise
        raise ValueError(reason) from error
    return outputs_of(outputs)


def outputs_of(outputs: Any) -> Tensor:
    """Return what a model gives as a float tensor: itself, or its `logits`."""
    if not isinstance(outputs, Tensor) and isinstance(logits := getattr(outputs, "logits", None), Tensor):
        outputs = logits  # of transformers
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.dim() < 1:
        raise ValueError(f"outputs or logits must be a float tensor (batch, ...), got {form_of(outputs)}")
    return outputs


def match_labels(logits: Tensor, y: Tensor) -> Tensor:
    """Return labels as int64, one per prediction: (batch,), or (batch, ...) for logits (batch, classes, ...)."""
    if logits.dim() < 2:
        raise ValueError(f"logits must be a float tensor (batch, classes), got {form_of(logits)}")
    if logits.shape[1] < 2:
        raise ValueError(f"logits must have at least two classes, got {tuple(logits.shape)}")
    expected = (logits.shape[0], *logits.shape[2:])
    if y.shape != expected or y.is_floating_point() or y.is_complex():
        raise ValueError(f"labels must be integers {expected} for logits {tuple(logits.shape)}, got {form_of(y)}")
    return y.long()


def cross_entropy(logits: Tensor, y: Tensor, **options: Any) -> Tensor:
    """Return torch's cross entropy, or 0 if every label is ignored; on the CPU labels out of range are refused."""
    some = (y != IGNORED).any()
    try:
        return F.cross_entropy(logits, torch.where(some, y, 0), **options) * some
    except IndexError:
        low, high = map(int, y[y != IGNORED].aminmax())
        raise ValueError(
            f"labels must be in 0..{logits.shape[1] - 1}, or {IGNORED} to be ignored, got {low}..{high}"
        ) from None


def count_right(logits: Tensor, y: Tensor) -> Tensor:
    """Return the number of right answers and of labels that count, float64 (2,)."""
    return torch.stack([(logits.argmax(1) == y).sum(), (y != IGNORED).sum()]).double()


def _explain(model: nn.Module, x: Any, message: str) -> str | None:
    """Return a plainer message than that of torch; None: keep that of torch."""
    if "more than 1 value per channel" in message:
        return (
            "a norm layer needs more than one value per channel while it learns, and a batch has one example: "
            "choose another batch size, or leave a last batch of one out (drop_last=True of a DataLoader)"
        )
    weight = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    if isinstance(x, Tensor) and x.dtype != weight and "type" in message:
        return f"inputs must be {weight} as the weights are, got {form_of(x)}: {message.splitlines()[0]}"
    return None


def form_of(value: object) -> str:
    """Return dtype and shape of a tensor, or the type of another value."""
    if isinstance(value, Tensor):
        return describe_form(value)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
