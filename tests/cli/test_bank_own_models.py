"""Banks on a network of one's own: what is remembered, what is needed, and what is refused."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

import untrained as ut
from bank_commands import bank, refused
from untrained.models.brought import KEY

CODE = """
from torch import nn

def cnn(shape, classes, width=1):
    layers = nn.Conv2d(shape[0], 4 * width, 3), nn.BatchNorm2d(4 * width), nn.ReLU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16 * width, classes))

def elu(shape, classes, width=1):
    layers = nn.Conv2d(shape[0], 4 * width, 3), nn.BatchNorm2d(4 * width), nn.ELU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16 * width, classes))
"""
OWN = ["--model", "nets/mine.py:cnn(width=2)"]
SEARCH = ["--epochs", "1", "--no-twin", "--batch-size", "256"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a bank of two tasks on the first network, twice as wide, and of the first one's ticket."""
    folder = tmp_path_factory.mktemp("bank")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(ut.plot, "available", lambda: False)
        Path("nets").mkdir()
        Path("nets/mine.py").write_text(CODE, encoding="utf-8")
        bank("add", "a.bank", "--name", "one", "--out", "run", "--seed", "3", *OWN, *SEARCH)
        bank("add", "a.bank", "--name", "two", "--method", "biprop", *OWN, *SEARCH)  # seed and weights are the bank's
    return folder


@pytest.fixture
def here(searched, tmp_path, monkeypatch):
    """The same files in the current folder, to be changed."""
    monkeypatch.chdir(tmp_path)
    Path("nets").mkdir()
    for name in ("nets/mine.py", "a.bank"):
        Path(name).write_bytes((searched / name).read_bytes())
    Path("one.ticket").write_bytes((searched / "run/found.ticket").read_bytes())
    return tmp_path


def test_a_bank_remembers_what_a_ticket_remembers_and_measures_with_the_network(here, capsys):
    with ut.bank.file.opened(Path("a.bank")) as read:
        tickets = {name: ticket for name, ticket, _ in read.tickets()}
        assert read.shared.network is None and read.shared.seed == 3
    told = {"name": "mine.py:cnn", "arguments": {"width": 2}, "shape": [1, 8, 8], "classes": 10}
    for ticket in tickets.values():
        assert ticket.meta[KEY] == told | {"sha256": hashlib.sha256(CODE.encode()).hexdigest()}
    bank("list", "a.bank", "--json")
    assert [task["name"] for task in json.loads(capsys.readouterr().out)["tasks"]] == ["one", "two"]
    bank("eval", "a.bank", *OWN)
    printed = capsys.readouterr().out
    assert all(f"{ticket.meta['accuracy']:.2%}" in printed for ticket in tickets.values())
    bank("bench", "a.bank", *OWN)
    bank("extract", "a.bank", "two", "two.ticket")
    before = Path("a.bank").read_bytes()
    bank("remove", "a.bank", "two")
    bank("add", "a.bank", "--name", "two", "--ticket", "two.ticket", *OWN)
    assert Path("a.bank").read_bytes() == before
    bank("add", "new.bank", "--name", "one", "--ticket", "one.ticket", *OWN)  # the first task makes the file
    assert ut.Ticket.load("one.ticket").to_bytes() == _ticket_of("new.bank", "one").to_bytes()


LOADER = """
import torch

def load(seed=0):
    make = torch.Generator().manual_seed(seed)
    x = torch.randn(90, 1, 8, 8, generator=make)
    return tuple([(part, part.mean((1, 2, 3))[:, None])] for part in (x[:50], x[50:70], x[70:]))
"""


def test_a_task_of_ones_own_data_is_measured_on_them_by_the_metric_of_its_labels(here, capsys):
    Path("numbers.py").write_text(LOADER, encoding="utf-8")
    own = ["--data", "numbers.py:load(seed=5)"]
    bank("add", "n.bank", "--name", "mean", "--out", "run", *OWN, *own, "--epochs", "1", "--no-twin")
    capsys.readouterr()
    said = refused(capsys, "eval", "n.bank", *OWN)
    assert "n.bank: task 'mean': it was found on data of code" in said and "numbers.py:load(seed=5)" in said
    assert "add --task" in refused(capsys, "eval", "n.bank", *OWN, *own)
    assert "leave --task out" in refused(capsys, "eval", "n.bank", *OWN, "--task", "mean", "--infer")
    assert "no task 'x'" in refused(capsys, "eval", "n.bank", *OWN, "--task", "x")
    for metric, flags in (("RMSE", ()), ("R²", ("--metric", "r2"))):
        bank("eval", "n.bank", "--task", "mean", *OWN, *own, *flags)
        words = capsys.readouterr().out.split()
        assert words[1] == metric and words[5] == "mean" and words[7] == "20", words


def test_a_task_is_measured_on_other_data_of_its_classes_alone(here, capsys):
    bank("eval", "a.bank", "--task", "two", "--data", "digits", *OWN)
    printed = capsys.readouterr().out
    assert f"{_ticket_of('a.bank', 'two').meta['accuracy']:.2%}" in printed and "one" not in printed


def _ticket_of(path, name):
    with ut.bank.file.opened(Path(path)) as read:
        return next(ticket for _, ticket, _ in read.tickets([name]))


