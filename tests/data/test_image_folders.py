import io
import os
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.data import image_files, image_folders
from untrained.data.dataset import load_data
from untrained.data.image_files import ImageFiles, find_form

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


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
    with pytest.warns(UserWarning, match=r"6 files are not read, such as .*loose\.png; expected images in class fold"):
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
    with pytest.raises(ValueError, match=r"got an image of 8 x 8 pixels, expected 6 x 4 as in .*00\.png") as error:
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
    with pytest.warns(UserWarning, match="all images are the same, each pixel is 200: nothing can be learnt"):
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
def test_parts_and_classes_are_told_by_what_they_hold(tmp_path: Path, tree: str, train: int, test: int) -> None:
    write_tree(tmp_path, tree)
    data = load_data(str(tmp_path))
    val = 4 if "valid/" in tree else 0
    assert (len(data.train) + len(data.val) - val, len(data.test)) == (train, test)
    assert data.classes == 2


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("Train Test", "got Test, Train, called like parts, and no train part with class folders"),
        ("train/images test/images", "got one class folder, 'images'"),
        ("cats dogs train test", "got test, train, called like parts"),
        ("test/a test/b val/a val/b", "got test, val, called like parts"),
        ("train/a train/b test", "test: got a part without class folders, expected .*or give .*train alone"),
        ("train/a train/b val/a test", "test: got a part without class folders"),
        ("train/a train/b test/test", "test/test: got a part without class folders"),
        ("train/a train/b training/a training/b test/a", "got train, training, expected one folder for the train part"),
        ("train/a train/b other", "got other beside the parts train, and cannot tell parts from classes"),
        ("one/a one/b two/a two/b", "one: got a class folder that holds only folders, a, b; expected images"),
        ("a/x/left a/x/right b", "a: got a class folder that holds only folders, left, right"),
        ("pets/a pets/b", r"got one class folder, 'pets' \(which holds the folders a, b\), expected at least two"),
    ],
)
def test_folders_that_could_be_parts_or_classes_are_refused(tmp_path: Path, tree: str, message: str) -> None:
    write_tree(tmp_path, tree)
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("tree", "labels", "message"),
    [
        ("a b test", ("a", "b", "test"), "test is read as a class, beside others"),
        (
            "train/a train/b test/a test/b extra",
            ("a", "b"),
            "got extra beside the parts test, train; they are not read",
        ),
    ],
)
def test_doubtful_folders_are_told(tmp_path: Path, tree: str, labels: tuple[str, ...], message: str) -> None:
    write_tree(tmp_path, tree)
    with pytest.warns(UserWarning, match=message):
        assert load_data(str(tmp_path)).labels == labels


def test_copies_of_training_images_in_the_test_part_are_counted(tmp_path: Path) -> None:
    write_tree(tmp_path, "train/a train/b test/a test/b")
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "train/b/copy.png")  # within a part nothing leaks
    load_data(str(tmp_path))
    for name in ("first", "second"):
        shutil.copy(tmp_path / "train/a/1.png", tmp_path / f"test/b/{name}.png")
    with pytest.warns(UserWarning, match=r"2 of 10 test images are copies .* as .*first\.png of .*train/a/1\.png"):
        load_data(str(tmp_path))


def test_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    write_tree(tmp_path, f"train/{composed} train/f test/{decomposed} test/f")
    data = load_data(str(tmp_path))
    assert data.labels == ("f", composed)
    assert data.test.labels.tolist() == [0] * 4 + [1] * 4


def decoded(folder: Path, image: object, name: str = "x.png", **options: object) -> np.ndarray:
    """The pixels (channels, height, width) that an image file is read as."""
    path = folder / name
    image.save(path, **options)  # pyright: ignore[reportAttributeAccessIssue]
    return read([path])[0]


def read(paths: Sequence[Path]) -> np.ndarray:
    return ImageFiles(paths, find_form(paths, None))[torch.arange(len(paths))].numpy()


@given(alpha=st.integers(0, 255), grey=st.integers(0, 255))
@settings(max_examples=30)
def test_transparent_pixels_lie_on_white(tmp_path_factory: pytest.TempPathFactory, alpha: int, grey: int) -> None:
    folder, expected = tmp_path_factory.mktemp("alpha"), 255 + (grey - 255) * alpha / 255
    for mode in ("RGBA", "LA"):
        value = (grey, grey, grey, alpha) if mode == "RGBA" else (grey, alpha)
        pixels = decoded(folder, Image.new(mode, (3, 2), value))
        assert pixels.shape == (3 if mode == "RGBA" else 1, 2, 3)
        assert np.abs(pixels - expected).max() <= 1
    palette = Image.new("P", (3, 2), 7)
    palette.putpalette([grey] * 768)
    assert np.abs(decoded(folder, palette, transparency=bytes([alpha] * 256)) - expected).max() <= 1
    for mode, value in (("L", grey), ("RGB", (grey,) * 3)):
        clear = decoded(folder, Image.new(mode, (3, 2), value), transparency=value)
        assert (clear == 255).all()


