"""The command line, run as a user would: right input, wrong input, and Ctrl-C."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import unicodedata
import warnings
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import untrained as ut
from command_checks import running
from untrained.cli import app, main
from untrained.data.known import KNOWN_NAMES
from untrained.methods import METHODS
from untrained.native import library
from untrained.runs.settings import Settings, Setup

SMALL = ["find", "--widths", "16"]  # one hidden layer
QUICK = [*SMALL, "--epochs", "2"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "pictures" not in request.fixturenames:  # they take longer than a search
        monkeypatch.setattr(ut.plot, "available", lambda: False)


@pytest.fixture
def pictures():
    """Asked for by tests that want pictures drawn."""


def lines_of(capsys):
    return capsys.readouterr().out.splitlines()


def refused(capsys, *arguments):
    """The one line that a wrong call prints."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("untrained: ")
    return err


def test_find_on_pretrained_weights_does_not_call_them_random(capsys):
    text = "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    Path("net.py").write_text(text, encoding="utf-8")
    flags = ["--model", "net.py:net", "--pretrained", "--epochs", "1", "--no-twin", "--out", "run"]
    main(["find", "--batch-size", "512", *flags])
    printed = capsys.readouterr().out
    assert (
        "The first network is the pretrained one; of the found one only a code" in printed
        and "first three" not in printed
    )


