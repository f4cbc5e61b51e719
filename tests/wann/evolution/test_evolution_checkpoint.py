"""Checkpoints: a search goes on from any of them to the same bits, and damaged or hostile ones are refused."""

import gc
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from toy_search import ISLANDS, SMALL, Toy, assert_same, facts, search_of
from untrained.wann.evolution import checkpoint
from untrained.wann.evolution.genome import Population
from untrained.wann.numerics.jit import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="a search warns without numba")


@pytest.mark.parametrize("settings", [ISLANDS, {"official_quirks": True, "islands": 3, "migrate_every": 1}])
def test_going_on_from_any_generation(tmp_path, settings):
    whole, stops = search_of(**settings), (0, 1, 15, 16, 17, 18, 23, 31, 32, 33, 35)

    def save(search, row=None):
        folder = tmp_path / str(search.state.generation)
        if search.state.generation in stops:
            folder.mkdir()
            search.save(folder)

    save(whole)
    whole.run(36, callbacks=[save])
    for stop in stops:
        search = search_of(**settings)
        if stop % 2:
            search.run(5)  # where it was before does not matter
        search.restore(tmp_path / str(stop))
        assert search.state.generation == len(search.rows) == stop
        search.run(36)
        assert_same(search, whole)
        assert facts(search)["rows"] == facts(whole)["rows"]


def saved(folder, generations=18, **settings):
    search = search_of(**ISLANDS | settings)
    search.run(generations)
    search.save(folder)
    return search


def rewrite(folder, **changes):
    """Another checkpoint in place of the one there: arrays, or entries of its facts; None leaves them out."""
    path = folder / checkpoint.NAME
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    known = json.loads(content.pop("facts").tobytes())
    for name, value in changes.items():
        place = content if name in content else known
        place[name] = value
        if value is None:
            del place[name]
    facts = changes.get("facts", known)
    np.savez_compressed(path, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **content)


def refused(folder, match=".", search=None):
    """A ValueError of one line that names the file, and the search is as it was."""
    search = search or search_of(**ISLANDS)
    before, state, rows = facts(search), search.state, list(search.rows)
    with pytest.raises(ValueError, match=match) as caught:
        search.restore(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert search.state is state
    assert search.rows == rows
    assert facts(search) == before
    return str(caught.value)


def test_writing_reads_back_and_leaves_the_search_alone(tmp_path):
    search = saved(tmp_path)
    before = facts(search)
    search.save(tmp_path)
    assert facts(search) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.NAME, checkpoint.METRICS]
    lines = (tmp_path / checkpoint.METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == search.rows


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    search = saved(tmp_path, 3)
    old = (tmp_path / checkpoint.NAME).read_bytes()
    at_three = search_of(**ISLANDS)
    at_three.restore(tmp_path)
    search.run(9)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", lambda file, **_: file.write(b"half") and [][0])
        with pytest.raises(IndexError):
            search.save(tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.NAME, checkpoint.METRICS]
    # The metrics are ahead of it now; those rows are not of the past.
    again = search_of(**ISLANDS)
    again.restore(tmp_path)
    assert_same(again, at_three)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("seed", {"seed": 1}),
        ("islands", {"islands": 3}),
        ("migrate_every", {"migrate_every": 0}),
        ("restart_after", {"restart_after": 18}),
        ("weights", {"weights": (1, 2)}),
        ("official_quirks", {"official_quirks": True}),
        ("preset's elite", {"preset": replace(SMALL, elite=0.3)}),
        ("task", {"task": Toy(inputs=2)}),
        ("task", {"task": Toy(name="another")}),
    ],
)
def test_a_checkpoint_of_another_search_says_what_differs(tmp_path, name, settings):
    saved(tmp_path, 2)
    message = refused(tmp_path, "of another search", search_of(**ISLANDS | settings))
    assert f"its {name}" in message
    assert len(message) < 500 + len(str(tmp_path))


def test_workers_are_no_part_of_the_plan(tmp_path):
    pytest.importorskip("joblib")
    first = saved(tmp_path)
    second = search_of(**ISLANDS, workers=2)
    second.restore(tmp_path)
    for search in (first, second):
        search.run(22)
    assert_same(first, second)


def test_there_is_no_checkpoint(tmp_path):
    assert "nothing to resume" in refused(tmp_path)
    assert "nothing to resume" in refused(tmp_path / "none")
    (tmp_path / checkpoint.NAME).mkdir()
    refused(tmp_path)


def test_truncated_checkpoints(tmp_path):
    search = saved(tmp_path)
    data = (tmp_path / checkpoint.NAME).read_bytes()
    target = search_of(**ISLANDS)
    for end in range(0, len(data), 37):
        (tmp_path / checkpoint.NAME).write_bytes(data[:end])
        refused(tmp_path, "checkpoint of untrained|damaged", target)
    (tmp_path / checkpoint.NAME).write_bytes(data)
    target.restore(tmp_path)
    target.look()
    assert_same(target, search)


def test_a_truncated_checkpoint_is_closed_again(tmp_path):
    saved(tmp_path, 1)
    path, search = tmp_path / checkpoint.NAME, search_of(**ISLANDS)
    path.write_bytes(path.read_bytes()[:-30])
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always")
        try:
            search.restore(tmp_path)
        except ValueError:
            pass
        gc.collect()
    assert [str(each.message) for each in leaks] == []


