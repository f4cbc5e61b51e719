"""The folder of a run: new, gone on with, or refused; and never that of another run."""

import dataclasses
import json
import shutil
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import untrained as ut
from command_checks import refused
from untrained import plot
from untrained.cli import main
from untrained.experiments import compare as comparison
from untrained.experiments import testbed as lab
from untrained.experiments.run_folder import choose_folder, claim_folder, resume_command, write_settings
from untrained.files import sole_writer
from untrained.methods.recipe import SCORES
from untrained.runs.settings import CompareSettings, FrontierSettings, Settings, SweepSettings
from untrained.wann.runs import evolve as experiment
from untrained.wann.runs.settings import WannSettings

FIND = ["find", "--widths", "8", "--epochs", "1", "--no-twin"]
COMPARE = ["compare", "--widths", "8", "--epochs", "1", "--seeds", "1", "--jobs", "1", "--methods", ""]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot, "available", lambda: False)  # pictures take longer than a search


def never(folder):
    return False


def always(folder):
    return True


def contents(folder):
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_a_new_folder_is_named_and_not_made():
    assert choose_folder(Settings(), "name", never) == Path("runs/name")
    assert choose_folder(Settings(out=Path("a/b")), "name", never) == Path("a/b")
    assert list(Path().iterdir()) == []
    for number in ("", "-2", "-3"):
        folder = choose_folder(CompareSettings(), "name", never)
        assert folder == Path(f"runs/name{number}")
        folder.mkdir(parents=True)
        write_settings(folder, CompareSettings())


def test_an_empty_folder_or_one_with_other_things_in_it_is_used():
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine", encoding="utf-8")
    main([*COMPARE, "--out", "mine"])
    assert Path("mine/notes.txt").read_text(encoding="utf-8") == "mine" and Path("mine/results.csv").exists()


@pytest.mark.parametrize("command", [FIND, COMPARE], ids=["find", "compare"])
def test_what_cannot_be_gone_on_with_is_refused(capsys, command):
    Path("file").write_text("mine", encoding="utf-8")
    assert "--out: file is a file, not a folder" in refused(capsys, *command, "--out", "file")
    assert "--resume needs --out" in refused(capsys, *command, "--resume")
    assert "nothing to resume in nowhere" in refused(capsys, *command, "--resume", "--out", "nowhere")
    assert sorted(Path().iterdir()) == [Path("file")] and Path("file").read_text(encoding="utf-8") == "mine"
    main([*command, "--out", "run"])
    before = contents("run")
    assert "run holds a run already; pass --resume" in refused(capsys, *command, "--out", "run")
    assert contents("run") == before


@pytest.mark.parametrize("command", [FIND, COMPARE], ids=["find", "compare"])
def test_a_damaged_or_lost_settings_file_is_refused_and_named(capsys, command):
    main([*command, "--out", "run"])
    Path("run/config.toml").write_text("epochs = [\n", encoding="utf-8")
    assert "run/config.toml is not TOML" in refused(capsys, command[0], "--out", "run", "--resume")
    Path("run/config.toml").write_text("nope = 1\n", encoding="utf-8")
    assert "nope" in refused(capsys, command[0], "--out", "run", "--resume")
    Path("run/config.toml").unlink()
    assert "the run in run has " in refused(capsys, *command, "--out", "run", "--resume")


def test_jobs_device_and_place_of_the_data_may_change_and_nothing_else():
    Path("run").mkdir()
    write_settings(Path("run"), CompareSettings())
    free = {"jobs": 3, "device": "cpu", "data_dir": Path("elsewhere")}
    for name, value in free.items():
        settings = CompareSettings(out=Path("run"), resume=True, **{name: value})
        assert choose_folder(settings, "name", always) == Path("run")
    for name, value in {"keep": "0.3", "seeds": 1, "methods": "", "epochs": 2, "amp": True, "folded": True}.items():
        with pytest.raises(ValueError, match=f"has {name} = .*, not .*--out"):
            choose_folder(CompareSettings(out=Path("run"), resume=True, **{name: value}), "name", always)


@pytest.mark.parametrize(("first", "second"), [(FIND, COMPARE), (COMPARE, FIND)], ids=["compare", "find"])
def test_the_run_of_another_command_is_neither_gone_on_with_nor_written_over(capsys, first, second):
    main([*first, "--out", "run"])
    before = contents("run")
    refused(capsys, second[0], "--out", "run", "--resume")
    refused(capsys, *second, "--out", "run")
    assert contents("run") == before


# Code that a file names.

