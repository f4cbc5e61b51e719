"""The picture of one search, at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from untrained.plot.figure import BASELINES, FOUND, TWIN, empty, heading, one_line, percent
from untrained.search.fit import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILTERS = 24


def search(
    title: str,
    found: History,
    twin: History | None,
    baselines: Mapping[str, float],
    kept: Mapping[str, float],
    before: Tensor,
    after: Tensor,
    shape: tuple[int, int, int],
) -> Figure:
    """Draw one search: accuracy over epochs, what each layer keeps, the first layer before and after.

    Args:
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
    figure = empty(11, 7.5)
    figure.suptitle(heading(title), parse_math=False)
    above, below = (figure.add_subfigure(spec) for spec in figure.add_gridspec(2, 1))
    curves, bars = above.subplots(1, 2, width_ratios=(3, 2))

    epochs = found.column("epoch")
    curves.plot(epochs, percent(found.column("val_accuracy")), color=FOUND, lw=2.5, label="found subnetwork")
    if twin is not None:
        curves.plot(epochs, percent(twin.column("val_accuracy")), color=TWIN, lw=1.5, label="trained twin")
    for (name, accuracy), colour in zip(baselines.items(), BASELINES, strict=False):
        curves.axhline(100 * accuracy, color=colour, lw=1.5, ls="--", label=name)
    curves.set(xlabel="epoch", ylabel="accuracy on validation data, %", ylim=(0, 102))
    curves.xaxis.get_major_locator().set_params(integer=True)
    curves.legend(loc="center right", frameon=False)

    names = [one_line(name.removesuffix(".weight"), 60) for name in kept]
    bars.barh(range(len(kept)), percent(kept.values()), color=FOUND)
    bars.set(xlabel="weights kept, %", xlim=(0, 100), ylim=(len(kept) - 0.5, -0.5))
    bars.set_yticks(range(len(kept)), names, fontsize=8 if len(names) < 20 else 5, parse_math=False)
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
    return figure


def _as_images(weight: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The weights of the first units as (units, height, width); of several channels the first."""
    units = weight[:_FILTERS].float()
    if units.ndim == 4:
        return units[:, 0]
    if units.shape[1] == math.prod(shape):
        return units.view(-1, *shape)[:, 0]
    return torch.unsqueeze(units, 1)
