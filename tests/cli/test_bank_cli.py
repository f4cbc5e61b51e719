"""`untrained bank`: tasks are found, added, listed, measured, taken out and removed, as a user would."""

import json
import signal
import time
from pathlib import Path

import pytest

import untrained as ut
from bank_commands import bank, refused
from command_checks import running

SEARCH = ["--epochs", "1", "--no-twin"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ut.plot, "available", lambda: False)


@pytest.fixture
def two(capsys):
    """A bank of two tasks on 16 hidden units."""
    bank("add", "a.bank", "--name", "one", "--widths", "16", "--seed", "3", "--out", "run", *SEARCH)
    bank("add", "a.bank", "--name", "two", "--method", "biprop", *SEARCH)  # seed, weights and widths of the bank
    capsys.readouterr()
    return "a.bank"


def test_tasks_are_found_and_added_to_one_network(two, capsys):
    read = ut.Bank.load(two)
    assert (read.names, read.seed) == (["one", "two"], 3)
    assert [type(read.task(name).tensors["fc1.weight"].method) for name in read.names] == [ut.EdgePopup, ut.Biprop]
    bank("list", two, "--json")
    listed = json.loads(capsys.readouterr().out)
    assert listed["bytes"] == sum(task["bytes"] for task in listed["tasks"]) + 62
    assert (listed["dense_bytes"], listed["int8_bytes"]) == (2 * 4 * 1184, 2 * (1184 + 2 * 26))
    assert [(task["name"], task["kept"], task["weights"]) for task in listed["tasks"]] == [
        ("one", 592, 1184),
        ("two", 592, 1184),
    ]
    bank("list", two)
    text = capsys.readouterr().out
    assert "592 of 1,184" in text and "2 tasks in" in text and "as int8 2,472" in text
    bank("eval", two)
    text = capsys.readouterr().out
    assert all(f"{task['accuracy']:.2%}" in text for task in listed["tasks"])


def test_a_task_is_taken_out_put_in_again_and_removed(two, capsys):
    bank("extract", two, "two", "two.ticket")
    assert ut.Ticket.load("two.ticket").to_bytes() == ut.Bank.load(two).ticket("two").to_bytes()
    before = Path(two).read_bytes()
    bank("remove", two, "two")
    assert ut.Bank.load(two).names == ["one"]
    bank("add", two, "--name", "two", "--ticket", "two.ticket")
    assert Path(two).read_bytes() == before
    bank("add", two, "--name", "again", "--out", "run", "--resume")  # a run that is finished already
    assert ut.Bank.load(two).names == ["one", "two", "again"]


def test_a_bank_of_another_law_gives_it_to_later_tasks(capsys):
    bank("add", "a.bank", "--name", "one", "--widths", "16", "--weights", "kaiming-normal(scaled=True)", *SEARCH)
    bank("add", "a.bank", "--name", "two", *SEARCH)
    assert ut.Bank.load("a.bank").task("two").ticket().law == ut.KaimingNormal(scaled=True)


def test_tasks_are_inferred(two, capsys):
    pil = pytest.importorskip("PIL.Image")
    bank("eval", two, "--infer")
    text = capsys.readouterr().out
    assert "batches inferred" in text and "accuracy inferred" in text and f"page     {two}.html" in text
    assert "were taken for their own task" in Path(f"{two}.html").read_text(encoding="utf-8")
    pil.new("L", (16, 16), 200).save("white.png")
    bank("which", two, "white.png", "white.png")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and len(set(lines)) == 1 and lines[0] in ("white.png  one", "white.png  two")
    assert "which needs one image or more" in refused(capsys, "which", two)
    assert "nothing.png" in refused(capsys, "which", two, "nothing.png")
    read = ut.Bank.load(two)
    facts = {fact: value for fact, value in read.task("one").meta.items() if fact != "labels"}
    read.add("unnamed", read.ticket("one"), facts)
    read.save(two)
    assert "needs the labels of every task, and 'unnamed' has none" in refused(capsys, "eval", two, "--infer")


