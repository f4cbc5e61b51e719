"""Downloads of single files: checked, resumed where they broke off, and kept in a cache folder."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from untrained.terminal.extras import install_command
from untrained.terminal.progress import TITLE, bar, print_line, show_step
from untrained.terminal.text import printable

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two packets
_LARGEST_BYTES = 1 << 28  # the largest data set has 170 million
_SLOWEST, _WINDOW_SECONDS = 500, 60.0  # bytes a second, over such a time: a modem has ten times as many


def cache_folder() -> Path:
    """Return the user's cache folder for downloads."""
    return Path(_load_pooch().os_cache("untrained"))


def fetch(url: str, folder: Path, md5: str) -> Path:
    """Download a file into a folder unless it is there, from where a `.part` file ends, and return its path.

    Of several processes one downloads and the others wait for it. `md5` is hexadecimal.

    Raises:
        ConnectionError: the file could not be downloaded.
        ValueError: the download has another checksum, or does not end.
        OSError: the folder cannot be written.
        ImportError: the extra `untrained[download]` is not installed.
    """
    _load_pooch()
    import requests
    import urllib3

    target = folder / url.rsplit("/", 1)[1]
    if _has_md5(target, md5):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock_download(target):
            if not _has_md5(target, md5):  # another process may have downloaded it meanwhile
                _download(url, target, md5)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(
            f"could not download {url} ({error}). Try again (the download is resumed), "
            f"or put {target.name} (md5 {md5}) into {folder}"
        ) from error
    return target


def _download(url: str, target: Path, md5: str) -> None:
    part = target.with_name(target.name + ".part")
    # A part may belong to another file, or the server may send another range: then download the whole file again.
    for _ in range(2 if part.exists() else 1):
        _transfer(url, part)
        if _has_md5(part, md5):
            part.replace(target)
            return
        part.unlink()
    raise ValueError(
        f"{url}: the download has a wrong checksum, expected md5 {md5}, and was deleted. "
        f"Try again, or put {target.name} into {target.parent}"
    )


def _has_md5(path: Path, md5: str) -> bool:
    return path.is_file() and _load_pooch().file_hash(str(path), alg="md5") == md5


@contextmanager
def _lock_download(target: Path) -> Iterator[None]:
    """Hold the lock of a download, which other processes wait for."""
    from filelock import FileLock, Timeout

    path = target.with_name(target.name + ".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with show_step(f"waiting for another process that downloads {target.name}"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
    with suppress(OSError):  # only now that the file is there, so that waiting processes need no lock
        path.unlink()


def _transfer(url: str, part: Path) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0  # bytes of an earlier download
    # Ranges count the bytes of the file itself, so the server must not compress them.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is as long as the file, or longer: the checksum decides
        response.raise_for_status()
        # A server without ranges answers 200 and sends the file from its first byte.
        start = have if response.status_code == requests.codes.partial_content else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if total is not None and total > _LARGEST_BYTES:
            raise _size_error(url)
        size, last, since = start, start, time.monotonic()
        with part.open("ab" if start else "wb") as file, _progress(part.stem, start, total) as advance:
            while size <= _LARGEST_BYTES and (chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False)):
                file.write(chunk)
                advance(len(chunk))
                size += len(chunk)
                seconds = time.monotonic() - since
                if seconds > _WINDOW_SECONDS:
                    if size - last < _SLOWEST * seconds:
                        raise requests.ConnectionError(f"fewer than {_SLOWEST} bytes a second arrive")
                    last, since = size, time.monotonic()
    if size > _LARGEST_BYTES:
        part.unlink()
        raise _size_error(url)
    if total is not None and size < total:
        raise requests.ConnectionError(f"connection closed after {size} of {total} bytes")


def _size_error(url: str) -> ValueError:
    return ValueError(f"{url}: a data set must have {_LARGEST_BYTES:,} bytes at most, and the server sends more")


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    with bar(TITLE, BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(printable(name), total=total, completed=start)
        if progress.disable:
            print_line(f"downloading {name}")
        yield lambda count: progress.advance(task, count)


def _load_pooch() -> Any:
    try:
        import pooch
        import requests  # noqa: F401  (pooch itself only asks for it when it downloads)
    except ImportError as error:
        raise ImportError(
            f"downloads and their cache folder need an extra: {install_command('download')}, "
            "or give data_dir, a folder that already holds the data set"
        ) from error
    return pooch
