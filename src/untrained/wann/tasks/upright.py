"""Figures about a pole: how long it stands, and whether it merely whirls."""

from __future__ import annotations

import numpy as np

_UPRIGHT = 0.9  # cos θ above it: within 26° of straight up


def upright(angle: np.ndarray, dt: float) -> dict[str, float]:
    """Return for how long a pole is upright (cos θ > 0.9), how often it turns, and whether it is upright at the end.

    The longest stretch and the total are in seconds; turns are (max θ - min θ)/2π; "upright at the end" is 100 if the
    pole is upright at every step of the last second, else 0.

    Args:
        angle: θ at the start and after every step, (steps + 1,); 0 is up, and whole turns count on.
        dt: seconds of a step.
    """
    up = np.cos(angle[1:]) > _UPRIGHT
    changes = np.flatnonzero(np.diff(np.concatenate([[0], up, [0]])))  # in turn up and down again
    longest, last = (changes[1::2] - changes[::2]).max(initial=0), up[-round(1.0 / dt) :]
    return {
        "longest upright (s)": float(longest * dt),
        "upright (s)": float(up.sum() * dt),
        "turns": float(np.ptp(angle) / (2 * np.pi)),
        "upright at the end (%)": 100.0 * bool(last.all()),
    }
