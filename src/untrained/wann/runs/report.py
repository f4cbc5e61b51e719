"""The page about a search for weight agnostic networks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.files import atomic_write
from untrained.report.charts import channel
from untrained.report.command_line import command_of, last_part
from untrained.report.page import Chart, Section, Table, render
from untrained.runs.machine import Machine, machine_lines, read_machines
from untrained.runs.rows import is_number, read_rows, read_settings
from untrained.search.run_files import CONFIG, FOUND, METRICS, REPORT, RESULTS, WANN_CHECKPOINT
from untrained.terminal.text import clean
from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.drawing import FILL, node_names
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.layout import place
from untrained.wann.networks.net import Net
from untrained.wann.runs.settings import WannSettings, format_task_flag
from untrained.wann.runs.simulation import simulation
from untrained.wann.tuning.columns import heading, table_rows

_LABELLED = 60  # nodes, at most, that have their activation beside them
_NAMED = 24  # inputs, at most, that have their names beside them
# Lighter or darker than in pictures, to be seen on a white page and on a dark one.
_FILL = FILL | {"linear": "#9a9a9a", "step": "#4a4ab0", "square": "#b0486a"}
_TEAL, _WHOLE = "var(--teal)", {"tickMinStep": 1, "format": "d"}


@final
@dataclass(frozen=True)
class _Run:
    """The parts of a run's folder that its page shows; missing or damaged parts are empty, and listed in `gaps`."""

    net: Net
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    gaps: Sequence[str]
    machines: Sequence[Machine]

    @property
    def measure(self) -> str:
        return clean(self.results.get("measure", "reward"))

    def heading(self, measure: str) -> str:
        """Return the name of rewards with the greatest that there can be, if it is known."""
        most = self.results.get("most")
        return heading(measure, most if is_number(most) else None)


def holds_search(folder: str | Path) -> bool:
    """Return True if this folder is that of a search for weight agnostic networks, finished or not."""
    return any((Path(folder) / name).is_file() for name in (FOUND, WANN_CHECKPOINT))


