"""The folder of a run: a new one, or that of the run to resume, never that of another run."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from untrained.experiments.by_name import names_code
from untrained.files import atomic_write, sole_writer
from untrained.runs.settings import Setup, read_toml
from untrained.search.run_files import CONFIG

_FREE_TO_CHANGE = {"device", "twin", "data-dir", "jobs", "against"}


@contextmanager
def claim_folder(settings: Setup, name: str, begun: Callable[[Path], bool]) -> Iterator[Path]:
    """Make the folder of a run and lock it against other writers; on an error before that, no file is written.

    Args:
        settings: settings of the run; those of a run to resume must be the same.
        name: name of the folder under runs, if `settings.out` is None.
        begun: returns True for a folder that holds results to resume from.

    Raises:
        ValueError: there is no run to resume, or the folder holds another run.
        OSError: another run writes there now, or the folder cannot be made.
    """
    folder = choose_folder(settings, name, begun)
    while settings.out is None:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another run was first
            folder = choose_folder(settings, name, begun)
    with sole_writer(folder):
        choose_folder(settings, name, begun)  # again, as another run may have ended there meanwhile
        yield folder


def choose_folder(settings: Setup, name: str, begun: Callable[[Path], bool]) -> Path:
    """Return the folder of a run, not made yet; arguments and errors are those of `claim_folder`."""
    if settings.out is None:
        if settings.resume:
            raise ValueError("--resume needs --out, the folder of the run to go on with")
        folder, number = Path("runs") / name, 2
        while folder.exists() or folder.is_symlink():
            folder, number = Path("runs") / f"{name}-{number}", number + 1
        return folder
    folder = settings.out
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out: {folder} is a file, not a folder")
    own = {field.name.replace("_", "-") for field in fields(settings)}
    is_begun = begun(folder)
    if not is_begun and read_toml(folder / CONFIG).keys() - own:
        raise ValueError(f"{folder} holds a run of another command; pass another --out")
    if is_begun:
        if not settings.resume:
            raise ValueError(f"{folder} holds a run already; pass --resume to go on with it, or another --out")
        advice = "resume it with the same settings, or start another with another --out"
        refuse_other_settings(settings, folder / CONFIG, advice)
    elif settings.resume:
        raise ValueError(f"there is nothing to resume in {folder}: it holds no finished part of a run")
    return folder


def slug(text: str) -> str:
    """Return a text as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")


def write_settings(folder: Path, settings: Setup) -> None:
    """Write the settings of a run into its folder."""
    with atomic_write(folder / CONFIG) as unfinished:
        unfinished.write_text(settings.to_toml(), encoding="utf-8")


def resume_command(command: str, folder: Path, settings: Setup) -> str:
    """Return the command that resumes a run, with its network and methods if they are code, which no file may name."""
    cell = getattr(settings, "cell", None)
    of_cell, out = ([], str(folder)) if cell is None else (["--cell", cell], str(folder.parent))
    if getattr(settings, "objects", None):
        return f"the same call of ut.{command}, with resume=True and out={out!r}"
    words = ["untrained", command, "--out", out, *of_cell, "--resume"]
    if isinstance(jobs := getattr(settings, "jobs", None), str):
        words += ["--jobs", jobs]
    for name in ("model", "data", "loss", "metric", "methods", "method"):
        given = getattr(settings, name, None) or ()
        given = [given] if isinstance(given, str) else given
        if names_code(given):
            words += [word for each in given for word in (f"--{name}", each)]
    return shlex.join(words)


def refuse_other_settings(settings: Setup, path: Path, advice: str) -> None:
    """Raise ValueError, with an advice, if the settings in a file differ in what changes results."""
    # A run of an older version lacks the settings that are younger.
    then = tomllib.loads(type(settings)().to_toml()) | read_toml(path)
    now = tomllib.loads(settings.to_toml())
    _refuse_other_objects(now.pop("objects", []), then.pop("objects", []), path.parent, advice)
    for name in sorted((then.keys() | now.keys()) - _FREE_TO_CHANGE):
        if then.get(name) != now.get(name):
            raise ValueError(f"the run in {path.parent} has {name} = {then.get(name)}, not {now.get(name)}; {advice}")


def _refuse_other_objects(now: Iterable[str], then: Iterable[str], folder: Path, advice: str) -> None:
    """Raise ValueError if the objects of Python in two settings are not known to be the same."""
    ours, theirs = (
        {name: sha256 for name, _, sha256 in (each.rpartition(": ") for each in its)} for its in (now, then)
    )
    for name in {**theirs, **ours}:
        for sha256 in (ours.get(name, "missing"), theirs.get(name, "missing")):
            if sha256.startswith("unknown"):
                raise ValueError(f"{name} may be another than in the run in {folder}: its contents are {sha256}")
        if ours.get(name) != theirs.get(name):
            told = "another than" if name in ours and name in theirs else "not" if name in ours else "missing, and"
            raise ValueError(f"{name} is {told} in the run in {folder}; {advice}")
