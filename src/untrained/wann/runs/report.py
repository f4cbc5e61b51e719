"""The page about a search for weight agnostic networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained._version import __version__
from untrained.files import atomic_write
from untrained.report.command_line import command_of
from untrained.report.page import Chart, Section, Table, render
from untrained.runs.run import is_number, read_rows, read_settings
from untrained.search.run_files import CONFIG, FOUND, METRICS, REPORT, RESULTS
from untrained.terminal.text import clean
from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.layout import place
from untrained.wann.networks.net import Net
from untrained.wann.runs.settings import WannSettings, given_again

_LABELLED = 60  # nodes, at most, that have their activation beside them
_NAMED = 24  # inputs, at most, that have their names beside them
# Greys for the two plain functions; the others in colours that the colour-blind tell apart (Paul Tol's "muted").
_COLOURS = "#9a9a9a #4a4ab0 #44aa99 #ddcc77 #117733 #88ccee #6f6f6f #999933 #cc6677 #aa4499 #b0486a".split()


@final
@dataclass(frozen=True)
class _Found:
    """What there is of a run; what is missing or damaged is empty, and `gaps` says so."""

    net: Net
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    gaps: Sequence[str]


def holds_network(folder: str | Path) -> bool:
    """Whether a search for weight agnostic networks got to its end in this folder."""
    return (Path(folder) / FOUND).is_file()


def write_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a search that got to its end: one page, which needs no network.

    Args:
        folder: of a run of `evolve`.

    Returns:
        The page.

    Raises:
        ValueError: there is no network in it.
        NetError: there is a damaged one.
    """
    folder = Path(folder)
    run = _read(folder)
    task = clean(run.net.meta.get("task", "a task"))
    hidden = len(run.net.act) - run.net.outputs
    lead = (
        f"{run.net.connections:,} connections and {hidden:,} hidden nodes, all connections with one shared weight: "
        "what was found is the architecture."
    )
    sections = [section for part in (_worth, _network, _weights, _progress, _again) for section in part(run)]
    page = render(f"A weight agnostic network for {task}", [lead, *run.gaps], sections)
    path = folder / REPORT
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _read(folder: Path) -> _Found:
    if not holds_network(folder):
        raise ValueError(f"{folder} holds no run that a report could show: there is no {FOUND} in it")
    gaps: list[str] = []
    results: Any = {}
    try:
        results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        numbers = [each[name] for each in results["columns"] for name in ("mean", "std")] + results["curve"]["weights"]
        numbers += [reward for reward in results["curve"]["rewards"] if reward is not None]
        if not all(map(is_number, numbers)) or not all(isinstance(each["scores"], list) for each in results["columns"]):
            raise ValueError("not numbers")
        if len(results["curve"]["weights"]) != len(results["curve"]["rewards"]):
            raise ValueError("a reward per weight is needed")
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        gaps.append(f"What the network is worth was not noted, or {RESULTS} is damaged.")
        results = {}
    rows = read_rows(folder / METRICS, "generation", gaps)
    return _Found(Net.load(folder / FOUND), read_settings(folder / CONFIG, gaps), rows, results, gaps)


def _worth(run: _Found) -> Iterator[Section]:
    if not run.results:
        return
    share = run.results.get("measure") == "accuracy"
    rows = []
    for each in run.results["columns"]:
        mean, std = (f"{each[name]:.2%}" if share else f"{each[name]:,.4g}" for name in ("mean", "std"))
        trials = len(each["scores"])
        rows.append((clean(each["name"]), mean, std if trials > 1 else "", f"{trials:,}" if trials > 1 else ""))
    text = "As in the paper's table (Gaier & Ha 2019), on test data or on episodes used for nothing else."
    titles = ("weights", clean(run.results.get("measure", "reward")), "± std", "trials")
    yield Section("What it is worth", (text,), Table(titles, rows))


def _network(run: _Found) -> Iterator[Section]:
    text = (
        "From its inputs on the left to its outputs on the right; a colour per activation. "
        "Inputs that nothing is connected to are left out."
    )
    yield Section("The network", (text,), charts=[Chart("The network that was found.", _graph(run))])


