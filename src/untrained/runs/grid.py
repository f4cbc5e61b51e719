"""A finished comparison or sweep as data, read from the files in its folder, for its page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from untrained.runs.machine import Machine, read_machines
from untrained.runs.rows import read_rows, read_settings
from untrained.runs.table import TWIN, Cell, Line, lines_of
from untrained.search.metric import ACCURACY, Metric
from untrained.search.run_files import CELLS, CONFIG, METRICS, RESULTS


@final
@dataclass(frozen=True)
class Grid:
    """Contents of the folder of a comparison or a sweep. Damaged parts are empty, and a sentence in `gaps`.

    Attributes:
        command: the command that made it, such as "compare"; "" if that was not noted.
        settings: its settings, as in config.toml.
        lines, cells: the table, and every network.
        histories: metrics by the name of a cell, a row per epoch; none of networks without epochs.
        gaps: sentences about missing and damaged files.
        trained: methods whose weights are trained, in a frontier.
        chance: metric on validation data up to which a network has not learned; None if that is not known.
        metric: the metric of the table.
        machines: the machines on which networks were searched, as far as they are known.
    """

    command: str
    settings: Mapping[str, Any]
    lines: Sequence[Line]
    cells: Sequence[Cell]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    gaps: Sequence[str]
    trained: Sequence[str] = ()
    chance: float | None = 0.0
    metric: Metric = ACCURACY
    machines: Sequence[Machine] = ()


def holds_grid(folder: str | Path) -> bool:
    """Return True if the folder is that of a comparison or a sweep, finished or not."""
    return (Path(folder) / CELLS).is_dir()


def read_grid(folder: str | Path) -> Grid:
    """Read the folder of a finished comparison or sweep.

    Raises:
        ValueError: there is no results.json in it, or a damaged one.
    """
    folder, gaps = Path(folder), []
    path = folder / RESULTS
    if not path.is_file():
        raise ValueError(f"{folder} holds no finished comparison: there is no {RESULTS} in it; resume it first")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        # null stands for NaN, and for all that is not known.
        facts = [{key: value for key, value in cell.items() if value is not None} for cell in results["cells"]]
        cells = [Cell(**{"keep": None, **each}) for each in facts]
        metric = Metric.read(results)
        if not cells or any(cell.weights <= 0 or not metric.holds(cell.test) for cell in cells if not cell.error):
            raise ValueError("out of range")
        trained, chance = [str(each) for each in results.get("trained", ())], results.get("chance", 0.0)
        chance = None if chance is None else float(chance)
        lines = lines_of(cells, results.get("against") or TWIN, chance, metric)
        command = str(results.get("command", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    histories = {}
    for cell in cells:
        metrics = folder / CELLS / cell.name / METRICS
        if metrics.is_file() and not cell.error:
            its: list[str] = []
            histories[cell.name] = read_rows(metrics, "epoch", its)
            gaps += [f"{cell.name}: {gap}" for gap in its]
    settings = read_settings(folder / CONFIG, gaps)
    machines = read_machines((folder / CELLS / cell.name for cell in cells), gaps)
    return Grid(command, settings, lines, cells, histories, gaps, trained, chance, metric, machines)
