"""The frontier: its front, ranges and sentences against what a naive reader of the table would say."""

import math
import re
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_rows import CHANCE, TRAINED, cell, row
from untrained.runs.frontier import best_within, entries_of, pareto_front, ranges_of, sides
from untrained.runs.verdicts import describe, size_text

# Few values, so that there are many ties.
SIZES, SHARES = st.sampled_from([900, 1000, 1001, 5000, 40_000]), st.sampled_from([0.1, 0.5, 0.9, 0.91, 0.95])


@st.composite
def tables(draw):
    """Cells of a few rows, with the same seeds in each; some failed or did not learn."""
    seeds = range(draw(st.integers(1, 3)))
    methods = st.sampled_from(["edge-popup", "biprop", "trained twin", "ternary-twin"])
    rows = draw(st.lists(st.tuples(methods, st.integers(1, 9)), max_size=7, unique=True))
    cells = []
    for method, tenths in rows:
        size = draw(SIZES)
        for seed in seeds:
            error = "it diverged" if draw(st.integers(0, 15)) == 0 else ""
            shares = (math.nan, math.nan) if error else (draw(SHARES), draw(SHARES))
            cells.append(cell(method, tenths / 10, seed, *shares, size + draw(st.integers(0, 1)), error))
    return cells


def naive_rows(cells):
    """(method, keep) of each row that counts: [mean bytes, mean validation accuracy, test accuracies], in order."""
    rows = {}
    for each in cells:
        rows.setdefault((each.method, each.keep), []).append(each)
    return {
        at: [*(statistics.fmean(column) for column in zip(*((c.file_bytes, c.val_accuracy) for c in its), strict=True)),
             [c.accuracy for c in its]]
        for at, its in rows.items()
        if all(not c.error and c.val_accuracy > CHANCE for c in its)
    }  # fmt: skip


def naive_best(rows, methods, budget):
    best = None
    for at, (size, val, _) in rows.items():
        if at[0] in methods and size <= budget:
            if best is None or val > rows[best][1] or (val == rows[best][1] and size < rows[best][0]):
                best = at
    return best


def at(entry):
    return None if entry is None else (entry.cells[0].method, entry.cells[0].keep)


@given(tables())
def test_the_front_is_what_nothing_else_beats(cells):
    rows = naive_rows(cells)
    front = [at(entry) for entry in pareto_front(entries_of(cells, TRAINED, CHANCE))]
    for one, (size, val, _) in rows.items():
        beaten = any(s <= size and v >= val and (s, v) != (size, val) for s, v, _ in rows.values())
        first = next(other for other, (s, v, _) in rows.items() if (s, v) == (size, val))
        assert (one in front) == (not beaten and first == one)
    assert set(front) <= set(rows)
    sizes = [rows[one][0] for one in front]
    assert sizes == sorted(sizes)


@given(tables(), st.sampled_from([0, 900, 1000.5, 4999, 5000, 1e9]))
def test_the_best_within_a_budget_is_the_last_of_the_front_that_it_can_pay(cells, budget):
    entries = entries_of(cells, TRAINED, CHANCE)
    best = at(best_within(entries, budget))
    assert best == naive_best(naive_rows(cells), {"edge-popup", "biprop", *TRAINED}, budget)
    paid = [at(entry) for entry in pareto_front(entries) if entry.file_bytes <= budget]
    assert best == (paid[-1] if paid else None)


@given(tables(), st.sampled_from(["", "biprop", "ternary-twin", "nobody"]))
def test_at_every_size_the_range_names_the_best_of_both_sides_and_their_paired_difference(cells, against):
    rivals = {against} if against else {*TRAINED}
    tickets = {"edge-popup", "biprop"} - rivals
    rows = naive_rows(cells)
    ranges = ranges_of(*sides(entries_of(cells, TRAINED, CHANCE), against))
    theirs = [size for one, (size, *_) in rows.items() if one[0] in tickets | rivals]
    assert bool(ranges) == bool(theirs)
    if not ranges:
        return
    assert ranges[0].low == min(theirs) and math.isinf(ranges[-1].high)
    assert all(one.high == other.low and one.low < one.high for one, other in pairwise(ranges))
    for size in sorted({*theirs, *(s + 0.25 for s in theirs)}):
        each = next(each for each in ranges if each.low <= size < each.high)
        ticket, rival = naive_best(rows, tickets, size), naive_best(rows, rivals, size)
        assert (at(each.ticket), at(each.rival)) == (ticket, rival)
        if ticket is None or rival is None:
            assert each.difference is None and each.winner == "alone"
            continue
        gaps = [a - b for a, b in zip(rows[ticket][2], rows[rival][2], strict=True)]
        assert each.difference is not None and each.difference.mean == pytest.approx(statistics.fmean(gaps), abs=1e-9)
        if max(gaps) - min(gaps) < 1e-9:  # one seed, too
            assert each.winner == "unknown"
        else:
            margin = {2: 12.7062, 3: 4.30265}[len(gaps)] * statistics.stdev(gaps) / math.sqrt(len(gaps))
            if abs(abs(each.difference.mean) - margin) > 1e-6:
                ahead = "ticket" if each.difference.mean > 0 else "rival"
                assert each.winner == (ahead if abs(each.difference.mean) > margin else "noise")


