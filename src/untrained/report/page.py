"""A page as one HTML file: sections of text, tables, images and Vega-Lite charts, and a template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, final

from jinja2 import Environment, StrictUndefined

from untrained.export.browser.head import write_head


@final
@dataclass(frozen=True)
class Chart:
    """Vega-Lite chart.

    Attributes:
        caption: a sentence about it, which screen readers read instead of its marks.
        spec: specification without width and colours, which the page sets.
        wide: True for a whole line of the page.
    """

    caption: str
    spec: Mapping[str, Any]
    wide: bool = True


@final
@dataclass(frozen=True)
class Table:
    """Table whose first column names the rows; the others are numbers."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: int | None = None


@final
@dataclass(frozen=True)
class Image:
    """Small image of pixels: a data URI, a description for screen readers, and a caption."""

    source: str
    description: str
    caption: str = ""


@final
@dataclass(frozen=True)
class Live:
    """Something that runs on the page, in the element `live`; `facts` are the JSON in the element `live-facts`."""

    facts: Mapping[str, Any]
    css: str
    script: str


@final
@dataclass(frozen=True)
class Section:
    """Part of the page.

    Attributes:
        title: heading.
        text: paragraphs.
        table: table below the text.
        charts: charts below that.
        images: (heading, images) of each row.
        code: lines to type.
        live: something that runs below the text; one of a page at most.
        steps: names of the slider's places; the charts' parameter `epoch` is the number of the place.
    """

    title: str
    text: Sequence[str] = ()
    table: Table | None = None
    charts: Sequence[Chart] = ()
    images: Sequence[tuple[str, Sequence[Image]]] = ()
    code: Sequence[str] = ()
    steps: Sequence[str] = ()
    live: Live | None = None


def render(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page as HTML; `lead` are the paragraphs below the title. All text is escaped: it may be hostile."""
    package = files("untrained.report")
    charts = [chart for section in sections for chart in section.charts]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # JSON has no NaN: a browser would draw no chart at all.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    template = environment.from_string(package.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        head=write_head(title, lead[0] if lead else ""),
        lead=lead,
        sections=sections,
        specs=[chart.spec for chart in charts],
        numbers={id(chart): number for number, chart in enumerate(charts)},
        id=id,
        css=package.joinpath("page.css").read_text(encoding="utf-8"),
        script=package.joinpath("page.js").read_text(encoding="utf-8"),
        live=next((section.live for section in sections if section.live), None),
        vega=[_script(name) for name in ("vega.min.js", "vega-lite.min.js")] if charts else [],
    )


def _script(name: str) -> str:
    text = files("untrained.report").joinpath("vega", name).read_text(encoding="utf-8")
    # A browser's developer tools would ask for the map.
    return "\n".join(line for line in text.splitlines() if not line.startswith("//# sourceMappingURL"))
