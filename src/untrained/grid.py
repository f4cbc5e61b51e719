"""The table of a comparison: its networks, a line for those that differ in the seed alone, and its files."""

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

TWIN = "trained twin"
"""What the network whose weights are trained is called, where others have a method."""


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

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def name(self) -> str:
        """What its folder is called."""
        spelt = re.sub(r"[^\w.-]+", "-", self.method)[-60:]
        if spelt != self.method:  # others may be spelt alike
            spelt += "-" + hashlib.sha256(self.method.encode()).hexdigest()[:8]
        return f"{spelt}-{'learned' if self.keep is None else self.keep}-seed{self.seed}"


@final
@dataclass(frozen=True)
class Line:
    """A line of the table: one method and one fraction kept, over the seeds.

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


def lines_of(cells: Iterable[Cell]) -> list[Line]:
    """The table of these networks: a line for each method and fraction kept, in the order they come."""
    groups: dict[tuple[str, float | None], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.method, cell.keep), []).append(cell)
    return [_line(method, keep, group) for (method, keep), group in groups.items()]


def _line(method: str, keep: float | None, group: Sequence[Cell]) -> Line:
    good = [cell for cell in group if not cell.error]
    errors = [cell.error for cell in group if cell.error]
    if not good:
        nan = float("nan")
        return Line(method, keep, 0, nan, nan, nan, nan, nan, nan, nan, errors[0])
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
    )


def read_cell(folder: Path, cell: Cell) -> Cell | None:
    """The cell as an earlier run left it; one that failed or is damaged is searched again."""
    path = folder / "cells" / f"{cell.name}.json"
    try:
        read = Cell(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    if not (all(map(math.isfinite, (read.accuracy, read.val_accuracy, read.seconds))) and read.weights > 0):
        return None
    return read if (read.method, read.keep, read.seed, read.error) == (cell.method, cell.keep, cell.seed, "") else None


def write_cell(folder: Path, cell: Cell) -> None:
    """Note a finished network."""
    with written_whole(folder / "cells" / f"{cell.name}.json") as unfinished:
        unfinished.write_text(json.dumps(asdict(cell)) + "\n")


def write_results(folder: Path, lines: Sequence[Line], cells: Sequence[Cell]) -> None:
    """Write results.csv (the table) and results.json (the table and every network)."""
    with written_whole(folder / "results.csv") as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)])
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)
    results = {"lines": [asdict(line) for line in lines], "cells": [asdict(cell) for cell in cells]}
    with written_whole(folder / "results.json") as unfinished:
        unfinished.write_text(json.dumps(_without_nan(results), indent=1) + "\n")


def _without_nan(value: Any) -> Any:
    """NaN is no JSON: null instead."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value
