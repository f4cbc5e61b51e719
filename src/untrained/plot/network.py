"""Pictures of the network of a run: the subnetwork itself, and its first layer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from untrained.plot.figure import FOUND, empty
from untrained.plot.run import FONT, SMALL, class_names, layer_name, line_of
from untrained.runs.run import Run
from untrained.runs.weights import effective_of, frozen_of, signs_of
from untrained.search.run_files import TRACE
from untrained.search.trace import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

# The colour-blind tell them apart (Okabe and Ito).
PLUS, MINUS = "#0072b2", "#d55e00"
_INK, _DROPPED = "#2b2f36", "#d4d4d4"
# Layers side by side, and filters.
_ABREAST, _FILTERS, _PER_ROW = 5, 24, 6


def subnetwork(run: Run, epoch: int | None = None) -> Figure:
    """Draw the subnetwork: some units of some layers, and the edges between them that are kept.

    Where an edge is a single weight, it is coloured by its sign; where it is several, it is the fainter the fewer are
    kept. Layers of which one follows the other share the units between them; others stand by themselves.

    Args:
        run: the run; without a trace, what its ticket keeps is drawn.
        epoch: which, 0 being before the first step; default the last one that was noted.

    Raises:
        ValueError: the run has no trace of this epoch, or one that was made of other units.
        ImportError: matplotlib is not installed.
    """
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    line = line_of(run, epoch) if run.trace or epoch is not None else None
    last = line is None or line is run.trace[-1]
    samples, digits, kept = run.samples, {}, run.kept
    for sample in samples:
        if line is None:
            digits[sample.name] = sample.edges(run.ticket.codes[sample.name] != 0)
            continue
        said = digits[sample.name] = line["tensors"][sample.name].get("edges")
        kept[sample.name] = line["tensors"][sample.name]["kept"]
        if not isinstance(said, str) or not said.isascii() or len(said) != len(sample.outputs) * len(sample.inputs):
            raise ValueError(f"{run.folder}: its {TRACE} has other edges of {sample.name!r} than are drawn")

    rows = _in_rows(samples)
    widest = max(sum(len(chain) + 0.6 for chain in row) for row in rows)
    width = min(12.5, max(6.0, 1.2 + 2.1 * widest))
    signs = {sample.name: signs_of(run, sample, last=last) for sample in samples}
    told = textwrap.fill(_caption(run, None if line is None else line["epoch"], samples, signs), int(15 * width))
    figure = empty(width, 3.5 * len(rows) + 0.2 + 0.17 * told.count("\n"))
    figure.supxlabel(told, fontsize=FONT, x=0.02, ha="left")
    grid = figure.add_gridspec(len(rows), 1, hspace=0.06)
    for level, row in enumerate(rows):
        # What is left of a row stays empty, so that all layers are as wide.
        ratios = [len(chain) + 0.6 for chain in row]
        ratios += [widest - sum(ratios)] if sum(ratios) < widest - 0.5 else []
        inside = GridSpecFromSubplotSpec(1, len(ratios), grid[level], width_ratios=ratios)
        for number, chain in enumerate(row):
            axes = figure.add_subplot(inside[number])
            for stage, sample in enumerate(chain):
                _paint_edges(axes, stage, sample, digits[sample.name], signs[sample.name])
                text = f"{layer_name(sample.name, 18)}\n{_edge(sample)}\n{100 * kept[sample.name]:.3g} % kept"
                axes.text(stage + 0.5, 1.03, text, ha="center", va="bottom", fontsize=SMALL, parse_math=False)
            _paint_units(axes, chain)
            names = _output_names(run, chain[-1])
            for k, name in enumerate(names):
                y = _height(k, len(names))
                axes.text(len(chain) + 0.07, y, name, va="center", fontsize=SMALL, parse_math=False)
            axes.set(xlim=(-0.1, len(chain) + 0.1), ylim=(-0.01, 1.01))
            axes.set_axis_off()
    return figure


def filters(run: Run) -> Figure:
    """Draw the first layer as images, as it was drawn from the seed and as the mask leaves it.

    Args:
        run: the run.

    Raises:
        ValueError: the first layer has no image as its input, or its weights are a pretrained model's, which no ticket
            holds.
        ImportError: matplotlib is not installed.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    name = next(iter(run.kept))
    codes, entry = run.ticket.codes[name], run.ticket.tensors[name]
    shape = run.ticket.meta.get("shape")
    sides = tuple(shape) if isinstance(shape, list) and all(type(n) is int for n in shape) else ()
    if codes.ndim == 4 and math.prod(codes.shape[2:]) > 1:
        sides = tuple(codes.shape[1:])
    elif len(sides) != 3 or codes.shape[1:] != (math.prod(sides),):
        raise ValueError(f"{run.folder}: {name!r} of shape {entry.shape} does not look at images, so that it is none")
    if (frozen := frozen_of(run, name)) is None:
        raise ValueError(f"{run.folder}: the ticket does not hold the pretrained weights that it was found on")
    planes = len(frozen) if frozen.ndim > codes.ndim else 1
    before, after = frozen if planes == 1 else frozen[0], effective_of(run, name)
    limit = float(max(before.abs().max(), after.abs().max())) or 1.0
    scale, norm = LinearSegmentedColormap.from_list("signs", [MINUS, "white", PLUS]), Normalize(-limit, limit)

    count = min(_FILTERS, len(codes))
    few = -(-count // _PER_ROW)
    figure = empty(11, min(8.0, 0.75 + 4.9 * few / _PER_ROW * sides[1] / sides[2]))
    both = figure.subplots(1, 2)
    of_each = f", the first of {planes} for each" if planes > 1 else ""
    seen = f"{count} of {len(codes):,} units" if count < len(codes) else f"all {count} units"
    seen += f", the first of their {sides[0]} channels" if sides[0] > 1 else ""
    for axes, weight, mask, says in (
        (both[0], before, None, f"frozen random weights{of_each}"),
        (both[1], after, codes, "what the mask keeps of them (grey: dropped)"),
    ):
        units = weight[:count].reshape(count, *sides)[:, 0].float().numpy()
        pixels = scale(norm(units))[..., :3]
        if mask is not None:
            pixels[mask[:count].reshape(count, *sides)[:, 0].numpy() == 0] = [int(_DROPPED[1:3], 16) / 255] * 3
        axes.imshow(_mosaic(pixels), interpolation="nearest")
        axes.set_title(says, fontsize=FONT)
        axes.set_axis_off()
    figure.colorbar(ScalarMappable(norm, scale), ax=both, label="weight (no unit)", pad=0.02)
    figure.suptitle(f"{layer_name(name)}: {seen}", fontsize=FONT, parse_math=False)
    return figure


def _in_rows(samples: Sequence[Sample]) -> list[list[list[Sample]]]:
    """Chains of samples that follow each other, as many beside each other as there is room for."""
    chains: list[list[Sample]] = []
    for sample in samples:
        if sample.follows and chains:
            chains[-1].append(sample)
        else:
            chains.append([sample])
    rows: list[list[list[Sample]]] = []
    for chain in chains:
        if rows and sum(map(len, rows[-1])) + len(chain) <= _ABREAST:
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


def _paint_units(axes: Axes, chain: Sequence[Sample]) -> None:
    columns = [(len(chain[0].inputs), chain[0].shape[1], "channels" if len(chain[0].shape) > 2 else "inputs")]
    columns += [(len(s.outputs), s.shape[0], "channels" if len(s.shape) > 2 else "units") for s in chain]
    for x, (count, all_of_them, kind) in enumerate(columns):
        axes.scatter([x] * count, [_height(k, count) for k in range(count)], s=16, color=_INK, zorder=2)
        text = f"{count} of {all_of_them:,}" if count < all_of_them else f"{'all ' if count > 1 else ''}{count}"
        axes.text(x, -0.03, f"{text}\n{kind if all_of_them > 1 else kind[:-1]}", ha="center", va="top", fontsize=SMALL)


def _height(place: int, count: int) -> float:
    return 1 - (place + 0.5) / count


def _edge(sample: Sample) -> str:
    """What a line is."""
    if sample.weights_per_edge == 1:
        return "a line: one weight"
    if sample.group > 1:
        return f"a line: {sample.weights_per_edge:,} weights"
    return f"a line: {'×'.join(map(str, sample.shape[2:]))} kernel"


def _caption(run: Run, epoch: int | None, samples: Sequence[Sample], signs: dict[str, Tensor | None]) -> str:
    """What is shown, and what is not."""
    when = "What the ticket keeps" if epoch is None else f"What is kept after epoch {epoch}"
    told = [when if epoch != 0 else "What is kept before the first step"]
    if len(samples) < len(run.kept):
        told[0] += f", in {len(samples)} of {len(run.kept)} layers"
    told[0] += "; what is dropped is not drawn."
    if any(len(s.outputs) < s.shape[0] or len(s.inputs) * s.group < s.shape[1] for s in samples):
        told.append("Of large layers only some units are shown, evenly spaced, and only the edges between those.")
    if any(its is not None for its in signs.values()):
        told.append("Single weights are blue if positive, orange if negative.")
    if any(sample.weights_per_edge > 1 for sample in samples):
        told.append("A line of several weights is the darker, the more of them are kept.")
    if any(sample.follows for sample in samples):
        order = "by their names" if not run.trace else "as the model lists them"
        told.append(f"Layers are in order {order}, and joined where their sizes fit.")
    return " ".join(told)


def _output_names(run: Run, sample: Sample) -> list[str]:
    """The classes, where these are the outputs of the last layer."""
    names = run.ticket.meta.get("labels")
    if sample.name != list(run.kept)[-1] or not isinstance(names, list) or len(names) != sample.shape[0]:
        return []
    return class_names(run, 0, 14, among=sample.outputs)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Images (n, height, width, 3), beside each other with gaps."""
    larger = max(1, 24 // images.shape[2])
    images = images.repeat(larger, 1).repeat(larger, 2)
    rows = -(-len(images) // _PER_ROW)
    missing = rows * _PER_ROW - len(images)
    framed = np.pad(images, ((0, missing), (2, 2), (2, 2), (0, 0)), constant_values=1.0)
    framed = framed.reshape(rows, _PER_ROW, *framed.shape[1:])
    if missing:
        framed[-1, -missing:] = 1.0
    return framed.swapaxes(1, 2).reshape(rows * framed.shape[2], _PER_ROW * framed.shape[3], 3)
