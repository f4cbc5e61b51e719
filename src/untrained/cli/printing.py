"""What the commands print: tables and facts, with nothing in them that could steer a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def printable(text: str) -> str:
    """The text without what could steer a terminal: a ticket may come from anybody."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], bold: str | None = None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(escape, row), style="bold" if row[0] == bold else None)
    # A pipe has no width of its own; rich would cut the table to 80 columns.
    console = Console()
    (console if console.is_terminal else Console(width=140)).print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        print(printable(f"{name:<14}{value}"))