def write_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a search, and return its path: one page without links to the web.

    A search that is not finished is shown with its best network so far, and the page says so.

    Args:
        folder: of a run of `evolve`.

    Raises:
        ValueError: there is no network in it.
        NetError: there is a damaged one.

    Example:
        >>> run = wann.evolve(task="digits", population=8, generations=1, trials=1, tune="shared", workers=1, out="run")
        >>> wann.write_report("run").name
        'report.html'
    """
    folder = Path(folder)
    run = _read(folder)
    task = clean(last_part(str(run.net.meta.get("task", "a task"))))
    hidden = len(run.net.act) - run.net.outputs
    lead = (
        f"{run.net.connections:,} connections and {hidden:,} hidden nodes, all connections with one shared weight: "
        "the architecture is the result of the search."
    )
    sections = [section for part in (_scores, _work, _network, _weights, _search, _repeat) for section in part(run)]
    page = render(f"A weight agnostic network for {task}", [lead, *run.gaps], sections)
    path = folder / REPORT
    with atomic_write(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return path


def _read(folder: Path) -> _Run:
    if not (folder / FOUND).is_file():
        raise ValueError(
            f"{folder} holds no network that a report could show: there is no {FOUND} in it, which is written as soon "
            "as a search has learned something"
        )
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
        missing = "is damaged" if (folder / RESULTS).exists() else "is missing, which a search writes at its end"
        gaps.append(f"The scores of the network are not shown: {RESULTS} {missing}.")
        results = {}
    rows = read_rows(folder / METRICS, "generation", gaps)
    settings, machines = read_settings(folder / CONFIG, gaps), read_machines([folder], gaps)
    return _Run(Net.load(folder / FOUND), settings, rows, results, gaps, machines)


def _scores(run: _Run) -> Iterator[Section]:
    if not run.results:
        return
    columns = [(clean(each["name"]), each["mean"], each["std"], len(each["scores"])) for each in run.results["columns"]]
    text = "As in the paper's table (Gaier & Ha 2019), means on test data or on episodes of no other use."
    rows = table_rows(columns, run.results.get("measure"))
    figures = [_measures(each.get("measures")) for each in run.results["columns"]]
    names = list(dict.fromkeys(name for each in figures for name in each))
    cells = [(*row, *(each.get(name, "–") for name in names)) for row, each in zip(rows, figures, strict=True)]
    titles = ("weights", run.heading(run.measure), "± std", "trials", *names)
    yield Section("Scores", (text,), Table(titles, cells))


def _measures(given: object) -> dict[str, str]:
    """Return the measures of a column as text, by name, without those that are no numbers."""
    pairs = given.items() if isinstance(given, dict) else ()
    return {clean(name): f"{value:,.3g}" for name, value in pairs if is_number(value)}


def _work(run: _Run) -> Iterator[Section]:
    return simulation(run.net)


def _network(run: _Run) -> Iterator[Section]:
    text = (
        "From its inputs on the left to its outputs on the right; a colour per activation. "
        "Inputs without connections are left out."
    )
    yield Section("The network", (text,), charts=[Chart("The network that was found.", _graph(run))])


def _graph(run: _Run) -> dict[str, Any]:
    net, layout = run.net, place(run.net)
    first, kinds = net.inputs + 1, [NAMES[kind - 1] for kind in net.act]
    known = run.results.get("input_names")
    names = node_names(net, known if isinstance(known, list) and len(known) == net.inputs else None)
    used = [k for k in names if k < first]
    texts = {k: clean(name, 18 if k < first else 14) for k, name in names.items() if k >= first or len(used) <= _NAMED}

    def at(k: int, **more: str) -> dict[str, Any]:
        return {"x": round(float(layout.x[k]), 3), "y": round(float(layout.y[k]), 3), **more}

    lines = [
        {"e": number, "o": order, "x": round(float(x), 3), "y": round(float(y), 3)}
        for number, route in enumerate(layout.routes)
        for order, (x, y) in enumerate(route)
    ]
    nodes = [at(first + k, kind=kind, name=kind) for k, kind in enumerate(kinds)]
    sources = [at(k, name=texts.get(k, "")) for k in used]
    outputs = [at(k, name=texts[k]) for k in names if k >= first]
    # Space for the names of inputs and outputs.
    wide = float(np.nanmax(layout.x)) or 1.0
    ends = [-(0.24 if any(each["name"] for each in sources) else 0.04) * wide, 1.2 * wide]
    place_at = {
        "x": channel("x", axis=None, domain=ends, nice=False, zero=False),
        "y": channel("y", axis=None, nice=False, zero=False, padding=14),
    }
    colour = _colours("kind", {name: _FILL[name] for name in NAMES if name in kinds}, "activation")
    colour["legend"] = {"symbolSize": 120, "symbolOpacity": 1}
    faint = float(np.clip(6 / math.sqrt(len(layout.routes) + 1), 0.25, 0.8))
    line = {"type": "line", "interpolate": "monotone", "color": "var(--faint)", "strokeWidth": 1, "opacity": faint}
    circle, text = {"type": "circle", "opacity": 1}, {"type": "text", "fontSize": 12}
    named = {**place_at, "text": {"field": "name"}}
    layers = [
        _layer(lines, line, **place_at, detail={"field": "e"}, order={"field": "o"}),
        _layer(sources, {**circle, "color": "var(--ink)", "size": 40}, **place_at),
        _layer(nodes, {**circle, "size": 190}, **place_at, color=colour),
        _layer(sources, {**text, "align": "right", "dx": -9}, **named),
        _layer(outputs, {**text, "align": "left", "dx": 12}, **named),
    ]
    if len(nodes) <= _LABELLED:
        layers.append(_layer(nodes, {**text, "dy": -14, "fontSize": 11, "color": "var(--faint)"}, **named))
    return {"height": float(np.clip(80 * layout.height, 220, 620)), "layer": layers}


def _weights(run: _Run) -> Iterator[Section]:
    if not run.results:
        return
    curve = run.results["curve"]
    values = [{"w": w, "r": r} for w, r in zip(curve["weights"], curve["rewards"], strict=True) if r is not None]
    x, y = channel("w", "shared weight of all connections"), channel("r", run.heading(run.measure), zero=False)
    rule = {"type": "rule", "strokeDash": [3, 4], "color": "var(--grey)"}
    layers = [
        _layer([{"w": w} for w in WEIGHTS], rule, x=x),
        _layer(values, {"type": "line", "strokeWidth": 2, "color": _TEAL}, x=x, y=y),
    ]
    text = "A network is weight agnostic if it works at every shared weight. Dotted: the six weights of the search."
    says = f"The network over the shared weight: {run.measure}."
    yield Section("One weight for all", (text,), charts=[Chart(says, {"height": 240, "layer": layers})])


def _search(run: _Run) -> Iterator[Section]:
    if not run.rows:
        return
    rewards = {"best": "best", "mean": "mean of all"}
    sizes = {"connections": "best of the generation", "chosen_connections": "chosen so far"}
    shown = [
        Chart("Reward over the generations.", _lines(run, run.heading("reward"), rewards)),
        Chart("Complexity over the generations.", _lines(run, "connections", sizes), wide=False),
    ]
    front = next((row["front"] for row in reversed(run.rows) if row.get("front")), [])
    pairs = front if isinstance(front, list) else []
    if pairs and all(isinstance(each, list) and len(each) == 2 and all(map(is_number, each)) for each in pairs):
        mark = {"type": "line", "interpolate": "step-after", "point": True, "color": _TEAL}
        x, y = channel("c", "connections", axis=_WHOLE), channel("r", run.heading("reward"), zero=False)
        spec = {"height": 220, **_layer([{"c": c, "r": r} for c, r in pairs], mark, x=x, y=y)}
        says = "Pareto front: the best validation reward with at most so many connections."
        shown.append(Chart(says, spec, wide=False))
    yield Section("The search", charts=shown)


def _lines(run: _Run, title: str, names: Mapping[str, str]) -> dict[str, Any]:
    step = max(1, len(run.rows) // 500)  # a chart has fewer pixels than a long search has generations
    values = [
        {"g": row["generation"], "y": row[column], "what": name}
        for column, name in names.items()
        for row in run.rows[::step]
        if is_number(row.get(column))
    ]
    x, y = channel("g", "generation", axis=_WHOLE), channel("y", title, zero=title == "connections")
    colour = _colours("what", dict(zip(names.values(), (_TEAL, "var(--orange)"), strict=True)))
    return {"height": 220, **_layer(values, {"type": "line", "strokeWidth": 2}, x=x, y=y, color=colour)}


def _colours(field: str, colours: Mapping[str, str], title: str | None = None) -> dict[str, Any]:
    return channel(field, title, "nominal", domain=[*colours], range=[*colours.values()])


def _layer(values: Sequence[Mapping[str, Any]], mark: Mapping[str, Any], **encoding: Any) -> dict[str, Any]:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _repeat(run: _Run) -> Iterator[Section]:
    facts = [f"seed: {clean(run.net.meta.get('seed'))}", f"generations: {clean(run.net.meta.get('generations'))}"]
    facts.append(machine_lines(run.machines))
    command = command_of("untrained wann", WannSettings(), run.settings)
    task = run.net.meta.get("task")
    code = [command, f"untrained wann eval {FOUND}{format_task_flag(clean(task)) if task else ''}", "\n".join(facts)]
    yield Section("Repeat the run", code=[line for line in code if line])
