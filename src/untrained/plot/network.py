"""Pictures of the network of a run: the subnetwork, its first layer, and an overview of the whole run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from untrained.plot.figure import (
    DROPPED,
    FONT,
    FOUND,
    INK,
    MINUS,
    PLUS,
    SMALL,
    add_legend,
    empty,
    heading,
)  # fmt: skip
from untrained.plot.run import class_names, layer_name, line_of, paint_curves, paint_kept
from untrained.runs.run import Run
from untrained.runs.weights import FirstLayer, first_layer, signs_of
from untrained.search.trace import Sample
from untrained.tickets.networks import name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from torch import Tensor

_LAYERS, _IMAGES = 5, 6  # side by side


def overview(run: Run) -> Figure:
    """Draw an overview of a run: accuracy over the epochs, weights kept, and the first layer before and after.

    The first layer is left out if it cannot be shown as images.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=1, out="run", title=None)
        >>> len(ut.plot.overview(ut.read_run("run")).axes)
        2
    """
    try:
        layer = first_layer(run)
    except ValueError:
        layer = None
    figure = empty(11, 4.0 if layer is None else 7.75)
    figure.suptitle(heading(_title(run)), parse_math=False)
    rows = figure.add_gridspec(1 if layer is None else 2, 1, height_ratios=None if layer is None else (1, 1.05))
    curves, bars = figure.add_subfigure(rows[0]).subplots(1, 2, width_ratios=(3, 2))
    paint_curves(curves, run)
    add_legend(curves, loc="center right")
    paint_kept(bars, run, height=3)
    if layer is not None:
        _paint_first_layer(figure.add_subfigure(rows[1]).subplots(1, 2), layer, "first layer: ")
    return figure


def subnetwork(run: Run, epoch: int | None = None) -> Figure:
    """Draw some units of some layers, and the edges between them that are kept.

    An edge of a single weight has the colour of its sign; an edge of several is the fainter the fewer are kept. Layers
    that follow each other share the units between them; others stand by themselves.

    Args:
        run: the run; without a trace, the edges are those of its ticket.
        epoch: the epoch, 0 for before the first step; default the last one in the trace.

    Raises:
        ValueError: the run has no trace of this epoch.

    Example:
        >>> model = ut.mask_(nn.Linear(64, 10), ut.EdgePopup(), seed=0)
        >>> _ = ut.fit(model, [(torch.randn(8, 64), torch.arange(8))], epochs=1, out="run", title=None)
        >>> len(ut.plot.subnetwork(ut.read_run("run"), epoch=0).axes)
        1
    """
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    line = line_of(run, epoch) if run.trace or epoch is not None else None
    last = line is None or line is run.trace[-1]
    samples = run.samples
    if line is None:
        kept, edges = run.kept, {s.name: s.edges(run.ticket.codes[s.name] != 0) for s in samples}
    else:
        kept, edges = ({name: its.get(key) for name, its in line["tensors"].items()} for key in ("kept", "edges"))
    rows = _in_rows(samples)
    widest = max(sum(len(chain) + 0.6 for chain in row) for row in rows)
    width = min(12.5, max(6.0, 1.2 + 2.1 * widest))
    signs = {sample.name: signs_of(run, sample, last=last) for sample in samples}
    caption = textwrap.fill(_caption(run, None if line is None else line["epoch"], samples, signs), int(15 * width))
    figure = empty(width, 3.5 * len(rows) + 0.2 + 0.17 * caption.count("\n"))
    figure.supxlabel(caption, fontsize=FONT, x=0.02, ha="left")
    grid = figure.add_gridspec(len(rows), 1, hspace=0.06)
    for level, row in enumerate(rows):
        # The rest of a row stays empty, so that all layers are equally wide.
        ratios = [len(chain) + 0.6 for chain in row]
        ratios += [widest - sum(ratios)] if sum(ratios) < widest - 0.5 else []
        inside = GridSpecFromSubplotSpec(1, len(ratios), grid[level], width_ratios=ratios)
        for number, chain in enumerate(row):
            axes = figure.add_subplot(inside[number])
            for stage, sample in enumerate(chain):
                _paint_edges(axes, stage, sample, edges[sample.name], signs[sample.name])
                text = f"{layer_name(sample.name, 18)}\n{_edge(sample)}\n{100 * kept[sample.name]:.3g} % kept"
                axes.text(stage + 0.5, 1.03, text, ha="center", va="bottom", fontsize=SMALL, parse_math=False)
            _paint_units(axes, chain, _output_names(run, chain[-1]))
            axes.set(xlim=(-0.1, len(chain) + 0.1), ylim=(-0.01, 1.01))
            axes.set_axis_off()
    return figure


def filters(run: Run) -> Figure:
    """Draw the first layer as images: the frozen weights, and the weights that the mask keeps.

    Raises:
        ValueError: the inputs of the first layer are no images, or its weights are a pretrained model's, which no
            ticket holds.

    Example:
        >>> model = ut.mask_(nn.Conv2d(1, 8, 3), ut.EdgePopup(), seed=0)
        >>> ut.save(model, "found.ticket")
        >>> len(ut.plot.filters(ut.read_run(".")).axes)
        3
    """
    from matplotlib.cm import ScalarMappable

    layer = first_layer(run)
    rows, (_, height, width) = -(-len(layer.frozen) // _IMAGES), layer.frozen.shape
    figure = empty(11, min(8.0, 0.75 + 4.9 * rows / _IMAGES * height / width))
    both = figure.subplots(1, 2)
    norm, colours = _paint_first_layer(both, layer)
    figure.colorbar(ScalarMappable(norm, colours), ax=both, label="weight (no unit)", pad=0.02)
    count = len(layer.frozen)
    shown = f"{count} of {layer.units:,} units" if count < layer.units else f"all {count} units"
    shown += f", the first of their {layer.channels} channels" if layer.channels > 1 else ""
    figure.suptitle(f"{layer_name(layer.name)}: {shown}", fontsize=FONT, parse_math=False)
    return figure


def _paint_first_layer(both: Sequence[Axes], layer: FirstLayer, prefix: str = "") -> tuple[Normalize, Colormap]:
    """Paint the frozen weights and those in use, each as one image; return the scale and the colour map."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb

    limit = float(max(layer.frozen.abs().max(), layer.effective.abs().max())) or 1.0
    norm, colours = Normalize(-limit, limit), LinearSegmentedColormap.from_list("signs", [MINUS, "white", PLUS])
    before = colours(norm(layer.frozen.numpy()))[..., :3]
    after = colours(norm(layer.effective.numpy()))[..., :3]
    after[~layer.mask.numpy()] = to_rgb(DROPPED)
    draws = f", the first of {layer.draws} for each" if layer.draws > 1 else ""
    titles = f"frozen random weights{draws}", "what the mask keeps of them (grey: dropped)"
    for axes, pixels, title in zip(both, (before, after), titles, strict=True):
        axes.imshow(_mosaic(pixels), interpolation="nearest")
        axes.set_title(prefix + title, fontsize=FONT)
        axes.set_axis_off()
    return norm, colours