def test_find_prints_the_four_networks_and_writes_the_run(capsys, pictures):
    main([*SMALL, "--out", "run", "--epochs", "8"])
    printed = "\n".join(lines_of(capsys))
    assert "of the found one only the mask was learned." in printed
    rows = dict(
        re.findall(r"^ +(random network|random subnetwork|found subnetwork|trained twin) +(.+?) *$", printed, re.M)
    )
    assert list(rows) == ["random network", "random subnetwork", "found subnetwork", "trained twin"]
    accuracy = {name: float(row.split("%")[0]) for name, row in rows.items()}
    assert accuracy["found subnetwork"] > 20 + max(accuracy["random network"], accuracy["random subnetwork"])
    weights = 64 * 16 + 16 * 10
    assert f"{weights // 2:,}" in rows["found subnetwork"] and f"{weights:,}" in rows["trained twin"]
    run = Path("run")
    assert f"{(run / 'found.ticket').stat().st_size:,}" in rows["found subnetwork"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 8
    assert tomllib.loads((run / "config.toml").read_text())["widths"] == [16]
    assert (run / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "Chance is 10.00%: one of 10 classes.\n" in printed and "No better" not in printed


def test_a_search_that_has_found_nothing_yet_says_so(capsys):
    main([*SMALL, "--epochs", "1", "--lr", "1e-9", "--no-twin", "--out", "run"])
    assert "No better than a random subnetwork yet: more --epochs may help." in lines_of(capsys)


def test_find_says_that_codes_were_learned_where_they_are_no_mask(capsys, pictures):
    main([*SMALL, "--out", "run", "--epochs", "1", "--recipe", "small"])
    assert "a small integer was learned for each weight: its code." in "\n".join(lines_of(capsys))


def test_a_ticket_is_evaluated_described_and_verified(capsys):
    main([*QUICK, "--out", "run", "--no-twin"])
    found = re.search(r"found subnetwork +(\S+%)", "\n".join(lines_of(capsys)))
    main(["eval", "run/found.ticket"])
    printed = lines_of(capsys)
    assert found and found[1] in printed[0] and "450 test images of digits" in printed[0]
    assert printed[1].split()[-1] == sha256(Path("run/found.ticket").read_bytes()).hexdigest()
    main(["info", "run/found.ticket"])
    printed = "\n".join(lines_of(capsys))
    assert "EdgePopup(keep=0.5" in printed and "592 of 1,184 weights kept (50.0%)" in printed
    assert f"{Path('run/found.ticket').stat().st_size:,} bytes on disk" in printed
    main(["verify", "run/found.ticket"])
    of_file = lines_of(capsys)
    main(["verify", "run"])
    assert "good" in of_file[0] and lines_of(capsys) == of_file
    Path("empty").mkdir()
    assert "empty/found.ticket: no such file" in refused(capsys, "info", "empty")


def test_info_says_what_runs_on_this_machine(capsys, monkeypatch):
    main(["info", "--system"])
    facts = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert facts["torch"].startswith(torch.__version__)
    found = library.status()
    assert facts["kernels"].startswith(found.level if found.library else f"none: {found.reason}")
    monkeypatch.setattr(library, "status", lambda: library.Status(None, "", "nobody wants them"))
    main(["info", "--system"])
    assert "none: nobody wants them" in capsys.readouterr().out


def test_settings_come_from_a_file_and_flags_win(capsys):
    main([*QUICK, "--keep", "0.25", "--seed", "7", "--out", "first", "--no-twin"])
    main(["find", "--config", "first/config.toml", "--out", "second"])
    assert Path("first/found.ticket").read_bytes() == Path("second/found.ticket").read_bytes()
    main(["find", "--config=first/config.toml", "--out", "third", "--keep", "0.75"])
    assert ut.Ticket.load("third/found.ticket").method == ut.EdgePopup(0.75)
    assert ut.Ticket.load("third/found.ticket").seed == 7
    capsys.readouterr()
    Path("wrong.toml").write_text("kep = 0.5\n", encoding="utf-8")
    assert "kep" in refused(capsys, "find", "--config", "wrong.toml")
    Path("wrong.toml").write_text("keep = [\n", encoding="utf-8")
    assert "wrong.toml" in refused(capsys, "find", "--config", "wrong.toml")


def test_a_network_that_is_cut_through_is_told(capsys):
    scarce = ["--keep", "0.001", "--scope", "global", "--no-twin", "--out", "run"]
    main(["find", "--widths", "40", "40", "--epochs", "1", *scarce])
    cut = [name for name, codes in ut.Ticket.load("run/found.ticket").codes.items() if not codes.any()]
    assert cut and f"No weight is kept of {', '.join(sorted(cut))}" in capsys.readouterr().out


def test_widths_are_a_list():
    main(["find", "--widths", "16", "8", "--epochs", "1", "--no-twin", "--out", "run"])
    assert ut.Ticket.load("run/found.ticket").built_by["arguments"]["widths"] == [16, 8]


def test_resume_keeps_to_the_settings_of_the_run(capsys):
    main([*QUICK, "--keep", "0.25", "--out", "run", "--no-twin"])
    before = Path("run/found.ticket").read_bytes()
    for other in (["--keep", "0.5"], ["--scope", "global"], ["--seed", "1"]):
        capsys.readouterr()
        assert f"has {other[0][2:]} =" in refused(capsys, "find", "--out", "run", "--resume", *other)
    main(["find", "--out", "run", "--resume", "--twin"])
    assert Path("run/found.ticket").read_bytes() == before and "trained twin" in capsys.readouterr().out


def test_without_out_every_run_gets_a_folder_of_its_own():
    for _ in range(2):
        main([*SMALL, "--no-twin", "--epochs", "1"])
    name = "fc-digits-edge-popup-0.5-seed0"
    assert sorted(path.name for path in Path("runs").iterdir()) == [name, f"{name}-2"]


def test_wrong_input_is_one_clear_line(capsys, tmp_path):
    assert "--nope" in refused(capsys, *QUICK, "--nope")
    assert "unknown network 'foo'" in refused(capsys, "find", "--model", "foo")
    assert "fc has no argument 'width'" in refused(capsys, "find", "--width", "2")
    assert "expected one of digits" in refused(capsys, "find", "--data", "nowhere")
    assert "device" in refused(capsys, "find", "--device", "nonsense")
    assert "too small" in refused(capsys, "find", "--model", "conv8")
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, "find", "--data", "empty")
    assert "no such file" in refused(capsys, "eval", "missing.ticket")
    assert "no such file" in refused(capsys, "find", "--config", "missing.toml")
    assert "a ticket, or --system" in refused(capsys, "info")
    Path("text.ticket").write_text("not a ticket", encoding="utf-8")
    for command in ("eval", "info", "verify"):
        assert "text.ticket: not a ticket" in refused(capsys, command, "text.ticket")
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "text.ticket"]


