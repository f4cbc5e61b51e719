import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.data.image_files import ImageFiles, find_form

Image = pytest.importorskip("PIL.Image")


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
    if mode == "YCbCr" and int(Image.__version__.split(".")[0]) < 13:
        pytest.skip("this Pillow cannot read the YCbCr that it wrote")
    with Image.open(tmp_path / "x.tif") as opened:
        expected = np.asarray(opened.convert("L" if grey else "RGB")).reshape(5, 7, -1).transpose(2, 0, 1)
    assert np.array_equal(read([tmp_path / "x.tif"])[0], expected)


_STORED = (
    None,
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_90",
    "TRANSVERSE",
    "ROTATE_270",
)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp", "x.avif"])
def test_images_are_upright_as_their_exif_has_it(tmp_path: Path, name: str) -> None:
    if Image.registered_extensions().get(Path(name).suffix) not in Image.SAVE:
        pytest.skip("this Pillow writes none")
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, 16:] = 250, 120
    exif, image = Image.Exif(), Image.fromarray(upright)
    image.save(tmp_path / "plain.png")
    for exif[0x0112], turn in enumerate(_STORED, 1):
        stored = image if turn is None else image.transpose(Image.Transpose[turn])
        stored.save(tmp_path / name, exif=exif, quality=95)
        paths = [tmp_path / name, tmp_path / "plain.png"]
        for size in (None, (16, 24)):
            form = find_form(paths, size)
            assert form.shape == (3, 16, 24)
            pixels = ImageFiles(paths, form)[torch.arange(2)].numpy().astype(int)
            assert np.abs(pixels[0] - pixels[1]).mean() < 5


def test_an_image_of_another_size_than_its_header_gives_is_refused(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        Image.new("L", (6, 4), 5).save(tmp_path / name)
    files = ImageFiles([tmp_path / "x.png", tmp_path / "y.png"], find_form([tmp_path / "x.png"], None))
    Image.new("L", (4, 6), 5).save(tmp_path / "y.png")
    with pytest.raises(ValueError, match=r"y\.png: .*4 x 6.*6 x 4"):
        files[torch.arange(2)]
