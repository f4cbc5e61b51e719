"""`untrained wann`, run as a user would: right input, wrong input, and Ctrl-C."""

import json
import signal
import sys
import time
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from command_checks import running
from untrained.cli import app, main
from untrained.wann import Net, WannSettings, evolve
from untrained.wann.evolution.presets import PRESETS
from untrained.wann.tasks.by_name import NAMES

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
    evolve(WannSettings(population=24, generations=8, trials=3, tune="shared", workers=2, out=out))
    return out


def test_a_run_leaves_all_that_it_says(run, capsys):
    files = {path.name for path in run.iterdir()}
    expected = {"found.json", "front", "picture.png", "results.json", "metrics.jsonl", "config.toml", "checkpoint.npz"}
    expected |= {"machine.jsonl"}
    assert files == expected | {"report.html", ".lock"}
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


def test_it_prints_the_table_and_names_its_steps(capsys):
    _run("--out", "run", "--generations", "3", *TINY)
    said, steps = capsys.readouterr()
    begun = [line.split(": ")[1].split()[0] for line in steps.splitlines() if "compiling" not in line]
    assert begun == ["search", "tuning", "measuring", "drawing", "writing"]
    for text in ("the six standard weights", "random weights", "random shared weight", "tuned shared weight"):
        assert text in said
    assert "run/found.json" in said


def test_a_run_goes_on():
    _run("--out", "run", "--generations", "3", *TINY)
    before = len(Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines())
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
    said = capsys.readouterr().out
    assert "def network(x, w=1.0):" in said
    column = json.loads((run / "results.json").read_text())["columns"][3]
    tested = Net.load(net).meta["tuned shared weight"]
    assert tested == {"mean": column["mean"], "std": column["std"], **column["measures"]}
    assert f"tuned shared weight mean {tested['mean']:.4g}, std {tested['std']:.4g}, longest upright (s) " in said
    _run("show", net, "--picture", "net.svg")
    _run("eval", net, "--trials", "3")
    said = capsys.readouterr().out
    assert all(text in said for text in ("random shared weight", "no connections", "(of 1,000)", "longest upright (s)"))
    _run("tune", net, "tuned.json", "--budget", "2")
    assert Net.load("tuned.json").weights is not None
    for name in ("net.onnx", "net.py", "net.graphml", "net.png"):
        _run("export", net, name)
        assert Path(name).stat().st_size


def test_a_champion_of_the_package_stands_for_a_file(capsys):
    _run("show", "champion:cartpole")
    shown = capsys.readouterr().out
    assert "command      untrained wann --task cartpole" in shown and "def network(x, w=1.0):" in shown
    assert "None" not in shown and "99999" not in shown
    _run("eval", "champion:cartpole-tuned", "--trials", "2")
    assert "tuned weights" in capsys.readouterr().out
    assert "cartpole" in _refused(capsys, "show", "champion:nobody")


def test_digits_are_told_apart_by_an_ensemble(capsys):
    _run("--task", "digits", "--out", "run", "--population", "24", "--generations", "2", "--trials", "3")
    said, steps = capsys.readouterr()
    assert "digits: tuning a weight for each of" in steps
    assert "ensemble of the six weights" in said and "accuracy" in said
    net = Net.load("run/found.json")
    assert net.labels == tuple("0123456789") and net.scale is not None


def _csv(text):
    Path("table.csv").write_text(text, encoding="utf-8")
    return "table.csv"


ROWS = "".join(f"{i},{i % 3},{i % 2}\n" for i in range(20))


def test_bad_input_is_one_line(run, capsys):
    pytest.importorskip("gymnasium")
    Path("broken.json").write_text("{}", encoding="utf-8")
    Net(1, 1, [1], [0, 1], [1]).save("other.json")
    found, resume = run / "found.json", ("--resume", "--out")
    for words, arguments in (
        ("preset mnist", ["--preset", "mnist"]),
        ("task swing", ["--task", "swing"]),
        ("row 21, column 2 nan", ["--task", ROWS + "1,nan,0\n"]),
        ("numbers words", ["--task", ROWS + "1,1,cat\n"]),
        ("number 'x'", ["--task", ROWS + "1,x,0\n"]),
        ("no-such.csv", ["--task", "no-such.csv"]),
        ("population 0", ["--population", "0"]),
        ("holds a run", ["--out", run]),
        ("resume out", ["--resume"]),
        ("checkpoint nowhere", [*resume, "nowhere"]),
        ("another search task", [*resume, run, "--task", "cartpole"]),
        ("another search seed 5", [*resume, run, "--seed", "5"]),
        ("NoSuchEnv", ["--task", "gym:NoSuchEnv-v0"]),
        ("observations", ["--task", "gym:Blackjack-v1"]),
        ("digits 64", ["eval", found, "--task", "digits"]),
        ("net.txt .onnx", ["export", found, "net.txt"]),
        ("broken.json", ["show", "broken.json"]),
        ("--task", ["eval", "other.json"]),
    ):
        given = [_csv(each) if str(each).startswith(ROWS) else each for each in arguments]
        said = _refused(capsys, *given)
        assert all(word in said for word in words.split()), (words, said)
    (run / "checkpoint.npz").rename(run / "kept")
    (run / "checkpoint.npz").write_bytes((run / "kept").read_bytes()[:500])
    assert "damaged" in _refused(capsys, "--resume", "--out", run)
    (run / "kept").replace(run / "checkpoint.npz")


EVIL = "import pathlib\npathlib.Path('ran').touch()\n"