class OddError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("keep\nmust be   less"), "keep must be less"),
        (ValueError("forged\x1b[31m \u202e"), r"forged\x1b[31m \u202e"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (UnicodeDecodeError("ascii", b"\xe2", 0, 1, "no"), "'ascii' codec can't decode byte 0xe2 in position 0: no"),
        (MemoryError(), "not enough memory"),
        (MemoryError("Unable to allocate 73 TiB"), "not enough memory: Unable to allocate 73 TiB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory: DefaultCPUAllocator: can't "),
        (RuntimeError("[enforce fail at inline_container.cc:672]"), "a file could not be written whole: [enforce"),
        (OverflowError("int too large"), "OverflowError: int too large (unexpected; --traceback shows"),
        (RecursionError("maximum depth"), "RecursionError: maximum depth (unexpected; --traceback shows"),
        (TypeError("it isn't callable"), "TypeError: it isn't callable (unexpected; --traceback shows"),
        (KeyError("name"), "KeyError: 'name' (unexpected"),
        (ValueError(), "ValueError: no message (unexpected"),
        (AssertionError(), "AssertionError: no message (unexpected"),
        (OddError("x" * 5_000), f"OddError: {'x' * 1_000} … (unexpected"),
    ],
    ids=repr,
)
def test_whatever_goes_wrong_is_one_line(error, told, capsys, monkeypatch):
    def fail(settings):
        raise error

    monkeypatch.setattr("untrained.experiments.find.find", fail)
    assert refused(capsys, "find").startswith(f"untrained: {told}")
    error.add_note("reset(seed=7) of\nOdd-v0")
    assert "reset(seed=7) of Odd-v0" in refused(capsys, "find") or len(str(error)) > 1_000
    with pytest.raises(type(error)) as shown:
        main(["find", "--traceback"])
    assert shown.value is error


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["find", "--out", ""], "--out is empty: expected a value"),
        (["find", "--out="], "--out is empty: expected a value"),
        (["find", "--keep", ""], "--keep is empty: expected a value"),
        (["find", "--resume", "--out", ""], "--out is empty"),
        (["info", ""], "an argument is empty: expected a value"),
        (["wann", "--task", ""], "--task is empty"),
        (["find", "--epochs", "1e9"], "--epochs"),
        (["find", "--epochs", "0"], "epochs must be 1 or more, got 0"),
        (["find", "--keep", "nan"], "keep must be in (0, 1], got nan"),
        (["find", "--keep", "0"], "keep must be in (0, 1], got 0"),
        (["find", "--keep", "50"], "got 50.0: it is a fraction of the weights; for 50 % write 0.5"),
        (["find", "--keep", "101"], "keep must be in (0, 1], got 101.0\n"),
        (["compare", "--keep", "0.5,20"], "for 20 % write 0.2"),
        (["find", "--method", "edgepopup"], "unknown method 'edgepopup' (did you mean edge-popup?); known: "),
        (["find", "--method", "xyz"], "unknown method 'xyz'; known: "),
        (["find", "--model", "Conv_4"], "unknown network 'Conv_4' (did you mean conv4?); known: "),
        (["find", "--data", "Fashion_MNIST"], "'Fashion_MNIST' (did you mean fashion-mnist?): expected one of digits"),
        (["find", "--seed", "-1"], "seed must be in [0, 2**64), got -1"),
        (["find", "--seed", str(1 << 64)], "seed must be in [0, 2**64), got 18446744073709551616"),
        (["find", "--widths", "0"], "widths[0] must be an integer from 1 to"),
        (["find", "--widths", "9" * 30], "widths[0] must be an integer from 1 to"),
        (["find", "--batch-size", "-5"], "batch-size must be 1 or more, got -5"),
        (["find", "--model", "conv2", "--width", "nan"], "width"),
        (["find", "--data", "no\nsuch\x1b[2J"], r"data set 'no\nsuch\x1b[2J'"),
        (["verify", "no\nsuch\u202e.ticket"], r"no such\u202e.ticket: no such file"),
        (["sweep"], "keep"),
        (["compare", "--seeds", "9" * 15], "seeds must be in [1, 10,000], got 999,999,999,999,999"),
        (["nosuch"], "nosuch"),
        (["find", "--config", "."], "--config: no such file: '.'"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_wrong_typing_is_one_clear_line(arguments, told, capsys):
    assert told in refused(capsys, *arguments)
    assert not list(Path().iterdir())


def test_names_of_files_forge_no_line(capsys):
    odd = Path("good\nverify   good\x1b[31m ± é")
    main([*QUICK, "--out", str(odd), "--no-twin"])
    ticket = odd / "found.ticket"
    main(["verify", str(ticket)])
    main(["info", str(ticket)])
    main(["report", str(odd)])
    main(["export", str(ticket), "--to", "safetensors"])
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if "good" in line]
    assert "good" not in err and "\x1b" not in out + err
    assert len(lines) == 6 and all(r"good\nverify   good\x1b[31m ± é" in line for line in lines)


