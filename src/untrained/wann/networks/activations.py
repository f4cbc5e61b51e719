"""Activation functions of WANN, numbered as the authors number them (WANN, supplement; code of the paper).

id: function — 1 x, 2 step (1 where x > 0), 3 sin(πx), 4 exp(-x²/2), 5 tanh(x), 6 (tanh(x/2) + 1)/2, 7 -x, 8 |x|,
9 max(x, 0), 10 cos(πx), 11 x².
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np


def _sin_pi(m: Any, x: Any) -> Any:
    # Half turns are taken off first, exactly: π·x would lose the digits that matter, and sin(π·1) would not be 0.
    half_turns = m.round(x)
    return (1 - 2 * m.remainder(half_turns, 2)) * m.sin(math.pi * (x - half_turns))


#: Name → function of a module, numpy or torch, and its arrays x; in the order of the ids.
FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda m, x: x,
    "step": lambda m, x: m.where(x > 0, m.ones_like(x), m.zeros_like(x)),
    "sin": _sin_pi,
    "gaussian": lambda m, x: m.exp(-x * x / 2),
    "tanh": lambda m, x: m.tanh(x),
    "sigmoid": lambda m, x: (m.tanh(x / 2) + 1) / 2,
    "inverse": lambda m, x: -x,
    "abs": lambda m, x: m.abs(x),
    # The two modules share no other function whose gradient at 0 is 0.
    "relu": lambda m, x: np.maximum(x, 0.0) if m is np else m.relu(x),
    "cos": lambda m, x: _sin_pi(m, x + 0.5),
    "square": lambda m, x: x * x,
}
NAMES = tuple(FORMULAS)
IDS = {name: number for number, name in enumerate(NAMES, start=1)}
LINEAR = IDS["linear"]
#: Name → function of a numpy array.
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    name: partial(formula, np) for name, formula in FORMULAS.items()
}


def ids_of(names: Sequence[str]) -> np.ndarray:
    """Return activation names as int8 ids.

    Raises:
        ValueError: a name is no activation.
    """
    for name in names:
        if name not in IDS:
            raise ValueError(f"activation must be one of {', '.join(NAMES)}, got {name!r}")
    return np.array([IDS[name] for name in names], np.int8)
