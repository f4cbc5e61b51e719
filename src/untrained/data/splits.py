"""Labelled images, and how a data set that comes in one piece is divided into parts."""

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from untrained.data.holdout import hold_out


class Images(Protocol):
    """Images that are picked by number: a uint8 tensor, or a source that decodes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor, /) -> Tensor: ...


@final
class ChosenImages:
    """Some images of a lazily decoded source.

    Args:
        images: The source.
        indices: Which of its images, int64 (n,).
    """

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
    """One part of a data set.

    Args:
        images: uint8 (n, channels, height, width), 0..255, or a source that decodes such images lazily.
        labels: The class of each image, int64 (n,).

    Raises:
        ValueError: A tensor has another type or shape, or the two differ in length.
    """

    images: Images
    labels: Tensor

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise ValueError(f"labels: got {_form(self.labels)}, expected int64 (n,)")
        if isinstance(self.images, Tensor) and (self.images.dtype != torch.uint8 or self.images.dim() != 4):
            raise ValueError(f"images: got {_form(self.images)}, expected uint8 (n, channels, height, width)")
        if len(self.images) != len(self.labels):
            raise ValueError(f"got {len(self.images)} images and {len(self.labels)} labels, expected as many")

    def __len__(self) -> int:
        return len(self.labels)

    def divide(self, count: int) -> tuple["Split", "Split"]:
        """Divide into the examples kept and `count` held out, as `hold_out` does.

        Raises:
            ValueError: no example would be kept or held out.
        """
        kept, held = map(torch.from_numpy, hold_out(len(self), count))
        return self.choose(kept), self.choose(held)

    def choose(self, indices: Tensor) -> "Split":
        """Take some of the examples.

        Args:
            indices: Which examples, int64 (n,).

        Returns:
            A split of these examples, in this order.
        """
        lazy = not isinstance(self.images, Tensor)
        images = ChosenImages(self.images, indices) if lazy else self.images[indices]
        return Split(images, self.labels[indices])


@final
@dataclass(frozen=True, eq=False)
class SourceData:
    """What a source of images holds, before it becomes a data set.

    Args:
        train: The part to learn from.
        test: The official test part.
        labels: Class names.
        augment: Whether a shifted or mirrored image keeps its class.
        val: The source's own validation part; None: to be held out from `train`.
        statistics: Mean and standard deviation per channel, 0..1; None: to be computed from `train`.
    """

    train: Split
    test: Split
    labels: tuple[str, ...]
    augment: bool
    val: Split | None = None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
