"""Tables of results as text: of one search and its baselines, and of a comparison or a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from untrained.runs.run import Row
from untrained.runs.table import FOUND, Line
from untrained.terminal.text import Table


def of_networks(rows: Sequence[Row]) -> Table:
    """Return the table of one search: the found subnetwork and its baselines."""
    cells = tuple(
        (
            row.name,
            f"{row.accuracy:.2%}",
            f"{row.kept:,}",
            f"{row.file_bytes:,}",
            "" if row.seconds is None else f"{row.seconds:,.1f}",
        )
        for row in rows
    )
    return Table(("network", "test accuracy", "weights kept", "bytes to ship", "seconds"), cells, FOUND)


def of_lines(lines: Sequence[Line]) -> Table:
    """Return the table of a comparison or a sweep; its notes name the searches that failed."""
    places = {
        "width": [f"{line.width:g}" if line.width is not None else "" for line in lines],
        "weights": [line.law or "" for line in lines],
    }
    # A column that is empty in all lines is left out.
    places = {title: texts for title, texts in places.items() if any(texts)}
    cells = tuple(
        (
            line.method,
            *(texts[number] for texts in places.values()),
            "" if line.keep is None else f"{line.keep:g}",
            f"{100 * line.accuracy:.2f} ± {100 * line.std:.2f}",
            f"{100 * line.val_accuracy:.2f}",
            f"{100 * line.kept:.1f} %",
            f"{line.bits:.3f}",
            f"{line.file_bytes:,.0f}",
            f"{line.seconds:,.2f}",
        )
        for number, line in enumerate(lines)
        if line.seeds
    )
    titles = "keep", "test, %", "validation, %", "kept", "bits/weight", "bytes to ship", "s/epoch"
    notes = tuple(f"{_place(line)}: a search failed: {line.error}" for line in lines if line.error)
    return Table(("method", *places, *titles), cells, notes=notes)


def _place(line: Line) -> str:
    given = {"width": line.width, "weights": line.law}
    return line.method + "".join(f", {name} {value}" for name, value in given.items() if value)
