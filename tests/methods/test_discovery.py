"""`untrained find` with every method and every option: what it prints is what its ticket is."""

import dataclasses
import hashlib
import math
import re
from pathlib import Path

import pytest
import torch

import untrained as ut
from command_checks import refused, write_images
from untrained import plot
from untrained.cli import main
from untrained.experiments.by_name import method_of
from untrained.methods import METHODS

QUICK = ["find", "--widths", "8", "--epochs", "1"]
LEARNING = [name for name, cls in METHODS.items() if cls().learns]
SCOPED = [name for name in LEARNING if "scope" in {field.name for field in dataclasses.fields(METHODS[name])}]
TOLD = [name for name in LEARNING if METHODS[name]().keeping(0.5) != METHODS[name]().keeping(0.4)]
every_method = pytest.mark.parametrize("name", LEARNING)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot, "available", lambda: False)  # pictures take longer than a search


@pytest.fixture
def images():
    """A folder of a few images, for networks that are slow."""
    write_images()


def judged(capsys, folder="run"):
    """The ticket of a run, once all commands that read it have agreed with what find printed."""
    path = Path(folder) / "found.ticket"
    printed = capsys.readouterr().out
    row = re.search(r"found subnetwork +(\S+%) +([\d,]+) +([\d,]+)", printed)
    assert row is not None
    ticket = ut.Ticket.load(path)
    kept = sum(int(code.count_nonzero()) for code in ticket.codes.values())
    assert row[2] == f"{kept:,}" and row[3] == f"{path.stat().st_size:,}"
    page = re.search(r"^page     (none: .+|.*found\.html)$", printed, re.MULTILINE)
    assert page is not None and page.start() < printed.index("\nticket   ")
    assert path.with_suffix(".html").is_file() != page[1].startswith("none: ")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    main(["eval", str(path)])
    measured = capsys.readouterr().out
    assert re.match(rf"accuracy  {re.escape(row[1])} on [\d,]+ test images", measured) and digest in measured
    assert f"{ticket.meta['accuracy']:.2%}" == row[1]
    main(["info", str(path)])
    described = capsys.readouterr().out
    weights = sum(code.numel() for code in ticket.codes.values())
    assert f"{kept:,} of {weights:,} weights kept" in described and digest in described
    for method in {entry.method for entry in ticket.tensors.values() if entry.method}:
        assert str(method) in described
    main(["verify", str(path)])
    verified = capsys.readouterr().out
    assert "good" in verified and f"sha256 of the ticket: {digest}" in verified
    return ticket


@every_method
def test_every_method_finds_a_ticket_that_the_other_commands_read(capsys, name):
    main([*QUICK, "--no-twin", "--method", name, "--keep", "0.3", "--out", "run"])
    ticket = judged(capsys)
    assert type(ticket.method) is METHODS[name] and ticket.law == METHODS[name]().law
    assert ticket.method == METHODS[name]().keeping(0.3).at(1.0)
    main(["find", "--out", "run", "--resume"])  # it is finished
    assert ut.Ticket.load("run/found.ticket").to_bytes() == ticket.to_bytes()


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LEARNING])
def test_methods_that_learn_nothing_are_refused(capsys, name):
    assert f"method must be one that searches, got {name}" in refused(capsys, *QUICK, "--method", name, "--out", "run")
    assert not Path("run").exists()


@every_method
@pytest.mark.parametrize("scope", ["layer", "global", "normalised"])
def test_scope_is_used_or_refused(capsys, name, scope):
    call = [*QUICK, "--no-twin", "--method", name, "--keep", "0.4", "--scope", scope, "--out", "run"]
    if name not in SCOPED:
        assert f"{name}: there is no field 'scope'" in refused(capsys, *call)
        return
    try:
        dataclasses.replace(METHODS[name](), scope=scope)
    except ValueError as error:
        assert str(error) in refused(capsys, *call)
        return
    main(call)
    ticket = judged(capsys)
    assert ticket.method.scope == scope
    if name == "edge-popup":
        kept = {key: int(code.count_nonzero()) for key, code in ticket.codes.items()}
        if scope == "layer":
            assert kept == {key: math.ceil(0.4 * code.numel()) for key, code in ticket.codes.items()}
        else:
            assert sum(kept.values()) == math.ceil(0.4 * 592)


