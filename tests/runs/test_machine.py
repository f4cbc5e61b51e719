"""The machine of a run: what is noted, what is read again, and what no page or ticket tells."""

import getpass
import json
import platform
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from untrained.data.dataset import without_place
from untrained.report.command_line import command_of, last_part
from untrained.runs.data_folder import locate_data
from untrained.runs.machine import Machine, machine_lines, note_machine, read_machines
from untrained.runs.settings import Settings
from untrained.search.run_files import MACHINE

CPU = torch.device("cpu")


def test_a_machine_is_noted_once_and_another_one_behind_it(tmp_path, threads):
    threads(1)
    here = Machine.with_torch(CPU)
    assert here.processor and here.cores >= here.threads == 1 and torch.__version__ in here.uses
    note_machine(tmp_path, here)
    note_machine(tmp_path, Machine.with_torch(CPU))
    threads(2)
    note_machine(tmp_path, Machine.with_torch(CPU))
    gaps = []
    assert [each.threads for each in read_machines([tmp_path, tmp_path / "none"], gaps)] == [1, 2] and not gaps
    text = machine_lines([here])
    assert f"{here.cores} core" in text and "1 thread, torch" in text and "kernels" in text
    secrets = {platform.node(), str(Path.home()), str(tmp_path)} - {"", "/"}
    assert not any(secret in text for secret in secrets) and not re.search(rf"\b{getpass.getuser()}\b", text)


DAMAGED = ["{", "[]", "3", '{"processor": "x"}', '{"cores": "two"}', '{"host": "x"}']


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_told_and_the_others_are_read(tmp_path, line):
    note_machine(tmp_path, here := Machine.here(1, "numpy"))
    odd = json.dumps(asdict(here) | json.loads(line)) if line[0] == "{" != line and "processor" not in line else line
    with (tmp_path / MACHINE).open("a", encoding="utf-8") as file:
        file.write(odd + "\n")
    gaps = []
    assert read_machines([tmp_path], gaps) == [here] and "machine.jsonl is damaged" in gaps[0]


def test_names_of_a_machine_cannot_break_a_page():
    odd = Machine("<b>\x1b[2J" + "x" * 1000, "a", 1, 1, "b", "c")
    assert "\x1b" not in str(odd) and len(str(odd)) <= 400


@pytest.mark.parametrize(
    ("given", "last"),
    [
        ("photos", "photos"),
        ("../photos", "../photos"),
        ("/home/me/photos/", "photos"),
        ("~/photos", "photos"),
        (r"C:\Users\me\photos", "photos"),
        ("/home/me/cnn.py:build(width=2)", "cnn.py:build(width=2)"),
        ("hf:./folder", "hf:./folder"),
        ("edge-popup(scope=global)", "edge-popup(scope=global)"),
    ],
)
def test_the_command_of_a_page_has_no_whole_path(given, last):
    assert last_part(given) == last
    assert "me/" not in command_of("untrained find", Settings(), {"data": given})


def test_the_name_of_a_folder_has_no_place_and_a_data_sets_name_stays(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, short in {
        "mnist": "mnist",
        "./mnist": "mnist/",
        str(tmp_path / "mnist"): "mnist/",
        "a.py:b": "a.py:b",
    }.items():
        assert without_place(name) == short
    assert without_place("/home/me/gone") == "gone/"
    ticket = tmp_path / "runs" / "x" / "found.ticket"
    assert locate_data("mnist", None, ticket) == "mnist"  # the data set, and not the folder
    assert locate_data("mnist/", None, ticket) == str(tmp_path.resolve() / "mnist")
    assert locate_data("../../mnist/", tmp_path, ticket) == str(tmp_path.resolve() / "mnist")
    monkeypatch.chdir("/")
    for name, data_dir in (("mnist/", None), ("mnist/", tmp_path / "mnist"), ("../", tmp_path / "mnist")):
        with pytest.raises(FileNotFoundError, match="add --data-dir with the folder in which it lies"):
            locate_data(name, data_dir, ticket)
    ticket.parent.mkdir(parents=True)
    for told in ("mnist", str(tmp_path / "mnist"), "./mnist/"):
        (ticket.parent / "config.toml").write_text(f"data = {json.dumps(told)}\n")
        assert locate_data("mnist/", None, ticket) == str(tmp_path.resolve() / "mnist")
    (ticket.parent / "config.toml").write_text('data = "runs"\n')
    with pytest.raises(FileNotFoundError):  # another folder than the ticket's
        locate_data("mnist/", None, ticket)
