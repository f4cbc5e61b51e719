"""Tables of results as text: of one search and its baselines, and of a comparison or a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from untrained.runs.reference import full_name
from untrained.runs.run import Row
from untrained.runs.statistics import CONFIDENCE, Difference
from untrained.runs.table import FOUND, Line
from untrained.search.metric import ACCURACY, Metric
from untrained.terminal.text import Table


def of_networks(rows: Sequence[Row]) -> Table:
    """Return the table of one search: the found subnetwork and its baselines."""
    cells = tuple(
        (
            row.name,
            row.metric.show(row.test),
            f"{row.kept:,}",
            f"{row.file_bytes:,}",
            "" if row.seconds is None else f"{row.seconds:,.1f}",
        )
        for row in rows
    )
    metric = rows[0].metric if rows else ACCURACY
    return Table(("network", f"test {metric.words}", "weights kept", "bytes to ship", "seconds"), cells, FOUND)


def of_lines(lines: Sequence[Line]) -> Table:
    """Return the table of a comparison or a sweep.

    Its notes explain the differences, and name the rows of which a search failed or a network did not learn.
    """
    metric = lines[0].metric if lines else ACCURACY
    test, validation = (f"{part}{metric.suffix}" for part in ("test", "validation"))
    if metric != ACCURACY:
        test, validation = (f"{part} {metric.words}{metric.suffix}" for part in ("test", "validation"))
    unequal = len({line.epochs for line in lines if line.epochs}) > 1
    optional = {
        "model": [line.model or "" for line in lines],
        "width": [f"{line.width:g}" if line.width is not None else "" for line in lines],
        "weights": [line.law or "" for line in lines],
        "norm": [line.norm or "" for line in lines],
        "difference": [show_difference(line.difference, metric) for line in lines],
        "epochs": [f"{line.epochs:g}" if line.epochs is not None else "" for line in lines] if unequal else [],
    }
    # A column that is empty in all lines is left out.
    model, width, law, norm, difference, epochs = (
        {title: texts} if any(texts) else {} for title, texts in optional.items()
    )
    columns = {
        **model,
        "method": [line.method for line in lines],
        **width,
        **law,
        **norm,
        "keep": ["" if line.keep is None else f"{line.keep:g}" for line in lines],
        test: [f"{metric.bare(line.test)}{_spread(line)}" for line in lines],
        **difference,
        validation: [metric.bare(line.val) for line in lines],
        "kept": [f"{100 * line.kept:.1f} %" for line in lines],
        "bits/weight": [f"{line.bits:.3f}" for line in lines],
        "bytes to ship": [f"{line.file_bytes:,.0f}" for line in lines],
        **epochs,
        "s/epoch": [f"{line.seconds:,.2f}" for line in lines],
    }
    rows = [row for row, line in zip(zip(*columns.values(), strict=True), lines, strict=True) if line.seeds]
    failed = (f"{full_name(line.place)}: a search failed: {line.error}" for line in lines if line.error)
    alone = "the most frequent class" if metric == ACCURACY else "one value"
    unlearned = (
        f"{full_name(line.place)}: {line.unlearned} of {line.seeds} seeds did not learn: "
        f"on validation data not clearly better than {alone} alone"
        for line in lines
        if line.unlearned
    )
    return Table(tuple(columns), rows, notes=(*explain_differences(lines), *failed, *unlearned))


def _spread(line: Line) -> str:
    return f" ± {line.metric.bare(line.std)}" if line.seeds > 1 else ""


def show_difference(difference: Difference | None, metric: Metric = ACCURACY) -> str:
    """Return a difference and its interval (of shares in percentage points), with "noise" if the interval holds 0."""
    if difference is None:
        return ""
    text = metric.bare(difference.mean, "+")
    if difference.low is None or difference.high is None:
        return text
    low, high = (metric.bare(end, "+") for end in (difference.low, difference.high))
    return f"{text} [{low}, {high}]{' noise' * difference.is_noise}"


def explain_differences(lines: Sequence[Line]) -> list[str]:
    """Return sentences on the differences in a table; none if there are none."""
    shown = [line.difference for line in lines if line.difference is not None]
    if not shown:
        return []
    others = list(dict.fromkeys(each.against for each in shown))
    other = f'"{others[0]}"' if len(others) == 1 else f'"{others[0].partition(", ")[0]}" at the same place'
    metric = lines[0].metric
    data = "images" if metric == ACCURACY else "data"
    unit = ", in percentage points" if metric.unit == "%" else metric.suffix and f", in {metric.unit}"
    pairs = "–".join(map(str, sorted({min(each.pairs for each in shown), max(each.pairs for each in shown)})))
    intervals = sum(each.low is not None for each in shown)
    notes = [
        f"test: mean{' and sample standard deviation' * any(line.seeds > 1 for line in lines)} over the seeds.",
        f"difference: test {metric.words} minus that of {other}{unit}; pairs of the same seed: {pairs}.",
    ]
    if not metric.higher_is_better:
        notes.append(f"Lower is better: a difference below 0 is an improvement of the {metric.words}.")
    if intervals:
        notes += [
            f"[low, high]: its {100 * CONFIDENCE:.0f} % confidence interval over seeds, on the same test {data} "
            "(Student's t on the pairs). noise: it holds 0.",
            f"Of {intervals} such intervals, not corrected for their number, one in twenty misses by chance alone.",
        ]
    if intervals < len(shown):
        notes.append("There is no interval for one pair of seeds, or if all pairs differ by the same amount.")
    return notes
