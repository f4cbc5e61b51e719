"""Steps without a terminal: a plain line each, on standard error, at once."""

import re
import sys
import time

import pytest
import torch
from rich.console import Console

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


@pytest.fixture
def drawn(monkeypatch):
    """A function that returns the line of the last bar, on a terminal of so many columns."""
    bars, make = [], progress.bar
    monkeypatch.setattr(Console, "is_terminal", property(lambda self: True))
    monkeypatch.setattr(progress, "bar", lambda *columns, **options: bars.append(make(*columns, **options)) or bars[-1])

    def draw(columns):
        with (page := Console(width=columns, color_system=None)).capture() as captured:
            page.print(bars[-1].get_renderable())
        (line,) = captured.get().splitlines()
        assert len(line) <= columns
        return line

    return draw


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("title", ["found subnetwork", "a title of a user, " * 9])
def test_a_bar_keeps_percentage_and_remaining_time(drawn, monkeypatch, columns, title):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(progress, "_INTERVAL", -1.0)
    with progress.Progress(title, 1000, 10) as shown:
        for batch in range(20):
            time.sleep(0.001)
            shown.batch_done(torch.tensor([12345.678, 1.0, 123456.0]), lambda: "mean IoU 97.8%")
            if batch % 10 == 9:
                shown.epoch_done({"epoch": batch // 10 + 1, "train_loss": 1.0, "flips": 0.1111}, "mean IoU 97.80%")
        line = drawn(columns)
        assert re.search(r" +0% \d+:\d\d:\d\d ", line)
        if title == "found subnetwork":
            assert line.startswith(title) and "validation mean IoU" in line
        assert "flips 11.11%" in line or columns < 200


@pytest.mark.parametrize("columns", [80, 100])
def test_the_bar_of_a_comparison_keeps_them_too(drawn, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    with show_progress("compare", 12_000, 5_000, "networks") as advance:
        for _ in range(3):
            time.sleep(0.001)
            advance("edge-popup(scope=global,signed=True,last=Nudge(step=1,levels=7)) " + "no memory " * 30)
        assert re.search(r"^compare +5003/12000 \S+ +42% \d+:\d\d:\d\d edge-popup\(.*…$", drawn(columns))


def test_a_bar_is_wide_where_there_is_room(drawn, monkeypatch):
    lengths = []
    for columns in (80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        with show_progress("compare", 2, 2) as advance:
            lengths.append(drawn(columns).count("━"))
            del advance
    assert lengths == [10, 40]
