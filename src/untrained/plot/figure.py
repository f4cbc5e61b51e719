"""Parts shared by all pictures: an empty figure, its file, colours, and text that the font can write."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untrained.files import atomic_write
from untrained.terminal.extras import install_command
from untrained.terminal.text import REPLACEMENT, clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND, TWIN, BASELINES = "#1b7f79", "#8a8a8a", ("#c97b2b", "#b2475f")
# Signs of weights (Okabe and Ito), and methods (Paul Tol's muted scheme): colour-blind readers tell them apart.
PLUS, MINUS = "#0072b2", "#d55e00"
COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555",
)  # fmt: skip
INK, DROPPED = "#2b2f36", "#d4d4d4"
SMALL, FONT = 8, 9  # points; no text is smaller


def available() -> bool:
    """Return True if matplotlib is installed.

    Example:
        >>> ut.plot.available()
        True
    """
    return importlib.util.find_spec("matplotlib") is not None


def empty(width: float, height: float, **options: Any) -> Figure:
    """Return an empty figure of this size in inches, with automatic layout unless `options` change that."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"pictures need matplotlib: {install_command('plot')}") from None
    return Figure(**{"figsize": (width, height), "layout": "constrained"} | options)


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Example:
        >>> import os; from matplotlib.figure import Figure
        >>> ut.plot.save(Figure(), "empty.png")
        >>> os.path.exists("empty.png")
        True
    """
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")


def percent(shares: Iterable[float]) -> list[float]:
    """Return shares in 0..1 as percent."""
    return [100 * share for share in shares]


def one_line(text: object, longest: int = 28) -> str:
    """Return a text like `clean`, and also without characters that the font of pictures lacks."""
    line = clean(text, longest)
    return line if line.isascii() else "".join(c if _has_glyph(c) else REPLACEMENT for c in line)


def heading(title: str) -> str:
    """Return the lines of a title, each cleaned by `one_line`."""
    return "\n".join(one_line(line, 110) for line in title.split("\n"))


def add_legend(place: Axes | Figure, *entries: Any, **options: Any) -> None:
    """Add a legend without a frame, in which no text is read as a formula."""
    for text in place.legend(*entries, **{"frameon": False} | options).get_texts():
        text.set_parse_math(False)


def open_frame(axes: Axes, *, grid: bool = False) -> None:
    """Leave out the lines above and to the right of the axes, and add a light grid if asked for."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(alpha=0.25)


def _has_glyph(character: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties())).get_char_index(ord(character)) > 0
