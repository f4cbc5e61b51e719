"""Parts of a grid in processes of their own, as in a SLURM array: joined, they are what one process writes."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import untrained as ut
from untrained.cli import main
from untrained.experiments import cells
from untrained.experiments import compare as comparison
from untrained.experiments.parts import part_of
from untrained.runs.settings import CompareSettings
from untrained.runs.table import Cell, read_cell

SMALL = ["--widths", "8", "--epochs", "1", "--jobs", "1"]
QUICK = ["compare", *SMALL, "--methods", "biprop", "--seeds", "2"]
OWN = """
from dataclasses import dataclass
from typing import final

import untrained as ut


@final
@dataclass(frozen=True)
class Unlucky(ut.Method):
    def init_scores(self, weight, generator):
        raise RuntimeError("no luck")

    def codes(self, weights, scores):
        return {}
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison.plot, "available", lambda: False)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Two parts, and the same in one process: their folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison.plot, "available", lambda: False)
        patch.chdir(folder := tmp_path_factory.mktemp("parts"))
        Path("mine.py").write_text(OWN, encoding="utf-8")
        call = [*QUICK, "--method", "mine.py:Unlucky"]
        main([*call, "--out", "whole"])
        for cell in ("1/2", "2/2"):
            main([*call, "--out", "array", "--cell", cell])
    return folder


@pytest.fixture
def copied(parts, tmp_path, monkeypatch):
    """The same, to be spoilt."""
    monkeypatch.chdir(shutil.copytree(parts, tmp_path / "copied"))
    return Path("array")


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1
    return err


def without_seconds(folder):
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for each in (*found["lines"], *found["cells"]):
        del each["seconds"]
    return found


def files(folder):
    """The paths in the folder of a run, without locks and parts, and the bytes of its tickets."""
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    inside = [path for path in inside if not path.parts[0].startswith("cell-")]
    return {str(path): (folder / path).read_bytes() if path.suffix in (".ticket", ".toml") else b"" for path in inside}


