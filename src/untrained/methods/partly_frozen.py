"""Sparse and partly frozen starts: a seeded random set of weights is dropped, or kept, before any method chooses.

    by the seed alone every weight is dropped with probability `pruned`, locked on with probability `locked`, or free
    W_eff = 0, W, or the result of the inner method on the free weights, as one row

The seed gives the set, so that it costs no bit in the ticket: only the codes of the free weights are stored. Where the
inner method has a `keep`, that stays the fraction of *all* weights kept: it chooses ⌈keep·n⌉ minus the locked ones, and
none where more than that are locked.

The frozen values are (2, *shape): the weights, and 0, 1 or 2 for dropped, locked, free.

Source: sparse start: Gadhikar, Mukherjee, Burkholz, "Why Random Pruning Is All We Need to Start Sparse", ICML 2023,
arXiv 2210.02412; locked weights: Otsuka et al., "Partially Frozen Random Networks Contain Compact Strong Lottery
Tickets", arXiv 2402.14029.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor

from untrained.methods.base import UNDECIDED, Method, Tensors
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.masks import current, decode_mask, groups, straight_through
from untrained.methods.schedules import Cubic, Schedule
from untrained.selection.topk import checked, keep_count, keep_of
from untrained.weights.source import Source

_DROPPED, _LOCKED, _FREE = 0, 1, 2


def _inner(name: str) -> Any:
    """Return a property that is the inner method's."""
    return property(lambda self: getattr(self.of, name))


