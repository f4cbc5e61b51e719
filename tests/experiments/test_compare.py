"""`untrained compare`: its grid, its table and files, going on after any interruption, and the same start for all."""

import contextlib
import csv
import dataclasses
import functools
import gc
import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import joblib
import pytest
import torch

import untrained as ut
from command_checks import interrupt_after, refused, running, write_images
from untrained.cli import main
from untrained.data.batches import Batches
from untrained.data.dataset import load_data
from untrained.experiments import cells as searches
from untrained.experiments import compare as comparison
from untrained.experiments import testbed as lab
from untrained.experiments.compare import compare
from untrained.experiments.testbed import Workbench
from untrained.methods import METHODS
from untrained.models import build
from untrained.runs.table import Cell, Line, lines_of
from untrained.runs.text_tables import of_lines
from untrained.search.evaluation import evaluate
from untrained.search.history import History
from untrained.terminal.extras import install_command
from untrained.terminal.renderings import render

QUICK = ["compare", "--widths", "8", "--jobs", "1", "--epochs", "1"]  # one hidden layer
# Beside a folder of settings: files do not run code, so methods of one's own are named again.
AGAIN = ["--method", "mine_for_comparison.py:OwnPositive"]
SMALL, TWO = [*QUICK, "--seeds", "1"], [*QUICK, "--seeds", "2"]
LEARN_HOW_MUCH = {
    name for name, cls in METHODS.items() if not {"keep", "of"} & {field.name for field in dataclasses.fields(cls)}
}
OWN = '''
"""Methods of one's own: one that works, and others that do not."""
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from untrained import Method


class Positive(Method):
    """Keep what has a positive score."""

    def init_scores(self, weight, generator):
        return torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight)

    def codes(self, weights, scores):
        return {name: (score > 0).to(torch.int8) for name, score in scores.items()}

    def decode(self, weight, codes):
        return weight * (codes != 0)

    def effective(self, weights, scores):
        codes = self.codes(weights, scores)
        return {n: self.decode(w, codes[n]) + w * (scores[n] - scores[n].detach()) for n, w in weights.items()}


@final
@dataclass(frozen=True)
class OwnPositive(Positive):
    gain: float = 1.0


@final
@dataclass(frozen=True)
class OwnKeep(Positive):
    keep: float = 0.5

    def codes(self, weights, scores):
        counts = {name: -(-int(1000 * self.keep) * score.numel() // 1000) for name, score in scores.items()}
        order = {name: score.flatten().argsort(descending=True, stable=True) for name, score in scores.items()}
        chosen = {name: torch.zeros(score.numel(), dtype=torch.int8) for name, score in scores.items()}
        for name, count in counts.items():
            chosen[name][order[name][:count]] = 1
        return {name: chosen[name].view(score.shape) for name, score in scores.items()}


@final
@dataclass(frozen=True)
class OwnUnlucky(Positive):
    def effective(self, weights, scores):
        raise RuntimeError("no luck\\nat all \\x1b[31m")


@final
@dataclass(frozen=True)
class OwnMistyped(Positive):
    def effective(self, weights, scores):
        return {name: weight + "oops" for name, weight in weights.items()}


@final
@dataclass(frozen=True)
class OwnDiverging(Positive):
    def effective(self, weights, scores):
        return {n: w * float("inf") for n, w in super().effective(weights, scores).items()}


@final
@dataclass(frozen=True)
class OwnMoody(Positive):
    flag: str = ""

    def init_scores(self, weight, generator):
        if Path(self.flag).exists():
            raise ValueError("in a bad mood")
        return super().init_scores(weight, generator)


@final
@dataclass(frozen=True)
class OwnWaiting(Positive):
    flag: str = ""

    def init_scores(self, weight, generator):
        while Path(self.flag).exists():
            Path(self.flag + "-seen").touch()
            time.sleep(0.01)
        return super().init_scores(weight, generator)
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A file of methods of one's own."""
    path = tmp_path_factory.mktemp("own") / "mine_for_comparison.py"
    path.write_text(OWN)
    return path


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "pictures" not in request.fixturenames:  # they take longer than a search
        monkeypatch.setattr(comparison.plot, "available", lambda: False)


@pytest.fixture
def pictures():
    """Asked for by tests that want pictures drawn."""
    pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def everything(own, tmp_path_factory):
    """Every method and one of one's own, two seeds: (folder, what was printed)."""
    folder = tmp_path_factory.mktemp("everything") / "run"
    printed, before = io.StringIO(), Path.cwd()
    os.chdir(own.parent)
    try:
        with contextlib.redirect_stdout(printed):
            main([*TWO, "--keep", "0.3", "--method", f"{own.name}:OwnPositive", "--out", str(folder)])
    finally:
        os.chdir(before)
    return folder, printed.getvalue()


@pytest.fixture
def copied(everything, own, tmp_path, monkeypatch):
    """The same, to be spoilt: its folder."""
    monkeypatch.chdir(own.parent)
    return Path(shutil.copytree(everything[0], tmp_path / "copied"))


def results(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "results.json").read_text(), parse_constant=refuse)


def cells_of(folder):
    return [Cell(**cell) for cell in results(folder)["cells"]]


def without_seconds(folder):
    found = results(folder)
    for each in (*found["lines"], *found["cells"]):
        del each["seconds"]
    return found


def tickets(folder):
    return {path.parent.name: path.read_bytes() for path in folder.glob("cells/*/found.ticket")}


def rows(printed):
    """(method, keep) of the lines of a printed table."""
    table = printed[printed.index("─") : printed.index("\n\n" if "\n\n" in printed else "table ")]
    lines = [re.split(r"  +", line.strip()) for line in table.splitlines()[1:] if " % " in line]
    return [(line[0], line[1] if re.fullmatch(r"0\.\d+|1", line[1]) else "") for line in lines]


def only_progress(err):
    """True if standard error has a line for the beginning and for each network, and nothing else."""
    return bool(err) and all(re.match(r"compare: \d+ of \d+  ?", line) for line in err.splitlines())


# The table.


def test_all_methods_are_in_the_table_and_those_that_learn_how_much_they_keep_once(everything, own):
    folder, printed = everything
    wanted = [("trained twin", "")]
    for name in ("random-subnetwork", *(name for name in METHODS if name not in ("random-subnetwork", "dense"))):
        wanted += [(name, "" if name in LEARN_HOW_MUCH else "0.3")]
    lines = results(folder)["lines"]
    assert {"bernoulli", "slot-machines", "threshold"} <= LEARN_HOW_MUCH
    told = [(line["method"], "" if line["keep"] is None else f"{line['keep']:g}") for line in lines]
    assert told == [*wanted, (f"{own.name}:OwnPositive", "")]
    assert len(results(folder)["cells"]) == 2 * len(lines)
    table = "\n".join(line for line in printed.splitlines() if "±" in line)
    assert len(table.splitlines()) == len(lines)
    for line, row in zip(lines, table.splitlines(), strict=True):
        assert f"{100 * line['accuracy']:.2f} ± {100 * line['std']:.2f}" in row
        assert f"{line['bits']:.3f}" in row and f"{line['file_bytes']:,.0f}" in row
        assert row.split()[0] == line["method"].split()[0] or ":" in line["method"]
    assert f"table    {folder / 'summary.csv'}" in printed and f"picture  {folder / 'picture.png'}" in printed
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert {path.name for path in folder.rglob(".*")} == {".lock"}


def test_twin_and_random_subnetwork_are_always_there_and_once_even_if_named(capsys):
    main([*SMALL, "--methods", "biprop, random-subnetwork,biprop", "--method", "random-subnetwork", "--out", "a"])
    assert rows(capsys.readouterr().out) == [("trained twin", ""), ("random-subnetwork", "0.5"), ("biprop", "0.5")]
    main([*SMALL, "--methods", "", "--keep", "0.5,0.5,.50", "--out", "b"])
    assert rows(capsys.readouterr().out) == [("trained twin", ""), ("random-subnetwork", "0.5")]


def test_several_methods_of_ones_own_and_the_random_network_when_it_is_named(capsys, own):
    more = [f"--method={own}:{name}" for name in ("OwnKeep", "OwnPositive(gain=2)")]
    main([*SMALL, "--methods", "dense", *more, "--keep", "0.5,0.25", "--out", "run"])
    lines = [(line["method"], line["keep"], line["kept"]) for line in results(Path("run"))["lines"]]
    assert [line[:2] for line in lines[3:]] == [
        ("dense", None),
        (f"{own}:OwnKeep", 0.5),
        (f"{own}:OwnKeep", 0.25),
        (f"{own}:OwnPositive(gain=2)", None),
    ]
    assert [line[2] for line in lines[3:6]] == [1.0, 0.5, 0.25]
    assert only_progress(capsys.readouterr().err)


def test_what_did_not_learn_is_marked_in_the_table_and_on_the_page(capsys, monkeypatch):
    monkeypatch.setattr(comparison, "chance_of", lambda *_: 0.9999)
    main([*SMALL, "--methods", "biprop", "--out", "run"])
    said = ": 1 of 1 seeds did not learn: on validation data"
    printed, page = capsys.readouterr().out, Path("run/report.html").read_text(encoding="utf-8")
    assert re.search(r"machine: .+, 1 thread, torch .+, (no )?kernels", page)
    for name in ("trained twin", "biprop, keep 0.5"):
        assert name + said in printed and name + said in page
    assert "random-subnetwork, keep 0.5" + said not in printed
    assert ut.write_report(Path("run")).read_text(encoding="utf-8") == page


def test_a_method_of_ones_own_by_a_path_from_here(own):
    shutil.copy(own, "own_beside.py")
    Path("own_beside.py").write_text(OWN.replace("OwnPositive", "OwnBeside"), encoding="utf-8")
    main([*SMALL, "--methods", "", "--method", "own_beside.py:OwnBeside", "--out", "run"])
    assert results(Path("run"))["lines"][-1]["method"] == "own_beside.py:OwnBeside"
    (path,) = Path("run/cells").glob("own_beside.py-OwnBeside-*-learned-seed0/found.ticket")
    assert type(ut.Ticket.load(path).method).__name__ == "OwnBeside"


def test_options_in_brackets_reach_the_method():
    wanted = {
        "edge-popup(signed=True)": ut.EdgePopup(0.3, signed=True),
        "edge-popup(scope='normalised', signed=True)": ut.EdgePopup(
            ut.EdgePopup(scope="normalised").keeping(0.3).at(1.0).keep, scope="normalised", signed=True
        ),
        "edge-popup(scope=layer)": ut.EdgePopup(0.3),
        "multicoated(coats=2, spacing=uniform)": ut.Multicoated(0.3, coats=2, spacing="uniform"),
        "slot-machines(values=4)": ut.SlotMachines(values=4),
        "edge-popup(structure=NofM(2, 4))": ut.EdgePopup(structure=ut.NofM(2, 4)),
        "partly-frozen(of=Biprop(), pruned=0.3)": ut.PartlyFrozen(ut.Biprop(0.3), pruned=0.3),
        "threshold(threshold=0.0, start=None)": ut.Threshold(threshold=0.0, start=None),
    }
    main([*SMALL, "--methods", ",".join(wanted), "--keep", "0.3", "--out", "run"])
    cells = {cell.method: cell for cell in cells_of(Path("run"))}
    assert list(cells) == ["trained twin", "random-subnetwork", *wanted]
    for text, method in wanted.items():
        assert cells[text].error == ""
        assert ut.Ticket.load(f"run/cells/{cells[text].name}/found.ticket").method == method
    assert cells["edge-popup(structure=NofM(2, 4))"].keep is None and cells["threshold(threshold=0.0, start=None)"]


def test_methods_that_cannot_have_densities_stay_uniform_beside_others(monkeypatch):
    masked, seen = Workbench.masked, {}

    def noting(bench, method, last=None):
        seen[type(method).__name__] = bench.setup.densities
        return masked(bench, method, last)

    monkeypatch.setattr(Workbench, "masked", noting)
    main([*SMALL, "--recipe", "small", "--methods", "small,gem-miner", "--keep", "0.3", "--out", "run"])
    assert [cell.error for cell in cells_of(Path("run"))] == [""] * 4
    assert seen == {"RandomSubnetwork": "balanced", "EdgePopup": "balanced", "GemMiner": "uniform"}


@pytest.mark.parametrize("keep", ["0.2", "Cubic(0.6, 0.2)"])
def test_the_keep_in_the_brackets_is_used_or_refused(capsys, keep):
    try:
        main([*SMALL, "--methods", f"edge-popup(keep={keep})", "--out", "run"])
    except SystemExit as stop:
        assert stop.code == 2 and "keep" in capsys.readouterr().err
    else:
        assert cells_of(Path("run"))[-1].kept == math.ceil(0.2 * 512) + math.ceil(0.2 * 80)


def test_two_spellings_do_not_share_a_folder():
    main([*SMALL, "--methods", "edge-popup(signed=True),edge-popup(signed = True)", "--out", "run"])
    names = [cell.name for cell in cells_of(Path("run"))]
    assert len(names) == len(set(names))


# Its files.


def test_csv_and_json_say_the_same_and_so_does_every_cells_file(everything):
    folder = everything[0]
    found = results(folder)
    with (folder / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [field.name for field in dataclasses.fields(Cell)]
    for row, cell in zip(table, found["cells"], strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in cell.items()}
    with (folder / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    more = ["difference", "low", "high", "pairs", "against"]
    own = [field.name for field in dataclasses.fields(Line) if field.name != "difference"]
    assert list(table[0]) == own + more
    for row, line in zip(table, found["lines"], strict=True):
        its = line.pop("difference") or dict.fromkeys(["mean", "low", "high", "pairs", "against"])
        line |= {"difference": its.pop("mean"), **its}
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}
    for cell in found["cells"]:
        its_file = json.loads((folder / "cells" / f"{Cell(**cell).name}.json").read_text())
        assert its_file == {**cell, "sha256": its_file["sha256"]}
    assert len(list(folder.glob("cells/*.json"))) == len(found["cells"])


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_a_finished_run_is_printed_as_a_table_alone_and_not_searched_again(copied, capsys, monkeypatch, form):
    monkeypatch.setattr(searches, "run_cell", lambda *arguments: pytest.fail("searched again"))
    main(["compare", *AGAIN, "--out", str(copied), "--resume", "--against", "biprop", "--table", form])
    out, err = capsys.readouterr()
    assert out == render(of_lines(lines_of(cells_of(copied), "biprop")), form)
    assert "\ntest: mean" in err and f"table    {copied / 'summary.csv'}\n" in err
    assert 'minus that of "biprop, keep 0.3"' in err
    lines = {line["method"]: line["difference"] for line in results(copied)["lines"]}
    cells = {(cell.method, cell.seed): cell.accuracy for cell in cells_of(copied)}
    assert lines.pop("biprop") is None
    for method, its in lines.items():
        assert its["against"] == "biprop, keep 0.3" and its["pairs"] == 2
        mean = sum(cells[method, seed] - cells["biprop", seed] for seed in (0, 1)) / 2
        assert its["mean"] == pytest.approx(mean, abs=1e-12)


def test_a_folder_of_before_there_were_differences_is_resumed(copied, everything):
    config = (copied / "config.toml").read_text(encoding="utf-8")
    (copied / "config.toml").write_text(config.replace('against = "trained twin"\n', ""), encoding="utf-8")
    for path in copied.glob("cells/*.json"):
        old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("epochs", "sha256")}
        path.write_text(json.dumps(old), encoding="utf-8")
    main(["compare", *AGAIN, "--out", str(copied), "--resume"])
    now, then = results(copied)["lines"], results(everything[0])["lines"]
    assert [line["difference"] for line in now] == [line["difference"] for line in then]
    assert {line["epochs"] for line in now} == {None} and {line["epochs"] for line in then} == {0, 1}
    assert "Learning curves" in (copied / "report.html").read_text(encoding="utf-8")


def test_every_cell_is_what_its_ticket_is(everything):
    folder, data = everything[0], load_data("digits")
    seen = 0
    for cell in cells_of(folder):
        path = folder / "cells" / cell.name / "found.ticket"
        if cell.method == "trained twin":
            model = build("fc", widths=(8,), shape=data.shape, classes=data.classes)
            model.load_state_dict(torch.load(path.with_name("checkpoint.pt"), weights_only=True)["model"])
            assert cell.weights == cell.kept == sum(p.numel() for p in model.parameters())
            assert 4 * cell.weights < cell.file_bytes < 4 * cell.weights + 400
        elif cell.method == "random-subnetwork":
            model = build("fc", widths=(8,), shape=data.shape, classes=data.classes)
            ut.mask_(model, ut.RandomSubnetwork(cell.keep), seed=cell.seed)
            assert cell.kept == sum(int(code.count_nonzero()) for code in ut.Ticket.of(model).codes.values())
            assert cell.seconds == 0 and not path.exists()
        else:
            model, ticket = ut.load(path), ut.Ticket.load(path)
            assert ticket.seed == cell.seed and cell.file_bytes == path.stat().st_size
            assert cell.weights == 64 * 8 + 8 * 10 == sum(code.numel() for code in ticket.codes.values())
            assert cell.kept == sum(int(code.count_nonzero()) for code in ticket.codes.values())
            assert (ticket.meta["accuracy"], ticket.meta["val_accuracy"]) == (cell.accuracy, cell.val_accuracy)
            ticket.verify()
            assert cell.seconds > 0
            if cell.keep is not None and cell.method in ("edge-popup", "iterand", "multicoated", "biprop"):
                assert cell.kept == math.ceil(cell.keep * 512) + math.ceil(cell.keep * 80)
        for part, accuracy in (("test", cell.accuracy), ("val", cell.val_accuracy)):
            right = count = 0
            for x, y in data.batches(part, 64):
                with torch.no_grad():
                    right += int((model.eval()(x).argmax(1) == y).sum())
                count += len(y)
            assert accuracy == right / count
        seen += 1
    assert seen == len(list(folder.glob("cells/*.json")))


def test_bytes_of_a_random_subnetwork_are_counted_as_those_of_a_found_one(everything):
    sizes = {cell.method: cell.file_bytes for cell in cells_of(everything[0]) if (cell.keep, cell.seed) == (0.3, 0)}
    assert abs(sizes["random-subnetwork"] - sizes["edge-popup"]) < 60


# What is wrong is told in one line, before anything is written.

BROKEN = {
    "unknown method": (["--methods", "edge-popup,nope"], "unknown method 'nope'"),
    "bad option": (["--methods", "multicoated(coats=0)"], "coats"),
    "keep of 0": (["--keep", "0"], "keep must be in (0, 1], got '0'"),
    "keep above 1": (["--keep", "0.5,1.5"], "keep must be in (0, 1], got '0.5,1.5'"),
    "keep of nothing": (["--keep", ""], "--keep is empty"),
    "keep is nan": (["--keep", "nan"], "keep must be in (0, 1]"),
    "keep of words": (["--keep", "half"], "keep must be numbers"),
    "no seed": (["--seeds", "0"], "seeds must be in [1, 10,000], got 0"),
    "no job": (["--jobs", "0"], "jobs must not be 0"),
    "no epoch": (["--epochs", "0"], "epochs must be 1 or more"),
    "no file": (["--method", "missing.py:A"], "no such file: 'missing.py'"),
    "no data": (["--data", "nowhere"], "expected one of digits"),
    "no device": (["--device", "nonsense"], "device"),
    "nothing to resume": (["--resume"], "nothing to resume in run"),
    "no network": (["--model", "foo"], "unknown network 'foo'"),
    "no such argument": (["--width", "2"], "fc has no argument 'width'"),
    "no law": (["--weights", "nonsense"], "unknown weights law 'nonsense'"),
    "too small images": (["--model", "conv8"], "too small"),
    "no row": (
        ["--against", "edge-popup", "--seeds", "2"],
        "got 'edge-popup'; known: trained twin; random-subnetwork; biprop\n",
    ),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_wrong_input_is_one_clear_line_and_nothing_is_written(capsys, wrong):
    flags, part = BROKEN[wrong]
    quick = {"--epochs": "1", "--seeds": "1", "--jobs": "1", "--methods": "biprop", "--widths": "8"}
    for flag in (*flags, *(["--widths"] if {"--model", "--width"} & {*flags} else [])):
        quick.pop(flag, None)
    assert part in refused(capsys, "compare", *(word for each in quick.items() for word in each), *flags, "--out=run")
    assert not list(Path().iterdir())


def test_without_joblib_one_line_names_the_extra_and_nothing_is_written(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert install_command("compare") in refused(capsys, *SMALL, "--methods", "biprop", "--out", "run")
    assert not Path("run").exists()


def test_without_matplotlib_the_comparison_says_so(capsys, monkeypatch, pictures):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    main([*SMALL, "--methods", "biprop", "--out", "run"])
    out, err = capsys.readouterr()
    assert f"picture  none: it needs matplotlib ({install_command('plot')})" in out.splitlines() and only_progress(err)
    assert not Path("run/picture.png").exists() and len(results(Path("run"))["cells"]) == 3
    assert compare(methods="biprop", widths=(8,), epochs=1, seeds=1, jobs=1, out=Path("again")).picture is None


# A search that fails.


def test_a_search_that_fails_is_told_and_the_others_go_on(capsys, own, pictures, monkeypatch):
    monkeypatch.chdir(shutil.copytree(own.parent, "here"))
    own = Path(own.name)
    more = [f"--method={own}:{name}" for name in ("OwnUnlucky", "OwnDiverging", "OwnPositive")]
    main([*TWO, "--methods", "edge-popup", *more, "--out", "run"])
    out, err = capsys.readouterr()
    assert only_progress(err) and "\x1b" not in out + err and "Traceback" not in out
    assert re.search(rf"^{own}:OwnUnlucky: a search failed: RuntimeError: no luck at all", out, re.M)
    assert re.search(rf"^{own}:OwnDiverging: a search failed: .*(nan|inf) in epoch 1", out, re.M)
    assert f"{own}:OwnPositive: " not in out
    found = results(Path("run"))
    lines = {line["method"].rpartition(":")[2]: line for line in found["lines"]}
    for name in ("OwnUnlucky", "OwnDiverging"):
        assert lines[name]["seeds"] == 0 and lines[name]["accuracy"] is None and lines[name]["error"]
    assert lines["OwnPositive"]["seeds"] == lines["edge-popup"]["seeds"] == lines["trained twin"]["seeds"] == 2
    assert [cell["accuracy"] is None for cell in found["cells"]] == [bool(cell["error"]) for cell in found["cells"]]
    with Path("run/summary.csv").open(encoding="utf-8", newline="") as file:
        assert [row["seeds"] for row in csv.DictReader(file)] == ["2", "2", "2", "0", "0", "2"]
    assert Path("run/picture.png").read_bytes().startswith(b"\x89PNG")


def test_any_mistake_in_a_method_of_ones_own_fails_that_search_only(capsys, own):
    main([*SMALL, "--methods", "", "--method", f"{own}:OwnMistyped", "--out", "run"])
    assert "OwnMistyped: a search failed: TypeError: " in capsys.readouterr().out
    assert len(results(Path("run"))["cells"]) == 3


def test_a_search_that_failed_is_made_again_and_no_other(own):
    flag = Path("mood").absolute()
    text = f"{own}:OwnMoody(flag='{flag}')"
    call = [*TWO, "--methods", "", "--method", text, "--out"]
    flag.touch()
    main([*call, "run"])
    assert results(Path("run"))["lines"][-1]["error"] == "in a bad mood"
    times = {path: path.stat().st_mtime_ns for path in Path("run/cells").glob("*.json")}
    flag.unlink()
    main(["compare", "--method", text, "--out", "run", "--resume"])
    again = {path for path, at in times.items() if path.stat().st_mtime_ns != at}
    assert {path.stem for path in again} == {Cell(text, None, seed).name for seed in (0, 1)}
    main([*call, "straight"])
    assert without_seconds(Path("run")) == without_seconds(Path("straight"))


# Side by side, and interrupted.


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_jobs_find_the_same_bits_as_one(everything, own, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(own.parent)
    out, few = tmp_path / "two", "bernoulli,gem-miner,iterand"
    config = str(everything[0] / "config.toml")
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):  # forked, which takes no time
        main(
            ["compare", "--config", config, *AGAIN, "--methods", few, "--seeds", "1", "--jobs", "2", "--out", str(out)]
        )
    there, here = ({cell.name: cell for cell in cells_of(folder)} for folder in (everything[0], out))
    assert len(here) == 6
    for name, cell in here.items():
        assert dataclasses.replace(cell, seconds=0) == dataclasses.replace(there[name], seconds=0)
    assert len(tickets(out)) == 4 and tickets(out).items() <= tickets(everything[0]).items()
    assert only_progress(capsys.readouterr().err) and {path.name for path in out.rglob(".*")} == {".lock"}


def test_workers_that_live_in_another_folder_write_where_they_are_told(own, tmp_path, monkeypatch):
    true_cell = searches.run_cell

    def elsewhere(*arguments):
        with contextlib.chdir(tmp_path / "elsewhere"):
            return true_cell(*arguments)

    (tmp_path / "elsewhere").mkdir()
    shutil.copy(own, "beside.py")
    pil = pytest.importorskip("PIL.Image")
    for path in (f"{part}/{label}" for part in ("train", "test") for label in ("a", "b")):
        (Path("images") / path).mkdir(parents=True)
        for number in range(8):
            shade = number * 30 + 5 * ("b" in path) + ("test" in path)
            pil.new("L", (8, 8), shade).save(f"images/{path}/{number}.png")
    monkeypatch.setattr(searches, "run_cell", elsewhere)
    setup = {"methods": "biprop", "method": ("beside.py:OwnPositive",), "widths": (8,), "epochs": 1, "seeds": 1}
    for data in ("digits", "images"):
        found = compare(**setup, data=data, data_dir=Path("data"), jobs=1, out=Path(f"run-{data}"))
        assert [line.error for line in found.lines] == 4 * [""]
        assert Path(f"run-{data}/cells/biprop-0.5-seed0/found.ticket").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def _flat():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


def test_searches_side_by_side_in_threads_find_the_same_bits(tmp_path):
    setup = {"methods": "bernoulli,fedpm", "widths": (8,), "epochs": 1, "seeds": 2}
    one = compare(**setup, jobs=1, out=Path("one"))
    with joblib.parallel_config(backend="threading", n_jobs=4):
        other = compare(**setup, out=Path("threads"))
        for own in ({"model": "mnist-conv"}, {"models": _flat}, {"loop": lambda m, x: None}):
            with pytest.raises(ValueError, match="threads share torch's random numbers, which dropout"):
                compare(**own, epochs=1, out="own")
    assert not Path("own").exists()
    assert [cell.accuracy for cell in one.cells] == [cell.accuracy for cell in other.cells]
    assert tickets(Path("one")) == tickets(Path("threads"))


def test_cells_that_are_missing_are_searched_again_and_no_other(everything, copied, capsys, pictures):
    names = [cell.name for cell in cells_of(copied)]
    lost = [name for name in names if "seed1" in name and re.match("edge|bern|slot|rand|trained|multi|part|ite", name)]
    for number, name in enumerate(lost):
        (copied / "cells" / f"{name}.json").unlink()
        if number % 2:
            shutil.rmtree(copied / "cells" / name, ignore_errors=True)  # from the first epoch on
    for name in ("results.csv", "results.json", "picture.png"):
        (copied / name).unlink()
    times = {path.name: path.stat().st_mtime_ns for path in copied.glob("cells/*.json")}
    main(["compare", *AGAIN, "--out", str(copied), "--resume"])
    assert len(lost) > 6 and len(times) + len(lost) == len(names)
    assert {n: (copied / "cells" / n).stat().st_mtime_ns for n in times} == times
    assert without_seconds(copied) == without_seconds(everything[0]) and tickets(copied) == tickets(everything[0])
    assert (copied / "picture.png").exists()
    first = capsys.readouterr().out
    main(["compare", *AGAIN, "--out", str(copied), "--resume"])  # nothing is left to do
    assert capsys.readouterr().out == first


def processes_of(session):
    """Processes of that session that are alive."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state not in "ZX":
                alive.append(path.parent.name)
    return alive


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_in_a_terminal_loses_nothing_and_resume_ends_in_the_same_numbers(everything, own, monkeypatch):
    flag = Path("flag").absolute()
    flag.touch()  # the searches of one method never end while it is there
    waiting = f"{own}:OwnWaiting(flag='{flag}')"
    call = ["compare", "--widths", "8", "--jobs", "2", "--epochs", "1", "--seeds", "2", "--keep", "0.3"]
    call += ["--methods", "bernoulli", "--method", waiting, "--out", "broken"]
    with running(*call) as process:
        deadline = time.monotonic() + 120
        while not (Path("flag-seen").exists() and list(Path("broken/cells").glob("*.json"))):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    again = shlex.join(["untrained", "compare", "--out", "broken", "--resume", "--method", waiting])
    *progress, last = error.splitlines()
    assert last == f"untrained: interrupted; go on with: {again}"
    assert {line.partition(":")[0] for line in progress} == {"compare", ""}
    deadline = time.monotonic() + 20
    while processes_of(process.pid):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.05)
    own = [*Path("broken").glob(".*"), *Path("broken/cells").glob(".*")]  # a worker may be stopped while it writes
    assert [path.name for path in own] == [".lock"]
    times = {path: path.stat().st_mtime_ns for path in Path("broken/cells").glob("*.json")}
    assert 1 <= len(times) <= 6 and not Path("broken/results.json").exists()
    flag.unlink()
    main([*shlex.split(again)[1:], "--jobs", "1"])
    assert {path: path.stat().st_mtime_ns for path in times} == times
    found, straight = cells_of(Path("broken")), {cell.name: cell for cell in cells_of(everything[0])}
    assert [cell.error for cell in found] == [""] * 8
    for cell in found[:6]:
        assert dataclasses.replace(cell, seconds=0) == dataclasses.replace(straight[cell.name], seconds=0)
    here, there = tickets(Path("broken")), tickets(everything[0])
    assert len(here) == 4 and all(there[name] == here[name] for name in here.keys() & there.keys())


def test_an_interruption_between_two_cells_warns_of_nothing(monkeypatch, recwarn):
    def interrupt(folder, cell):
        raise KeyboardInterrupt

    monkeypatch.setattr("untrained.experiments.compare.write_cell", interrupt)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        ut.compare(methods="bernoulli", widths=(8,), epochs=1, seeds=4, jobs=2, out="stopped")
    gc.collect()
    assert not list(recwarn)


@pytest.mark.parametrize("writes", [1, 5])  # before an epoch of the twin, and between two of bernoulli
def test_a_search_that_was_interrupted_goes_on_from_its_last_epoch(monkeypatch, capsys, writes):
    call = ["compare", "--widths", "8", "--epochs", "2", "--seeds", "1", "--jobs", "1", "--methods", "bernoulli"]
    with monkeypatch.context() as patch:
        written = interrupt_after(patch, writes)
        with pytest.raises(SystemExit) as stop:
            main([*call, "--out", "broken"])
    assert stop.value.code == 130
    out, error = capsys.readouterr()
    assert not out and error.endswith("\nuntrained: interrupted; go on with: untrained compare --out broken --resume\n")
    more = interrupt_after(monkeypatch, math.inf)
    main(["compare", "--out", "broken", "--resume", "--jobs", "1"])
    assert len(written) + len(more) == (7 if writes == 1 else 6)  # no epoch twice
    main([*call, "--out", "straight"])
    assert without_seconds(Path("broken")) == without_seconds(Path("straight"))
    assert tickets(Path("broken")) == tickets(Path("straight"))


CELL = "gem-miner-0.3-seed1"


def test_a_folder_in_the_place_of_a_cell_is_named(copied, capsys):
    path = copied / "cells" / f"{CELL}.json"
    path.unlink()
    (path / "inside").mkdir(parents=True)
    assert f"{CELL}.json is a folder, not a file" in refused(capsys, "compare", *AGAIN, "--out", copied, "--resume")
    shutil.rmtree(path)
    main(["compare", *AGAIN, "--out", str(copied), "--resume"])


def test_resume_keeps_to_the_settings_of_the_run(copied, own, capsys):
    settings, before = (copied / "config.toml").read_text(), tickets(copied)
    others = {
        "keep": ["0.5"],
        "seeds": ["3"],
        "methods": ["biprop"],
        "method": [f"{own}:OwnKeep"],
        "epochs": ["2"],
        "widths": ["9"],
        "recipe": ["paper"],
        "densities": ["erk"],
        "weights": ["kaiming-normal"],
        "activation": ["elu"],
        "batch-size": ["32"],
    }
    for name, value in others.items():
        own_again = [] if name == "method" else AGAIN
        said = refused(capsys, "compare", *own_again, "--out", copied, "--resume", f"--{name}", *value)
        assert f" has {name} = " in said and "--out" in said
    assert "holds a run already; pass --resume" in refused(capsys, *SMALL, "--out", copied)
    assert (copied / "config.toml").read_text() == settings and tickets(copied) == before
    main(["compare", *AGAIN, "--out", str(copied), "--resume", "--jobs", "1", "--device", "cpu"])


def test_settings_come_from_a_file_and_flags_win(everything, own, monkeypatch, tmp_path):
    monkeypatch.chdir(own.parent)
    config = str(everything[0] / "config.toml")
    few = ["--methods", "multicoated", "--keep", "0.3", "--seeds", "1"]
    main(["compare", "--config", config, *AGAIN, *few, "--out", str(tmp_path / "run")])
    one, other = ({cell.name: cell for cell in cells_of(folder)} for folder in (tmp_path / "run", everything[0]))
    assert len(one) == 4
    for name, cell in one.items():
        assert dataclasses.replace(cell, seconds=0) == dataclasses.replace(other[name], seconds=0)


def test_without_out_every_comparison_gets_a_folder_of_its_own():
    for _ in range(2):
        main([*SMALL, "--methods", ""])
    assert sorted(path.name for path in Path("runs").iterdir()) == ["compare-fc-digits", "compare-fc-digits-2"]


# The same for all.


def recorded(monkeypatch, settings):
    """What every cell does, in order: ("train", "val" or "test", sha256 of what was read) and {tensor: frozen}."""
    parts = {len(getattr(load_data("digits"), part)): part for part in ("train", "val", "test")}
    log = {}
    true_iter, true_cell, true_masked = Batches.__iter__, searches.run_cell, Workbench.masked
    current = [None]

    def read(self):
        digest = hashlib.sha256()
        for x, y in true_iter(self):
            digest.update(x.numpy().tobytes() + y.numpy().tobytes())
            yield x, y
        log[current[0]]["read"].append((parts[len(self.split)], digest.hexdigest()))

    @functools.wraps(true_cell)
    def run(settings, cell, *more):
        current[0] = cell
        log[cell] = {"read": [], "frozen": {}}
        return true_cell(settings, cell, *more)

    def masked(self, method, last=None):
        network = true_masked(self, method, last)
        groups = network._untrained.groups
        for state in (state for group in groups for state in group.states):
            several = state.frozen.shape != state.shape
            log[current[0]]["frozen"][state.name] = (state.frozen[0] if several else state.frozen).clone()
        log[current[0]]["law"] = network._untrained.law
        return network

    monkeypatch.setattr(Batches, "__iter__", read)
    monkeypatch.setattr(searches, "run_cell", run)
    monkeypatch.setattr(Workbench, "masked", masked)
    compare(jobs=1, widths=(8,), out=Path("recorded"), **settings)
    return log


def test_all_learn_from_the_same_batches_and_test_data_is_read_once_at_the_end(monkeypatch, own):
    few = "bernoulli,slot-machines"
    log = recorded(monkeypatch, {"methods": few, "epochs": 2, "seeds": 2, "method": (f"{own}:OwnPositive",)})
    assert len(log) == 10
    orders = {}
    for cell, its in log.items():
        parts = [part for part, _ in its["read"]]
        if cell.method == "random-subnetwork":
            assert parts == ["test", "val"]  # nothing to learn, no norm to calibrate
            continue
        assert parts == ["train", "val", "train", "val", "test", "val"], cell
        orders.setdefault(cell.seed, set()).add(tuple(digest for part, digest in its["read"] if part == "train"))
    assert all(len(order) == 1 for order in orders.values()) and len(orders) == 2
    (first,), (second,) = orders.values()
    assert len({*first, *second}) == 4  # another order in every epoch and for every seed
    assert len({digest for its in log.values() for part, digest in its["read"] if part == "test"}) == 1


def test_all_of_a_seed_and_a_law_sit_on_the_same_frozen_weights(monkeypatch):
    def not_at_all(*_, out, **__):
        out.mkdir(parents=True)
        return History()

    monkeypatch.setattr(lab, "fit", not_at_all)
    log = recorded(monkeypatch, {"epochs": 1, "seeds": 2, "weights": "kaiming-normal"})
    for seed in (0, 1):
        first, *others = (its["frozen"] for cell, its in log.items() if cell.seed == seed and its["frozen"])
        assert len(others) > 10 and len(first) == 2
        for other in others:
            assert all(torch.equal(other[name], tensor) for name, tensor in first.items())
    frozen = {cell.seed: its["frozen"] for cell, its in log.items() if its["frozen"]}
    assert not any(torch.equal(frozen[0][name], frozen[1][name]) for name in frozen[0])


def test_the_law_that_suits_a_method_is_drawn_from_the_seed_too(everything):
    by_law = {}
    for path in sorted(everything[0].glob("cells/*seed1/found.ticket")):
        ticket = ut.Ticket.load(path)
        if {code for codes in ticket.codes.values() for code in codes.unique().tolist()} <= {0, 1}:
            keep = path.parent.name.split("-")[-2] if ticket.law.scaled else ""
            by_law.setdefault(f"{ticket.law} {keep}", []).append((ticket, dict(ticket.rebuilt())))
    compared = 0
    for group in by_law.values():
        # These two scale what they keep.
        own_scale = [isinstance(ticket.method, ut.Bernoulli | ut.Biprop) for ticket, _ in group]
        (one, weights), *others = [each for _, each in sorted(zip(own_scale, group, strict=True), key=lambda x: x[0])]
        for (other, its), scaled in zip(others, sorted(own_scale)[1:], strict=True):
            for name, code in one.codes.items():
                both = (code == 1) & (other.codes[name] == 1)
                assert torch.equal(weights[name][both].sign(), its[name][both].sign())
                assert scaled or torch.equal(weights[name][both], its[name][both])
                compared += int(both.sum())
    assert compared > 500


def test_the_number_of_threads_is_left_as_it_was(threads, own):
    threads(2)
    compare(methods="fedpm", method=(f"{own}:OwnUnlucky",), widths=(8,), epochs=1, seeds=1, jobs=1, out=Path("run"))
    assert torch.get_num_threads() == 2


def test_what_torchs_own_generator_draws_has_no_say(everything):
    torch.manual_seed(3)
    torch.rand(7)
    sampling = "bernoulli,fedpm,relaxed-bernoulli,slot-machines"
    compare(methods=sampling, keep="0.3", widths=(8,), epochs=1, seeds=1, jobs=1, out=Path("run"))
    assert len(tickets(Path("run"))) == 4 and tickets(Path("run")).items() <= tickets(everything[0]).items()


def test_norms_of_networks_that_learn_nothing_are_calibrated_on_training_data_alone(monkeypatch):
    write_images()
    seen = []
    true_batches = Workbench.batches
    monkeypatch.setattr(Workbench, "batches", lambda self, part: (seen.append(part), true_batches(self, part))[1])
    setup = {"model": "resnet18", "width": 0.02, "data": "images", "batch_size": 8}
    found = compare(**setup, methods="", epochs=1, seeds=1, jobs=1, out=Path("run"))
    assert seen.count("test") == 2 and [line.error for line in found.lines] == ["", ""]
    assert seen == ["train", "val", "test", "val", "test", "val"]


def test_norms_of_residual_networks_are_taken_anew_for_tickets_twins_and_opponents_alike(monkeypatch):
    write_images()
    measured, true_accuracy = [], Workbench._measure
    monkeypatch.setattr(Workbench, "_measure", lambda *each: (measured.append(each[1]), true_accuracy(*each))[1])
    setup = {"model": "resnet18", "width": 0.02, "data": "images", "batch_size": 8}
    compare(**setup, methods="edge-popup,int8-twin", epochs=1, seeds=1, jobs=1, out=Path("run"))
    networks = list(dict.fromkeys(measured))
    assert len(networks) == 4
    for network in networks:
        statistics = [buffer for name, buffer in network.named_buffers() if "running_" in name]
        assert statistics and all(each.equal(each.half().float()) for each in statistics)


def test_folded_networks_are_compared_with_a_folded_twin():
    write_images()
    setup = {"model": "resnet34", "width": 0.02, "data": "images", "batch_size": 8}
    folded, plain = (
        compare(**setup, folded=fold, methods=methods, epochs=1, seeds=1, jobs=1, out=Path(f"folded-{fold}"))
        for fold, methods in ((True, "edge-popup"), (False, ""))
    )
    for few, many in zip(folded.cells[:2], plain.cells, strict=True):
        assert few.error == many.error == "" and few.weights < many.weights and few.file_bytes < many.file_bytes
    assert 4 * folded.cells[0].weights < folded.cells[0].file_bytes
    (ticket,) = Path("folded-True").glob("cells/edge*/found.ticket")
    assert ut.Ticket.load(ticket).built_by["arguments"]["folded"] is True
    data = load_data("images")
    assert evaluate(ut.load(ticket), data.batches("test", 5)).accuracy == folded.cells[-1].accuracy


def test_help_names_every_setting(capsys):
    main(["compare", "--help"])
    printed = capsys.readouterr().out
    for flag in (
        "methods",
        "method",
        "keep",
        "seeds",
        "jobs",
        "recipe",
        "densities",
        "weights",
        "folded",
        "activation",
    ):
        assert f"--{flag}" in printed