METHOD = """
from dataclasses import dataclass
from typing import final
from pathlib import Path
from untrained.methods.masks import *
import untrained as ut

Path("ran").touch()

@final
@dataclass(frozen=True)
class Mine(ut.Method):
    def init_scores(self, weight, generator):
        return ut.EdgePopup(0.5).init_scores(weight, generator)

    def codes(self, weights, scores):
        return ut.EdgePopup(0.5).codes(weights, scores)
"""
COMMANDS = {
    "find": Settings,
    "compare": CompareSettings,
    "sweep": SweepSettings,
    "frontier": FrontierSettings,
    "wann": WannSettings,
}
SPELT = ["{0}.py:Mine", "gym:{0}:Mine-v0"]


@pytest.fixture
def planted(monkeypatch):
    """The name of a module here that notes when it is run, and says so."""
    name = "planted_by_a_stranger"
    Path(f"{name}.py").write_text(METHOD, encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return name


@pytest.mark.parametrize("command", COMMANDS)
def test_no_setting_in_a_file_runs_code(capsys, monkeypatch, planted, command):
    def enough(*_, **__):
        raise ValueError("the settings are read")

    for module, name in ((lab.Workbench, "masked"), (comparison, "run_cells"), (experiment, "Search")):
        monkeypatch.setattr(module, name, enough)
    config, named = Path("config.toml"), 0
    for field in dataclasses.fields(COMMANDS[command]):
        name = field.name.replace("_", "-")
        for text in SPELT:
            value = json.dumps([text.format(planted)] if "tuple" in str(field.type) else text.format(planted))
            for line in (f"{name} = {value}", f"settings.{name} = {value}")[: 1 if text is SPELT[1] else 2]:
                more = "\nkeep = '0.1,0.5'" if command == "sweep" and name != "keep" else ""
                config.write_text(line + more, encoding="utf-8")
                with pytest.raises(SystemExit):
                    main([command, "--config", str(config), *([] if name == "out" else ["--out", "run"])])
                said = capsys.readouterr().err.splitlines()[-1]  # steps that begin are named before it
                assert said.startswith("untrained: "), said
                assert not Path("ran").exists() and planted not in sys.modules, line
                named += "names code" in said
                shutil.rmtree("run", ignore_errors=True)
    assert named == {"find": 15, "compare": 18, "sweep": 18, "frontier": 18, "wann": 1}[command]


@pytest.mark.parametrize(
    ("command", "line", "flags"),
    [
        ("find", 'method = "mine.py:Mine"', "--method mine.py:Mine"),
        ("find", 'method = "pack.age:Mine(keep=0.5)"', "--method 'pack.age:Mine(keep=0.5)'"),
        ("compare", 'method = ["a b/mine.py:A", "threshold"]', "--method 'a b/mine.py:A' --method threshold"),
        ("compare", 'methods = "biprop,mine.py:Mine"', "--methods biprop,mine.py:Mine"),
        ("sweep", 'method = ["mine.py:Mine"]', "--method mine.py:Mine"),
        ("wann", 'task = "gym:mine:Mine-v0"', "--task gym:mine:Mine-v0"),
    ],
)
def test_the_refusal_says_which_flag_to_add(capsys, command, line, flags):
    Path("config.toml").write_text(line, encoding="utf-8")
    said = refused(capsys, command, "--config", "config.toml", "--out", "run")
    assert "config.toml names code, and code that a file names is not run" in said
    assert said.endswith(f"; if you trust it, add {flags}\n")
    assert not Path("run").exists()


@pytest.mark.parametrize("command", ["find", "compare"])
def test_a_run_of_ones_own_method_goes_on_when_that_is_named_again(capsys, planted, command):
    own = ["--method", f"{planted}.py:Mine"]
    main([*(FIND if command == "find" else COMPARE), *own, "--out", "run"])
    before = {path: data for path, data in contents("run").items() if path.suffix in (".ticket", ".toml")}
    said = refused(capsys, command, "--out", "run", "--resume")
    assert f"add {' '.join(own)}" in said
    main([command, "--out", "run", "--resume", *own])
    main([command, "--config", "run/config.toml", "--out", "other", *own])
    assert {path: contents("run")[path] for path in before} == before and len(before) > 1
    assert resume_command(command, Path("a b"), read(command, own[1])) == (
        f"untrained {command} --out 'a b' --resume --method {planted}.py:Mine"
    )
    assert "has method = " in refused(capsys, command, "--out", "run", "--resume", "--method", "biprop")


def read(command, method):
    return Settings(method=method) if command == "find" else CompareSettings(method=(method,))


# One folder, one writer.


@pytest.mark.parametrize("command", [FIND, COMPARE, ["sweep", *COMPARE[1:-2], "--keep=0.1,0.5"]], ids=lambda c: c[0])
@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_another_writes_into_is_refused_before_anything(capsys, monkeypatch, command, begun):
    if begun:
        main([*command, "--out", "run"])
    monkeypatch.setattr(lab.Workbench, "_measure", None)  # what is measured first
    with sole_writer(Path("run")):
        before = contents("run")
        with ThreadPoolExecutor(1) as pool:
            resume = ["--resume"] if begun else []
            said = pool.submit(refused, capsys, *(command[:1] if begun else command), "--out", "run", *resume).result()
        assert contents("run") == before
    assert "another run writes into run now" in said


def test_fit_is_a_writer_as_well():
    batches = ut.load_data("digits").batches("train", 500)
    model = ut.mask_(ut.models.fc(widths=(4,), shape=(1, 8, 8)), ut.EdgePopup(0.5))
    with sole_writer(Path("run")), ThreadPoolExecutor(1) as pool:
        with pytest.raises(OSError, match="another run writes into run now"):
            pool.submit(ut.fit, model, batches, epochs=1, out="run", title=None).result()
        assert [path.name for path in contents("run")] == [".lock"]
        ut.fit(model, batches, epochs=1, out="run", title=None)
    with pytest.raises(ValueError, match="holds a run already"):
        ut.fit(model, batches, epochs=1, out="run", title=None)


def test_runs_without_out_that_begin_at_once_have_folders_of_their_own():
    barrier = threading.Barrier(4)

    def begin():
        barrier.wait()
        with claim_folder(Settings(), "name", never) as folder:
            assert never(barrier.wait()) is False
            return folder

    with ThreadPoolExecutor(4) as pool:
        folders = [each.result() for each in [pool.submit(begin) for _ in range(4)]]
    assert len({*folders}) == 4 and all(folder.is_dir() for folder in folders)


def test_a_run_that_ended_meanwhile_is_not_written_over():
    def begun(folder):
        return (folder / "metrics.jsonl").exists()

    def while_we_load(folder):
        before = begun(folder)
        folder.mkdir(exist_ok=True)
        (folder / "metrics.jsonl").touch()
        return before

    with (
        pytest.raises(ValueError, match="holds a run already"),
        claim_folder(Settings(out=Path("run")), "name", while_we_load),
    ):
        raise AssertionError("it was written over")


# Rows and rates.


def test_find_hands_out_every_row_and_what_the_caller_raises_ends_the_run():
    class Pruned(Exception):
        pass

    def prune(epoch):
        rows.append(epoch.row)
        if len(rows) == 2:
            raise Pruned

    rows: list[dict] = []
    setup = {"widths": (8,), "epochs": 3, "twin": False}
    with pytest.raises(Pruned):
        ut.find(**setup, out=Path("run"), on_epoch=prune)
    assert [row["epoch"] for row in rows] == [1, 2]
    found = ut.find(**setup, out=Path("run"), resume=True, on_epoch=lambda epoch: rows.append(epoch.row))
    assert rows == found.history.rows
    assert ut.find(**setup, out=Path("other")).ticket.read_bytes() == found.ticket.read_bytes()


def test_lr_is_that_of_the_search_in_settings_report_and_resume(capsys):
    main([*FIND[:-1], "--lr", "0.25", "--out", "run"])
    ut.find(widths=(8,), epochs=1, out=Path("usual"))
    assert rates("run") == pytest.approx([rates("usual")[0] * 0.25 / SCORES.lr, rates("usual")[1]])
    assert tomllib.loads(Path("run/config.toml").read_text(encoding="utf-8"))["lr"] == 0.25
    assert "--lr 0.25" in Path("run/report.html").read_text(encoding="utf-8")
    assert "has lr = 0.25, not 0.5" in refused(capsys, "find", "--out", "run", "--resume", "--lr", "0.5")
    before = Path("run/found.ticket").read_bytes()
    main(["find", "--out", "run", "--resume"])
    main(["find", "--config", "run/config.toml", "--out", "again"])
    assert Path("run/found.ticket").read_bytes() == before == Path("again/found.ticket").read_bytes()
    for lr in ("0", "-1", "nan", "inf"):
        assert "lr must be above 0" in refused(capsys, *FIND, "--lr", lr, "--out", "never")
    assert not Path("never").exists()


def rates(folder):
    """The last rates of the search and of the twin."""
    return [json.loads(Path(folder, part, "metrics.jsonl").read_text(encoding="utf-8"))["lr"] for part in ("", "twin")]
