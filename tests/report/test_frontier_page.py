"""The page about a frontier: readable whatever was found, and what it says is what the rows say."""

import pytest

from browsing import LOOKS, check_page
from frontier_rows import ENTRIES, HOSTILE
from untrained.report.frontier_page import write_frontier
from untrained.runs.frontier import ranges_of, sides
from untrained.runs.verdicts import describe


@pytest.fixture
def written(tmp_path):
    """A function that writes the page of a case."""

    def write(name, title="fc on digits", against=""):
        entries = ENTRIES[name]
        return write_frontier(
            tmp_path, title, entries, ranges_of(*sides(entries, against)), against, "untrained frontier"
        )

    return write


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_is_readable(opened, written, width, dark):
    page = opened(written("forty rows"), width=width, dark=dark)
    check_page(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count() == 1
    assert {"accuracy on test data, %", "bytes to ship", "ternary-twin"} <= {
        *page.locator("svg text").all_text_contents()
    }
    rows = page.locator("table").last.locator("tbody tr")
    assert rows.count() == len(ENTRIES["forty rows"]) == 40
    marks = page.locator("g.mark-symbol.role-mark path")
    assert marks.count() == 40
    text = page.inner_text("main")
    for sentence in describe(ranges_of(*sides(ENTRIES["forty rows"]))):
        assert sentence[1:30] in text


@pytest.mark.parametrize("name", ["one row", "all failed", "hostile"])
def test_the_page_is_there_whatever_was_found(opened, written, name):
    page = opened(written(name, title=HOSTILE))
    check_page(page)
    assert page.locator(".chart svg").count() == (name != "all failed") and page.locator("b").count() == 0
    assert page.locator("table").last.locator("tbody tr").count() == len(ENTRIES[name])
    assert ("No network finished and learned." in page.inner_text("main")) == (name == "all failed")


def test_a_page_against_one_method_names_it(opened, written):
    page = opened(written("forty rows", against="ternary-twin"))
    assert "ternary-twin" in page.locator("table").first.inner_text()
    assert "pruned-twin" not in page.locator("table").first.inner_text()
