"""Tables as Markdown, LaTeX and CSV, read back by readers of their own."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrained.terminal.renderings import render
from untrained.terminal.text import Table, printable

MARKUP = ["\\", "|", "*", "[", "]", "_", "`", "&", "#", "%", "$", "{", "}", "~", "^", "<", ">", '"', "'", "-", "--",
          "\\|", "\\\\", "-3.5", "a-1", "±", ",", "\n", "é"]  # fmt: skip
# Spaces at the ends of a cell are no part of it in Markdown and LaTeX.
CELL = st.lists(st.one_of(st.sampled_from(MARKUP), st.text(max_size=3)), max_size=6).map("".join).map(str.strip)
TABLES = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=4).map(lambda t: Table(t[0], t[1:]))
)


def cells(table):
    return [[printable(cell) for cell in row] for row in (table.titles, *table.rows)]


@given(TABLES)
def test_markdown_is_read_back(table):
    head, sides, *rows = render(table, "markdown").splitlines()
    assert sides == "|" + " --- |" + " ---: |" * (len(table.titles) - 1)
    back = []
    for line in (head, *rows):
        assert line.startswith("| ") and line.endswith(" |")
        parts = [part[:-1].strip(" ") for part in re.findall(r"(?:\\.|[^|\\])*\|", line[1:])]
        assert not re.search(r"(?<!\\)(?:\\\\)*[*_`<>~$&\[\]]", "".join(re.sub(r"\\.", "", part) for part in parts))
        back.append([re.sub(r"\\(.)", r"\1", part) for part in parts])
    assert back == [[cell.strip(" ") for cell in row] for row in cells(table)]


COMMANDS = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<",
            r"\textgreater{}": ">", r"\textbar{}": "|", r"$\pm$": "±", r"$\times$": "×", r"\ldots{}": "…", "$-$": "-",
            "-{}": "-", "{[}": "[", "{]}": "]", "{*}": "*", r"\symbol{34}": '"', r"\symbol{39}": "'",
            r"\symbol{96}": "`", **{f"\\{c}": c for c in "{}$&#_%"}}  # fmt: skip
TOKEN = re.compile("|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))) + r"|[^\\{}$&#_%~^<>|*\[\]\"'`]")


@given(TABLES)
def test_latex_is_read_back(table):
    first, top, head, middle, *rows, bottom, end = render(table, "latex").splitlines()
    assert first == rf"\begin{{tabular}}{{l{'r' * (len(table.titles) - 1)}}}  % \usepackage{{booktabs}}"
    assert (top, middle, bottom, end) == (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")
    back = []
    for line in (head, *rows):
        assert line.endswith(r" \\") and not re.search("--", line)
        tokens, place = [[]], 0
        while place < len(line) - 3:
            if line.startswith(" & ", place):
                tokens.append([])
                place += 3
                continue
            token = TOKEN.match(line, place)
            assert token, line[place:]
            tokens[-1].append(COMMANDS.get(token[0], token[0]))
            place = token.end()
        back.append(["".join(each) for each in tokens])
    assert back == cells(table)


@given(TABLES)
def test_csv_is_read_back(table):
    expected = [row or [""] for row in cells(table)]
    assert list(csv.reader(io.StringIO(render(table, "csv")))) == expected


def test_numbers_below_zero_have_a_minus_in_latex():
    shown = render(Table(["a-b", "x"], [["edge-popup", "-0.50 [-1.00, +0.10]"]]), "latex")
    assert "a-b & x" in shown and "edge-popup & $-$0.50 {[}$-$1.00, +0.10{]} " in shown


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_a_table_without_rows_has_its_titles(form):
    assert "method" in render(Table(["method", "x"], []), form)