@pytest.mark.parametrize(
    "text", ["bernoulli", "gem-miner(scope=layer)", *(name for name in TOLD if name != "gem-miner")]
)
def test_erk_keeps_as_many_in_all_and_more_of_small_tensors(capsys, text):
    name = text.partition("(")[0]
    main([*QUICK, "--no-twin", "--method", text, "--keep", "0.4", "--densities", "erk", "--out", "run"])
    ticket = judged(capsys)
    if name not in TOLD:
        assert type(ticket.method) is METHODS[name]
        return
    keeps = {key: entry.method.keep for key, entry in ticket.tensors.items() if entry.method is not None}
    sizes = {key: code.numel() for key, code in ticket.codes.items()}
    small, big = sorted(sizes, key=sizes.__getitem__)
    assert keeps[small] > keeps[big]
    assert sum(keeps[key] * sizes[key] for key in sizes) == pytest.approx(0.4 * sum(sizes.values()))
    if name in ("edge-popup", "iterand", "biprop", "multicoated"):
        for key, code in ticket.codes.items():
            assert abs(int(code.count_nonzero()) - keeps[key] * sizes[key]) <= 1


@pytest.mark.parametrize("keep", ["0.3", "0.5", "1"])
@pytest.mark.parametrize(
    "text",
    ["edge-popup(scope=normalised)", "gem-miner", "partly-frozen(of=EdgePopup(scope=global))", "biprop(scope=global)"],
)
def test_erk_and_one_ranking_of_all_tensors_contradict_each_other(capsys, text, keep):
    said = refused(capsys, *QUICK, "--method", text, "--keep", keep, "--densities", "erk", "--out", "run")
    assert said.startswith("untrained: erk ") and not Path("run").exists()


@pytest.mark.parametrize("name", ["edge-popup", "slot-machines"])
def test_the_law_that_is_named_is_drawn(capsys, name):
    main([*QUICK, "--no-twin", "--method", name, "--weights", "kaiming-normal(scaled=True)", "--out", "run"])
    assert judged(capsys).law == ut.KaimingNormal(scaled=True)


def test_laws_that_are_not_are_refused(capsys):
    for text, says in {
        "nonsense": "unknown weights law 'nonsense'",
        "weight-law": "unknown weights law 'weight-law'",
        "kaiming-normal(nope=1)": "no field 'nope'",
        "kaiming-normal(": "kaiming-normal(",
    }.items():
        assert says in refused(capsys, *QUICK, "--weights", text, "--out", "run")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("name", "activation"), [("edge-popup", "elu"), ("biprop", "sign"), ("signed-supermask", "elu")]
)
def test_activations_are_noted_in_the_ticket(capsys, name, activation):
    main([*QUICK, "--method", name, "--activation", activation, "--out", "run"])
    ticket = judged(capsys)
    assert ticket.built_by["arguments"]["activation"] == activation
    kinds = {type(module).__name__ for module in ut.load("run/found.ticket").modules()}
    assert kinds & {"ELU", "BinaryActivation"} and "ReLU" not in kinds


@pytest.mark.parametrize(
    "name", ["edge-popup", "threshold", *(name for name in LEARNING if METHODS[name]().paper is None)]
)
def test_the_recipe_of_the_paper_is_used_or_refused(capsys, name):
    call = [*QUICK, "--no-twin", "--method", name, "--recipe", "paper", "--out", "run"]
    if METHODS[name]().paper is None:
        assert "no paper" in refused(capsys, *call)
        return
    main(call)
    ticket = ut.Ticket.load("run/found.ticket")
    paper = METHODS[name]().paper
    assert ticket.law == (paper.weights or METHODS[name]().law)
    plan = torch.load("run/checkpoint.pt", weights_only=False)["plan"]
    assert plan["recipe"] == str(paper.recipe)


