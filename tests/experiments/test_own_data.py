"""Data, loss and metric of a user's file: from find to eval; refused in one sentence; never run by a file."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import untrained as ut
from untrained.cli import main
from untrained.data.own import check_data

CODE = """
import torch
from torch import nn

def load(n=64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=generator)
    y = x @ torch.randn(6, 1, generator=generator)
    return [list(zip(a.split(8), b.split(8))) for a, b in zip(x.split(n // 2, 0)[:1] + x[n // 2:].split(n // 4),
                                                              y.split(n // 2, 0)[:1] + y[n // 2:].split(n // 4))]

def mae(outputs, targets):
    return (outputs - targets).abs().mean()

mae.higher_is_better, mae.unit = False, "mm"

def net(shape, classes):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(), nn.Linear(8, classes))

def pixels():
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        x = torch.randn(8, 1, 4, 4, generator=generator)
        y = (x[:, 0] > 0).to(torch.uint8)
        y[:, 0] = 255
        parts.append([(x, y)])
    return parts

def segment(shape, classes):
    return nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 1))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def refused(capsys, *arguments):
    with pytest.raises(SystemExit):
        main(arguments)
    return capsys.readouterr().err


def test_own_data_loss_and_metric_go_from_find_to_eval(own, capsys):
    chosen = ["--data", "mine.py:load", "--loss", "mine.py:mae", "--metric", "mine.py:mae"]
    main(["find", "--model", "mine.py:net", *chosen, "--epochs", "1", "--out", "run"])
    said = capsys.readouterr().out
    assert "test mae" in said and " mm" in said and "ccuracy" not in said
    ticket = ut.Ticket.load("run/found.ticket")
    assert ticket.meta["metric"] == {"name": "mae", "unit": "mm", "higher_is_better": False}
    assert ticket.meta["loss"] == "mae" and "accuracy" not in ticket.meta
    assert "ccuracy" not in (own / "run/report.html").read_text(encoding="utf-8").partition("<script")[0]
    row = json.loads((own / "run/metrics.jsonl").read_text(encoding="utf-8"))
    assert row["val_mae"] == row["val_loss"]
    main(["eval", "run/found.ticket", "--model", "mine.py:net", *chosen])
    assert f"mae       {ticket.meta['test']:.4g} mm on 16" in capsys.readouterr().out
    said = refused(capsys, "eval", "run/found.ticket", "--model", "mine.py:net")
    assert "no file runs: add --data mine.py:load" in said
    said = refused(capsys, "find", "--out", "run", "--resume", "--model", "mine.py:net")
    assert "names code, and code that a file names is not run" in said


def test_eval_takes_the_built_in_metric_of_the_search(own, capsys):
    main(
        ["find", "--model", "mine.py:net", "--data", "mine.py:load", "--metric", "r2", "--epochs", "1", "--out", "run"]
    )
    capsys.readouterr()
    ticket = ut.Ticket.load("run/found.ticket")
    given = ["--model", "mine.py:net", "--data", "mine.py:load"]
    main(["eval", "run/found.ticket", *given])
    assert f"R²        {ticket.meta['test']:.4g} on 16" in capsys.readouterr().out
    main(["eval", "run/found.ticket", *given, "--metric", "rmse"])
    assert "RMSE      " in capsys.readouterr().out
    for wrong in ({"name": "x y"}, 3, {"what": 1}):
        replace(ticket, meta={**ticket.meta, "metric": wrong}).save("odd.ticket")
        assert "odd.ticket: " in refused(capsys, "eval", "odd.ticket", *given)


def test_a_comparison_of_values_is_in_their_metric(own):
    settings = {"data": "mine.py:load", "widths": (8,), "epochs": 1, "seeds": 2, "jobs": 1, "out": "run"}
    found = ut.compare(methods="biprop,int8-twin", metric="r2", **settings)
    assert not any(cell.error for cell in found.cells)
    assert {line.metric.name for line in found.lines} == {"r2"} and found.lines[0].accuracy != found.lines[0].accuracy
    again = ut.compare(methods="biprop,int8-twin", metric="r2", resume=True, **settings)
    assert repr(again.lines) == repr(found.lines)
    with pytest.raises(ValueError, match="r2, not rmse"):
        ut.compare(methods="biprop,int8-twin", metric="rmse", resume=True, **settings)
    with pytest.raises(ValueError, match="a frontier is one of accuracies"):
        ut.frontier(data="mine.py:load", widths=(8,))


def test_pixels_are_counted_without_the_ignored(own):
    loss = "cross-entropy(ignore_index=255)"
    found = ut.find(model="mine.py:segment", data="mine.py:pixels", loss=loss, epochs=1, twin=False, out="run")
    assert 0 <= found.rows[0].accuracy <= 1
    with pytest.raises(ValueError, match="labels must be in"):
        ut.find(model="mine.py:segment(classes=2)", data="mine.py:pixels", epochs=1, out="other")


X, Y = torch.arange(24.0).view(8, 3), torch.arange(8) % 3


def part(number=0, x=X, y=Y):
    return [(x + number, y)]


class Once:
    """Batches that are there only once."""

    def __init__(self):
        self.left = [(X + 9, Y)]

    def __iter__(self):
        return iter([self.left.pop()] if self.left else [])


SHARED, LOADED = part(1), TensorDataset(X, Y)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"train": part()}, "a DataSet or three iterables.*dict"),
        (part(), "three iterables of batches, got 1"),
        ((part(), SHARED, SHARED), "val and test are the same object"),
        ((part(), part(1), part(1)), "val and test begin with the same batch"),
        ((DataLoader(LOADED, 4), part(1), DataLoader(LOADED, 2)), "train and test are the same object"),
        ((iter(part()), part(1), part(2)), "mine: train must give its batches in every epoch.*iterator"),
        ((part(), Once(), part(2)), "mine: val has no batch the second time"),
        ((part(), [], part(2)), "mine: val has no batch"),
        ((part(), part(1, X[:, :2]), part(2)), r"inputs of val.*float32 \(3,\), got float32 \(2,\)"),
        ((part(), part(1, y=Y.float()), part(2)), "labels of val.*integers of 1 axes, got float32"),
        ((part(), part(1, X / 0), part(2)), "val, batch 1 has inputs that are not finite"),
        ((part(y=Y - 1), part(1), part(2)), "train, batch 1 has a label -1"),
        ((part(y=Y * 0), part(1, y=Y * 0), part(2, y=Y * 0)), "at least two classes"),
        ((part(y=Y[:4]), part(1), part(2)), "as many labels as inputs.*8 and 4"),
        (([X], part(1), part(2)), "batch 1 must be a pair"),
    ],
)
def test_data_that_cannot_be_right_are_refused_in_one_sentence(made, message):
    with pytest.raises(ValueError, match=message):
        check_data(made, "mine")


def test_checking_draws_no_random_numbers_and_finds_the_sizes():
    before = torch.get_rng_state()
    loaders = [DataLoader(TensorDataset(X + n, Y), 4, shuffle=True) for n in range(3)]
    data = check_data(loaders, "mine")
    assert torch.equal(torch.get_rng_state(), before)
    assert (data.shape, data.classes, len(data.train)) == ((3,), 3, 2)
    tokens = torch.arange(14).view(2, 7)
    language = check_data([[(tokens - n, (tokens - n).clamp(0, 3))] for n in range(0, -3, -1)], "mine")
    assert language.classes == 16
