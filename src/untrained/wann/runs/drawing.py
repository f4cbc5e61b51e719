"""The picture of a whole run: the network and, below it, the search, the front and the rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untrained.plot.figure import BASELINES, FONT, FOUND, INK, SMALL, TWIN, add_legend, one_line, open_frame
from untrained.wann.networks.drawing import FAINT, new_figure, paint_net, save
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tuning.columns import heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EARLIER = 6  # fronts drawn besides the last
_HEAD, _FOOT, _BELOW, _WIDE = 0.45, 3.4, 0.8, 13.0  # inches: title, panels, space below their axes, width
_MARKED = {"ms": 8, "mec": "white", "mew": 1.2, "zorder": 4}


def draw_run(
    path: str | Path | None,
    *,
    net: Net,
    names: Sequence[str] | None,
    rows: Sequence[Mapping[str, Any]],
    front: Sequence[tuple[int, float]],
    weights: Sequence[float] | np.ndarray,
    rewards: Sequence[float] | np.ndarray,
    measure: str,
    title: str,
    most: float | None = None,
) -> Figure:
    """Draw a whole run: the network; below it the search, the front and the reward over the shared weight.

    Args:
        path: a file to write, as for `draw_net`, or None.
        net: the network found.
        names: of its inputs.
        rows: one per generation, with "generation", "best" and "mean" (None where all broke down), and in some of them
            "front", the [connections, reward] that was reached.
        front: (connections, reward) of networks; the best of those as large as `net` is marked.
        weights: shared weights, (V,).
        rewards: of the network at these weights, (V,).
        measure: name of these rewards.
        title: above everything.
        most: greatest reward that there can be, if it is known.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: a row lacks one of these.
        ValueError: `names` are not one per input, or matplotlib does not write the format.
        OSError: the file cannot be written.
    """
    figure = new_figure()
    paint_net(figure, net, names, wide=_WIDE, head=_HEAD, foot=_FOOT)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(0.8 / width, _BELOW / height, 1 - 0.25 / width, (_FOOT - 0.35) / height, 0.22)
    left, middle, right = figure.subplots(1, 3)
    _paint_generations(left, rows)
    _paint_front(middle, front, net.connections, [row["front"] for row in rows if row.get("front")])
    _paint_weights(right, np.asarray(weights, float), np.asarray(rewards, float), measure)
    for axes in (left, middle, right):
        axes.set_ylabel(heading("reward", most), fontsize=FONT, color=INK)
    line = one_line(title, int(width * 8))  # as long as the picture is wide
    figure.text(0.5, 1 - 0.3 / height, line, ha="center", va="center", fontsize=13, color=INK, parse_math=False)
    save(figure, path)
    return figure


def _paint_generations(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    x = [row["generation"] for row in rows]
    best, mean = (np.array([row[name] for row in rows], float) for name in ("best", "mean"))
    axes.plot(x, best, color=FOUND, lw=2, label="best")
    axes.plot(x, mean, color=TWIN, lw=1.2, label="mean of all")
    _finish(axes, "reward over generations", "generation", empty=not rows)


def _paint_front(
    axes: Axes, front: Sequence[tuple[int, float]], connections: int, earlier: Sequence[Sequence[Sequence[float]]]
) -> None:
    """Paint the best reward with at most so many connections, at first, later and at last; and mark the network."""
    from matplotlib.ticker import MaxNLocator

    # At generations that grow by a factor, as progress slows down.
    shown = sorted({int(place) for place in np.geomspace(1, len(earlier), _EARLIER)}) if earlier else []
    for number, place in enumerate(shown):
        label = "earlier" if number == len(shown) - 1 else None
        x, y = np.array(earlier[place - 1]).T
        axes.step(x, y, where="post", color=FOUND, lw=1, alpha=0.15 + 0.45 * number / len(shown), label=label)
    finite = sorted((size, reward) for size, reward in front if np.isfinite(reward))
    x, y = np.array(finite).reshape(-1, 2).T
    axes.step(x, np.maximum.accumulate(y), where="post", color=FOUND, lw=2, label="at the end")
    axes.plot(x, y, "o", color=INK, ms=4, zorder=3)
    if connections in x:
        best = y[x == connections].max()
        axes.plot(connections, best, "o", color=BASELINES[0], label="this network", **{**_MARKED, "ms": 9})
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, "reward against size", "connections", empty=not finite)


def _paint_weights(axes: Axes, weights: np.ndarray, rewards: np.ndarray, measure: str) -> None:
    """Paint the reward over the shared weight, and mark the best."""
    label = one_line(measure).lstrip("_") or "reward"  # a legend leaves out labels that begin with _
    for weight in WEIGHTS if len(weights) else ():
        axes.axvline(weight, color=TWIN, lw=0.8, ls=(0, (2, 3)), zorder=0)
    if np.isfinite(rewards).any():
        best = int(np.where(np.isfinite(rewards), rewards, -np.inf).argmax())
        label += f": best {rewards[best]:.4g} at {weights[best]:.2f}".replace("-", "−")
        axes.plot(weights[best], rewards[best], "o", color=FOUND, **_MARKED)
    axes.plot(weights, rewards, color=FOUND, lw=2, label=label)
    what = "shared weight (dotted: the six standard ones)"
    _finish(axes, "reward over the shared weight", what, empty=not len(weights))


def _finish(axes: Axes, title: str, x: str, *, empty: bool) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=FONT, color=INK)
    axes.tick_params(labelsize=SMALL)
    open_frame(axes)
    axes.margins(x=0.03, y=0.08)
    if empty:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, ha="center", fontsize=SMALL, color=FAINT)
        return
    # Below the axes, where it covers no curve.
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 3, "handlelength": 1.6}
    add_legend(axes, fontsize=SMALL, **below)
