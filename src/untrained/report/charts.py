"""Charts of a search as Vega-Lite specifications: plain data, drawn by the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from untrained.runs.rows import is_number
from untrained.runs.run import Run
from untrained.runs.table import FOUND, RANDOM_NETWORK, RANDOM_SUBNETWORK, TWIN
from untrained.runs.weights import signs_of
from untrained.search.trace import BINS
from untrained.terminal.text import clean

_COLOURS = {
    FOUND: "var(--teal)", TWIN: "var(--grey)", RANDOM_NETWORK: "var(--orange)", RANDOM_SUBNETWORK: "var(--blue)",
}  # fmt: skip
_MOST_CLASSES = 20
# Vega keeps values in JavaScript objects, which have names such as "constructor" from the start: values from files are
# numbers there, and their names are on the axis only.
_NAMED = {"labelExpr": "names[datum.value]"}


def channel(field: str, title: str | None = None, kind: str = "quantitative", **more: Any) -> dict[str, Any]:
    """Return the encoding of a field; options that are no keys of a Vega-Lite channel belong to its scale."""
    own = {key: more.pop(key) for key in ("axis", "legend") if key in more}
    return {"field": field, "type": kind, "title": title, **own, **({"scale": more} if more else {})}


def curves(
    run: Run,
    column: str,
    title: str,
    factor: float,
    lines: Mapping[str, float],
    ends: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the chart of one quantity over the epochs, with lines for networks that are not trained.

    `ends` are those of its axis; None: from 0 for shares, else as the values have it.
    """
    values = [
        {"epoch": row["epoch"], "y": factor * row[column], "network": name}
        for name, rows in ((FOUND, run.rows), (TWIN, run.twin))
        for row in rows
        if is_number(row.get(column))
    ]
    levels = [{"y": factor * y, "network": name} for name, y in lines.items()]
    names = [name for name in _COLOURS if any(name == value["network"] for value in values + levels)]
    colour = channel("network", None, "nominal", domain=names, range=[_COLOURS[name] for name in names])
    y = (
        channel("y", title, zero=factor == 100)
        if ends is None
        else channel("y", title, domain=ends, nice=False, zero=False)
    )
    x = channel("epoch", "epoch", axis={"tickMinStep": 1, "format": "d"})
    mark = {"type": "line", "point": len(run.rows) < 60, "strokeWidth": 2, "clip": ends is not None}
    layers = [{"data": {"values": values}, "mark": mark, "encoding": {"x": x, "y": y, "color": colour}}]
    if levels:
        rule = {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5}
        layers.append({"data": {"values": levels}, "mark": rule, "encoding": {"y": y, "color": colour}})
    return {"height": 260, "layer": layers}


