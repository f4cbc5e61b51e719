"""Text and tables for terminals, notebooks, pages and pictures: safe from control sequences, false lines and HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import final

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # Persian and emoji are written with them


def printable(text: object) -> str:
    r"""Return a text as one line without invisible characters: a path, a ticket or a message may be hostile.

    Every character that Unicode does not count as printable is written as Python writes it in a string: line breaks and
    other control characters (C0 and C1), marks of direction, characters of no width, spaces that are not the plain one,
    and bytes of a path that are no text: `\n`, `\x1b`, `\u202e`, `\u200b`, `\xa0`, `\udcff`. The two joiners stay.
    """
    return "".join(c if _is_visible(c) else c.encode("unicode_escape").decode("ascii") for c in str(text))


def clean(text: object, longest: int = 60) -> str:
    """Return a text as one line for a page or a picture: composed, cut to a length, unprintable characters replaced.

    Words keep one space between them. A cut text ends in "…"; what `printable` would escape becomes a replacement
    character here.
    """
    line = unicodedata.normalize("NFC", " ".join(str(text).split()))
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return "".join(c if _is_visible(c) else REPLACEMENT for c in line)


def shorten(value: object, most: int = 200) -> str:
    """Return a value's text on one line, cut after `most` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[:most]} …"


def _is_visible(character: str) -> bool:
    return character.isprintable() or character in _JOINERS


def say(text: object) -> None:
    """Print a text as one line."""
    print(printable(text))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print a line for each fact."""
    for name, value in facts.items():
        say(f"{name:<13} {value}")


@final
@dataclass(frozen=True)
class Table:
    """Table of text for a terminal or a notebook: the first column to the left, the others to the right.

    Attributes:
        titles: titles of the columns.
        rows: cells of each row.
        bold: first cell of the row in bold, if any.
        notes: sentences below the table.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: str | None = None
    notes: Sequence[str] = ()

    def print(self) -> None:
        """Print the table without its notes."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=SIMPLE_HEAD)
        for number, title in enumerate(self.titles):
            table.add_column(Text(printable(title)), justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row), style="bold" if row[0] == self.bold else None)
        # A pipe has no width; rich would cut the table to 80 columns.
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(table)

    def html(self) -> str:
        """Return the table and its notes as escaped HTML."""

        def line(tag: str, cells: Sequence[str], weight: str) -> str:
            sides = ("left", *["right"] * len(cells))
            return "".join(
                f'<{tag} style="text-align:{side};font-weight:{weight}">{escape(printable(cell))}</{tag}>'
                for side, cell in zip(sides, cells, strict=False)
            )

        head = f"<thead><tr>{line('th', self.titles, 'bold')}</tr></thead>"
        body = "".join(f"<tr>{line('td', r, 'bold' if r[0] == self.bold else 'normal')}</tr>" for r in self.rows)
        notes = "".join(f"<p>{escape(printable(note))}</p>" for note in self.notes)
        return f"<table>{head}<tbody>{body}</tbody></table>{notes}"
