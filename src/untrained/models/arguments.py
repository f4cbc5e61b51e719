"""Bounds of a builder's arguments, safe for arguments from an untrusted file, and errors that name them."""

import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

MAX_WEIGHTS = 2**28  # 1 GiB of float32; the largest of the paper's networks has 127 million
_MAX_SIZE = 2**20  # of one number; keeps every product below 2**63, where torch stops counting
_MAX_ENTRIES = 32  # of one list
_MAX_WIDTH = 64.0

Shape = Sequence[int]
Stem = Literal["small", "large", None]
Activation = Literal["relu", "elu", "sign"]
Norm = Literal["batch", None]


def _check_size(label: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MAX_SIZE:
        raise ValueError(f"{label} must be an integer from 1 to {_MAX_SIZE:,}, got {reprlib.repr(value)}")
    return value


def _check_sizes(label: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > _MAX_ENTRIES:
        raise ValueError(f"{label} must be a list of at most {_MAX_ENTRIES} integers, got {reprlib.repr(value)}")
    return tuple(_check_size(f"{label}[{index}]", size) for index, size in enumerate(value))


def _check_shape(label: str, value: Any) -> tuple[int, ...]:
    shape = _check_sizes(label, value)
    if not shape or math.prod(shape) > MAX_WEIGHTS:
        raise ValueError(f"{label} must hold 1 to {MAX_WEIGHTS:,} values, got {reprlib.repr(shape)}")
    return shape


def _check_width(label: str, value: Any) -> float:
    # The chained comparison also refuses NaN.
    if type(value) not in (int, float) or not 0 < value <= _MAX_WIDTH:
        raise ValueError(f"{label} must be a number in (0, {_MAX_WIDTH:g}], got {reprlib.repr(value)}")
    return float(value)


def _one_of(*choices: Any) -> Callable[[str, Any], Any]:
    *others, last = (f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices)

    def check(label: str, value: Any) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError(f"{label} must be {', '.join(others)} or {last}, got {reprlib.repr(value)}")
        return value

    return check


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "widths": _check_sizes,
    "shape": _check_shape,
    "classes": _check_size,
    "width": _check_width,
    "stem": _one_of(*get_args(Stem)),
    "activation": _one_of(*get_args(Activation)),
    "norm": _one_of(*get_args(Norm)),
    "folded": _one_of(True, False),
}
