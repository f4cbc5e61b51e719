"""The folder of images of a ticket, which has its name alone: where its run's settings say, or the user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from untrained.data.dataset import find_folder
from untrained.runs.rows import read_settings
from untrained.search.run_files import CONFIG


def locate_data(name: str, data_dir: Path | None, ticket: Path) -> str:
    """Return the name of a ticket's data, for a folder (a name with "/" behind it) its whole path.

    A folder is looked for in `data_dir` alone; without it, where the settings of the ticket's run say, from the current
    folder or from one in which the run lies; else in the current folder.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not name.endswith("/") or PurePosixPath(name).is_absolute():  # tickets of older versions have a whole path
        return name
    last = PurePosixPath(name).name
    texts = _of_run(ticket, last) if data_dir is None else iter([str(data_dir / last)])
    for text in texts:
        if (folder := find_folder(text)) is not None and folder.resolve().name == last:
            return str(folder.resolve())
    advice = "add --data-dir with the folder in which it lies"
    raise FileNotFoundError(f"{ticket} was found on images in a folder {last!r}, which is not here: {advice}")


def _of_run(ticket: Path, last: str) -> Iterator[str]:
    for folder in ticket.resolve().parents[:3]:  # networks of a comparison lie two folders below its settings
        if isinstance(data := read_settings(folder / CONFIG, []).get("data"), str):
            yield data
            yield from (str(parent / data) for parent in folder.parents)
    yield f"{last}/"
