"""Files of examples to predict: pictures, arrays of numpy, rows of numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from untrained.data.image_files import Form, ImageFiles, find_form, list_endings

_AT_ONCE = 256  # examples


@final
@dataclass(frozen=True)
class Input:
    """Input of a network, as its ticket describes it.

    Attributes:
        shape: of one example, without the batch axis.
        mean, std: per channel, which values in 0…1 are normalised with; None: values are taken as they are.
    """

    shape: tuple[int, ...]
    mean: Sequence[float] | None
    std: Sequence[float] | None

    def normalise(self, values: np.ndarray) -> Tensor:
        """Return examples in 0…255 (whole numbers) or 0…1 (floats) as the network takes them, float32."""
        pixels = torch.from_numpy(values.astype(np.float32).reshape(-1, *self.shape))
        if self.mean is None or self.std is None:
            return pixels
        most = 255 if values.dtype.kind in "iu" else 1
        each = (-1, *[1] * (len(self.shape) - 1))
        return (pixels - most * torch.tensor(self.mean).view(each)) / (most * torch.tensor(self.std).view(each))


def read_examples(path: Path, given: Input) -> Iterator[tuple[list[int | None], Tensor]]:
    """Yield (numbers of the examples, normalised examples) of a file, at most 256 at a time.

    A picture is one example; its number is None. An array of numpy is one example if it has the shape of one, else a
    batch; grey images may lack the axis of channels. A CSV file has an example in each row, numbered from 0. Whole
    numbers are pixels 0…255 and floats are in 0…1 if the ticket has a mean and a std.

    Raises:
        ValueError: the file is none of these, damaged, or holds other examples.
        OSError: it cannot be read.
        ImportError: a picture needs `untrained[images]`.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name its files")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    ending = path.suffix.lower()
    if ending == ".npy":
        yield from _number(_check(path, _read_array(path, given), given), given)
    elif ending == ".csv":
        yield from _number(_check(path, _read_rows(path, given), given), given)
    elif ending in list_endings():
        yield [None], given.normalise(_read_picture(path, given))
    else:
        raise ValueError(f"{path}: expected a picture, a .npy or a .csv file, got a name that ends in {ending!r}")


def _number(values: np.ndarray, given: Input) -> Iterator[tuple[list[int | None], Tensor]]:
    if values.ndim == len(given.shape):
        yield [None], given.normalise(values)
        return
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        yield list(range(start, start + len(part))), given.normalise(part)


def _read_picture(path: Path, given: Input) -> np.ndarray:
    if len(given.shape) != 3 or given.shape[0] not in (1, 3):
        raise ValueError(f"{path}: a picture, but the network takes {_describe(given.shape)}")
    if given.mean is None:
        raise ValueError(
            f"{path}: the ticket has no mean and std to normalise a picture with; give the network's input as .npy"
        )
    find_form([path], None)  # refuses what cannot be read
    form = Form(*given.shape, scaled=True, threads=1)
    return ImageFiles([path], form)[torch.tensor([0], device="cpu")].numpy()[0]


def _read_array(path: Path, given: Input) -> np.ndarray:
    """Return one example or a batch of them; nothing is unpickled."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        hint = "; objects are never unpickled" if "object" in str(error) else ""
        raise ValueError(f"{path}: unreadable array ({error}{hint})") from None
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected numbers, got an array of {values.dtype}")
    shape = given.shape
    if len(shape) == 3 and shape[0] == 1 and values.ndim in (2, 3) and values.shape[-2:] == shape[1:]:
        values = values[None] if values.ndim == 2 else values[:, None] if len(values) > 1 else values
    if values.shape not in (shape, (len(values) if values.ndim else 0, *shape)):
        raise ValueError(
            f"{path}: expected {_describe(shape)} or a batch (n, {', '.join(map(str, shape))}), got {values.shape}"
        )
    if values.ndim > len(shape) and not len(values):
        raise ValueError(f"{path} holds no example")
    return values


def _read_rows(path: Path, given: Input) -> np.ndarray:
    """Return the rows of a CSV file: int64 if they are pixels, all written as whole numbers, else float64."""
    rows: list[np.ndarray] = []
    whole = True
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or (not rows and _names_columns(cells)):
                    continue
                rows.append(_read_row(cells, given.shape, reader.line_num))
                whole = whole and all(cell.isdecimal() for cell in cells)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None
    if not rows:
        raise ValueError(f"{path} holds no example")
    values = np.stack(rows).reshape(-1, *given.shape)
    if given.mean is None or not whole:
        return values
    return values.clip(max=2**53).astype(np.int64)


def _names_columns(cells: Sequence[str]) -> bool:
    """Return True if a first row holds names, or the numbers that pandas writes instead: 0, 1 and so on."""
    numbered = len(cells) > 2 and all(cell == str(number) for number, cell in enumerate(cells))
    return numbered or not any(map(_is_number, cells))


def _read_row(cells: Sequence[str], shape: Sequence[int], line: int) -> np.ndarray:
    wrong = next((cell for cell in cells if not _is_number(cell)), None)
    if wrong is not None:
        raise ValueError(f"line {line} holds {wrong[:40]!r}, expected numbers")
    if len(cells) != (wanted := math.prod(shape)):
        hint = "; leave out a column of labels or of row numbers" if len(cells) == wanted + 1 else ""
        raise ValueError(
            f"line {line} holds {len(cells)} numbers, expected {wanted} ({' x '.join(map(str, shape))}){hint}"
        )
    return np.array([float(cell) for cell in cells])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _check(path: Path, values: np.ndarray, given: Input) -> np.ndarray:
    """Return the values, refused if one is not finite or, to be normalised, beyond its range."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{path} holds a NaN or an infinite number")
    if given.mean is not None:
        most = 255 if values.dtype.kind in "iu" else 1
        if low < 0 or high > most:
            raise ValueError(
                f"{path}: {'whole numbers' if most == 255 else 'floats'} must be in 0…{most}, not normalised; "
                f"got {low:g}…{high:g}"
            )
        if most == 255 and high == 1:
            raise ValueError(f"{path}: its whole numbers are 0 and 1: expected pixels 0…255, or floats 0.0…1.0")
    return values


def _describe(shape: Sequence[int]) -> str:
    return f"an example of shape {tuple(shape)}"
