"""Code that a user names: it is imported once for each content, hashed as it ran, and refused in one sentence."""

import hashlib
import sys

import pytest

from untrained.own_code import OwnCode, is_code, with_absolute_path

BUILD = "def build():\n    return 1\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a file of code; its modules and folders are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def test_the_sha_is_that_of_the_code_that_runs_and_a_changed_file_is_run_again(write):
    write("deep/cnn.py", BUILD)
    code = OwnCode.of("deep/cnn.py:build")
    assert (code.name, code.value(), code.sha256) == ("cnn.py:build", 1, hashlib.sha256(BUILD.encode()).hexdigest())
    assert OwnCode.of(" deep/../deep/cnn.py:build").value is code.value
    write("deep/cnn.py", changed := BUILD.replace("1", "2"))  # of the same size, in the same second
    again = OwnCode.of("deep/cnn.py:build")
    assert (again.value(), again.sha256) == (2, hashlib.sha256(changed.encode()).hexdigest())


def test_a_file_imports_its_neighbours_and_a_module_is_named_by_its_own_name(write):
    write("deep/neighbour_of_mine.py", "WIDTH = 7\n")
    write("deep/cnn.py", "from neighbour_of_mine import WIDTH\n\ndef build():\n    return WIDTH\n")
    assert OwnCode.of("deep/cnn.py:build").value() == 7
    code = OwnCode.of("json:loads")
    assert code.name == "json:loads" and code.value("3") == 3


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (BUILD, "nowhere.py:build", r"no such file: 'nowhere.py'"),
        (BUILD, "cnn.py:biuld", r"cnn.py has no 'biuld'; did you mean 'build'\?"),
        (BUILD, "cnn.py:", r"cnn.py has no ''"),
        ("build = 3\n", "cnn.py:build", r"cnn.py:build must be a function or a class, got int"),
        ("raise RuntimeError('no')\n", "cnn.py:build", r"cnn.py cannot be imported: RuntimeError: no"),
        ("raise SystemExit(3)\n", "cnn.py:build", r"cnn.py cannot be imported: SystemExit: 3"),
        ("open('weights.pt')\n", "cnn.py:build", r"cnn.py cannot be imported: FileNotFoundError: .*weights.pt"),
        ("def build(:\n", "cnn.py:build", r"cnn.py cannot be imported: SyntaxError: "),
        ("import nothing_of_this_name\n", "cnn.py:build", r"cnn.py cannot be imported: ModuleNotFoundError"),
        (BUILD, "no_module_of_this_name:build", r"no_module_of_this_name cannot be imported"),
        (BUILD, "sys:exit", r"sys is not in a file of its own"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_sentence(write, text, name, message):
    write("cnn.py", text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as refused:
        OwnCode.of(name)
    assert not [each for each in sys.modules if each.startswith("untrained_own_cnn") and "raise" in text], refused


def test_a_text_is_told_from_a_name_and_made_absolute(write):
    path = write("cnn.py", BUILD)
    assert is_code("cnn.py:build(width=2)") and is_code("mine:Net") and not is_code("conv2(a=':')")
    assert with_absolute_path("cnn.py:build(width=2)") == f"{path}:build(width=2)"
    (path.parent / "bert").mkdir()
    assert with_absolute_path("hf:./bert(task=causal-lm)") == f"hf:{path.parent / 'bert'}(task=causal-lm)"
    assert with_absolute_path("hf:a/bert") == "hf:a/bert"  # of the hub
    assert with_absolute_path("mine:Net") == "mine:Net" and with_absolute_path("conv2") == "conv2"
