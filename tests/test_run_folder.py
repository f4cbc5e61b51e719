"""The folder of a run: new, gone on with, or refused; and never that of another run."""

import tomllib
from pathlib import Path

import pytest

from untrained import plot
from untrained.cli import main
from untrained.run_folder import open_folder, write_settings
from untrained.settings import CompareSettings, Settings

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


def refused(capsys, *arguments):
    """The one line that a wrong call prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("untrained: ")
    return err


def test_a_new_folder_is_named_and_not_made():
    assert open_folder(Settings(), "name", never) == Path("runs/name")
    assert open_folder(Settings(out=Path("a/b")), "name", never) == Path("a/b")
    assert list(Path().iterdir()) == []
    for number in ("", "-2", "-3"):
        folder = open_folder(CompareSettings(), "name", never)
        assert folder == Path(f"runs/name{number}")
        folder.mkdir(parents=True)
        write_settings(folder, CompareSettings())


def test_an_empty_folder_or_one_with_other_things_in_it_is_used():
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    main([*COMPARE, "--out", "mine"])
    assert Path("mine/notes.txt").read_text() == "mine" and Path("mine/results.csv").exists()


@pytest.mark.parametrize("command", [FIND, COMPARE], ids=["find", "compare"])
def test_what_cannot_be_gone_on_with_is_refused(capsys, command):
    Path("file").write_text("mine")
    assert "--out: file is a file, not a folder" in refused(capsys, *command, "--out", "file")
    assert "--resume needs --out" in refused(capsys, *command, "--resume")
    assert "nothing to resume in nowhere" in refused(capsys, *command, "--resume", "--out", "nowhere")
    assert sorted(Path().iterdir()) == [Path("file")] and Path("file").read_text() == "mine"
    main([*command, "--out", "run"])
    before = contents("run")
    assert "run holds a run already; pass --resume" in refused(capsys, *command, "--out", "run")
    assert contents("run") == before


@pytest.mark.parametrize("command", [FIND, COMPARE], ids=["find", "compare"])
def test_a_damaged_settings_file_is_refused_and_named(capsys, command):
    main([*command, "--out", "run"])
    Path("run/config.toml").write_text("epochs = [\n")
    assert "run/config.toml is not TOML" in refused(capsys, command[0], "--out", "run", "--resume")
    Path("run/config.toml").write_text("nope = 1\n")
    assert "nope" in refused(capsys, command[0], "--out", "run", "--resume")


@pytest.mark.parametrize("command", [FIND, COMPARE], ids=["find", "compare"])
def test_a_lost_settings_file_is_refused(capsys, command):
    main([*command, "--out", "run"])
    Path("run/config.toml").unlink()
    assert "the run in run has " in refused(capsys, *command, "--out", "run", "--resume")


def test_jobs_device_and_place_of_the_data_may_change_and_nothing_else():
    Path("run").mkdir()
    write_settings(Path("run"), CompareSettings())
    free = {"jobs": 3, "device": "cpu", "data_dir": Path("elsewhere")}
    for name, value in free.items():
        settings = CompareSettings(out=Path("run"), resume=True, **{name: value})
        assert open_folder(settings, "name", always) == Path("run")
    for name, value in {"keep": "0.3", "seeds": 1, "methods": "", "epochs": 2, "amp": True, "folded": True}.items():
        with pytest.raises(ValueError, match=f"has {name} = .*, not .*--out"):
            open_folder(CompareSettings(out=Path("run"), resume=True, **{name: value}), "name", always)


@pytest.mark.parametrize(
    "settings",
    [
        CompareSettings(),
        CompareSettings(methods='edge-popup(scope="global")', method=("a b/mine.py:A", "ü\\\t'.py:B"), keep="0.5,0.1"),
        CompareSettings(widths=(8, 4), width=0.5, jobs=-1, data_dir=Path("a'b"), size=8, device="cpu", amp=True),
        Settings(method="edge-popup(keep=Cubic(0.5, 0.1))", keep=1e-05, scope="global", seed=2**64 - 1, twin=False),
        CompareSettings(data="bilder\N{GRINNING FACE}"),
    ],
)
def test_settings_come_back_from_their_file_as_they_were(settings):
    Path("run").mkdir()
    write_settings(Path("run"), settings)
    read = tomllib.loads(Path("run/config.toml").read_text())
    for name, value in read.items():
        given = getattr(settings, name.replace("-", "_"))
        assert (list(given) if isinstance(given, tuple) else str(given) if isinstance(given, Path) else given) == value
    given = {name.replace("-", "_") for name in read}
    assert all(getattr(settings, name) is None for name in vars(settings).keys() - given - {"out", "resume"})
    again = type(settings)(out=Path("run"), resume=True, **{name: getattr(settings, name) for name in given})
    assert open_folder(again, "name", always) == Path("run")


@pytest.mark.parametrize(("first", "second"), [(FIND, COMPARE), (COMPARE, FIND)], ids=["compare", "find"])
def test_the_run_of_another_command_is_not_gone_on_with(capsys, first, second):
    main([*first, "--out", "run"])
    before = contents("run")
    refused(capsys, second[0], "--out", "run", "--resume")
    assert contents("run") == before


@pytest.mark.parametrize(("first", "second"), [(FIND, COMPARE), (COMPARE, FIND)], ids=["compare", "find"])
def test_the_run_of_another_command_is_not_written_over(capsys, first, second):
    main([*first, "--out", "run"])
    before = contents("run")
    refused(capsys, *second, "--out", "run")
    assert contents("run") == before
