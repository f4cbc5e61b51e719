"""Straight-through estimator of the highest scores: W ⊙ top(|s|), with ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, jit, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from untrained.native import choice as kernels
from untrained.selection.topk import SEPARATOR, choose_highest, unbatch


def keep_top(
    weights: Sequence[Tensor], scores: Sequence[Tensor], keep: float, signed: bool, names: Sequence[str]
) -> list[Tensor]:
    """Return the weights whose scores are among the top ⌈keep·n⌉ of all n scores given, and 0 for the others.

    Forward: W_eff = W ⊙ top(|s|). Backward, straight through the choice, for every edge, kept or not:
    ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff   (`signed`: W ⊙ ∂L/∂W_eff).

    Args:
        weights: frozen weights.
        scores: one tensor of scores per weight, of its shape; one dtype, one device.
        keep: fraction kept of all the scores together.
        signed: rank by the scores themselves instead of by their absolute values.
        names: the tensors' names, for errors.

    Returns:
        The effective weights, fresh tensors.

    Raises:
        ValueError: a score is NaN; the message names the tensor.

    Source: Ramanujan et al. 2019, equations 4-6; |s| as in the authors' code.
    """
    if is_traced(*weights, *scores):
        return _keep_top(weights, scores, keep, signed, SEPARATOR.join(names))
    if is_transformed():
        return list(_TransformedKeepTop.apply(keep, signed, names, *weights, *scores))  # pyright: ignore
    if not torch.is_grad_enabled():
        return choose_highest(weights, scores, keep, signed, names)
    return list(_KeepTop.apply(keep, signed, names, *weights, *scores))  # pyright: ignore


def to_scores(grad: Tensor, weight: Tensor, score: Tensor, signed: bool) -> Tensor:
    """Return ∂L/∂s = sign(s) ⊙ W ⊙ ∂L/∂W_eff   (`signed`: W ⊙ ∂L/∂W_eff)."""
    if torch.is_grad_enabled() or is_transformed():  # for second derivatives
        return (torch.ones_like(score) if signed else torch.sgn(score)) * weight * grad
    return (_to_scores if is_traced(grad, weight, score) else _straight_through)(grad, weight, score, signed)


def is_transformed() -> bool:
    """Return True inside a transform of torch.func, unless torch.compile is tracing."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def is_traced(*tensors: Tensor) -> bool:
    """Return True where calls are recorded (torch.compile, export) and must be operators, which cost 0.1 ms."""
    if torch.compiler.is_compiling() or jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return True
    return _get_current_dispatch_mode() is not None or any(
        type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors
    )


def _straight_through(grad: Tensor, weight: Tensor, score: Tensor, signed: bool) -> Tensor:
    gradient = kernels.straight_through(grad, weight, score, signed)
    if gradient is not None:
        return gradient
    sign = torch.ones_like(score) if signed else torch.sgn(score)
    return sign.mul_(weight).mul_(grad)  # in place: fresh memory costs more than the arithmetic


class _KeepTop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep: float, signed: bool, names: Sequence[str], *tensors: Tensor):  # pyright: ignore
        ctx.signed, half = signed, len(tensors) // 2
        ctx.save_for_backward(*tensors)
        return tuple(choose_highest(tensors[:half], tensors[half:], keep, signed, names))

    @staticmethod
    def backward(ctx, *grads: Tensor):  # pyright: ignore
        half = len(grads)
        weights, scores = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        gradients = [to_scores(*each, ctx.signed) for each in zip(grads, weights, scores, strict=True)]
        return None, None, None, *([None] * half), *gradients


class _TransformedKeepTop(_KeepTop):
    """Straight-through estimator in the form that torch.func asks for; elsewhere it is slower."""

    @staticmethod
    def forward(keep: float, signed: bool, names: Sequence[str], *tensors: Tensor):  # pyright: ignore
        half = len(tensors) // 2
        return tuple(choose_highest(tensors[:half], tensors[half:], keep, signed, names))

    @staticmethod
    def setup_context(ctx, inputs, output):  # pyright: ignore
        _, ctx.signed, _, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def jvp(ctx, *tangents):  # pyright: ignore
        half = len(ctx.saved_tensors) // 2
        parts = zip(tangents[-half:], ctx.saved_tensors[:half], ctx.saved_tensors[half:], strict=True)
        return tuple(torch.zeros_like(w) if t is None else to_scores(t, w, s, ctx.signed) for t, w, s in parts)

    @staticmethod
    def vmap(info, in_dims, keep, signed, names, *tensors):  # pyright: ignore
        batch = unbatch(tensors, in_dims[3:], info.batch_size)
        chosen = [_TransformedKeepTop.apply(keep, signed, names, *each) for each in batch]
        return tuple(map(torch.stack, zip(*chosen, strict=True))), (0,) * (len(tensors) // 2)  # pyright: ignore


@torch.library.custom_op("untrained::keep_top", mutates_args=())
def _keep_top(
    weights: Sequence[Tensor], scores: Sequence[Tensor], keep: float, signed: bool, names: str
) -> list[Tensor]:
    return choose_highest(weights, scores, keep, signed, names.split(SEPARATOR))


@_keep_top.register_fake
def _(weights: Sequence[Tensor], scores: Sequence[Tensor], keep: float, signed: bool, names: str) -> list[Tensor]:
    return [torch.empty_like(weight) for weight in weights]


def _save(ctx, inputs, output) -> None:
    weights, scores, _, ctx.signed, _ = inputs
    ctx.save_for_backward(*weights, *scores)


def _backward(ctx, grads):
    half = len(grads)
    _, _, _, *gradients = _KeepTop.backward(ctx, *grads)
    return gradients[:half], gradients[half:], None, None, None


_keep_top.register_autograd(_backward, setup_context=_save)


@torch.library.custom_op("untrained::to_scores", mutates_args=())
def _to_scores(grad: Tensor, weight: Tensor, score: Tensor, signed: bool) -> Tensor:
    return _straight_through(grad, weight, score, signed)


@_to_scores.register_fake
def _(grad: Tensor, weight: Tensor, score: Tensor, signed: bool) -> Tensor:
    return torch.empty_like(score)
