"""A network at work on a page: its world runs in JavaScript, and the reader drags the weight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from untrained.export.browser.page import read_file
from untrained.files import atomic_write
from untrained.report.page import Live, Section, render
from untrained.terminal.text import clean
from untrained.wann.networks.net import Net

# Inputs and outputs in the worlds that playground/wann_physics.js has.
_WORLDS = {"swingup": (5, 1), "cartpole": (4, 1)}
_SCRIPTS = ("dom", *(f"playground/{name}" for name in "canvas wann_net wann_physics wann_picture wann_player".split()))
_START = """
const { task, weight, net } = JSON.parse(at("live-facts").textContent);
const typed = { act: Int8Array.from(net.act), edgePtr: Int32Array.from(net.edgePtr), src: Int32Array.from(net.src) };
const weights = net.weights && Float64Array.from(net.weights);
new WannPlayer(at("live")).play({ ...net, ...typed, weights }, new CartScene(wannEnvironments[task]), weight);
"""
# The colours of the player by their names on these pages, and what the playground has in its own style.
_STYLE = """
#live {
  --card: var(--ground); --page: var(--panel); --quiet: var(--faint); --for: var(--blue); --against: var(--orange);
  --track: var(--line);
}
#live .row { display: flex; flex-wrap: wrap; gap: 8px; }
#live .note { font-size: 14px; color: var(--faint); }
#live dl { display: grid; gap: 8px 24px; margin: 0; }
#live dt { font-size: 13px; color: var(--faint); }
#live dd { margin: 0; }
#live button { padding: 0 16px; }
"""


def simulation(net: Net) -> Iterator[Section]:
    """Yield a section in which the network works at the weight of a slider, if there is a world for its task."""
    task = net.meta.get("task")
    if not isinstance(task, str) or _WORLDS.get(task) != (net.inputs, net.outputs):
        return
    weight = net.meta.get("shared_weight")
    facts = {
        "task": task,
        "weight": weight if isinstance(weight, int | float) and abs(weight) <= 3 else 1.0,
        "net": _list_arrays(net),
    }
    scripts = "".join(map(read_file, (f"{name}.js" for name in _SCRIPTS)))
    style = read_file("playground/player.css") + _STYLE
    text = "Drag the weight that all connections share: nodes light up with their values, blue above 0, orange below."
    yield Section("The network at work", (text,), live=Live(facts, style, scripts + _START))


def _list_arrays(net: Net) -> dict[str, Any]:
    return {
        "inputs": net.inputs,
        "outputs": net.outputs,
        "act": net.act.tolist(),
        "edgePtr": net.edge_ptr.tolist(),
        "src": net.src.tolist(),
        "weights": None if net.weights is None else net.weights.tolist(),
    }


def write_simulation(net: Net, path: str | Path) -> None:
    """Write a page on which the network works at the weight of a slider.

    Raises:
        ValueError: there is no world in JavaScript for its task.
        OSError: it cannot be written.
    """
    sections = list(simulation(net))
    if not sections:
        task = clean(net.meta.get("task", "no task"))
        raise ValueError(f"a page has a world for {' and '.join(_WORLDS)}, and the network is for {task}")
    lead = f"{net.connections:,} connections, all with one shared weight: the architecture is the result of a search."
    with atomic_write(path) as unfinished:
        unfinished.write_text(render("A weight agnostic network", [lead], sections), encoding="utf-8", newline="\n")
