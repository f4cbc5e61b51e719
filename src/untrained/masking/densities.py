"""Layer-wise densities: one method, another `keep` for every tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from untrained.masking.last import find_last, maskable
from untrained.methods.base import Method


def erk(model: nn.Module, method: Method, last: Method | None = None) -> dict[str, Method]:
    """Return the method with Erdős–Rényi-kernel densities: small tensors keep more, all together as many as before.

        keep_l = min(1, ε · Σ_d shape_d / Π_d shape_d),   ε such that Σ keep_l·n_l = keep·n

    Args:
        model: the model to be masked.
        method: a method with a `keep` that is a number.
        last: another method for the last weight matrix, which then does not count; see `last`.

    Returns:
        {pattern: method}, the argument for `mask_`: one pattern for every tensor that can be masked.

    Raises:
        ValueError: the method has no such `keep`, ranks tensors together, or no tensor can be masked; the model is
            masked already; or it is not clear which tensor is last.

    Example:
        >>> model = ut.models.fc((300, 100))
        >>> model = ut.mask_(model, ut.erk(model, ut.EdgePopup(keep=0.1)))
        >>> [f"{mask.double().mean():.2f}" for mask in ut.masks(model).values()]
        ['0.08', '0.23', '1.00']

    Source: Evci et al. 2020, "Rigging the Lottery", arXiv 1911.11134, section 3 (ERK); Mocanu et al. 2018 (ER).
    """
    return _distribute("erk", model, method, last, weight=sum, most=1.0)


def balanced(model: nn.Module, method: Method, last: Method | None = None) -> dict[str, Method]:
    """Return the method with balanced densities: every unit keeps the same number of its inputs on average.

        keep_l = min(½, c / fan in_l),   c such that Σ keep_l·n_l = keep·n;   all equal for a `keep` of ½ or more

    At a low keep, layers with few inputs would otherwise be cut to a few weights a unit. Beyond a half there are
    fewer masks to choose from, so no layer keeps more.

    Args:
        model: the model to be masked.
        method: a method with a `keep` that is a number.
        last: another method for the last weight matrix, which then does not count; see `last`.

    Returns:
        {pattern: method}, the argument for `mask_`: one pattern for every tensor that can be masked.

    Raises:
        ValueError: the method has no such `keep`, ranks tensors together, or no tensor can be masked; the model is
            masked already; or it is not clear which tensor is last.

    Example:
        >>> model = ut.models.fc((256, 256))
        >>> model = ut.mask_(model, ut.balanced(model, ut.EdgePopup(keep=0.03)))
        >>> [int(mask.sum()) for mask in ut.masks(model).values()]
        [3955, 3955, 155]
    """
    return _distribute("balanced", model, method, last, weight=lambda shape: shape[0], most=0.5)


def takes_densities(method: Method) -> bool:
    """Return True if `erk` and `balanced` take a method: its `keep` is a number, and it ranks each tensor alone."""
    return isinstance(getattr(method, "keep", None), float) and method.takes_keep and not method.together


def _distribute(
    rule: str,
    model: nn.Module,
    method: Method,
    last: Method | None,
    *,
    weight: Callable[[Sequence[int]], int],
    most: float,
) -> dict[str, Method]:
    """Return the method of every tensor that can be masked, with its own keep of at most `most`."""
    keep = getattr(method, "keep", None)
    if not isinstance(keep, float):
        raise ValueError(f"{rule} needs a method whose keep is a number, got {method}")
    if not method.takes_keep:
        raise ValueError(f"{rule} needs a method that takes keep, got {method}")
    if method.together:
        raise ValueError(f"{rule} needs a method that ranks each tensor alone, got {method}")
    names, final = maskable(model), None if last is None else find_last(model)
    if not names:
        raise ValueError(f"{rule} needs a model with tensors that can be masked, got a {type(model).__name__}")
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(parameters[name].shape) for name in names if name != final}
    densities = distribute(shapes, keep, {name: weight(shape) for name, shape in shapes.items()}, max(most, keep))
    found = {re.escape(name): method.keeping(density) for name, density in densities.items()}
    return found if last is None or final is None else found | {re.escape(final): last}


def distribute(
    shapes: Mapping[str, Sequence[int]], keep: float, weights: Mapping[str, float], most: float
) -> dict[str, float]:
    """Return keep_l of every tensor, which keeps in proportion to its weight, but no more than the share `most`.

    A tensor at that limit leaves the rest to the others.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        budget = keep * sum(sizes.values()) - most * sum(sizes[name] for name in full)
        rest = sum(weights[name] for name in sizes if name not in full)
        scale = budget / rest if rest else 0.0
        over = {name for name in sizes if name not in full and scale * weights[name] >= most * sizes[name]}
        if not over:
            break
        full |= over
    return {name: most if name in full else max(scale * weights[name] / sizes[name], 1e-9) for name in sizes}