def _graph(run: _Found) -> dict[str, Any]:
    net, layout = run.net, place(run.net)
    first = net.inputs + 1
    kinds = [NAMES[kind - 1] for kind in net.act]
    height = float(np.clip(80 * layout.height, 220, 620))
    lines = [
        {"e": number, "o": order, "x": round(float(x), 3), "y": round(float(y), 3)}
        for number, route in enumerate(layout.routes)
        for order, (x, y) in enumerate(route)
    ]
    names, used = _names(run, layout.x)
    nodes = [
        {"x": round(float(x), 3), "y": round(float(y), 3), "kind": kind, "name": kind}
        for x, y, kind in zip(layout.x[first:], layout.y[first:], kinds, strict=True)
    ]
    sources = [
        {"x": round(float(layout.x[k]), 3), "y": round(float(layout.y[k]), 3), "name": names.get(k, "")} for k in used
    ]
    outputs = [
        {"x": round(float(layout.x[k]), 3), "y": round(float(layout.y[k]), 3), "name": names[k]}
        for k in range(len(layout.x) - net.outputs, len(layout.x))
    ]
    wide = float(np.nanmax(layout.x)) or 1.0
    # Room beside for what inputs and outputs are called.
    left = 0.24 if any(each["name"] for each in sources) else 0.04
    ends = [-left * wide, 1.2 * wide]
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": ends, "nice": False, "zero": False}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"nice": False, "zero": False, "padding": 14}}
    present = [name for name in NAMES if name in kinds]
    fills = dict[str, str](zip(NAMES, _COLOURS, strict=True))
    colour = {
        "field": "kind", "title": "activation", "legend": {"symbolSize": 120, "symbolOpacity": 1},
        "scale": {"domain": present, "range": [fills[name] for name in present]},
    }  # fmt: skip
    text = {"text": {"field": "name"}}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": lines},
            "mark": {"type": "line", "interpolate": "monotone", "color": "var(--faint)", "strokeWidth": 1,
                     "opacity": float(np.clip(6 / math.sqrt(len(layout.routes) + 1), 0.25, 0.8))},
            "encoding": {"x": x, "y": y, "detail": {"field": "e"}, "order": {"field": "o"}},
        },
        {"data": {"values": sources}, "mark": {"type": "circle", "color": "var(--ink)", "size": 40, "opacity": 1},
         "encoding": {"x": x, "y": y}},
        {"data": {"values": nodes}, "mark": {"type": "circle", "size": 190, "opacity": 1},
         "encoding": {"x": x, "y": y, "color": colour}},
        {"data": {"values": sources}, "mark": {"type": "text", "align": "right", "dx": -9, "fontSize": 12},
         "encoding": {"x": x, "y": y, **text}},
        {"data": {"values": outputs}, "mark": {"type": "text", "align": "left", "dx": 12, "fontSize": 12},
         "encoding": {"x": x, "y": y, **text}},
    ]  # fmt: skip
    if len(nodes) <= _LABELLED:
        mark = {"type": "text", "dy": -14, "fontSize": 11, "color": "var(--faint)"}
        layers.append({"data": {"values": nodes}, "mark": mark, "encoding": {"x": x, "y": y, **text}})
    return {"height": height, "layer": layers}


def _names(run: _Found, x: np.ndarray) -> tuple[dict[int, str], list[int]]:
    """What is written beside a node, and the inputs that are used, the bias among them."""
    net = run.net
    used = [k for k in range(net.inputs + 1) if np.isfinite(x[k])]
    given = run.results.get("input_names")
    known = given if isinstance(given, list) and len(given) == net.inputs else None
    names = {k: clean(known[k - 1], 18) if known else f"input {k}" for k in used if k}
    names = names | {0: "bias"} if len(used) <= _NAMED else {}
    ends = net.labels or (["output"] if net.outputs == 1 else [f"output {k + 1}" for k in range(net.outputs)])
    return names | {len(x) - net.outputs + k: clean(end, 14) for k, end in enumerate(ends)}, used