def test_pretrained_weights_are_not_searched_on(capsys):
    read = ut.Bank(ut.models.fc((16,), shape=(1, 8, 8)), weights=None)
    read.add("one", read.masked(ut.EdgePopup(keep=0.5)))
    read.save("own.bank")
    assert "weights of this bank are pretrained: add its tasks from Python" in refused(
        capsys, "add", "own.bank", "--name", "two", *SEARCH
    )


def test_a_switch_is_timed(two, capsys):
    bank("bench", two)
    text = capsys.readouterr().out
    assert all(what in text for what in ("dense", "copy_", "packed", "µs"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "a.bank", "--name", "two"], "a.bank has a task 'two' already"),
        (["add", "a.bank", "--name", "x", "--seed", "4"], "--seed must be that of the bank, 3, got 4"),
        (["add", "a.bank", "--name", "x", "--widths", "20"], "--widths must be that of the bank, (16,), got (20,)"),
        (["add", "a.bank", "--name", "x", "--model", "conv2"], "--model must be that of the bank, fc, got conv2"),
        (["add", "a.bank", "--name", "x", "--norm", "batch"], "the network must be that of the bank"),
        (
            ["add", "a.bank", "--name", "x", "--weights", "standard"],
            "--weights must be those of the bank, signed",
        ),
        (
            ["add", "a.bank", "--name", "x", "--ticket", "other.ticket"],
            "other.ticket: its seed must be that of",
        ),
        (["add", "a.bank", "--name", "x", "--ticket", "a.bank"], "a.bank: a bank of tasks, not a ticket"),
        (["add", "a.bank", "--name", "", *SEARCH], "--name is empty"),
        (["add", "a.bank", "--name", "a\nb", *SEARCH], "1 to 200 printable characters"),
        (["add", "a.bank", "--name", "x", "--ticket", "run/found.ticket", "--epochs", "2"], "leave the options"),
        (["extract", "a.bank", "x", "x.ticket"], "a.bank: it has no task 'x'; it has 'one', 'two'"),
        (["extract", "a.bank", "one", "a.bank"], "a.bank is the bank itself"),
        (["remove", "a.bank", "x"], "a.bank: it has no task 'x'"),
        (["list", "none.bank"], "none.bank: no such file"),
        (["eval", "other.ticket"], "other.ticket: not a bank"),
        (["bench", "run/found.ticket"], "run/found.ticket: not a bank"),
    ],
)
def test_wrong_input_is_one_line_and_the_bank_is_unchanged(words, told, made, capsys):
    assert told in refused(capsys, *words)
    assert Path("a.bank").read_bytes() == made["a.bank"]


@pytest.fixture(scope="module")
def _files(tmp_path_factory):
    folder, net = tmp_path_factory.mktemp("made"), lambda: ut.models.fc((16,), shape=(1, 8, 8))
    model = ut.mask_(net(), ut.EdgePopup(keep=0.5), seed=3)
    ut.save(model, folder / "found.ticket")
    ut.save(ut.mask_(net(), ut.EdgePopup(keep=0.5), seed=4), folder / "other.ticket")
    bank = ut.Bank(net(), seed=3)
    for name in ("one", "two"):
        bank.add(name, model)
    bank.save(folder / "a.bank")
    return {name: (folder / name).read_bytes() for name in ("a.bank", "found.ticket", "other.ticket")}


@pytest.fixture
def made(_files, tmp_path):
    """A bank and tickets that took no search."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "found.ticket").write_bytes(_files["found.ticket"])
    for name in ("a.bank", "other.ticket"):
        (tmp_path / name).write_bytes(_files[name])
    return _files


def test_an_interrupted_search_tells_how_to_go_on(made, tmp_path):
    words = ["bank", "add", "a.bank", "--name", "a task", "--out", "mine", "--epochs", "500", "--no-twin"]
    with running(*words) as process:
        while not (tmp_path / "mine" / "checkpoint.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "untrained bank add a.bank --name 'a task' --out mine --resume" in err
    assert (tmp_path / "a.bank").read_bytes() == made["a.bank"]
