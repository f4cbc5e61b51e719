"""The charts of a search as Vega-Lite specifications: plain data, drawn by the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from untrained.runs.run import Run, is_number
from untrained.runs.table import FOUND, RANDOM_NETWORK, RANDOM_SUBNETWORK, TWIN
from untrained.runs.weights import signs_of
from untrained.search.trace import BINS, Sample
from untrained.terminal.text import clean

_SERIES = {FOUND: "var(--teal)", TWIN: "var(--grey)"}
_LINES = {RANDOM_NETWORK: "var(--orange)", RANDOM_SUBNETWORK: "var(--blue)"}
_MOST_CLASSES = 20


def curves(run: Run, column: str, title: str, factor: float, lines: Mapping[str, float]) -> dict[str, Any]:
    """One quantity over the epochs: the search, its twin, and lines for networks that learn nothing."""
    values = [
        {"epoch": row["epoch"], "y": factor * row[column], "network": name}
        for name, rows in ((FOUND, run.rows), (TWIN, run.twin))
        for row in rows
        if is_number(row.get(column))
    ]
    flat = [{"y": factor * y, "network": name} for name, y in lines.items()]
    colours = {**_SERIES, **_LINES}
    names = [name for name in colours if any(name == value["network"] for value in values + flat)]
    colour = {
        "field": "network",
        "title": None,
        "scale": {"domain": names, "range": [colours[name] for name in names]},
    }
    y = {"field": "y", "type": "quantitative", "title": title, "scale": {"zero": factor == 100}}
    x = {"field": "epoch", "type": "quantitative", "title": "epoch", "axis": {"tickMinStep": 1, "format": "d"}}
    mark = {"type": "line", "point": len(run.rows) < 60, "strokeWidth": 2}
    layers = [{"data": {"values": values}, "mark": mark, "encoding": {"x": x, "y": y, "color": colour}}]
    if flat:
        rule = {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5}
        layers.append({"data": {"values": flat}, "mark": rule, "encoding": {"y": y, "color": colour}})
    return {"height": 260, "layer": layers}


def subnetwork(run: Run) -> dict[str, Any]:
    """Layers of neurons and the edges that are kept, by epoch."""
    samples, epochs = run.samples, len(run.trace)
    columns, titles, edges, nodes = 0, [], [], []
    for number, sample in enumerate(samples):
        if not sample.follows:
            if number:
                columns += 1  # the tensor before ends here
            titles.append(_inputs(sample, first=not number))
            nodes += _nodes(columns, len(sample.inputs))
        digits = [line["tensors"][sample.name]["edges"] for line in run.trace]
        signs = signs_of(run, sample, last=False)
        size = len(sample.inputs)
        for place in range(len(sample.outputs) * size):
            output, source = divmod(place, size)
            history = "".join(text[place] for text in digits)
            if history.strip("0"):
                ends = {"y": _height(source, size), "z": _height(output, len(sample.outputs))}
                edges.append(
                    {"x": columns, **ends, "k": history, "s": 0 if signs is None else int(signs[output, source])}
                )
        columns += 1
        titles.append(f"{clean(sample.name.removesuffix('.weight'), 18)}: {sample.shape[0]:,}")
        nodes += _nodes(columns, len(sample.outputs))
    x = {"type": "quantitative", "scale": {"domain": [-0.15, columns + 0.15], "nice": False, "zero": False}}
    bare = {"scale": {"domain": [-0.04, 1.04], "nice": False}, "axis": None, "type": "quantitative"}
    crowded = len("  ".join(titles)) > 48  # on a phone
    axis = {
        "title": "layer: its units",
        "values": list(range(len(titles))),
        "labelExpr": "titles[datum.value]",
        "labelAngle": -35 if crowded else 0,
        "labelAlign": "right" if crowded else "center",
        "grid": False,
        "labelOverlap": False,
        "labelBound": False,
    }
    several = any(sample.weights_per_edge > 1 for sample in samples)
    names = ["kept, weight is positive", "kept, weight is negative", "kept, of several weights" if several else "kept"]
    kinds = "datum.s > 0 ? names[0] : datum.s < 0 ? names[1] : names[2]"
    present = sorted({{1: 0, -1: 1, 0: 2}[edge["s"]] for edge in edges})
    paint = ["var(--blue)", "var(--orange)", "var(--teal)"]
    return {
        "height": 420,
        "params": [
            {"name": "epoch", "value": epochs - 1},
            {"name": "titles", "value": titles},
            {"name": "names", "value": names},
        ],
        "layer": [
            {
                "data": {"values": edges},
                "transform": [
                    {"calculate": "toNumber(datum.k[epoch]) / 9", "as": "kept"},
                    {"filter": "datum.kept > 0"},
                    {"calculate": "epoch > 0 && datum.k[epoch - 1] == '0' ? 2.6 : 1", "as": "fresh"},
                    {"calculate": "datum.x + 1", "as": "x2"},
                    {"calculate": kinds, "as": "kind"},
                ],
                "mark": {"type": "rule"},
                "encoding": {
                    "x": {"field": "x", **x, "axis": axis},
                    "x2": {"field": "x2"},
                    "y": {"field": "y", **bare},
                    "y2": {"field": "z"},
                    "color": {
                        "field": "kind",
                        "title": None,
                        "legend": {"columns": 1, "symbolType": "stroke", "symbolStrokeWidth": 3},
                        "scale": {"domain": [names[p] for p in present], "range": [paint[p] for p in present]},
                    },
                    "opacity": {
                        "field": "kept",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"domain": [0, 1], "range": [0.05, 0.6]},
                    },
                    "strokeWidth": {
                        "field": "fresh", "type": "quantitative", "legend": None,
                        "scale": {"domain": [1, 2.6], "range": [1, 2.6]},
                    },
                },
            },
            {
                "data": {"values": nodes},
                "mark": {"type": "circle", "size": 55, "color": "var(--node)", "opacity": 1},
                "encoding": {"x": {"field": "x", **x}, "y": {"field": "y", **bare}},
            },
        ],
    }  # fmt: skip


def kept(run: Run) -> dict[str, Any]:
    """The share of every tensor that is kept."""
    values = [{"tensor": number, "kept": 100 * k} for number, k in enumerate(run.kept.values())]
    scale = {"domain": [0, 100]}
    return {
        "height": {"step": 22},
        "params": [_names(_layers(run))],
        "data": {"values": values},
        "mark": {"type": "bar", "color": "var(--teal)"},
        "encoding": {
            "y": {"field": "tensor", "type": "ordinal", "title": "layer", "axis": _NAMED},
            "x": {"field": "kept", "type": "quantitative", "title": "weights kept, %", "scale": scale},
        },
    }


def flips(run: Run) -> dict[str, Any]:
    """The share of every tensor whose mask changed, by epoch."""
    values = [
        {"epoch": line["epoch"], "tensor": number, "flips": 100 * each["flips"]}
        for line in run.trace
        for number, each in enumerate(line["tensors"][name] for name in run.kept)
        if each["flips"] is not None
    ]
    return {
        "height": {"step": 22},
        "params": [_names(_layers(run))],
        "data": {"values": values},
        "mark": {"type": "rect"},
        "encoding": {
            "y": {"field": "tensor", "type": "ordinal", "title": "layer", "axis": _NAMED},
            "x": {"field": "epoch", "type": "ordinal", "title": "epoch",
                  "axis": {"labelAngle": 0, "labelOverlap": True}},
            "color": {
                "field": "flips",
                "type": "quantitative",
                "title": "mask flips, % of the layer's weights",
                "scale": {"range": ["var(--low)", "var(--high)"], "domainMin": 0},
                "legend": {"gradientLength": 160},
            },
        },
    }  # fmt: skip


def scores(run: Run, name: str) -> dict[str, Any]:
    """The histogram of a tensor's scores, by epoch."""
    its = [line["tensors"][name]["scores"] for line in run.trace]
    ends = [[each["low"] for each in its], [each["high"] for each in its]]
    values = [{"i": i, "n": [each["counts"][i] for each in its]} for i in range(BINS)]
    at = f"ends[0][epoch] + (datum.i + {{}}) * (ends[1][epoch] - ends[0][epoch]) / {BINS}"
    return {
        "height": 150,
        "params": [{"name": "epoch", "value": len(its) - 1}, {"name": "ends", "value": ends}],
        "data": {"values": values},
        "transform": [
            {"calculate": "datum.n[epoch]", "as": "weights"},
            {"calculate": at.format(0), "as": "from"},
            {"calculate": at.format(1), "as": "to"},
        ],
        "mark": {"type": "rect", "color": "var(--teal)"},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "title": "score", "axis": {"tickCount": 5},
                  "scale": {"nice": False, "zero": False}},
            "x2": {"field": "to"},
            "y": {"field": "weights", "type": "quantitative", "title": "weights",
                  "axis": {"tickCount": 4, "format": "~s"}},
            "y2": {"datum": 0},
        },
    }  # fmt: skip