def test_folded_networks_are_found_and_so_is_their_twin(capsys, images):
    call = ["find", "--model", "resnet34", "--width", "0.02", "--data", "images", "--epochs", "1", "--batch-size", "8"]
    main([*call, "--folded", "--out", "folded"])
    printed = capsys.readouterr().out
    twin = re.search(r"trained twin +\S+% +([\d,]+) +([\d,]+)", printed)
    assert twin is not None
    weights, size = (int(number.replace(",", "")) for number in twin.groups())
    ticket = ut.Ticket.load("folded/found.ticket")
    assert ticket.built_by["arguments"]["folded"] is True
    network = ut.models.build("resnet34", **ticket.built_by["arguments"])
    tensors = {t.data_ptr(): t.numel() * t.element_size() for t in network.state_dict().values()}
    assert weights == sum(p.numel() for p in network.parameters())
    assert sum(tensors.values()) < size < sum(tensors.values()) + 200 * len(network.state_dict())
    main(["eval", "folded/found.ticket"])
    assert f"{ticket.meta['accuracy']:.2%} on 16 test images" in capsys.readouterr().out
    main(["verify", "folded/found.ticket"])
    main(["find", "--out", "folded", "--resume"])


def test_networks_that_cannot_be_folded_say_so(capsys):
    assert "fc has no argument 'folded'" in refused(capsys, *QUICK, "--folded", "--out", "run")
    assert not Path("run").exists()


@pytest.mark.parametrize("keep", ["0.2", "Cubic(0.6, 0.2)"])
def test_the_keep_in_the_brackets_is_used_or_refused(capsys, keep):
    try:
        main([*QUICK, "--no-twin", "--method", f"edge-popup(keep={keep})", "--out", "run"])
    except SystemExit as stop:
        assert stop.code == 2 and "keep" in capsys.readouterr().err
    else:
        assert ut.Ticket.load("run/found.ticket").method == ut.EdgePopup(0.2)


def test_the_random_subnetwork_keeps_as_many_as_the_keep_in_the_brackets(capsys):
    main([*QUICK, "--no-twin", "--method", "edge-popup(keep=0.2)", "--out", "run"])
    printed = capsys.readouterr().out
    random, found = (re.search(rf"{name} subnetwork +\S+% +(\d+)", printed) for name in ("random", "found"))
    assert random is not None and found is not None and random[1] == found[1] == "119"


def test_the_keep_of_an_inner_method_is_used():
    assert method_of("partly-frozen(of=EdgePopup(keep=0.2))", 0.5) == ut.PartlyFrozen(ut.EdgePopup(0.2))


OWN = '''
from dataclasses import dataclass
from typing import final

import torch
from untrained import Method


@final
@dataclass(frozen=True)
class OwnFound(Method):
    """Keep what has a score above a threshold."""

    threshold: float = 0.0

    def init_scores(self, weight, generator):
        return torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight)

    def codes(self, weights, scores):
        return {name: (score > self.threshold).to(torch.int8) for name, score in scores.items()}

    def decode(self, weight, codes):
        return weight * (codes != 0)

    def effective(self, weights, scores):
        codes = self.codes(weights, scores)
        return {n: self.decode(w, codes[n]) + w * (scores[n] - scores[n].detach()) for n, w in weights.items()}
'''


def test_a_method_of_ones_own_is_found_and_gone_on_with(capsys):
    Path("own_found.py").write_text(OWN, encoding="utf-8")
    main([*QUICK, "--no-twin", "--method", "own_found.py:OwnFound(threshold=0.25)"])
    (folder,) = Path("runs").iterdir()
    ticket = judged(capsys, folder)
    assert not (folder / "found.html").exists()  # a browser does not know the method
    assert str(ticket.method) == "OwnFound(threshold=0.25)" and "own_found.py-OwnFound" in folder.name
    assert "names code" in refused(capsys, "find", "--out", str(folder), "--resume")
    main(["find", "--out", str(folder), "--resume", "--method", "own_found.py:OwnFound(threshold=0.25)"])
    assert ut.Ticket.load(folder / "found.ticket").to_bytes() == ticket.to_bytes()
    assert "no untrained.Method called 'Nope'" in refused(capsys, *QUICK, "--method", "own_found.py:Nope")
    assert "no field 'nope'" in refused(capsys, *QUICK, "--method", "own_found.py:OwnFound(nope=1)")