def _title(run: Run) -> str:
    """Return the network, its data, its method and the share of weights kept, as far as the run has them."""
    data = run.ticket.meta.get("data")
    title = name_of(run.ticket) or "a network"
    title += f" on {Path(data).name}" if isinstance(data, str) else ""
    methods = {type(entry.method).__name__ for entry in run.ticket.tensors.values() if entry.method is not None}
    method = run.settings.get("method") or ", ".join(sorted(methods))
    masks = [codes != 0 for codes in run.ticket.codes.values()]
    kept = sum(int(mask.sum()) for mask in masks) / max(1, sum(mask.numel() for mask in masks))
    return f"{title}, {method}, {kept:.1%} kept"


def _in_rows(samples: Sequence[Sample]) -> list[list[list[Sample]]]:
    """Return chains of samples that follow each other, in rows of at most five layers."""
    chains: list[list[Sample]] = []
    for sample in samples:
        if sample.follows and chains:
            chains[-1].append(sample)
        else:
            chains.append([sample])
    rows: list[list[list[Sample]]] = []
    for chain in chains:
        if rows and sum(map(len, rows[-1])) + len(chain) <= _LAYERS:
            rows[-1].append(chain)
        else:
            rows.append([chain])
    return rows


def _paint_edges(axes: Axes, stage: int, sample: Sample, digits: str, signs: Tensor | None) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    segments, colours = [], []
    kept = np.array(list(map(int, digits))).reshape(len(sample.outputs), len(sample.inputs))
    for o, i in zip(*kept.nonzero(), strict=True):
        segments.append([(stage, _height(i, len(sample.inputs))), (stage + 1, _height(o, len(sample.outputs)))])
        sign = 0 if signs is None else signs[o, i]
        colours.append(to_rgba(PLUS if sign > 0 else MINUS if sign < 0 else FOUND, float(kept[o, i]) / 9))
    axes.add_collection(LineCollection(segments, colors=colours, linewidths=0.9, zorder=1)).set_gid("edges")


