"""Sentences about a frontier: who is ahead in which range of bytes, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from untrained.runs.frontier import Entry, Range
from untrained.runs.statistics import Difference

_MOST_NAMES = 2


def describe(ranges: Iterable[Range], against: str = "") -> list[str]:
    """Return a sentence for each stretch of bytes in which the same side is ahead, or none is.

    Args:
        ranges: the ranges, without gaps.
        against: the method that tickets are measured against; by default all trained networks.
    """
    return [_sentence(list(group), against) for _, group in groupby(ranges, key=_key)]


def _key(each: Range) -> tuple[object, ...]:
    unknown = each.winner == "unknown"
    return each.winner, each.ticket is None, unknown and _mean(each) > 0, unknown and _mean(each) == 0


def _sentence(group: Sequence[Range], against: str) -> str:
    winner, last = group[0].winner, group[-1].high
    ticket = _common([each.ticket for each in group], "tickets")
    rival = _common([each.rival for each in group], "trained networks")
    if winner == "alone":
        missing = "ticket" if rival else f"row of {against}" if against else "trained network"
        reason = "finished and learned" if math.isinf(last) else "is that small"
        text = f"{ticket or rival} alone, as no {missing} {reason}"
    elif winner == "noise":
        text = f"{ticket} and {rival} within noise, {_points(group, signed=True)}"
    else:
        first, second = (ticket, rival) if _mean(group[0]) >= 0 else (rival, ticket)
        word = "above" if winner == "unknown" else "ahead of"
        text = f"{first} {word} {second} by {_points(group)}" if _mean(group[0]) else f"{first} and {second} level"
        if winner == "unknown":
            several = any(each.difference is not None and each.difference.pairs > 1 for each in group)
            text += ", the same of every seed" if several else ", of one seed"
    return f"{_span(group[0].low, last)}: {text}"


def _mean(each: Range) -> float:
    """Return the mean difference, 0 for one that shows as 0.00 points."""
    return 0.0 if each.difference is None or abs(each.difference.mean) < 5e-5 else each.difference.mean


def _points(group: Sequence[Range], *, signed: bool = False) -> str:
    """Return the least and the greatest difference, in percentage points with half their intervals."""
    differences = [each.difference for each in group if each.difference is not None]
    differences.sort(key=lambda each: each.mean if signed else abs(each.mean))
    ends = [points_text(each, signed=signed) for each in (differences[0], differences[-1])]
    return f"{' to '.join(dict.fromkeys(ends))} points"


def points_text(difference: Difference, *, signed: bool) -> str:
    """Return a difference in percentage points with half its interval, such as "+0.31 ± 0.12"."""
    mean = 100 * difference.mean
    text = f"{round(mean if signed else abs(mean), 2) + 0.0:{'+' if signed else ''}.2f}".replace("-", "\N{MINUS SIGN}")
    return text if difference.high is None else f"{text} ± {100 * (difference.high - difference.mean):.2f}"


def _common(entries: Sequence[Entry | None], several: str) -> str:
    """Return the name of the one row, or the methods of a few rows, or what all are; "" if there is no row."""
    rows = {each.name: each.cells[0].method for each in entries if each is not None}
    names = list(dict.fromkeys(rows.values() if len(rows) > 1 else rows))
    return " or ".join(names) if len(names) <= _MOST_NAMES else several


def _span(low: float, high: float) -> str:
    if math.isinf(high):
        return f"from {size_text(low)} on"
    texts = size_text(low), size_text(high)
    return "from {} to {}".format(*(texts if texts[0] != texts[1] else (f"{low:,.1f} bytes", f"{high:,.1f} bytes")))


def size_text(size: float) -> str:
    """Return bytes as text of three digits, such as "8.21 kB"; a kB is 1,000 bytes."""
    unit, name = next(
        ((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= 0.9995 * u), (1.0, "bytes")
    )
    return f"{float(f'{size / unit:.3g}'):g} {name}"
