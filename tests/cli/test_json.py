"""`--json`: one document on standard output that JSON's reader takes, and all else on standard error."""

import json
import math
from hashlib import sha256
from pathlib import Path

import pytest

import untrained as ut
from command_checks import refused
from untrained.cli import main
from untrained.packed import bench
from untrained.terminal.renderings import to_json

TINY = ["--widths", "8", "--epochs", "1"]
GRID = [*TINY, "--methods", "biprop", "--seeds", "1", "--jobs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("json")


@pytest.fixture
def told(folder, capsys, monkeypatch):
    """A function that runs a command with --json in the tests' folder, and returns its document."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(ut.plot, "available", lambda: False)
    monkeypatch.setattr(bench, "_SECONDS", 0.0)

    def run(*arguments):
        capsys.readouterr()
        main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert out.startswith("{") and err and "\x1b" not in out
        return json.loads(out, parse_constant=pytest.fail)  # NaN and Infinity are no JSON

    return run


def test_find_and_the_commands_of_its_ticket(told):
    found = told("find", *TINY, "--no-twin", "--out", "run")
    accuracy = {row["name"]: row["accuracy"] for row in found["rows"]}
    ticket, file = found["ticket"], Path(found["ticket"])
    digest = sha256(file.read_bytes()).hexdigest()
    assert [row["epoch"] for row in found["history"]["rows"]] == [1] and found["picture"] is None
    its = told("eval", ticket)
    assert its["accuracy"] == its["value"] == accuracy["found subnetwork"] and its["examples"] == 450
    facts = told("info", ticket)
    assert facts["facts"]["seed"] == 0 and facts["facts"]["weights"].startswith("SignedConstant(")
    assert facts["summary"]["weights"] == 592 and facts["summary"]["file_bytes"] == file.stat().st_size
    good = told("verify", ticket)
    assert good["good"] and its["sha256"] == facts["sha256"] == good["sha256"] == digest
    rows = told("bench", ticket, "--batch", "1")["rows"]
    assert rows[0]["variant"] == "dense float32" and all(row["ms"] > 0 for row in rows)
    assert told("info", "--system")["untrained"] == ut.__version__


@pytest.mark.parametrize(
    ("command", "flags", "methods"),
    [
        ("compare", [], ["trained twin", "random-subnetwork", "biprop"]),
        ("sweep", ["--keep", "0.3,0.6"], ["trained twin", *["random-subnetwork"] * 2, *["biprop"] * 2]),
        ("frontier", ["--opponents", "none", "--width", "1", "--keep", "0.5"], ["trained twin", "biprop"]),
    ],
)
def test_tables(told, command, flags, methods):
    results = told(command, *GRID, *flags, "--out", command)
    assert [line["method"] for line in results["lines"]] == methods
    assert results["folder"] == command and len(results["cells"]) == len(methods)


def test_wann(told):
    small = ["--task", "digits", "--population", "8", "--generations", "1", "--trials", "2"]
    run = told("wann", *small, "--tune", "shared", "--workers", "1", "--out", "wann")
    assert run["front"][-1]["connections"] > 0 and run["measure"] == "accuracy"
    its = told("wann", "eval", run["network"], "--trials", "2")
    assert [column["name"] for column in its["columns"]] == [column["name"] for column in run["columns"]]
    assert its["ensemble"] == run["ensemble"]


def test_an_error_is_no_document(capsys):
    assert "no such file" in refused(capsys, "info", "nowhere.ticket", "--json")
    assert "two forms" in refused(capsys, "compare", "--json", "--table", "csv")
    assert "--json" in refused(capsys, "report", "run", "--json")


def test_what_json_cannot_say():
    odd = {"a": (math.nan, -math.inf, Path("x\x1b"), None, True), 3: "\u202e"}
    text = to_json(odd)
    assert text.isascii() and json.loads(text) == {"a": [None, None, "x\x1b", None, True], "3": "\u202e"}
    with pytest.raises(TypeError, match="set cannot be written as JSON"):
        to_json({"a": {1}})
