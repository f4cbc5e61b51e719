"""Parts of a grid that separate processes search, such as those of a SLURM array, and their join into one folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from untrained.experiments.run_folder import refuse_other_settings
from untrained.runs.settings import GridSettings
from untrained.runs.table import Cell, read_cell, write_cell
from untrained.search.run_files import CELLS, CONFIG, PART

_NAME = re.compile(PART.format(r"(\d+)", r"(\d+)"))
_SHOWN = 3  # names of networks in an error


def part_of(grid: Sequence[Cell], cell: str) -> list[Cell]:
    """Return every n-th network of a grid from the i-th on, for `cell` "i/n": sizes differ by one at most.

    Raises:
        ValueError: the grid has less than n networks.
    """
    number, count = map(int, cell.split("/"))
    if count > len(grid):
        raise ValueError(f"cell must be at most i/{len(grid)}, one network in each, got {cell}")
    return list(grid[number - 1 :: count])


def in_own_folder(settings: GridSettings) -> GridSettings:
    """Return the settings with the folder of this part, which resumes if it has begun, or with that of a join.

    Raises:
        ValueError: a part has no folder `out` to lie in.
    """
    if settings.cell is not None:
        if settings.out is None:
            raise ValueError("--cell needs --out, the folder in which all cells have theirs")
        out = settings.out / PART.format(*settings.cell.split("/"))
        return replace(settings, out=out, resume=settings.resume or (out / CELLS).is_dir())
    if settings.out is None and len(settings.merge) == 1 and folders_in(settings.merge) != list(settings.merge):
        return replace(settings, out=settings.merge[0])
    return settings


def folders_in(merge: Iterable[Path]) -> list[Path]:
    """Return the folders of parts: those in a folder that has such, and else itself.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    found = []
    for folder in merge:
        if not folder.is_dir():
            raise FileNotFoundError(f"--merge: no such folder: {str(folder)!r}")
        inside = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        found += sorted(inside) or [folder]
    return found


def read_parts(settings: GridSettings, grid: Sequence[Cell]) -> dict[Cell, tuple[Path, Cell]]:
    """Return the part and the results of every network of a grid, failed ones too, by its cell without results.

    Raises:
        ValueError: a part has other settings, two parts have the same network, or a network is in no part.
        FileNotFoundError: there is no such folder.
    """
    folders, found = folders_in(settings.merge), {}
    for folder in folders:
        if not (folder / CELLS).is_dir():
            raise ValueError(f"--merge: {folder} holds no part of a comparison")
        refuse_other_settings(settings, folder / CONFIG, "only cells of the same settings can be merged")
        for cell in grid:
            if (read := read_cell(folder, cell, failed=True)) is None:
                continue
            if cell in found:
                raise ValueError(f"{cell.name} is in {found[cell][0]} and in {folder}; merge one of them")
            found[cell] = folder, read
    if missing := [number for number, cell in enumerate(grid) if cell not in found]:
        raise ValueError(_name_missing([grid[number].name for number in missing], missing, folders))
    return found


def _name_missing(names: Sequence[str], places: Iterable[int], folders: Iterable[Path]) -> str:
    """Return an error about networks that no part has, with the cells to run where names of folders tell them."""
    text = f"{len(names)} network{'s are' if len(names) > 1 else ' is'} missing: {', '.join(names[:_SHOWN])}"
    text += ", …" * (len(names) > _SHOWN)
    counts = {int(match[2]) for folder in folders if (match := _NAME.fullmatch(folder.name))}
    if len(counts) != 1:
        return text
    (count,) = counts
    cells = sorted({place % count + 1 for place in places})
    return f"{text}; run or finish --cell {', '.join(f'{cell}/{count}' for cell in cells)}"


def join(parts: Mapping[Cell, tuple[Path, Cell]], folder: Path) -> None:
    """Write the results and files of all networks into the folder of one run; files that can be are linked."""
    for folder_of_part, cell in parts.values():
        own = folder_of_part / CELLS / cell.name
        if own.is_dir():
            ignored = shutil.ignore_patterns(".*")  # locks, and files that a killed process has not finished
            shutil.copytree(own, folder / CELLS / cell.name, ignore=ignored, copy_function=_link, dirs_exist_ok=True)
        write_cell(folder, cell)


def _link(source: str, target: str) -> None:
    """Link a file, which every writer replaces whole, or copy it to another disk."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
