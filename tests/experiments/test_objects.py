"""Objects of Python in `compare`: the numbers are those of their names, a loop of one's own, and going on."""

import csv
import functools
import json
import pickle
import re
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import pytest
import torch
from joblib.externals.loky.backend.reduction import dumps
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import untrained as ut
from command_checks import refused
from untrained.experiments import cells
from untrained.experiments import compare as comparison
from untrained.experiments.fingerprint import fingerprint
from untrained.methods.masks import top_codes, uniform_scores
from untrained.own_code import OwnCode
from untrained.runs.text_tables import of_lines

ONE = {"epochs": 1, "seeds": 1, "jobs": 1}
WIDTH = 6


@final
@dataclass(frozen=True)
class Own(ut.Method):
    keep: float = 0.5
    gain: float = 1.0

    def init_scores(self, weight, generator):
        return uniform_scores(weight, generator)

    def codes(self, weights, scores):
        return top_codes(scores, self.keep, together=False, signed=False)


def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))


def loop(model, train, epochs, seed):
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1.0)
    for _ in range(epochs):
        for x, y in train:
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison.plot, "available", lambda: False)  # pictures take longer than a search


@pytest.fixture(scope="module")
def digits():
    data = ut.load_data("digits")
    few = {part: getattr(data, part).choose(torch.arange(96)) for part in ("train", "val", "test")}
    return ut.DataSet("digits", **few, labels=data.labels, mean=data.mean, std=data.std, augment=False)


def without_seconds(found):
    return [{**asdict(cell), "seconds": 0} for cell in found.cells]


def numbers(found):
    return [(cell.method, cell.keep, cell.test, cell.val, cell.kept, cell.epochs) for cell in found.cells]


def test_objects_have_the_numbers_of_their_names(digits, monkeypatch):
    monkeypatch.setattr("untrained.experiments.choices._read", lambda *_: digits)
    names = ut.compare(methods="edge-popup,int8-twin", keep="0.3", widths=(6,), out="names", **ONE)
    methods = [ut.EdgePopup(0.3), "int8-twin"]
    objects = ut.compare(methods=methods, data=digits, widths=(6,), out="objects", **ONE)
    assert without_seconds(objects) == without_seconds(names) and not any(cell.error for cell in names.cells)
    for cell in names.cells[1:]:
        tickets = [Path(run, "cells", cell.name, "found.ticket") for run in ("names", "objects")]
        assert len({path.read_bytes() for path in tickets if path.exists()}) <= 1
    # A function that builds the same network: its ticket and twin's file name it, and all else is equal.
    fc = functools.partial(ut.models.fc, widths=(6,))
    models = ut.compare(models={"mine": fc}, methods=methods, data=digits, out="models", **ONE)
    assert numbers(models) == numbers(names)


def test_a_loop_that_is_fit_and_a_way_to_workers_change_nothing(digits, monkeypatch):
    def by_fit(model, train, val, **others):
        return ut.fit(model, train, val, **others)

    given = {"models": build, "methods": [Own(0.3), "edge-popup(keep=Cubic(0.5,0.2))"], "data": digits}
    one, two = (ut.compare(**given, **ONE, loop=each, out=str(number)) for number, each in enumerate((None, by_fit)))
    run = cells.run_cell
    monkeypatch.setattr(cells, "run_cell", lambda *its: run(*pickle.loads(dumps(its))))  # as a worker gets it
    three = ut.compare(**given, **ONE, loop=ut.fit, out="2")
    assert without_seconds(one) == without_seconds(two) == without_seconds(three)
    assert not any(cell.error for cell in one.cells)
    own = next(cell for cell in two.cells if cell.method == "Own")
    tickets = {Path(run, "cells", own.name, "found.ticket").read_bytes() for run in "012"}
    assert len(tickets) == 1 and own.keep == 0.3