def test_no_file_runs_code_and_what_is_missing_is_said(here, capsys, monkeypatch):
    monkeypatch.setattr("untrained.own_code.import_place", None)
    for words in (
        ["eval", "a.bank"],
        ["bench", "a.bank"],
        ["which", "a.bank", "x.png"],
        ["add", "a.bank", "--name", "x", *SEARCH],
        ["add", "a.bank", "--name", "x", "--ticket", "one.ticket"],
        ["add", "new.bank", "--name", "x", "--ticket", "one.ticket"],
    ):
        said = refused(capsys, *words)
        assert "mine.py:cnn(width=2) (sha256 " in said and "give --model 'mine.py:cnn(width=2)'" in said
    with pytest.raises(ut.TicketError, match="give --model"):
        ut.Bank.load("a.bank")
    assert not Path("new.bank").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("nets/mine.py:cnn", "other arguments than 'mine.py:cnn': give --model 'mine.py:cnn(width=2)'"),
        ("nets/mine.py:elu(width=2)", "another than 'mine.py:elu(width=2)': give --model 'mine.py:cnn(width=2)'"),
        ("nets/other.py:cnn(width=2)", "no such file: 'nets/other.py'"),
        ("conv2", "give --model 'mine.py:cnn(width=2)'"),
    ],
)
def test_another_network_is_refused_before_a_search(here, model, told, capsys):
    before = Path("a.bank").read_bytes()
    assert told in refused(capsys, "add", "a.bank", "--name", "x", "--model", model, *SEARCH)
    told = "--model must be FILE.py:NAME" if model == "conv2" else told
    assert told in refused(capsys, "eval", "a.bank", "--model", model)
    assert Path("a.bank").read_bytes() == before and not Path("runs").exists()


def test_what_does_not_fit_is_refused(here, capsys):
    net = ut.Bank(ut.models.fc((16,), shape=(1, 8, 8)))
    net.save("fc.bank")
    assert "fc.bank builds its network, fc, by itself: leave --model out" in refused(capsys, "eval", "fc.bank", *OWN)
    for flags, told in (
        (["--pretrained"], "--pretrained: the weights of this bank are drawn"),
        (["--seed", "4"], "--seed must be that of the bank, 3, got 4"),
        (["--width", "2"], "--width is for the networks of untrained.models"),
    ):
        assert told in refused(capsys, "add", "a.bank", "--name", "x", *OWN, *SEARCH, *flags)
    _with(ut.Ticket.load("one.ticket"), arguments={"width": 2, "act": "elu"}).save("other.ticket")
    mine = ["--model", "nets/mine.py:cnn(width=2, act=elu)"]
    Path("nets/mine.py").write_text(CODE.replace("width=1)", "width=1, act='relu')"), encoding="utf-8")
    with pytest.warns(UserWarning, match="has sha256"):
        said = refused(capsys, "add", "a.bank", "--name", "x", "--ticket", "other.ticket", *mine)
    assert "its network must be that of the bank, mine.py:cnn(width=2) for 10 classes of inputs (1, 8, 8), got" in said
    Path("nets/mine.py").write_text(CODE, encoding="utf-8")
    bank("remove", "a.bank", "two")
    bank("remove", "a.bank", "one")
    assert "a.bank has no task" in refused(capsys, "eval", "a.bank", *OWN)
    bank("add", "a.bank", "--name", "one", "--ticket", "one.ticket", *OWN)


def _with(ticket, **facts):
    return replace(ticket, meta={**ticket.meta, KEY: {**ticket.meta[KEY], **facts}})


def test_changed_code_is_told_and_changed_tensors_are_refused(here, capsys, monkeypatch):
    _with(ut.Ticket.load("one.ticket"), sha256="5" * 64).save("younger.ticket")
    Path("nets/mine.py").write_text(f"{CODE}\n# a comment\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"mine\.py:cnn has sha256 \w+…, and had \w+… when the bank's first") as warned:
        bank("eval", "a.bank", *OWN)
    assert len(warned) == 1 and "two" in capsys.readouterr().out
    monkeypatch.setattr("untrained.experiments.add_task.find", None)  # a search that begins is an error
    with pytest.warns(UserWarning, match="when the bank's first task was made") as warned:
        assert "NoneType" in refused(capsys, "add", "a.bank", "--name", "x", *OWN, *SEARCH)
    assert len(warned) == 1
    Path("nets/mine.py").write_text(CODE, encoding="utf-8")
    with pytest.warns(UserWarning, match="when the ticket was made"):
        bank("add", "a.bank", "--name", "three", "--ticket", "younger.ticket", *OWN)
    with pytest.warns(UserWarning, match="when task 'three' was made"):
        bank("eval", "a.bank", *OWN)
    Path("nets/mine.py").write_text(CODE.replace("4 * width", "5 * width").replace("16 *", "20 *"), encoding="utf-8")
    before = Path("a.bank").read_bytes()
    for words in (["eval", "a.bank"], ["add", "a.bank", "--name", "x", *SEARCH]):
        with pytest.warns(UserWarning, match="has sha256"):
            assert "has shape (8,) in the ticket and (10,)" in refused(capsys, *words, *OWN)
    assert Path("a.bank").read_bytes() == before