def test_a_ticket_forges_no_line(capsys):
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    model.add_module("a\nverify   good\x1b[31m", torch.nn.Linear(4, 3))
    ut.mask_(model, {r"(?s).*weight": ut.EdgePopup(0.5)}, seed=0)
    ut.save(model, "odd.ticket", meta={"data": "digits\nverify        good\u2028"})
    main(["info", "odd.ticket"])
    out = capsys.readouterr().out
    assert not any(line.startswith("verify") for line in out.splitlines()) and "\x1b" not in out
    assert r"digits\nverify        good\u2028" in out and r"a\nverify   good\x1b[31m.weight" in out


def test_warnings_are_one_line(capsys, monkeypatch):
    def warn(settings):
        sys.stderr.write(warnings.formatwarning("two\nlines \x1b[31m", UserWarning, "file.py", 1))
        raise ValueError("and then this")

    monkeypatch.setattr("untrained.experiments.find.find", warn)
    with pytest.raises(SystemExit):
        main(["find"])
    assert capsys.readouterr().err == "untrained: warning: two lines \\x1b[31m\nuntrained: and then this\n"


def untrained(*arguments, **how):
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "untrained", *arguments], stderr=subprocess.PIPE, timeout=300, **how)


def images(folder, count=6):
    """Write small images of two classes, for training and for tests."""
    from PIL import Image

    for part in ("train", "test"):
        for label in ("a", "b"):
            (Path(folder) / part / label).mkdir(parents=True)
            for number in range(count):
                shade = number * 40 + 10 * (part == "test") + 20 * (label == "b")
                Image.new("L", (8, 8), shade).save(Path(folder) / part / label / f"{number}.png")


IN_ASCII = """
import sys
from pathlib import Path
from untrained.cli import main
from untrained.experiments.run_folder import choose_folder, write_settings
from untrained.runs.settings import Settings
main([*sys.argv[1:], "--epochs", "1", "--no-twin"])
main(["info", sys.argv[-1] + "/found.ticket"])
settings = Settings(data="bilder-\\xe4", out=Path("run"), resume=True)
Path("run").mkdir()
write_settings(Path("run"), settings)
choose_folder(settings, "name", lambda folder: True)
"""


def test_a_locale_that_is_ascii_is_enough():
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = [sys.executable, "-c", IN_ASCII, *SMALL, "--out", "käse"]
    done = subprocess.run(run, env=ascii_only, capture_output=True, timeout=300)
    assert done.returncode == 0 and done.stderr.isascii(), done.stderr
    assert done.stdout.isascii() and b"weights kept" in done.stdout
    assert 'data = "bilder-ä"' in Path("run/config.toml").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_told():
    with Path("/dev/full").open("wb") as full:
        done = untrained("--version", stdout=full)
    assert done.returncode == 2 and done.stderr.decode() == "untrained: [Errno 28] No space left on device\n"
    closed = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m untrained --version >&-"], stderr=subprocess.PIPE, timeout=60
    )
    assert closed.returncode == 0 and closed.stderr == b""


def test_a_ticket_for_other_images_is_refused(capsys):
    images("images")
    main([*QUICK, "--out", "run", "--no-twin"])
    capsys.readouterr()
    assert "images has (1, 8, 8) of 2 classes (a, b)" in refused(capsys, "eval", "run/found.ticket", "--data", "images")
    main([*QUICK, "--data", "images", "--out", "other", "--no-twin"])
    main(["eval", "other/found.ticket", "--data", "images"])
    assert "12 test images of images" in lines_of(capsys)[-2]