@given(st.integers(1, 40), st.integers(1, 40))
def test_parts_are_equal_and_together_the_grid(networks, count):
    grid = [Cell("biprop", None, seed) for seed in range(networks)]
    if count > networks:
        with pytest.raises(ValueError, match=f"cell must be at most i/{networks}, one network in each, got 1/{count}"):
            part_of(grid, f"1/{count}")
        return
    found = [part_of(grid, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted((cell for part in found for cell in part), key=grid.index) == grid
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_merged_parts_are_what_one_process_writes(copied, capsys):
    own = ["--method", "mine.py:Unlucky"]
    assert "code that a file names is not run" in refused(capsys, "compare", "--merge", copied)
    main(["compare", "--merge", str(copied), *own])
    printed = capsys.readouterr().out
    assert without_seconds(copied) == without_seconds(Path("whole")) and files(copied) == files(Path("whole"))
    assert "a search failed: RuntimeError: no luck" in printed and "report   array/report.html" in printed
    # A part that was run again is merged again; what has failed is searched again in the whole.
    assert "pass --resume" in refused(capsys, "compare", "--merge", copied, *own)
    before = (copied / "config.toml").read_bytes()
    main(["compare", "--merge", str(copied), "--resume", *own])
    assert (copied / "config.toml").read_bytes() == before and capsys.readouterr().out == printed
    # The parts by name, into another folder, from Python.
    folders = tuple(sorted(copied.glob("cell-*")))
    settings = {"methods": "biprop", "method": ("mine.py:Unlucky",), "widths": (8,), "epochs": 1, "seeds": 2}
    found = ut.compare(**settings, jobs=1, merge=folders, out="other")
    assert CompareSettings(merge="a").merge == CompareSettings(merge=["a"]).merge == (Path("a"),)  # pyright: ignore
    assert without_seconds(Path("other")) == without_seconds(Path("whole")) and found.report is not None


def test_a_part_has_its_own_networks_in_its_own_folder(parts):
    whole = without_seconds(parts / "whole")["cells"]
    for number in (1, 2):
        folder = parts / f"array/cell-{number}-of-2"
        names = {path.stem for path in folder.glob("cells/*.json")}
        assert names == {Cell(cell["method"], cell["keep"], cell["seed"]).name for cell in whole[number - 1 :: 2]}
        assert (folder / "config.toml").read_bytes() == (parts / "whole/config.toml").read_bytes()
        assert not (folder / "results.json").exists()


def test_the_same_command_goes_on_and_ctrl_c_names_one(copied, capsys, monkeypatch):
    call = [*QUICK, "--method", "mine.py:Unlucky", "--out", "array", "--cell", "1/2"]
    lost = copied / "cell-1-of-2/cells/biprop-0.5-seed0.json"
    lost.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(cells, "run_cell", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            main(call)
    again = "untrained compare --out array --cell 1/2 --resume --method mine.py:Unlucky"
    assert capsys.readouterr().err.endswith(f"go on with: {again}\n")
    searched = []
    run_cell = cells.run_cell
    monkeypatch.setattr(cells, "run_cell", lambda *a: searched.append(a[1].name) or run_cell(*a))
    main([*again.split()[1:], "--jobs", "1"])
    assert sorted(searched) == [lost.stem, Cell("mine.py:Unlucky", None, 0).name]  # and what has failed
    printed = capsys.readouterr().out
    assert "cell     array/cell-1-of-2 (when all are done, join them with --merge array)\n" in printed
    main(["compare", "--merge", "array", "--method", "mine.py:Unlucky"])
    assert without_seconds(copied) == without_seconds(Path("whole"))


def test_wrong_merges_are_refused_and_nothing_is_written(copied, capsys):
    merge = ["compare", "--method", "mine.py:Unlucky", "--merge"]
    cell = copied / "cell-2-of-2"
    lost = cell / "cells/biprop-0.5-seed1.json"
    text = lost.read_text(encoding="utf-8")
    lost.write_text(text.replace('"kept": ', '"kept": 1'), encoding="utf-8")  # damaged
    assert refused(capsys, *merge, copied) == (
        "untrained: 1 network is missing: biprop-0.5-seed1; run or finish --cell 2/2\n"
    )
    lost.unlink()
    missing = (
        "4 networks are missing: trained-twin-5746f51d-learned-seed1, random-subnetwork-0.5-seed1, biprop-0.5-seed1, …"
    )
    assert refused(capsys, *merge, copied / "cell-1-of-2") == f"untrained: {missing}; run or finish --cell 2/2\n"
    lost.write_text(text, encoding="utf-8")
    shutil.copytree(cell, copied / "cell-3-of-9")
    twice = f"{Cell('trained twin', None, 1).name} is in array/cell-2-of-2 and in array/cell-3-of-9; merge one of them"
    assert twice in refused(capsys, *merge, copied)
    shutil.rmtree(copied / "cell-3-of-9")
    config = cell / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("epochs = 1", "epochs = 2"), encoding="utf-8")
    told = f"the run in {cell} has epochs = 2, not 1; only cells of the same settings can be merged"
    assert told in refused(capsys, *merge, copied)
    assert "no such folder: 'nowhere'" in refused(capsys, *merge, "nowhere")
    Path("empty").mkdir()
    assert "empty holds no part of a comparison" in refused(capsys, "compare", "--merge", "empty")
    assert not list(copied.glob("*.*")) and not (copied / "cells").exists() and not Path("runs").exists()


@pytest.mark.parametrize("cell", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1.0/2", "../2"])
def test_a_wrong_cell_is_refused(capsys, cell):
    told = f"cell must be i/n, such as 1/8, with i from 1 to n, got {cell!r}"
    assert told in refused(capsys, *QUICK, "--out", "array", f"--cell={cell}")
    assert told in refused(capsys, *QUICK, "--out", "array", "--resume", f"--cell={cell}")


def test_a_cell_needs_a_folder_and_networks(capsys):
    assert "--cell needs --out" in refused(capsys, *QUICK, "--cell", "1/2")
    assert "cell must be at most i/6" in refused(capsys, *QUICK, "--out", "array", "--cell", "1/7")
    with pytest.raises(ValueError, match="cell and merge cannot be together"):
        CompareSettings(cell="1/2", merge=(Path("array"),))
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "--methods", "random-subnetwork", "--keep", "0.3,0.6"],
        ["frontier", "--methods", "biprop", "--keep", "0.5", "--width", "1", "--opponents", "none"],
    ],
    ids=lambda command: command[0],
)
def test_sweeps_and_frontiers_have_parts_too(command, capsys):
    call = [*command, *SMALL, "--seeds", "1"]
    for out in (["whole"], ["array", "--cell", "1/2"], ["array", "--cell", "2/2"]):
        capsys.readouterr()
        main([*call, "--out", *out])
    assert re.search(r"^cell     array/cell-2-of-2 ", capsys.readouterr().out, re.M)
    main([command[0], "--merge", "array"])
    assert without_seconds(Path("array")) == without_seconds(Path("whole"))


def test_a_failed_network_is_read_only_when_asked_for(parts):
    (path,) = parts.glob("array/cell-1-of-2/cells/mine*.json")
    cell = Cell("mine.py:Unlucky", None, 0)
    assert path.stem == cell.name and read_cell(path.parents[1], cell) is None
    read = read_cell(path.parents[1], cell, failed=True)
    assert read is not None and replace(read, error="") != read
