"""Requirements shared by the checks of this package."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from untrained.tickets import header


def require(holds: bool, subject: object, law: str) -> None:
    """Raise an AssertionError with the law unless it holds."""
    if not holds:
        raise AssertionError(f"{subject} breaks a law: it {law}")


def require_configuration(subject: Any, base: type, final: Any) -> None:
    """Require that an instance is its configuration: final, frozen, and brought back from JSON as `final`."""
    cls = type(subject)
    require(dataclasses.is_dataclass(cls) and getattr(cls, "__final__", False), subject, "is a @final @dataclass")
    require(cls.__dataclass_params__.frozen, subject, "is frozen")  # pyright: ignore[reportAttributeAccessIssue]
    copied = hash(subject) == hash(dataclasses.replace(subject))  # pyright: ignore[reportArgumentType]
    require(copied, subject, "is equal to its copy")
    try:
        revived = header.revive(base, header.from_json(header.to_json(header.describe(final))))
    except (TypeError, ValueError) as error:
        revived = error
    require(revived == final, subject, "has fields that JSON brings back: numbers, words")


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return True if two tensors have the same dtype, shape and bits: -0 is not 0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)))
