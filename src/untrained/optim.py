"""Optimizers for scores: torch's own, with the way from ∂L/∂W_eff to the scores in the same pass as the step.

    g = sign(s) ⊙ W ⊙ ∂L/∂W_eff        (`signed`: W ⊙ ∂L/∂W_eff),   then SGD's or Adam's step with g

While such an optimizer lives, `scores.grad` stays None in training: the gradient of the effective weight comes here
as it is. So a pass over memory is saved and the scores' gradients are never stored; but nobody can clip them either:
for that use torch.optim with `untrained.scores(model)`. Where there is no kernel, no method simple enough
(`Method.slope_is`), or somebody else needs the gradients (torch.compile, DDP, FSDP), the step is torch's.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, nn

from untrained import attach
from untrained.effective import to_scores
from untrained.masked import Intake
from untrained.native import kernels
from untrained.recipe import Recipe, fusable

_Kernel = Callable[[Intake, Tensor, dict[str, Any], dict[str, Any]], None]

# Options of torch's that somebody may set in `param_groups`.
_OF_TORCH_ALONE = "maximize", "dampening", "amsgrad", "decoupled_weight_decay"
# What a copy of an optimizer has: torch copies its settings and state alone, so its step is torch's.
_NONE: Mapping[Tensor, Intake] = MappingProxyType({})


@final
class SGD(torch.optim.SGD):
    """`torch.optim.SGD` for the scores of a masked model, in one pass.

    Args:
        model: a model that `mask_` was called on.
        lr, momentum, weight_decay, nesterov: as torch's.

    Raises:
        ValueError: the model is not masked, none of its methods learns, or what torch's raises.
    """

    _intakes = _NONE

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        scores = _scores(model)
        super().__init__(
            scores, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=fusable(scores)
        )
        self._intakes = _intakes(model)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, as torch's; gradients may have come to `scores.grad` too."""
        return _step(self, torch.optim.SGD, self._intakes, _sgd, closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        super().zero_grad(set_to_none)
        _forget(self._intakes)


@final
class Adam(torch.optim.Adam):
    """`torch.optim.Adam` for the scores of a masked model, in one pass.

    Args:
        model: a model that `mask_` was called on.
        lr, betas, eps, weight_decay: as torch's.

    Raises:
        ValueError: the model is not masked, none of its methods learns, or what torch's raises.
    """

    _intakes = _NONE

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        scores = _scores(model)
        super().__init__(scores, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=fusable(scores))
        self._intakes = _intakes(model)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, as torch's; gradients may have come to `scores.grad` too."""
        return _step(self, torch.optim.Adam, self._intakes, _adam, closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        super().zero_grad(set_to_none)
        _forget(self._intakes)


def for_scores(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of a masked model's scores that a recipe asks for."""
    return (Adam if recipe.optimizer == "adam" else SGD)(model, **recipe.arguments())


def _scores(model: nn.Module) -> list[nn.Parameter]:
    scores = attach.scores(model)
    if not scores:
        raise ValueError("no method of this model has scores that learn")
    return scores


def _intakes(model: nn.Module) -> dict[Tensor, Intake]:
    states = [state for state in attach.record(model).states if state.group.planned.slope_is is not None]
    return {state.scores: Intake(state) for state in states}


def _forget(intakes: Mapping[Tensor, Intake]) -> None:
    for intake in intakes.values():
        intake.gradient = None


@torch.no_grad()
def _step(
    optimizer: torch.optim.Optimizer,
    of_torch: type[torch.optim.Optimizer],
    intakes: Mapping[Tensor, Intake],
    kernel: _Kernel,
    closure: Callable[[], Any] | None,
) -> Any:
    if getattr(optimizer, "grad_scale", None) is not None:
        raise ValueError(
            "untrained.optim knows no GradScaler: use bfloat16, or torch.optim with untrained.scores(model)"
        )
    loss = None
    if closure is not None:
        with torch.enable_grad():
            loss = closure()
    for group in optimizer.param_groups:
        for scores in group["params"]:
            intake = intakes.get(scores)
            if intake is None or intake.gradient is None:
                continue
            gradient, intake.gradient = intake.gradient, None
            weight = intake.state.frozen
            state = optimizer.state[scores]
            buffers = [buffer for buffer in state.values() if isinstance(buffer, Tensor) and buffer.ndim]
            alone = scores.grad is None and not any(group.get(option) for option in _OF_TORCH_ALONE)
            if alone and kernels.usable(gradient, weight, scores, *buffers):
                kernel(intake, gradient, group, state)
                continue
            came = to_scores(gradient, weight, scores, _signed(intake))
            scores.grad = came if scores.grad is None else scores.grad.add_(came)
    # What is left is torch's; its step without the wrapper that would call the user's hooks a second time.
    inspect.unwrap(of_torch.step)(optimizer)
    return loss


def _signed(intake: Intake) -> bool:
    return intake.state.group.planned.slope_is == "W"


def _sgd(intake: Intake, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    if group["momentum"] and state.get("momentum_buffer") is None:
        state["momentum_buffer"] = torch.zeros_like(intake.scores)
    momentum = state["momentum_buffer"] if group["momentum"] else None
    how = kernels.Sgd(float(group["lr"]), group["momentum"], group["weight_decay"], group["nesterov"])
    kernels.sgd_step(gradient, intake.state.frozen, intake.scores, _signed(intake), momentum, how)


def _adam(intake: Intake, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(intake.scores), torch.zeros_like(intake.scores)
    state["step"] += 1
    (beta1, beta2), number = group["betas"], state["step"].item()
    how = kernels.Adam(
        step_size=float(group["lr"]) / (1 - beta1**number),
        mean_share=1 - beta1,
        beta2=beta2,
        square_share=1 - beta2,
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        correction2_root=math.sqrt(1 - beta2**number),
    )
    kernels.adam_step(
        gradient, intake.state.frozen, intake.scores, _signed(intake), state["exp_avg"], state["exp_avg_sq"], how
    )
