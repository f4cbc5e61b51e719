"""A page about a run, as one HTML file: sections of text, tables, pictures and Vega-Lite charts, and a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, final

from jinja2 import Environment, StrictUndefined


@final
@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart.

    Attributes:
        says: what it shows, in a sentence: its caption, and its name for those who do not see it.
        spec: its specification, without width and colours, which are the page's.
        wide: whether it takes a whole line.
    """

    says: str
    spec: Mapping[str, Any]
    wide: bool = True


@final
@dataclass(frozen=True)
class Table:
    """A table: its first column names the rows, the others are numbers."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    says: str = ""
    bold: int | None = None


@final
@dataclass(frozen=True)
class Image:
    """A small picture made of pixels, given as a data URI."""

    source: str
    says: str
    caption: str = ""


@final
@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: paragraphs.
        table: a table, below the text.
        charts: charts, below that.
        images: rows of images, each under a line of its own.
        code: what can be typed.
        steps: what a slider goes through; the charts' parameter `epoch` is the place in this list.
    """

    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    charts: Sequence[Chart] = ()
    images: Sequence[tuple[str, Sequence[Image]]] = ()
    code: Sequence[str] = ()
    steps: Sequence[str] = ()


def render(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The page as HTML. All text is escaped: names of classes may come from anybody.

    Args:
        title: of the page.
        lead: paragraphs below it.
        sections: what follows.
    """
    room = files("untrained.report")
    charts = [chart for section in sections for chart in section.charts]
    vega = [_script(name) for name in ("vega.min.js", "vega-lite.min.js")] if charts else []
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # A browser's JSON has no NaN, and would draw nothing at all.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    template = environment.from_string(room.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        lead=lead,
        sections=sections,
        specs=[chart.spec for chart in charts],
        numbers={id(chart): number for number, chart in enumerate(charts)},
        id=id,
        css=room.joinpath("page.css").read_text(encoding="utf-8"),
        script=room.joinpath("page.js").read_text(encoding="utf-8"),
        vega=vega,
    )


def _script(name: str) -> str:
    text = files("untrained.report").joinpath("vega", name).read_text(encoding="utf-8")
    # A browser's developer tools would ask for the map.
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))
