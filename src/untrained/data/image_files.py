"""Image files, decoded by Pillow as a viewer shows them: upright, and on white where they are transparent."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

_SIXTEEN_BITS = frozenset("I;16 I;16L I;16B I;16N".split())
_GREY = frozenset("1 L LA La I".split()) | _SIXTEEN_BITS
_TRANSPARENT = frozenset("LA La PA RGBA RGBa".split())
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
# EPS runs Ghostscript, IPTC may hold one; the others are found, and not decoded, by Pillow itself.
_NOT_READ = frozenset("EPS IPTC WMF BUFR GRIB HDF5 MPEG".split())
_PIXELS_AT_ONCE = 1 << 27  # decoded by all threads together


@final
@dataclass(frozen=True)
class Form:
    """What all images of a folder become.

    Attributes:
        channels: 1 (grey) or 3 (red, green, blue).
        height: in pixels.
        width: in pixels.
        scaled: whether images of another size are scaled and cropped at their centre; otherwise they are refused.
        threads: how many images are decoded at a time.
    """

    channels: int
    height: int
    width: int
    scaled: bool
    threads: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


@final
class ImageFiles:
    """Image files that are decoded when they are asked for.

    Args:
        paths: The files.
        form: What they become.
    """

    def __init__(self, paths: Sequence[Path], form: Form) -> None:
        self._paths = tuple(paths)
        self._form = form

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        paths = [self._paths[index] for index in indices.tolist()]
        images = np.empty((len(paths), *self._form.shape), np.uint8)

        def decode(place: int) -> None:
            images[place] = _decode(paths[place], self._form)

        with ThreadPoolExecutor(self._form.threads) as pool:
            for _ in pool.map(decode, range(len(paths))):
                pass
        return torch.from_numpy(images)


def common_form(paths: Sequence[Path], size: tuple[int, int] | None) -> Form:
    """Find the form that images have in common.

    Args:
        paths: The files.
        size: Height and width to scale and crop them to; None: they have one size already.

    Raises:
        ValueError: An image is unreadable, too big or of floats, or sizes differ and no `size` is given.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", load_pillow().DecompressionBombWarning)
        headers = [_read_header(path) for path in paths]
    channels = 1 if all(mode in _GREY for mode, _ in headers) else 3
    largest = max(width * height for _, (width, height) in headers)
    threads = max(1, min(32, os.cpu_count() or 1, _PIXELS_AT_ONCE // largest))
    if size is not None:
        return Form(channels, *size, scaled=True, threads=threads)
    width, height = headers[0][1]
    for path, (_, other) in zip(paths, headers, strict=True):
        if other != (width, height):
            raise _other_size(path, other, (width, height), f" as in {paths[0]}")
    return Form(channels, height, width, scaled=False, threads=threads)


def endings() -> frozenset[str]:
    """Give the endings, in lower case, of the files that Pillow (with its plugins) decodes here."""
    kinds = set(_formats())
    return frozenset(ending for ending, kind in load_pillow().registered_extensions().items() if kind in kinds)


def load_pillow() -> Any:
    """Import Pillow's `Image`.

    Raises:
        ImportError: The extra `untrained[images]` is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("folders of images need an extra: pip install 'untrained[images]'") from error
    return Image


def _formats() -> tuple[str, ...]:
    pillow = load_pillow()
    pillow.init()
    return tuple(kind for kind in pillow.OPEN if kind not in _NOT_READ)


def _read_header(path: Path) -> tuple[str, tuple[int, int]]:
    """The mode, and (width, height) when upright."""
    pillow = load_pillow()
    try:
        with pillow.open(path, formats=_formats()) as image:
            # The base class, since that of PNG decodes the whole file; and a TIFF has its upright size already.
            turned = image.format != "TIFF" and pillow.Image.getexif(image).get(0x0112) in _TURNED
            mode, size = image.mode, image.size[::-1] if turned else image.size
    # Pillow's decoders raise nearly anything on a damaged file.
    except Exception as error:
        raise _unreadable(path, error) from error
    if mode == "F":
        raise ValueError(f"{path}: an image of floats, whose black and white are not given; expected whole numbers")
    return mode, size


def _decode(path: Path, form: Form) -> np.ndarray:
    from PIL import ImageOps

    pillow = load_pillow()
    try:
        with pillow.open(path, formats=_formats()) as image:
            upright = ImageOps.exif_transpose(image)
            picture = _flattened(upright, image.format).convert("L" if form.channels == 1 else "RGB")
    except Exception as error:
        raise _unreadable(path, error) from error
    size = form.width, form.height
    if picture.size != size:
        if not form.scaled:
            raise _other_size(path, picture.size, size)
        picture = ImageOps.fit(picture, size, pillow.Resampling.BILINEAR)
    return np.asarray(picture).reshape(form.height, form.width, form.channels).transpose(2, 0, 1)


def _flattened(image: Any, kind: str) -> Any:
    """The image with 8 bits, and on white where it is transparent."""
    pillow = load_pillow()
    if image.mode == "I" or image.mode in _SIXTEEN_BITS:
        # Files of 16 bits have mode I, too, in these formats; in others its range is anyone's guess.
        return _of_eight_bits(image, sixteen=image.mode != "I" or kind in ("PNG", "PPM"))
    if image.mode in _TRANSPARENT or "transparency" in image.info or _has_clear_colours(image):
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        return pillow.alpha_composite(white, image)
    return image


def _has_clear_colours(image: Any) -> bool:
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _of_eight_bits(image: Any, *, sixteen: bool) -> Any:
    values = np.asarray(image).astype(np.int64)
    if (clear := image.info.get("transparency")) is not None:
        values = np.where(values == clear, 65535, values)
    if sixteen:
        values = (values + 128) // 257
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"32-bit numbers {values.min()}..{values.max()}, expected 0..255")
    return load_pillow().fromarray(values.astype(np.uint8))


def _other_size(path: Path, got: tuple[int, int], expected: tuple[int, int], where: str = "") -> ValueError:
    return ValueError(
        f"{path}: got an image of {got[0]} x {got[1]} pixels, expected {expected[0]} x {expected[1]}{where}; "
        "give a size to scale and crop all images to"
    )


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: unreadable image ({type(error).__name__}: {error})")