def _forbidden(monkeypatch):
    """A folder with a module and a table, neither of which may be opened."""
    Path("evil.py").write_text(EVIL, encoding="utf-8")
    _csv(ROWS)
    monkeypatch.syspath_prepend(Path.cwd())
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: pytest.fail("read") if self.suffix == ".csv" else opened(self, *a, **k)
    )


@pytest.mark.parametrize(
    "task", ["gym:evil:Evil-v0", "gym:evil:CartPole-v1", "evil:CartPole-v1", "table.csv", "TABLE.CSV"]
)
def test_what_a_file_names_is_neither_run_nor_read(capsys, monkeypatch, task):
    pytest.importorskip("gymnasium")
    _forbidden(monkeypatch)
    Net(2, 2, [1, 1], [0, 1, 2], [1, 2], meta={"task": task}).save("net.json")
    Path("run").mkdir()
    Path("run/config.toml").write_text(f'task = "{task}"\nmax-steps = 5\n', encoding="utf-8")
    for arguments in (
        ["eval", "net.json"],
        ["tune", "net.json", "out.json"],
        ["--config", "run/config.toml"],
        ["--config=run/config.toml", "--out", "new"],
        ["--out", "run", "--resume"],
    ):
        said = _refused(capsys, *arguments)
        assert task in said and f"add --task {task}" in said, said
    _run("show", "net.json")
    _run("export", "net.json", "net.py")
    assert not Path("ran").exists() and not Path("out.json").exists() and not Path("new").exists()


OWN = """
import gymnasium, numpy as np
class Own(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.ones(2, np.float32), float(action), False, False, {}
gymnasium.register("Own-v0", "own_module:Own")
"""


def test_a_typed_module_is_found_here_and_its_limit_kept(capsys, monkeypatch):
    pytest.importorskip("gymnasium")
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("own_module.py").write_text(OWN, encoding="utf-8")
    task = ["--task", "gym:own_module:Own-v0"]
    assert "--max-steps" in _refused(capsys, *task)
    _run(*task, "--max-steps", "7", "--out", "run", "--generations", "2", *TINY)
    assert Net.load("run/found.json").meta["max_steps"] == 7
    capsys.readouterr()
    assert "--task" in _refused(capsys, "--out", "run", "--resume", "--generations", "3")
    assert "max_steps" in _refused(capsys, "--out", "run", "--resume", *task, "--max-steps", "8")
    _run("--out", "run", "--resume", "--generations", "3", *task)
    assert "untrained wann eval found.json --task gym:own_module:Own-v0" in Path("run/report.html").read_text("utf-8")
    capsys.readouterr()
    _run("eval", "run/found.json", *task, "--trials", "2")
    assert "random shared weight" in capsys.readouterr().out
    assert "above 0" in _refused(capsys, "eval", "run/found.json", *task, "--max-steps", "0")
    assert "max_steps" in _refused(capsys, "--task", "cartpole", "--max-steps", "3")


def test_it_is_printed_what_a_table_is_taken_for(capsys):
    table = _csv(ROWS)
    _run("--task", table, "--out", "run", "--generations", "1", *TINY)
    assert "read as 2 classes (0, 1)" in capsys.readouterr().out
    networks = [Path("run/found.json"), *Path("run/front").iterdir()]
    assert {Net.load(each).meta["task"] for each in networks} == {"table.csv"}  # not where it lies
    _run("eval", "run/found.json", "--task", table, "--trials", "2")
    assert "read as 2 classes (0, 1)" in capsys.readouterr().out
    _run("--task", table, "--predict", "numbers", "--out", "other", "--generations", "1", *TINY)
    assert "read as numbers" in capsys.readouterr().out
    _run("eval", "other/found.json", "--task", table, "--trials", "2")
    assert "minus squared error" in capsys.readouterr().out


def test_control_characters_do_not_get_into_graphml(capsys):
    pytest.importorskip("networkx")
    for label, good in (("a\x00", False), ("\x1b[31m", False), ("\uffff", False), ("é\t<&>", True)):
        Net(1, 1, [1], [0, 1], [1], labels=(label,)).save("net.json")
        if good:
            _run("export", "net.json", "net.graphml")
            assert parse("net.graphml").getroot().tag.endswith("graphml")
        else:
            assert (
                "label 0" in _refused(capsys, "export", "net.json", "bad.graphml") and not Path("bad.graphml").exists()
            )


def test_ctrl_c_leaves_a_run_that_goes_on():
    with running("wann", "--out", "run", "--generations", "100000", "--workers", "2") as process:
        deadline = time.monotonic() + 120
        while not Path("run/picture.png").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "untrained wann --out run --resume" in error and "Traceback" not in error
    said = [line for line in error.splitlines() if "best so far" in line]
    assert said and all("run/picture.png" in line for line in said) and Path("run/picture.png").stat().st_size > 10_000
    early = Net.load("run/found.json")
    assert early.meta["generations"] % 16 == 1 and not Path("run/results.json").exists()
    main(["report", "run"])
    assert "results.json is missing, which a search writes at its end" in Path("run/report.html").read_text("utf-8")
    done = len(Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines())
    _run("--out", "run", "--resume", "--generations", str(done + 2), "--trials", "3", "--tune", "shared")
    assert len(Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines()) == done + 2
    assert Net.load("run/found.json").meta["generations"] == done + 2 and Path("run/results.json").exists()
    assert "results.json" not in Path("run/report.html").read_text("utf-8")


def test_the_help_names_every_task_and_preset(capsys):
    app.help_print(["wann"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name in (*NAMES, *PRESETS):
        assert name in said, name
