"""Downloads of single files: checked, resumed where they broke off, and kept in a cache folder."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from untrained.terminal.progress import TITLE, bar, counting
from untrained.terminal.text import printable

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two packets
_LARGEST_BYTES = 1 << 28  # the largest data set has 170 million
_SLOWEST, _WINDOW_SECONDS = 500, 60.0  # bytes a second, over such a time: a modem has ten times as many


def cache_folder() -> Path:
    """Say where downloads are kept when no folder is given.

    Returns:
        The user's cache folder for this package.

    Raises:
        ImportError: The extra `untrained[download]` is not installed.
    """
    return Path(_load_pooch().os_cache("untrained"))


def fetch(url: str, folder: Path, md5: str) -> Path:
    """Download a file unless it is there already, going on from a `.part` file if one was left.

    Of several processes one downloads and the others wait for it.

    Args:
        url: Where the file is.
        folder: Where it goes; it keeps its name.
        md5: Checksum, hexadecimal.

    Returns:
        The path of the file.

    Raises:
        ConnectionError: The file could not be downloaded.
        ValueError: What arrived has another checksum, or does not end.
        OSError: The folder cannot be written.
        ImportError: The extra `untrained[download]` is not installed.
    """
    _load_pooch()
    import requests
    import urllib3

    target = folder / url.rsplit("/", 1)[1]
    if _holds(target, md5):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(target):
            if not _holds(target, md5):  # another process may have downloaded it meanwhile
                _download(url, target, md5)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(
            f"could not download {url} ({error}). Try again (what has arrived is kept and resumed), "
            f"or put {target.name} (md5 {md5}) into {folder}"
        ) from error
    return target


def _download(url: str, target: Path, md5: str) -> None:
    part = target.with_name(target.name + ".part")
    continued = part.exists()
    _transfer(url, part)
    if continued and not _holds(part, md5):
        # The part was of another file, or the server sent another range: only the whole file helps.
        part.unlink()
        _transfer(url, part)
    if not _holds(part, md5):
        part.unlink()
        raise ValueError(
            f"{url}: the download has a wrong checksum, expected md5 {md5}, and was deleted. "
            f"Try again, or put {target.name} into {target.parent}"
        )
    part.replace(target)


def _holds(path: Path, md5: str) -> bool:
    return path.is_file() and _load_pooch().file_hash(str(path), alg="md5") == md5


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Wait until no other process downloads the same file."""
    from filelock import FileLock, Timeout

    path = target.with_name(target.name + ".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with counting(f"waiting for another process that downloads {target.name}", 1, 0):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
    with suppress(OSError):  # only now, when the file is there: who waited for this lock has nothing left to do
        path.unlink()


def _transfer(url: str, part: Path) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    # Ranges count the bytes of the file itself, so the server must not compress what it sends.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is as long as the file, or longer: the checksum decides
        answer.raise_for_status()
        # A server without ranges answers 200 and sends the file from its first byte.
        start = have if answer.status_code == requests.codes.partial_content else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if total is not None and total > _LARGEST_BYTES:
            raise _too_long(url)
        size, last, then = start, start, time.monotonic()
        with part.open("ab" if start else "wb") as file, _progress(part.stem, start, total) as advance:
            while size <= _LARGEST_BYTES and (chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=False)):
                file.write(chunk)
                advance(len(chunk))
                size += len(chunk)
                seconds = time.monotonic() - then
                if seconds > _WINDOW_SECONDS:
                    if size - last < _SLOWEST * seconds:
                        raise requests.ConnectionError(f"fewer than {_SLOWEST} bytes a second arrive")
                    last, then = size, time.monotonic()
    if size > _LARGEST_BYTES:
        part.unlink()
        raise _too_long(url)
    if total is not None and size < total:
        raise requests.ConnectionError(f"connection closed after {size} of {total} bytes")


def _too_long(url: str) -> ValueError:
    return ValueError(f"{url}: the server sends more than {_LARGEST_BYTES:,} bytes, and no data set here is as long")


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    with bar(TITLE, BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(printable(name), total=total, completed=start)
        yield lambda count: progress.advance(task, count)


def _load_pooch() -> Any:
    try:
        import pooch
        import requests  # noqa: F401  (pooch itself only asks for it when it downloads)
    except ImportError as error:
        raise ImportError(
            "downloads and their cache folder need an extra: pip install 'untrained[download]', "
            "or give data_dir, a folder that already holds the data set"
        ) from error
    return pooch
