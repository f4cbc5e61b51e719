"""The command `predict`: pictures, arrays and rows as eval sees them, and odd files refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import untrained as ut
from untrained.cli import main
from untrained.export.network import build_network

META = {"labels": list("abcdefghij"), "shape": [1, 8, 8], "mean": [0.3], "std": [0.4], "data": "digits"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images():
    """The first test digits, uint8, and the file of a network for them."""
    ut.save(ut.mask_(ut.models.fc((16,), (1, 8, 8)), ut.EdgePopup(0.5), seed=1), "a.ticket", meta=META)
    return ut.load_data("digits").test.images[torch.arange(4)]


def predicted(capsys, *files):
    main(["predict", "a.ticket", "--json", *files])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def write_rows(name, values, form):
    np.savetxt(name, values.reshape(len(values), -1), fmt=form, delimiter=",")


def test_one_batch_in_every_file_has_the_answers_of_the_network(images, capsys):
    pixels = images.numpy()
    network = build_network(ut.Ticket.load("a.ticket"))
    expected = network((images.float() - 255 * 0.3) / (255 * 0.4)).softmax(1)
    for name, values in {"u": pixels, "f": pixels / 255, "i": pixels.astype(int), "n": pixels[:, 0]}.items():
        np.save(f"{name}.npy", values)
    write_rows("w.csv", pixels, "%d")
    write_rows("d.csv", pixels / 255, "%.17g")
    numbers, names = ",".join(map(str, range(64))), ",".join(f"p{i}" for i in range(64))  # pandas writes the numbers
    Path("h.csv").write_text(f"{numbers}\n{Path('w.csv').read_text(encoding='utf-8')}", encoding="utf-8-sig")
    Path("t.csv").write_text(f"{names}\n\n{Path('d.csv').read_text(encoding='utf-8')}", encoding="utf-8")
    for name in ("u.npy", "f.npy", "i.npy", "n.npy", "w.csv", "d.csv", "h.csv", "t.csv"):
        lines = predicted(capsys, name)
        assert [(line["file"], line["index"]) for line in lines] == [(name, number) for number in range(4)]
        for line, row in zip(lines, expected, strict=True):
            best = row.argsort(descending=True)[:3].tolist()
            assert [each["class"] for each in line["best"]] == best
            assert [each["label"] for each in line["best"]] == ["abcdefghij"[number] for number in best]
            assert [each["probability"] for each in line["best"]] == pytest.approx(row[best].tolist(), abs=1e-5)
    for name, values in {"one": pixels[0], "flat": pixels[0, 0]}.items():
        np.save(f"{name}.npy", values)
        (line,) = predicted(capsys, f"{name}.npy")
        assert line["index"] is None and line["best"][0]["class"] == expected[0].argmax()


def test_pictures_are_seen_as_a_viewer_shows_them(images, capsys):
    pillow = pytest.importorskip("PIL.Image")
    grey = images[0, 0].numpy()
    np.save("a.npy", grey)
    (expected,) = predicted(capsys, "a.npy")
    pillow.fromarray(grey).save("grey.png")
    pillow.fromarray(grey).convert("RGBA").save("rgba.webp", lossless=True)
    pillow.fromarray(grey.astype(np.uint16) * 257).save("sixteen.png")
    pillow.fromarray(np.repeat(np.repeat(grey, 3, 0), 3, 1)).save("large.TIFF")
    turned = pillow.fromarray(np.rot90(grey))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save("turned.png", exif=exif)
    for name in ("grey.png", "rgba.webp", "sixteen.png", "turned.png", "large.TIFF"):
        (line,) = predicted(capsys, name)
        assert line["index"] is None
        near = 0.1 if name == "large.TIFF" else 1e-6
        assert line["best"][0]["probability"] == pytest.approx(expected["best"][0]["probability"], abs=near)
    pillow.fromarray(255 - grey).save("paper.png")
    with pytest.warns(UserWarning, match="paper.png: light at its edges; the images of digits are light on dark"):
        predicted(capsys, "paper.png")


def write_odd(pixels):
    arrays = {
        "nan": np.where(pixels > 9, np.nan, pixels / 255),
        "normed": (pixels / 255 - 0.3) / 0.4,
        "binary": (pixels > 99).astype(np.uint8),
        "negative": -pixels.astype(int),
        "last": pixels.transpose(0, 2, 3, 1),
        "none": pixels[:0],
        "complex": pixels.astype(complex),
        "text": pixels.astype(str),
        "scalar": np.float32(3),
    }
    for name, values in arrays.items():
        np.save(f"{name}.npy", values)
    np.save("object.npy", np.array([print, 1], object), allow_pickle=True)
    rows = pixels.reshape(4, -1)
    write_rows("labelled.csv", np.hstack([rows[:, :1], rows]), "%d")
    write_rows("binary.csv", (rows > 99).astype(int), "%d")
    write_rows("huge.csv", rows.astype(object) * 10**400, "%d")
    write_rows("good.csv", rows, "%d")
    text = Path("good.csv").read_text(encoding="utf-8")
    Path("word.csv").write_text(text + "x" + text, encoding="utf-8")
    Path("quote.csv").write_text(text + '"', encoding="utf-8")
    for name in ("empty.npy", "empty.csv", "empty.png", "noted.txt"):
        Path(name).touch()


ODD = {
    "nan.npy": "nan.npy holds a NaN or an infinite number",
    "normed.npy": "normed.npy: floats must be in 0…1, not normalised; got -0.75…1.75",
    "binary.npy": "binary.npy: its whole numbers are 0 and 1: expected pixels 0…255, or floats 0.0…1.0",
    "negative.npy": "negative.npy: whole numbers must be in 0…255, not normalised; got -255…0",
    "last.npy": "last.npy: expected an example of shape (1, 8, 8) or a batch (n, 1, 8, 8), got (4, 8, 8, 1)",
    "none.npy": "none.npy holds no example",
    "complex.npy": "complex.npy: expected numbers, got an array of complex128",
    "text.npy": "text.npy: expected numbers, got an array of <U3",
    "scalar.npy": "scalar.npy: expected an example of shape (1, 8, 8) or a batch (n, 1, 8, 8), got ()",
    "object.npy": "objects are never unpickled",
    "empty.npy": "empty.npy: unreadable array",
    "labelled.csv": "line 1 holds 65 numbers, expected 64 (1 x 8 x 8); leave out a column of labels",
    "binary.csv": "binary.csv: its whole numbers are 0 and 1",
    "huge.csv": "huge.csv: whole numbers must be in 0…255",
    "word.csv": "word.csv: line 5 holds 'x",
    "quote.csv": "quote.csv: unexpected end of data",
    "empty.csv": "empty.csv holds no example",
    "empty.png": "empty.png: unreadable image",
    "noted.txt": "noted.txt: expected a picture, a .npy or a .csv file, got a name that ends in '.txt'",
    "nowhere.png": "no such file: nowhere.png",
    ".": ". is a folder; name its files",
}


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["predict", *arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1
    return err


def test_odd_files_are_refused_by_name(images, capsys):
    pytest.importorskip("PIL.Image")
    write_odd(images.numpy())
    for name, message in ODD.items():
        assert message in refused(capsys, "a.ticket", name), name
    assert "predict needs a ticket and one or more files" in refused(capsys, "a.ticket")


def test_tickets_that_do_not_say_enough_are_refused(images, capsys):
    np.save("a.npy", images.numpy())
    ticket = ut.Ticket.load("a.ticket")
    pytest.importorskip("PIL.Image").fromarray(images[0, 0].numpy()).save("a.png")
    for meta, file, message in [
        ({"labels": ["a"]}, "a.npy", "a.ticket: meta.labels must be 10 labels"),
        ({"mean": [0.3]}, "a.npy", "one of mean and std"),
        ({"mean": [0.3], "std": [0.0]}, "a.npy", "meta.std must be 1 numbers, a std above 0"),
        ({"task": "regression"}, "a.npy", "its task is 'regression'; predict gives classes"),
        ({}, "a.png", "the ticket has no mean and std to normalise a picture with"),
    ]:
        type(ticket)(**{**vars(ticket), "meta": meta}).save("a.ticket")
        assert message in refused(capsys, "a.ticket", file)


def test_plain_lines_and_numbers_of_a_ticket_without_statistics(images, capsys):
    labels = ["\x1b[31m", *"bcdefghij"]
    ut.save(ut.mask_(ut.models.fc((16,), (1, 8, 8)), ut.EdgePopup(0.5), seed=1), "a.ticket", meta={"labels": labels})
    np.save("a.npy", images.numpy() / 10 - 3)
    main(["predict", "a.ticket", "a.npy"])
    lines = capsys.readouterr().out.splitlines()
    x = torch.from_numpy(images.numpy() / 10 - 3).float()
    rows = build_network(ut.Ticket.load("a.ticket"))(x).softmax(1)
    assert [line.split("  ")[0] for line in lines] == [f"a.npy[{number}]" for number in range(4)]
    for line, row in zip(lines, rows, strict=True):
        label = labels[row.argmax()].replace("\x1b", "\\x1b")
        assert line.split("  ")[1].startswith(f"{label} {row.max():.2%}, ")


def test_the_answers_of_the_first_files_are_printed_before_a_bad_one(images, capsys):
    np.save("a.npy", images.numpy()[0])
    with pytest.raises(SystemExit):
        main(["predict", "a.ticket", "a.npy", "b.npy"])
    out, err = capsys.readouterr()
    assert out.startswith("a.npy  ") and err == "untrained: no such file: b.npy\n"
