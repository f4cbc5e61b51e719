"""Structures: masks whose zeros come in patterns that hardware can use.

A weight is seen as (units, inputs, …): N:M groups run along the inputs, blocks are tiles of the matrix (units, inputs ·
the rest).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from untrained.fields import check_fields
from untrained.selection.topk import checked, top


class Structure(abc.ABC):
    """Pattern that a mask must have. A final structure is a frozen dataclass.

    Example:
        >>> ut.NofM(2, 4).keep, ut.Block(32, 32).keep
        (0.5, None)
    """

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def keep(self) -> float | None:
        """The only fraction that can be kept; None: any."""
        return None

    @abc.abstractmethod
    def score_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the scores of a weight of this shape."""

    @abc.abstractmethod
    def spread(self, scores: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the score of every weight, of the weight's shape; differentiable."""

    @abc.abstractmethod
    def choose(self, scores: Tensor, shape: Sequence[int], keep: float, *, signed: bool, name: str) -> Tensor:
        """Return the boolean mask of the weight's shape; of equal scores the lowest index wins.

        Raises:
            ValueError: a score is NaN.
        """


@final
@dataclass(frozen=True)
class NofM(Structure):
    """N:M sparsity: exactly n of every m consecutive inputs of a unit; of a last, shorter group of r, ⌈n·r/m⌉.

    GPUs since Ampere multiply 2:4 patterns at up to twice the speed.

    Args:
        n: weights kept of a group; `keep` must be n/m.
        m: weights of a group.

    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378.

    Example:
        >>> model = ut.mask_(nn.Linear(8, 1), ut.EdgePopup(structure=ut.NofM(2, 4)), seed=0)
        >>> ut.masks(model)["weight"].view(2, 4).sum(1)
        tensor([2, 2])
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n <= self.m:
            raise ValueError(f"n must be in 1 … m, got {self.n} of {self.m}")

    @property
    def keep(self) -> float:
        return self.n / self.m

    def score_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape)

    def spread(self, scores: Tensor, shape: Sequence[int]) -> Tensor:
        return scores

    def choose(self, scores: Tensor, shape: Sequence[int], keep: float, *, signed: bool, name: str) -> Tensor:
        ranks = checked(scores, name)
        ranks = (ranks if signed else ranks.abs()).movedim(1, -1)
        inputs = ranks.shape[-1]
        groups = -(-inputs // self.m)
        padded = torch.nn.functional.pad(ranks, (0, groups * self.m - inputs), value=-math.inf)
        order = padded.unflatten(-1, (groups, self.m)).sort(stable=True, dim=-1, descending=True).indices
        counts = torch.full((groups, 1), self.n, device=scores.device)
        if groups:
            counts[-1] = -(-self.n * (inputs - (groups - 1) * self.m) // self.m)
        # argsort of the order gives each element's place in it.
        mask = (order.argsort(-1) < counts).flatten(-2)[..., :inputs]
        return mask.movedim(-1, 1).contiguous()


@final
@dataclass(frozen=True)
class Block(Structure):
    """Blocks of height × width, smaller at the edges: one score a block, exactly ⌈keep · blocks⌉ blocks kept.

    Args:
        height: units of a block.
        width: inputs (times kernel positions) of a block.

    Source: SuperBlock (Meta, 2024) for trained weights.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 64), ut.EdgePopup(structure=ut.Block(32, 16)), seed=0)
        >>> ut.scores(model)[0].shape, int(ut.masks(model)["weight"].sum())
        (torch.Size([2, 4]), 2048)
    """

    height: int
    width: int

    _limits: ClassVar = {"height": (1, math.inf), "width": (1, math.inf)}

    def score_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return -(-shape[0] // self.height), -(-math.prod(shape[1:]) // self.width)

    def spread(self, scores: Tensor, shape: Sequence[int]) -> Tensor:
        rows = scores.repeat_interleave(self.height, 0)[: shape[0]]
        return rows.repeat_interleave(self.width, 1)[:, : math.prod(shape[1:])].reshape(tuple(shape))

    def choose(self, scores: Tensor, shape: Sequence[int], keep: float, *, signed: bool, name: str) -> Tensor:
        (blocks,) = top([scores], keep, signed=signed, names=[name])
        return self.spread(blocks, shape)
