"""The chart of a frontier as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from untrained.plot.frontier import limits_of, marks_of
from untrained.report.charts import channel
from untrained.runs.frontier import Entry, pareto_front
from untrained.terminal.text import clean

_COLOURS = ("var(--blue)", "var(--orange)")
_MARGIN = 1.15  # a factor on bytes, so that no mark is cut at an edge


def frontier_chart(sound: Sequence[Entry]) -> dict[str, Any]:
    """Return the chart of accuracy over bytes: marks by method, spread over seeds, and the fronts as stairs.

    Args:
        sound: one or more rows without a fault.
    """
    methods = {e.cells[0].method: e.trained for e in sorted(sound, key=lambda e: e.trained)}  # tickets first
    points = [_point(entry) | {"m": list(methods).index(entry.cells[0].method)} for entry in sound]
    marks, (low, high) = marks_of(sound), limits_of(sound)
    sizes = [entry.file_bytes for entry in sound]
    ends = [min(sizes) / _MARGIN, max(sizes) * _MARGIN]
    axis = {"format": "~s", "labelOverlap": True}
    x = channel("x", "bytes to ship", axis=axis, domain=ends, type="log", nice=False)
    y = channel("y", "accuracy on test data, %", domain=[low, high], nice=False, zero=False)
    legend = {"labelExpr": "names[datum.value]", "columns": 1, "labelLimit": 320}
    colour, fill, shape = (
        channel("m", None, "nominal", legend=legend, domain=list(range(len(methods))), range=each)
        for each in (
            [_COLOURS[trained] for trained in methods.values()],
            ["transparent" if trained else _COLOURS[0] for trained in methods.values()],
            [marks[method][1] for method in methods],
        )
    )
    layers = [_stairs(pareto_front(sound), sound, color="var(--line)", strokeWidth=8)]
    for trained, each in enumerate(_COLOURS):
        front = pareto_front([entry for entry in sound if entry.trained == trained])
        layers.append(_stairs(front, sound, color=each, strokeWidth=2, strokeDash=[6, 4] if trained else [1, 0]))
    spread = {"y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour}
    layers.append({"data": {"values": points}, "mark": {"type": "rule", "clip": True}, "encoding": spread})
    mark = {"type": "point", "size": 70, "clip": True, "opacity": 1}
    marks = {"y": y, "color": colour, "fill": fill, "shape": shape}
    layers.append({"data": {"values": points}, "mark": mark, "encoding": marks})
    for layer in layers:
        layer["encoding"] = {"x": x, "y": y} | layer.get("encoding", {})
    names = {"name": "names", "value": [clean(method, 60) for method in methods]}
    return {"height": 420, "params": [names], "layer": layers}


def _point(entry: Entry) -> dict[str, float]:
    y, std = 100 * entry.accuracy, 100 * entry.std
    return {"x": entry.file_bytes, "y": y, "low": y - std, "high": y + std}


def _stairs(front: Sequence[Entry], sound: Sequence[Entry], **mark: Any) -> dict[str, Any]:
    """Return a layer with the stairs of a front, up to the size of the largest network."""
    values = [{"x": entry.file_bytes, "y": 100 * entry.accuracy} for entry in front]
    values += [values[-1] | {"x": max(entry.file_bytes for entry in sound)}] if values else []
    return {"data": {"values": values}, "mark": {"type": "line", "interpolate": "step-after", "clip": True, **mark}}
