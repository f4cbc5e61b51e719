"""The page about a search for weight agnostic networks."""

import json
import shutil

import pytest

from browsing import LOOKS, check_page
from untrained import wann
from untrained.cli import main
from untrained.wann.networks.net import Net
from untrained.wann.runs.report import write_report


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished search."""
    folder = tmp_path_factory.mktemp("report") / "run"
    wann.evolve(task="digits", generations=6, population=24, trials=5, tune="shared", workers=1, out=folder)
    return folder


@pytest.fixture
def run(found, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(found, tmp_path / "run")


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_is_readable(opened, found, width, dark):
    page, net = opened(found / "report.html", width=width, dark=dark), Net.load(found / "found.json")
    check_page(page)
    texts = page.locator("svg text").all_text_contents()
    for title in ("generation", "connections", "reward", "accuracy", "shared weight of all connections"):
        assert title in texts, title
    graph = page.locator(".chart").first
    assert graph.locator("g.mark-line path").count() == net.connections
    assert graph.locator("g.mark-symbol.role-mark").last.locator("path").count() == len(net.act)
    assert "untrained wann --task digits --generations 6 --population 24" in page.inner_text("pre >> nth=0")


def test_the_command_writes_it_again(run, capsys):
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    main(["report", str(run)])
    assert (run / "report.html").read_bytes() == before and "report.html" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["results.json", "metrics.jsonl", "config.toml"])
def test_a_run_with_a_damaged_file_is_shown_without_it(run, name):
    path = run / name
    content = path.read_bytes()
    other = b'{"generation": 1, "best": "x", "front": [[1]], "columns": [], "curve": []}\n'
    for damaged in (None, b"", content[: len(content) // 2], b"[" * 100_000, other):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        assert "Repeat the run" in write_report(run).read_text("utf-8")
        path.write_bytes(content)


def test_absurd_numbers_are_left_out(run, opened):
    results = json.loads((run / "results.json").read_text())
    for front in (5, [[1]], [["1", 2]], [[1, 10**400]]):
        line = {"generation": 1, "best": 10**400, "mean": None, "connections": True, "front": front}
        (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        results["columns"][0]["mean"] = front
        (run / "results.json").write_text(json.dumps(results))
        text = write_report(run).read_text("utf-8")
        assert "Pareto front" not in text and ("Scores" in text) == (front == 5)
    page = opened(run / "report.html")
    assert page.locator(".chart svg").count() == page.locator(".chart").count()


def test_what_others_call_their_classes_is_text(run, opened):
    results = json.loads((run / "results.json").read_text())
    results["measure"] = results["columns"][0]["name"] = "</script><b>x</b>"
    (run / "results.json").write_text(json.dumps(results))
    net = Net.load(run / "found.json")
    net.replace(labels=tuple(f"<b>{n}</b>" for n in range(10)), meta={"task": "<b>t"}).save(run / "found.json")
    page = opened(write_report(run))
    check_page(page)
    assert page.locator("b").count() == 0 and "<b>t" in page.inner_text("h1")


def test_measures_and_the_most_are_shown(run, opened):
    results = json.loads((run / "results.json").read_text())
    results["most"] = 1000.0
    given = ({"turns (°)": 12345.678, "b": None}, ["turns"], {"turns (°)": 10**400, "b": 0.25}, {"<b>x</b>": "1"})
    for column, measures in zip(results["columns"], given, strict=False):
        column["measures"] = measures
    (run / "results.json").write_text(json.dumps(results))
    page = opened(write_report(run))
    check_page(page)
    rows = [row.split("\t") for row in page.inner_text("table >> nth=0").splitlines()]
    assert rows[0] == ["weights", "accuracy (of 1,000)", "± std", "trials", "turns (°)", "b"]
    assert [row[4:] for row in rows[1:5]] == [["1.23e+04", "–"], ["–", "–"], ["–", "0.25"], ["–", "–"]]
    texts = page.locator("svg text").all_text_contents()
    assert "reward (of 1,000)" in texts and "accuracy (of 1,000)" in texts


def test_a_search_without_a_network_yet_is_refused(run, capsys):
    (run / "found.json").unlink()
    with pytest.raises(ValueError, match=r"no found\.json"):
        write_report(run)
    with pytest.raises(SystemExit):
        main(["report", str(run)])
    assert "no found.json in it, which is written as soon as a search has learned" in capsys.readouterr().err
