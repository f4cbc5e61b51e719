"""The film of a search on a page: its accuracy, the answer to one image, and the first layer, epoch by epoch."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

from torch import Tensor

from untrained.export.browser.page import read_file
from untrained.methods.base import Method
from untrained.report.charts import short_names
from untrained.report.page import Live
from untrained.report.pixels import photograph
from untrained.runs.film import read_image, unpack
from untrained.runs.run import Run
from untrained.runs.weights import first_layer

_MOST_BARS = 10


def show_film(run: Run) -> Live | None:
    """Return what moves with the slider over the epochs of the trace; None if the run has no film."""
    if not run.film or not run.trace:
        return None
    by_epoch = {line["epoch"]: line for line in run.film}
    lines = [by_epoch.get(traced["epoch"], {}) for traced in run.trace]
    tiles = _draw_tiles(run)
    facts: dict[str, Any] = {
        "accuracy": [line.get("accuracy") for line in lines],
        "answer": _list_answers(run, lines),
        "tiles": tiles,
        "masks": [_check_mask(line, tiles) for line in lines],
    }
    if (image := read_image(run.film[0])) is not None and facts["answer"]:
        facts["image"] = photograph(image)
    package = files("untrained.report")
    style = package.joinpath("film.css").read_text(encoding="utf-8") + read_file("answer.css")
    script = read_file("dom.js") + read_file("answer.js") + package.joinpath("film.js").read_text(encoding="utf-8")
    return Live(facts, style, script)


def _list_answers(run: Run, lines: list[Any]) -> dict[str, Any] | None:
    """Return the probabilities of at most ten classes in each epoch, with the classes' names and the true one."""
    answers = [line.get("answer") for line in lines]
    last = next((answer for answer in reversed(answers) if answer), None)
    if last is None:
        return None
    names = run.labels if len(run.labels) == len(last) else [str(number) for number in range(len(last))]
    ranked = sorted(range(len(last)), key=lambda label: -last[label])[:_MOST_BARS]
    label = run.film[0].get("label")
    true = label if type(label) is int and 0 <= label < len(last) else None
    if true is not None and true not in ranked:
        ranked[-1] = true
    chosen = sorted(ranked)
    names = short_names(names, 16)
    return {
        "labels": [names[label] for label in chosen],
        "shares": [answer and [answer[label] for label in chosen] for answer in answers],
        "true": None if true is None else names[true],
        "of": len(last),
    }


def _draw_tiles(run: Run) -> dict[str, Any] | None:
    """Return the frozen weights of the first layer's images, ±127 the largest; None if masks do not say all of them."""
    try:
        layer = first_layer(run)
    except ValueError:
        return None
    method = run.ticket.tensors[layer.name].method
    assert method is not None  # it has codes
    if type(method).decode is not Method.decode or type(method).frozen is not Method.frozen:
        return None
    weights = (127 * layer.frozen / (float(layer.frozen.abs().max()) or 1)).round().char()
    count, height, width = layer.frozen.shape
    return {"count": count, "height": height, "width": width, "weights": _encode(weights), "units": layer.units}


def _check_mask(line: Any, tiles: dict[str, Any] | None) -> str | None:
    if tiles is None:
        return None
    mask = line.get("mask")
    return mask if unpack(mask, tiles["count"] * tiles["height"] * tiles["width"]) is not None else None


def _encode(weights: Tensor) -> str:
    return base64.b64encode(weights.contiguous().numpy().tobytes()).decode()