def _weights(run: _Found) -> Iterator[Section]:
    if not run.results:
        return
    curve = run.results["curve"]
    values = [{"w": w, "r": r} for w, r in zip(curve["weights"], curve["rewards"], strict=True) if r is not None]
    measure = clean(run.results.get("measure", "reward"))
    x = {"field": "w", "type": "quantitative", "title": "shared weight of all connections"}
    layers = [
        {"data": {"values": [{"w": w} for w in WEIGHTS]},
         "mark": {"type": "rule", "strokeDash": [3, 4], "color": "var(--grey)"}, "encoding": {"x": x}},
        {"data": {"values": values}, "mark": {"type": "line", "strokeWidth": 2, "color": "var(--teal)"},
         "encoding": {"x": x, "y": {"field": "r", "type": "quantitative", "title": measure,
                                      "scale": {"zero": False}}}},
    ]  # fmt: skip
    text = "A network is weight agnostic when it works whatever the weight is. Dotted: the six weights of the search."
    says = f"What the network is worth over the shared weight: {measure}."
    yield Section("One weight for all", (text,), charts=[Chart(says, {"height": 240, "layer": layers})])


def _progress(run: _Found) -> Iterator[Section]:
    if not run.rows:
        return
    shown = [
        Chart("Reward over the generations.", _lines(run, "reward", {"best": "best", "mean": "mean of all"})),
        Chart(
            "Complexity over the generations.",
            _lines(
                run, "connections", {"connections": "best of the generation", "chosen_connections": "chosen so far"}
            ),
            wide=False,
        ),
    ]
    front = next((row["front"] for row in reversed(run.rows) if row.get("front")), [])
    pairs = front if isinstance(front, list) else []
    if pairs and all(isinstance(each, list) and len(each) == 2 and all(map(is_number, each)) for each in pairs):
        values = [{"c": c, "r": r} for c, r in pairs]
        encoding = {
            "x": {
                "field": "c",
                "type": "quantitative",
                "title": "connections",
                "axis": {"tickMinStep": 1, "format": "d"},
            },
            "y": {"field": "r", "type": "quantitative", "title": "reward", "scale": {"zero": False}},
        }
        mark = {"type": "line", "interpolate": "step-after", "point": True, "color": "var(--teal)"}
        spec = {"height": 220, "data": {"values": values}, "mark": mark, "encoding": encoding}
        shown.append(Chart("The best reward that so many connections reach, on what chooses.", spec, wide=False))
    yield Section("How it was found", charts=shown)


def _lines(run: _Found, title: str, names: Mapping[str, str]) -> dict[str, Any]:
    # A page need not hold more points than it has pixels.
    step = max(1, len(run.rows) // 500)
    values = [
        {"g": row["generation"], "y": row[column], "what": name}
        for column, name in names.items()
        for row in run.rows[::step]
        if is_number(row.get(column))
    ]
    colour = {
        "field": "what",
        "title": None,
        "scale": {"domain": [*names.values()], "range": ["var(--teal)", "var(--orange)"]},
    }
    return {
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": {
                "field": "g",
                "type": "quantitative",
                "title": "generation",
                "axis": {"tickMinStep": 1, "format": "d"},
            },
            "y": {"field": "y", "type": "quantitative", "title": title, "scale": {"zero": title == "connections"}},
            "color": colour,
        },
    }


def _again(run: _Found) -> Iterator[Section]:
    facts = [f"seed: {clean(run.net.meta.get('seed'))}", f"generations: {clean(run.net.meta.get('generations'))}"]
    facts.append(f"made with: untrained {__version__}")
    command = command_of("untrained wann", WannSettings(), run.settings)
    task = run.net.meta.get("task")
    code = [command, f"untrained wann eval {FOUND}{given_again(clean(task)) if task else ''}", "\n".join(facts)]
    yield Section("Do it again", code=[line for line in code if line])
