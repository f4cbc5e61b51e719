"""Abstract base class of methods: pure functions from scores to the effective weights of a frozen network."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from untrained.fields import check_fields, kinds_of
from untrained.methods.masks import decode_mask, straight_through
from untrained.methods.recipe import SCORES, Paper, Recipe
from untrained.methods.schedules import Schedule
from untrained.selection.topk import keep_count
from untrained.weights.laws import SignedConstant, WeightLaw
from untrained.weights.source import Source

Tensors = Mapping[str, Tensor]
"""Tensors by name."""

UNDECIDED = -128
"""Code in `Method.given` of an element whose code does not follow from the seed."""


class Method(abc.ABC):
    """Way to find a subnetwork. A final method is a frozen dataclass: it *is* its configuration.

    Laws, which `untrained.testing.check_method` and the shared tests hold every method to:
    * `effective(weights, scores)[name]` equals `decode(weights[name], codes(weights, scores)[name])` bit for bit;
    * codes are int8, 0 always meaning a dropped weight, and a pure function of weights and scores: the same under every
      memory format and thread count;
    * of equal scores the lowest flat index wins, and NaN scores raise an error that names the tensor;
    * fields are JSON-able once schedules have ended, for they are written into the ticket; fields of `decode` are never
      schedules.

    Two members are abstract; with `decode` and `slope` they define most methods. The others serve methods that sample,
    learn their sparsity, move or redraw.

    Raises:
        ValueError: a field is not as annotated, or a `keep` is outside (0, 1].

    Example:
        >>> isinstance(ut.EdgePopup(), ut.Method), ut.EdgePopup().takes_keep, ut.FedPM().takes_keep
        (True, True, False)
    """

    law: ClassVar[WeightLaw] = SignedConstant()
    """The frozen weights that suit it, drawn unless `mask_` is given others."""

    paper: ClassVar[Paper | None] = None
    """The experiment of its authors; `fit(recipe="paper")` uses it."""

    recipe: ClassVar[Recipe] = SCORES
    """Our recipe for its scores."""

    learns: ClassVar[bool] = True
    """True where the loss has a gradient to the scores."""

    samples: ClassVar[bool] = False
    """True where `sampled` draws; while training it is then used instead of `effective`."""

    planes: ClassVar[int] = 1
    """The number of tensors of the weight's shape that `frozen` makes."""

    def __post_init__(self) -> None:
        check_fields(self)
        keep = getattr(self, "keep", None) if "keep" in kinds_of(type(self)) else None
        for value in (keep.at(0.0), keep.at(1.0)) if isinstance(keep, Schedule) else (keep,):
            if isinstance(value, float):
                keep_count(value, 1)

    @property
    def together(self) -> bool:
        """True where the choice in one tensor depends on the scores of the others."""
        return False

    @abc.abstractmethod
    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Return the first scores of one tensor, of its dtype and device and usually of its shape.

        Args:
            weight: a tensor of the weight's shape, dtype and device; its values must not be used.
            generator: the only source of randomness, on the CPU.
        """

    @abc.abstractmethod
    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        """Return the discrete choice: one small integer per weight.

        Args:
            weights: frozen weights, by name, of all tensors that this method chooses from together.
            scores: their scores, same names.

        Returns:
            int8 tensors of the weights' shapes, same names.

        Raises:
            ValueError: a score is NaN.
        """

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        """Return the effective weight of codes, a fresh tensor of the weight's shape, dtype and device.

        By default that of a mask: W where the code is not 0.
        """
        return decode_mask(weight, codes)

    def slope(self, weight: Tensor, scores: Tensor, codes: Tensor) -> Tensor:
        """Return the factor of the gradient to the scores: ∂L/∂s = slope ⊙ ∂L/∂W_eff.

        W by default: straight through the choice of a mask. Of the scores' shape, or one that broadcasts to it.
        """
        return weight

    def effective(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        """Return the weights of the forward pass: the decoded choice, with the method's gradient to the scores."""
        return self.through(weights, scores, self.codes(weights, scores))

    def sampled_codes(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        """Return the codes of one sample, for methods that sample; see `sampled`."""
        return self.codes(weights, scores)

    def sampled(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        """Return the weights of a forward pass of training, for methods that sample.

        Args:
            weights: frozen weights.
            scores: their scores.
            noise: an int64 scalar, the only other thing that samples may depend on; a region that is recomputed in the
                backward pass gets the same once more.
        """
        if not self.samples:
            return self.effective(weights, scores)
        return self.through(weights, scores, self.sampled_codes(weights, scores, noise))

    def through(self, weights: Tensors, scores: Tensors, codes: Tensors) -> dict[str, Tensor]:
        """Return the decoded choice, with the gradient that goes straight through it to the scores."""
        effective = {name: self.decode(weight, codes[name]) for name, weight in weights.items()}
        if not self.learns:
            return effective
        slopes = {name: self.slope(weight, scores[name].detach(), codes[name]) for name, weight in weights.items()}
        return {name: straight_through(value, scores[name], slopes[name]) for name, value in effective.items()}

    def penalty(self, weights: Tensors, scores: Tensors) -> Tensor | None:
        """Return a term of the loss, or None."""
        return None

    def at(self, progress: float) -> Self:
        """Return the method when the share `progress`, 0..1, of the search is done: schedules become their values."""
        values = {name: getattr(self, name) for name in kinds_of(type(self))}
        moved = {name: value.at(progress) for name, value in values.items() if isinstance(value, Schedule | Method)}
        return _replace(self, **moved) if moved else self

    @property
    def takes_keep(self) -> bool:
        """True where `keeping` sets the fraction kept: with a field `keep`, or an overridden `keeping`."""
        return "keep" in kinds_of(type(self)) or type(self).keeping is not Method.keeping

    @property
    def final_keep(self) -> float | None:
        """The value of `keep` when the search ends; None where the fraction kept follows from the scores."""
        return getattr(self.at(1.0), "keep", None)

    def keeping(self, keep: float) -> Self:
        """Return the method to search with for this fraction; itself where it does not take one."""
        return _replace(self, keep=keep) if self.takes_keep else self

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        """Return the frozen values of one tensor, which all other members get as its weight.

        Args:
            source: draws the weights.
            codes: those of a ticket, for methods that redraw weights while they search; None when a search begins.

        Returns:
            The drawn weight, or several of its shape along one axis more at the front: the first of them is then the
            weight itself.
        """
        return source.draw()

    def shown(self, source: Source, codes: Tensor) -> Tensor:
        """Return the effective weight of a ticket's codes: always `decode(frozen(source, codes), codes)`.

        A method of several draws makes only the draws that a code selects.

        Raises:
            ValueError: it cannot have such codes.
        """
        return self.decode(self.frozen(source, codes), codes)

    def stepped(
        self, weights: Tensors, scores: Tensors, sources: Mapping[str, Source], step: int
    ) -> tuple[Tensors, Tensors] | None:
        """Return frozen values and scores after step `step` of the search; None: they stay as they are."""
        return None

    def given(self, source: Source) -> Tensor | None:
        """Return the codes that follow from the seed, int8, and `UNDECIDED` elsewhere; None where there are none.

        They are not stored in the ticket.
        """
        return None


def _replace(method: Any, **fields: Any) -> Any:
    return dataclasses.replace(method, **fields)
