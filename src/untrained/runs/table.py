"""The table of a comparison or a sweep: a cell for each network, a line for the seeds of one setting, and files."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, final

from untrained.fields import check_fields
from untrained.files import atomic_write
from untrained.runs.measured import Measured
from untrained.runs.reference import Place, find_references, full_name
from untrained.runs.statistics import Difference, mean_interval, paired_difference
from untrained.search.metric import ACCURACY, Metric
from untrained.search.run_files import CELLS, RESULTS, SUMMARY, TABLE
from untrained.terminal.renderings import to_plain

# Names of networks in the tables; TWIN stands where others have a method.
FOUND, TWIN = "found subnetwork", "trained twin"
RANDOM_NETWORK, RANDOM_SUBNETWORK = "random network", "random subnetwork"
RANDOM = "random-subnetwork"  # the method that chooses at random, shown beside all others


@final
@dataclass(frozen=True)
class Cell(Measured):
    """Result of one network of the grid.

    Attributes:
        method: the method as text, or "trained twin".
        keep: fraction to keep; None for methods that learn it.
        seed: seed of the network.
        accuracy: on the test data, 0..1; NaN if the search failed, as the next two, or if the metric is another.
        val_accuracy: on the validation data.
        seconds: time of one epoch.
        weights: number of weights of the network.
        kept: number of weights that are kept.
        file_bytes: bytes to ship it.
        error: the reason if the search failed.
        width: factor on the network's units, in a sweep over widths.
        law: law of the frozen weights as text, in a sweep over laws.
        norm: "batch" or "none", in a frontier of networks with and without a norm.
        epochs: passes over the training data; None if that was not noted.
        value, val_value: of another metric than accuracy, on the test data and on the validation data; else None.
        model: name of the network, in a comparison of several.
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
    epochs: int | None = None
    norm: str | None = None
    value: float | None = None
    val_value: float | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def place(self) -> Place:
        """The (method, keep, width, law, norm, model) that the seeds of one line share."""
        return self.method, self.keep, self.width, self.law, self.norm, self.model

    @property
    def name(self) -> str:
        """The name of its folder."""
        name = f"{_file_name(self.method)}-{'learned' if self.keep is None else self.keep}"
        name += "" if self.width is None else f"-width{self.width}"
        name += "" if self.law is None else f"-{_file_name(self.law)}"
        name += "" if self.norm is None else f"-norm-{_file_name(self.norm)}"
        name += "" if self.model is None else f"-model-{_file_name(self.model)}"
        return f"{name}-seed{self.seed}"


