from pathlib import Path

import numpy as np
import pytest
import torch

from untrained import image_folders
from untrained.data import load_data

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
            write_image(tmp_path / name / "images" / f"{index}.JPEG", (index, 0, 0))
        (tmp_path / name / "boxes.txt").write_text("0 0 1 1")
        (tmp_path / name / "._0.jpg").write_bytes(b"no image")
    (tmp_path / ".cache").mkdir()
    data = load_data(str(tmp_path))
    assert len(data.train) + len(data.val) + len(data.test) == 10


def test_grey_images_have_one_channel_and_are_not_augmented(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 20)):
        for index in range(5):
            write_image(tmp_path / name / f"{index}.png", value)
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
    with pytest.raises(ValueError, match=r"got an image of 8 x 8 pixels, expected 6 x 4 as in .*00\.png") as error:
        load_data(str(tmp_path))
    assert str(odd) in str(error.value)
    assert load_data(str(tmp_path), size=5).shape == (3, 5, 5)
    with pytest.raises(ValueError, match="size: got 0"):
        load_data(str(tmp_path), size=0)


def test_images_are_cropped_at_their_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 6:18] = 200  # the middle third, and what scaling mixes into it
    for name in "ab":
        for index in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
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
    with pytest.raises(ValueError, match="unknown class, expected one of a, b") as error:
        load_data(str(tmp_path))
    assert str(tmp_path / "test" / "c") in str(error.value)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    write_classes(tmp_path, "a")
    with pytest.raises(ValueError, match="got one class folder, 'a'"):
        load_data(str(tmp_path))


def test_missing_pillow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ImportError, match=r"untrained\[images\]"):
        load_data(str(tmp_path))
