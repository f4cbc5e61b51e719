"""Optimizers for scores: those of torch, made from a masked model, and fused where torch can."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from torch import nn

from untrained.masking import mask as attach
from untrained.methods.recipe import Recipe, fusable


@final
class SGD(torch.optim.SGD):
    """`torch.optim.SGD` for the scores of a masked model.

    Args:
        params: a model that `mask_` was called on; or parameters or groups of them, as a framework passes them.
        lr, momentum, weight_decay, nesterov: as torch's.
        options: any other option of torch's.

    Raises:
        ValueError: the model is not masked, none of its methods learns, or torch refuses an argument.

    Example:
        >>> model = ut.mask_(nn.Linear(3, 1), ut.EdgePopup(), seed=0)
        >>> len(ut.optim.SGD(model, lr=0.1, momentum=0.9).param_groups[0]["params"])
        1
    """

    def __init__(
        self,
        params: nn.Module | Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        learn, options = _resolve(params, options)
        super().__init__(learn, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, **options)

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # torch's fused step raises where some parameters have a momentum and others get their first gradient now.
        for parameter in group["params"] if group["momentum"] and group["fused"] else ():
            if parameter.grad is not None and self.state[parameter].get("momentum_buffer") is None:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return super()._init_group(group, *lists)


@final
class Adam(torch.optim.Adam):
    """`torch.optim.Adam` for the scores of a masked model.

    Args:
        params: a model that `mask_` was called on; or parameters or groups of them, as a framework passes them.
        lr, betas, eps, weight_decay: as torch's.
        options: any other option of torch's.

    Raises:
        ValueError: the model is not masked, none of its methods learns, or torch refuses an argument.

    Example:
        >>> model = ut.mask_(nn.Linear(3, 1), ut.FedPM(), seed=0)
        >>> len(ut.optim.Adam(model, lr=0.1).param_groups[0]["params"])
        1
    """

    def __init__(
        self,
        params: nn.Module | Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        learn, options = _resolve(params, options)
        super().__init__(learn, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **options)


def for_scores(model: nn.Module | Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Build the optimizer of a recipe for a masked model's scores, or for some of them.

    Example:
        >>> model = ut.mask_(nn.Linear(3, 1), ut.FedPM(), seed=0)
        >>> type(ut.optim.for_scores(model, ut.FedPM().recipe)).__name__
        'Adam'
    """
    options: dict[str, Any] = {} if isinstance(model, nn.Module) else {"fused": fusable(model)}
    return (Adam if recipe.optimizer == "adam" else SGD)(model, **recipe.arguments(), **options)


def _resolve(params: nn.Module | Iterable[Any], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the parameters to optimize, and torch's options for them: fused where possible."""
    if not isinstance(params, nn.Module):
        return params, options
    scores = attach.scores(params)
    if not scores:
        raise ValueError("no method of this model has scores that learn")
    asked = any(options.get(name) is not None for name in ("fused", "foreach", "differentiable"))
    return scores, options if asked else {**options, "fused": fusable(scores)}
