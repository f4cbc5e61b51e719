"""File formats of the known data sets, IDX and CIFAR's two; a damaged file is a ValueError that names it."""

import gzip
import io
import math
import pickle
import pickletools
import zlib
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import torch

from untrained.data.splits import Split

_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_BYTES = 3 * 32 * 32
_MOST_BYTES = 1 << 30  # of one file, unpacked: twenty times the largest that is published


def read_idx(images: Path, labels: Path) -> Split:
    """Read a pair of IDX files, plain or gzip: uint8 images (n, height, width) and labels (n,)."""
    pixels = _read_idx_array(images, dimensions=3)
    numbers = _read_idx_array(labels, dimensions=1)
    if len(pixels) != len(numbers):
        raise ValueError(f"{labels}: got {len(numbers)} labels, expected {len(pixels)} as in {images}")
    return Split(torch.from_numpy(pixels[:, None]), torch.from_numpy(numbers.astype(np.int64)))


def read_cifar_binary(path: Path, label_bytes: int) -> Split:
    """Read a file of CIFAR records: label bytes (1 or 2, the last is the class), then 3,072 bytes of pixels."""
    record = label_bytes + _CIFAR_BYTES
    raw = np.frombuffer(bytearray(_read_bounded(path)), np.uint8)
    if len(raw) == 0 or len(raw) % record:
        raise ValueError(f"{path}: got {len(raw)} bytes, expected a whole number of records of {record} bytes")
    records = raw.reshape(-1, record)
    images = records[:, label_bytes:].reshape(-1, *_CIFAR_SHAPE)
    return Split(torch.from_numpy(images), torch.from_numpy(records[:, label_bytes - 1].astype(np.int64)))


def read_cifar_pickle(path: Path, label_key: str) -> Split:
    """Read a file of CIFAR's Python version, a pickled dict, without running code that it names."""
    raw = _read_bounded(path)
    try:
        # The unpickler allocates as many entries as a memo's number, which may be any number.
        if any("PUT" in opcode.name and (argument or 0) > len(raw) for opcode, argument, _ in pickletools.genops(raw)):
            raise pickle.UnpicklingError("a memo with a number larger than the file")
        # Python 2 wrote these files: its strings are bytes.
        batch = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
        data = _to_numpy(batch["data"])
        labels = np.asarray(_to_numpy(batch[label_key])).astype(np.int64, casting="same_kind")
    # A damaged pickle raises errors of nearly any class.
    except Exception as error:
        raise ValueError(f"{path}: no CIFAR pickle ({type(error).__name__}: {error})") from error
    expected = (len(labels), _CIFAR_BYTES)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != expected or labels.ndim != 1:
        got = f"{getattr(data, 'dtype', type(data).__name__)} {getattr(data, 'shape', '')}"
        raise ValueError(f"{path}: got data of {got}, expected uint8 {expected}")
    return Split(torch.from_numpy(np.array(data).reshape(-1, *_CIFAR_SHAPE)), torch.from_numpy(labels))


def _read_idx_array(path: Path, dimensions: int) -> np.ndarray:
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            return _read_idx_stream(path, file, dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged or truncated gzip file ({error})") from error


def _read_idx_stream(path: Path, file: BinaryIO, dimensions: int) -> np.ndarray:
    # Two zero bytes, the type (8: uint8), the number of dimensions; then each dimension, big-endian.
    magic, start = bytes((0, 0, 8, dimensions)), 4 + 4 * dimensions
    header = file.read(start)
    if header[:4] != magic:
        raise ValueError(f"{path}: got magic {header[:4].hex() or 'nothing'}, expected {magic.hex()}")
    if len(header) < start:
        raise ValueError(f"{path}: got {len(header)} bytes, expected a header of {start}")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4", dimensions, offset=4))
    count = math.prod(shape)
    if count > _MOST_BYTES:
        raise ValueError(f"{path}: got shape {shape} of {count} bytes, expected {_MOST_BYTES} bytes at most")
    # No more bytes than the header gives, and one to check the end: a small gzip file may hold gigabytes.
    raw = bytearray(file.read(count + 1))
    if len(raw) != count:
        more = " or more" if len(raw) > count else ""
        raise ValueError(f"{path}: got {start + len(raw)} bytes{more}, expected {start + count} for shape {shape}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ValueError(f"{path}: got more than {_MOST_BYTES} bytes")
    return raw


@final
class _Dtype:
    """Stand-in for the dtype of a pickled array, with its short name such as `u1`."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


@final
class _Array:
    """Stand-in for a pickled array: NumPy itself is not called, since a pickle could pass it any argument."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()  # shape, dtype, Fortran order, bytes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[1:]


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str, *_: object) -> _Array:
    """Stand in for numpy's `_frombuffer`, with which protocol 5 makes arrays."""
    if order not in ("C", "F"):
        raise pickle.UnpicklingError(f"an array of order {order!r}, expected C or F")
    array = _Array()
    array.state = (shape, dtype, order == "F", raw)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, with which Python 3 makes bytes in protocols below 3."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}, expected latin1")
    return text.encode("latin1")


def _to_numpy(value: object) -> Any:
    """Return the array that a pickle describes; any other value unchanged."""
    if not isinstance(value, _Array):
        return value
    shape, dtype, fortran_order, raw = value.state
    if dtype.name not in ("u1", "i1", "i2", "i4", "i8", "f4", "f8"):
        raise pickle.UnpicklingError(f"an array of {dtype.name}, expected numbers")
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 wrote strings
    kind = np.dtype(dtype.name).newbyteorder(">" if dtype.order == ">" else "<")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran_order else "C")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED |= {(f"{_core}.multiarray", "_reconstruct"): _Array, (f"{_core}.numeric", "_frombuffer"): _from_buffer}


@final
class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of plain values and arrays; it refuses every other name, as a pickle may name any function."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused {module_name}.{global_name}: expected arrays only") from None
