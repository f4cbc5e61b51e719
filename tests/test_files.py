"""A file is written whole or not at all, and one process at a time writes into a folder."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.files import atomic_write, sole_writer
from untrained.search import checkpoint


def fail(*_, **__):
    raise OSError("no space left on device")


def test_what_was_written_takes_the_files_place(tmp_path):
    path = tmp_path / "a.ticket"
    for content in (b"first", b"second, longer", b""):
        with atomic_write(path) as unfinished:
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
    with pytest.raises(error), atomic_write(path) as unfinished:
        unfinished.write_bytes(b"half of the ne")
        raise error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"a.ticket": b"old"} if exists else {})


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.chmod", "os.open"])
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.ticket"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="no space"), atomic_write(path) as unfinished:
        unfinished.write_bytes(b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.ticket": b"old"}


def test_readers_see_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "a.ticket"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(b"new")
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a.ticket") as unfinished:
            unfinished.write_bytes(b"new")
        assert os.umask(umask) == umask  # and the process has the umask it had
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.ticket").stat().st_mode) == 0o666 & ~umask


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError), atomic_write(tmp_path / "nowhere" / "a.ticket"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_name_without_a_folder_is_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write("a.ticket") as unfinished:
        unfinished.write_bytes(b"new")
    assert Path("a.ticket").read_bytes() == b"new"


def make_device(path):
    try:
        os.mknod(path, 0o20666, os.makedev(1, 3))
    except (PermissionError, AttributeError):
        pytest.skip("only root makes devices")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # its names are short


@pytest.mark.skipif(os.name == "nt", reason="devices and pipes are those of POSIX")
@pytest.mark.parametrize("through", ["itself", "a link", "a link to a link"])
@pytest.mark.parametrize("make", [make_device, make_socket, os.mkfifo, os.mkdir], ids=lambda make: make.__name__)
def test_what_is_no_file_is_never_replaced(tmp_path, make, through):
    make(tmp_path / "it")
    (tmp_path / "link").symlink_to("it")
    (tmp_path / "longer").symlink_to("link")
    path = tmp_path / {"itself": "it", "a link": "link", "a link to a link": "longer"}[through]
    before = {each.name: each.lstat().st_mode for each in tmp_path.iterdir()}
    with pytest.raises(OSError, match=f"{path} is a (folder|device)"), atomic_write(path) as unfinished:
        unfinished.write_bytes(b"new")
    assert {each.name: each.lstat().st_mode for each in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_a_link_stays_one_and_the_file_behind_it_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    for old in (b"old", None):
        target, link = tmp_path / "there" / f"{old}", tmp_path / f"link to {old}"
        link.symlink_to(f"there/{old}")
        if old:
            target.write_bytes(old)
        with atomic_write(link) as unfinished:
            unfinished.write_bytes(b"new")
        assert link.is_symlink() and target.read_bytes() == b"new"
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere/a")
    for name in ("loop", "lost"):
        with pytest.raises(OSError), atomic_write(tmp_path / name):
            pass
        assert (tmp_path / name).is_symlink()


@pytest.mark.parametrize("name", ["a" * 250, "a" * 255, "ä" * 125, " ", "-a", "a\nb", ".unfinished-", "*?[a]"])
def test_any_name_that_a_file_can_have_will_do(tmp_path, name):
    for content in (b"first", b"second"):
        with atomic_write(tmp_path / name) as unfinished:
            unfinished.write_bytes(content)
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, content)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names in UTF-8")
def test_a_name_that_is_no_text_will_do(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.ticket")
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(b"new")
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe.ticket"]  # noqa: PTH208  the bytes are asked for


WRITER = """
import sys, time
from pathlib import Path
from untrained.files import sole_writer, atomic_write
with sole_writer(Path(sys.argv[1])), atomic_write(Path(sys.argv[1]) / "a.ticket") as unfinished:
    unfinished.write_bytes(b"half of the ne")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def killed_writer(tmp_path):
    """A function that kills a process which is writing `a.ticket` in this folder."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        yield process.kill
        process.kill()


def test_what_a_killed_writer_left_is_swept_when_it_is_old_and_nothing_else(tmp_path, killed_writer):
    def unfinished_ones():
        return set(tmp_path.glob(".unfinished-*"))

    with atomic_write(tmp_path / "b.ticket") as unfinished:
        of_another, live = unfinished, unfinished_ones() - {unfinished}
        os.utime(of_another, (0, 0))
        with atomic_write(tmp_path / "a.ticket"):
            assert unfinished_ones() > {of_another, *live}
        killed_writer()
        for kept in (".a.ticket.abcdefgh", ".a.ticket", "unfinished"):
            (tmp_path / kept).touch()
            os.utime(tmp_path / kept, (0, 0))
        assert len(live) == 1 and live == unfinished_ones() - {of_another}
        os.utime(next(iter(live)), (0, 0))
        with atomic_write(tmp_path / "a.ticket"):
            pass
        assert unfinished_ones() == {of_another}
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", ".a.ticket.abcdefgh", ".a.ticket", "unfinished", "a.ticket", "b.ticket"}


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_file_that_is_there_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "a.ticket").write_bytes(b"old")
    (tmp_path / "a.ticket").chmod(mode)
    with atomic_write(tmp_path / "a.ticket") as unfinished:
        assert stat.S_IMODE(unfinished.stat().st_mode) & 0o077 & ~mode == 0
        unfinished.write_bytes(b"new")
    assert stat.S_IMODE((tmp_path / "a.ticket").stat().st_mode) == mode


def test_another_process_is_kept_out_of_a_folder_until_it_is_gone(tmp_path, killed_writer):
    for _ in range(2):
        with pytest.raises(OSError, match=f"another run writes into {tmp_path} now"), sole_writer(tmp_path):
            pass
    killed_writer()
    for _ in range(200):  # until the system has noticed
        try:
            with sole_writer(tmp_path):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("a killed process keeps others out")


def test_a_folder_is_taken_twice_by_the_same_and_not_by_another_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = []

    def other():
        try:
            with sole_writer(Path("run")):
                pass
        except OSError as error:
            refused.append(str(error))

    def ask():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return len(refused)

    with sole_writer(Path("run")):
        with sole_writer(tmp_path / "run"), sole_writer(tmp_path / "run" / "twin"):
            assert ask() == 1
        assert ask() == 2
    assert ask() == 2
    with pytest.raises(ValueError), sole_writer(Path("run")):
        raise ValueError
    assert ask() == 2


def full_disk_writers():
    """Each writer of the library, by name, ready to write."""
    model = ut.mask_(ut.models.fc(widths=(300, 200)), ut.EdgePopup(0.5))
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.normal_()  # the seed tells nothing of these, so the ticket is large
    ticket = ut.Ticket.of(model, {"labels": list("0123456789")})
    network = torch.nn.Linear(200, 200)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(network.parameters())]
    yield "checkpoint", lambda: checkpoint.write(Path(), network, optimizers, {}, [])
    yield "ticket", lambda: ticket.save("a.ticket")
    yield "torch", lambda: ut.export.to_torch(ticket, "a.pt")
    yield "safetensors", lambda: ut.export.to_safetensors(ticket, "a.safetensors")
    yield "html", lambda: ut.export.to_html(ticket, "a.html")
    if ut.plot.available():
        from matplotlib.figure import Figure

        drawn = Figure()
        drawn.add_subplot().imshow([[number * other % 7 for number in range(99)] for other in range(99)])
        yield "figure", lambda: ut.plot.save(drawn, Path("picture.png"))


@pytest.mark.skipif(os.name == "nt", reason="limits are those of POSIX")
def test_a_full_disk_is_an_os_error_of_every_writer_and_leaves_nothing(tmp_path, monkeypatch):
    import resource

    monkeypatch.chdir(tmp_path)
    writers, before = dict(full_disk_writers()), resource.getrlimit(resource.RLIMIT_FSIZE)
    assert len(writers) >= 5
    refused = {}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for name, write in writers.items():
            try:
                write()
            except OSError as error:
                refused[name] = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.keys() == writers.keys() and all(refused.values())
    assert list(tmp_path.iterdir()) == []
