"""Masking of any nn.Module: `mask_` applies a method, `scores` and `masks` read its state."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from untrained.masking.plan import Plan, Where
from untrained.masking.state import MaskState, Record
from untrained.methods.base import Method
from untrained.weights.laws import WeightLaw, check_seed

Model = TypeVar("Model", bound=nn.Module)


def mask_(
    model: Model,
    method: Method | Mapping[str, Method],
    *,
    seed: int = 0,
    weights: WeightLaw | Literal["recommended"] | None = "recommended",
    where: Where | None = None,
    also_train: Where | None = None,
) -> Model:
    """Redraw a model's weights from the seed, freeze it, and give its weights scores to learn; in place.

    Weight matrices are masked: the weights of torch's layers, and elsewhere floating-point parameters with two or more
    axes longer than 1 that are no bias and no norm's scale; of a parametrized weight the original. Other matrices are
    drawn whole, biases become 0, scales of torch's norms 1, running statistics start anew, and everything else stays
    as it was, frozen; with `weights=None` everything does. An embedding's padding row stays 0. `ut.summary` lists the
    treatment of every tensor. `module.weight` is computed from now on: a write into it has no effect.

    Args:
        model: any nn.Module that is not masked yet.
        method: the method of all masked tensors, or {regular expression: method}: the first that matches a whole name
            is used. Equal methods are one; with scope "global" they rank their tensors together.
        seed: the seed of the weights and the first scores, 0 ≤ seed < 2⁶⁴.
        weights: the law of the frozen weights, "recommended" for `method.law`, or None for those of the model. Fans are
            counted from the shape alone, as torch does: stacked experts get a smaller scale than each would alone.
        where: a regular expression for the whole name, or a function of (name, parameter): the tensors to mask. What a
            regular expression spells out is masked if it has two or more dimensions. Default: all weight matrices.
        also_train: parameters that learn as usual, given in the same ways; a ticket stores them whole.

    Returns:
        The model itself.

    Raises:
        ValueError: no tensor matched, the model is masked already, or a tensor cannot be masked. It is unchanged then.

    Warns:
        UserWarning: a tensor of a matrix's shape is not masked, for a reason that is easily missed.

    Example:
        >>> model = ut.mask_(ut.models.fc((300, 100)), ut.EdgePopup(keep=0.5), seed=0)
        >>> len(ut.scores(model))
        3

    Source: Ramanujan et al. 2019, section 3 (no biases, norm without scale and shift, weights never trained).
    """
    seed = check_seed(seed)
    refuse_masked(model)
    plan = Plan.of(model, method, seed, weights, where, also_train)
    first_scores = _draw_scores(plan)
    plan.warn()
    _apply_(model, plan, first_scores)
    return model


def refuse_masked(model: nn.Module) -> None:
    """Raise a ValueError if the model is masked, or a part of it, or if it is compiled."""
    compiler = sys.modules.get("torch._dynamo")  # it takes seconds to import, and a compiled model has loaded it
    if compiler is not None and isinstance(model, compiler.OptimizedModule):
        raise ValueError("the model is compiled already: mask it first, then compile the result of mask_")
    if any(isinstance(module, MaskState) for module in model.modules()):
        raise ValueError("the model is masked already; bake_ it first, or build it anew")


def _draw_scores(plan: Plan) -> dict[str, Tensor]:
    """Return the first scores of each masked tensor, without a change of the model."""
    if plan.record.law is None:
        for name in plan.chosen:
            _draw_frozen(name, plan)  # a method of several draws refuses
    found = {}
    for name, method in plan.chosen.items():
        digest = hashlib.sha256(f"scores/{plan.record.seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        found[name] = method.init_scores(plan.parameters[name].detach(), generator)
    return found


def _draw_frozen(name: str, plan: Plan) -> Tensor:
    """Return the frozen values of a tensor."""
    method = plan.chosen[name].at(1.0) if name in plan.chosen else None
    source = plan.record.source(name, plan.parameters[name], method)
    return source.draw() if method is None else method.frozen(source)


@torch.no_grad()
def _apply_(model: nn.Module, plan: Plan, first_scores: dict[str, Tensor]) -> None:
    """Apply the plan to the model."""
    record = plan.record
    groups = {group.planned: group for group in record.groups}
    for name, method in plan.chosen.items():
        parameter, group = plan.parameters[name], groups[method]
        frozen = _place_(parameter, _draw_frozen(name, plan))
        state = MaskState(name, parameter.shape, frozen, first_scores.pop(name), group, record.padding.get(name))
        state.clear_padding_()
        group.states.append(state)
    for name in record.drawn:
        _place_(plan.parameters[name], _draw_frozen(name, plan))
        if name in record.padding:
            plan.parameters[name][record.padding[name]] = 0
    for name, value in record.constant.items():
        plan.parameters[name].fill_(value)
    if record.law is not None:
        for module in model.modules():
            if isinstance(module, _NormBase):
                module.reset_running_stats()
    for name, parameter in plan.parameters.items():
        parameter.requires_grad_(name in record.trained)
    for state in record.states:
        for owner, leaf in plan.owners[state.name]:
            owner._parameters[leaf] = None  # keeps the place, and so the order of the parameters
            owner._modules[leaf + "_mask"] = state
    vars(model)["_untrained"] = record  # not by the module's __setattr__
    for owner, cls in plan.classes.items():
        object.__setattr__(owner, "__class__", cls)


def _place_(parameter: nn.Parameter, frozen: Tensor) -> Tensor:
    """Return frozen values on the parameter's device, in the parameter's memory if they are one per weight."""
    if frozen.shape != parameter.shape:
        return frozen.to(parameter.device)
    if frozen.data_ptr() != parameter.data_ptr():
        parameter.copy_(frozen)
    return parameter


def scores(model: nn.Module) -> list[nn.Parameter]:
    """Return the scores that learn, for an optimizer; none for methods that do not learn.

    Raises:
        ValueError: the model is not masked.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=0.5))
        >>> optimizer = torch.optim.SGD(ut.scores(model), lr=0.1)
        >>> [tuple(each.shape) for each in ut.scores(model)]
        [(4, 8)]
    """
    return [state.scores for state in record(model).states if state.group.method.learns]


@torch.no_grad()
def codes(model: nn.Module) -> dict[str, Tensor]:
    """Return the codes of each masked tensor as its scores are now: int8, one small integer per weight, by name.

    Raises:
        ValueError: the model is not masked, or a score is NaN.
    """
    chosen = {}
    for group in record(model).groups:
        group.check_handed_out()
        chosen |= group.codes()
    return chosen


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return which weights of each masked tensor are kept as its scores are now: boolean tensors, by name.

    Raises:
        ValueError: the model is not masked, or a score is NaN.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 4), ut.EdgePopup(keep=0.25))
        >>> {name: int(mask.sum()) for name, mask in ut.masks(model).items()}
        {'weight': 8}
    """
    return {name: code != 0 for name, code in codes(model).items()}


def is_masked(model: nn.Module) -> bool:
    """Return True if `mask_` was called on this very module."""
    return "_untrained" in vars(model)


def record(model: nn.Module) -> Record:
    """Return the record of a model that `mask_` was called on."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected the masked model, got {type(model).__name__}")
    if not is_masked(model):
        raise ValueError(f"this {type(model).__name__} is not masked: call mask_ on it, or pass the module that was")
    return model._untrained  # pyright: ignore[reportReturnType]
