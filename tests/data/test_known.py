import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from untrained.data import known as sources
from untrained.data.dataset import DataSet, load_data

RAW = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw", "kmnist": "KMNIST/raw"}
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"
RANDOM = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, train: int = 20, test: int = 4, packed: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = RANDOM.integers(0, 256, (count, 5, 4))
        arrays[f"{part}-labels-idx1-ubyte"] = np.arange(count) % 10
    for name, array in arrays.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return arrays


def python_2_pickle(pixels: np.ndarray, label_key: str, labels: list[int]) -> bytes:
    """A batch as Python 2 and the NumPy of its day pickled it, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    shape = b"".join(b"J" + struct.pack("<i", length) for length in pixels.shape) + b"\x86"
    array += b"(K\x01" + shape + kind + b"\x89" + text(pixels.tobytes()) + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(label_key.encode()) + numbers + b"u."


def write_cifar(folder: Path, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write batches of 3 images into `folder`, in the layout that its name says."""
    folder.mkdir(parents=True)
    binary = "bin" in folder.name
    if name == "cifar10":
        files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
        classes, label_key = 10, "labels"
    else:
        files, classes, label_key = ["train", "test"], 100, "fine_labels"
    batches = {}
    for file in files:
        pixels = RANDOM.integers(0, 256, (3, 3072), dtype=np.uint8)
        labels = RANDOM.integers(0, classes, 3, dtype=np.uint8)
        if binary:
            coarse = [np.full((3, 1), 19, np.uint8)] * (classes == 100)
            content = np.hstack([*coarse, labels[:, None], pixels]).tobytes()
        else:
            content = python_2_pickle(pixels, label_key, labels.tolist())
        (folder / (f"{file}.bin" if binary else file)).write_bytes(content)
        batches[file] = (pixels.reshape(3, 3, 32, 32), labels)
    return batches


def examples(*parts: object) -> set[tuple[int, bytes]]:
    """The examples of some splits, without their order."""
    return {
        (label, image.numpy().tobytes())
        for part in parts
        for image, label in zip(part.images, part.labels.tolist(), strict=True)  # pyright: ignore
    }


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", RAW)
def test_the_mnist_family_is_read(tmp_path: Path, name: str, packed: bool) -> None:
    arrays = write_idx(tmp_path / RAW[name], packed=packed)
    data = load_data(name, tmp_path, download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 4)
    assert data.shape == (1, 5, 4)
    assert data.classes == 10
    assert not data.augment
    test_images = torch.as_tensor(data.test.images)
    assert np.array_equal(test_images[:, 0].numpy(), arrays["t10k-images-idx3-ubyte"])
    assert data.test.labels.tolist() == [0, 1, 2, 3]
    expected = zip(arrays["train-labels-idx1-ubyte"], arrays["train-images-idx3-ubyte"], strict=True)
    wanted = {(int(label), image.astype(np.uint8).tobytes()) for label, image in expected}
    assert examples(data.train, data.val) == wanted


@pytest.mark.parametrize("inner", ["", "MNIST", "MNIST/raw"])
def test_the_folder_itself_or_a_parent_will_do(tmp_path: Path, inner: str) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    assert len(load_data("mnist", str(tmp_path / inner), download=False).test) == 4


def test_mnist_constants(tmp_path: Path) -> None:
    write_idx(tmp_path)
    data = load_data("mnist", tmp_path)
    assert (data.mean, data.std) == ((0.1307,), (0.3081,))


def test_the_validation_part_depends_on_the_size_alone(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", train=50)
    write_idx(tmp_path / "b", train=50)
    first, second, bigger = (
        load_data("mnist", tmp_path / folder, val_fraction=fraction)
        for folder, fraction in (("a", 0.1), ("b", 0.1), ("a", 0.2))
    )
    assert torch.equal(first.val.labels, second.val.labels)
    assert not torch.equal(torch.as_tensor(first.val.images), torch.as_tensor(second.val.images))
    assert examples(first.val) < examples(bigger.val)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], "got 415 bytes, expected 416"),
        (lambda raw: raw + b"\0", "got 417 bytes or more, expected 416"),
        (lambda raw: raw[:10], "got 10 bytes, expected a header of 16"),
        (lambda raw: b"", "got magic nothing, expected 00000803"),
        (lambda raw: b"\0\0\x0b\x03" + raw[4:], "got magic 00000b03, expected 00000803"),
        (lambda raw: raw[:4] + b"\xff" * 12, "expected 1073741824 bytes at most"),
        (lambda raw: idx(np.zeros((19, 5, 4))), "got 20 labels, expected 19"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    write_idx(tmp_path, packed=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        load_data("mnist", tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [gzip.compress(bytes(1000), mtime=0)[:-9], b"no gzip", b""])
def test_damaged_gzip_files_are_named(tmp_path: Path, content: bytes) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: "):
        load_data("mnist", tmp_path)


def test_no_more_of_a_file_is_unpacked_than_its_header_gives(tmp_path: Path) -> None:
    write_idx(tmp_path)
    bomb = b"".join([gzip.compress(idx(np.zeros((20, 5, 4)))), gzip.compress(bytes(1 << 20)) * 100])
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="got 417 bytes or more, expected 416"):
        load_data("mnist", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "spelling",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("-", "_"),
        str.upper,
        lambda name: f"{name}/{name}",
        lambda name: f"{name.replace('-idx', '.idx')}/{name.title()}",
    ],
)
def test_idx_files_are_found_as_programs_unpack_them(
    tmp_path: Path, spelling: Callable[[str], str], packed: bool
) -> None:
    arrays = write_idx(tmp_path / "usual", packed=packed)
    for path in (tmp_path / "usual").iterdir():
        name, dot, ending = path.name.partition(".gz")
        place = tmp_path / "MNIST" / f"{spelling(name)}{dot}{ending}"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    data = load_data("mnist", tmp_path, download=False)
    assert np.array_equal(torch.as_tensor(data.test.images)[:, 0].numpy(), arrays["t10k-images-idx3-ubyte"])


