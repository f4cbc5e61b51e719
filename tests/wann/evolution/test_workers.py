"""Workers: whatever their number, every network is evaluated once and the search is the same."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from toy_search import ISLANDS, SMALL, Toy, assert_same, search_of
from untrained.wann.evolution.workers import Evaluator
from untrained.wann.networks.graph import WEIGHTS


def test_workers_do_not_matter():
    pytest.importorskip("joblib")
    searches = [search_of(workers=workers, **ISLANDS, official_quirks=True, seed=5) for workers in (1, 2, 4)]
    for search in searches:
        search.run(18)
        assert_same(search, searches[0])


def test_every_network_is_evaluated_once_whatever_the_workers():
    pytest.importorskip("joblib")
    for count in (1, 2, 3, 9, 25):
        networks = search_of(preset=replace(SMALL, population=count)).ask()
        expected = Toy().rewards(networks, WEIGHTS, 3)
        for workers in (1, 2, 7):
            task = Toy()
            with Evaluator(task, workers) as evaluator:
                assert np.array_equal(evaluator.rewards(networks, WEIGHTS, 3), expected)
            assert np.array_equal(Evaluator(task, workers).rewards(networks, WEIGHTS, 3), expected)
            assert sum(call[3] for call in task.calls) == 2 * count


@pytest.mark.parametrize("call", ["run", "step", "look"])
def test_without_joblib_the_extra_is_named(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "joblib", None)
    search = search_of(workers=2)
    with pytest.raises(ImportError, match=r"joblib.*pip install .*\[wann\]"):
        getattr(search, call)()
    assert search.state.generation == 0
    search_of(workers=1).run(1)