@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=8))
@settings(max_examples=30)
def test_sixteen_bits_are_scaled_and_not_cut(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    folder, array = tmp_path_factory.mktemp("deep"), np.array([values], np.uint16)
    expected = np.round(array / 257)
    big = Image.frombytes("I;16B", (len(values), 1), array.astype(">u2").tobytes())
    for name, image in (("x.png", Image.fromarray(array)), ("x.tif", Image.fromarray(array)), ("y.tif", big)):
        pixels = decoded(folder, image, name)
        assert pixels.shape == (1, 1, len(values))
        assert np.array_equal(pixels[0], expected)
    (folder / "x.pgm").write_bytes(b"P5 %d 1 65535\n" % len(values) + array.astype(">u2").tobytes())
    assert np.array_equal(read([folder / "x.pgm"])[0, 0], expected)
    Image.new("RGB", (len(values), 1)).save(folder / "colour.png")
    assert np.array_equal(read([folder / "x.png", folder / "colour.png"])[0], np.stack([expected] * 3))


def test_sixteen_bits_with_a_clear_value(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", 1000))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">2H", 1000, 2570)))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    assert read([tmp_path / "x.png"]).flatten().tolist() == [255, 10]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3), 0.5, np.float32), "an image of floats"),
        (np.full((2, 3), 256, np.int32), r"32-bit numbers 256\.\.256, expected 0\.\.255"),
        (np.full((2, 3), -1, np.int32), r"32-bit numbers -1\.\.-1"),
    ],
)
def test_numbers_without_a_range_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        decoded(tmp_path, Image.fromarray(array), "x.tif")
    assert str(tmp_path / "x.tif") in str(error.value)
    assert decoded(tmp_path, Image.fromarray(np.full((2, 3), 255, np.int32)), "y.tif").max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_are_read_as_pillow_converts_them(tmp_path: Path, mode: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = (
        Image.fromarray(colours).convert(mode) if mode != "LAB" else Image.frombytes("LAB", (7, 5), colours.tobytes())
    )
    if mode == "HSV":
        image = image.convert("RGB")  # no format holds it
    image.save(tmp_path / "x.tif")
    grey = mode in ("1", "L")
    with Image.open(tmp_path / "x.tif") as opened:
        expected = np.asarray(opened.convert("L" if grey else "RGB")).reshape(5, 7, -1).transpose(2, 0, 1)
    assert np.array_equal(read([tmp_path / "x.tif"])[0], expected)


@pytest.mark.parametrize("size", [None, (16, 24)])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp", "x.avif"])
def test_images_are_upright_as_their_exif_has_it(
    tmp_path: Path, name: str, orientation: int, size: tuple[int, int] | None
) -> None:
    if Image.registered_extensions().get(Path(name).suffix) not in Image.SAVE:
        pytest.skip("this Pillow writes none")
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, 16:] = 250, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    kept = next(
        stored
        for how in (None, *Image.Transpose)
        if (stored := Image.fromarray(upright).transpose(how) if how is not None else Image.fromarray(upright))
        and np.array_equal(upright, _turned(stored, orientation))
    )
    kept.save(tmp_path / name, exif=exif, quality=95)
    Image.fromarray(upright).save(tmp_path / "plain.png")
    paths = [tmp_path / name, tmp_path / "plain.png"]
    form = find_form(paths, size)
    assert form.shape == (3, 16, 24)
    pixels = ImageFiles(paths, form)[torch.arange(2)].numpy().astype(int)
    assert np.abs(pixels[0] - pixels[1]).mean() < 5


def _turned(image: object, orientation: int) -> np.ndarray:
    """What Pillow's own exif_transpose makes of an image in memory."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(file, "PNG", exif=exif)  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(ImageOps.exif_transpose(Image.open(file)))


def test_an_image_of_another_size_than_its_header_gives_is_refused(tmp_path: Path) -> None:
    for name, size in (("x.png", (6, 4)), ("y.png", (6, 4))):
        write_image(tmp_path / name, 5, size)
    files = ImageFiles([tmp_path / "x.png", tmp_path / "y.png"], find_form([tmp_path / "x.png"], None))
    write_image(tmp_path / "y.png", 5, (4, 6))
    with pytest.raises(ValueError, match=r"y\.png: got an image of 4 x 6 pixels, expected 6 x 4"):
        files[torch.arange(2)]


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