def test_idx_labels_out_of_range_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1, 10, 2]))))
    with pytest.raises(ValueError, match=r"mnist: labels of the test part.*0\.\.9, got 10"):
        load_data("mnist", tmp_path)


CIFAR_LAYOUTS = [
    ("cifar10", "cifar-10-batches-bin"),
    ("cifar10", "cifar-10-batches-py"),
    ("cifar100", "cifar-100-binary"),
    ("cifar100", "cifar-100-python"),
]


@pytest.mark.parametrize(("name", "layout"), CIFAR_LAYOUTS)
def test_cifar_is_read_in_each_layout(tmp_path: Path, name: str, layout: str) -> None:
    batches = write_cifar(tmp_path / layout, name)
    for folder in (tmp_path, tmp_path / layout):
        data = load_data(name, folder, download=False)
        assert data.shape == (3, 32, 32)
        assert data.classes == len(set(data.labels)) == int(name.removeprefix("cifar"))
        assert data.augment
        assert (len(data.mean), len(data.std)) == (3, 3)
        test_images, test_labels = batches["test_batch" if name == "cifar10" else "test"]
        assert np.array_equal(torch.as_tensor(data.test.images).numpy(), test_images)
        assert data.test.labels.tolist() == test_labels.tolist()
        wanted = {
            (int(label), image.tobytes())
            for file, batch in batches.items()
            if "test" not in file
            for image, label in zip(*batch, strict=True)
        }
        assert examples(data.train, data.val) == wanted


def test_cifar_10_constants(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", "cifar10")
    data = load_data("cifar10", tmp_path)
    assert (data.mean, data.std) == ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))


@pytest.mark.parametrize(("name", "layout"), CIFAR_LAYOUTS)
def test_truncated_cifar_files_are_named(tmp_path: Path, name: str, layout: str) -> None:
    folder = tmp_path / layout
    write_cifar(folder, name)
    path = sorted(folder.glob("test*"))[0]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError) as error:
        load_data(name, tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("labels", [[3, 99], np.array([3, 99]), np.array([3, 99], ">i2"), np.array([3, 99], np.uint8)])
def test_a_pickle_from_today_is_read(tmp_path: Path, labels: object) -> None:
    write_cifar(tmp_path / "cifar-100-python", "cifar100")
    pixels = RANDOM.integers(0, 256, (2, 3072), dtype=np.uint8)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for array in (pixels, np.asfortranarray(pixels)):
            batch = {"data": array, "fine_labels": labels}
            (tmp_path / "cifar-100-python" / "test").write_bytes(pickle.dumps(batch, protocol))
            data = load_data("cifar100", tmp_path)
            assert data.test.labels.tolist() == [3, 99]
            assert np.array_equal(torch.as_tensor(data.test.images).numpy(), pixels.reshape(2, 3, 32, 32))


def test_a_pickle_with_a_memo_beyond_its_file_is_refused(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar-100-python", "cifar100")
    (tmp_path / "cifar-100-python" / "test").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(ValueError, match="a memo"):
        load_data("cifar100", tmp_path)


class MakesFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    write_cifar(folder, "cifar100")
    (folder / "test").write_bytes(pickle.dumps({"data": MakesFolder(tmp_path / "trap"), "fine_labels": []}))
    with pytest.raises(ValueError, match=r"test: .*refused (posix|nt|os)\.mkdir"):
        load_data("cifar100", tmp_path)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"data": np.ones((2, 3072), np.uint8), "labels": [1, 2]}, "KeyError: 'fine_labels'"),
        ({"data": np.ones((2, 3072)), "fine_labels": [1, 2]}, r"float64 \(2, 3072\), expected uint8"),
        ({"data": np.ones((2, 3071), np.uint8), "fine_labels": [1, 2]}, r"\(2, 3071\), expected uint8"),
        ({"data": np.ones((2, 3072), np.uint8), "fine_labels": [1]}, r"expected uint8 \(1, 3072\)"),
        ({"data": "text", "fine_labels": [1]}, "got data of str"),
        ({"data": np.ones((2, 3072), np.uint8), "fine_labels": [1, 100]}, "got 100"),
        ({"data": np.ones((2, 3072), np.uint8), "fine_labels": [-1, 0]}, "got -1"),
        ({"data": np.ones((2, 3072), np.uint8), "fine_labels": [0.5, 1]}, "Cannot cast"),
        ({"data": np.ones((2, 3072), "O"), "fine_labels": [1, 2]}, "an array of O8, expected numbers"),
        ([1, 2], "TypeError"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, batch: object, message: str) -> None:
    folder = tmp_path / "cifar-100-python"
    write_cifar(folder, "cifar100")
    (folder / "test").write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match=f"test.*{message}"):
        load_data("cifar100", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: expected the files ") as error:
        load_data(name, tmp_path, download=False)
    for part in (str(tmp_path), "train-images-idx3-ubyte[.gz]" if name == "mnist" else "cifar-10-batches-bin"):
        assert part in str(error.value)


@pytest.mark.parametrize("error", [ImportError, ConnectionError])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_failed_download_names_the_files_expected_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]
) -> None:
    def fetch(*_: object) -> Path:
        raise error("no way")

    monkeypatch.setattr(sources, "fetch", fetch)
    (tmp_path / "mnist_train.csv").touch()
    with pytest.raises(error, match=rf"{name}: expected the files .* \(where mnist_train\.csv is\); no way"):
        load_data(name, tmp_path)


