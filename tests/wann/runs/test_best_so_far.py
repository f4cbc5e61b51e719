"""Network and picture of the best so far: written soon, then ever more rarely, and never in place of a result."""

from types import SimpleNamespace

import pytest

from untrained import wann
from untrained.wann.networks.net import Net
from untrained.wann.runs import best_so_far
from untrained.wann.runs.best_so_far import BestSoFar

NET = Net(2, 1, [1], [0, 2], [1, 2])


@pytest.fixture
def written(monkeypatch, tmp_path):
    """A function that follows a search, a second per generation, and returns the generations after which it wrote."""

    def follow(rewards, *, picture=True):
        now, drawn = [0.0], []
        monkeypatch.setattr(best_so_far, "available", lambda: picture)
        monkeypatch.setattr(best_so_far, "draw", lambda path, *_: drawn.append(path.name))
        saves = BestSoFar(tmp_path, wann.WannSettings(), lambda: now[0])
        rows, found = [], []
        for generation, reward in enumerate(rewards):
            now[0] += 1
            rows.append({"chosen": reward, "front": []} if generation % 16 == 0 and reward is not None else {})
            best = wann.Found(NET, (reward, reward)) if reward is not None else None
            state = SimpleNamespace(generation=generation + 1)
            task = SimpleNamespace(name="a")
            search = SimpleNamespace(rows=rows, best=best, state=state, seed=0, choosing_weights=(), task=task)
            saves(search, rows[-1])
            found.append((tmp_path / "found.json").exists() and Net.load(tmp_path / "found.json").meta["generations"])
        assert all(name == "picture.png" for name in drawn) and bool(drawn) <= picture
        return sorted({number for number in found if number})

    return follow


def test_it_is_written_when_learned_and_at_times_that_double(written, capsys):
    assert written([1.0] * 16 + [2.0] * 2000) == [17, 49, 113, 241, 497, 1009]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and "picture.png" in lines[0] and "reward 2, 2 connections" in lines[0]


@pytest.mark.parametrize("rewards", [[1.0] * 100, [1.0] + [0.5] * 99, [None] * 40 + [1.0] * 60])
def test_what_has_not_learned_is_not_written(written, rewards):
    assert written(rewards) == []


def test_without_matplotlib_it_is_the_network_alone(written, capsys):
    assert written([1.0] * 16 + [2.0] * 10, picture=False) == [17]
    assert "found.json" in capsys.readouterr().err


def test_results_of_a_finished_search_are_not_parted_from_their_network(written, tmp_path):
    (tmp_path / "results.json").touch()
    assert written([1.0] * 16 + [2.0] * 100) == []
