"""`frontier`: its grid, every cell what `compare` finds there, what is left out, and going on after an interruption."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest

import untrained as ut
from command_checks import interrupt_after
from untrained.cli import main
from untrained.experiments import cells
from untrained.experiments import compare as comparison
from untrained.experiments.compare import compare
from untrained.experiments.frontier import frontier
from untrained.opponents import OPPONENTS
from untrained.runs.table import TWIN

QUICK = {"widths": (8,), "epochs": 1, "seeds": 2, "jobs": 1}
FEW = QUICK | {"methods": "biprop", "opponents": "int8-twin", "width": "1,2", "keep": "0.5"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison.plot, "available", lambda: False)  # pictures take longer than a search


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return frontier(**FEW, out=tmp_path_factory.mktemp("frontier") / "run")


@pytest.fixture
def made_up(monkeypatch):
    """A function that takes the results of all cells from a function instead of searching."""

    def take(result):
        setups = []

        def run(setup, cell, *_):
            setups.append(setup)
            known = {"accuracy": 0.9, "val_accuracy": 0.9, "seconds": 1.0, "weights": 10, "kept": 5, "file_bytes": 99}
            return dataclasses.replace(cell, **known | result(cell))

        monkeypatch.setattr(cells, "run_cell", run)
        return setups

    return take


def untimed(cells):
    return [dataclasses.replace(cell, seconds=0, width=None, norm=None) for cell in cells]


def test_the_grid_is_the_product_and_results_are_in_all_files(found):
    names = [(TWIN, None), ("biprop", 0.5), ("int8-twin", None)]
    places = [(*name, width) for name in names for width in (1.0, 2.0)]
    assert [(c.method, c.keep, c.width, c.seed) for c in found.cells] == [(*p, s) for p in places for s in (0, 1)]
    assert [entry.trained for entry in found.entries] == [True, True, False, False, True, True]
    assert [line.error for line in found.lines] == [""] * 6 and found.sentences
    rows = list(csv.DictReader(io.StringIO((found.folder / "results.csv").read_text(encoding="utf-8"))))
    assert [(row["method"], row["seed"]) for row in rows] == [(cell.method, str(cell.seed)) for cell in found.cells]
    page = found.report.read_text(encoding="utf-8")
    assert all(sentence[1:] in page for sentence in found.sentences) and "untrained frontier --widths 8" in page
    assert found.sentences[0] in found._repr_html_()


def test_the_page_can_be_written_again(found):
    before = found.report.read_bytes()
    found.report.write_text("")
    assert ut.write_report(found.folder).read_bytes() == before


@pytest.mark.parametrize(("number", "settings"), [(3, {"widths": (16,)}), (5, {"widths": (16,)}), (0, {})])
def test_the_same_cell_in_compare_is_the_same_network(found, number, settings):
    own = found.entries[number].cells
    methods = {"methods": "" if own[0].method == TWIN else own[0].method}
    compared = compare(**QUICK | settings, **methods, norm="batch", out=Path("compared"))
    assert untimed(own) == untimed(cell for cell in compared.cells if cell.method == own[0].method)


def test_every_cell_is_given_its_norm_and_width(made_up):
    setups = made_up(lambda cell: {})
    found = frontier(**FEW | {"seeds": 1}, norm="none,batch", out=Path("run"))
    assert {(setup.norm, setup.widths) for setup in setups} == {(n, w) for n in (None, "batch") for w in ((8,), (16,))}
    assert [entry.name for entry in found.entries if not entry.trained] == [
        f"biprop, keep 0.5, width {width}, norm {norm}" for norm in ("none", "batch") for width in (1.0, 2.0)
    ]
    assert len({cell.name for cell in found.cells}) == len(found.cells) == 12


@pytest.mark.parametrize(
    ("model", "norms", "widths", "opponents"),
    [
        ("resnet18", {None}, 3, {*OPPONENTS}),
        ("mnist-conv", {"batch"}, 1, {*OPPONENTS} - {"narrow-twin"}),
        ("mnist-conv", {"batch"}, 1, {*OPPONENTS} - {"narrow-twin", "imp-ticket"} | {"imp-ticket(keep=0.1)"}),
    ],
)
def test_defaults_are_those_that_the_network_can_have(made_up, model, norms, widths, opponents):
    setups = made_up(lambda cell: {})
    all_named = {"opponents": "all"} if "imp-ticket" in opponents else {}
    found = frontier(model=model, seeds=1, keep="0.5", jobs=1, **all_named, out=Path("run"))
    assert {setup.norm for setup in setups} == norms
    assert len({entry.cells[0].width for entry in found.entries}) == widths
    assert {entry.cells[0].method for entry in found.entries if entry.trained} == {TWIN, *opponents}


def test_what_failed_or_did_not_learn_is_in_the_table_and_in_no_sentence(made_up):
    def result(cell):
        if cell.method == "biprop":
            return {"val_accuracy": 0.11 if cell.seed else 0.99}
        if cell.method == "int8-twin":
            return {"error": "it diverged", "accuracy": float("nan")} if cell.seed else {"val_accuracy": 1.0}
        return {"accuracy": 0.9 - 0.1 * cell.seed, "file_bytes": 100 if cell.method == TWIN else 99}

    made_up(result)
    found = frontier(**FEW | {"methods": "biprop,edge-popup", "width": "1"}, out=Path("run"))
    faults = {entry.name: entry.fault for entry in found.entries}
    assert faults == {
        TWIN: "",
        "biprop, keep 0.5": "seed 1 did not learn",
        "edge-popup, keep 0.5": "",
        "int8-twin": "seed 1 failed: it diverged",
    }
    assert [line.method for line in found.lines] == [TWIN, "biprop", "edge-popup", "int8-twin"]
    assert found.sentences == (
        "from 99 bytes to 100 bytes: edge-popup, keep 0.5 alone, as no trained network is that small",
        "from 100 bytes on: edge-popup, keep 0.5 and trained twin level, the same of every seed",
    )
    page = found.report.read_text(encoding="utf-8")
    assert "biprop, keep 0.5 (seed 1 did not learn); int8-twin (seed 1 failed: it diverged)" in page


def test_all_may_fail(made_up, capsys):
    made_up(lambda cell: {"error": "no luck", "accuracy": float("nan"), "val_accuracy": float("nan")})
    main(
        [
            "frontier",
            "--seeds",
            "1",
            "--keep",
            "0.5",
            "--width",
            "1",
            "--jobs",
            "1",
            "--opponents",
            "all",
            "--out",
            "run",
        ]
    )
    assert capsys.readouterr().out.count("a search failed: no luck") == 3 + len(OPPONENTS)
    assert "No network finished and learned." in Path("run/report.html").read_text(encoding="utf-8")
    assert json.loads(Path("run/results.json").read_text(encoding="utf-8"))["command"] == "frontier"


def test_the_command_prints_who_is_ahead_of_whom(made_up, capsys):
    made_up(lambda cell: {"accuracy": 0.9 + cell.seed / 1000 if cell.method == "biprop" else 0.8})
    words = [word for name, value in FEW.items() for word in (f"--{name}", *(value if name == "widths" else [value]))]
    main(["frontier", *map(str, words), "--against", "int8-twin", "--out", "run"])
    said = "from 99 bytes on: biprop, keep 0.5, width 1.0 ahead of int8-twin, width 1.0 by 10.05 ± 0.64 points"
    assert capsys.readouterr().out.count(said) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"opponents": "biprop"}, "opponents must be all, none or names, got 'biprop'; known: binary-twin"),
        ({"opponents": "int8-twn"}, "got 'int8-twn' (did you mean int8-twin?); known: binary-twin"),
        ({"opponents": "imp-tickett(keep=0.1)"}, "(did you mean imp-ticket?); known"),
        ({"opponents": "alll"}, "got 'alll' (did you mean all?)"),
        ({"against": "biprp"}, "got 'biprp' (did you mean biprop?); it has"),
        ({"opponents": "mine.py:Own"}, "opponents must be all, none or names, got 'mine.py:Own'"),
        ({"opponents": "int8-twin(nope=1)"}, "no field 'nope'"),
        ({"methods": "ternary-twin"}, "methods must be those of tickets, got 'ternary-twin'; it belongs to opponents"),
        ({"methods": "opponents"}, "methods must be those of tickets, got 'opponents'"),
        ({"methods": "nonsense"}, "unknown method 'nonsense'"),
        ({"against": "gem-miner"}, "against must be a method of the table, got 'gem-miner'; it has trained twin"),
        ({"norm": "layer"}, "norm must be none, batch or both with a comma between them, got 'layer'"),
        ({"norm": ""}, "norm must be none, batch or both"),
        ({"width": "0,1"}, "width must be in (0, 64], got '0,1'"),
        ({"keep": "0"}, "keep must be in (0, 1], got '0'"),
        ({"model": "mnist-conv", "widths": None, "width": "0.5,1"}, "mnist-conv has no width to vary"),
        ({"model": "mnist-conv", "widths": None, "width": None, "opponents": "narrow-twin"}, "mnist-conv has no width"),
        ({"model": "resnet18", "widths": None, "norm": "batch"}, "norm"),
        ({"model": "foo", "widths": None}, "unknown network 'foo'"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(changes, says):
    with pytest.raises(ValueError) as error:
        frontier(**FEW | changes, out=Path("run"))
    assert says in str(error.value) and not Path("run").exists()


def test_a_frontier_that_was_interrupted_says_how_to_go_on_and_ends_in_the_same_numbers(found, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        with pytest.raises(KeyboardInterrupt) as stop:
            frontier(**FEW, out=Path("broken"))
    assert str(stop.value) == "interrupted; go on with: untrained frontier --out broken --resume"
    times = {path: path.stat().st_mtime_ns for path in Path("broken").glob("cells/*.json")}
    again = frontier(**FEW, out=Path("broken"), resume=True)
    assert times and {path: path.stat().st_mtime_ns for path in times} == times
    assert untimed(again.cells) == untimed(found.cells) and again.sentences == found.sentences
    with pytest.raises(ValueError, match=" has opponents = int8-twin"):
        frontier(**FEW | {"opponents": "none"}, out=Path("broken"), resume=True)
    against = frontier(**FEW | {"against": "int8-twin"}, out=Path("broken"), resume=True)  # nothing is searched again
    assert untimed(against.cells) == untimed(found.cells)
