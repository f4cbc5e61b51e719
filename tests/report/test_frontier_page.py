"""The part of a page about a frontier: readable whatever was found, and what it says is what the rows say."""

import pytest

from browsing import LOOKS, check_page
from frontier_rows import ENTRIES, HOSTILE
from untrained.report.frontier_chart import frontier_chart
from untrained.report.frontier_page import frontier_sections
from untrained.report.page import render
from untrained.runs.frontier import ranges_of, sides
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
