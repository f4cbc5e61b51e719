"""Rows by name, and the row that each is compared with."""

import pytest

from untrained.runs.reference import find_references, full_name, names_of
from untrained.runs.table import TWIN, Cell, lines_of

TWINS = [(TWIN, None, width, None, None, None) for width in (1.0, 2.0)]
WIDE = [("edge-popup", 0.5, width, None, None, None) for width in (1.0, 2.0)]
KEEPS = [(method, keep, None, None, None, None) for method in ("edge-popup", "biprop") for keep in (0.5, 0.1)]
LEARNED = ("bernoulli", None, None, None, None, None)


def test_names_are_short_unless_two_rows_would_share_them():
    places = [TWINS[0], *KEEPS[:2], LEARNED, ("biprop", 0.5, None, "kaiming-normal(scaled=True)", None, None)]
    assert names_of(places) == [TWIN, "edge-popup, keep 0.5", "edge-popup, keep 0.1", "bernoulli", "biprop"]
    assert full_name(places[-1]) == "biprop, keep 0.5, weights kaiming-normal(scaled=True)"
    assert len(set(names_of([*TWINS, *WIDE]))) == 4


def test_all_rows_are_compared_with_one_of_its_name():
    twin = (TWIN, None, None, None, None, None)
    assert find_references([twin, *KEEPS, LEARNED], TWIN) == [None, *[twin] * 5]
    one = KEEPS[1]
    assert find_references([twin, *KEEPS], full_name(one)) == [one, one, None, one, one]


def test_rows_are_compared_with_the_row_of_a_method_at_the_same_place():
    assert find_references([*TWINS, *WIDE], TWIN) == [None, None, *TWINS]
    assert find_references([*KEEPS, LEARNED, (TWIN, None, None, None, None, None)], "edge-popup") == [
        None, None, KEEPS[0], KEEPS[1], None, None,
    ]  # fmt: skip
    laws = [(method, 0.5, None, law, None, None) for method in ("a", "b") for law in ("x", "y")]
    assert find_references(laws, "a") == [None, None, *laws[:2]]


@pytest.mark.parametrize("text", ["nonsense", "", "edge-popup, keep 0.3", "Edge-popup", "keep 0.5"])
def test_a_text_that_is_no_row_is_refused_by_name(text):
    with pytest.raises(
        ValueError, match=r"^against must be a row of the table, got .*; known: edge-popup, keep 0\.5; "
    ):
        find_references(KEEPS, text)


def test_seeds_are_paired_and_failed_ones_left_out():
    good = [Cell("a", 0.5, seed, 0.5 + 0.1 * seed, 0.4, 1.0, 10, 5, 20, epochs=2) for seed in range(3)]
    other = [Cell("b", 0.5, seed, 0.75, 0.4, 1.0, 10, 5, 20) for seed in (2, 0)]
    a, b, c = lines_of([*good, *other, Cell("b", 0.5, 1, error="it diverged"), Cell("c", 0.5, 0, error="no")], "a")
    assert a.difference is None and (a.epochs, b.epochs) == (2, None) and c.difference is None
    assert b.difference.pairs == 2 and b.difference.mean == pytest.approx(((0.75 - 0.7) + (0.75 - 0.5)) / 2)
    assert b.difference.against == "a, keep 0.5" and b.difference.is_noise
    with pytest.raises(ValueError, match="against"):
        lines_of(good, "b")
