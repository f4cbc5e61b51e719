"""Sparse and partly frozen starts: a seeded random set of weights is dropped, or kept, before any method chooses.

    by the seed alone every weight is dropped with probability `pruned`, locked on with probability `locked`, or free
    W_eff = 0, W, or what the inner method makes of the free weights, which it sees as one row

The seed gives the set, so that it costs no bit in the ticket: only the codes of the free weights are stored. Where the
inner method has a `keep`, that stays the fraction of *all* weights kept: it chooses ⌈keep·n⌉ minus the locked ones, and
none where more than that are locked.

What is frozen is (2, *shape): the weights, and 0, 1 or 2 for dropped, locked, free.

Source: sparse start: Gadhikar, Mukherjee, Burkholz, "Why Random Pruning Is All We Need to Start Sparse", ICML 2023,
arXiv 2210.02412; locked weights: Otsuka et al., "Partially Frozen Random Networks Contain Compact Strong Lottery
Tickets", arXiv 2402.14029.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, final

import torch
from torch import Tensor

from untrained.methods.base import UNDECIDED, Method
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.masks import checked_number, decode_mask, groups, share, straight_through
from untrained.methods.recipe import Paper, Recipe
from untrained.methods.schedules import Cubic, Schedule
from untrained.selection.topk import checked, keep_count, keep_of
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source

_DROPPED, _LOCKED, _FREE = 0, 1, 2


@final
@dataclass(frozen=True)
class PartlyFrozen(Method):
    """Sparse or partly frozen start: a random set is dropped or locked on; the inner method chooses among the rest.

    Args:
        of: the method that chooses; one of a single frozen value per weight, that drops nothing for good and has no
            structure.
        pruned: probability that a weight is dropped beforehand.
        locked: probability that a weight is kept beforehand.
    """

    of: Method = field(default_factory=EdgePopup)
    pruned: float = 0.3
    locked: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number("pruned", self.pruned, 0, 1)
        checked_number("locked", self.locked, 0, 1)
        if not self.pruned + self.locked < 1:
            raise ValueError(f"pruned + locked must be below 1, got {self.pruned} + {self.locked}")
        own = [name for name in ("frozen", "stepped") if getattr(type(self.of), name) is not getattr(Method, name)]
        if own or getattr(self.of, "structure", None) is not None:
            raise ValueError(f"of must be a method that neither redraws, drops nor blocks, got {self.of}")

    @property
    def keep(self) -> float | Schedule:
        """The fraction of all weights that the inner method is asked to keep; 1 if it decides that itself."""
        return getattr(self.of, "keep", 1.0)

    @property
    def takes_keep(self) -> bool:
        return self.of.takes_keep

    @property
    def recipe(self) -> Recipe:
        return self.of.recipe

    @property
    def law(self) -> WeightLaw:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.of.law

    @property
    def paper(self) -> Paper | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.of.paper

    @property
    def learns(self) -> bool:
        return self.of.learns

    @property
    def samples(self) -> bool:
        return self.of.samples

    @property
    def together(self) -> bool:
        return self.of.together

    def keeping(self, keep: float) -> Self:
        inner = self.of.keeping(keep)
        down = getattr(inner, "keep", None)
        if isinstance(down, Cubic):  # it cannot begin with more than is left
            down = replace(down, start=max(keep, min(down.start, 0.9 * (1 - self.pruned))))
            inner = replace(inner, keep=down)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return replace(self, of=inner)

    @property
    def planes(self) -> int:
        return 2

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        weight = source.draw()
        return torch.stack([weight, self._roles(source).to(weight)])

    def given(self, source: Source) -> Tensor | None:
        roles = self._roles(source)  # 0 and 1 are the codes of the dropped and the locked
        return roles.masked_fill_(roles == _FREE, UNDECIDED)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return self.of.init_scores(weight, generator)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._filled_up(weights, scores, lambda method, *free: method.codes(*free))

    def sampled_codes(
        self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor
    ) -> dict[str, Tensor]:
        return self._filled_up(weights, scores, lambda method, *free: method.sampled_codes(*free, noise))

    def _filled_up(
        self,
        weights: Mapping[str, Tensor],
        scores: Mapping[str, Tensor],
        choose: Callable[..., Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The codes chosen for the free weights, among those of the others."""
        codes = {}
        for method, group in self._groups(weights):
            free = _free_of(group, scores)
            chosen = None if method is None else choose(method, *free)
            for name, (_, role) in group.items():
                codes[name] = (role == _LOCKED).to(torch.int8)
                if chosen is not None:
                    codes[name][role == _FREE] = chosen[name]
        return codes

    def decode(self, weight: Tensor, codes: Tensor) -> Tensor:
        values, role = weight
        free = role == _FREE
        whole = decode_mask(values, role == _LOCKED)
        whole[free] = self.of.decode(values[free], codes[free])
        return whole

    def effective(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        effective = {}
        for method, group in self._groups(weights):
            free = _free_of(group, scores)
            effective |= _whole(group, self._nothing(*free) if method is None else method.effective(*free))
        return effective

    def sampled(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        effective = {}
        for method, group in self._groups(weights):
            free = _free_of(group, scores)
            effective |= _whole(group, self._nothing(*free) if method is None else method.sampled(*free, noise))
        return effective

    def penalty(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> Tensor | None:
        return self.of.penalty(*_free_of(weights, scores))

    def _roles(self, source: Source) -> Tensor:
        chance = source.uniforms("start").double().add_(1).div_(2)
        roles = torch.full(source.shape, _FREE, dtype=torch.int8, device="cpu")
        roles[chance >= 1 - self.locked] = _LOCKED
        roles[chance < self.pruned] = _DROPPED
        return roles

    def _groups(self, weights: Mapping[str, Tensor]):
        """(the inner method, asked for what is missing to `keep`, and its tensors) for all that are ranked together."""
        for names in groups(weights, self.together):
            group = {name: weights[name] for name in names}
            yield self._asked_for_the_rest(group), group

    def _asked_for_the_rest(self, group: Mapping[str, Tensor]) -> Method | None:
        """The inner method, set to keep what the locked weights leave of `keep`; None if they leave nothing."""
        if not hasattr(self.of, "keep"):
            return self.of
        roles = [weight[1] for weight in group.values()]
        free, locked = (sum(int((role == kind).sum()) for role in roles) for kind in (_FREE, _LOCKED))
        keep = share(self.keep)
        wanted = keep_count(keep, sum(role.numel() for role in roles)) - locked
        if wanted > free:
            raise ValueError(
                f"{', '.join(map(repr, group))}: keep {keep} needs {wanted} weights more than the {locked} that "
                f"are locked, and {free} are free"
            )
        if wanted < 1:
            return None
        return replace(self.of, keep=keep_of(wanted, free))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _nothing(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """No free weight kept, with the gradient that those not kept always have."""
        kept = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        slopes = {n: self.of.slope(w, scores[n].detach(), kept[n].to(torch.int8)) for n, w in weights.items()}
        return {name: straight_through(kept[name], scores[name], slopes[name]) for name in weights}


def _free_of(group: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The free weights and their scores, each tensor as a row."""
    for name in group:
        checked(scores[name], name)  # NaN is NaN, even where nobody chooses
    free = {name: weight[1] == _FREE for name, weight in group.items()}
    return {n: group[n][0][free[n]] for n in group}, {n: scores[n][free[n]] for n in group}


def _whole(group: Mapping[str, Tensor], chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows back in their places, among the dropped and the locked."""
    whole = {}
    for name, row in chosen.items():
        values, role = group[name]
        start = decode_mask(values, role == _LOCKED)
        whole[name] = start.masked_scatter(role == _FREE, row)
    return whole