def zoom(run: Run, column: str, factor: float) -> tuple[float, float] | None:
    """Return whole ends of an axis on which the second half of the epochs can be told apart; None where 0..100 does."""
    columns = [[factor * row[column] for row in rows if is_number(row.get(column))] for rows in (run.rows, run.twin)]
    late = [value for values in columns for value in values[len(values) // 2 :]]
    if max(map(len, columns)) < 4:
        return None
    low, high = math.floor(min(late)), math.ceil(max(late))
    return (low, max(high, low + 1)) if high - low <= 25 and 0 <= low and high <= 100 else None


def subnetwork(run: Run) -> dict[str, Any]:
    """Return the chart of layers of neurons and the edges that are kept, by epoch."""
    columns, titles, edges, nodes = _graph(run)
    x = {"domain": [-0.15, columns + 0.15], "nice": False, "zero": False}
    y = {"domain": [-0.04, 1.04], "nice": False, "axis": None}
    crowded = len("  ".join(titles)) > 48  # on a phone
    axis = {
        "values": list(range(len(titles))), "labelExpr": "titles[datum.value]", "labelAngle": -35 if crowded else 0,
        "labelAlign": "right" if crowded else "center", "grid": False, "labelOverlap": False, "labelBound": False,
    }  # fmt: skip
    several = any(sample.weights_per_edge > 1 for sample in run.samples)
    kinds = {1: ("kept, weight is positive", "var(--blue)"), -1: ("kept, weight is negative", "var(--orange)"),
             0: ("kept, of several weights" if several else "kept", "var(--teal)")}  # fmt: skip
    shown = [kinds[sign] for sign in kinds if any(edge["s"] == sign for edge in edges)]
    legend = {"columns": 1, "symbolType": "stroke", "symbolStrokeWidth": 3}
    names, colours = zip(*shown, strict=True) if shown else ((), ())
    lines = {
        "data": {"values": edges},
        "transform": [
            {"calculate": "toNumber(datum.k[epoch]) / 9", "as": "kept"},
            {"filter": "datum.kept > 0"},
            {"calculate": "epoch > 0 && datum.k[epoch - 1] == '0' ? 2.6 : 1", "as": "fresh"},
            {"calculate": "datum.x + 1", "as": "x2"},
            {"calculate": "datum.s > 0 ? names[0] : datum.s < 0 ? names[1] : names[2]", "as": "kind"},
        ],
        "mark": {"type": "rule"},
        "encoding": {
            "x": channel("x", "layer: its units", axis=axis, **x),
            "x2": {"field": "x2"},
            "y": channel("y", **y),
            "y2": {"field": "z"},
            "color": channel("kind", None, "nominal", legend=legend, domain=names, range=colours),
            "opacity": channel("kept", legend=None, domain=[0, 1], range=[0.05, 0.6]),
            "strokeWidth": channel("fresh", legend=None, domain=[1, 2.6], range=[1, 2.6]),
        },
    }
    circles = {
        "data": {"values": nodes},
        "mark": {"type": "circle", "size": 55, "color": "var(--node)", "opacity": 1},
        "encoding": {"x": channel("x", "layer: its units", **x), "y": channel("y", **y)},
    }
    texts = [_parameter("titles", titles), _parameter("names", [name for name, _ in kinds.values()])]
    return {"height": 420, "params": [_parameter("epoch", len(run.trace) - 1), *texts], "layer": [lines, circles]}


def _graph(run: Run) -> tuple[int, list[str], list[dict[str, Any]], list[dict[str, float]]]:
    """Return the last column, the title of each column, the edges with their history, and the nodes."""
    column, titles, edges, nodes = 0, [], [], []
    for number, sample in enumerate(run.samples):
        outputs, inputs = len(sample.outputs), len(sample.inputs)
        if not sample.follows:
            column += number > 0  # the tensor before ends here
            titles.append(f"{'in' if number else 'input'}: {sample.shape[1]:,}")
            nodes += [{"x": column, "y": _height(place, inputs)} for place in range(inputs)]
        digits = [line["tensors"][sample.name]["edges"] for line in run.trace]
        signs = signs_of(run, sample, last=False)
        for place in range(outputs * inputs):
            output, source = divmod(place, inputs)
            history = "".join(text[place] for text in digits)
            if history.strip("0"):
                ends = {"x": column, "y": _height(source, inputs), "z": _height(output, outputs)}
                edges.append({**ends, "k": history, "s": 0 if signs is None else int(signs[output, source])})
        column += 1
        titles.append(f"{clean(sample.name.removesuffix('.weight'), 18)}: {sample.shape[0]:,}")
        nodes += [{"x": column, "y": _height(place, outputs)} for place in range(outputs)]
    return column, titles, edges, nodes


def kept(run: Run) -> dict[str, Any]:
    """Return the chart of the share of each tensor that is kept."""
    values = [{"tensor": number, "kept": 100 * k} for number, k in enumerate(run.kept.values())]
    return {
        "height": {"step": 22},
        "params": [_layer_names(run)],
        "data": {"values": values},
        "mark": {"type": "bar", "color": "var(--teal)"},
        "encoding": {
            "y": channel("tensor", "layer", "ordinal", axis=_NAMED),
            "x": channel("kept", "weights kept, %", domain=[0, 100]),
        },
    }


def flips(run: Run) -> dict[str, Any]:
    """Return the chart of the share of each tensor whose mask changed, by epoch."""
    values = [
        {"epoch": line["epoch"], "tensor": number, "flips": 100 * share}
        for line in run.trace
        for number, name in enumerate(run.kept)
        if (share := line["tensors"][name]["flips"]) is not None
    ]
    colour = {"range": ["var(--low)", "var(--high)"], "domainMin": 0, "legend": {"gradientLength": 160}}
    return {
        "height": {"step": 22},
        "params": [_layer_names(run)],
        "data": {"values": values},
        "mark": {"type": "rect"},
        "encoding": {
            "y": channel("tensor", "layer", "ordinal", axis=_NAMED),
            "x": channel("epoch", "epoch", "ordinal", axis={"labelAngle": 0, "labelOverlap": True}),
            "color": channel("flips", "mask flips, % of the layer's weights", **colour),
        },
    }


def scores(run: Run, name: str) -> dict[str, Any]:
    """Return the histogram of a tensor's scores, by epoch."""
    its = [line["tensors"][name]["scores"] for line in run.trace]
    ends = [[each["low"] for each in its], [each["high"] for each in its]]
    at = f"ends[0][epoch] + (datum.i + {{}}) * (ends[1][epoch] - ends[0][epoch]) / {BINS}"
    return {
        "height": 150,
        "params": [_parameter("epoch", len(its) - 1), _parameter("ends", ends)],
        "data": {"values": [{"i": i, "n": [each["counts"][i] for each in its]} for i in range(BINS)]},
        "transform": [
            {"calculate": "datum.n[epoch]", "as": "weights"},
            {"calculate": at.format(0), "as": "from"},
            {"calculate": at.format(1), "as": "to"},
        ],
        "mark": {"type": "rect", "color": "var(--teal)"},
        "encoding": {
            "x": channel("from", "score", axis={"tickCount": 5}, nice=False, zero=False),
            "x2": {"field": "to"},
            "y": channel("weights", "weights", axis={"tickCount": 4, "format": "~s"}),
            "y2": {"datum": 0},
        },
    }


def confusion(run: Run) -> tuple[dict[str, Any], int]:
    """Return the confusion matrix of the most confused classes, and the number of classes in it."""
    assert run.answers is not None
    names, (labels, predicted, _) = run.labels, run.answers
    classes = max(len(names), int(max(labels.max(), predicted.max())) + 1)
    names = short_names([names[n] if n < len(names) else "" for n in range(classes)], 16)
    wrong = labels != predicted
    errors = torch.bincount(torch.cat([labels[wrong], predicted[wrong]]), minlength=classes)
    chosen = errors.argsort(descending=True, stable=True)[:_MOST_CLASSES].sort().values.tolist()
    values = []
    for row in chosen:
        counts = torch.bincount(predicted[labels == row], minlength=classes).tolist()
        total = max(1, sum(counts))
        values += [{"label": row, "predicted": n, "share": 100 * counts[n] / total, "n": counts[n]} for n in chosen]
    angle = {"labelAngle": 0 if max(len(names[n]) for n in chosen) < 3 else -45}
    axes = {
        "x": channel("predicted", "predicted class", "ordinal", axis={**_NAMED, **angle}),
        "y": channel("label", "true class", "ordinal", axis=_NAMED),
    }
    scale = {"range": ["var(--low)", "var(--high)"], "domain": [0, 100]}
    colour = channel("share", "% of the class", legend={"gradientLength": 110}, **scale)
    layers: list[dict[str, Any]] = [{"mark": "rect", "encoding": {**axes, "color": colour}}]
    if len(chosen) <= 10:
        contrast = {"condition": {"test": "datum.share > 50", "value": "var(--ground)"}, "value": "var(--ink)"}
        encoding = {**axes, "text": {"field": "n", "type": "quantitative"}, "color": contrast}
        layers.append({"mark": {"type": "text", "fontSize": 12}, "encoding": encoding})
    size = {"height": {"step": 26}, "usermeta": {"widest": 160 + 42 * len(chosen)}}
    spec = {**size, "params": [_parameter("names", names)], "data": {"values": values}, "layer": layers}
    return spec, len(chosen)


def _parameter(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "value": value}


def _layer_names(run: Run) -> dict[str, Any]:
    return _parameter("names", short_names([name.removesuffix(".weight") for name in run.kept], 24))


def short_names(names: Sequence[str], longest: int) -> list[str]:
    """Return names short enough for an axis, after their numbers if one is empty or two look alike."""
    short = [clean(name, longest) for name in names]
    if all(short) and len(set(short)) == len(short):
        return short
    return [f"{n}: {clean(name, longest - 4)}" if clean(name) else str(n) for n, name in enumerate(names)]


def _height(place: int, count: int) -> float:
    """Return the height of a place: evenly spaced about the middle, the first at the top."""
    return round(0.5 + 0.5 * (1 - 2 * (place + 0.5) / count), 4)
