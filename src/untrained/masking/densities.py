"""Layer-wise densities: one method, another `keep` for every tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import nn

from untrained.masking.roles import roles
from untrained.methods.base import Method

AnyMethod = TypeVar("AnyMethod", bound=Method)


def erk(model: nn.Module, method: AnyMethod) -> dict[str, AnyMethod]:
    """Return the method with Erdős–Rényi-kernel densities: small tensors keep more, all together as many as before.

        keep_l = min(1, ε · Σ_d shape_d / Π_d shape_d),   ε such that Σ keep_l·n_l = keep·n

    Args:
        model: the model to be masked.
        method: a method with a `keep` that is a number.

    Returns:
        {pattern: method}, the argument for `mask_`: one pattern for every tensor that can be masked.

    Raises:
        ValueError: the method has no such `keep`, ranks tensors together, or no tensor can be masked.

    Example:
        >>> model = ut.models.fc((300, 100))
        >>> model = ut.mask_(model, ut.erk(model, ut.EdgePopup(keep=0.1)))
        >>> [f"{mask.double().mean():.2f}" for mask in ut.masks(model).values()]
        ['0.08', '0.23', '1.00']

    Source: Evci et al. 2020, "Rigging the Lottery", arXiv 1911.11134, section 3 (ERK); Mocanu et al. 2018 (ER).
    """
    keep = getattr(method, "keep", None)
    if not isinstance(keep, float):
        raise ValueError(f"erk needs a method whose keep is a number, got {method}")
    if not method.takes_keep:
        raise ValueError(f"erk needs a method that takes keep, got {method}")
    if method.together:
        raise ValueError(f"erk needs a method that ranks each tensor alone, got {method}")
    _, parameters, its_roles = roles(model)
    shapes = {name: tuple(parameters[name].shape) for name, role in its_roles.items() if role.kind == "weight"}
    if not shapes:
        raise ValueError(f"erk needs a model with tensors that can be masked, got a {type(model).__name__}")
    densities = erk_densities(shapes, keep)
    return {re.escape(name): method.keeping(density) for name, density in densities.items()}


def erk_densities(shapes: Mapping[str, Sequence[int]], keep: float) -> dict[str, float]:
    """Return keep_l of every tensor; a tensor whose share would be above 1 keeps everything, others share the rest."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    weights = {name: float(sum(shape)) for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        budget = keep * sum(sizes.values()) - sum(sizes[name] for name in full)
        rest = sum(weights[name] for name in sizes if name not in full)
        scale = budget / rest if rest else 0.0
        over = {name for name in sizes if name not in full and scale * weights[name] >= sizes[name]}
        if not over:
            break
        full |= over
    return {name: 1.0 if name in full else max(scale * weights[name] / sizes[name], 1e-9) for name in sizes}
