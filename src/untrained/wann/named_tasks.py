"""Tasks by the names that the command line knows them by."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from untrained.wann import environments
from untrained.wann.image_tasks import digits, mnist
from untrained.wann.supervised import Classify, Regress
from untrained.wann.task import Task

ENVIRONMENTS = {
    "swingup": environments.swing_up,
    "swingup-hard": environments.swing_up_hard,
    "cartpole": environments.cart_pole,
    "pendulum": environments.pendulum,
    "acrobot": environments.acrobot,
    "mountain-car": environments.mountain_car,
}
NAMES = ("digits", "mnist", *ENVIRONMENTS)
_MOST_CLASSES = 20  # a column of whole numbers with more of them is to be predicted as a number
_TEST_SHARE = 5  # one row in so many is for the test


def task_named(name: str, data_dir: str | Path | None = None) -> Task:
    """A task by its name.

    Args:
        name: `digits`, `mnist`, `swingup`, `swingup-hard`, `cartpole`, `pendulum`, `acrobot`, `mountain-car`, `gym:ID`
            with the id of a Gymnasium environment, or a .csv file whose last column is to be predicted.
        data_dir: where MNIST is, or where to download it to.

    Raises:
        ValueError: there is no such task, or its data are not valid.
        ImportError: an extra is needed.
        OSError: a file is missing.
    """
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]()
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(data_dir)
    if name.startswith("gym:"):
        from untrained.wann.gymnasium_task import GymEnv

        return GymEnv(name.removeprefix("gym:"))
    if name.lower().endswith(".csv"):
        return table(name)
    raise ValueError(f"task {name!r}: expected one of {', '.join(NAMES)}, gym:ID or a .csv file")


def preset_of(name: str) -> str:
    """The preset that suits a task: the authors', where they had the task."""
    own = {"digits": "digits", "mnist": "mnist256", "swingup": "swingup", "swingup-hard": "swingup"}
    if name.lower().endswith(".csv"):
        return "table"
    return own.get(name, "biped" if name.startswith("gym:BipedalWalker") else "default")


def table(path: str | Path) -> Task:
    """A task from a CSV file: every column but the last is an input, the last is to be predicted.

    A last column of words, or of at most 20 different whole numbers, holds classes; other numbers are predicted in
    standard deviations from their mean. A first line with a word for an input holds names. A fifth of the rows, always
    the same ones, is test data.

    Args:
        path: the file, UTF-8, separated by commas.

    Raises:
        ValueError: a row has another length, or an input is no finite number.
        OSError: there is no such file.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a CSV file: {error}") from None
    if lines and any(_number(cell) is None for cell in lines[0][1][:-1]):
        lines = lines[1:]
    rows = [row for _, row in lines]
    if len(rows) < 10 or len(rows[0]) < 2:
        raise ValueError(f"{path}: got {len(rows)} rows, expected at least 10 of two or more columns, by commas")
    inputs = np.empty((len(rows), len(rows[0]) - 1))
    for place, (line, row) in enumerate(lines):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path}: row {line} has {len(row)} columns, expected {len(rows[0])}")
        for column, cell in enumerate(row[:-1]):
            value = _number(cell)
            if value is None or not np.isfinite(value):
                raise ValueError(f"{path}: {cell!r} in row {line}, column {column + 1}, expected a number")
            inputs[place, column] = value
    numbers = [_number(row[-1]) for row in rows]
    words = [cell for cell in numbers if cell is None]
    if empty := next((line for line, row in lines if not row[-1]), None):
        raise ValueError(f"{path}: row {empty}, last column, is empty")
    if words and len(words) < len(rows):
        odd = next(i for i, value in enumerate(numbers) if (value is None) != (numbers[0] is None))
        line, row = lines[odd]
        raise ValueError(f"{path}: {row[-1]!r} in row {line}, last column, which mixes numbers and words")
    # Not every fifth: rows may come in turns.
    test = np.argsort(np.argsort(np.random.Philox(key=len(rows) + 1).random_raw(len(rows)))) < len(rows) // _TEST_SHARE
    name = Path(path).stem
    if words:
        targets = np.array([row[-1] for row in rows])
    else:
        targets = np.array(numbers, float)
        if not np.isfinite(targets).all():
            raise ValueError(f"{path}: the last column has NaN or infinity, expected finite numbers")
        whole = (targets == np.rint(targets)).all()
        if not whole or len(np.unique(targets)) > _MOST_CLASSES:
            targets = (targets - targets[~test].mean()) / (targets[~test].std() or 1.0)
            return Regress(inputs[~test], targets[~test], test=(inputs[test], targets[test]), name=name)
        targets = targets.astype(np.int64)
    # Of the whole column, so that a class that only the test rows have is one, too.
    labels, classes = np.unique(targets, return_inverse=True)
    known = {"labels": labels.tolist(), "test": (inputs[test], classes[test]), "name": name}
    return Classify(inputs[~test], classes[~test], **known)


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python's 1_000 is no number in a table
    except ValueError:
        return None