@final
@dataclass(frozen=True)
class PartlyFrozen(Method):
    """Sparse or partly frozen start: a random set is dropped or locked on, and another method chooses from the rest.

    Args:
        of: the method that chooses; one of a single frozen value per weight, without permanent drops, without
            structure, and whose codes mean the same in a tensor of any shape.
        pruned: probability that a weight is dropped beforehand.
        locked: probability that a weight is kept beforehand.

    Example:
        >>> model = ut.mask_(nn.Linear(100, 10), ut.PartlyFrozen(ut.EdgePopup(keep=0.1), pruned=0.5), seed=0)
        >>> int(ut.masks(model)["weight"].sum())
        100
    """

    of: Method = field(default_factory=EdgePopup)
    pruned: float = 0.3
    locked: float = 0.0

    _limits: ClassVar = {"pruned": (0, 1), "locked": (0, 1)}
    planes = 2
    law = _inner("law")
    paper = _inner("paper")
    recipe = _inner("recipe")
    learns = _inner("learns")
    samples = _inner("samples")
    together = _inner("together")  # pyright: ignore[reportIncompatibleMethodOverride]
    takes_keep = _inner("takes_keep")  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pruned + self.locked < 1:
            raise ValueError(f"pruned + locked must be below 1, got {self.pruned} + {self.locked}")
        own = [name for name in ("frozen", "stepped") if getattr(type(self.of), name) is not getattr(Method, name)]
        if own or getattr(self.of, "structure", None) is not None:
            raise ValueError(f"of must be a method that neither redraws, drops nor blocks, got {self.of}")
        if not self._decodes_a_row():
            raise ValueError(f"of must be a method that needs no fan in to decode, got {self.of}")

    @property
    def keep(self) -> float | Schedule:
        """The fraction of all weights that the inner method is asked to keep; 1 if it decides that itself."""
        return getattr(self.of, "keep", 1.0)

    def keeping(self, keep: float) -> Self:
        inner = self.of.keeping(keep)
        down = getattr(inner, "keep", None)
        if isinstance(down, Cubic):  # it cannot begin with more than the free weights
            down = replace(down, start=max(keep, min(down.start, 0.9 * (1 - self.pruned))))
            inner = replace(inner, keep=down)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return replace(self, of=inner)

    def _decodes_a_row(self) -> bool:
        """Return True if the inner method decodes the free weights, which are a row."""
        row = torch.zeros(1, device="cpu")
        try:
            self.of.decode(row, row.to(torch.int8))
        except ValueError:
            return False
        return True

    def frozen(self, source: Source, codes: Tensor | None = None) -> Tensor:
        weight = source.draw()
        return torch.stack([weight, self._roles(source).to(weight)])

    def given(self, source: Source) -> Tensor | None:
        roles = self._roles(source)  # 0 and 1 are the codes of the dropped and the locked
        return roles.masked_fill_(roles == _FREE, UNDECIDED)

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return self.of.init_scores(weight, generator)

    def codes(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return self._choose(weights, scores, lambda method, *free: method.codes(*free))

    def sampled_codes(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        return self._choose(weights, scores, lambda method, *free: method.sampled_codes(*free, noise))

    def _choose(self, weights: Tensors, scores: Tensors, choose: Callable[..., Tensors]) -> dict[str, Tensor]:
        """Return the codes that the inner method chooses for the free weights, among those of the others."""
        codes = {}
        for method, group in self._groups(weights):
            free = _free_weights(group, scores)
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

    def effective(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        return self._apply(weights, scores, lambda method, *free: method.effective(*free))

    def sampled(self, weights: Tensors, scores: Tensors, noise: Tensor) -> dict[str, Tensor]:
        return self._apply(weights, scores, lambda method, *free: method.sampled(*free, noise))

    def _apply(self, weights: Tensors, scores: Tensors, use: Callable[..., Tensors]) -> dict[str, Tensor]:
        """Return the inner method's effective weights in their places, among the dropped and the locked."""
        effective = {}
        for method, group in self._groups(weights):
            free = _free_weights(group, scores)
            for name, row in (self._keep_none(*free) if method is None else use(method, *free)).items():
                values, role = group[name]
                effective[name] = decode_mask(values, role == _LOCKED).masked_scatter(role == _FREE, row)
        return effective

    def penalty(self, weights: Tensors, scores: Tensors) -> Tensor | None:
        return self.of.penalty(*_free_weights(weights, scores))

    def _roles(self, source: Source) -> Tensor:
        chance = source.uniforms("start").double().add_(1).div_(2)
        roles = torch.full(source.shape, _FREE, dtype=torch.int8, device="cpu")
        roles[chance >= 1 - self.locked] = _LOCKED
        roles[chance < self.pruned] = _DROPPED
        return roles

    def _groups(self, weights: Tensors) -> Iterator[tuple[Method | None, Tensors]]:
        """Yield the inner method, set to keep the rest of `keep`, and its tensors for each group ranked together."""
        for names in groups(weights, self.together):
            group = {name: weights[name] for name in names}
            yield self._inner_method(group), group

    def _inner_method(self, group: Tensors) -> Method | None:
        """Return the inner method, set to keep the part of `keep` beyond the locked weights; None if there is none."""
        if not hasattr(self.of, "keep"):
            return self.of
        roles = [weight[1] for weight in group.values()]
        free, locked = (sum(int((role == kind).sum()) for role in roles) for kind in (_FREE, _LOCKED))
        keep = current(self.keep)
        wanted = keep_count(keep, sum(role.numel() for role in roles)) - locked
        if wanted > free:
            raise ValueError(
                f"{', '.join(map(repr, group))}: keep {keep} needs {wanted} weights more than the {locked} that "
                f"are locked, and {free} are free"
            )
        if wanted < 1:
            return None
        return replace(self.of, keep=keep_of(wanted, free))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _keep_none(self, weights: Tensors, scores: Tensors) -> dict[str, Tensor]:
        """Return zeros for all free weights, with the gradient of weights that are not kept."""
        kept = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        slopes = {n: self.of.slope(w, scores[n].detach(), kept[n].to(torch.int8)) for n, w in weights.items()}
        return {name: straight_through(kept[name], scores[name], slopes[name]) for name in weights}


def _free_weights(group: Tensors, scores: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the free weights and their scores, each tensor as a row."""
    for name in group:
        checked(scores[name], name)  # also where no weight is chosen
    free = {name: weight[1] == _FREE for name, weight in group.items()}
    return {n: group[n][0][free[n]] for n in group}, {n: scores[n][free[n]] for n in group}
