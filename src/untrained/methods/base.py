"""The law of a Method: pure functions from scores to the effective weight of a frozen network."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from untrained.fields import check_fields
from untrained.methods.masks import decode_mask, straight_through
from untrained.methods.recipe import SCORES, Paper, Recipe
from untrained.methods.schedules import Schedule
from untrained.weights.laws import SignedConstant, WeightLaw
from untrained.weights.source import Source

UNDECIDED = -128
"""What `Method.given` says of an element whose code the seed does not give."""


class Method(abc.ABC):
    """A way to find a subnetwork. A final method is a frozen dataclass: it *is* its configuration.

    Laws, which `untrained.testing.method.check_method` and the shared tests hold every method to:
    * `effective(weights, scores)[name]` equals `decode(weights[name], codes(weights, scores)[name])` bit for bit;
    * codes are int8, 0 always meaning a dropped weight, and a pure function of weights and scores: the same under every
      memory format and thread count;
    * equal scores are told apart by the lowest flat index, and NaN scores raise an error that names the tensor;
    * fields are JSON-able once schedules have ended, for they are written into the ticket; what `decode` reads is never
      a schedule.

    Two members are abstract; with `decode` and `slope` they say what most methods are. The others are for those that
    sample, learn their sparsity, move or redraw.
    """

    law: ClassVar[WeightLaw] = SignedConstant()
    """The frozen weights that suit it, drawn unless `mask_` is told otherwise."""

    paper: ClassVar[Paper | None] = None
    """What its authors ran; `fit(recipe="paper")` uses it."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def recipe(self) -> Recipe:
        """How we let its scores learn."""
        return SCORES

    @property
    def learns(self) -> bool:
        """Whether the loss has anything to teach the scores."""
        return True

    @property
    def samples(self) -> bool:
        """Whether `sampled` draws; while training it is then used instead of `effective`."""
        return False

    @property
    def together(self) -> bool:
        """Whether the choice in one tensor depends on the scores of the others."""
        return False

    @abc.abstractmethod
    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The first scores of one tensor.

        Args:
            weight: a tensor of the weight's shape, dtype and device; its values have no say.
            generator: the only source of randomness, on the CPU.

        Returns:
            Scores of the weight's dtype and device, and usually of its shape.
        """

    @abc.abstractmethod
    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The discrete choice: one small integer per weight.

        Args:
            weights: what is frozen, by name, of all tensors that this method is to choose from together.
            scores: their scores, same names.

        Returns:
            int8 tensors of the weights' shapes, same names.

        Raises:
            ValueError: a score is NaN.
        """

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        """The effective weight that codes mean: a fresh tensor of the weight's shape, dtype and device.

        By default that of a mask: W where the code is not 0.
        """
        return decode_mask(weight, codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        """What ∂L/∂W_eff is multiplied by on its way to the scores: ∂L/∂s = slope ⊙ ∂L/∂W_eff.

        W by default: straight through the choice of a mask. Of the scores' shape, or one that goes with it.
        """
        return weight

    def effective(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the forward pass uses: the decoded choice, with the method's own gradient to the scores."""
        return self.through(weights, scores, self.codes(weights, scores))

    def sampled_codes(
        self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor
    ) -> dict[str, Tensor]:
        """The codes of one sample, for methods that sample; see `sampled`."""
        return self.codes(weights, scores)

    def sampled(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        """What the forward pass of training uses, for methods that sample.

        Args:
            weights: what is frozen.
            scores: their scores.
            noise: an int64 scalar, all that the samples may depend on besides; a region that is recomputed in the
                backward pass is given the same once more.
        """
        if not self.samples:
            return self.effective(weights, scores)
        return self.through(weights, scores, self.sampled_codes(weights, scores, noise))

    def through(
        self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], codes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the decoded choice, with the gradient that goes straight through it to the scores."""
        effective = {name: self.decode(weight, codes[name]) for name, weight in weights.items()}
        if not self.learns:
            return effective
        slopes = {name: self.slope(weight, scores[name].detach(), codes[name]) for name, weight in weights.items()}
        return {name: straight_through(value, scores[name], slopes[name]) for name, value in effective.items()}

    def penalty(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> Tensor | None:
        """What is added to the loss; None: nothing."""
        return None

    def at(self, progress: float) -> Self:
        """The method when the share `progress`, 0..1, of the search is done: every schedule replaced by its value."""
        moved = {}
        for field in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]  final methods are dataclasses
            value = getattr(self, field.name)
            if isinstance(value, Schedule | Method):
                moved[field.name] = value.at(progress)
        return dataclasses.replace(self, **moved) if moved else self  # pyright: ignore[reportArgumentType]

    @property
    def takes_keep(self) -> bool:
        """True where `keeping` sets how much is kept: with a field `keep`, or a `keeping` of its own."""
        has_field = any(field.name == "keep" for field in dataclasses.fields(self))  # pyright: ignore[reportArgumentType]
        return has_field or type(self).keeping is not Method.keeping

    @property
    def final_keep(self) -> float | None:
        """The fraction that `keep` is when the search ends; None where the scores decide how much is kept."""
        return getattr(self.at(1.0), "keep", None)

    def keeping(self, keep: float) -> Self:
        """Return the method to search with for this fraction; itself where it does not take one."""
        if not self.takes_keep:
            return self
        return dataclasses.replace(self, keep=keep)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        """What is frozen of one tensor, which all other members are given as its weight.

        Args:
            source: draws the weights.
            codes: those of a ticket, for methods that redraw weights while they search; None when a search begins.

        Returns:
            The drawn weight, or several of its shape along one axis more at the front: the first of them is then the
            weight itself.
        """
        return source.draw()

    def shown(self, source: Source, codes: Tensor) -> Tensor:
        """The effective weight that a ticket's codes mean: always `decode(frozen(source, codes), codes)`.

        A method of several draws makes those only that a code shows.

        Raises:
            ValueError: it cannot have such codes.
        """
        return self.decode(self.frozen(source, codes), codes)

    @property
    def planes(self) -> int:
        """How many tensors of the weight's shape `frozen` makes."""
        return 1

    def stepped(
        self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], sources: Mapping[str, Source], step: int
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None:
        """What is frozen, and the scores, as they are to be after step `step` of the search; None: as they are."""
        return None

    def given(self, source: Source) -> Tensor | None:
        """The codes that the seed alone gives, int8 of the weight's shape, and `UNDECIDED` elsewhere; None: none.

        They are not stored in the ticket.
        """
        return None