@final
@dataclass(frozen=True)
class Line(Measured):
    """Line of the table: means over the seeds of one method, fraction kept, width, law, norm and model.

    Attributes:
        method, keep, width, law, norm, model: as of a `Cell`.
        seeds: number of searches that did not fail.
        accuracy: on the test data, 0..1; NaN if the metric is another.
        std: sample standard deviation of `test` over seeds; 0 for one seed.
        val_accuracy: on the validation data.
        kept: share of the weights that is kept.
        bits: bits per weight of the file.
        file_bytes: bytes to ship it.
        seconds: time of an epoch.
        error: the reason if a search failed.
        epochs: passes over the training data; None if that was not noted.
        unlearned: number of searches and trainings that did not fail, and that learned nothing: their validation
            accuracy is no higher than `chance` of `lines_of`.
        difference: paired difference of `test` to that of the row it is compared with, if any.
        metric: the metric of the table.
        value, val_value: of another metric than accuracy, on the test data and on the validation data; else None.
        mean_low, mean_high: ends of the 95 % interval of `test` over seeds, by Student's t; None for one seed.
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
    epochs: float | None = None
    difference: Difference | None = None
    norm: str | None = None
    unlearned: int = 0
    metric: Metric = ACCURACY
    value: float | None = None
    val_value: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    model: str | None = None

    @property
    def place(self) -> Place:
        """The (method, keep, width, law, norm, model) of its cells."""
        return self.method, self.keep, self.width, self.law, self.norm, self.model


def lines_of(
    cells: Iterable[Cell], against: str | None = None, chance: float | None = 0.0, metric: Metric = ACCURACY
) -> list[Line]:
    """Return the table of these networks: a line for all that differ in the seed alone, in the order of the cells.

    Args:
        cells: the networks.
        against: name of the row, or of the method, that each line is compared with; None for no comparison.
        chance: metric on validation data up to which a network has not learned; None if that is not known.
        metric: the metric of the cells.

    Raises:
        ValueError: no row is called so.
    """
    groups: dict[Place, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.place, []).append(cell)
    lines = [_line(group, chance, metric) for group in groups.values()]
    if against is None:
        return lines
    by_seed = {place: {cell.seed: cell.test for cell in group if not cell.error} for place, group in groups.items()}
    return [
        line
        if other is None
        else replace(line, difference=paired_difference(full_name(other), by_seed[line.place], by_seed[other]))
        for line, other in zip(lines, find_references(list(groups), against), strict=True)
    ]


def by_method(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Return the lines of each method, of each network where there are several, in the order of the table."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.method if line.model is None else f"{line.model}: {line.method}", []).append(line)
    return groups


def _line(group: Sequence[Cell], chance: float | None, metric: Metric) -> Line:
    method, keep, width, law, norm, model = group[0].place
    good = [cell for cell in group if not cell.error]
    error = next((cell.error for cell in group if cell.error), "")
    values = [cell.test for cell in good]
    interval = mean_interval(values)
    epochs = [cell.epochs for cell in good if cell.epochs is not None]
    return Line(
        method,
        keep,
        len(good),
        accuracy=_mean([cell.accuracy for cell in good]),
        std=statistics.stdev(values) if len(good) > 1 else 0.0 if good else math.nan,
        val_accuracy=_mean([cell.val_accuracy for cell in good]),
        kept=_mean([cell.kept / cell.weights for cell in good]),
        bits=_mean([8 * cell.file_bytes / cell.weights for cell in good]),
        file_bytes=_mean([cell.file_bytes for cell in good]),
        seconds=_mean([cell.seconds for cell in good]),
        error=error,
        width=width,
        law=law,
        norm=norm,
        epochs=_mean(epochs) if epochs else None,
        # Baselines learn nothing by design.
        unlearned=sum(
            chance is not None and metric.better(cell.val) <= metric.better(chance) and cell.epochs != 0
            for cell in good
        ),
        metric=metric,
        value=None if metric == ACCURACY else _mean(values),
        val_value=None if metric == ACCURACY else _mean([cell.val for cell in good]),
        mean_low=None if interval is None else interval[0],
        mean_high=None if interval is None else interval[1],
        model=model,
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _file_name(text: str) -> str:
    """Return a text as part of a file's name; a hash distinguishes changed texts."""
    name = re.sub(r"[^\w.-]+", "-", text)[-60:]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_cell(folder: Path, cell: Cell, *, failed: bool = False) -> Cell | None:
    """Read a cell of an earlier run; None if it is missing, damaged or (but for `failed`) failed: search it again."""
    path = folder / CELLS / f"{cell.name}.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("sha256", None) not in (None, _sha256(facts)):  # None: written before there was one
            return None
        known: dict[str, Any] = {"keep": None} | {name: fact for name, fact in facts.items() if fact is not None}
        read = Cell(**known)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    if (read.place, read.seed) != (cell.place, cell.seed) or (read.error and not failed):
        return None
    whole = all(map(math.isfinite, (read.test, read.val, read.seconds))) and read.weights > 0
    return read if read.error or whole else None


def write_cell(folder: Path, cell: Cell) -> None:
    """Write the result of a network."""
    facts = to_plain(cell)
    with atomic_write(folder / CELLS / f"{cell.name}.json") as unfinished:
        unfinished.write_text(json.dumps({**facts, "sha256": _sha256(facts)}) + "\n", encoding="utf-8")


def _sha256(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def write_results(folder: Path, lines: Sequence[Line], cells: Sequence[Cell], **facts: Any) -> None:
    """Write results.csv (every network), summary.csv (the table) and results.json (both, after further facts)."""
    _write_csv(folder / TABLE, [asdict(cell) for cell in cells], [field.name for field in fields(Cell)])
    own = [field.name for field in fields(Line) if field.name != "difference"]
    named: list[dict[str, Any]] = [asdict(line) | {"metric": line.metric.name} for line in lines]
    rows = [{**line, **_flatten(line["difference"])} for line in named]
    _write_csv(folder / SUMMARY, rows, [*own, *_flatten(None)])
    results = {**facts, "lines": named, "cells": cells}
    with atomic_write(folder / RESULTS) as unfinished:
        unfinished.write_text(json.dumps(to_plain(results), indent=1) + "\n", encoding="utf-8")


def _flatten(difference: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns of a difference, empty ones for None."""
    names = {"mean": "difference", "low": "low", "high": "high", "pairs": "pairs", "against": "against"}
    return {title: None if difference is None else difference[name] for name, title in names.items()}


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], titles: Sequence[str]) -> None:
    """Write rows of a table; what is not known is empty."""
    with atomic_write(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, titles)
        writer.writeheader()
        writer.writerows(to_plain(row) for row in rows)
