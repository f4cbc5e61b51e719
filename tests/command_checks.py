"""What tests of commands share: a folder of images, an interruption, and the one line of a refusal."""

from pathlib import Path

import pytest

from untrained.cli import main
from untrained.search import checkpoint


def write_images():
    """Write the folder `images`: 8 images of each of two classes in both parts, for networks that are slow."""
    pil = pytest.importorskip("PIL.Image")
    for part in ("train", "test"):
        for label in ("a", "b"):
            folder = Path("images") / part / label
            folder.mkdir(parents=True)
            for number in range(8):
                pil.new("L", (8, 8), number * 30 + 5 * (label == "b") + (part == "test")).save(folder / f"{number}.png")


def interrupt_after(patch, writes):
    """Let Ctrl-C come right after so many checkpoints; return the list of those that are written."""
    true_write, written = checkpoint.write, []

    def write(*arguments):
        true_write(*arguments)
        written.append(arguments)
        if len(written) == writes:
            raise KeyboardInterrupt

    patch.setattr(checkpoint, "write", write)
    return written


def refused(capsys, *arguments):
    """Return the one line that a wrong call prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("untrained: ")
    return err