def confusion(run: Run) -> tuple[dict[str, Any], int]:
    """What it says for what is right, of the classes that are confused most, and how many those are."""
    assert run.answers is not None
    labels, (right, said, _) = run.labels, run.answers
    classes = max(len(labels), int(max(right.max(), said.max())) + 1)
    names = _titles([labels[n] if n < len(labels) else "" for n in range(classes)], 16)
    wrong = right != said
    errors = torch.bincount(right[wrong], minlength=classes) + torch.bincount(said[wrong], minlength=classes)
    chosen = errors.argsort(descending=True, stable=True)[:_MOST_CLASSES].sort().values.tolist()
    values = []
    for row in chosen:
        counts = torch.bincount(said[right == row], minlength=classes)
        total = int(counts.sum())
        values += [
            {"right": row, "said": n, "share": 100 * int(counts[n]) / max(1, total), "n": int(counts[n])}
            for n in chosen
        ]
    angle = {"labelAngle": 0 if max(len(names[n]) for n in chosen) < 3 else -45}
    axes = {
        "x": {"field": "said", "type": "ordinal", "title": "what it says", "axis": {**_NAMED, **angle}},
        "y": {"field": "right", "type": "ordinal", "title": "what is right", "axis": _NAMED},
    }
    colour = {
        "field": "share",
        "type": "quantitative",
        "title": "% of the class",
        "scale": {"range": ["var(--low)", "var(--high)"], "domain": [0, 100]},
        "legend": {"gradientLength": 110},
    }
    layers: list[dict[str, Any]] = [{"mark": "rect", "encoding": {**axes, "color": colour}}]
    if len(chosen) <= 10:
        text = {"field": "n", "type": "quantitative"}
        contrast = {"condition": {"test": "datum.share > 50", "value": "var(--ground)"}, "value": "var(--ink)"}
        layers.append({"mark": {"type": "text", "fontSize": 12}, "encoding": {**axes, "text": text, "color": contrast}})
    size = {"height": {"step": 26}, "usermeta": {"widest": 160 + 42 * len(chosen)}}
    return {**size, "params": [_names(names)], "data": {"values": values}, "layer": layers}, len(chosen)


