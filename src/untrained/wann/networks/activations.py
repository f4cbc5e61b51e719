"""The activation functions of WANN, as the authors number them (WANN, supplement; code of the paper).

id: function — 1 x, 2 step (1 where x > 0), 3 sin(πx), 4 exp(-x²/2), 5 tanh(x), 6 (tanh(x/2) + 1)/2, 7 -x, 8 |x|,
9 max(x, 0), 10 cos(πx), 11 x².
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NAMES = ("linear", "step", "sin", "gaussian", "tanh", "sigmoid", "inverse", "abs", "relu", "cos", "square")
IDS = {name: number for number, name in enumerate(NAMES, start=1)}
LINEAR = IDS["linear"]


def _sin_pi(x: np.ndarray) -> np.ndarray:
    # Half turns are taken off first, exactly: π·x would lose the digits that matter, and sin(π·1) would not be 0.
    half_turns = np.rint(x)
    return (1 - 2 * np.mod(half_turns, 2)) * np.sin(np.pi * (x - half_turns))


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "step": lambda x: np.where(x > 0, 1.0, 0.0),
    "sin": _sin_pi,
    "gaussian": lambda x: np.exp(-x * x / 2),
    "tanh": np.tanh,
    "sigmoid": lambda x: (np.tanh(x / 2) + 1) / 2,
    "inverse": lambda x: -x,
    "abs": np.abs,
    "relu": lambda x: np.maximum(x, 0.0),
    "cos": lambda x: _sin_pi(x + 0.5),
    "square": lambda x: x * x,
}


def ids_of(names: tuple[str, ...] | list[str]) -> np.ndarray:
    """Activation names as int8 ids.

    Raises:
        ValueError: a name is not one of ours.
    """
    for name in names:
        if name not in IDS:
            raise ValueError(f"activation {name!r}: expected one of {', '.join(NAMES)}")
    return np.array([IDS[name] for name in names], np.int8)
