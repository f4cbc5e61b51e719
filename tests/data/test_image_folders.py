import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from untrained.data import image_files, image_folders
from untrained.data.dataset import load_data
from untrained.data.image_files import find_form

Image = pytest.importorskip("PIL.Image")


def write_image(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path)


def write_classes(folder: Path, classes: str = "ab", count: int = 10, start: int = 0) -> None:
    for number, name in enumerate(classes):
        for index in range(count):
            value = start + number * count + index
            write_image(folder / name / f"{index:02}.png", (value, 100, 200))


def values(*parts: object) -> list[int]:
    """The red value of each image, which numbers it, in ascending order."""
    return sorted(
        int(value)
        for part in parts
        for value in part.images[torch.arange(len(part))][:, 0, 0, 0]  # pyright: ignore
    )


def sizes(data: object) -> int:
    return sum(len(getattr(data, part)) for part in ("train", "val", "test"))


def test_a_folder_with_train_and_test(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", count=2, start=100)
    data = load_data(str(tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 4)
    assert data.shape == (3, 4, 6)
    assert data.labels == ("a", "b")
    assert data.augment
    assert values(data.train, data.val) == list(range(20))
    assert values(data.test) == [100, 101, 102, 103]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    images = torch.as_tensor(data.train.images)
    for image, label in zip(images, data.train.labels, strict=True):
        assert (image[0, 0, 0] >= 10) == (label == 1)
    assert data.mean == pytest.approx([images[:, 0].double().mean().item() / 255, 100 / 255, 200 / 255])
    assert data.std == pytest.approx([images[:, 0].double().std(correction=0).item() / 255, 1, 1])


def test_a_folder_without_parts_is_divided_for_good(tmp_path: Path) -> None:
    write_classes(tmp_path)
    data = load_data(str(tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (14, 2, 4)
    assert values(data.train, data.val, data.test) == list(range(20))
    assert values(data.test) == values(load_data(str(tmp_path)).test)
    assert data.name == str(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "testing"])
def test_a_validation_folder_is_the_test_part_where_there_is_none(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path / "training")
    write_classes(tmp_path / name, count=2, start=100)
    data = load_data(str(tmp_path))
    assert values(data.test) == [100, 101, 102, 103]
    assert values(data.train, data.val) == list(range(20))


def test_a_validation_folder_beside_a_test_folder_is_the_validation_part(tmp_path: Path) -> None:
    for start, name in enumerate(("train", "val", "test")):
        write_classes(tmp_path / name, count=2, start=100 * start // 2)
    data = load_data(str(tmp_path))
    assert values(data.val) == [50, 51, 52, 53]
    assert values(data.test) == [100, 101, 102, 103]
    assert len(data.train) == 4


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("boat", "train"):
        for index in range(5):
            write_image(tmp_path / name / f"{index}.png", (index, 0, 0))
    assert load_data(str(tmp_path)).labels == ("boat", "train")


def test_files_are_found_deeper_and_others_are_left_alone(tmp_path: Path) -> None:
    for name in "ab":
        for index in range(5):
            write_image(tmp_path / name / "images" / f"{index}.JPEG", (20 * index + 100 * (name == "b"), 0, 0))
        (tmp_path / name / "._0.jpg").write_bytes(b"no image")
        (tmp_path / name / "Thumbs.db").write_bytes(b"no image")
        for hidden in (".ipynb_checkpoints", "images/.cache/deep", "__MACOSX"):
            write_image(tmp_path / name / hidden / "0.png", (99, 0, 0))
    (tmp_path / ".cache").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    assert sizes(load_data(str(tmp_path))) == 10


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    write_classes(tmp_path, count=5)
    for name in ("a/boxes.txt", "a/deep/noise.heic", "b/page.eps", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "._loose.png").write_bytes(b"hidden")
    (tmp_path / "a" / "lost.png").symlink_to("nowhere")
    (tmp_path / "b" / "more").symlink_to(tmp_path / "a")
    with pytest.warns(UserWarning, match=r"6 files are not read.*loose\.png"):
        assert sizes(load_data(str(tmp_path))) == 10


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".webp", ".avif", ".tga", ".jp2", ".PNM", ".gif"])
def test_all_that_pillow_decodes_is_read(tmp_path: Path, ending: str) -> None:
    if Image.registered_extensions().get(ending.lower()) not in Image.SAVE:
        pytest.skip("this Pillow writes none")
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.new("L", (9, 8), 20 * index + 80 * (name == "b")).save(tmp_path / name / f"{index}{ending}")
    assert sizes(load_data(str(tmp_path))) == 8


def test_postscript_is_not_run_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path, count=5)
    (tmp_path / "a" / "00.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\n")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"00\.png: unreadable image \(UnidentifiedImageError"):
        load_data(str(tmp_path))


