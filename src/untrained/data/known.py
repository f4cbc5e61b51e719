"""Data sets known by name: their files, their usual layout on disk, and their download."""

import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import final

import numpy as np
import torch

from untrained.data.downloads import cache_folder, fetch
from untrained.data.formats import read_cifar_binary, read_cifar_pickle, read_idx
from untrained.data.splits import SourceData, Split

_DIGITS = tuple("0123456789")
_DIGITS_TEST = 450
_DIGITS_VAL = 200
_IDX_FILES = "train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte".split()


@final
@dataclass(frozen=True)
class _IdxSource:
    """Data set of the MNIST family; `md5` has a checksum for each of `_IDX_FILES`."""

    folder: str
    url: str
    md5: str
    labels: Sequence[str]
    mean: float
    std: float


@final
@dataclass(frozen=True)
class _CifarLayout:
    """Files of one of the two forms in which CIFAR is published."""

    folder: str
    train: Sequence[str]
    test: str
    read: Callable[[Path], Split]


@final
@dataclass(frozen=True)
class _CifarSource:
    """CIFAR-10 or CIFAR-100; the archive holds the first layout."""

    url: str
    md5: str
    layouts: Sequence[_CifarLayout]
    labels: Sequence[str]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_IDX = {
    "mnist": _IdxSource(
        "MNIST",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 "
        "9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
        _DIGITS,
        mean=0.1307,
        std=0.3081,
    ),
    "fashion-mnist": _IdxSource(
        "FashionMNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
        "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
        "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(","),
        mean=0.2860,
        std=0.3530,
    ),
    "kmnist": _IdxSource(
        "KMNIST",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "bdb82020997e1d708af4cf47b453dcf7 e144d726b3acfaa3e44228e80efcd344 "
        "5c965bf0a639b31b8f53240b1b52f4d7 7320c461ea6c1c855c0b718fb2a4b134",
        "o ki su tsu na ha ma ya re wo".split(),
        mean=0.1918,
        std=0.3483,
    ),
}

_FIVE = [f"data_batch_{number}" for number in range(1, 6)]
_BINARY, _BINARY_100 = (partial(read_cifar_binary, label_bytes=count) for count in (1, 2))
_PICKLE, _PICKLE_100 = (partial(read_cifar_pickle, label_key=key) for key in ("labels", "fine_labels"))

_CIFAR = {
    "cifar10": _CifarSource(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        layouts=(
            _CifarLayout("cifar-10-batches-bin", [f"{name}.bin" for name in _FIVE], "test_batch.bin", _BINARY),
            _CifarLayout("cifar-10-batches-py", _FIVE, "test_batch", _PICKLE),
        ),
        labels="airplane automobile bird cat deer dog frog horse ship truck".split(),
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
    ),
    "cifar100": _CifarSource(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        layouts=(
            _CifarLayout("cifar-100-binary", ["train.bin"], "test.bin", _BINARY_100),
            _CifarLayout("cifar-100-python", ["train"], "test", _PICKLE_100),
        ),
        labels="""
            apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
            camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
            cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
            lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
            orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
            rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
            squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
            trout tulip turtle wardrobe whale willow_tree wolf woman worm
        """.split(),
        mean=(0.507, 0.487, 0.441),
        std=(0.267, 0.256, 0.276),
    ),
}

KNOWN_NAMES: tuple[str, ...] = ("digits", *_IDX, *_CIFAR)


def read_known(name: str, data_dir: Path | None, download: bool) -> SourceData:
    """Read one of `KNOWN_NAMES` from `data_dir`, or the user's cache folder, and download missing files.

    Raises:
        FileNotFoundError: a file is missing, and `download` is False.
        ConnectionError: a file is missing, and could not be downloaded.
        ValueError: a file is damaged.
        ImportError: the extra `untrained[download]` is needed and not installed.
    """
    if name == "digits":
        return _read_digits()
    root = cache_folder() if data_dir is None else data_dir
    if name in _IDX:
        return _read_idx_source(name, _IDX[name], root, download)
    return _read_cifar_source(name, _CIFAR[name], root, download)


