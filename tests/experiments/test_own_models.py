"""Networks of one's own, by name: what they are given, what they must be, and what their tickets remember and need."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.cli import main
from untrained.experiments.compare import compare
from untrained.models.brought import KEY, Description
from untrained.models.own import brought
from untrained.tickets.networks import check_same, rebuild

CODE = """
import torch
from torch import nn

def cnn(shape, classes, width=1, act="relu"):
    layers = nn.Conv2d(shape[0], 8 * width, 3), nn.BatchNorm2d(8 * width), {"relu": nn.ReLU, "elu": nn.ELU}[act]()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32 * width, classes))

class Net(nn.Module):
    def __init__(self, classes=7):
        super().__init__()
        self.token = nn.Parameter(torch.randn(16))
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU())
        self.head = nn.Linear(16, classes)
    def forward(self, x):
        return self.head(self.body(x) + self.token)

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def broken(shape, classes):
    raise RuntimeError("no such luck")

class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, x, y):
        return self.layer(x.flatten(1)) + y

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, x):
        return {"logits": self.layer(x.flatten(1))}

def seven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def no_module():
    return torch.zeros(3)

def needs(inputs, outputs):
    return fixed()

ONE = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def same():
    return ONE
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A file of networks in a folder, which is not the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ut.plot, "available", lambda: False)
    Path("nets").mkdir()
    Path("nets/zoo_of_mine.py").write_text(CODE, encoding="utf-8")
    return "nets/zoo_of_mine.py"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a search on the first of these networks, twice as wide."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "zoo_of_mine.py").write_text(CODE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ut.plot, "available", lambda: False)
        text = f"{folder}/zoo_of_mine.py:cnn(width=2)"
        ut.find(model=text, epochs=1, batch_size=256, twin=False, out=folder / "run")
    return folder


def network(text, shape=(1, 8, 8), classes=10, **options):
    own = brought(text)
    assert own is not None
    return own.build(shape, classes, **options)


@pytest.mark.parametrize("name", ["cnn", "cnn(width=3, act=elu)", "Net", "fixed"])
def test_a_network_gets_what_it_has_names_for_and_is_the_same_at_every_call(zoo, name):
    brought(f"{zoo}:{name}")  # imports it
    before = torch.random.get_rng_state()
    first, second = (network(f"{zoo}:{name}", seed=3) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state()) and all(module.training for module in first.modules())
    assert first is not second
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert first(torch.ones(4, 1, 8, 8)).shape == (4, 10)