def test_damaged_checkpoints(tmp_path):
    """With one bit another, it is refused, or it is the same search."""
    search = saved(tmp_path)
    data, rng = (tmp_path / checkpoint.NAME).read_bytes(), np.random.default_rng(0)
    state = facts(search)["population"]
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (tmp_path / checkpoint.NAME).write_bytes(damaged)
        other = search_of(**ISLANDS)
        try:
            other.restore(tmp_path)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert facts(other)["population"] == state
            assert other.state.generation == search.state.generation


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 500, b"\x93NUMPY\x01\x00", b"{}", "pickle", "npy"])
def test_files_that_are_something_else(tmp_path, content):
    path = tmp_path / checkpoint.NAME
    if content == "pickle":
        np.savez(path, facts=np.array([object()], object))
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(content)
    refused(tmp_path, "checkpoint of untrained")


FIRST = Population.first(3, 2, 12, 0.5, np.random.default_rng(0).random((12, 8)))
NET = {"format": "untrained-wann/1", "inputs": 3, "outputs": 2, "nodes": [["tanh", [0]]] * 2}
CYCLE = {name: getattr(FIRST, name).copy() for name in ("act", "src", "dst", "on", "nodes", "genes")}
CYCLE["act"][0, 6:8], CYCLE["nodes"][0], CYCLE["genes"][0] = 1, 8, 10
CYCLE["src"][0, 8:10], CYCLE["dst"][0, 8:10], CYCLE["on"][0, 8:10] = (6, 7), (7, 6), 1


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": None},
        {"plan": "plan"},
        {"generation": None},
        {"generation": "many"},
        {"front": [{"net": {}, "rewards": []}]},
        {"front": 3},
        {"ended": None},
        {"act": None},
        {"act": FIRST.act.astype(np.int32)},
        {"act": FIRST.act[:-1]},
        {"nodes": FIRST.nodes[:, None]},
        {"facts": [1]},
        {"facts": 3},
        {"generation": float("inf")},
        {"generation": -3},
        {"island_best": np.zeros(5)},
        {"island_since": np.zeros(5, np.int64)},
        {"island_best": np.zeros((2, 2))},
        {"nodes": FIRST.nodes + 1000},
        {"genes": FIRST.genes + 1000},
        {"genes": FIRST.genes - 100},
        {"nodes": FIRST.nodes * 0},
        {"on": FIRST.on[:, :1]},
        {"src": FIRST.src + 10**6},
        {"dst": FIRST.dst + 10**6},
        {"src": FIRST.src - 5},
        {"act": FIRST.act * 100},
        {"dst": FIRST.dst * 0},
        CYCLE,
        {"front": [{"net": {**NET, "inputs": 9}, "rewards": [1.0] * 16}]},
        {"front": [{"net": NET, "rewards": []}]},
        {"seen_generations": np.ones(3, np.int64)},
        {"seen_rewards": np.zeros((1, 6))},
        {"survivors": np.zeros(12)},
        {"format": "untrained-wann-search/1"},
        {"format": None},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_hostile_checkpoints(tmp_path, changes):
    """Only restored here, never gone on with: that may crash the interpreter."""
    saved(tmp_path, 0)
    rewrite(tmp_path, **changes)
    refused(tmp_path, "checkpoint of untrained|damaged|format")


def test_metrics_may_be_lost_or_cut(tmp_path):
    search = saved(tmp_path, 4)
    path = tmp_path / checkpoint.METRICS
    text = path.read_text()
    for content, left in ((text[:-9], 3), ("", 0), ("[]\n\n3\n{}\n" + text, 4), (None, 0)):
        path.unlink()
        if content is not None:
            path.write_text(content)
        other = search_of(**ISLANDS)
        other.restore(tmp_path)
        assert other.rows == search.rows[:left]
        assert other.state.generation == 4


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x80\n", b'{"generation": null}\n', b'{"generation": "1"}\n', b"[" * 100_000 + b"\n"]
    + [b'{"generation": 1}\n', b'{"generation": 1, "best": [], "mean": 1}\n']
    + [
        b'{"generation": 1, "best": 1, "mean": 1, "front": ' + front + b"}\n"
        for front in (b"3", b"[[1]]", b'[[1, ""]]')
    ],
)
def test_damaged_metrics_do_not_matter(tmp_path, content):
    saved(tmp_path, 2)
    (tmp_path / checkpoint.METRICS).write_bytes(content)
    search = search_of(**ISLANDS)
    search.restore(tmp_path)
    assert search.rows == []
    assert search.state.generation == 2


def test_rows_are_json_whatever_happened(tmp_path):
    saved(tmp_path, 2, task=Toy(lambda rewards, networks, part: rewards * np.nan))
    for line in (tmp_path / checkpoint.METRICS).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("at", "workers"), [*((at, 1) for at in (1, 2, 3, 4, 18, 19, 20, 21, 22, 23)), (1, 2), (3, 2), (20, 2)]
)
def test_any_evaluation_may_be_interrupted(tmp_path, at, workers):
    """Training and validation alike; calls are counted over all chunks of several workers."""
    if workers > 1:
        pytest.importorskip("joblib")
    # In a worker only an Exception comes back to who waits, as joblib has it; Ctrl-C reaches the main thread anyway.
    kind = KeyboardInterrupt if workers == 1 else ArithmeticError
    whole = search_of(**ISLANDS)
    whole.run(19)

    def change(rewards, networks, part):
        if not stopped and len(task.calls) >= at * (1 if workers == 1 else 6):
            stopped.append(at)
            raise kind
        return rewards

    task, stopped = Toy(change), []
    search = search_of(task, workers=workers, **ISLANDS)
    with pytest.raises(kind):
        search.run(19)
    assert stopped
    search.save(tmp_path)
    other = search_of(**ISLANDS)
    other.restore(tmp_path)
    for each in (search, other):
        each.run(19)
        assert_same(each, whole)