def _paint_units(axes: Axes, chain: Sequence[Sample], names: Sequence[str]) -> None:
    columns = [(len(chain[0].inputs), chain[0].shape[1], "channels" if len(chain[0].shape) > 2 else "inputs")]
    columns += [(len(s.outputs), s.shape[0], "channels" if len(s.shape) > 2 else "units") for s in chain]
    for x, (count, total, kind) in enumerate(columns):
        axes.scatter([x] * count, [_height(k, count) for k in range(count)], s=16, color=INK, zorder=2)
        text = f"{count} of {total:,}" if count < total else f"{'all ' if count > 1 else ''}{count}"
        axes.text(x, -0.03, f"{text}\n{kind if total > 1 else kind[:-1]}", ha="center", va="top", fontsize=SMALL)
    for k, name in enumerate(names):
        y = _height(k, len(names))
        axes.text(len(chain) + 0.07, y, name, va="center", fontsize=SMALL, parse_math=False)


def _height(place: int, count: int) -> float:
    return 1 - (place + 0.5) / count


def _edge(sample: Sample) -> str:
    """Return a text with the number of weights that a line stands for."""
    if sample.weights_per_edge == 1:
        return "a line: one weight"
    if sample.group > 1:
        return f"a line: {sample.weights_per_edge:,} weights"
    return f"a line: {'×'.join(map(str, sample.shape[2:]))} kernel"


def _caption(run: Run, epoch: int | None, samples: Sequence[Sample], signs: dict[str, Tensor | None]) -> str:
    """Return the caption: the parts that are shown, and those that are not."""
    when = "What the ticket keeps" if epoch is None else f"What is kept after epoch {epoch}"
    text = [when if epoch != 0 else "What is kept before the first step"]
    if len(samples) < len(run.kept):
        text[0] += f", in {len(samples)} of {len(run.kept)} layers"
    text[0] += "; what is dropped is not drawn."
    if any(len(s.outputs) < s.shape[0] or len(s.inputs) * s.group < s.shape[1] for s in samples):
        text.append("Of large layers only some units are shown, evenly spaced, and only the edges between those.")
    if any(its is not None for its in signs.values()):
        text.append("Single weights are blue if positive, orange if negative.")
    if any(sample.weights_per_edge > 1 for sample in samples):
        text.append("A line of several weights is the darker, the more of them are kept.")
    if any(sample.follows for sample in samples):
        order = "by their names" if not run.trace else "as the model lists them"
        text.append(f"Layers are in order {order}, and joined where their sizes fit.")
    return " ".join(text)


def _output_names(run: Run, sample: Sample) -> list[str]:
    """Return the names of the classes if these are the outputs of the last layer."""
    names = run.ticket.meta.get("labels")
    if sample.name != list(run.kept)[-1] or not isinstance(names, list) or len(names) != sample.shape[0]:
        return []
    return class_names(run, sample.outputs, 14)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Return images (n, height, width, 3) side by side with gaps, as one image."""
    larger = max(1, 24 // images.shape[2])
    images = images.repeat(larger, 1).repeat(larger, 2)
    rows = -(-len(images) // _IMAGES)
    missing = rows * _IMAGES - len(images)
    framed = np.pad(images, ((0, missing), (2, 2), (2, 2), (0, 0)), constant_values=1.0)
    framed = framed.reshape(rows, _IMAGES, *framed.shape[1:])
    if missing:
        framed[-1, -missing:] = 1.0
    return framed.swapaxes(1, 2).reshape(rows * framed.shape[2], _IMAGES * framed.shape[3], 3)
