"""The file formats of the known data sets: IDX, and CIFAR's binary records and pickles."""

import gzip
import math
import pickle
import zlib
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from untrained.splits import Split

_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_BYTES = 3 * 32 * 32


def read_idx(images: Path, labels: Path, classes: int) -> Split:
    """Read a pair of IDX files, plain or gzip.

    Args:
        images: File of uint8 images (n, height, width).
        labels: File of uint8 labels (n,).
        classes: How many classes there are.

    Returns:
        The examples, with one channel.

    Raises:
        ValueError: A file is truncated or of another kind, or a label is out of range.
    """
    pixels = _read_idx_array(images, dimensions=3)
    numbers = _read_idx_array(labels, dimensions=1)
    if len(pixels) != len(numbers):
        raise ValueError(f"{labels}: got {len(numbers)} labels, expected {len(pixels)} as in {images}")
    return Split(torch.from_numpy(pixels[:, None]), _checked_labels(labels, numbers, classes))


def read_cifar_binary(path: Path, label_bytes: int, classes: int) -> Split:
    """Read a file of CIFAR records: label bytes (the last is the class), then 3,072 bytes of pixels.

    Args:
        path: The file.
        label_bytes: Label bytes per record: 1 in CIFAR-10, 2 in CIFAR-100.
        classes: How many classes there are.

    Returns:
        The examples, (n, 3, 32, 32).

    Raises:
        ValueError: The file is no whole number of records, or a label is out of range.
    """
    record = label_bytes + _CIFAR_BYTES
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) == 0 or len(raw) % record:
        raise ValueError(f"{path}: got {len(raw)} bytes, expected a whole number of records of {record} bytes")
    records = raw.reshape(-1, record)
    images = records[:, label_bytes:].reshape(-1, *_CIFAR_SHAPE)
    return Split(torch.from_numpy(images), _checked_labels(path, records[:, label_bytes - 1], classes))


def read_cifar_pickle(path: Path, label_key: str, classes: int) -> Split:
    """Read a file of CIFAR's Python version without running anything it names.

    Args:
        path: The file.
        label_key: Where the labels are: "labels" in CIFAR-10, "fine_labels" in CIFAR-100.
        classes: How many classes there are.

    Returns:
        The examples, (n, 3, 32, 32).

    Raises:
        ValueError: The file names anything but arrays, is damaged, or a label is out of range.
    """
    try:
        with path.open("rb") as file:
            # Python 2 wrote these files: its strings are bytes.
            batch = _ArrayUnpickler(file, encoding="latin1").load()
        data, labels = batch["data"], np.asarray(batch[label_key], dtype=np.int64)
    # A damaged pickle raises nearly anything.
    except Exception as error:
        raise ValueError(f"{path}: no CIFAR pickle ({type(error).__name__}: {error})") from error
    expected = (len(labels), _CIFAR_BYTES)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != expected or labels.ndim != 1:
        got = f"{getattr(data, 'dtype', type(data).__name__)} {getattr(data, 'shape', '')}"
        raise ValueError(f"{path}: got data of {got}, expected uint8 {expected}")
    images = torch.from_numpy(np.array(data).reshape(-1, *_CIFAR_SHAPE))
    return Split(images, _checked_labels(path, labels, classes))


def _read_idx_array(path: Path, dimensions: int) -> np.ndarray:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from error
    # Two zero bytes, the type (8: uint8), the number of dimensions; then each dimension, big-endian.
    magic = bytes((0, 0, 8, dimensions))
    if raw[:4] != magic:
        raise ValueError(f"{path}: got magic {raw[:4].hex() or 'nothing'}, expected {magic.hex()}")
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise ValueError(f"{path}: got {len(raw)} bytes, expected a header of {start}")
    shape = tuple(int(length) for length in np.frombuffer(raw, ">u4", dimensions, offset=4))
    count = math.prod(shape)
    if len(raw) != start + count:
        raise ValueError(f"{path}: got {len(raw)} bytes, expected {start + count} for shape {shape}")
    return np.frombuffer(raw, np.uint8, count, offset=start).reshape(shape).copy()


def _checked_labels(path: Path, labels: np.ndarray, classes: int) -> Tensor:
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(f"{path}: label {labels[first]} of example {first}, expected 0..{classes - 1}")
    return torch.from_numpy(labels.astype(np.int64))


def _dtype(kind: str, align: int = 0, copy: int = 0) -> np.dtype:
    # Python 2 wrote the flags as 0 and 1, which NumPy 2.4 warns of.
    return np.dtype(kind, bool(align), bool(copy))


# Taken from an array, because its module moved between NumPy 1 and 2.
_rebuild_array: Any = np.empty(0).__reduce__()[0]

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _rebuild_array,
    ("numpy._core.multiarray", "_reconstruct"): _rebuild_array,
}


@final
class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds plain values and arrays, and refuses every other global: a pickle may name any function."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused {module_name}.{global_name}: expected arrays only") from None
