"""Rows of a frontier that nobody searched, for tests of its sentences, its picture and its page."""

import math

from untrained.runs.frontier import entries_of
from untrained.runs.table import Cell

TRAINED = ("trained twin", "ternary-twin", "pruned-twin")
CHANCE = 0.12
HOSTILE = "</script><script>alert(1)</script><b onclick='x'>$\\frac$^{\x1b[31m constructor"


def cell(method, keep, seed, test, val, size, error="", width=None):
    return Cell(method, keep, seed, test, val, 1.0, 1000, 500, size, error, width)


def row(method, keep, size, *accuracies, width=None):
    """Cells of a row, with the same accuracy on validation and test data; None for a search that failed."""
    return [
        cell(method, keep, seed, math.nan, math.nan, 0, "it diverged", width)
        if share is None
        else cell(method, keep, seed, share, share, size + seed, "", width)
        for seed, share in enumerate(accuracies)
    ]


def grid():
    """Forty rows: two methods over keeps and widths, three trained networks over widths, three seeds."""
    cells = []
    for width in (0.25, 0.5, None, 2.0):
        for keep in (0.01, 0.02, 0.03, 0.05, 0.1, 0.5):
            size = int(600 + 1e5 * (width or 1) * keep**0.8)
            best = 0.986 - 0.004 * (0.03 / keep) ** 0.5 / (width or 1)
            cells += row("edge-popup", keep, size, best, best + 0.001, best - 0.0005, width=width)
        for place, method in enumerate(TRAINED):
            size, best = int(9e4 * (width or 1) / (place + 1)), 0.984 - 0.004 * place / (width or 1)
            cells += row(method, None, size, best, best, best - 0.001, width=width)
        cells += row(f"{40 * 'mine/'}.py:Own", 0.5, int(9000 * (width or 1)), 0.97, 0.975, 0.97, width=width)
    return cells


CASES = {
    "forty rows": grid(),
    "one row": row("edge-popup", 0.5, 7000, 0.98),
    "one row of each": [*row("edge-popup", 0.5, 7000, 0.98, 0.97), *row("ternary-twin", None, 7000, 0.98, 0.97)],
    "all failed": [*row("edge-popup", 0.5, 0, None, None), *row("ternary-twin", None, 0, None, 0.1)],
    "perfect": [*row("edge-popup", 0.5, 7000, 1.0, 1.0), *row("ternary-twin", None, 700, 1.0, 0.2)],
    "hostile": [
        *row(HOSTILE, 0.5, 7000, 0.9, 0.91),
        *row("constructor", None, 800, 0.3, 0.4),
        *row("猫", None, 9, None),
    ],
}
ENTRIES = {name: entries_of(cells, TRAINED, CHANCE) for name, cells in CASES.items()}
