"""The rows of metrics and the settings that stand in a run's folder, read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from untrained.files import read_json_lines
from untrained.runs.settings import read_toml

_LARGEST = 1e100


def read_rows(path: Path, key: str, gaps: list[str]) -> list[dict[str, Any]]:
    """Read the rows of a .jsonl file up to the first damaged one, `key` rising; add a sentence to `gaps` if one is."""
    if not path.is_file():
        gaps.append(f"There is no {path.name} in this run's folder.")
        return []
    rows = []
    for number, row in enumerate(read_json_lines(path), 1):
        place = None if row is None else row.get(key)
        if row is None or type(place) is not int or place < 0 or (rows and place <= rows[-1][key]):
            gaps.append(f"{path.name} is damaged from line {number} on; later lines are not shown.")
            break
        rows.append(row)
    return rows


def is_number(value: object) -> bool:
    """Return True for a finite number with |x| < 1e100."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def read_settings(path: Path, gaps: list[str]) -> dict[str, Any]:
    """Read a config.toml; a damaged one is empty, and a sentence in `gaps`."""
    try:
        return read_toml(path)
    except ValueError:
        gaps.append(f"{path.name} is damaged: the command of this run is not known.")
        return {}
