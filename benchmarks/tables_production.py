"""The tables of docs/production.md, for tables.py."""

from __future__ import annotations

from harness import measured
from markdown_table import table

FORMATS = {
    "ticket": "ticket",
    "onnx": "small ONNX",
    "onnx --dense": "dense ONNX",
    "numpy": "numpy reader",
    "js": "JavaScript module",
    "safetensors": "safetensors",
    "html": "web page",
}


def production_files() -> str:
    """Bytes of a found network in each format."""
    rows = [
        [name, f"{row['weights']:,}", *(f"{row[form]:,}" for form in FORMATS)]
        for name, row in measured("production")["files"].items()
    ]
    return table(["network", "weights", *FORMATS.values()], rows)


def production_forms() -> str:
    """Ternary weights in an ONNX file: bytes, times and errors."""
    rows = []
    for row in measured("production")["forms"]:
        if "fails" in row:
            rows.append([row["form"], f"{row['bytes']:,}", "fails", "", "", ""])
        else:
            times = [f"{row[name]:,.2f}" for name in ("load_ms", "batch 1, ms", "batch 64, ms")]
            rows.append([row["form"], f"{row['bytes']:,}", *times, f"{row['error']:.0e}"])
    return table(["weights", "bytes", "to load, ms", "batch 1, ms", "batch 64, ms", "error"], rows)
