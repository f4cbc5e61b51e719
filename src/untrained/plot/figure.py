"""What all pictures share: an empty figure, how it is saved, and colours. matplotlib comes with `untrained[plot]`."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from untrained.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

FOUND, TWIN, BASELINES = "#1b7f79", "#8a8a8a", ("#c97b2b", "#b2475f")
# Paul Tol's muted scheme: ten colours that colour-blind readers tell apart.
COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555",
)  # fmt: skip


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def empty(width: float, height: float) -> Figure:
    """An empty figure, so many inches wide and high, that lays itself out."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'untrained[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png")


def percent(shares: Iterable[float]) -> list[float]:
    """Shares in 0..1 as percent."""
    return [100 * share for share in shares]


def one_line(text: object, longest: int = 28) -> str:
    """One line of characters that the font has, not too long."""
    line = unicodedata.normalize("NFC", " ".join(str(text)[:1000].split()))
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    return "".join(character if _writable(character) else "\N{REPLACEMENT CHARACTER}" for character in line)


def heading(title: str) -> str:
    """A title's lines, each `one_line`."""
    return "\n".join(one_line(line, 110) for line in title.split("\n"))


def name_as_given(legend: Legend) -> None:
    """Read nothing in a legend as a formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _writable(character: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return character.isprintable() and get_font(findfont(FontProperties())).get_char_index(ord(character)) > 0
