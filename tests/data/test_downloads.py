import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("pooch")
pytest.importorskip("requests")

from untrained.data import downloads
from untrained.data.downloads import cache_folder, fetch

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; may refuse ranges, hang up after some bytes, lie about the length, or drip."""

    ranges = True
    hang_up_after: int | None = None
    length: str | None = None
    pause = 0.0
    endless = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files/data.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if self.path.endswith("absent.bin"):
            self.send_error(404)
        elif start >= len(CONTENT):
            self.send_error(416)
        else:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            if server.length or not server.endless:
                self.send_header("Content-Length", server.length or str(len(CONTENT) - start))
            self.end_headers()
            self.send_body(server, start)

    def send_body(self, server: Server, start: int) -> None:
        try:
            while server.endless:
                self.wfile.write(CONTENT)
            if not server.pause:
                self.wfile.write(CONTENT[start : server.hang_up_after])
            for place in range(start, len(CONTENT) if server.pause else 0):
                self.wfile.write(CONTENT[place : place + 1])
                time.sleep(server.pause)
        except OSError:
            pass  # the client has seen enough

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    path = fetch(server.url, folder, MD5)
    assert path == folder / "data.bin"
    assert path.read_bytes() == CONTENT
    assert names(folder) == ["data.bin"]
    assert fetch(server.url, folder, MD5) == path
    assert server.asked == [None]
    assert capfd.readouterr() == ("", "downloading data.bin\n")


def test_a_broken_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.hang_up_after = 100_000
    with pytest.raises(ConnectionError, match=r"data\.bin .*Try again .*or put data\.bin \(md5 ") as error:
        fetch(server.url, tmp_path, MD5)
    assert str(tmp_path) in str(error.value)
    assert names(tmp_path) == ["data.bin.lock", "data.bin.part"]
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:100_000]
    server.hang_up_after = None
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    assert server.asked == [None, "bytes=100000-"]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "data.bin.part").write_bytes(b"wrong" * 100)
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    assert server.asked == ["bytes=500-"]


def test_a_part_of_another_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"wrong" * 100)
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT
    assert server.asked == ["bytes=500-", None]


@pytest.mark.parametrize(("extra", "requests"), [(b"", 1), (b"too long", 2)])
def test_a_part_without_a_rest_is_checked(server: Server, tmp_path: Path, extra: bytes, requests: int) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + extra)
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT
    assert len(server.asked) == requests


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.bin: .*wrong checksum, expected md5 0{32}"):
        fetch(server.url, tmp_path, "0" * 32)
    assert names(tmp_path) == ["data.bin.lock"]


def test_an_absent_file_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"absent\.bin \(404 "):
        fetch(server.url.replace("data.bin", "absent.bin"), tmp_path, MD5)


def test_an_unreachable_host_is_named(server: Server, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_address[1]}/data.bin"
    with pytest.raises(ConnectionError, match=r"could not download .*or put data\.bin") as error:
        fetch(url, tmp_path, MD5)
    assert url in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_several_processes_download_it_once(server: Server, tmp_path: Path) -> None:
    server.hang_up_after = 100_000  # the first one fails, and the others go on where it stopped
    with pytest.raises(ConnectionError):
        fetch(server.url, tmp_path, MD5)
    server.hang_up_after = None
    code = (
        f"from pathlib import Path; from untrained.data.downloads import fetch; fetch({server.url!r}, Path(), {MD5!r})"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for each in running:
        said = each.communicate(timeout=120)[1]
        assert each.returncode == 0
        assert said in ("", "downloading data.bin\n", "waiting for another process that downloads data.bin\n")
    assert names(tmp_path) == ["data.bin"] and (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_several_threads_download_it_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: fetch(server.url, tmp_path, MD5), range(8))) == {tmp_path / "data.bin"}
    assert names(tmp_path) == ["data.bin"] and server.asked == [None]


@pytest.mark.parametrize("announced", [False, True])
def test_a_server_that_never_ends_is_left(
    announced: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_LARGEST_BYTES", 3 * len(CONTENT))
    server.endless, server.length = True, str(1 << 50) if announced else None
    with pytest.raises(ValueError, match=r"data\.bin: .*768,000 bytes"):
        fetch(server.url, tmp_path, MD5)
    assert names(tmp_path) == ["data.bin.lock"]


def test_a_server_that_drips_is_left(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_WINDOW_SECONDS", 0.2)
    server.pause = 0.05
    with pytest.raises(ConnectionError, match=r"fewer than 500 bytes.*Try again"):
        fetch(server.url, tmp_path, MD5)
    assert CONTENT.startswith((tmp_path / "data.bin.part").read_bytes())
    server.pause = 0.0
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["abc", "-1", "1e9", "", "\xb2"])
def test_a_length_that_is_no_number_is_not_believed(length: str, server: Server, tmp_path: Path) -> None:
    server.length = length or " "
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]


def test_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert fetch(server.url, tmp_path, MD5).read_bytes() == CONTENT


def test_a_file_that_is_there_needs_no_lock(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT)
    tmp_path.chmod(0o500)
    assert fetch(server.url, tmp_path, MD5) == tmp_path / "data.bin"
    assert names(tmp_path) == ["data.bin"] and server.asked == []


def test_missing_pooch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install .*\[download\]"):
        cache_folder()
    with pytest.raises(ImportError, match=r"pip install .*\[download\]"):
        fetch("http://127.0.0.1/data.bin", tmp_path, MD5)
