"""Progress of a search without a terminal: plain lines, few, and the kernels that are compiled by name."""

import importlib.util

import pytest

from toy_search import Toy, search_of
from untrained.wann.evolution import progress
from untrained.wann.evolution.progress import SearchProgress
from untrained.wann.numerics.jit import compiled, watch_compiling

NESTED = "def inner(x):\n    return x + 1\n\ndef outer_of_it(x):\n    return inner(x) * 2\n"


def _lines(monkeypatch, capsys, seconds, generations=40):
    """Search with a clock that moves on by `seconds` at each generation, and return what was written."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    search = search_of()
    with SearchProgress(search, generations) as shown:
        for _ in range(generations):
            now[0] += seconds
            shown(search, search.step())
    out, err = capsys.readouterr()
    assert not out
    return err.splitlines()


def test_a_search_is_followed_by_few_plain_lines(monkeypatch, capsys):
    first, *lines = _lines(monkeypatch, capsys, 2.5)
    assert first == "toy: search begins" and len(lines) == 20  # one in 5 s
    assert lines[0].startswith("toy: generation 2 of 40  5 s  best ") and "connections" in lines[0]
    assert lines[-1].startswith("toy: generation 40 of 40  100 s")
    assert len(_lines(monkeypatch, capsys, 0.1)) == 1


def test_lines_become_rare_in_a_long_search(monkeypatch, capsys):
    lines = _lines(monkeypatch, capsys, 30, 400)  # 200 minutes; every 20th part of them is 10 minutes
    assert 60 < len(lines) < 100
    assert [line.split()[2] for line in lines[1:4]] == ["1", "2", "3"]


def test_a_search_whose_networks_all_break_down_says_so(monkeypatch, capsys):
    search = search_of(Toy(lambda rewards, *_: rewards * float("nan")))
    monkeypatch.setattr(progress, "_QUIET", 0.0)
    with SearchProgress(search, 1) as shown:
        shown(search, search.step())
    assert "every network broke down" in capsys.readouterr().err


def test_kernels_are_named_while_they_are_compiled_and_not_when_they_are_on_disk(tmp_path, monkeypatch, capsys):
    pytest.importorskip("numba")
    file = tmp_path / "kernels.py"
    file.write_text(NESTED, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("kernels", file)
    assert spec is not None and spec.loader is not None

    def kernel():
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.inner = compiled(module.inner)
        return compiled(module.outer_of_it)

    told = []
    with watch_compiling(lambda *facts: told.append(facts)):
        cold = kernel()
        assert cold(1) == 4 and cold(2) == 6
        assert told == [(1, "outer")]  # inner is compiled within it, and not named
        warm = kernel()
        assert warm(1) == 4 and len(told) == 1
        cold(1.5)
        assert told[1:] == [(2, "outer")]
    cold(1j)
    assert len(told) == 2
    with SearchProgress(search_of(), 1):
        cold(True)
    assert capsys.readouterr().err.splitlines()[1:] == ["toy: compiling kernel 1: outer"]