def from_folder(monkeypatch: pytest.MonkeyPatch, remote: Path) -> list[str]:
    """Let `fetch` copy from a folder; returns the names of the files it will have copied."""
    fetched: list[str] = []

    def fetch(url: str, folder: Path, md5: str) -> Path:
        name = url.rsplit("/", 1)[1]
        content = (remote / name).read_bytes()
        assert len(md5) == 32
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        fetched.append(name)
        return folder / name

    monkeypatch.setattr(sources, "fetch", fetch)
    return fetched


def test_only_missing_idx_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "remote")
    fetched = from_folder(monkeypatch, tmp_path / "remote")
    home = tmp_path / "data" / "KMNIST" / "raw"
    home.mkdir(parents=True)
    own = "train-labels-idx1-ubyte"
    (home / own).write_bytes(idx(np.arange(20) % 10))
    for _ in range(2):
        assert len(load_data("kmnist", tmp_path / "data").test) == 4
    assert sorted(fetched) == sorted(f"{name}.gz" for name in sources._IDX_FILES if name != own)
    assert not (home / f"{own}.gz").exists()


def test_the_cache_folder_is_used_without_a_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path)
    write_idx(tmp_path / "FashionMNIST" / "raw")
    assert load_data("fashion-mnist", download=False).labels[9] == "Ankle boot"


@pytest.mark.parametrize(("name", "layout"), [("cifar10", "cifar-10-batches-bin"), ("cifar100", "cifar-100-binary")])
def test_cifar_is_downloaded_and_extracted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str
) -> None:
    write_cifar(tmp_path / "remote" / layout, name)
    archive = tmp_path / "remote" / sources._CIFAR[name].url.rsplit("/", 1)[1]
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "remote" / layout, arcname=layout)
    fetched = from_folder(monkeypatch, tmp_path / "remote")
    for _ in range(2):
        assert isinstance(load_data(name, tmp_path / "data"), DataSet)
    assert fetched == [archive.name]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted([layout, archive.name])


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "evil").write_text("evil")
    with tarfile.open(tmp_path / "remote" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "evil", arcname="../../../escaped")
    from_folder(monkeypatch, tmp_path / "remote")
    with pytest.raises(tarfile.OutsideDestinationError):
        load_data("cifar10", tmp_path / "data")
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_put_in_place_by_hand_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pooch")
    write_cifar(tmp_path / "cifar-10-batches-bin", "cifar10")
    archive = tmp_path / "data" / "cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", arcname="cifar-10-batches-bin")
    source = sources._CIFAR["cifar10"]
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setitem(sources._CIFAR, "cifar10", replace(source, md5=md5, url="http://127.0.0.1:1/" + archive.name))
    assert len(load_data("cifar10", archive.parent).test) == 3


@pytest.mark.skipif(not (REAL_DATA / "MNIST" / "raw").is_dir(), reason="MNIST is not here")
def test_the_real_mnist() -> None:
    data = load_data("mnist", REAL_DATA, download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.shape == (1, 28, 28)
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    x = torch.cat([x for x, _ in data.batches("train", 5000)])
    assert x.mean().item() == pytest.approx(0, abs=0.01)
    assert x.std().item() == pytest.approx(1, abs=0.01)