def test_networks_have_rows_of_their_own_and_a_finished_run_is_not_searched_again(digits, monkeypatch, capsys):
    given = {"models": {"mlp": build, "net": Net}, "methods": {"ours": Own(0.5), "theirs": "edge-popup(keep=0.5)"}}
    given |= {"data": digits, "loop": loop, "out": "run", "epochs": 1, "jobs": 1, "seeds": 2}
    found = ut.compare(**given)
    rows = [(line.model, line.method, line.keep, line.seeds) for line in found.lines]
    names = [("trained twin", None), ("random-subnetwork", 0.5), ("ours", 0.5), ("theirs", None)]
    assert rows == [(model, method, keep, 2) for model in ("mlp", "net") for method, keep in names]
    for model in ("mlp", "net"):  # each is compared with its own twin, and has another number of weights
        twin = next(line for line in found.lines if line.model == model)
        its = next(line for line in found.lines if line.model == model and line.method == "ours")
        assert its.difference.mean == pytest.approx(its.accuracy - twin.accuracy)
    assert {cell.weights for cell in found.cells if cell.method == "ours"} == {64 * 6 + 6 * 10, 640}
    assert of_lines(found.lines).titles[0] == "model"
    with Path("run/results.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [(row["model"], row["seed"]) for row in read] == [(cell.model, str(cell.seed)) for cell in found.cells]
    table, page = (Path("run", name).read_text(encoding="utf-8") for name in ("results.json", "report.html"))
    assert [line["model"] for line in json.loads(table)["lines"]] == [row[0] for row in rows]
    assert "made by ut.compare" in page and "models[&#39;mlp&#39;]: " in page

    monkeypatch.setattr("untrained.experiments.cells.run_cell", lambda *_: pytest.fail("searched again"))
    assert ut.compare(**given, resume=True).cells == found.cells
    one = refused(capsys, "compare", "--out", "run", "--resume")
    assert "config.toml is of a run with objects of Python: go on with it, or repeat it, by ut.compare" in one
    others = {
        "models": ({"mlp": build, "net": build}, "models['net'] is another than in the run in run;"),
        "methods": ({"ours": Own(0.5, gain=2.0), "theirs": "edge-popup"}, "methods['ours'] is another than"),
        "loop": (lambda model, train: None, "loop is another than in the run in run;"),
        "data": (ut.load_data("digits"), "data is another than in the run in run;"),
    }
    for name, (other, reason) in others.items():
        with pytest.raises(ValueError, match=re.escape(reason)):
            ut.compare(**{**given, name: other}, resume=True)
    monkeypatch.setitem(globals(), "WIDTH", 7)  # that the function reads
    with pytest.raises(ValueError, match=r"^models\['mlp'\] is another than in the run in run"):
        ut.compare(**given, resume=True)


CHOICES = """
from torch.nn import functional as F

def margin(outputs, targets):
    return F.multi_margin_loss(outputs, targets)

def surprise(outputs, targets):
    return F.cross_entropy(outputs, targets)

surprise.higher_is_better = False
"""


def test_a_loss_and_a_metric_may_be_functions_with_the_numbers_of_their_names(digits, monkeypatch):
    Path("mine.py").write_text(CHOICES, encoding="utf-8")
    mine = {name: OwnCode.of(f"mine.py:{name}").value for name in ("margin", "surprise")}
    given = {"models": {"net": Net}, "methods": [Own(0.5)], "data": digits, **ONE}
    names = ut.compare(**given, loss="mine.py:margin", metric="mine.py:surprise", out="names")
    objects = ut.compare(**given, loss=mine["margin"], metric=mine["surprise"], out="objects")
    assert numbers(objects) == numbers(names) and not any(cell.error for cell in objects.cells)
    assert all(cell.value > 0 for cell in objects.cells)
    plain = ut.compare(**given, metric=mine["surprise"], out="plain")  # another loss: other scores, another twin
    assert plain.cells[0].value != objects.cells[0].value
    assert len(ut.compare(**given, loss=mine["margin"], metric=mine["surprise"], out="objects", resume=True).cells) == 3
    for name in ("loss", "metric"):
        other = functools.partial(mine["surprise"])
        other.higher_is_better = True
        others = {"loss": mine["margin"], "metric": mine["surprise"], name: other}
        with pytest.raises(ValueError, match=rf"^{name} is another than in the run in objects"):
            ut.compare(**given, **others, out="objects", resume=True)


def test_what_cannot_be_told_apart_is_not_gone_on_with(digits):
    lock = threading.Lock()

    def locked(model, train):
        with lock:
            loop(model, train, 1, 0)

    given = {"models": Net, "methods": [Own()], "data": digits, "loop": locked}
    with pytest.raises(
        ValueError, match=r"^loop cannot be sent to another process \(TypeError: .*lock.*: pass jobs=1$"
    ):
        ut.compare(**given, **{**ONE, "jobs": 2}, out="run")
    assert not Path("run").exists()
    assert not any(cell.error for cell in ut.compare(**given, **ONE, out="run").cells)
    with pytest.raises(
        ValueError, match=r"^loop may be another than in the run in run: its contents are unknown, Type"
    ):
        ut.compare(**given, **ONE, out="run", resume=True)


def test_batches_of_ones_own_begin_alike_in_every_search_and_tests_stay_unseen(digits):
    """Their order is drawn by a generator that all searches share."""
    parts = [next(iter(digits.batches(part, 96))) for part in ("train", "val", "test")]
    seen, many = [], []

    def looking(model, train, val):
        batches = list(train)
        seen.append(torch.cat([x for x, _ in batches]))
        many.extend(x for x, _ in val)
        batches += list(train)
        loop(model, batches, 1, 0)

    def loaders():
        made = torch.Generator().manual_seed(5)
        return [DataLoader(TensorDataset(*part), 16, shuffle=True, generator=made) for part in parts]

    one = ut.compare(models=Net, methods=[Own(0.3), Own(0.6)], data=loaders(), loop=looking, out="one", **ONE)
    assert [cell.error for cell in one.cells] == [""] * 5 and len(seen) == 2 and torch.equal(*seen)
    assert not any((x[:, None] == parts[2][0][None]).flatten(2).all(2).any() for x in many)
    assert {cell.epochs for cell in one.cells if cell.method == "Own"} == {
        2
    }  # passes that it took, not those it is told
    two = ut.compare(models=Net, methods=[Own(0.6)], data=loaders(), loop=looking, out="two", **ONE)
    assert without_seconds(two)[-1] == without_seconds(one)[-1]


shared, whole = nn.Linear(64, 10), Net()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"models": {"a": Net()}},
            "models['a'] must be a function that returns a new nn.Module at every call, as every",
        ),
        ({"models": lambda: whole}, "must return a new network at every call, got the same one again"),
        ({"models": lambda: nn.Sequential(nn.Flatten(), shared)}, "two of its networks share '1'"),
        ({"models": {"a": lambda: 3}}, "object:a must return an nn.Module, got int"),
        ({"models": [build, build]}, "two models are called 'build': give names, models={NAME: function, ...}"),
        ({"models": {"a": build}, "model": "conv2"}, "give models or model, not both, got the model conv2"),
        ({"models": {}}, "models must have one at least, got none"),
        ({"methods": [Own(0.3), Own(0.3)]}, "two methods are called 'Own': give names, methods={NAME: method, ...}"),
        ({"methods": ["edge-popup", ut.EdgePopup(0.3)]}, "two methods are called 'edge-popup': give names,"),
        (
            {"methods": [Own]},
            "methods['Own'] must be a method, or the name of one, got <class 'test_objects.Own'>; write",
        ),
        (
            {"methods": {"trained twin": Own()}},
            "names in methods must be texts without commas, and not taken, got 'trai",
        ),
        (
            {"methods": [Own(0.3)], "keep": "0.1"},
            "keep is for methods by name, and these objects have their own, got 0.1",
        ),
        ({"methods": [ut.Biprop(0.3), "iterand"], "against": "edge-popup"}, "against must be a row of the table"),
        ({"loop": lambda model: None}, "loop: too many positional arguments; it is called with model and train, and"),
        ({"loop": lambda model, train, rate: None}, "loop: missing a required argument: 'rate'; it is called with"),
        ({"loop": Net()}, "loop must be a function (model, train, ...) that trains a masked model, got Net("),
        ({"data": [[], [], []]}, "data: train has no batch"),
        ({"loss": 3}, "loss must be one of cross-entropy, next-token, mse, or a function, got 3"),
        (
            {"metric": lambda y, t: 0.0},
            "the metric lambda must state its direction: lambda.higher_is_better = True, or",
        ),
        ({"loss": "hinge"}, "unknown loss 'hinge'; known: cross-entropy"),
        ({"data": 3}, "data must give a DataSet or three iterables of batches, got a int"),
    ],
)
def test_what_could_go_wrong_is_refused_before_anything_is_written(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ut.compare(**{"methods": [Own(0.3)], **ONE, "out": "run", **given})
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda model, train: nn.Linear(2, 2),
            "loop must return the masked model, a copy or nothing, got a plain Linear",
        ),
        (
            lambda model, train: None,
            "loop must call ut.advance_(model, step, steps) after every step, and has done 0 of 1",
        ),
        (lambda model, train: next(iter(model.parameters())).data.fill_(2.0), ""),
    ],
)
def test_a_loop_that_does_not_do_it_is_an_error_in_its_row(wrong, message, digits):
    methods = [ut.EdgePopup(keep=ut.Cubic(0.5, 0.2))]
    found = ut.compare(models=Net, methods=methods, data=digits, loop=wrong, out="run", **ONE)
    assert [bool(cell.error) for cell in found.cells] == [False, False, True]
    assert message in found.cells[-1].error


def test_fingerprints_are_of_contents():
    def make(width, seen=frozenset({"b", "c"})):
        return lambda: (width, seen, width in {"x", "y"})

    assert fingerprint(make(1)) == fingerprint(make(1)) != fingerprint(make(2))
    assert fingerprint(Own(0.3)) == fingerprint(Own(0.3)) != fingerprint(Own(0.4))
    generator = torch.Generator().manual_seed(1)
    before = fingerprint(generator)
    torch.rand(3, generator=generator)
    assert fingerprint(generator) == before != fingerprint(torch.Generator().manual_seed(2))
    plain, wrapped = Net.forward, torch.no_grad()(make(1))
    assert fingerprint(plain) != fingerprint(build) and fingerprint(wrapped) != fingerprint(torch.no_grad()(make(2)))
    assert fingerprint(functools.cache(make(1))) != fingerprint(functools.cache(make(2)))
    assert fingerprint(threading.Lock()).startswith("unknown, TypeError")
