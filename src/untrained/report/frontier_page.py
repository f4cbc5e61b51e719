"""The page about a frontier: who is ahead at which size, the chart, and the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from untrained.files import atomic_write
from untrained.plot.frontier import limits_of
from untrained.report.frontier_chart import frontier_chart
from untrained.report.page import Chart, Section, Table, render
from untrained.runs.frontier import Entry, Range, pareto_front
from untrained.runs.verdicts import describe, points_text
from untrained.search.run_files import REPORT, TABLE
from untrained.terminal.text import clean

_KINDS = "ticket", "trained network"
_AHEAD = {"ticket": "ticket", "noise": "within noise", "unknown": "no interval", "alone": ""}
_HOW = (
    "At a size, each side's row is the one with the best validation accuracy in at most so many bytes; the test data "
    "chooses nothing. Differences are test accuracies, ticket minus {}, paired by seed, with their 95 % t interval. It "
    "tells how far other seeds would differ, not how far other test images would, and is not widened for the number of "
    "ranges."
)


def write_frontier(
    folder: Path, title: str, entries: Sequence[Entry], ranges: Sequence[Range], against: str, command: str
) -> Path:
    """Write report.html into a folder, one page that needs no network, and return its path.

    Args:
        folder: the folder of the run.
        title: network, data and epochs.
        entries: the rows of the table.
        ranges: who is ahead at which size.
        against: the method that tickets are measured against; "" for all trained networks.
        command: the command that repeats the run.
    """
    counts = [sum(entry.trained == trained for entry in entries) for trained in (False, True)]
    seeds = max((len(entry.cells) for entry in entries), default=0)
    lead = f"Rows of tickets: {counts[0]}. Rows of trained networks: {counts[1]}. Seeds of each: {seeds}."
    sections = [_winners(ranges, against), *_chart(entries), _table(entries)]
    text = f"The same command gives the same results, with the same versions. Every seed is in {TABLE}."
    sections.append(Section("Repeat the run", (text,), code=[command]))
    path = folder / REPORT
    with atomic_write(path) as unfinished:
        page = render(f"Accuracy over bytes: {clean(title, 200)}", [lead], sections)
        unfinished.write_text(page, encoding="utf-8", newline="\n")
    return path


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


def _chart(entries: Sequence[Entry]) -> Iterator[Section]:
    sound = [entry for entry in entries if not entry.fault]
    if not sound:
        return
    caption = (
        "Test accuracy over bytes on a logarithmic axis: a mark per row, a line of one standard deviation over the "
        "seeds. Blue and filled are tickets, orange and hollow trained networks. Stairs lead through the rows with the "
        "best validation accuracy for their bytes, the wide grey ones through those of both sides."
    )
    low = [_short(entry) for entry in sound if 100 * entry.accuracy < limits_of(sound)[0]]
    text = [f"Below the chart: {'; '.join(low)}."] if low else []
    yield Section("Accuracy over bytes", text, charts=[Chart(caption, frontier_chart(sound))])


def _table(entries: Sequence[Entry]) -> Section:
    front = [id(entry) for entry in pareto_front(entries)]
    rows = []
    for entry in entries:
        measured: Sequence[str] = ("", "", "")
        if not any(cell.error for cell in entry.cells):
            test = f"{100 * entry.accuracy:.2f} ± {100 * entry.std:.2f}"
            measured = test, f"{100 * entry.val_accuracy:.2f}", f"{entry.file_bytes:,.0f}"
        note = "on the front" if id(entry) in front else clean(entry.fault, 60)
        rows.append((_short(entry), *measured, _KINDS[entry.trained], note))
    titles = "network", "test, %", "validation, %", "bytes to ship", "kind", "note"
    return Section("Every row", ("Means over the seeds ± one standard deviation.",), Table(titles, rows))


def _short(entry: Entry) -> str:
    """Return the name of a row, its method cut to a few characters."""
    method = entry.cells[0].method
    return clean(clean(method, 28) + entry.name.removeprefix(method), 80)
