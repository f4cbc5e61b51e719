"""Image data sets kept as folders of class folders, decoded by Pillow."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from untrained.splits import SourceData, Split, hold_out

_SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())
_TRAIN_NAMES = ("train", "training")
_TEST_NAMES = ("test", "testing")
_VAL_NAMES = ("val", "valid", "validation")
_TEST_FRACTION = 0.2  # of a folder that has no parts
_MEMORY_BYTES = 2 << 30  # decoded images up to this size are kept in memory


@final
class ImageFiles:
    """Image files that are decoded when they are asked for.

    Args:
        paths: The files.
        channels: 1 (grey) or 3 (red, green, blue).
        height: Pixels.
        width: Pixels; an image of another size is scaled and cropped at its centre.
    """

    def __init__(self, paths: Iterable[Path], channels: int, height: int, width: int) -> None:
        self._paths = tuple(paths)
        self._shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        paths = [self._paths[index] for index in indices.tolist()]
        images = np.empty((len(paths), *self._shape), np.uint8)

        def decode(place: int) -> None:
            images[place] = _decode(paths[place], *self._shape)

        with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
            for _ in pool.map(decode, range(len(paths))):
                pass
        return torch.from_numpy(images)


def read_image_folder(folder: Path, size: int | None) -> SourceData:
    """Read `folder/{train,test}/class/*.jpg` or `folder/class/*.png`.

    A `val` folder is the validation part beside a `test` folder, and the test part where there is none;
    without either, a fixed fifth of the images is the test part.

    Args:
        folder: The folder.
        size: Side in pixels to which all images are scaled and cropped; None: they have one size already.

    Returns:
        The parts; colour images may be augmented, grey ones (so often writing) may not.

    Raises:
        FileNotFoundError: There is no class folder, or one holds no image.
        ValueError: An image is unreadable, sizes differ and no `size` is given, or classes do not match.
        ImportError: The extra `untrained[images]` is not installed.
    """
    _load_pillow()
    if size is not None and size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    train_folder = _find_part(folder, _TRAIN_NAMES)
    train_root = train_folder or folder
    labels = tuple(path.name for path in _class_folders(train_root))
    if len(labels) == 1:
        raise ValueError(f"{train_root}: got one class folder, {labels[0]!r}, expected at least two")
    parts = {"train": _list_examples(train_root, labels)}
    test_folder = _find_part(folder, _TEST_NAMES) if train_folder else None
    val_folder = _find_part(folder, _VAL_NAMES) if train_folder else None
    if test_folder and val_folder:
        parts["val"] = _list_examples(val_folder, labels)
    if test_folder or val_folder:
        parts["test"] = _list_examples(test_folder or val_folder or folder, labels)
    else:
        whole = parts["train"]
        kept, held = hold_out(len(whole), max(1, round(_TEST_FRACTION * len(whole))))
        parts["train"] = [whole[index] for index in kept.tolist()]
        parts["test"] = [whole[index] for index in held.tolist()]
    shape = _common_shape([path for part in parts.values() for path, _ in part], size)
    in_memory = sum(map(len, parts.values())) * shape[0] * shape[1] * shape[2] < _MEMORY_BYTES
    splits = {name: _make_split(part, shape, in_memory) for name, part in parts.items()}
    return SourceData(
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        labels=labels,
        augment=shape[0] == 3,
    )


def _find_part(folder: Path, names: tuple[str, ...]) -> Path | None:
    # A class may be called "train" too: a part holds class folders, a class holds images.
    paths = (folder / name for name in names)
    return next((path for path in paths if path.is_dir() and _subfolders(path)), None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    folders = _subfolders(folder)
    if not folders:
        raise FileNotFoundError(
            f"{folder}: no class folders; expected folder/{{train,test}}/class/*.jpg or folder/class/*.png"
        )
    return folders


def _list_examples(folder: Path, labels: tuple[str, ...]) -> list[tuple[Path, int]]:
    examples: list[tuple[Path, int]] = []
    for class_folder in _class_folders(folder):
        if class_folder.name not in labels:
            raise ValueError(f"{class_folder}: got an unknown class, expected one of {', '.join(labels)}")
        paths = sorted(
            path
            for path in class_folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if not paths:
            raise FileNotFoundError(f"{class_folder}: no images; expected {', '.join(sorted(_SUFFIXES))}")
        examples += [(path, labels.index(class_folder.name)) for path in paths]
    return examples


def _common_shape(paths: list[Path], size: int | None) -> tuple[int, int, int]:
    headers = [_read_header(path) for path in paths]
    channels = 1 if all(mode in ("1", "L") for mode, _ in headers) else 3
    if size is not None:
        return channels, size, size
    width, height = headers[0][1]
    for path, (_, (other_width, other_height)) in zip(paths, headers, strict=True):
        if (other_width, other_height) != (width, height):
            raise ValueError(
                f"{path}: got an image of {other_width} x {other_height} pixels, expected {width} x {height} "
                f"as in {paths[0]}; give a size to scale and crop all images to"
            )
    return channels, height, width


def _read_header(path: Path) -> tuple[str, tuple[int, int]]:
    try:
        with _load_pillow().open(path) as image:
            return image.mode, image.size
    # Pillow's decoders raise nearly anything on a damaged file.
    except Exception as error:
        raise _unreadable(path, error) from error


def _decode(path: Path, channels: int, height: int, width: int) -> np.ndarray:
    from PIL import ImageOps

    pillow = _load_pillow()
    try:
        with pillow.open(path) as image:
            picture = image.convert("L" if channels == 1 else "RGB")
            if picture.size != (width, height):
                picture = ImageOps.fit(picture, (width, height), pillow.Resampling.BILINEAR)
            return np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: unreadable image ({type(error).__name__}: {error})")


def _make_split(part: list[tuple[Path, int]], shape: tuple[int, int, int], in_memory: bool) -> Split:
    files = ImageFiles((path for path, _ in part), *shape)
    labels = torch.tensor([label for _, label in part])
    return Split(files[torch.arange(len(files))] if in_memory else files, labels)


def _load_pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("folders of images need an extra: pip install 'untrained[images]'") from error
    return Image
