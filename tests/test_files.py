"""A file is written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from untrained.files import written_whole


def fail(*_, **__):
    raise OSError("no space left on device")


def test_what_was_written_takes_the_files_place(tmp_path):
    path = tmp_path / "a.ticket"
    for content in (b"first", b"second, longer", b""):
        with written_whole(path) as unfinished:
            assert unfinished.parent == tmp_path and unfinished != path
            unfinished.write_bytes(content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, ValueError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error, exists):
    path = tmp_path / "a.ticket"
    if exists:
        path.write_bytes(b"old")
    with pytest.raises(error), written_whole(path) as unfinished:
        unfinished.write_bytes(b"half of the ne")
        raise error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"a.ticket": b"old"} if exists else {})


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod", "os.open"])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.ticket"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="no space"), written_whole(path) as unfinished:
        unfinished.write_bytes(b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.ticket": b"old"}


def test_readers_see_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "a.ticket"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with written_whole(path) as unfinished:
            unfinished.write_bytes(b"new")
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "a.ticket") as unfinished:
            unfinished.write_bytes(b"new")
        assert os.umask(umask) == umask  # and the process has the umask it had
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.ticket").stat().st_mode) == 0o666 & ~umask


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError), written_whole(tmp_path / "nowhere" / "a.ticket"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_a_folder_is_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with written_whole("a.ticket") as unfinished:
        unfinished.write_bytes(b"new")
    assert Path("a.ticket").read_bytes() == b"new"
