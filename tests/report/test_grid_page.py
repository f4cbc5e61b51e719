"""The page about a comparison: its curves against a plain computation, and whatever its files hold."""

import json
import math
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import untrained as ut
from browsing import LOOKS, check_page
from untrained.cli import main
from untrained.data.batches import Batches
from untrained.report import seed_curves
from untrained.report.grid_page import write_grid_report
from untrained.runs.grid import read_grid
from untrained.runs.settings import CompareSettings, settle
from untrained.runs.table import RANDOM, TWIN, Cell, lines_of, write_cell, write_results

HOSTILE = "</script><b onclick='x'>$\\frac$\x1b[31m"


def write_grid(folder, methods, seeds=3, epochs=4, keeps=(0.5, 0.1)):
    """Files as `compare` leaves them, of networks that nobody searched."""
    cells = []
    for row, (method, keep) in enumerate([(TWIN, None), (RANDOM, 0.5), *((m, k) for m in methods for k in keeps)]):
        for seed in range(seeds):
            accuracy = 0.9 - 0.01 * row + 0.004 * ((seed * (row + 1)) % 3)
            spent = 0 if method == RANDOM else epochs
            cell = Cell(method, keep, seed, accuracy, accuracy - 0.01, 0.5, 100, 50, 40 + row, epochs=spent)
            cells.append(cell)
            (folder / "cells" / cell.name).mkdir(parents=True)
            write_cell(folder, cell)
            if method != RANDOM:
                rows = [
                    {"epoch": n, "val_accuracy": accuracy * n / epochs, "seconds": 0.5, "examples_per_second": 2594.0}
                    for n in range(1, epochs + 1)
                ]
                text = "".join(json.dumps(each) + "\n" for each in rows)
                (folder / "cells" / cell.name / "metrics.jsonl").write_text(text, encoding="utf-8")
    write_results(folder, lines_of(cells, TWIN), cells, command="compare", against=TWIN)
    setup = settle(CompareSettings(methods=",".join(methods), epochs=epochs, seeds=seeds), {})
    (folder / "config.toml").write_text(setup.to_toml(), encoding="utf-8")
    return cells


@pytest.fixture
def run(tmp_path):
    write_grid(tmp_path, ["edge-popup", "biprop"])
    return tmp_path


SHARES = st.floats(0, 1)
ROWS = st.lists(st.tuples(SHARES, st.floats(0.01, 9), st.integers(1, 999)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 64))
def test_a_curve_is_the_mean_of_the_seeds_that_have_the_epoch(seeds, size):
    histories = [
        [
            {"epoch": n, "val_accuracy": share, "seconds": seconds, "examples_per_second": images / seconds}
            for n, (share, seconds, images) in enumerate(rows, 1)
        ]
        for rows in seeds
    ]
    points = seed_curves.mean_curve(histories, size)
    assert [point.epochs for point in points] == list(range(1, max(map(len, seeds)) + 1))
    for point in points:
        its = [rows[: point.epochs] for rows in seeds if len(rows) >= point.epochs]
        shares = [rows[-1][0] for rows in its]
        std = statistics.stdev(shares) if len(shares) > 1 else 0
        assert point.mean == pytest.approx(sum(shares) / len(shares))
        assert (point.low, point.high) == (pytest.approx(point.mean - std), pytest.approx(point.mean + std))
        assert point.seconds == pytest.approx(sum(row[1] for rows in its for row in rows) / len(its))
        steps = [sum(_steps(row[2], size) for row in rows) for rows in its]
        assert point.steps == round(sum(steps) / len(steps))


def _steps(images, size):
    """The length of our batches."""
    batches = SimpleNamespace(_count_examples=lambda: images, batch_size=size, _world=1)
    return Batches.__len__(batches)


def test_what_was_not_noted_is_not_drawn():
    rows = [{"epoch": 1, "val_accuracy": 0.5, "seconds": 1.0}, {"epoch": 2, "val_accuracy": math.inf}, {"epoch": 3}]
    (point,) = seed_curves.mean_curve([rows], 8)
    assert (point.epochs, point.steps, point.seconds, point.mean) == (1, None, 1.0, 0.5)
    assert seed_curves.mean_curve([rows[1:], []], None) == []


def test_a_long_line_is_thinned_and_keeps_its_end():
    points = [seed_curves.Point(n, n, 1.0 * n, 0.5, 0.4, 0.6) for n in range(1, 2001)]
    spec = seed_curves.chart({0: points}, ["a"], lines_of([Cell("a", None, 0, 0.5, 0.5, 1.0, 1)]), "epochs")
    places = [value["x"] for value in spec["data"]["values"]]
    assert len(places) < 400 and max(places) == 2000


