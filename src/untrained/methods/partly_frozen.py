"""Sparse and partly frozen starts: a seeded random set of weights is dropped, or kept, before any method chooses.

    by the seed alone every weight is dropped with probability `pruned`, locked on with probability `locked`, or free
    W_eff = 0, W, or what the inner method makes of the free weights, which it sees as one row

The seed gives the set, so that it costs no bit in the ticket: only the codes of the free weights are stored. Where the
inner method has a `keep`, that stays the fraction of *all* weights kept: it chooses ⌈keep·n⌉ minus the locked ones.

What is frozen is (2, *shape): the weights, and 0, 1 or 2 for dropped, locked, free.

Source: sparse start: Gadhikar, Mukherjee, Burkholz, "Why Random Pruning Is All We Need to Start Sparse", ICML 2023,
arXiv 2210.02412; locked weights: Otsuka et al., "Partially Frozen Random Networks Contain Compact Strong Lottery
Tickets", arXiv 2402.14029.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self, final

import torch
from torch import Tensor

from untrained.methods.base import UNDECIDED, Method
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.masks import checked_number, decode_mask, groups, share
from untrained.select import checked, keep_count
from untrained.weights import Source

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
        checked_number("pruned", self.pruned, 0, 1)
        checked_number("locked", self.locked, 0, 1)
        if not self.pruned + self.locked < 1:
            raise ValueError(f"pruned + locked must be below 1, got {self.pruned} + {self.locked}")
        own = [name for name in ("frozen", "settled") if getattr(type(self.of), name) is not getattr(Method, name)]
        if own or getattr(self.of, "structure", None) is not None:
            raise ValueError(f"of must be a method that neither redraws, drops nor blocks, got {self.of}")

    @property
    def keep(self) -> float:
        """The fraction of all weights that the inner method is asked to keep; 1 if it decides that itself."""
        return share(getattr(self.of, "keep", 1.0))

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
        return replace(self, of=self.of.keeping(keep))

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        weight = source.draw()
        return torch.stack([weight, self._roles(source).to(weight)])

    def given(self, source: Source) -> Tensor | None:
        return torch.tensor([0, 1, UNDECIDED], dtype=torch.int8)[self._roles(source)]

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return self.of.init_scores(weight, generator)

    def codes(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        codes = {}
        for method, group in self._groups(weights):
            for name, chosen in method.codes(*_free_of(group, scores)).items():
                role = weights[name][1]
                codes[name] = (role == _LOCKED).to(torch.int8)
                codes[name][role == _FREE] = chosen
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
            effective |= _whole(group, method.effective(*_free_of(group, scores)))
        return effective

    def sampled(self, weights: Mapping[str, Tensor], scores: Mapping[str, Tensor], noise: Tensor) -> dict[str, Tensor]:
        effective = {}
        for method, group in self._groups(weights):
            effective |= _whole(group, method.sampled(*_free_of(group, scores), noise))
        return effective

    def penalty(self, scores: Mapping[str, Tensor]) -> Tensor | None:
        return self.of.penalty(scores)

    def _roles(self, source: Source) -> Tensor:
        chance = (source.uniforms("start").double() + 1) / 2
        roles = torch.full(source.shape, _FREE)
        roles[chance >= 1 - self.locked] = _LOCKED
        roles[chance < self.pruned] = _DROPPED
        return roles

    def _groups(self, weights: Mapping[str, Tensor]):
        """(the inner method, asked for what is missing to `keep`, and its tensors) for all that are ranked together."""
        for names in groups(weights, self.together):
            group = {name: weights[name] for name in names}
            yield self._asked_for_the_rest(group), group

    def _asked_for_the_rest(self, group: Mapping[str, Tensor]) -> Method:
        if not hasattr(self.of, "keep"):
            return self.of
        roles = [weight[1] for weight in group.values()]
        free, locked = (sum(int((role == kind).sum()) for role in roles) for kind in (_FREE, _LOCKED))
        wanted = keep_count(self.keep, sum(role.numel() for role in roles)) - locked
        if not 0 < wanted <= free:
            if not free:
                return self.of
            raise ValueError(
                f"{', '.join(map(repr, group))}: keep {self.keep} needs {wanted} weights more than the {locked} that "
                f"are locked, and {free} are free"
            )
        # Half a weight less, so that ⌈keep·free⌉ is exactly what is wanted.
        return replace(self.of, keep=(wanted - 0.5) / free)  # pyright: ignore[reportArgumentType, reportCallIssue]


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