WRONG = {
    "broken": "zoo_of_mine.py:broken raised RuntimeError: no such luck",
    "TwoInputs": r"its network cannot take inputs of shape \(2, 1, 8, 8\): TypeError: .*'y'",
    "Named": r"its network must give a tensor \(2, 10\), a number a class, got a dict",
    "seven": r"its network must give a tensor \(2, 10\), a number a class, got \(2, 7\)",
    "no_module": "zoo_of_mine.py:no_module must return an nn.Module, got Tensor",
    "needs": "missing a required argument: 'inputs'; it is given arguments in brackets, and shape and classes where",
    "fixed(width=2)": r"zoo_of_mine.py:fixed\(width=2\): got an unexpected keyword argument 'width'",
    "nothing": "zoo_of_mine.py has no 'nothing'",
    "ONE": r"zoo_of_mine.py:ONE: its network cannot take|raised",
    "cnn(width=1j)": "arguments must be words, numbers",
    "cnn(width=open('x'))": "is no word, number or known part",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_network_for_the_data_is_refused_in_one_sentence(zoo, name):
    with pytest.raises(ValueError, match=WRONG[name]) as refused:
        network(f"{zoo}:{name}")
    assert "\n" not in str(refused.value)


def test_the_same_network_twice_is_refused(zoo):
    network(f"{zoo}:same")
    with pytest.raises(ValueError, match="must return a new network at every call"):
        network(f"{zoo}:same")


def test_what_does_not_go_with_a_network_of_ones_own_is_refused_before_any_file_is_written(zoo):
    for flags, message in [
        ({"width": 2.0}, "--width is for the networks of untrained.models"),
        ({"norm": "batch"}, "--norm is for the networks of untrained.models"),
        ({"model": "zoo_of_mine.py"}, "unknown network"),
        ({"model": "conv2", "pretrained": True}, "--pretrained: conv2 has no weights of its own"),
    ]:
        with pytest.raises(ValueError, match=message):
            ut.find(**{"model": f"{zoo}:fixed", "epochs": 1, "out": "run"} | flags)
    assert not Path("run").exists()


def test_a_ticket_remembers_name_arguments_and_hash_and_never_runs_the_code(searched, capsys, monkeypatch):
    ticket = ut.Ticket.load(searched / "run/found.ticket")
    told = {"name": "zoo_of_mine.py:cnn", "arguments": {"width": 2}, "shape": [1, 8, 8], "classes": 10}
    assert ticket.built_by is None and ticket.meta[KEY] == told | {"sha256": hashlib.sha256(CODE.encode()).hexdigest()}
    assert str(searched) not in json.dumps(dict(ticket.meta))
    again = ut.Ticket.from_bytes(ticket.to_bytes(format=1))  # format 1 holds it, too
    assert again.meta == ticket.meta
    monkeypatch.chdir(searched)  # where the file is
    monkeypatch.setattr("untrained.own_code.import_place", None)
    with pytest.raises(ut.TicketError, match=r"zoo_of_mine\.py:cnn\(width=2\) \(sha256 .*not run: give --model '"):
        ut.load("run/found.ticket")
    main(["info", "run/found.ticket"])
    printed = capsys.readouterr().out
    assert "--model 'zoo_of_mine.py:cnn(width=2)'" in printed and ticket.meta[KEY]["sha256"] in printed


def test_eval_verify_bench_and_export_take_the_network(searched, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    ticket = str(searched / "run/found.ticket")
    own = ["--model", f"{searched}/zoo_of_mine.py:cnn(width=2)"]
    for command in (["eval"], ["verify"], ["bench", "--batch", "1"]):
        main([command[0], ticket, *own, *command[1:]])
    accuracy = ut.Ticket.load(ticket).meta["accuracy"]
    assert f"{accuracy:.2%} on 450 test images" in (printed := capsys.readouterr().out)
    assert "good, its weights" in printed and "batch 1: " in printed
    for form in ("html", "torch"):
        main(["export", ticket, "--to", form, "--out", f"net.{form}", *own])
    state = torch.load("net.torch", weights_only=True)
    plain = ut.load(ticket, network(own[1]))
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in plain.state_dict().items())
    assert "zoo_of_mine.py:cnn" in Path("net.html").read_text(encoding="utf-8")


def test_another_network_is_refused_and_changed_code_is_told(searched, zoo, capsys):
    ticket = str(searched / "run/found.ticket")
    for name, message in {
        "cnn": "other arguments than 'zoo_of_mine.py:cnn': give --model 'zoo_of_mine.py:cnn(width=2)'",
        "cnn(width=3)": "other arguments",
        "fixed": "other arguments",
        "conv2": "unknown",
    }.items():
        with pytest.raises(SystemExit):
            main(["eval", ticket, "--model", f"{zoo}:{name}" if name != "conv2" else "conv2"])
        assert message in (said := capsys.readouterr().err) or "must be FILE.py:NAME" in said
    Path(zoo).write_text(f"{CODE}\n# a comment\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"zoo_of_mine\.py:cnn has sha256 \w+…, and had \w+… when") as told:
        main(["eval", ticket, "--model", f"{zoo}:cnn(width=2)"])
    assert len(told) == 1 and "accuracy" in capsys.readouterr().out
    other = CODE.replace("8 * width", "9 * width").replace("32 * width", "36 * width")
    Path(zoo).write_text(other, encoding="utf-8")
    with pytest.raises(SystemExit), pytest.warns(UserWarning, match="has sha256"):
        main(["verify", ticket, "--model", f"{zoo}:cnn(width=2)"])
    assert "0.bias' has shape (16,) in the ticket and (18,)" in capsys.readouterr().err


def test_tuples_are_the_lists_of_a_ticket_and_another_function_is_another_network(zoo):
    own, other = brought(f"{zoo}:fixed(widths=(3, 4))"), brought(f"{zoo}:same(widths=(3, 4))")
    assert own is not None and other is not None
    told = Description.of({KEY: json.loads(json.dumps(own.describe((1, 8, 8), 10)))})
    assert told is not None
    check_same(told, own, (1, 8, 8), 10, "the ticket")
    with pytest.raises(ValueError, match=r"another than .*same\(.*give --model 'zoo_of_mine.py:fixed\("):
        check_same(told, other, (1, 8, 8), 10, "the ticket")
    with pytest.raises(ValueError, match=r"for inputs \(1, 8, 8\) and 10 classes, got \(3, 8, 8\) and 10"):
        check_same(told, own, (3, 8, 8), 10, "the ticket")


def test_a_settings_file_that_names_code_is_not_run(searched, monkeypatch, capsys):
    monkeypatch.chdir(searched)
    config = "run/config.toml"
    with pytest.raises(SystemExit):
        main(["find", "--config", config, "--out", "again"])
    said = capsys.readouterr().err
    assert "code that a file names is not run" in said and "--model" in said and not Path("again").exists()


HOSTILE = [
    None,
    "text",
    {"name": "cnn.py:build"},
    {"name": 3, "arguments": {}, "sha256": "", "shape": [1], "classes": 2},
    {"name": "a", "arguments": {}, "sha256": "", "shape": [1 << 40], "classes": 2},
    {"name": "a", "arguments": {}, "sha256": "", "shape": [1.5], "classes": 2},
    {"name": "a", "arguments": {}, "sha256": "", "shape": [1] * 99, "classes": 2},
    {"name": "a", "arguments": {}, "sha256": "", "shape": [1], "classes": True},
]


@pytest.mark.parametrize("found", HOSTILE)
def test_a_description_of_another_form_is_none(found):
    assert Description.of({KEY: found}) is None
    ticket = ut.Ticket.of(ut.mask_(torch.nn.Linear(3, 2), ut.EdgePopup()), meta={KEY: found})
    with pytest.raises(ut.TicketError, match="pass a freshly built model"):
        rebuild(ticket)


def test_compare_runs_it_in_other_processes_and_writes_the_tickets_of_find(searched, zoo):
    grid = {"methods": "edge-popup,int8-twin", "epochs": 1, "batch_size": 256, "seeds": 1, "jobs": 1}
    found = compare(model=f"{zoo}:cnn(width=2)", out=Path("grid"), **grid)
    assert {line.method for line in found.lines} == {"trained twin", "random-subnetwork", "edge-popup", "int8-twin"}
    assert not any(cell.error for cell in found.cells), [cell.error for cell in found.cells]
    ticket = ut.Ticket.load("grid/cells/edge-popup-0.5-seed0/found.ticket")
    assert ticket.meta[KEY] == ut.Ticket.load(searched / "run/found.ticket").meta[KEY]