# Vega keeps values in objects of JavaScript's, where "constructor" is there before anybody put it in: what comes from
# others is a number there, and a name on the axis only.
_NAMED = {"labelExpr": "names[datum.value]"}


def _names(names: Sequence[str]) -> dict[str, Any]:
    return {"name": "names", "value": names}


def _layers(run: Run) -> list[str]:
    return _titles([name.removesuffix(".weight") for name in run.kept], 24)


def _titles(names: Sequence[str], longest: int) -> list[str]:
    """Names short enough for an axis, with their numbers in front where one is empty or two look alike."""
    titles = [clean(name, longest) for name in names]
    if all(titles) and len(set(titles)) == len(titles):
        return titles
    return [
        f"{number}: {clean(name, longest - 4)}" if clean(name) else str(number) for number, name in enumerate(names)
    ]


def _inputs(sample: Sample, *, first: bool) -> str:
    return f"{'input' if first else 'in'}: {sample.shape[1]:,}"


def _nodes(column: int, count: int) -> Sequence[dict[str, float]]:
    return [{"x": column, "y": _height(place, count)} for place in range(count)]


def _height(place: int, count: int) -> float:
    """Evenly spaced about the middle, the first at the top."""
    return round(0.5 + 0.5 * (1 - 2 * (place + 0.5) / count), 4)
