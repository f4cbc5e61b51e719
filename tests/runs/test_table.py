"""Cells and lines: means over seeds, and cells that come back from their files or not at all."""

import dataclasses
import itertools
import json
import statistics
from pathlib import Path

import pytest

from untrained.runs.table import Cell, lines_of, read_cell, write_cell
from untrained.runs.text_tables import of_lines

CELL = Cell("m", 0.3, 1, 0.9, 0.8, 1.0, 10, 5, 2)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cells").mkdir()


def test_the_shares_of_a_line_are_over_the_searches_that_went_well():
    good = [Cell("m", 0.5, seed, 0.5 + 0.1 * seed, 0.4, 1.0 + seed, 100, 50, 20 * (1 + seed)) for seed in range(3)]
    spoilt = Cell("m", 0.5, 3, error="it diverged")
    (line,) = lines_of([*good, spoilt])
    assert (line.seeds, line.error) == (3, "it diverged")
    assert (line.accuracy, line.std) == (pytest.approx(0.6), pytest.approx(0.1))
    assert (line.bits, line.file_bytes, line.seconds) == (pytest.approx(3.2), pytest.approx(40), pytest.approx(2))
    (alone,) = lines_of(good[:1])
    assert alone.std == 0 and alone.seeds == 1
    (none,) = lines_of([spoilt])
    assert none.seeds == 0 and none.accuracy != none.accuracy
    assert line.std == statistics.stdev([0.5, 0.6, 0.7])
    assert [each.keep for each in lines_of([*good, Cell("m", None, 0, 1.0, 1.0, 1.0, 1, 1, 1)])] == [0.5, None]


def test_a_line_counts_the_seeds_that_did_not_learn():
    cells = [Cell("m", None, seed, 0.9, val, 1.0, 9, 9, 9) for seed, val in enumerate((0.2, 0.11, 0.1, 0.12))]
    baseline = Cell("random-subnetwork", 0.5, 0, 0.1, 0.1, 0.0, 9, 9, 9, epochs=0)
    (line, other), (before, _) = (lines_of([*cells, baseline], chance=chance) for chance in (0.12, 0.0))
    assert (line.unlearned, other.unlearned, before.unlearned) == (3, 0, 0)
    assert of_lines([line, other]).notes == (
        "m: 3 of 4 seeds did not learn: on validation data not clearly better than the most frequent class alone",
    )


DAMAGE = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "no JSON": lambda text: "not JSON",
    "a list": lambda text: "[1, 2]",
    "null": lambda text: "null",
    "another key": lambda text: json.dumps(json.loads(text) | {"more": 1}),
    "another method's": lambda text: json.dumps(json.loads(text) | {"method": "biprop"}),
    "another fraction's": lambda text: json.dumps(json.loads(text) | {"keep": 0.5}),
    "another seed's": lambda text: json.dumps(json.loads(text) | {"seed": 0}),
    "one that failed": lambda text: json.dumps(json.loads(text) | {"error": "it diverged"}),
    "its first keys alone": lambda text: json.dumps(dict(list(json.loads(text).items())[:3])),
    "words for numbers": lambda text: json.dumps(json.loads(text) | {"accuracy": "high"}),
    "no number": lambda text: json.dumps(json.loads(text) | {"accuracy": None}),
    "not a number": lambda text: json.dumps(json.loads(text) | {"accuracy": float("nan")}),
    "no weights": lambda text: json.dumps(json.loads(text) | {"weights": 0}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cell_is_not_read(damage):
    write_cell(Path(), CELL)
    assert read_cell(Path(), CELL) == CELL
    path = Path("cells", f"{CELL.name}.json")
    path.write_text(DAMAGE[damage](path.read_text(encoding="utf-8")), encoding="utf-8")
    assert read_cell(Path(), CELL) is None


def test_bytes_that_are_no_text_are_no_cell():
    Path("cells", f"{CELL.name}.json").write_bytes(b"\xff\xfe\x00{")
    assert read_cell(Path(), CELL) is None


def test_a_cell_of_another_width_or_law_is_not_taken():
    places = [{}, {"width": 2.0}, {"width": 1.0}, {"law": "standard"}, {"law": "standard "}, {"law": "a(b=1)"}]
    cells = [dataclasses.replace(CELL, **each) for each in places]
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        write_cell(Path(), cell)
    assert [read_cell(Path(), cell) for cell in cells] == cells
    for cell, other in itertools.permutations(cells, 2):
        Path("cells", f"{cell.name}.json").write_text(json.dumps(dataclasses.asdict(other)), encoding="utf-8")
        assert read_cell(Path(), cell) is None


def test_cells_that_were_written_before_there_were_sweeps_are_read():
    old = {name: value for name, value in dataclasses.asdict(CELL).items() if name not in ("width", "law")}
    Path("cells/m-0.3-seed1.json").write_text(json.dumps(old), encoding="utf-8")
    assert read_cell(Path(), CELL) == CELL
