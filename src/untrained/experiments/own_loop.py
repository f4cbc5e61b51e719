"""A training loop that a user brings in the place of `fit`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import torch
from torch import nn

from untrained.masking.mask import is_masked, record
from untrained.methods.base import Method
from untrained.search.evaluation import find_device
from untrained.search.history import History

# What a loop is given by name, where it has such a parameter: arguments of `fit`, and two of the comparison.
OF_FIT = "val epochs seed recipe amp loss metric out resume meta title".split()
OFFERED = *OF_FIT, "method", "settings"


@final
class _Counted:
    """Training batches that count how many are taken; all else is that of the batches."""

    def __init__(self, batches: Any) -> None:
        self.batches, self.taken = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            self.taken += 1
            yield batch

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self).get("batches"), name)


def check_loop(loop: Any) -> None:
    """Raise a ValueError unless a loop can be called as `run` does."""
    if not callable(loop) or isinstance(loop, nn.Module | type):
        raise ValueError(f"loop must be a function (model, train, ...) that trains a masked model, got {loop!r}")
    try:
        inspect.signature(loop).bind(None, None, **_chosen(loop, dict.fromkeys(OFFERED)))
    except TypeError as error:
        named = ", ".join(OFFERED)
        raise ValueError(f"loop: {error}; it is called with model and train, and by name with {named}") from None


def run(
    loop: Callable[..., Any], model: nn.Module, train: Any, seed: int, offered: Mapping[str, Any]
) -> tuple[nn.Module, float, int | None]:
    """Return the masked model that a loop has trained, the seconds, and its passes over the data; None if it took none.

    What it draws from torch's generator follows from the seed. A pass is as many batches as there are, rounded. A
    ValueError is raised if it returns another model, or leaves a schedule before its end.
    """
    batches, begin = _Counted(train), time.perf_counter()
    with torch.random.fork_rng([device] if (device := find_device(model)).type == "cuda" else []):
        torch.manual_seed(seed)
        result = loop(model, batches, **_chosen(loop, offered))
    seconds = time.perf_counter() - begin
    if isinstance(result, nn.Module):
        if not is_masked(result):
            raise ValueError(
                f"loop must return the masked model, a copy or nothing, got a plain {type(result).__name__}"
            )
        model = result
    for group in record(model).groups:
        method = group.planned
        moves = method.at(0.0) != method.at(1.0) or type(method).stepped is not Method.stepped
        if moves and group.step != group.steps:
            done = f"and has done {group.step} of {group.steps} steps for {method}"
            raise ValueError(f"loop must call ut.advance_(model, step, steps) after every step, {done}")
    if isinstance(result, History):
        return model, sum(result.column("seconds")), len(result.rows)
    return model, seconds, max(1, round(batches.taken / len(train))) if batches.taken else None


def _chosen(loop: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that a loop has a parameter for after the first two; with `**options` all of `fit`, too."""
    parameters = inspect.signature(loop).parameters
    rest = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    named = {*parameters, *(OF_FIT if rest else ())} - {*list(parameters)[:2]}
    return {name: value for name, value in offered.items() if name in named}
