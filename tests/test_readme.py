"""The README's and the docs' examples, run word for word; and the figures they quote."""

import ast
import importlib
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.cli import app, main
from untrained.methods import METHODS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def _run_examples(page):
    names = {}
    for block in _blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)
    return names


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _run_examples(ROOT / "README.md")
    assert Path("digits.ticket").stat().st_size < 10_000


def test_the_examples_with_weight_agnostic_networks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = _run_examples(ROOT / "docs/wann.md")
    assert names["front"][-1].reward > 50  # standing still would give about 50


def test_the_examples_of_speed_run():
    names = _run_examples(ROOT / "docs/speed.md")
    assert len(ut.packed.layers(names["model"])) == 2


def test_the_examples_in_production_answer_alike(tmp_path, monkeypatch):
    for needed in ("fastapi", "onnxruntime", "onnxscript", "httpx2"):
        pytest.importorskip(needed)
    from fastapi.testclient import TestClient

    monkeypatch.chdir(tmp_path)
    names = _run_examples(ROOT / "docs/production.md")
    with TestClient(names["app"]) as client:
        for pixels, logits in zip(names["pixels"], names["logits"], strict=True):
            answer = client.post("/predict", json=pixels.ravel().tolist()).json()
            odds = names["np"].exp(logits - logits.max())
            assert list(answer) == names["labels"]
            assert list(answer.values()) == pytest.approx((odds / odds.sum()).tolist(), abs=1e-4)
        assert client.post("/predict", json=[0.5] * 64).status_code == 422
    truth = names["data"].test.labels[:5]
    assert sum(names["labels"][label] == got for label, got in zip(truth, names["answers"], strict=True)) >= 3


def test_the_examples_with_a_bank_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(_run_examples(ROOT / "docs/bank.md")["bank"]) >= 3


def test_the_examples_with_the_frontier_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _run_examples(ROOT / "docs/frontier.md")["found"].sentences


def test_the_examples_with_methods_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _run_examples(ROOT / "docs/methods.md")


@pytest.fixture
def as_under_torchrun(monkeypatch):
    """What torchrun tells the only process that it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    "name", ["index", "story", "quick-start", "your-model", "clusters", "scikit-learn", "questions"]
)
def test_pages_print_what_they_show(name, tmp_path, monkeypatch, capsys, as_under_torchrun):
    """A block of text below a block of Python is what that prints."""
    if name == "scikit-learn":
        pytest.importorskip("sklearn.base")
    monkeypatch.chdir(tmp_path)
    names, text = {}, (ROOT / f"docs/{name}.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text, re.DOTALL | re.MULTILINE)
    assert [example for example, _ in examples] == _blocks(ROOT / f"docs/{name}.md", "python")
    assert len(_blocks(ROOT / f"docs/{name}.md", "text")) == sum(bool(shown) for _, shown in examples)
    for example, shown in examples:
        capsys.readouterr()
        exec(compile(example, name, "exec"), names)
        assert not shown or capsys.readouterr().out == shown


def test_the_method_of_ones_own_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs/write-a-method.md"
    method = _run_examples(page)["Saliency"](keep=0.3)
    scores = {"w": method.init_scores(torch.empty(30, 20), torch.Generator().manual_seed(0))}
    for law in (ut.SignedConstant(), method.law):  # as the page says
        weights = {"w": ut.Source(0, "w", (30, 20), torch.float32, law).draw()}
        own, other = (each.codes(weights, scores)["w"] for each in (method, ut.EdgePopup(0.3)))
        assert torch.equal(own, other) == isinstance(law, ut.SignedConstant)
    Path("mine.py").write_text(_blocks(page, "python")[0], encoding="utf-8")
    main(["find", "--method", "mine.py:Saliency", "--keep", "0.3", "--epochs", "2", "--no-twin", "--out", "runs/mine"])
    main(["eval", "runs/mine/found.ticket", "--method", "mine.py:Saliency"])
    assert "accuracy" in capsys.readouterr().out


def test_the_network_of_ones_own_goes_through_all_commands_of_its_page(tmp_path, monkeypatch, capsys):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs/your-model.md"
    Path("cnn.py").write_text(_blocks(page, "python")[0], encoding="utf-8")
    for number in range(40):
        kind, shade = ("cat", 60) if number % 2 else ("dog", 180)
        Path(f"photos/{kind}").mkdir(parents=True, exist_ok=True)
        image.new("RGB", (40, 36), (shade + number, shade, number)).save(f"photos/{kind}/{number}.png")
    for line in re.findall(r"^\$ untrained (.*)$", _blocks(page, "console")[0], re.MULTILINE):
        main(shlex.split(line))
    printed = capsys.readouterr().out
    assert "accuracy" in printed and "good, its weights" in printed and printed.count("found.html") == 2


def test_the_members_it_names_are_there():
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/write-a-method.md").read_text(), re.MULTILINE)
    names = [name for cell in table for name in re.findall(r"`(\w+)(?:\([\w, ]*\))?`", cell)]
    assert len(names) > 12 and all(hasattr(ut.Method, name) for name in names)


def test_every_method_has_a_row():
    text = (ROOT / "docs/methods.md").read_text().partition("## Trained opponents")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == sorted(METHODS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_we_have(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in re.findall(r"^\$ (.*)$", page.read_text(), re.MULTILINE):
        program, *arguments = shlex.split(line)
        if program == "untrained":
            app.parse_args(arguments, exit_on_error=False)
        elif program == "make":
            assert arguments[0] in targets
        else:
            assert program == "pip" and "constraints.txt" in arguments
    for script in re.findall(r"benchmarks/\w+\.py", page.read_text()):
        assert (ROOT / script).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        # The docs' build writes the playground itself.
        assert (page.parent / target).exists() or target == "playground/playground.html", target


def test_figures_are_those_measured():
    check = subprocess.run([sys.executable, ROOT / "benchmarks/tables.py", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda script: script.stem)
def test_benchmarks_import_names_that_exist(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "untrained":
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")


def test_no_table_is_printed_twice():
    """A page that needs the figures of another one links to it; the demo's are in the README and in the story."""
    tables = [table for page in PAGES for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE)]
    assert len(tables) > 20 and len(tables) == len(set(tables))


def test_a_topic_of_speed_has_one_table():
    topics = re.split(r"^## ", (ROOT / "docs/speed.md").read_text(), flags=re.MULTILINE)
    assert [topic.splitlines()[0] for topic in topics if topic.count("| --- |") > 1] == []


def test_the_line_of_a_name_is_a_whole_sentence():
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert len(lines) > 100
    assert not [name for name, line in lines if not line.endswith(".") or line.startswith(("(", "[", "{", "Recipe("))]


def test_the_demo_is_shown_as_it_was():
    shown = (ROOT / "docs/demo.txt").read_text()
    accuracy = {m[1]: float(m[2]) for m in re.finditer(r"^ +(found subnetwork|trained twin) +([\d.]+)%", shown, re.M)}
    assert accuracy["found subnetwork"] >= accuracy["trained twin"] - 1
