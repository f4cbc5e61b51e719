"""Tables as Markdown, LaTeX and CSV, where every cell is text, whatever it holds; and results as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from untrained.fields import plain
from untrained.terminal.text import Table, printable

Form = Literal["markdown", "latex", "csv"]

# Markup of Markdown and of GitHub's mathematics inside a cell.
_MARKDOWN = {c: f"\\{c}" for c in r"\`*_[]<>|~&$"}
# Commands that mean the same in every encoding of fonts. [ and * would be read as options of the \\ before them.
_LATEX = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    **{c: f"{{{c}}}" for c in "[]*"},
    **{c: f"\\symbol{{{ord(c)}}}" for c in "\"'`"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "×": r"$\times$", "…": r"\ldots{}",
}  # fmt: skip
_MINUS, _DASHES = re.compile(r"(?<![\w-])-(?=\d)"), re.compile("-(?=-)")  # LaTeX joins two hyphens to a dash


def render(table: Table, form: Form) -> str:
    """Return a table without its notes, with a line for each row and one or more for the titles.

    Markdown is that of GitHub; LaTeX is a `tabular` with the rules of the package booktabs.
    """
    titles = [printable(title) for title in table.titles]
    rows = [[printable(cell) for cell in row] for row in table.rows]
    return {"markdown": _to_markdown, "latex": _to_latex, "csv": _to_csv}[form](titles, rows)


def to_json(value: Any) -> str:
    """Return results as one JSON document, in ASCII: a terminal is safe from what they hold."""
    return json.dumps(to_plain(value), indent=1, allow_nan=False)


def to_plain(value: Any) -> Any:
    """Return results as JSON has them: dataclasses as objects, paths as text, and numbers that are not finite as null.

    Raises:
        TypeError: something in them has no such form.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    value = str(value) if isinstance(value, Path) else plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _to_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    sides = ["---", *["---:"] * (len(titles) - 1)]
    lines = [[_escape(cell, _MARKDOWN) for cell in row] for row in (titles, *rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (lines[0], sides, *lines[1:]))


def _to_latex(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = [" & ".join(map(_latex, row)) + r" \\" for row in (titles, *rows)]
    start = rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}  % \usepackage{{booktabs}}"
    return "\n".join([start, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex(cell: str) -> str:
    return _DASHES.sub("-{}", _MINUS.sub("$-$", _escape(cell, _LATEX)))


def _to_csv(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((titles, *rows))
    return text.getvalue()


def _escape(text: str, codes: dict[str, str]) -> str:
    return "".join(codes.get(character, character) for character in text)
