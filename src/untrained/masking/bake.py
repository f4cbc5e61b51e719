"""Conversion of masked models to plain ones, in place or as a copy, and one choice for many forward passes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from untrained.masking.mask import record
from untrained.masking.masked_class import base_and_leaves, end_pass

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def bake_(model: Model) -> Model:
    """Make a masked model plain again, in place: every masked tensor becomes its effective weight, frozen.

    Returns:
        The model itself, without scores and with the classes that it had before `mask_`.

    Raises:
        ValueError: the model is not masked, or a score is NaN.

    Example:
        >>> model = ut.bake_(ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=0.25)))
        >>> int((model.weight != 0).sum())
        8
    """
    effective: dict[str, Tensor] = {}
    for group in record(model).groups:
        group.check_handed_out()
        effective |= {n: nn.Parameter(t.detach(), requires_grad=False) for n, t in group.choose().items()}
    for module in list(model.modules()):
        base, leaves = base_and_leaves(module)
        if base is not type(module):
            object.__setattr__(module, "__class__", base)
        for leaf in leaves:
            state = module._modules.pop(leaf + "_mask")
            module._parameters[leaf] = effective[state.name]  # pyright: ignore
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
    del model._untrained
    return model


@contextlib.contextmanager
def baked(model: Model) -> Iterator[Model]:
    """Yield a plain dense copy of a masked model, in the mode it is in, to evaluate at full speed.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
        TypeError: an attribute of the model cannot be copied; the message names it.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=0.25))
        >>> with ut.baked(model) as plain:
        ...     type(plain).__name__, int((plain.weight != 0).sum())
        ('Linear', 8)
    """
    # The copy needs effective weights, but no frozen weights and scores.
    memo: dict[int, Any] = {id(t): t for state in record(model).states for t in (state.frozen, state.scores)}
    for module in model.modules():
        # Activations that the model keeps: torch copies leaves only.
        memo |= {id(t): t.detach() for t in _tensors_in(vars(module), set()) if not t.is_leaf}
    try:
        twin = copy.deepcopy(model, dict(memo))
    except Exception as error:
        raise _copy_error(model, memo) or error from None
    yield bake_(twin)


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in nested containers, without those of submodules."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(item, seen)


def _copy_error(model: nn.Module, memo: Mapping[int, Any]) -> TypeError | None:
    """Return an error that names the attribute of a model that cannot be copied."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            try:
                copy.deepcopy(value if name != "_modules" else None, dict(memo))
            except Exception as error:
                return TypeError(
                    f"{name!r} of {path or 'the model'!r} ({type(module).__name__}) cannot be copied: {error}; "
                    "evaluate needs no copy, and bake_ works in place"
                )
    return None


@contextlib.contextmanager
def one_choice(model: nn.Module) -> Iterator[None]:
    """Choose once for many forward passes without gradients, and restore the model and its buffers afterwards.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    masked = record(model)
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    there = {b for _, its in buffers for b in its.values() if b is not None and not b.is_inference()}
    values = [(b, b._version, b.detach().clone()) for b in there]
    try:
        with torch.no_grad():
            for group in masked.groups:
                group.check_handed_out()
                chosen = group.choose()
                for state in group.states:
                    state._in_forward, state._computed = True, (False, chosen[state.name])
        yield
    finally:
        end_pass(masked.states)
        with torch.no_grad():
            for module, its in buffers:
                module._buffers.update(its)
            for buffer, version, value in values:
                if buffer._version != version:
                    buffer.copy_(value)
