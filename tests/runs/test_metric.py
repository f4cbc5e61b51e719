import csv
import json
from pathlib import Path

import pytest

import untrained as ut
from untrained.runs.grid import read_grid
from untrained.runs.run import Row
from untrained.runs.statistics import student_quantile
from untrained.runs.table import Cell, lines_of, read_cell, write_cell, write_results
from untrained.runs.text_tables import of_lines, of_networks
from untrained.search.metric import ACCURACY, RMSE, Metric

KNOWN = {"seconds": 1.0, "weights": 10, "kept": 5, "file_bytes": 99, "epochs": 1}


def cells(values):
    return [
        Cell(method, None, seed, value=value, val_value=value + 1, **KNOWN)
        for method, its in values.items()
        for seed, value in enumerate(its)
    ]


TABLE = {"trained twin": (2.0, 2.5, 3.0), "biprop": (1.0, 1.5, 2.5)}


def test_a_table_of_errors_calls_nothing_an_accuracy_and_says_that_lower_is_better(tmp_path):
    its = cells(TABLE)
    lines = lines_of(its, "trained twin", chance=3.4, metric=RMSE)
    assert [line.test for line in lines] == pytest.approx([2.5, 5 / 3]) and lines[0].accuracy != lines[0].accuracy
    assert [line.unlearned for line in lines] == [2, 1]  # 3.5 and 4.0 of the twin, 3.5 of the other
    table = of_lines(lines)
    text = str(table.titles) + str(table.rows) + "".join(table.notes)
    assert "accuracy" not in text and "test RMSE" in table.titles and "Lower is better" in text
    assert "percentage points" not in text and "-0.8333" in text
    (tmp_path / "cells").mkdir()
    write_results(tmp_path, lines, its, command="compare", metric=vars(RMSE), chance=3.4)
    grid = read_grid(tmp_path)
    assert grid.metric == RMSE and repr(grid.lines) == repr(lines)
    assert "accuracy" not in ut.write_report(tmp_path).read_text(encoding="utf-8").partition("<script")[0]
    rows = list(csv.DictReader((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[1]["metric"] == "rmse" and rows[1]["accuracy"] == "" and rows[1]["seeds"] == "3"
    half = student_quantile(0.975, 2) * float(rows[1]["std"]) / 3**0.5
    assert float(rows[1]["mean_high"]) - float(rows[1]["value"]) == pytest.approx(half)
    figure = ut.plot.comparison("t", lines)
    assert figure.axes[0].get_ylabel() == "RMSE on test data"
    figure = ut.plot.sweep("t", "keep", lines)
    assert len(figure.axes) == 1 and figure.axes[0].get_ylabel() == "RMSE on test data"


def test_a_cell_keeps_its_value(tmp_path):
    (tmp_path / "cells").mkdir()
    cell = cells(TABLE)[0]
    write_cell(tmp_path, cell)
    assert read_cell(tmp_path, Cell(cell.method, None, 0)) == cell
    json.loads(Path(tmp_path, "cells", f"{cell.name}.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_the_table_of_a_search_names_its_metric():
    nan = float("nan")
    rows = [Row("found subnetwork", nan, nan, 10, 5, 99, 1.0, Metric("mae", "°C", higher_is_better=False), 0.5, 0.75)]
    table = of_networks(rows)
    assert table.titles[1] == "test mae" and table.rows[0][1] == "0.5 °C"
    assert ACCURACY.show(0.98204) == "98.20%" and ACCURACY.bare(0.01, "+") == "+1.00"


@pytest.mark.parametrize(
    "facts", [{"name": "loss"}, {"name": "a b"}, {"name": "x" * 41}, {"name": "a", "unit": "\n"}, {"nome": "a"}, 3, []]
)
def test_a_damaged_metric_is_refused(facts):
    with pytest.raises(ValueError, match="metric"):
        Metric.read({"metric": facts})
