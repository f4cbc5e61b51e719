"""Batches of a split: ordered, augmented, normalised and shared out among ranks."""

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

    Order and augmentation depend on the seed and the epoch alone, and torch's global generator is never
    touched. Augmentation is the usual one: a mirror image half of the time, and a crop of the image
    padded with 4 black pixels on each side, that is, padded before it is normalised.

    Args:
        split: The examples.
        batch_size: Examples per batch and rank; the last batch may be smaller. Where it would be a single example,
            which norm layers cannot learn from, this joins the batch before.
        mean: Mean per channel, on the 0..1 scale.
        std: Standard deviation per channel, on the 0..1 scale.
        shuffle: Whether each epoch has an order of its own.
        augment: Whether to crop at random and mirror.
        seed: Of the order and the augmentation.
        device: Where the batches go.
        rank: Which share this is, 0..world-1.
        world: How many shares there are.

    Raises:
        ValueError: The batch size is below 1 or the rank out of range.
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
            raise ValueError(f"batch_size: got {batch_size}, expected at least 1")
        self.split = split
        self.batch_size = batch_size
        self._mean = tuple(mean)
        self._std = tuple(std)
        self._shuffle = shuffle
        self._augment = augment
        self._seed = seed
        self._device = torch.device(device)
        self._epoch = 0
        self._set_share(rank, world)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next iteration has.

        Args:
            epoch: Number of the epoch; 0 until it is set.
        """
        self._epoch = epoch

    def shard(self, rank: int, world: int) -> Self:
        """Take one rank's share, which has as many batches as every other.

        Batch i of all ranks together is batch i of one process with `world` times the batch size; but a last
        one of one example per rank joins the batch before. Shares are disjoint; but where training (shuffled)
        examples do not go round, the epoch's first are used again so that no rank runs short, and in other
        parts the last batch of a rank may be empty.

        Args:
            rank: Which share, 0..world-1.
            world: How many shares there are.

        Returns:
            The batches of this share.

        Raises:
            ValueError: The rank is out of range.
        """
        share = copy.copy(self)
        share._set_share(rank, world)
        return share

    def __len__(self) -> int:
        whole, rest = divmod(self._count(), self.batch_size * self._world)
        joined = whole > 0 and self.batch_size > 1 and rest <= self._world
        return whole + (rest > 0 and not joined)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = self.batch_size * self._world
        mean = 255 * torch.tensor(self._mean, device=self._device).view(-1, 1, 1)
        std = 255 * torch.tensor(self._std, device=self._device).view(-1, 1, 1)
        # Fixed here, so that set_epoch in the middle of an iteration does not mix two epochs.
        epoch = self._epoch
        order = self._order(epoch)
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
            raise ValueError(f"rank: got {rank} of a world of {world}, expected 0..world-1")
        self._rank = rank
        self._world = world

    def _count(self) -> int:
        count = len(self.split)
        return count + -count % self._world if self._shuffle else count

    def _order(self, epoch: int) -> Tensor:
        numbers = torch.arange(self._count(), device="cpu") % max(len(self.split), 1)
        if not self._shuffle:
            return numbers
        return torch.randperm(len(self.split), generator=_generator(self._seed, epoch), device="cpu")[numbers]

    def _draw_moves(self, epoch: int, number: int, images: int) -> Tensor:
        # Every rank draws for all of them and takes its own, so the moves do not depend on the world.
        generator = _generator(self._seed, epoch, number)
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


def _generator(*numbers: int) -> torch.Generator:
    # A hash, because neighbouring seeds must not give related streams.
    digest = hashlib.blake2b(",".join(map(str, map(int, numbers))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
