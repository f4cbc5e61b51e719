"""Batches of a split: shuffled, augmented, normalised and sharded among processes."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from typing import Self, final

import torch
from torch import Tensor
from torch.nn import functional

from untrained.data.splits import Split

_CROP_PADDING = 4


@final
class Batches:
    """Batches of normalised images float32 (b, channels, height, width) and labels int64 (b,).

    Order and augmentation depend on the seed and the epoch alone, and torch's global generator is never touched.
    Augmentation is a mirror image half of the time, and a crop of the image padded with 4 black pixels on each side.

    Args:
        split: the examples.
        batch_size: examples per batch and rank; the last batch may be smaller. A single example left over joins the
            batch before, as norm layers cannot learn from one.
        mean, std: mean and standard deviation per channel, on the 0..1 scale.
        shuffle: draw a new order for each epoch.
        augment: crop at random and mirror.
        seed: of the order and the augmentation.
        device: where the batches go.
        rank, world: number of this share, 0..world-1, and of all shares.

    Raises:
        ValueError: the batch size is below 1 or the rank out of range.

    Example:
        >>> data = ut.load_data("digits")
        >>> x, y = next(iter(ut.Batches(data.train, 32, mean=data.mean, std=data.std, shuffle=True)))
        >>> x.shape, y.shape
        (torch.Size([32, 1, 8, 8]), torch.Size([32]))
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        shuffle: bool = False,
        augment: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        self.split, self.batch_size = split, batch_size
        self._mean, self._std = tuple(mean), tuple(std)
        self._shuffle, self._augment = shuffle, augment
        self._seed, self._device, self._epoch = seed, torch.device(device), 0
        self._set_share(rank, world)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, 0 at first, whose order and augmentation the next iteration has."""
        self._epoch = epoch

    def shard(self, rank: int, world: int) -> Self:
        """Return the share of a rank, 0..world-1, which has as many batches as every other.

        Batch i of all ranks together is batch i of one process with `world` times the batch size, except that a last
        batch of one example per rank joins the batch before. Shares are disjoint, except that shuffled examples which
        cannot be divided evenly are filled up with the first of the epoch; otherwise a rank's last batch may be empty.

        Raises:
            ValueError: the rank is out of range.
        """
        share = copy.copy(self)
        share._set_share(rank, world)
        return share

    def __len__(self) -> int:
        whole, rest = divmod(self._count_examples(), self.batch_size * self._world)
        joined = whole > 0 and self.batch_size > 1 and rest <= self._world
        return whole + (rest > 0 and not joined)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = self.batch_size * self._world
        mean = 255 * torch.tensor(self._mean, device=self._device).view(-1, 1, 1)
        std = 255 * torch.tensor(self._std, device=self._device).view(-1, 1, 1)
        # Fixed here, so that set_epoch in the middle of an iteration does not mix two epochs.
        epoch = self._epoch
        order = self._draw_order(epoch)
        batches = len(self)
        for number in range(batches):
            together = order[number * step : (number + 1) * step if number + 1 < batches else None]
            rows = together[self._rank :: self._world]
            images = self.split.images[rows].to(self._device)
            if self._augment:
                images = _crop_and_mirror(images, self._draw_moves(epoch, number, len(together))[: len(rows)])
            yield (images.float() - mean) / std, self.split.labels[rows].to(self._device)

    def _set_share(self, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in 0..world-1, got {rank} of a world of {world}")
        self._rank, self._world = rank, world

    def _count_examples(self) -> int:
        count = len(self.split)
        return count + -count % self._world if self._shuffle else count

    def _draw_order(self, epoch: int) -> Tensor:
        numbers = torch.arange(self._count_examples(), device="cpu") % max(len(self.split), 1)
        if not self._shuffle:
            return numbers
        return torch.randperm(len(self.split), generator=_make_generator(self._seed, epoch), device="cpu")[numbers]

    def _draw_moves(self, epoch: int, number: int, images: int) -> Tensor:
        # Every rank draws for all ranks and takes its part, so that the moves do not depend on the world.
        generator = _make_generator(self._seed, epoch, number)
        count = max(self.batch_size * self._world, images)
        shifts = torch.randint(2 * _CROP_PADDING + 1, (count, 2), generator=generator, device="cpu")
        mirrored = torch.randint(2, (count, 1), generator=generator, device="cpu")
        return torch.cat((shifts, mirrored), dim=1)[self._rank :: self._world]


def _crop_and_mirror(images: Tensor, moves: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    top, left, mirrored = moves.to(images.device)[:, :, None].unbind(1)
    rows = torch.arange(height, device=images.device) + top
    columns = torch.arange(width, device=images.device).expand(count, -1)
    columns = torch.where(mirrored.bool(), columns.flip(1), columns) + left
    return functional.pad(images, [_CROP_PADDING] * 4)[
        torch.arange(count, device=images.device)[:, None, None, None],
        torch.arange(channels, device=images.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _make_generator(*numbers: int) -> torch.Generator:
    # A hash, because neighbouring seeds must not give related streams.
    digest = hashlib.blake2b(",".join(map(str, map(int, numbers))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
