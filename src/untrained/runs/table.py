"""The table of a comparison or a sweep: its networks, a line for those that differ in the seed alone, and its files."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, final

from untrained.fields import check_fields
from untrained.files import written_whole
from untrained.search.run_files import CELLS, RESULTS, TABLE

# Names of networks in the tables; TWIN stands where others have a method.
FOUND, TWIN = "found subnetwork", "trained twin"
RANDOM_NETWORK, RANDOM_SUBNETWORK = "random network", "random subnetwork"
RANDOM = "random-subnetwork"  # the method that chooses at random, shown beside all others


@final
@dataclass(frozen=True)
class Cell:
    """One network of the grid.

    Attributes:
        method: the method as text, or `TWIN`.
        keep: the fraction it was told to keep; None when it learns that itself.
        seed: of everything.
        accuracy: on the test data, 0..1; NaN if the search failed, as the next two.
        val_accuracy: on the validation data.
        seconds: of one epoch.
        weights: of the network.
        kept: how many are kept.
        file_bytes: bytes to ship it.
        error: why the search failed, or nothing.
        width: factor on the network's units, in a sweep over widths.
        law: that of the frozen weights as text, in a sweep over laws.
    """

    method: str
    keep: float | None
    seed: int
    accuracy: float = float("nan")
    val_accuracy: float = float("nan")
    seconds: float = float("nan")
    weights: int = 0
    kept: int = 0
    file_bytes: int = 0
    error: str = ""
    width: float | None = None
    law: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def place(self) -> tuple[str, float | None, float | None, str | None]:
        """(method, keep, width, law): what the seeds of one line share."""
        return self.method, self.keep, self.width, self.law

    @property
    def name(self) -> str:
        """What its folder is called."""
        name = f"{_spelt(self.method)}-{'learned' if self.keep is None else self.keep}"
        name += "" if self.width is None else f"-width{self.width}"
        name += "" if self.law is None else f"-{_spelt(self.law)}"
        return f"{name}-seed{self.seed}"


@final
@dataclass(frozen=True)
class Line:
    """A line of the table: one method, fraction kept, width and law, over the seeds.

    Attributes:
        method: the method as text.
        keep: the fraction it was told to keep; None when it learns that itself.
        seeds: how many searches did not fail.
        accuracy: mean on the test data, 0..1.
        std: sample standard deviation of that over seeds; 0 for one seed.
        val_accuracy: mean on the validation data.
        kept: mean share of the weights that is kept.
        bits: mean bits per weight of the file.
        file_bytes: mean bytes to ship it.
        seconds: mean seconds of an epoch.
        error: why a search failed, if one did.
        width: factor on the network's units, in a sweep over widths.
        law: that of the frozen weights as text, in a sweep over laws.
    """

    method: str
    keep: float | None
    seeds: int
    accuracy: float
    std: float
    val_accuracy: float
    kept: float
    bits: float
    file_bytes: float
    seconds: float
    error: str
    width: float | None = None
    law: str | None = None


def lines_of(cells: Iterable[Cell]) -> list[Line]:
    """The table of these networks: a line for all that differ in the seed alone, in the order they come."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.place, []).append(cell)
    return [_line(group) for group in groups.values()]


def by_method(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Return the lines of each method, in the order of the table."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.method, []).append(line)
    return groups


def _line(group: Sequence[Cell]) -> Line:
    method, keep, width, law = group[0].place
    good = [cell for cell in group if not cell.error]
    errors = [cell.error for cell in group if cell.error]
    if not good:
        nan = float("nan")
        return Line(method, keep, 0, nan, nan, nan, nan, nan, nan, nan, errors[0], width, law)
    accuracies = [cell.accuracy for cell in good]
    return Line(
        method,
        keep,
        len(good),
        statistics.fmean(accuracies),
        statistics.stdev(accuracies) if len(good) > 1 else 0.0,
        statistics.fmean(cell.val_accuracy for cell in good),
        statistics.fmean(cell.kept / cell.weights for cell in good),
        statistics.fmean(8 * cell.file_bytes / cell.weights for cell in good),
        statistics.fmean(cell.file_bytes for cell in good),
        statistics.fmean(cell.seconds for cell in good),
        errors[0] if errors else "",
        width,
        law,
    )


def _spelt(text: str) -> str:
    """The text as part of a file's name."""
    spelt = re.sub(r"[^\w.-]+", "-", text)[-60:]
    if spelt != text:  # others may be spelt alike
        spelt += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return spelt


def read_cell(folder: Path, cell: Cell) -> Cell | None:
    """The cell as an earlier run left it; one that failed or is damaged is searched again."""
    path = folder / CELLS / f"{cell.name}.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("sha256", None) not in (None, _sha256(facts)):  # None: written before there was one
            return None
        read = Cell(**facts)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    if not (all(map(math.isfinite, (read.accuracy, read.val_accuracy, read.seconds))) and read.weights > 0):
        return None
    return read if (read.place, read.seed, read.error) == (cell.place, cell.seed, "") else None


def write_cell(folder: Path, cell: Cell) -> None:
    """Note a finished network."""
    facts = asdict(cell)
    with written_whole(folder / CELLS / f"{cell.name}.json") as unfinished:
        unfinished.write_text(json.dumps({**facts, "sha256": _sha256(facts)}) + "\n", encoding="utf-8")


def _sha256(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_results(folder: Path, lines: Sequence[Line], cells: Sequence[Cell]) -> None:
    """Write results.csv (the table) and results.json (the table and every network)."""
    with (
        written_whole(folder / TABLE) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, [field.name for field in fields(Line)])
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    results = {"lines": [asdict(line) for line in lines], "cells": [asdict(cell) for cell in cells]}
    with written_whole(folder / RESULTS) as unfinished:
        unfinished.write_text(json.dumps(_without_nan(results), indent=1) + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    """NaN is no JSON: null instead."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value
