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

from untrained.terminal.extras import install_command

_SIXTEEN_BITS = frozenset("I;16 I;16L I;16B I;16N".split())
_GREY = frozenset("1 L LA La I".split()) | _SIXTEEN_BITS
_TRANSPARENT = frozenset("LA La PA RGBA RGBa".split())
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
# EPS runs Ghostscript, and IPTC may hold one; Pillow recognises the others without decoding them.
_NOT_READ = frozenset("EPS IPTC WMF BUFR GRIB HDF5 MPEG".split())
_PIXELS_AT_ONCE = 1 << 27  # decoded by all threads together


@final
@dataclass(frozen=True)
class Form:
    """Form of all decoded images of a folder.

    Attributes:
        channels: 1 (grey) or 3 (red, green, blue).
        height, width: in pixels.
        scaled: images of another size are scaled and cropped at their centre; otherwise they are refused.
        threads: images decoded at a time.
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
    """Images that are decoded from their files, to one form, when they are indexed."""

    def __init__(self, paths: Sequence[Path], form: Form) -> None:
        self._paths = tuple(paths)
        self._form = form

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        paths = [self._paths[index] for index in indices.tolist()]
        images = np.empty((len(paths), *self._form.shape), np.uint8)

        def decode(place: int) -> None:  # directly into the result, so that there is no second copy of all images
            images[place] = _decode(paths[place], self._form)

        with ThreadPoolExecutor(self._form.threads) as pool:
            list(pool.map(decode, range(len(paths))))
        return torch.from_numpy(images)


def find_form(paths: Sequence[Path], size: tuple[int, int] | None) -> Form:
    """Return the common form of images, with this height and width if given."""
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
            raise _size_error(path, other, (width, height), f" as in {paths[0]}")
    return Form(channels, height, width, scaled=False, threads=threads)


def list_endings() -> frozenset[str]:
    """Return the endings, in lower case, of the files that Pillow (with its plugins) decodes here."""
    kinds = set(_list_formats())
    return frozenset(ending for ending, kind in load_pillow().registered_extensions().items() if kind in kinds)


def load_pillow() -> Any:
    """Import Pillow's `Image`, or raise an ImportError that names the extra `untrained[images]`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"folders of images need an extra: {install_command('images')}") from error
    return Image


def _list_formats() -> tuple[str, ...]:
    pillow = load_pillow()
    pillow.init()
    return tuple(kind for kind in pillow.OPEN if kind not in _NOT_READ)


def _read_header(path: Path) -> tuple[str, tuple[int, int]]:
    """Return the mode, and (width, height) when upright."""
    pillow = load_pillow()
    try:
        with pillow.open(path, formats=_list_formats()) as image:
            # The base class's method: that of PNG decodes the whole file. A TIFF has its upright size already.
            turned = image.format != "TIFF" and pillow.Image.getexif(image).get(0x0112) in _TURNED
            mode, size = image.mode, image.size[::-1] if turned else image.size
    # Pillow's decoders raise errors of nearly any class on a damaged file.
    except Exception as error:
        raise _read_error(path, error) from error
    if mode == "F":
        raise ValueError(f"{path}: an image of floats, whose black and white are not given; expected whole numbers")
    return mode, size


def _decode(path: Path, form: Form) -> np.ndarray:
    from PIL import ImageOps

    pillow = load_pillow()
    try:
        with pillow.open(path, formats=_list_formats()) as image:
            upright = ImageOps.exif_transpose(image)
            picture = _flatten(upright, image.format).convert("L" if form.channels == 1 else "RGB")
    except Exception as error:
        raise _read_error(path, error) from error
    size = form.width, form.height
    if picture.size != size:
        if not form.scaled:
            raise _size_error(path, picture.size, size)
        picture = ImageOps.fit(picture, size, pillow.Resampling.BILINEAR)
    return np.asarray(picture).reshape(form.height, form.width, form.channels).transpose(2, 0, 1)


def _flatten(image: Any, kind: str) -> Any:
    """Return the image with 8 bits, and on white where it is transparent."""
    pillow = load_pillow()
    if image.mode == "I" or image.mode in _SIXTEEN_BITS:
        # Files of 16 bits have mode I, too, in these formats; in others its range is not known.
        return _convert_to_8_bits(image, sixteen=image.mode != "I" or kind in ("PNG", "PPM"))
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    if image.mode in _TRANSPARENT or "transparency" in image.info or palette.endswith("A"):
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return image


def _convert_to_8_bits(image: Any, *, sixteen: bool) -> Any:
    values = np.asarray(image).astype(np.int64)
    if (clear := image.info.get("transparency")) is not None:
        values = np.where(values == clear, 65535, values)
    if sixteen:
        values = (values + 128) // 257
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"32-bit numbers {values.min()}..{values.max()}, expected 0..255")
    return load_pillow().fromarray(values.astype(np.uint8))


def _size_error(path: Path, got: tuple[int, int], expected: tuple[int, int], where: str = "") -> ValueError:
    return ValueError(
        f"{path}: got an image of {got[0]} x {got[1]} pixels, expected {expected[0]} x {expected[1]}{where}; "
        "give a size to scale and crop all images to"
    )


def _read_error(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: unreadable image ({type(error).__name__}: {error})")
