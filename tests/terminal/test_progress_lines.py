"""Steps without a terminal: a plain line each, on standard error, at once."""

import sys

from untrained.terminal.progress import print_line, show_step


def test_a_step_is_a_line_before_it_begins(capsys):
    with show_step("draw\x1b[31m the [bold]picture"):
        out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.endswith("the [bold]picture\n") and "\x1b" not in err
    assert capsys.readouterr() == ("", "")


def test_without_standard_error_nothing_is_said_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    print_line("a line")
