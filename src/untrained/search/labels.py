"""Batches of a classifier: what may go in, what may come out, and which labels count."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100  # what cross_entropy ignores: such a label is neither learnt from nor counted


def pairs(batches: Iterable[Any], device: torch.device) -> Iterator[tuple[Any, Tensor]]:
    """Go through batches of (inputs, labels), moved to the device.

    Raises:
        ValueError: a batch is no such pair.
    """
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(f"a batch must be a pair (inputs, labels), got {_form(batch)}")
        x, y = batch
        if not hasattr(x, "to") or not isinstance(y, Tensor) or y.dim() == 0:
            raise ValueError(f"a batch must be a pair of tensors (inputs, labels), got {_form(x)} and {_form(y)}")
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def logits_of(model: nn.Module, x: Any) -> Tensor:
    """Run a classifier.

    Raises:
        ValueError: it does not take these inputs, or gives no logits (batch, classes) or (batch, classes, ...).
    """
    try:
        logits = model(x)
    except (ValueError, RuntimeError) as error:
        if (reason := _reason(model, x, str(error))) is None:
            raise
        raise ValueError(reason) from error
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.dim() < 2:
        raise ValueError(f"the network gives {_form(logits)}, expected a float tensor of logits (batch, classes)")
    if logits.shape[1] < 2:
        raise ValueError(f"the network gives logits {tuple(logits.shape)} of one class, expected at least two classes")
    return logits


def labels_for(logits: Tensor, y: Tensor) -> Tensor:
    """Labels as int64, one for every prediction: (batch,), or (batch, ...) for logits (batch, classes, ...).

    Raises:
        ValueError: they are no whole numbers, or of another shape.
    """
    expected = (logits.shape[0], *logits.shape[2:])
    if y.shape != expected or y.is_floating_point() or y.is_complex():
        raise ValueError(
            f"labels of {_form(y)} do not go with logits {tuple(logits.shape)}: "
            f"expected class numbers of shape {expected}"
        )
    return y.long()


def cross_entropy(logits: Tensor, y: Tensor, **how: Any) -> Tensor:
    """Take torch's cross entropy, which is 0 where every label is ignored.

    Raises:
        ValueError: a label is out of range (on the CPU, where torch looks).
    """
    some = (y != IGNORED).any()
    try:
        return F.cross_entropy(logits, torch.where(some, y, 0), **how) * some
    except IndexError:
        low, high = y[y != IGNORED].aminmax()
        raise ValueError(
            f"labels must be in 0..{logits.shape[1] - 1} (or {IGNORED}, which is not counted), "
            f"got {int(low)}..{int(high)}"
        ) from None


def tally(logits: Tensor, y: Tensor) -> Tensor:
    """Count the right answers and the labels that count, float64 (2,)."""
    return torch.stack([(logits.argmax(1) == y).sum(), (y != IGNORED).sum()]).double()


def _reason(model: nn.Module, x: Any, says: str) -> str | None:
    """What an error of torch's means, where a sentence of torch's own does not say it."""
    if "more than 1 value per channel" in says:
        return (
            "a norm layer needs more than one value per channel while it learns, and a batch has one example: "
            "choose another batch size, or leave a last batch of one out (drop_last=True of a DataLoader)"
        )
    weight = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    if isinstance(x, Tensor) and x.dtype != weight and "type" in says:
        return f"the network's weights are {_kind(weight)} and do not take inputs of {_form(x)}: {says.splitlines()[0]}"
    return None


def _form(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{_kind(value.dtype)} {tuple(value.shape)}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
