"""Strict reading of the results of reset and step of a Gymnasium environment: no broadcast, no guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# The types that nearly every step returns; others take a slower way to the same checks.
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_NUMBERS = {float, np.float64, np.float32, int}
_OLD = "it has the interface of Gym before 0.26"


def read_reset(answer: Any, inputs: int) -> np.ndarray:
    """Return the observation, (inputs,), from the values that reset returned.

    Raises:
        ValueError: the values are not (observation, info).
    """
    if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], Mapping | None):
        old = "" if _array(answer) is None else f"; {_OLD}"
        raise ValueError(f"it must return (observation, info), got {_shorten(answer)}{old}")
    return _observation(answer[0], inputs)


def read_step(answer: Any, inputs: int, finite: bool) -> tuple[np.ndarray, float, bool]:
    """Return the observation, (inputs,), the reward, and the end of the episode, from the values of step.

    Args:
        answer: returned by step.
        inputs: numbers in an observation.
        finite: the reward must be finite. Observations are checked later, many at a time.

    Raises:
        ValueError: the values are not (observation, reward, terminated, truncated, info).
    """
    if fault := fault_of_step(answer):
        raise ValueError(fault)
    seen, reward, terminated, truncated, _ = answer
    if (
        type(seen) is np.ndarray
        and (seen.dtype is _SINGLE or seen.dtype is _DOUBLE)
        and seen.shape == (inputs,)
        and type(reward) in _NUMBERS
        and -math.inf < reward < math.inf
        and type(terminated) is bool
        and type(truncated) is bool
    ):
        return seen, reward, terminated or truncated
    # Both are read: `or` alone would pass over the second.
    ended, cut = _flag("terminated", terminated), _flag("truncated", truncated)
    array = _array(reward)
    if array is None or array.size != 1:
        raise ValueError(f"its reward must be a number, got {_shorten(reward)}")
    number = float(array.item())
    if finite and not math.isfinite(number):
        raise ValueError(f"its reward must be finite, got {number}")
    return _observation(seen, inputs), number, ended or cut


def fault_of_step(answer: Any) -> str:
    """Return the message for a step that did not return five values, else an empty string."""
    if isinstance(answer, tuple | list) and len(answer) == 5:
        return ""
    old = f"; {_OLD}" if isinstance(answer, tuple) and len(answer) == 4 else ""
    return f"it must return (observation, reward, terminated, truncated, info), got {_shorten(answer)}{old}"


def _observation(value: Any, inputs: int) -> np.ndarray:
    array = _array(value)
    if array is None or array.shape != (inputs,):
        raise ValueError(f"its observation must be {inputs} numbers as in its space, got {_shorten(value)}")
    return array


def _flag(name: str, value: Any) -> bool:
    array = _array(value)
    if array is None or array.size != 1 or not (array.dtype.kind in "biu" and array.item() in (0, 1)):
        raise ValueError(f"its {name} must be True or False, got {_shorten(value)}")
    return bool(array.item())


def _array(value: Any) -> np.ndarray | None:
    """Return the real numbers of a list, a number or an array of any library; None if there are none."""
    if isinstance(value, str | bytes | np.ma.MaskedArray):
        return None
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, and any error of an object's __array__
        return None
    return array if array.dtype.kind in "fiub" else None


def _shorten(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"a {type(value).__name__}"
