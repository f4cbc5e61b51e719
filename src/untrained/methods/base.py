"""The law of a Method: four pure functions from scores to the effective weight of a frozen network."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor


class Method(abc.ABC):
    """A way to find a subnetwork. A final method is a frozen dataclass: it *is* its configuration.

    Laws, which the shared tests hold every method to:
    * `effective(weights, scores)[name]` equals `decode(weights[name], codes(weights, scores)[name])` bit for bit;
    * codes are int8, and a pure function of weights and scores: the same under every memory format and thread count;
    * equal scores are told apart by the lowest flat index, and NaN scores raise an error that names the tensor;
    * fields are JSON-able, for they are written into the ticket.
    """

    learns: ClassVar[bool] = True
    """Whether the loss has anything to teach the scores."""

    @property
    def together(self) -> bool:
        """Whether the choice in one tensor depends on the scores of the others."""
        return False

    @abc.abstractmethod
    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The first scores of one tensor.

        Args:
            weight: the frozen weight.
            generator: the only source of randomness, on the CPU.

        Returns:
            Scores of the weight's shape, dtype and device.
        """

    @abc.abstractmethod
    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The discrete choice: one small integer per weight.

        Args:
            weights: frozen weights by name, all those that this method is to choose from together.
            scores: their scores, same names and shapes.

        Returns:
            int8 tensors, same names and shapes.

        Raises:
            ValueError: a score is NaN.
        """

    @abc.abstractmethod
    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        """The effective weight that codes mean: a fresh tensor of the weight's shape, dtype and device."""

    @abc.abstractmethod
    def effective(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the forward pass uses: the decoded choice, with the method's own gradient to the scores."""
