"""Downloads of single files: checked, resumed where they broke off, and kept in a cache folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two chunks


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

    Args:
        url: Where the file is.
        folder: Where it goes; it keeps its name.
        md5: Checksum, hexadecimal.

    Returns:
        The path of the file.

    Raises:
        ConnectionError: The file could not be downloaded.
        ValueError: What arrived has another checksum.
        ImportError: The extra `untrained[download]` is not installed.
    """
    pooch = _load_pooch()
    import requests
    import urllib3

    target = folder / url.rsplit("/", 1)[1]
    part = target.with_name(target.name + ".part")

    def resume(url: str, output: str, _: object) -> None:
        continued = part.exists()
        _transfer(url, part)
        if continued and pooch.file_hash(str(part), alg="md5") != md5:
            # The part was of another file, or the server sent another range: only the whole file helps.
            part.unlink()
            _transfer(url, part)
        part.replace(output)

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", target.name, folder, downloader=resume))
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(
            f"could not download {url} ({error}). Try again (what has arrived is kept and resumed), "
            f"or put {target.name} (md5 {md5}) into {folder}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{url}: the download has a wrong checksum, expected md5 {md5}, and was deleted. "
            f"Try again, or put {target.name} into {folder}"
        ) from error
    finally:
        logger.setLevel(level)


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
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as file, _progress(part.stem, start, total) as advance:
            for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                advance(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise requests.ConnectionError(f"connection closed after {part.stat().st_size} of {total} bytes")


@contextmanager
def _progress(name: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, completed=start)
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
