"""Abstract base class of opponents: trained networks in few bytes, which tickets are compared with."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Self

import torch
from torch import Tensor, nn

from untrained.fields import check_fields
from untrained.opponents.course import Course, Weights
from untrained.opponents.quantise import code_rows, decode, straight_through
from untrained.selection.topk import keep_count

Coded = dict[str, tuple[Tensor, Tensor]]
"""Codes, integers of the weight's shape and dtype in -127 … 127, and float16 scales, (rows,) or (1,), by name."""


_LAST_LEVELS = 7  # 4 bits


class Opponent(abc.ABC):
    """Way to train a network and to store it in few bytes. A final opponent is a frozen dataclass: its configuration.

    Laws: the weights of the file are `decode(*coded(weights)[name])`, bit for bit; those of the last forward pass of a
    training with `constrained` are the same; and the only data that choose anything are those of the training.

    Raises:
        ValueError: a field is not as annotated, or `keep` is outside (0, 1].
    """

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(keep := getattr(self, "keep", None), float):
            keep_count(keep, 1)

    @abc.abstractmethod
    def coded(self, weights: Weights) -> Coded:
        """Return codes and scales of the trained weights; a weight without is stored in float16."""

    def constrained(self, weights: Weights, done: float) -> Weights:
        """Return the weights of a forward pass after the share `done` of the training: at the end the file's."""
        return {name: straight_through(weights[name], decode(*coded)) for name, coded in self.coded(weights).items()}

    def train(self, course: Course) -> tuple[nn.Module, float]:
        """Return the trained network, whose weight matrices `coded` takes, and the seconds that it took."""
        network = course.network()
        return network, course.fit(network, self.constrained)

    def passes(self, epochs: int) -> int:
        """Return the number of epochs of all its trainings, where the twin has `epochs`."""
        return epochs

    @property
    def takes_keep(self) -> bool:
        """True where `keeping` sets the fraction kept: with a field `keep` that has a number."""
        return getattr(self, "keep", None) is not None

    def keeping(self, keep: float) -> Self:
        """Return the opponent with this fraction of the weights kept; itself where it does not take one."""
        changed: Any = dataclasses.replace
        return changed(self, keep=keep) if self.takes_keep else self


@torch.no_grad()
def code_last(weights: Weights) -> Coded:
    """Return codes of 4 bits and scales per output channel of the last weight matrix in the order of the network."""
    name = list(weights)[-1]
    return {name: code_rows(weights[name], _LAST_LEVELS)}
