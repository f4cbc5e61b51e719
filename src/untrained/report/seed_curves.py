"""Learning curves of the rows of a table: the mean over seeds with a band, over epochs, steps or seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from untrained.report.charts import channel
from untrained.runs.rows import is_number
from untrained.runs.table import TWIN, Line
from untrained.search.metric import ACCURACY, Metric

Axis = Literal["epochs", "steps", "seconds"]

_HUES = ("blue", "orange", "teal", "purple", "red", "olive", "pink")
_DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])
_TICKS: dict[Axis, dict[str, Any]] = {
    "epochs": {"format": "d", "tickMinStep": 1},
    "steps": {"format": "~s", "tickMinStep": 1},
    "seconds": {},
}
_MOST_POINTS = 300  # of a line; a chart has few more pixels


class Point(NamedTuple):
    """Mean over the seeds after an epoch, one sample standard deviation below and above, and what was spent so far."""

    epochs: int
    steps: int | None
    seconds: float | None
    mean: float
    low: float
    high: float


def mean_curve(
    histories: Sequence[Sequence[Mapping[str, Any]]], batch_size: int | None, metric: Metric = ACCURACY
) -> list[Point]:
    """Return a metric on validation data over the epochs, the mean of the seeds that have that epoch.

    Args:
        histories: metrics of each seed, a row per epoch.
        batch_size: images per step; None if it is not known.
        metric: the metric.
    """
    by_epoch: dict[int, list[tuple[float, float, float]]] = {}
    for rows in histories:
        seconds, steps = 0.0, 0.0  # NaN from the first epoch on that did not note them
        for row in rows:
            names = "seconds", "examples_per_second", f"val_{metric.name}"
            spent, rate, share = (_number(row.get(name)) for name in names)
            seconds += spent
            steps += _steps(spent * rate, batch_size)
            if not math.isnan(share):
                by_epoch.setdefault(row["epoch"], []).append((share, seconds, steps))
    return [_point(epoch, by_epoch[epoch]) for epoch in sorted(by_epoch)]


def _number(value: Any) -> float:
    return float(value) if is_number(value) else math.nan


def _point(epoch: int, seeds: Sequence[tuple[float, float, float]]) -> Point:
    shares, seconds, steps = ([seed[place] for seed in seeds] for place in range(3))
    mean, std = statistics.fmean(shares), statistics.stdev(shares) if len(shares) > 1 else 0.0
    spent, made = statistics.fmean(seconds), statistics.fmean(steps)
    return Point(
        epoch,
        None if math.isnan(made) else round(made),
        None if math.isnan(spent) else spent,
        mean,
        mean - std,
        mean + std,
    )


def _steps(images: float, batch_size: int | None) -> float:
    """Return the number of batches; a last one of a single image is joined to the one before, as `Batches` does."""
    if batch_size is None or math.isnan(images):
        return math.nan
    whole, rest = divmod(round(images), batch_size)
    return whole + (rest > (whole > 0))


def chart(
    curves: Mapping[int, Sequence[Point]], names: Sequence[str], lines: Sequence[Line], axis: Axis
) -> dict[str, Any]:
    """Return the chart of a metric on validation data along an axis: a line for each row, within its band.

    Args:
        curves: the points of a row, by its number; at least one row.
        names: names of all rows, short enough for a legend.
        lines: all rows.
        axis: what was spent. The chart over epochs has the legend; a click there shows a row alone.
    """
    rows, main = list(curves), axis == "epochs"
    values = [
        {"r": row, "x": place, "y": 100 * p.mean, "low": 100 * max(0.0, p.low), "high": 100 * min(1.0, p.high)}
        for row, points in curves.items()
        for p in points[:: -max(1, len(points) // _MOST_POINTS)]  # with the last one
        if (place := getattr(p, axis)) is not None
    ]
    colours, dashes = zip(*(_style(lines, row) for row in rows), strict=True)
    scale: dict[str, Any] = {"legend": None, "domain": rows}
    if main:
        scale["legend"] = {"labelExpr": "names[datum.value]", "symbolType": "stroke", "symbolOpacity": 1}
    places = {
        "x": channel("x", axis, zero=False, nice=False, axis={"tickCount": 6, **_TICKS[axis]}),
        "color": channel("r", None, "nominal", range=list(colours), **scale),
    }
    metric = lines[0].metric if lines else ACCURACY
    title = f"{metric.words} on validation data{metric.suffix}"
    percent = {"title": title, "axis": {"format": "~r"}, "zero": False}
    band = {**places, "y": channel("low", **percent), "y2": {"field": "high"}, "opacity": _opacity(0.16, 0)}
    dash = channel("r", None, "nominal", range=list(dashes), **scale)
    line = {**places, "y": channel("y", **percent), "strokeDash": dash, "opacity": _opacity(1, 0.08)}
    select = {"type": "point", "fields": ["r"], "toggle": "true"}  # each click adds a row or takes it away
    picked = {"name": "picked", "select": select, **({"bind": "legend"} if main else {})}
    mark = {"type": "line", "strokeWidth": 2, "point": len(values) < 40 * len(rows) and {"size": 22}}
    return {
        "height": 340 if main else 220,
        "usermeta": {"longest": max(map(len, names))},
        "params": [{"name": "names", "value": list(names)}],
        "data": {"values": values},
        "layer": [{"mark": "area", "encoding": band, "params": [picked]}, {"mark": mark, "encoding": line}],
    }


def _opacity(shown: float, other: float) -> dict[str, Any]:
    return {"condition": {"param": "picked", "value": shown}, "value": other}


def _style(lines: Sequence[Line], row: int) -> tuple[str, list[int]]:
    """Return the colour and dashes of a row: grey for twins, else the next of the colours, then with dashes."""
    twins = [number for number, line in enumerate(lines) if line.method == TWIN]
    if row in twins:
        return "var(--grey)", _DASHES[twins.index(row) % len(_DASHES)]
    others = [number for number in range(len(lines)) if number not in twins]
    place = others.index(row)
    return f"var(--{_HUES[place % len(_HUES)]})", _DASHES[place // len(_HUES) % len(_DASHES)]
