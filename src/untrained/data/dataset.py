"""Data sets of labelled images, loaded by name or from a folder."""

import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, final

import torch

from untrained.data.batches import Batches
from untrained.data.image_folders import read_image_folder
from untrained.data.known import KNOWN_NAMES, read_known
from untrained.data.splits import Images, Split
from untrained.fields import suggest

__all__ = ["Batches", "DataSet", "Split", "find_folder", "load_data", "resolve_name"]

_STATISTICS_IMAGES = 10_000
_BYTES_AT_ONCE = 1 << 26


@final
@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled images in three parts.

    Args:
        name: name of the data set.
        train: the training part.
        val: the validation part, held out from the official training part.
        test: the official test part.
        labels: class names.
        mean, std: mean and standard deviation per channel, on the 0..1 scale.
        augment: training images may be cropped at random and mirrored.

    Raises:
        ValueError: a label is out of range, or there is one class only.

    Example:
        >>> data = ut.load_data("digits")
        >>> data.shape, data.classes, len(data.train)
        ((1, 8, 8), 10, 1147)
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
                    f"{self.name}: labels of the {part} part must be in 0..{self.classes - 1}, got {int(wrong[0])}"
                )
        if len(torch.cat([self.train.labels, self.val.labels, self.test.labels]).unique()) < 2:
            raise ValueError(f"{self.name}: examples must be of at least two classes, got one")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images[torch.tensor([0], device="cpu")].shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    def batches(
        self,
        part: Literal["train", "val", "test"],
        batch_size: int,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> Batches:
        """Return the batches of a part: training examples shuffled (and augmented if `augment`), others in order.

        Args:
            part: "train", "val" or "test".
            batch_size: examples per batch.
            seed: of the order and the augmentation.
            device: where the batches go.

        Raises:
            ValueError: the part is unknown or the batch size below 1.
        """
        if part not in ("train", "val", "test"):
            raise ValueError(f"part must be 'train', 'val' or 'test', got {part!r}")
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
        name: `digits` (comes with the package), `mnist`, `fashion-mnist`, `kmnist`, `cifar10`, `cifar100`, or a folder
            such as `folder/{train,test}/class/*.jpg` or `folder/class/*.png`. Images are read as a viewer shows them:
            upright, on white where transparent, and with 8 of their 16 bits.
        data_dir: folder with the usual layout of a known data set, or for its download; None: the user's cache folder.
        val_fraction: share of the training part held out as validation part, 0..1; always the same examples. `digits`,
            and folders with both `val` and `test`, have a validation part already.
        size: side in pixels (or height and width) to which the images of a folder are scaled and cropped.
        download: download a known data set that is missing.

    Raises:
        ValueError: the name or an argument is not valid, or a file is damaged.
        FileNotFoundError: files are missing.
        ConnectionError: a download failed.
        ImportError: an extra is needed: `untrained[download]` or `untrained[images]`.

    Example:
        >>> ut.load_data("digits").labels
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must be in (0, 1), got {val_fraction}")
    if name in KNOWN_NAMES:
        if size is not None:
            raise ValueError(f"size must be None for {name}, got {size}: it is for folders of images")
        source = read_known(name, None if data_dir is None else _expand_user(data_dir), download)
    elif (folder := find_folder(name)) is not None:
        source = read_image_folder(folder, size)
    else:
        known = f"one of {', '.join(KNOWN_NAMES)}, or a folder of images"
        raise ValueError(f"data set {name!r}{suggest(name, KNOWN_NAMES)}: expected {known}")
    train, val = source.train, source.val
    if val is None:
        train, val = train.divide(max(1, round(val_fraction * len(train))))
    mean, std = source.statistics or _measure(name, train.images)
    return DataSet(name, train, val, source.test, source.labels, mean, std, source.augment)


def find_folder(name: str) -> Path | None:
    """Return the folder of images with this name, which may begin with `~`; None if it is no folder."""
    folder = _expand_user(name)
    return folder if name not in KNOWN_NAMES and folder.is_dir() else None


def resolve_name(name: str) -> str:
    """Return a data set's name with the whole path of its folder, if it is one."""
    folder = find_folder(name)
    return name if folder is None else str(folder.resolve())


def without_place(name: str) -> str:
    """Return a data set's name, of a folder or a whole path the last part: "photos/"."""
    folder = find_folder(name)
    if folder is None and not PurePosixPath(name).is_absolute() and not PureWindowsPath(name).is_absolute():
        return name
    return f"{PureWindowsPath(name).name if folder is None else folder.resolve().name}/"


def _expand_user(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a ~user who does not exist
        return Path(path)


def _measure(name: str, images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Counts of the 256 values are exact; of a large data set, images evenly spread over all classes are used.
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
        warnings.warn(f"{name}: all images are the same, each pixel is {shown}: no network can learn", stacklevel=3)
    # A channel of one value is only centred.
    return tuple(mean.tolist()), tuple(deviation or 1.0 for deviation in std.tolist())
