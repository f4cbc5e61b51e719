"""The part of a page about a frontier: readable whatever was found, and what it says is what the rows say."""

from dataclasses import replace

import pytest

from browsing import LOOKS, check_page
from frontier_rows import CASES, ENTRIES, HOSTILE, TRAINED, cell
from untrained import plot
from untrained.report.frontier_chart import frontier_chart
from untrained.report.frontier_page import frontier_sections
from untrained.report.page import Section, Table, render
from untrained.runs.frontier import entries_of, ranges_of, sides
from untrained.runs.table import lines_of
from untrained.runs.text_tables import of_lines
from untrained.runs.verdicts import describe


@pytest.fixture
def written(tmp_path):
    """A function that writes the page of a case."""

    def write(name, against=""):
        path = tmp_path / "report.html"
        path.write_text(render(HOSTILE, [], list(frontier_sections(ENTRIES[name], against))), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_is_readable(opened, written, width, dark):
    page = opened(written("forty rows"), width=width, dark=dark)
    check_page(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count() == 1
    assert {"accuracy on test data, %", "bytes to ship", "ternary-twin"} <= {
        *page.locator("svg text").all_text_contents()
    }
    assert page.locator("g.mark-symbol.role-mark path").count() == len(ENTRIES["forty rows"]) == 40
    text = page.inner_text("main")
    for sentence in describe(ranges_of(*sides(ENTRIES["forty rows"]))):
        assert sentence[1:30] in text


def test_a_method_has_one_mark_on_the_page_and_in_the_picture():
    pytest.importorskip("matplotlib")
    cells = [cell(f"m{n}", None, 0, 0.9, 0.9, 900 + n) for n in range(14)]
    entries = entries_of([*cells, *CASES["forty rows"]], TRAINED, 0.1)
    spec = frontier_chart(entries)
    shapes = spec["layer"][-1]["encoding"]["shape"]["scale"]["range"]
    on_page = dict(zip(spec["params"][0]["value"], shapes, strict=True))
    legend = {line.get_label(): line.get_marker() for line in plot.frontier("a", entries).legends[0].get_lines()}
    names = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross",
             "<": "triangle-left", ">": "triangle-right"}  # fmt: skip
    shared = {name for name in on_page if name in legend}
    assert shared >= {"edge-popup", *TRAINED, *(f"m{n}" for n in range(14))}
    assert all(names.get(legend[name], on_page[name]) == on_page[name] for name in shared)
    assert len({on_page[f"m{n}"] for n in range(14)}) == len({legend[f"m{n}"] for n in range(14)}) == 14
    assert len({on_page[name] for name in TRAINED}) == 3


@pytest.mark.parametrize("columns", [12, 11])
def test_the_table_of_results_fits_a_wide_window(opened, tmp_path, columns):
    norms = ["none", "batch"] if columns == 12 else [None]
    cells = [
        replace(
            each, width=each.width or 1.0, norm=norm, epochs=180 if each.method == "pruned-twin" else 30, seconds=99.9
        )
        for norm in norms
        for each in CASES["forty rows"]
    ]
    lines = lines_of(cells, "trained twin", 0.1)
    table = of_lines(lines)
    assert len(table.titles) == columns
    rows = [[text[:40] for text in row] for row in table.rows]
    path = tmp_path / "report.html"
    path.write_text(render("Title", [], [Section("Results", [], Table(table.titles, rows))]), encoding="utf-8")
    wide, window = opened(path).evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.scroll'))")
    assert wide == window


def test_no_mark_is_cut_at_an_edge_of_the_axis_of_bytes():
    entries = ENTRIES["forty rows"]
    encoding = frontier_chart(entries)["layer"][-1]["encoding"]["x"]
    low, high = encoding["scale"]["domain"]
    assert low < 0.9 * min(each.file_bytes for each in entries) and high > 1.1 * max(e.file_bytes for e in entries)


@pytest.mark.parametrize("name", ["one row", "all failed", "hostile"])
def test_the_page_is_there_whatever_was_found(opened, written, name):
    page = opened(written(name))
    check_page(page)
    assert page.locator(".chart svg").count() == (name != "all failed") and page.locator("b").count() == 0
    assert ("No network finished and learned." in page.inner_text("main")) == (name == "all failed")


def test_a_page_against_one_method_names_it(written):
    text = written("forty rows", against="ternary-twin").read_text(encoding="utf-8").partition('<h2 id="s2"')[0]
    assert "ternary-twin" in text and "pruned-twin" not in text
