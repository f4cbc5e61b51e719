"""Data sets of images: what they are, and how they are loaded."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import torch

from untrained.data.batches import Batches
from untrained.data.image_folders import read_image_folder
from untrained.data.known import KNOWN_NAMES, read_known
from untrained.data.splits import Images, Split

__all__ = ["Batches", "DataSet", "Split", "folder_named", "load_data", "located"]

_STATISTICS_IMAGES = 10_000
_BYTES_AT_ONCE = 1 << 26


@final
@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled images in three parts.

    Args:
        name: What the data set is called.
        train: The part to learn from.
        val: The part to choose and stop by, held out from the official training part.
        test: The official test part.
        labels: Class names.
        mean: Mean per channel, on the 0..1 scale.
        std: Standard deviation per channel, on the 0..1 scale.
        augment: Whether training images may be cropped at random and mirrored.

    Raises:
        ValueError: A label is out of range, or there is one class only.
    """

    name: str
    train: Split
    val: Split
    test: Split
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: bool

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            labels = getattr(self, part).labels
            wrong = labels[(labels < 0) | (labels >= self.classes)]
            if len(wrong):
                raise ValueError(
                    f"{self.name}: label {int(wrong[0])} in the {part} part, expected 0..{self.classes - 1}"
                )
        if len(torch.cat([self.train.labels, self.val.labels, self.test.labels]).unique()) < 2:
            raise ValueError(f"{self.name}: all examples are of one class, expected at least two")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images[torch.tensor([0], device="cpu")].shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.labels)

    def batches(
        self,
        part: Literal["train", "val", "test"],
        batch_size: int,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> Batches:
        """Batch a part: training examples shuffled (and augmented if that is right), others in order.

        Args:
            part: Which part.
            batch_size: Examples per batch.
            seed: Of the order and the augmentation.
            device: Where the batches go.

        Returns:
            The batches, which may be iterated any number of times.

        Raises:
            ValueError: The part is unknown or the batch size below 1.
        """
        if part not in ("train", "val", "test"):
            raise ValueError(f"part: got {part!r}, expected 'train', 'val' or 'test'")
        training = part == "train"
        return Batches(
            getattr(self, part),
            batch_size,
            mean=self.mean,
            std=self.std,
            shuffle=training,
            augment=training and self.augment,
            seed=seed,
            device=device,
        )


def load_data(
    name: str,
    data_dir: str | Path | None = None,
    *,
    val_fraction: float = 0.1,
    size: int | tuple[int, int] | None = None,
    download: bool = True,
) -> DataSet:
    """Load a data set by its name, or from a folder of images.

    Args:
        name: `digits` (comes with the package), `mnist`, `fashion-mnist`, `kmnist`, `cifar10`,
            `cifar100`, or a folder such as `folder/{train,test}/class/*.jpg` or `folder/class/*.png`. Images are
            read as a viewer shows them: upright, on white where transparent, and with 8 of their 16 bits.
        data_dir: Folder that holds the usual layout of a known data set, or takes its download; None: the
            user's cache folder.
        val_fraction: Share of the training part held out as validation part, 0..1; always the same
            examples. `digits`, and folders with both `val` and `test`, have a validation part of their own.
        size: Side in pixels (or height and width) to which the images of a folder are scaled and cropped.
        download: Whether to download a known data set that is not there.

    Returns:
        The data set.

    Raises:
        ValueError: The name or an argument is not valid, or a file is damaged.
        FileNotFoundError: Files are missing.
        ConnectionError: A download failed.
        ImportError: An extra is needed: `untrained[download]` or `untrained[images]`.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction: got {val_fraction}, expected between 0 and 1")
    if name in KNOWN_NAMES:
        if size is not None:
            raise ValueError(f"size: got {size} for {name}, expected none: it is for folders of images")
        source = read_known(name, None if data_dir is None else _expanded(data_dir), download)
    elif (folder := folder_named(name)) is not None:
        source = read_image_folder(folder, size)
    else:
        raise ValueError(f"data set {name!r}: expected one of {', '.join(KNOWN_NAMES)}, or a folder of images")
    train, val = source.train, source.val
    if val is None:
        train, val = train.divide(max(1, round(val_fraction * len(train))))
    mean, std = source.statistics or _measure(name, train.images)
    return DataSet(name, train, val, source.test, source.labels, mean, std, source.augment)


def folder_named(name: str) -> Path | None:
    """Find the folder of images that a data set's name means, which may begin with `~`; None: it means no folder."""
    folder = _expanded(name)
    return folder if name not in KNOWN_NAMES and folder.is_dir() else None


def located(name: str) -> str:
    """Name a data set in a way that means the same from every folder."""
    folder = folder_named(name)
    return name if folder is None else str(folder.resolve())


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~nobody
        return Path(path)


def _measure(name: str, images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Counts of the 256 values are exact; images evenly spread over all classes do for a big source.
    chosen = torch.arange(0, len(images), -(-len(images) // _STATISTICS_IMAGES), device="cpu")
    first = images[chosen[:1]]
    counts = torch.zeros(first.shape[1], 256, dtype=torch.float64, device="cpu")
    for rows in chosen.split(max(1, min(256, _BYTES_AT_ONCE // first.numel()))):
        channels = images[rows].transpose(0, 1).flatten(1)
        counts += torch.stack([torch.bincount(channel, minlength=256) for channel in channels])
    values = torch.arange(256, dtype=torch.float64, device="cpu") / 255
    weights = counts / counts.sum(1, keepdim=True)
    mean = weights @ values
    std = ((values - mean[:, None]) ** 2 * weights).sum(1).sqrt()
    if (weights == 1).any(1).all():
        shown = ", ".join(f"{value:.0f}" for value in 255 * mean)
        warnings.warn(f"{name}: all images are the same, each pixel is {shown}: nothing can be learnt", stacklevel=3)
    # A channel of one value has no scale: it is only centred.
    return tuple(mean.tolist()), tuple(deviation or 1.0 for deviation in std.tolist())
