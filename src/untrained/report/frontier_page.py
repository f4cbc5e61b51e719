"""The part of a page that is about a frontier: who is ahead at which size, and the chart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from untrained.plot.frontier import limits_of
from untrained.report.frontier_chart import frontier_chart
from untrained.report.page import Chart, Section, Table
from untrained.runs.frontier import Entry, Range, ranges_of, sides
from untrained.runs.verdicts import describe, points_text
from untrained.terminal.text import clean

_KINDS = "ticket", "trained network"
_AHEAD = {"ticket": "ticket", "noise": "within noise", "unknown": "no interval", "alone": ""}
_HOW = (
    "At a size, each side's row is the one with the best validation accuracy in at most so many bytes; the test data "
    "chooses nothing. Differences are test accuracies, ticket minus {}, paired by seed, with their 95 % t interval. It "
    "tells how far other seeds would differ, not how far other test images would, and is not widened for the number of "
    "ranges."
)


def frontier_sections(entries: Sequence[Entry], against: str) -> Iterator[Section]:
    """Yield the sections on who is ahead at which size, and the chart.

    Args:
        entries: the rows of the table.
        against: the method that tickets are measured against; "" for all trained networks.
    """
    yield _winners(ranges_of(*sides(entries, against)), against)
    sound = [entry for entry in entries if not entry.fault]
    out = [clean(f"{entry.name} ({entry.fault})", 200) for entry in entries if entry.fault]
    text = [f"Left out, as a seed failed or did not learn: {'; '.join(out)}."] if out else []
    if not sound:
        yield Section("Accuracy over bytes", text)
        return
    if low := [_short(entry) for entry in sound if 100 * entry.accuracy < limits_of(sound)[0]]:
        text.append(f"Below the chart: {'; '.join(low)}.")
    caption = (
        "Test accuracy over bytes on a logarithmic axis: a mark per row, a line of one standard deviation over the "
        "seeds. Blue and filled are tickets, orange and hollow trained networks. Stairs lead through the rows with the "
        "best validation accuracy for their bytes, the wide grey ones through those of both sides."
    )
    yield Section("Accuracy over bytes", text, charts=[Chart(caption, frontier_chart(sound))])


def _winners(ranges: Sequence[Range], against: str) -> Section:
    if not ranges:
        return Section("Who is ahead", ["No network finished and learned."])
    rival, rows = clean(against, 24) or _KINDS[1], []
    for each in ranges:
        span = f"{each.low:,.0f} or more" if math.isinf(each.high) else f"{each.low:,.0f} to {each.high:,.0f}"
        names = ["" if one is None else _short(one) for one in (each.ticket, each.rival)]
        points = "" if each.difference is None else points_text(each.difference, signed=True)
        rows.append((span, *names, points, _AHEAD.get(each.winner, rival)))
    titles = "bytes", "best ticket", f"best {rival}", "difference, points", "ahead"
    said = [clean(f"{text[0].upper()}{text[1:]}.", 600) for text in describe(ranges, against)]
    return Section("Who is ahead", [*said, _HOW.format(rival)], Table(titles, rows))


def _short(entry: Entry) -> str:
    """Return the name of a row, its method cut to a few characters."""
    method = entry.cells[0].method
    return clean(clean(method, 28) + entry.name.removeprefix(method), 80)