def test_grey_images_have_one_channel_and_are_not_augmented(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 20)):
        for index in range(5):
            write_image(tmp_path / name / f"{index}.png", value + index)
    data = load_data(str(tmp_path))
    assert data.shape == (1, 4, 6)
    assert not data.augment
    write_image(tmp_path / "a" / "colour.png", (1, 2, 3))
    mixed = load_data(str(tmp_path))
    assert mixed.shape == (3, 4, 6)
    assert mixed.augment


def test_sizes_that_differ_need_a_size(tmp_path: Path) -> None:
    write_classes(tmp_path)
    odd = tmp_path / "b" / "odd.png"
    write_image(odd, (99, 0, 0), size=(8, 8))
    with pytest.raises(ValueError, match=r"8 x 8.*6 x 4.*00\.png") as error:
        load_data(str(tmp_path))
    assert str(odd) in str(error.value)
    assert load_data(str(tmp_path), size=5).shape == (3, 5, 5)
    assert load_data(str(tmp_path), size=(5, 7)).shape == (3, 5, 7)
    for size in (0, 5_000_000):
        with pytest.raises(ValueError, match=f"size.*4096.*{size}"):
            load_data(str(tmp_path), size=size)


def test_images_are_cropped_at_their_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 6:18] = 200  # the middle third, and what scaling mixes into it
    for number, name in enumerate("ab"):
        for index in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels[0, 0] = 5 * number + index  # no two files are the same
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    with pytest.warns(UserWarning, match="all images are the same.*200"):
        data = load_data(str(tmp_path), size=4)
    assert torch.equal(torch.as_tensor(data.test.images), torch.full((2, 1, 4, 4), 200, dtype=torch.uint8))


def test_a_big_folder_is_decoded_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path)
    small = load_data(str(tmp_path))
    monkeypatch.setattr(image_folders, "_MEMORY_BYTES", 20 * 3 * 4 * 6)
    big = load_data(str(tmp_path))
    assert isinstance(small.train.images, torch.Tensor)
    assert not isinstance(big.train.images, torch.Tensor)
    assert (big.mean, big.std, big.shape) == (small.mean, small.std, small.shape)
    for part in ("train", "val", "test"):
        for (x, y), (big_x, big_y) in zip(small.batches(part, 4), big.batches(part, 4), strict=True):
            assert torch.equal(x, big_x)
            assert torch.equal(y, big_y)
    (tmp_path / "b" / "03.png").write_bytes(b"damaged since")
    with pytest.raises(ValueError, match=r"03\.png: unreadable image"):
        [list(big.batches(part, 4)) for part in ("train", "val", "test")]


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    path = tmp_path / "a" / "04.png"
    whole = path.read_bytes()
    for content in (b"no image", b"", whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="unreadable image") as error:
            load_data(str(tmp_path))
        assert str(path) in str(error.value)


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no class folders") as error:
        load_data(str(tmp_path))
    assert str(tmp_path) in str(error.value)
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", "a", count=1)
    (tmp_path / "test" / "b").mkdir()
    with pytest.raises(FileNotFoundError, match="no images") as error:
        load_data(str(tmp_path))
    assert str(tmp_path / "test" / "b") in str(error.value)


def test_classes_that_do_not_match_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", "ab")
    write_classes(tmp_path / "test", "ac", count=1)
    with pytest.raises(ValueError, match=r"unknown class.*a, b") as error:
        load_data(str(tmp_path))
    assert str(tmp_path / "test" / "c") in str(error.value)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    write_classes(tmp_path, "a")
    with pytest.raises(ValueError, match="got one class folder, 'a'"):
        load_data(str(tmp_path))


def test_missing_pillow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install .*\[images\]"):
        load_data(str(tmp_path))


def write_tree(root: Path, tree: str) -> None:
    """Write four images, no two the same, for each `folder` of the tree; `folder:name` is one file."""
    for number, each in enumerate(tree.split()):
        folder, _, name = each.partition(":")
        if name:
            write_image(root / folder / name, (250, number, 0))
        for index in range(0 if name else 4):
            write_image(root / folder / f"{index}.png", (number, index, 0))