@pytest.mark.parametrize(("shape", "flags"), [((9, 8), []), ((8, 9), ["--size", "8"]), ((None, 9), ["--size", "7"])])
def test_a_ticket_is_evaluated_on_its_own_folder_from_anywhere(capsys, monkeypatch, tmp_path, shape, flags):
    from PIL import Image

    monkeypatch.setenv("HOME", str(tmp_path))
    decomposed = unicodedata.normalize("NFD", "é")
    for number, label in enumerate((decomposed, "f")):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for shade in range(10):
            size = shape[0] or 8 + shade % 3, shape[1]
            Image.new("L", size, 60 * number + 5 * shade).save(tmp_path / "pets" / label / f"{shade}.png")
    main([*QUICK, *flags, "--data", "pets", "--out", "run", "--no-twin"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = ut.Ticket.load("../run/found.ticket")
    assert found.meta["labels"] == ["f", "é"] and found.meta["data"] == "pets/"
    right = found.meta["accuracy"]
    capsys.readouterr()
    main(["eval", "../run"])  # the settings of its run say where the folder is
    assert f"accuracy  {right:.2%} on 4 test images of {tmp_path / 'pets'}" in lines_of(capsys)[0]
    main(["info", "../run"])
    assert str(tmp_path) not in (shown := capsys.readouterr().out) and re.search(r"^data +pets/$", shown, re.MULTILINE)
    found.save("alone.ticket")
    with pytest.raises(SystemExit):
        main(["eval", "alone.ticket"])
    assert "found on images in a folder 'pets', which is not here: add --data-dir with" in capsys.readouterr().err
    main(["eval", "alone.ticket", "--data-dir", str(tmp_path)])
    assert f"{right:.2%} on 4 test images" in lines_of(capsys)[0]
    for name, labels, accuracy in (
        (str(tmp_path / "pets"), ["f", "é"], right),  # as older versions wrote it
        ("~/pets", ["f", decomposed], right),
        ("../pets", ["é", "f"], 1 - right),  # the network's classes in another order
    ):
        replace(found, meta={**found.meta, "data": name, "labels": labels}).save("other.ticket")
        capsys.readouterr()
        main(["eval", "other.ticket"])
        assert f"accuracy  {accuracy:.2%} on 4 test images of {name}" in lines_of(capsys)[0]


def test_a_folder_called_like_a_data_set_does_not_hide_it(capsys):
    main([*QUICK, "--out", "run", "--no-twin"])
    Path("digits").mkdir()
    main(["eval", "run/found.ticket"])
    assert "450 test images of digits" in lines_of(capsys)[-2]


def test_ctrl_c_leaves_a_ticket_and_resume_ends_in_the_same_bits():
    find = [*SMALL, "--no-twin", "--epochs", "40"]
    with running(*find, "--out", "broken") as process:
        metrics, deadline = Path("broken/metrics.jsonl"), time.monotonic() + 120
        while not metrics.exists() or len(metrics.read_text(encoding="utf-8").splitlines()) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "untrained find --out broken --resume" in error
    ut.Ticket.load("broken/found.ticket").verify()
    epochs = len(metrics.read_text(encoding="utf-8").splitlines())
    assert 2 <= epochs < 40
    main(["find", "--out", "broken", "--resume"])
    main([*find, "--out", "straight"])
    assert Path("broken/found.ticket").read_bytes() == Path("straight/found.ticket").read_bytes()
    assert [json.loads(line)["epoch"] for line in metrics.read_text(encoding="utf-8").splitlines()] == list(
        range(1, 41)
    )


def test_flags_name_what_the_library_has():
    described = re.sub(r"\s+", " ", f"{Setup.__doc__} {Settings.__doc__}")
    learners = [name for name, method in METHODS.items() if method().learns]
    for name in (*ut.models.NETWORKS, *KNOWN_NAMES, *learners):
        assert re.search(rf"\b{name}\b", described), f"--help does not name {name}"


def test_help_is_printed_for_every_command(capsys):
    for command in ([], ["find"], ["compare"], ["eval"], ["info"], ["verify"]):
        main([*command, "--help"])
        assert "Usage: untrained" in capsys.readouterr().out
    assert app.name == ("untrained",)


def test_a_report_tells_what_is_damaged(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    main(["find", "--widths", "8", "--epochs", "1", "--no-twin", "--out", "~/run"])
    assert not Path("~").exists()
    run = Path("home/run")
    (run / "trace.jsonl").write_text("{", encoding="utf-8")
    capsys.readouterr()
    main(["report", str(run)])
    assert "not shown: trace.jsonl is damaged" in capsys.readouterr().out
