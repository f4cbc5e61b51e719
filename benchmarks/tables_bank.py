"""The tables of docs/bank.md, for tables.py."""

from __future__ import annotations

from typing import Any

from harness import measured
from markdown_table import table

NOT_YET = "Not measured yet."
NAMES = {
    "permuted": "permuted pixels",
    "rotated": "turned by 30° more",
    "split": "0 or 1, 2 or 3, …",
    "pairs": "pairs of classes",
}


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def bank_scenarios() -> str:
    """Accuracy with the task known and inferred, and bytes."""
    if not _scenarios():
        return NOT_YET
    rows = []
    for scenario, row in _scenarios().items():
        ways = [row[f"batch, {how}"] for how in ("statistics", "gradient", "each")] + [row["single image, each"]]
        inferred = [f"{percent(way['accuracy'])} ({percent(way['right'])})" for way in ways]
        size = f"{row['bytes'] / row['tasks']:,.0f}"
        rows.append([f"{NAMES[scenario]}, {row['tasks']} tasks", percent(row["accuracy"]), *inferred, size])
    titles = ["tasks on one 784-256-256-10", "task known", "statistics", "gradient", "each", "each, one image"]
    return table([*titles, "bytes a task"], rows)


def bank_says() -> str:
    """The bytes of the bank of 250 tasks beside other ways."""
    if not _scenarios():
        return NOT_YET
    row = _scenarios()["permuted"]
    dense = row["tasks"] * (4 * row["weights"] + 4 * 2 * 512)
    return (
        f"The {row['tasks']} tasks take {row['bytes'] / 1e6:.2f} MB in one file: as many float32 networks would take "
        f"{dense / 1e6:,.0f} MB, in int8 {dense / 4e6:,.0f} MB. A task's record is "
        f"{row['bytes'] / (row['entropy'] + row['extras']):.3f} times as large as the entropy of its codes, tensor by "
        f"tensor, and its own statistics as they are stored ({row['extras'] / row['tasks']:,.0f} bytes)."
    )


def bank_peers() -> str:
    titles = ["20 tasks, an epoch of each", "mean test accuracy, %", "worst task, %", "bytes of all"]
    rows = [
        [
            f"{row['way']}: {NAMES[row['scenario']]}",
            percent(row["accuracy"]),
            percent(row["least"]),
            f"{row['bytes']:,}",
        ]
        for row in measured("bank_peers")
    ]
    return table(titles, rows)


def bank_switching() -> str:
    found = measured("bank_speed")
    if not found:
        return NOT_YET
    rows = []
    for network in ("4096 × 4096", "ResNet-50"):
        for timing in found[network]:
            rows.append([f"{network}: {timing['variant']}", f"{timing['ms']:.2f}", f"{timing['ratio']:.2f}"])
    return table(["one thread", "ms", "÷ copy of the floats"], rows)


def bank_inferring() -> str:
    found = measured("bank_speed")
    if not found:
        return NOT_YET
    rows = [[its["variant"], f"{its['ms']:.2f}", f"{its['ratio']:.2f}"] for its in found["inferring among 250"]]
    return table(["784-512-512-10, 128 images, 250 tasks", "ms", "÷ forward and backward"], rows)


def _scenarios() -> dict[str, dict[str, Any]]:
    found = measured("bank")
    return found["scenarios"] if found else {}
