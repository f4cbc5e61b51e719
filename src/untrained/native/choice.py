"""Kernels of the choice on tensors: where one returns None, the caller takes the plain path."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from untrained.native.library import library

_CHOSEN = (0, 1)
_MOST_HINTS = 1 << 14


class _Part(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_void_p) for name in ("scores", "weights", "out")), ("n", ctypes.c_int64))


class _Hint(ctypes.Structure):
    _fields_ = (("threshold", ctypes.c_int64), ("width", ctypes.c_int64))


# Threshold of each choice the last time and how far it may move, by address. A wrong one costs a pass.
_hints: dict[tuple[int, int, int, bool], tuple[int, int]] = {}


def forget() -> None:
    """Forget all hints: the next choice of every tensor starts without one."""
    _hints.clear()


def usable(*tensors: Tensor) -> bool:
    """Return True where there are kernels for these together: float32 on the CPU, in C order, of one shape."""
    return library() is not None and all(
        t.dtype == torch.float32 and t.device.type == "cpu" and t.is_contiguous() and t.shape == tensors[0].shape
        for t in tensors
    )


def keep_top(weights: Sequence[Tensor], scores: Sequence[Tensor], count: int, signed: bool) -> list[Tensor] | None:
    """Return the weights with the `count` highest scores (`signed`, or by |s|) of them all, and 0 elsewhere.

    None: there is no kernel for these, a score is NaN, or too many are equal.
    """
    if count < 1 or not all(map(usable, weights, scores)):
        return None
    effective = [torch.empty_like(weight) for weight in weights]
    parts = (_Part * len(weights))(
        *(
            _Part(s.data_ptr(), w.data_ptr(), e.data_ptr(), w.numel())
            for s, w, e in zip(scores, weights, effective, strict=True)
        )
    )
    key = scores[0].data_ptr(), len(scores), count, signed
    hint = _Hint(*_hints.get(key, (0, -1)))
    sizes = ctypes.c_int64(len(parts)), ctypes.c_int64(count)
    if _library().keep_top(parts, *sizes, int(signed), ctypes.byref(hint)) not in _CHOSEN:
        return None
    if len(_hints) >= _MOST_HINTS:
        forget()
    _hints[key] = hint.threshold, hint.width
    return effective


def straight_through(gradient: Tensor, weight: Tensor, score: Tensor, signed: bool) -> Tensor | None:
    """Return sign(s) ⊙ W ⊙ ∂L/∂W_eff (`signed`: W ⊙ ∂L/∂W_eff) in one pass; None: no kernel."""
    if not usable(gradient, weight, score):
        return None
    out = torch.empty_like(score)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (gradient, weight, score, out)]
    _library().straight_through(*pointers, ctypes.c_int64(out.numel()), int(signed))
    return out


def nudge(weight: Tensor | None, scores: Tensor, step: float, levels: int) -> Tensor | None:
    """Return W + c·step (c·step without W), c = round(s/step) between -levels and levels, in one pass.

    The step must have 16 significant bits at most, so that c·step is exact. None: no kernel, or a score is NaN.
    """
    if not usable(scores, *(() if weight is None else (weight,))):
        return None
    out = torch.empty_like(scores)
    pointers = [ctypes.c_void_p(None if each is None else each.data_ptr()) for each in (weight, scores, out)]
    numbers = (ctypes.c_float(each) for each in (1 / step, levels, step))
    return None if _library().nudge(*pointers, ctypes.c_int64(out.numel()), *numbers) else out


def _library() -> ctypes.CDLL:
    kernels = library()
    assert kernels is not None, "call usable() first"
    return kernels