@pytest.mark.parametrize(
    ("tree", "train", "test"),
    [
        ("Training/a Training/b Test/a Test/b", 8, 8),
        ("TRAIN/a TRAIN/b TEST/a", 8, 4),
        ("training_set/a training_set/b test_set/a", 8, 4),
        ("seg_train/seg_train/a seg_train/seg_train/b seg_test/seg_test/b", 8, 4),
        ("01-train-images/a 01-train-images/b 02-test-images/a", 8, 4),
        ("trainset/a trainset/b TestData/a", 8, 4),
        ("asl_alphabet_train/a asl_alphabet_train/b asl_alphabet_test/a", 8, 4),
        ("x/train/a x/train/b x/dev/b", 8, 4),
        ("x/y/train/a x/y/train/b x/y/Validation/b", 8, 4),
        ("train/test train/train test/train", 8, 4),  # classes of that name
        ("train/a train/b valid/a test/b", 8, 4),
        ("train/a/images train/b/images test/b/images", 8, 4),
        ("steam_train road_train", 6, 2),
        ("test_tube/x train_station/x", 6, 2),
        ("train boat", 6, 2),
        ("a a/bad b", 10, 2),
    ],
)
def test_parts_and_classes_are_recognised_by_their_content(tmp_path: Path, tree: str, train: int, test: int) -> None:
    write_tree(tmp_path, tree)
    data = load_data(str(tmp_path))
    val = 4 if "valid/" in tree else 0
    assert (len(data.train) + len(data.val) - val, len(data.test)) == (train, test)
    assert data.classes == 2


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("Train Test", "got Test, Train"),
        ("train/images test/images", "one class folder, 'images'"),
        ("cats dogs train test", "got test, train"),
        ("test/a test/b val/a val/b", "got test, val"),
        ("train/a train/b test", "test: .*without class folders.*or give .*train alone"),
        ("train/a train/b val/a test", "test: .*without class folders"),
        ("train/a train/b test/test", "test/test: .*without class folders"),
        ("train/a train/b training/a training/b test/a", "got train, training, .*train part"),
        ("train/a train/b other", "got other.* parts train.*classes"),
        ("one/a one/b two/a two/b", "one: .*only folders, a, b"),
        ("a/x/left a/x/right b", "a: .*only folders, left, right"),
        ("pets/a pets/b", "one class folder, 'pets' .*folders a, b"),
    ],
)
def test_folders_that_could_be_parts_or_classes_are_refused(tmp_path: Path, tree: str, message: str) -> None:
    write_tree(tmp_path, tree)
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("tree", "labels", "message"),
    [
        ("a b test", ("a", "b", "test"), "test is read as a class"),
        ("train/a train/b test/a test/b extra", ("a", "b"), "got extra .*test, train.*not read"),
    ],
)
def test_doubtful_folders_are_named(tmp_path: Path, tree: str, labels: tuple[str, ...], message: str) -> None:
    write_tree(tmp_path, tree)
    with pytest.warns(UserWarning, match=message):
        assert load_data(str(tmp_path)).labels == labels


def test_copies_of_training_images_in_the_test_part_are_counted(tmp_path: Path) -> None:
    write_tree(tmp_path, "train/a train/b test/a test/b")
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "train/b/copy.png")  # within a part nothing leaks
    load_data(str(tmp_path))
    for name in ("first", "second"):
        shutil.copy(tmp_path / "train/a/1.png", tmp_path / f"test/b/{name}.png")
    with pytest.warns(UserWarning, match=r"2 of 10.*first\.png of .*train/a/1\.png"):
        load_data(str(tmp_path))


def test_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    write_tree(tmp_path, f"train/{composed} train/f test/{decomposed} test/f")
    data = load_data(str(tmp_path))
    assert data.labels == ("f", composed)
    assert data.test.labels.tolist() == [0] * 4 + [1] * 4


def test_huge_images_are_named_and_large_ones_decoded_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    paths = sorted(tmp_path.rglob("*.png"))
    assert find_form(paths, None).threads == 16
    monkeypatch.setattr(image_files, "_PIXELS_AT_ONCE", 3 * 24)
    assert find_form(paths, None).threads == 3
    for limit in (20, 10):  # Pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"00\.png: unreadable image \(DecompressionBomb") as error:
            load_data(str(tmp_path))
        assert str(paths[0]) in str(error.value)


def test_two_class_folders_of_one_name_are_refused(tmp_path):
    for name in ("caf\u00e9", "cafe\u0301", "tea"):
        (tmp_path / name).mkdir()
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system has one form of Unicode names")
    with pytest.raises(ValueError, match="two class folders of this name"):
        load_data(tmp_path)
