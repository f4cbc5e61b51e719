"""Another method for the last layer, which has few of the weights and decides most."""

from __future__ import annotations

import re

from torch import nn

from untrained.masking.mask import refuse_masked
from untrained.masking.roles import Owners, roles
from untrained.methods.base import Method


def last(model: nn.Module, method: Method, last_method: Method) -> dict[str, Method]:
    """Return one method for the last weight matrix and another for all others.

    The last is that of the module that comes last in `model.modules()`, among the tensors that `mask_` masks.

    Args:
        model: the model to be masked.
        method: the method of all tensors but the last.
        last_method: the method of the last tensor.

    Returns:
        {pattern: method}, the argument for `mask_`, which also needs `weights=` where the two recommend other laws.

    Raises:
        ValueError: the model is masked already; or it is not clear which tensor is last: it has fewer than two, the
            last one is tied to another place or an embedding, or its module has several.

    Example:
        >>> model = ut.models.fc((300, 100))
        >>> methods = ut.last(model, ut.EdgePopup(keep=0.03, signed=True), ut.Nudge(step=0.5, levels=31))
        >>> model = ut.mask_(model, methods, weights=ut.SignedConstant())
        >>> [f"{mask.double().mean():.2f}" for mask in ut.masks(model).values()]
        ['0.03', '0.03', '1.00']
    """
    final = find_last(model)
    return {re.escape(name): last_method if name == final else method for name in maskable(model)}


def maskable(model: nn.Module) -> list[str]:
    """Return the names of the tensors that `mask_` masks, in the model's order.

    Raises:
        ValueError: the model is masked already.
    """
    refuse_masked(model)
    return [name for name, role in roles(model)[2].items() if role.kind == "weight"]


def find_last(model: nn.Module) -> str:
    """Return the name of the last weight matrix.

    Raises:
        ValueError: it is not clear which one is last; the message says why.
    """
    names, owners = maskable(model), roles(model)[0]
    if len(names) < 2:
        raise ValueError(
            f"a method for the last layer needs a model with two weight matrices or more, got {len(names)}"
        )
    # A module that is used in several places is listed for each of them.
    places = {module: place for place, (_, module) in enumerate(model.named_modules(remove_duplicate=False))}
    name = max(names, key=lambda name: max(places[owner] for owner, _ in owners[name]))
    if reason := _find_doubt(model, name, names, owners):
        raise ValueError(f"the last weight matrix, {name!r}, {reason}; give each tensor its method by name")
    return name


def _find_doubt(model: nn.Module, name: str, names: list[str], owners: Owners) -> str:
    """Return why a tensor may not be the weight of the last layer; empty if it is."""
    owner = owners[name][-1][0]
    uses = sum(module is owner for _, module in model.named_modules(remove_duplicate=False))
    if len(owners[name]) > 1 or uses > 1:
        return "is also used in another place"
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return "is an embedding, which stands at an input"
    if others := [each for each in names if each != name and owner in (module for module, _ in owners[each])]:
        return f"shares its module with {', '.join(map(repr, others))}"
    return ""
