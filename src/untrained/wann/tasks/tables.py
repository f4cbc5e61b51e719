"""CSV tables as tasks."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np

from untrained.wann.tasks.supervised import Classify, Regress

Predict = Literal["classes", "numbers"]
Line = tuple[int, list[str]]

_FEW, _MANY = 20, 100  # different whole numbers that are classes in any case, and that are if they count from 0 or 1
_TEST_SHARE = 5  # one row in five is for the test
_MISSING = {"", "?", "na", "n/a", "nan", "null", "<na>"}


def table(path: str | Path, predict: Predict | None = None) -> Classify | Regress:
    """Return a task from a CSV file: every column but the last is an input, the last is to be predicted.

    A first row with a word for every input holds names. A last column of words holds classes. One of whole numbers
    does, too, if there are at most 20 different ones, or if they are all of 0 … n or 1 … n, at most 100, each in two
    rows or more. Other numbers are predicted in standard deviations from their mean. `about` of the task describes
    this reading. A fifth of the rows, always the same ones, is test data.

    Args:
        path: the file, UTF-8, separated by commas.
        predict: content of the last column; None: as above.

    Raises:
        ValueError: a row has another length, an input is no finite number, a value is missing, or the last column
            is the same in all rows.
        OSError: there is no such file.
    """
    lines = _read(path)
    names = lines[0] if lines and _are_names(lines[0][1]) else None
    lines = lines[1:] if names else lines
    rows = [row for _, row in lines]
    if len(rows) < 10 or len(rows[0]) < 2:
        raise ValueError(f"{path} must have 10 rows or more, of two or more columns, by commas, got {len(rows)} rows")
    inputs = _inputs(path, lines)
    cells, numbers = [row[-1] for row in rows], [_number(row[-1]) for row in rows]
    _check_last(path, lines, numbers, predict)
    as_classes = None in numbers or (_are_classes(cells) if predict is None else predict == "classes")
    if as_classes and None in numbers and Counter(cells)[cells[0]] == 1:
        raise ValueError(
            f"{path}: row {lines[0][0]}, last column must be a class of other rows, too, got {cells[0]!r}; if that row "
            "holds names, delete it or make them words; if it holds data, put another row first"
        )
    # Not every fifth: rows may come in turns.
    test = np.argsort(np.argsort(np.random.Philox(key=len(rows) + 1).random_raw(len(rows)))) < len(rows) // _TEST_SHARE
    first = f"row {names[0]} holds names" if names else f"row {lines[0][0]} is read as data ({_preview(rows[0])})"
    about, name = f"{Path(path).name}: {len(rows):,} rows; {first}; the last column", Path(path).stem
    if as_classes:
        labels, classes = _classes(path, lines)
        known = {"labels": labels, "test": (inputs[test], classes[test]), "name": name}
        task = Classify(inputs[~test], classes[~test], **known)
        most = np.bincount(classes[test]).max() / test.sum()
        task.about = (
            f"{about} is read as {len(labels)} classes ({_preview(labels)}); {most:.1%} of the test rows have one"
        )
        other = "numbers" if None not in numbers else None
    else:
        y = np.array(numbers, float)
        y = (y - y[~test].mean()) / (y[~test].std() or 1.0)
        task = Regress(inputs[~test], y[~test], test=(inputs[test], y[test]), name=name)
        task.about, other = f"{about} is read as numbers", "classes"
    if predict is None and other:
        task.about += f" (--predict {other} if it holds {other})"
    return task


def _read(path: str | Path) -> list[Line]:
    """Read the rows that are not empty, with their numbers in the file."""
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from None


def _are_names(row: Sequence[str]) -> bool:
    """Return True for a first row that holds a word for every input."""
    inputs = row[:-1]
    return len(inputs) > 0 and all(_number(cell) is None and cell.casefold() not in _MISSING for cell in inputs)


def _inputs(path: str | Path, lines: Sequence[Line]) -> np.ndarray:
    """Return the numbers of all columns but the last, (rows, inputs)."""
    columns = len(lines[0][1])
    inputs = np.empty((len(lines), columns - 1))
    for place, (line, row) in enumerate(lines):
        if len(row) != columns:
            raise ValueError(f"{path}: row {line} must have {columns} columns, got {len(row)}")
        for column, cell in enumerate(row[:-1]):
            value = _number(cell)
            if value is None or not np.isfinite(value):
                names = "; a row of names has a word for every input" if not place else ""
                raise ValueError(f"{path}: row {line}, column {column + 1} must be a number, got {cell!r}{names}")
            inputs[place, column] = value
    return inputs


def _check_last(
    path: str | Path, lines: Sequence[Line], numbers: Sequence[float | None], predict: Predict | None
) -> None:
    """Refuse a last column that lacks values, is the same in all rows, or is not of one kind."""
    words = numbers.count(None)
    for (line, row), number in zip(lines, numbers, strict=True):
        cell, rule = row[-1], ""
        if cell.casefold() in ({""} if predict == "classes" else _MISSING):
            rule = "must not be missing"
        elif predict == "numbers" and number is None:
            rule = "must be a number, as predict='numbers'"
        elif predict is None and 0 < words < len(lines) and (number is None) != (numbers[0] is None):
            first = f"; row {lines[0][0]} is read as data" if numbers[0] is None else ""
            rule = f"must not mix numbers and words{first}; --predict classes takes both as classes"
        elif number is not None and not np.isfinite(number) and predict != "classes":
            rule = "must be finite"
        if rule:
            raise ValueError(f"{path}: row {line}, last column {rule}, got {cell!r}")
    if len({row[-1] for _, row in lines}) == 1:
        raise ValueError(f"{path}: the last column must hold 2 classes or more, got {lines[0][1][-1]!r} in all rows")


def _are_classes(cells: Sequence[str]) -> bool:
    """Return True for numbers that name classes: few whole ones, or whole ones that count from 0 or 1."""
    found = Counter(_whole(cell) for cell in cells)
    if None in found:
        return False
    count, least = len(found), min(number for number in found if number is not None)
    in_turn = least in (0, 1) and all(number in found for number in range(least, least + count))
    return count <= _FEW or (count <= _MANY and in_turn and min(found.values()) > 1)


def _classes(path: str | Path, lines: Sequence[Line]) -> tuple[list[str], np.ndarray]:
    """Return labels in order, and the class of every row; of all rows, as a class may be in test rows alone."""
    first_seen: dict[Hashable, tuple[str, int]] = {}
    found: list[int | float | str] = []
    for line, row in lines:
        text = unicodedata.normalize("NFC", row[-1])
        whole, number = _whole(text), _number(text)
        key = whole if whole is not None else number if number is not None and np.isfinite(number) else text
        before, first = first_seen.setdefault(key, (text, line))
        if before != text:
            raise ValueError(
                f"{path}: a number must be written in one way if it is one class, "
                f"got {before!r} in row {first} and {text!r} in row {line}, last column"
            )
        found.append(key)
    # Numbers in their order, then words.
    order = sorted(set(found), key=lambda key: (isinstance(key, str), key))
    place = {key: number for number, key in enumerate(order)}
    return [str(key) for key in order], np.array([place[key] for key in found])


def _whole(cell: str) -> int | None:
    """Return the whole number of a cell, exactly however long it is; None if it holds none."""
    number = _number(cell)
    if number is None or not np.isfinite(number):
        return None
    exact = Decimal(cell)
    return int(exact) if exact == exact.to_integral_value() else None


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python's 1_000 is no number in a table
    except ValueError:
        return None


def _preview(cells: Sequence[str]) -> str:
    shown = ", ".join(cell if len(cell) <= 20 else f"{cell[:20]}…" for cell in cells[:6])
    return shown if len(cells) <= 6 else f"{shown}, …"
