"""Accuracy along one axis: the fraction kept, the width of the network, or the law of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, final

from untrained import plot
from untrained.experiments.by_name import law_of, opponent_of, split
from untrained.experiments.choices import chance_of
from untrained.experiments.compare import make_grid, run_grid, validate
from untrained.experiments.testbed import has_width, scaled
from untrained.fields import check_words
from untrained.runs.settings import CompareSettings, SweepSettings, settle
from untrained.runs.table import TWIN, Cell, Line
from untrained.runs.text_tables import of_lines

Axis = Literal["keep", "width", "weights"]


@final
@dataclass(frozen=True)
class Sweep:
    """Results of `sweep`.

    Attributes:
        axis: the setting that was varied: "keep", "width" or "weights".
        lines, cells, folder, picture, report: as of `compare`; the lines of each method go along the axis.
    """

    axis: Axis
    lines: tuple[Line, ...]
    cells: tuple[Cell, ...]
    folder: Path
    picture: Path | None
    report: Path | None
    __post_init__ = check_words

    def _repr_html_(self) -> str:
        return of_lines(self.lines).html()


def sweep(settings: SweepSettings | None = None, **changes: Any) -> Sweep:
    """Search with every value of one setting, the rest being equal, and draw accuracy against it.

    The setting is the one of `keep`, `width` and `weights` that has several values. The trained twin and random
    subnetworks are always among the networks: a twin at every width, and always at width 1, the baseline of wide random
    networks; one twin for all fractions kept and laws, which do not change it. Every cell has the same bits as in
    `compare` with these settings. Model selection, parallel searches and `resume=True` are as in `compare`.

    Args:
        settings: the settings; default `SweepSettings()`.
        changes: fields of `SweepSettings` to change, such as `keep="0.1,0.3,0.5"`.

    Raises:
        ValueError: none of the three has several values, or more than one of them; and as in `compare`.
        OSError, FileNotFoundError, ConnectionError, ImportError, KeyboardInterrupt: as in `compare`.

    Source: Ramanujan et al. 2019, arXiv 1911.13299: the figures on k%, on width, and on the distribution of weights.

    Example:
        >>> small = dict(methods="biprop", widths=(8,), epochs=1, seeds=1, jobs=1)
        >>> found = ut.sweep(keep="0.3,0.6", out="run", **small)
        >>> found.axis, len(found.lines)
        ('keep', 5)
    """
    settings = settle(settings or SweepSettings(), changes)
    laws = tuple(dict.fromkeys(split(settings.weights)))
    axis = _find_axis(settings, laws)
    for law in laws:
        if law != "recommended":
            law_of(law)
    factors = settings.factors()

    def places(method: str) -> Iterable[Mapping[str, Any]]:
        if axis == "width":
            first = (1.0,) if method == TWIN and 1.0 not in factors else ()
            return ({"width": width} for width in (*first, *factors))
        if axis == "weights" and method != TWIN and opponent_of(method) is None:
            return ({"law": law} for law in laws)
        return ({},)

    def at(width: float | None = None, law: str | None = None) -> CompareSettings:
        """Return the settings of `compare` for the same network."""
        same: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(CompareSettings)}
        one = factors[0] if axis != "width" else 1.0
        same |= {"width": None, "weights": law or laws[0]}
        return scaled(CompareSettings(**same), one if width is None else width)

    grid = make_grid(settings, places)
    bench = validate(at())
    metric = bench.objective.metric
    chance = chance_of(bench.data, metric)
    if axis == "width" and not has_width(settings.model):
        raise ValueError(f"{settings.model} has no width to vary; sweep along keep or weights, or take another model")
    title = _title(settings, axis, laws)

    def draw(lines: Sequence[Line], _: Sequence[Cell]) -> Any:
        return plot.sweep(title, axis, lines)

    found = run_grid(settings, grid, lambda cell: at(cell.width, cell.law), "sweep", draw, chance, {}, metric)
    return Sweep(axis, found.lines, found.cells, found.folder, found.picture, found.report)


def _find_axis(settings: SweepSettings, laws: tuple[str, ...]) -> Axis:
    """Return the one setting of several values."""
    if not laws:
        raise ValueError(f"weights must be laws with commas between them, got {settings.weights!r}")
    values: dict[Axis, int] = {"keep": len(settings.keeps()), "width": len(settings.factors()), "weights": len(laws)}
    several: list[Axis] = [axis for axis, number in values.items() if number > 1]
    if not several:
        raise ValueError(
            "one of keep, width and weights needs two values or more, such as keep 0.1,0.3,0.5; "
            f"got keep {settings.keep}, width {settings.width}, weights {settings.weights}"
        )
    if len(several) > 1:
        raise ValueError(f"a sweep goes along one axis, got several values of {' and of '.join(several)}")
    return several[0]


def _title(settings: SweepSettings, axis: Axis, laws: tuple[str, ...]) -> str:
    """Return the settings that all networks of the picture share."""
    model = settings.describe_network()
    if settings.factors()[0] != 1 and axis != "width":
        model += f", width {settings.width}"
    parts = [f"{model} on {Path(settings.data).name}", f"{settings.epochs} epoch{'s' * (settings.epochs > 1)}"]
    if axis != "keep":
        parts.append(f"{100 * settings.keeps()[0]:g} % kept")
    if axis != "weights" and laws != ("recommended",):
        parts.append(laws[0])
    seeds = "one seed" if settings.seeds == 1 else f"mean and standard deviation of {settings.seeds} seeds"
    return f"{', '.join(parts)}\n{seeds}"
