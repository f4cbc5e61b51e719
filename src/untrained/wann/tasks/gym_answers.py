"""Answers of a Gymnasium environment's reset and step, read strictly: nothing is broadcast or guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_REAL = "fiub"  # kinds of numpy types that are real numbers
# What nearly every step returns; the rest takes a slower way to the same checks.
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_NUMBERS = {float, np.float64, np.float32, int}
_OLD = "it has the interface of Gym before 0.26"


def of_reset(answer: Any, inputs: int) -> np.ndarray:
    """The observation, (inputs,), of what reset returned.

    Raises:
        ValueError: it is not (observation, info).
    """
    if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], Mapping | None):
        old = "" if _array(answer) is None else f"; {_OLD}"
        raise ValueError(f"it returned {_in_short(answer)}, expected (observation, info){old}")
    return _observation(answer[0], inputs)


def of_step(answer: Any, inputs: int, finite: bool) -> tuple[np.ndarray, float, bool]:
    """The observation, (inputs,), the reward, and whether the episode has ended, of what step returned.

    Args:
        answer: what it returned.
        inputs: numbers in an observation.
        finite: the reward must be finite. Observations are looked at later, many at a time.

    Raises:
        ValueError: it is not (observation, reward, terminated, truncated, info).
    """
    if type(answer) is tuple and len(answer) == 5:
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
    if not is_step(answer):
        raise ValueError(wrong_step(answer))
    seen, reward, terminated, truncated, _ = answer
    # Both are looked at: `or` alone would pass over the second.
    ended, cut = _flag("terminated", terminated), _flag("truncated", truncated)
    number = _reward(reward)
    if finite and not math.isfinite(number):
        raise ValueError(f"its reward is {number}, expected a finite number")
    return _observation(seen, inputs), number, ended or cut


def is_step(answer: Any) -> bool:
    """Tell whether it has the five parts that step returns."""
    return isinstance(answer, tuple | list) and len(answer) == 5


def wrong_step(answer: Any) -> str:
    """A sentence about what step returned instead of five values."""
    old = f"; {_OLD}" if isinstance(answer, tuple) and len(answer) == 4 else ""
    return f"it returned {_in_short(answer)}, expected (observation, reward, terminated, truncated, info){old}"


def _observation(given: Any, inputs: int) -> np.ndarray:
    array = _array(given)
    if array is None or array.shape != (inputs,):
        raise ValueError(
            f"its observation is {_in_short(given)}, expected {inputs} numbers as in its observation space"
        )
    return array


def _reward(given: Any) -> float:
    array = _array(given)
    if array is None or array.size != 1:
        raise ValueError(f"its reward is {_in_short(given)}, expected a number")
    return float(array.item())


def _flag(name: str, given: Any) -> bool:
    if given is True or given is False:
        return given
    array = _array(given)
    if array is None or array.size != 1 or not (array.dtype.kind in "biu" and array.item() in (0, 1)):
        raise ValueError(f"its {name} is {_in_short(given)}, expected True or False")
    return bool(array.item())


def _array(given: Any) -> np.ndarray | None:
    """The numbers of a list, a number or an array of any library; None where there are none."""
    if isinstance(given, str | bytes | np.ma.MaskedArray):
        return None
    try:
        array = np.asarray(given)
    except Exception:  # ragged lists, and whatever an object's own __array__ raises
        return None
    return array if array.dtype.kind in _REAL else None


def _in_short(given: Any) -> str:
    if isinstance(given, tuple):
        return f"a tuple of {len(given)}"
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype} and shape {given.shape}"
    text = " ".join(repr(given).split())
    return text if len(text) <= 40 else f"a {type(given).__name__}"
