"""The frontier: tickets and trained networks over their sizes, and who is ahead in which range of bytes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, final

from untrained import plot
from untrained.experiments.by_name import opponent_of, split
from untrained.experiments.choices import chance_of
from untrained.experiments.compare import make_grid, run_grid, validate
from untrained.experiments.testbed import has_width, opponents_for, scaled, suits
from untrained.fields import suggest
from untrained.models import NETWORKS
from untrained.opponents import OPPONENTS
from untrained.runs.frontier import Entry, Range, entries_of, ranges_of, sides
from untrained.runs.settings import CompareSettings, FrontierSettings
from untrained.runs.table import RANDOM, TWIN, Cell, Line
from untrained.runs.text_tables import of_lines
from untrained.runs.verdicts import describe
from untrained.search.metric import ACCURACY

# A winning ticket takes six trainings, so it is trained for one fraction kept.
_OPPONENTS = (
    "int8-twin", "int4-twin", "ternary-twin", "binary-twin", "pruned-twin", "narrow-twin", "imp-ticket(keep=0.1)",
)  # fmt: skip


@final
@dataclass(frozen=True)
class Frontier:
    """Results of `frontier`.

    Attributes:
        entries: the rows, tickets and trained networks, each with the cells of its seeds.
        ranges: the ranges of bytes, with the best ticket and the best trained network in each.
        sentences: who is ahead in which range of bytes, and by how much; a part (`cell`) has no ranges or sentences.
        lines, cells, folder, picture, report: as of `compare`.
    """

    entries: tuple[Entry, ...]
    ranges: tuple[Range, ...]
    sentences: tuple[str, ...]
    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]
    folder: Path
    picture: Path | None
    report: Path | None

    def _repr_html_(self) -> str:
        table = of_lines(self.lines)
        return replace(table, notes=(*self.sentences, *table.notes)).html()


def frontier(settings: FrontierSettings | None = None, **changes: Any) -> Frontier:
    """Search for tickets and train their opponents over many sizes, and say who is ahead in which range of bytes.

    Rows are methods × fractions kept × widths × norms, with every seed. At b bytes the best ticket is that with the
    highest mean validation accuracy in at most b bytes, and likewise the best trained network; the difference of their
    test accuracies is paired by seed. Rows of which a seed failed or did not learn (validation accuracy no higher than
    that of the most frequent class and three standard errors) stay in the table, and are compared with none. All have
    the same epochs, but those opponents whose method trains several times; the table shows them. Parallel searches and
    `resume=True` are as in `compare`.

    Args:
        settings: the settings; default `FrontierSettings()`.
        changes: fields of `FrontierSettings` to change, such as `keep="0.1,0.03"`.

    Raises:
        ValueError: a setting is out of range, an unknown method or opponent, or the folder holds another run.
        OSError, FileNotFoundError, ConnectionError, ImportError, KeyboardInterrupt: as in `compare`.

    Example:
        >>> small = dict(widths=(8,), width="1", keep="0.5", epochs=1, seeds=1, jobs=1)
        >>> found = ut.frontier(methods="biprop", opponents="int8-twin", out="run", **small)
        >>> [entry.name for entry in found.entries]
        ['trained twin', 'biprop, keep 0.5', 'int8-twin']
    """
    settings = _filled(replace(settings or FrontierSettings(), **changes))
    grid = _make_grid(settings)
    trained = {cell.method for cell in grid if cell.method == TWIN or opponent_of(cell.method) is not None}
    setups = {cell: _setup(settings, cell) for cell in grid}
    first, *others = dict.fromkeys(setups.values())
    bench = validate(first)
    if bench.objective.metric != ACCURACY:
        raise ValueError(
            f"a frontier is one of accuracies, and this metric is {bench.objective.metric.name}; use compare"
        )
    for setup in others:
        validate(setup, bench.data)  # the data of all are the same, and read once
    chance = chance_of(bench.data) or 0.0
    network = _setup(settings, Cell(TWIN, None, 0)).describe_network()
    network += " and without" * (len(settings.norms()) > 1)
    title = f"{network} on {Path(settings.data).name}, {settings.epochs} epoch{'s' * (settings.epochs != 1)}"

    def draw(lines: Sequence[Line], cells: Sequence[Cell]) -> Any:
        return plot.frontier(title, entries_of(cells, trained, chance))

    run = run_grid(settings, grid, setups.__getitem__, "frontier", draw, chance, {"trained": sorted(trained)})
    entries = entries_of(run.cells, trained, chance)
    ranges = ranges_of(*sides(entries, settings.against)) if settings.cell is None else []
    said = tuple(describe(ranges, settings.against)) if ranges else ()
    return Frontier(tuple(entries), tuple(ranges), said, run.lines, run.cells, run.folder, run.picture, run.report)


def _filled(settings: FrontierSettings) -> FrontierSettings:
    """Return the settings with the widths, norms and opponents that the network can have, where none are set."""
    known = inspect.signature(NETWORKS[settings.model]).parameters if settings.model in NETWORKS else {}
    wide = has_width(settings.model)
    if not wide and {*settings.factors()} - {1.0}:
        raise ValueError(f"{settings.model} has no width to vary; leave --width out, or take another model")
    width = ("0.25,0.5,1" if wide else "1") if settings.width is None else settings.width
    norm = ("batch" if "norm" in known else "none") if settings.norm is None else settings.norm
    suited = (text for text in _OPPONENTS if (each := opponent_of(text)) is not None and suits(each, settings.model))
    opponents = ",".join(suited) if settings.opponents is None else settings.opponents
    return replace(settings, width=width, norm=norm, opponents=opponents)


def _make_grid(settings: FrontierSettings) -> list[Cell]:
    """Return the cells without results: the twin, the tickets, then the opponents."""
    names = {"all": opponents_for(settings.model), "none": []}
    opponents = [text for each in split(settings.opponents or "") for text in names.get(each, [each])]
    tickets = [*split(settings.methods), *settings.method]
    for text in opponents:
        if opponent_of(text) is None:
            near = suggest(text.partition("(")[0], [*OPPONENTS, *names])
            raise ValueError(f"opponents must be all, none or names, got {text!r}{near}; known: {', '.join(OPPONENTS)}")
    for text in tickets:
        if text == "opponents" or opponent_of(text) is not None:
            raise ValueError(f"methods must be those of tickets, got {text!r}; it belongs to opponents")
    widths, norms = settings.factors(), settings.norms()
    places = [
        {"width": None if widths == (1.0,) else width, "norm": norm if len(norms) > 1 else None}
        for norm in norms
        for width in widths
    ]
    both = replace(settings, method=(*settings.method, *opponents))
    grid = [cell for cell in make_grid(both, lambda method: places) if cell.method != RANDOM]
    methods = list(dict.fromkeys(cell.method for cell in grid))
    if settings.against and settings.against not in methods:
        raise ValueError(
            f"against must be a method of the table, got {settings.against!r}{suggest(settings.against, methods)}; "
            f"it has {', '.join(methods)}"
        )
    return grid


def _setup(settings: FrontierSettings, cell: Cell) -> CompareSettings:
    """Return the settings of `compare` for the network of a cell."""
    same: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(CompareSettings)}
    norm = cell.norm or max(settings.norms(), key=("none", "batch").index)
    same |= {"width": None, "norm": None if norm == "none" else norm, "against": TWIN}
    same["densities"] = settings.densities or "balanced"
    return scaled(CompareSettings(**same), 1.0 if cell.width is None else cell.width)