@given(tables())
def test_the_test_data_chooses_nothing(cells):
    turned = [cell(c.method, c.keep, c.seed, 1 - c.accuracy, c.val_accuracy, c.file_bytes, c.error) for c in cells]
    before, after = (entries_of(its, TRAINED, CHANCE) for its in (cells, turned))
    assert [at(entry) for entry in pareto_front(before)] == [at(entry) for entry in pareto_front(after)]
    chosen = [[(at(r.ticket), at(r.rival)) for r in ranges_of(*sides(its))] for its in (before, after)]
    assert chosen[0] == chosen[1]


@given(tables())
def test_sentences_are_few_and_name_who_is_ahead(cells):
    ranges = ranges_of(*sides(entries_of(cells, TRAINED, CHANCE)))
    said = describe(ranges)
    assert len(said) <= len(ranges) and bool(said) == bool(ranges) and "nan" not in "".join(said)
    winners = {each.winner for each in ranges}
    unknown = [abs(each.difference.mean) >= 5e-5 for each in ranges if each.winner == "unknown"]
    for word, there in ((" alone", "alone" in winners), ("within noise", "noise" in winners),
                        (" above ", any(unknown)), (" level, ", not all(unknown))):  # fmt: skip
        assert any(word in each for each in said) == there
    assert " above " not in "".join(each for each in said if " by 0.00 " in each)
    assert any(" ahead of " in each for each in said) == bool({"ticket", "rival"} & winners)
    assert not said or (said[-1].startswith("from ") and " on: " in said[-1])


def test_sentences_say_by_how_much():
    cells = [
        *row("edge-popup", 0.03, 8214, 0.98, 0.981, 0.982),
        *row("ternary-twin", None, 9000, 0.97, 0.971, 0.973),
        *row("trained twin", None, 1_200_000, 0.99, 0.99, 0.99),
        *row("edge-popup", 0.5, 80_000, 0.9, 0.9, 0.9),
        *row("edge-popup", 0.7, 2_000_000, 0.9901, 0.9901, 0.9899),
        *row("biprop", 0.5, 100, 0.9, 0.1, 0.9),
    ]
    entries = entries_of(cells, TRAINED, CHANCE)
    assert [entry.fault for entry in entries] == [*5 * [""], "seed 1 did not learn"]
    assert describe(ranges_of(*sides(entries))) == [
        "from 8.21 kB to 9 kB: edge-popup, keep 0.03 alone, as no trained network is that small",
        "from 9 kB to 1.2 MB: edge-popup, keep 0.03 ahead of ternary-twin by 0.97 ± 0.14 points",
        "from 1.2 MB to 2 MB: trained twin ahead of edge-popup, keep 0.03 by 0.90 ± 0.25 points",
        "from 2 MB on: edge-popup, keep 0.7 and trained twin within noise, +0.00 ± 0.03 points",
    ]
    one = describe(ranges_of(*sides([*entries_of([c for c in cells if c.seed == 0], TRAINED, CHANCE)][:3])))
    assert one[1] == "from 9 kB to 1.2 MB: edge-popup, keep 0.03 above ternary-twin by 1.00 points, of one seed"


def test_neighbouring_ranges_of_one_winner_share_a_sentence():
    cells = [
        *row("edge-popup", 0.1, 1000, 0.91, 0.92),
        *row("edge-popup", 0.5, 2000, 0.93, 0.95),
        *row("ternary-twin", None, 900, 0.8, 0.815),
        *row("trained twin", None, 3000, 0.99, 0.98),
    ]
    said = describe(ranges_of(*sides(entries_of(cells, TRAINED, CHANCE))))
    assert said == [
        "from 900 bytes to 1 kB: ternary-twin alone, as no ticket is that small",
        "from 1 kB to 3 kB: edge-popup ahead of ternary-twin by 10.75 ± 3.18 to 13.25 ± 3.18 points",
        "from 3 kB on: edge-popup, keep 0.5 and trained twin within noise, −4.50 ± 19.06 points",
    ]
    assert describe(ranges_of(*sides(entries_of(cells[:4], TRAINED, CHANCE)))) == [
        "from 1 kB on: edge-popup alone, as no trained network finished and learned"
    ]


def test_equal_accuracies_are_level():
    cells = [*row("edge-popup", 0.5, 1000, 0.9, 0.8), *row("ternary-twin", None, 2000, 0.9, 0.8)]
    cells += row("trained twin", None, 3000, 0.95, 0.85)
    entries = entries_of(cells, TRAINED, CHANCE)
    assert describe(ranges_of(*sides(entries)))[1:] == [
        "from 2 kB to 3 kB: edge-popup, keep 0.5 and ternary-twin level, the same of every seed",
        "from 3 kB on: trained twin above edge-popup, keep 0.5 by 5.00 points, the same of every seed",
    ]


@given(st.floats(0.5, 1e12))
def test_sizes_have_three_digits(size):
    number, unit = size_text(size).split()
    assert float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit] == pytest.approx(size, rel=0.0051)
    assert "e" not in number and (float(number) < 1000 or unit == "GB")
    assert len(re.sub(r"^0?\.?0*|\.", "", number)) <= 4
