"""Splits: labelled images in memory, or decoded when they are used."""

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from untrained.data.holdout import hold_out


class Images(Protocol):
    """Images picked by index: a uint8 tensor, or files that are decoded on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor, /) -> Tensor: ...


@final
class ChosenImages:
    """Images at these indices, int64 (n,), decoded on demand."""

    def __init__(self, images: Images, indices: Tensor) -> None:
        self._images = images
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        return self._images[self._indices[indices]]


@final
@dataclass(frozen=True, eq=False)
class Split:
    """A part of a data set.

    Args:
        images: uint8 (n, channels, height, width), 0..255, or such images decoded on demand.
        labels: the class of each image, int64 (n,).

    Raises:
        ValueError: a tensor has another type or shape, or the two differ in length.
    """

    images: Images
    labels: Tensor

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise ValueError(f"labels must be int64 (n,), got {describe_form(self.labels)}")
        if isinstance(self.images, Tensor) and (self.images.dtype != torch.uint8 or self.images.dim() != 4):
            raise ValueError(f"images must be uint8 (n, channels, height, width), got {describe_form(self.images)}")
        if len(self.images) != len(self.labels):
            raise ValueError(f"labels must be as many as images, got {len(self.labels)} and {len(self.images)}")

    def __len__(self) -> int:
        return len(self.labels)

    def divide(self, count: int) -> tuple["Split", "Split"]:
        """Return the examples kept and `count` held out, as `hold_out` divides them."""
        kept, held = map(torch.from_numpy, hold_out(len(self), count))
        return self.choose(kept), self.choose(held)

    def choose(self, indices: Tensor) -> "Split":
        """Return a split of the examples at these indices, int64 (n,), in their order."""
        lazy = not isinstance(self.images, Tensor)
        images = ChosenImages(self.images, indices) if lazy else self.images[indices]
        return Split(images, self.labels[indices])


@final
@dataclass(frozen=True, eq=False)
class SourceData:
    """Official parts of a data set, before validation examples are held out.

    Attributes:
        train, test, labels: see `DataSet`.
        augment: a shifted or mirrored image keeps its class.
        val: None: to be held out from `train`.
        statistics: mean and standard deviation per channel, 0..1; None: to be computed from `train`.
    """

    train: Split
    test: Split
    labels: tuple[str, ...]
    augment: bool
    val: Split | None = None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def describe_form(tensor: Tensor) -> str:
    """Return dtype and shape as text."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
