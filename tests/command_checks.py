"""What tests of commands share: a folder of images, interruptions, and the one line of a refusal."""

import contextlib
import os
import signal
import subprocess
import sys
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


@contextlib.contextmanager
def running(*arguments):
    """Run `untrained …` in a session of its own, which Ctrl-C reaches, and which ends if the test fails."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "untrained", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def refused(capsys, *arguments):
    """Return the one line that a wrong call prints, after lines of progress at most."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    *progress, last = err.splitlines(keepends=True)
    assert stop.value.code == 2 and out == "" and last.startswith("untrained: ")
    assert not any(line.startswith("untrained: ") for line in progress)
    return last
