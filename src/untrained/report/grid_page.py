"""The page about a comparison or a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from untrained.files import atomic_write
from untrained.report import seed_curves
from untrained.report.charts import short_names
from untrained.report.command_line import command_of
from untrained.report.frontier_page import frontier_sections
from untrained.report.page import Chart, Section, Table, render
from untrained.runs.frontier import entries_of
from untrained.runs.grid import Grid, read_grid
from untrained.runs.machine import machine_lines
from untrained.runs.reference import names_of
from untrained.runs.settings import CompareSettings, FrontierSettings, SweepSettings, fill
from untrained.runs.text_tables import explain_differences, of_lines
from untrained.search.metric import ACCURACY
from untrained.search.run_files import REPORT, SUMMARY, TABLE
from untrained.terminal.text import clean

_DEFAULTS = {"compare": CompareSettings(), "sweep": SweepSettings(), "frontier": FrontierSettings()}


def write_grid_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a finished comparison or sweep, and return its path.

    Raises:
        ValueError: there is no results.json in it, or a damaged one.
    """
    grid = read_grid(folder)
    seeds = len({cell.seed for cell in grid.cells})
    lead = f"{len(grid.cells)} networks: {len(grid.lines)} rows, {seeds} seed{'s' * (seeds > 1)} each. "
    figures = "accuracies" if grid.metric == ACCURACY else "results"
    lead += f"Nothing was selected: {figures} are those of the last epoch."
    page = render(_title(grid), [lead, *grid.gaps], [section for part in _PARTS for section in part(grid)])
    path = Path(folder) / REPORT
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
    return path


def _title(grid: Grid) -> str:
    model, data = grid.settings.get("model"), grid.settings.get("data")
    if not isinstance(model, str) or not isinstance(data, str):
        return "Networks compared"
    return f"{clean(model)} on {clean(Path(data).name)}: networks compared"


def _frontier(grid: Grid) -> Iterator[Section]:
    if grid.command == "frontier":
        against = grid.settings.get("against", "")
        entries = entries_of(grid.cells, grid.trained, grid.chance or 0.0)
        yield from frontier_sections(entries, against if isinstance(against, str) else "")


def _results(grid: Grid) -> Iterator[Section]:
    table = of_lines(grid.lines)
    rows = [[clean(cell, 120) for cell in row] for row in table.rows]
    explained = explain_differences(grid.lines)
    faults = [clean(note, 400) for note in table.notes[len(explained) :]]
    yield Section("Results", [*([" ".join(explained)] if explained else []), *faults], Table(table.titles, rows))


def _curves(grid: Grid) -> Iterator[Section]:
    size = grid.settings.get("batch-size")
    curves = {}
    for number, line in enumerate(grid.lines):
        its = [
            grid.histories[cell.name] for cell in grid.cells if cell.place == line.place and cell.name in grid.histories
        ]
        if points := seed_curves.mean_curve(its, size if isinstance(size, int) and size > 0 else None, grid.metric):
            curves[number] = points
    if not curves:
        return
    names = names_of([line.place for line in grid.lines])
    several = any(line.seeds > 1 for line in grid.lines)
    text = "A line is the mean over the seeds."
    if several:
        text += " Its band is one sample standard deviation up and down, the spread from seed to seed: how far"
        text += " another seed may lie, not how sure the mean is."
    text += " Click names in the legend to see their lines alone, and again to see all."
    without = [clean(name) for number, name in enumerate(names) if number not in curves and grid.lines[number].seeds]
    note = f"Not drawn, as their folders hold no metrics: {', '.join(without)}." if without else ""
    seconds = "Over seconds of training, the mean over the seeds; several searches may have shared the machine."
    captions: dict[seed_curves.Axis, str] = {
        "epochs": "Over the epochs.",
        "steps": "Over the steps, one a batch.",
        "seconds": seconds,
    }
    shown = [
        Chart(
            f"Validation {grid.metric.words}. {caption}",
            seed_curves.chart(curves, short_names(names, 34), grid.lines, axis),
            axis == "epochs",
        )
        for axis, caption in captions.items()
        if any(getattr(point, axis) is not None for points in curves.values() for point in points)
    ]
    yield Section("Learning curves", [part for part in (text, note) if part], charts=shown)


def _repeat(grid: Grid) -> Iterator[Section]:
    default = _DEFAULTS.get(grid.command)
    if default is not None and grid.command != "frontier":  # its densities depend on the method
        default = fill(default, grid.settings.get("recipe"))
    command = command_of(f"untrained {grid.command}", default, grid.settings) if default is not None else ""
    if objects := grid.settings.get("objects"):  # which no command can name
        text = "made by ut.compare in Python, with these objects and their hashes:"
        command = "\n".join([text, *(clean(str(each), 400) for each in (objects if isinstance(objects, list) else []))])
    text = f"{TABLE} has a row for each network, {SUMMARY} the table; both lie beside this page."
    yield Section("Repeat the run", (text,), code=[line for line in (command, machine_lines(grid.machines)) if line])


_PARTS = (_frontier, _results, _curves, _repeat)
