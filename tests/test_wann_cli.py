"""`untrained wann`, run as a user would: right input, wrong input, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from untrained.cli import app, main
from untrained.wann import Net, WannSettings, evolve
from untrained.wann.named_tasks import NAMES
from untrained.wann.presets import PRESETS

TINY = ["--population", "12", "--trials", "3", "--workers", "1", "--tune", "shared"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(*arguments):
    main(["wann", *map(str, arguments)])


def _refused(capsys, *arguments):
    with pytest.raises(SystemExit) as exit:
        _run(*arguments)
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("untrained: ") and error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("run")
    evolve(WannSettings(population=24, generations=8, trials=5, tune="shared", workers=2, out=out))
    return out


def test_a_run_leaves_all_that_it_says(run, capsys):
    files = {path.name for path in run.iterdir()}
    expected = {"found.json", "front", "picture.png", "results.json", "metrics.jsonl", "config.toml", "checkpoint.npz"}
    assert files == expected | {"report.html"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["generation"] for row in rows] == list(range(8))
    results = json.loads((run / "results.json").read_text())
    assert [column["name"] for column in results["columns"]][1:4] == [
        "random weights",
        "random shared weight",
        "tuned shared weight",
    ]
    fronts = [Net.load(path) for path in sorted((run / "front").iterdir())]
    assert [net.connections for net in fronts] == sorted({net.connections for net in fronts})
    assert fronts[-1].connections == Net.load(run / "found.json").connections


def test_it_prints_the_table(capsys):
    _run("--task", "cartpole", "--out", "run", "--generations", "3", *TINY)
    said = capsys.readouterr().out
    for text in ("the six standard weights", "random weights", "random shared weight", "tuned shared weight"):
        assert text in said
    assert "run/found.json" in said


def test_a_run_goes_on():
    _run("--out", "run", "--generations", "3", *TINY)
    before = len(Path("run/metrics.jsonl").read_text().splitlines())
    _run("--out", "run", "--resume", "--generations", "5")
    _run("--out", "at-once", "--generations", "5", *TINY)
    rows, once = (_without_time(Path(folder, "metrics.jsonl")) for folder in ("run", "at-once"))
    assert before == 3 and len(rows) == 5 and rows == once
    assert Path("run/found.json").read_bytes() == Path("at-once/found.json").read_bytes()


def _without_time(metrics):
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_a_network_is_shown_evaluated_tuned_and_exported(run, capsys):
    net = run / "found.json"
    _run("show", net)
    assert "def network(x, w=1.0):" in capsys.readouterr().out
    _run("show", net, "--picture", "net.svg")
    _run("eval", net, "--trials", "3")
    assert "random shared weight" in capsys.readouterr().out
    _run("tune", net, "tuned.json", "--budget", "2")
    assert Net.load("tuned.json").weights is not None
    for name in ("net.onnx", "net.py", "net.graphml", "net.png"):
        _run("export", net, name)
        assert Path(name).stat().st_size


def test_digits_are_told_apart_by_an_ensemble(capsys):
    _run("--task", "digits", "--out", "run", "--population", "24", "--generations", "2", "--trials", "3")
    said = capsys.readouterr().out
    assert "ensemble of the six weights" in said and "accuracy" in said
    net = Net.load("run/found.json")
    assert net.labels == tuple("0123456789") and net.scale is not None


def _csv(text):
    Path("table.csv").write_text(text)
    return "table.csv"


ROWS = "".join(f"{i},{i % 3},{i % 2}\n" for i in range(20))


def test_bad_input_is_one_line(run, capsys):
    pytest.importorskip("gymnasium")
    assert "preset 'mnist'" in _refused(capsys, "--preset", "mnist")
    assert "task 'swing'" in _refused(capsys, "--task", "swing")
    assert "'nan' in row 21, column 2" in _refused(capsys, "--task", _csv(ROWS + "1,nan,0\n"))
    assert "mixes numbers and words" in _refused(capsys, "--task", _csv(ROWS + "1,1,cat\n"))
    assert "expected a number" in _refused(capsys, "--task", _csv(ROWS + "1,x,0\n"))
    assert "no-such.csv" in _refused(capsys, "--task", "no-such.csv")
    assert "population" in _refused(capsys, "--population", "0")
    assert "holds a run" in _refused(capsys, "--out", run)
    assert "resume needs out" in _refused(capsys, "--resume")
    assert "checkpoint" in _refused(capsys, "--resume", "--out", "nowhere")
    assert "another search" in _refused(capsys, "--resume", "--out", run, "--task", "cartpole")
    assert "another search" in _refused(capsys, "--resume", "--out", run, "--seed", "5")
    assert "NoSuchEnv" in _refused(capsys, "--task", "gym:NoSuchEnv-v0")
    assert "observations" in _refused(capsys, "--task", "gym:Blackjack-v1")
    assert "needs 64" in _refused(capsys, "eval", run / "found.json", "--task", "digits")
    assert "ends in" in _refused(capsys, "export", run / "found.json", "net.txt")
    Path("broken.json").write_text("{}")
    assert "broken.json is no network" in _refused(capsys, "show", "broken.json")
    no_task = Net(1, 1, [1], [0, 1], [1])
    no_task.save("other.json")
    assert "give --task" in _refused(capsys, "eval", "other.json")
    (run / "checkpoint.npz").rename(run / "kept")
    (run / "checkpoint.npz").write_bytes((run / "kept").read_bytes()[:500])
    assert "damaged" in _refused(capsys, "--resume", "--out", run)
    (run / "kept").replace(run / "checkpoint.npz")


def test_ctrl_c_leaves_a_run_that_goes_on():
    command = [sys.executable, "-m", "untrained", "wann", "--out", "run", "--generations", "100000", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Path("run/config.toml").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "untrained wann --out run --resume" in error and "Traceback" not in error
    done = len(Path("run/metrics.jsonl").read_text().splitlines())
    _run("--out", "run", "--resume", "--generations", str(done + 2), "--trials", "3", "--tune", "shared")
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == done + 2


def test_the_help_names_every_task_and_preset(capsys):
    app.help_print(["wann"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in (*NAMES, *PRESETS):
        assert name in said, name
