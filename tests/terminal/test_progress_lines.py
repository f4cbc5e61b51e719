"""Steps without a terminal: a plain line each, on standard error, at once."""

import re
import sys

import torch

import untrained as ut
from untrained.terminal import progress
from untrained.terminal.progress import print_line, show_progress, show_step

BATCHES = [(torch.ones(8, 4), torch.arange(8) % 3)] * 2


def model():
    return ut.mask_(torch.nn.Linear(4, 3), ut.EdgePopup(0.5), seed=0)


def test_a_step_is_a_line_before_it_begins(capsys):
    with show_step("draw\x1b[31m the [bold]picture"):
        out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.endswith("the [bold]picture\n") and "\x1b" not in err
    assert capsys.readouterr() == ("", "")


def test_without_standard_error_nothing_is_said_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    print_line("a line")


def test_an_epoch_is_a_line(capsys):
    ut.fit(model(), BATCHES, BATCHES, epochs=2, title="found \x1b[2J")
    out, err = capsys.readouterr()
    first, *epochs = err.splitlines()
    assert out == "" and first == r"found \x1b[2J: 2 epochs of 2 batches" and len(epochs) == 2
    for number, line in enumerate(epochs, 1):
        assert re.search(rf": epoch {number} of 2  [\d.]+ s  loss \d\.\d+  validation [\d.]+%  flips [\d.]+%$", line)


def test_a_long_epoch_has_lines_between(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_QUIET", -1.0)
    ut.fit(model(), BATCHES, epochs=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == [
        "search: 1 epoch of 2 batches",
        "search: 50 %",
        "search: 100 %",
    ]


def test_a_search_without_a_title_is_silent(capsys):
    ut.fit(model(), BATCHES, epochs=1, title=None)
    assert capsys.readouterr() == ("", "")


def test_items_are_lines(capsys):
    with show_progress("compare", 5, 3, "networks") as advance:
        assert capsys.readouterr().err == "compare: 2 of 5 networks to do\n"
        advance("biprop\n97 %")
    assert re.fullmatch(r"compare: 4 of 5  [\d.]+ s  biprop\\n97 %\n", capsys.readouterr().err)