def _read_digits() -> SourceData:
    # digits.npz holds the test part of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
    # Digits", UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0, in the
    # order of scikit-learn's load_digits, as uint8 instead of float.
    with resources.files("untrained.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        levels, numbers = arrays["images"], arrays["labels"]
    # The scans have 17 grey levels, 0..16, and all images here run from 0 to 255.
    pixels = (levels.astype(np.uint16) * 255 // 16).astype(np.uint8)
    whole = Split(torch.from_numpy(pixels[:, None]), torch.from_numpy(numbers.astype(np.int64)))
    rest, test = whole.divide(_DIGITS_TEST)
    train, val = rest.divide(_DIGITS_VAL)
    return SourceData(train=train, val=val, test=test, labels=_DIGITS, augment=False)


def _read_idx_source(name: str, source: _IdxSource, root: Path, download: bool) -> SourceData:
    home = root / source.folder / "raw"
    folders = (home, root / source.folder, root / "raw", root)
    found = [[_find_idx_file(folder, file) for file in _IDX_FILES] for folder in folders]
    files = next((paths for paths in found if all(paths)), found[0])
    missing = _describe_missing(name, [f"{file}[.gz]" for file in _IDX_FILES], folders)
    if not all(files) and not download:
        raise FileNotFoundError(f"{missing}; or allow the download")
    images, labels, test_images, test_labels = (
        path or _fetch(f"{source.url}{file}.gz", home, md5, missing)
        for path, file, md5 in zip(files, _IDX_FILES, source.md5.split(), strict=True)
    )
    return SourceData(
        train=read_idx(images, labels),
        test=read_idx(test_images, test_labels),
        labels=tuple(source.labels),
        augment=False,
        statistics=((source.mean,), (source.std,)),
    )


def _find_idx_file(folder: Path, file: str) -> Path | None:
    """Find a file, packed or not, in any usual spelling of its name, or in a folder of that name."""
    if not folder.is_dir():
        return None
    named = [path for path in folder.iterdir() if _normalise_name(path) == file]
    inside = [path for parent in named if parent.is_dir() for path in parent.iterdir() if _normalise_name(path) == file]
    files = [path for path in (*named, *inside) if path.is_file()]
    return min(files, key=lambda path: (path.name != file, path.name != f"{file}.gz", path), default=None)


def _normalise_name(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").replace(".", "-").replace("_", "-")


def _read_cifar_source(name: str, source: _CifarSource, root: Path, download: bool) -> SourceData:
    found = _find_cifar(source, root)
    files = [file for layout in source.layouts for file in (*layout.train, layout.test)]
    missing = _describe_missing(name, files, [*(root / layout.folder for layout in source.layouts), root])
    if found is None and download:
        _extract(_fetch(source.url, root, source.md5, missing), root)
        found = _find_cifar(source, root)
    if found is None:
        raise FileNotFoundError(f"{missing}; or allow the download")
    layout, folder = found
    *train, test = (layout.read(folder / file) for file in (*layout.train, layout.test))
    images = torch.cat([torch.as_tensor(batch.images, device="cpu") for batch in train])
    return SourceData(
        train=Split(images, torch.cat([batch.labels for batch in train])),
        test=test,
        labels=tuple(source.labels),
        augment=True,
        statistics=(source.mean, source.std),
    )


def _find_cifar(source: _CifarSource, root: Path) -> tuple[_CifarLayout, Path] | None:
    for layout in source.layouts:
        for folder in (root / layout.folder, root):
            if all((folder / file).is_file() for file in (*layout.train, layout.test)):
                return layout, folder
    return None


def _extract(archive: Path, root: Path) -> None:
    # Files move into place one by one when all are out, so an interruption leaves no truncated file.
    with tempfile.TemporaryDirectory(dir=root, prefix=".extracting-") as holder, tarfile.open(archive) as tar:
        tar.extractall(holder, filter="data")
        for path in sorted(Path(holder).rglob("*")):
            if path.is_file():
                target = root / path.relative_to(holder)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)


def _fetch(url: str, folder: Path, md5: str, missing: str) -> Path:
    try:
        return fetch(url, folder, md5)
    except (ImportError, ConnectionError) as error:
        raise type(error)(f"{missing}; {error}") from error


def _describe_missing(name: str, files: Sequence[str], folders: Sequence[Path]) -> str:
    """Return the message of the files and folders searched, and of the files found there instead."""
    there = sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()})
    found = ", ".join(there[:8]) + (", …" if len(there) > 8 else "")
    return (
        f"{name}: expected the files {', '.join(files)} in one of {', '.join(map(str, folders))}"
        f"{f' (where {found} is)' if found else ''}"
    )