MANY = [f"method-{n}(signed=True)" for n in range(10)]


@pytest.mark.parametrize(("methods", "width", "dark"), [([], *LOOKS[1]), *((MANY, *look) for look in LOOKS)])
def test_the_page_is_readable(opened, tmp_path, methods, width, dark):
    write_grid(tmp_path, methods)
    page = opened(write_grid_report(tmp_path), width=width, dark=dark)
    check_page(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count() == 3
    texts = page.locator("svg text").all_text_contents()
    for title in ("epochs", "steps", "seconds", "accuracy on validation data, %", "trained twin"):
        assert title in texts, title
    assert page.locator("g.role-legend-label text").count() == 1 + 2 * len(methods)
    assert page.locator(".chart").first.locator("g.mark-line.role-mark path").count() == 1 + 2 * len(methods)
    rows = page.locator("tbody tr").all_inner_texts()
    assert len(rows) == 2 + 2 * len(methods) and "[" in rows[1] and "[" not in rows[0]
    text = page.inner_text("main")
    assert "spread from seed to seed" in text and "their folders hold no metrics: random-subnetwork" in text


def test_clicks_in_the_legend_show_lines_alone_and_take_them_back(opened, run):
    page = opened(write_grid_report(run))
    first = page.locator(".chart").first
    lines = first.locator("g.mark-line.role-mark path")

    def shown():
        return sum(float(line.get_attribute("opacity") or 1) > 0.5 for line in lines.all())

    assert shown() == 5
    for name, count in (("biprop, keep 0.1", 1), ("trained twin", 2), ("biprop, keep 0.1", 1), ("trained twin", 5)):
        first.locator("g.role-legend-label text", has_text=name).click()
        page.wait_for_function(
            "count => [...document.querySelectorAll('.chart')[0].querySelectorAll('g.mark-line.role-mark path')]"
            ".filter(line => Number(line.getAttribute('opacity') ?? 1) > 0.5).length === count",
            arg=count,
        )
        assert shown() == count


def test_whatever_methods_are_called_they_are_text(opened, tmp_path):
    names = [HOSTILE, "constructor", "__proto__", "x" * 500, "var(--ink)", "\u202e|*_"]
    write_grid(tmp_path, names, keeps=(None,))
    page = opened(write_grid_report(tmp_path), width=400)
    check_page(page)
    assert page.locator("b").count() == 0 and page.locator(".chart svg").count() == 3
    assert page.locator(".chart").first.locator("g.mark-line.role-mark path").count() == 7


def test_the_command_writes_the_page_again(run, capsys):
    main(["report", str(run)])
    assert capsys.readouterr().out.startswith(f"{run / 'report.html'}: ")
    assert "untrained compare --epochs 4 --methods edge-popup,biprop" in (run / "report.html").read_text()
    assert ut.write_report(run) == run / "report.html"


def test_without_results_there_is_nothing_to_show(run):
    (run / "results.json").unlink()
    with pytest.raises(ValueError, match=r"holds no finished comparison: there is no results\.json in it"):
        ut.write_report(run)


DAMAGE = ["", "[]", "{}", '{"cells": []}', '{"cells": [{"method": "a"}]}', '{"cells": [3]}', "[" * 100_000,
          '{"cells": [{"method": "a", "seed": 0, "accuracy": 7, "weights": 3}]}',
          '{"against": "b", "cells": [{"method": "a", "seed": 0, "error": "x"}]}']  # fmt: skip


@pytest.mark.parametrize("text", DAMAGE)
def test_damaged_results_are_refused_by_name(run, text):
    (run / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json is damaged: "):
        ut.write_report(run)


def test_damaged_metrics_and_settings_are_told_and_the_rest_is_shown(run):
    (run / "config.toml").write_text("[[")
    for cell, text in zip(
        read_grid(run).cells[::4], ["no\n", '{"epoch": -1}\n', '{"epoch": 1, "seconds": "x"}\n'], strict=False
    ):
        (run / "cells" / cell.name / "metrics.jsonl").write_text(text)
    text = write_grid_report(run).read_text(encoding="utf-8")
    assert "config.toml is damaged" in text and "trained-twin-" in text and "Networks compared" in text
    assert "Over the steps" not in text  # nobody knows the size of a batch


def test_results_of_before_there_were_epochs_and_differences_are_shown(run):
    results = json.loads((run / "results.json").read_text())
    for cell in results["cells"]:
        del cell["epochs"]
    (run / "results.json").write_text(json.dumps({"lines": results["lines"], "cells": results["cells"]}))
    grid = read_grid(run)
    assert grid.command == "" and grid.lines[1].difference.against == TWIN and grid.lines[0].epochs is None
    assert "Learning curves" in write_grid_report(run).read_text(encoding="utf-8")
