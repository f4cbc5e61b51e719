"""Pictures, for those who have matplotlib: `pip install untrained[plot]`."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from untrained.grid import Line
from untrained.search import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOUND, _TWIN, _BASELINES = "#1b7f79", "#8a8a8a", ("#c97b2b", "#b2475f")
_FILTERS = 24
# Paul Tol's muted scheme.
_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555",
)  # fmt: skip


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def _figure(width: float, height: float) -> Figure:
    """An empty figure, so many inches wide and high, that lays itself out."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'untrained[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def draw_search(
    path: Path,
    *,
    title: str,
    found: History,
    twin: History | None,
    baselines: Mapping[str, float],
    kept: Mapping[str, float],
    before: Tensor,
    after: Tensor,
    shape: tuple[int, int, int],
) -> None:
    """Draw one search: accuracy over epochs, what each layer keeps, the first layer before and after.

    Args:
        path: the PNG file to write.
        title: above everything.
        found: history of the search.
        twin: history of the network with its weights trained.
        baselines: validation accuracy of networks that learn nothing, drawn as lines.
        kept: fraction kept of every masked tensor.
        before: first weight of the frozen network, (units, …).
        after: the same with the mask, same shape.
        shape: (channels, height, width) of the images, to show a fully connected layer's rows as images.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(11, 7.5)
    figure.suptitle(title)
    above, below = (figure.add_subfigure(spec) for spec in figure.add_gridspec(2, 1))
    curves, bars = above.subplots(1, 2, width_ratios=(3, 2))

    epochs = found.column("epoch")
    curves.plot(epochs, _percent(found.column("val_accuracy")), color=_FOUND, lw=2.5, label="found subnetwork")
    if twin is not None:
        curves.plot(epochs, _percent(twin.column("val_accuracy")), color=_TWIN, lw=1.5, label="trained twin")
    for (name, accuracy), colour in zip(baselines.items(), _BASELINES, strict=False):
        curves.axhline(100 * accuracy, color=colour, lw=1.5, ls="--", label=name)
    curves.set(xlabel="epoch", ylabel="accuracy on validation data, %", ylim=(0, 102))
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(loc="center right", frameon=False)

    names = [name.removesuffix(".weight") for name in kept]
    bars.barh(range(len(kept)), _percent(kept.values()), color=_FOUND)
    bars.set(xlabel="weights kept, %", xlim=(0, 100), ylim=(len(kept) - 0.5, -0.5))
    bars.set_yticks(range(len(kept)), names, fontsize=8 if len(names) < 20 else 5)
    for axes in (curves, bars):
        axes.spines[["top", "right"]].set_visible(False)

    for panel, weight, says in zip(
        (below.add_subfigure(spec) for spec in below.add_gridspec(1, 2)),
        (before, after),
        ("frozen random weights", "what the mask keeps of them"),
        strict=True,
    ):
        panel.suptitle(f"first layer: {says}", fontsize="medium")
        limit = float(before.abs().max())
        for axes, picture in zip(panel.subplots(4, _FILTERS // 4).flat, _as_images(weight, shape), strict=False):
            axes.imshow(picture.numpy(), cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
        for axes in panel.axes:
            axes.set_axis_off()
    figure.savefig(path, dpi=110, format="png")


def draw_comparison(path: Path, title: str, lines: Sequence[Line]) -> None:
    """Draw test accuracy against bytes shipped: a point per method and fraction kept, bars of one standard deviation.

    Args:
        path: the PNG file to write.
        title: above everything.
        lines: the table; lines without a search that went well are left out.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(10, 6.5)
    axes = figure.subplots()
    by_method: dict[str, list[Line]] = {}
    for line in lines:
        if line.seeds:
            by_method.setdefault(line.method, []).append(line)
    for number, (method, its) in enumerate(by_method.items()):
        # Ten colours that colour-blind readers tell apart, and a marker for each round of them.
        colour, marker = _COLOURS[number % len(_COLOURS)], "osD^v"[number // len(_COLOURS) % 5]
        its = sorted(its, key=lambda line: line.file_bytes)
        sizes, accuracies = [line.file_bytes for line in its], _percent(line.accuracy for line in its)
        spread = _percent(line.std for line in its)
        axes.errorbar(
            sizes, accuracies, yerr=spread, color=colour, marker=marker, ms=7, lw=1.2, capsize=2, label=_short(method)
        )
        for line, size, accuracy in zip(its, sizes, accuracies, strict=True):
            if line.keep is not None:
                axes.annotate(f"{line.keep:g}", (size, accuracy), (4, 4), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="bytes to ship", ylabel="accuracy on test data, %", title=title)
    good = [100 * line.accuracy for line in lines if line.seeds and line.accuracy > 0.6]
    if good:
        # A random subnetwork at 10 % would squeeze all the others into one line.
        axes.set_ylim(min(good) - 1, min(100.0, max(good) + 0.6))
    below = [
        method for method, its in by_method.items() if good and all(100 * line.accuracy < min(good) for line in its)
    ]
    if below:
        axes.text(
            0.01,
            0.01,
            f"below the picture: {', '.join(map(_short, below))[:140]}",
            transform=axes.transAxes,
            fontsize=8,
        )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if by_method:
        figure.legend(loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"…{name[-35:]}"


def _percent(shares: Iterable[float]) -> list[float]:
    return [100 * share for share in shares]


def _as_images(weight: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The weights of the first units as (units, height, width); of several channels the first."""
    units = weight[:_FILTERS].float()
    if units.ndim == 4:
        return units[:, 0]
    if units.shape[1] == math.prod(shape):
        return units.view(-1, *shape)[:, 0]
    return torch.unsqueeze(units, 1)
