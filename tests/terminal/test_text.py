"""What people read: nothing in it steers a terminal, forges a line or becomes HTML."""

import contextlib
import io
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrained.plot.figure import available, one_line
from untrained.terminal.text import REPLACEMENT, Table, clean, print_facts, printable

ANY = st.text(st.characters(), max_size=30)  # surrogates, too: a path may hold bytes that are no text


@given(ANY)
def test_a_printed_text_is_one_line_that_can_be_seen(text):
    shown = printable(text)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable() and len(shown.splitlines()) <= 1
    assert shown.encode().decode() == printable(shown) == shown
    assert not text.isprintable() or shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("good\nverify   good", r"good\nverify   good"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\x9bb", r"a\x9bb"),  # a control sequence in one byte
        ("tekcit\u202e.exe", r"tekcit\u202e.exe"),
        ("no\u200bthing", r"no\u200bthing"),
        ("a\u2028b\x85c\rd", r"a\u2028b\x85c\rd"),
        ("bytes \udcff", r"bytes \udcff"),
        ("Zürich 猫 ± ×", "Zürich 猫 ± ×"),
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
    ],
)
def test_what_cannot_be_seen_is_written_as_python_writes_it(text, shown):
    assert printable(text) == shown


@given(ANY, st.integers(1, 20))
def test_a_clean_text_is_one_short_line_and_stays_as_it_is(text, longest):
    for function in (clean, one_line) if available() else (clean,):
        line = function(text, longest)
        assert line.replace("\u200c", "").replace("\u200d", "").isprintable() and len(line) <= longest
        assert line.encode().decode() == function(line, longest) == line and "  " not in line
    plain = unicodedata.normalize("NFC", " ".join(text.split()))
    assert len(plain) > 20 or printable(plain) != plain or clean(text, 20) == plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" two\nlines\t\x1b[31m ", f"two lines {REPLACEMENT}[31m"),
        ("tekcit\u202e.exe \udcff", f"tekcit{REPLACEMENT}.exe {REPLACEMENT}"),
        ("e\u0301", "é"),
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_page_shows_a_clean_text(text, shown):
    assert clean(text) == shown


def test_a_picture_shows_no_character_that_its_font_lacks():
    pytest.importorskip("matplotlib")
    assert one_line("猫 é ± 👩\u200d🔬") == f"{REPLACEMENT} é ± {REPLACEMENT}\u200d{REPLACEMENT}"


@given(st.lists(ANY, min_size=1, max_size=3))
def test_facts_and_tables_have_as_many_lines_as_rows(names):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_facts({"meta": "".join(names)})
    assert len(out.getvalue().splitlines()) == 1
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        Table(["[bold]name", "x"], [["[red]", printable(name)[:20]] for name in names]).print()
    printed = out.getvalue()
    assert "[bold]name" in printed and printed.count("[red]") == len(names)
    assert all(printable(line) == line for line in printed.splitlines())


def test_a_narrow_terminal_loses_no_digit(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.console.Console.is_terminal", property(lambda self: True))
    Table(["network", "bytes to ship"], [["found subnetwork", "1,234,567,890,123"]]).print()
    shown = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert re.findall(r"[\d,]+", shown) == ["1,234,567", ",890,123"]


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data


@given(st.lists(ANY, min_size=2, max_size=2), st.lists(st.lists(ANY, min_size=2, max_size=2), max_size=3), ANY)
def test_nothing_in_a_table_is_html(titles, rows, note):
    page = Cells()
    page.feed(Table(titles, rows, bold=titles[0], notes=[note]).html())
    page.close()
    assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    given = [*titles, *(cell for row in rows for cell in row), note]
    assert [text for text in page.texts if text] == [shown for text in given if (shown := printable(text))]
