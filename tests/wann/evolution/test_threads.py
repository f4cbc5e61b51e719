"""One thread or several: the quicker is chosen, again when the load changes, and rewards are the same bits."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toy_search import Toy, assert_same, search_of
from untrained.wann.evolution import workers
from untrained.wann.evolution.threads import ThreadChoice
from untrained.wann.evolution.workers import Evaluator


class Machine:
    """A clock, and work that takes a given time with one thread and with eight."""

    def __init__(self, one, eight):
        self.now, self.seconds, self.counts = 0.0, {1: one, 8: eight}, []
        self.choice = ThreadChoice(8, lambda: self.now)

    def work(self, count):
        self.counts.append(count)
        self.now += self.seconds[count]
        return count

    def calls(self, number):
        """Numbers of threads in as many calls more."""
        assert [self.choice.run(self.work) for _ in range(number)] == self.counts[-number:]
        return self.counts[-number:]


@given(st.sampled_from([0.125, 0.25, 1.0, 2.0]), st.sampled_from([0.125, 0.25, 1.0, 2.0]))
def test_the_quicker_is_chosen_and_the_slower_costs_a_twentieth(one, eight):
    machine = Machine(one, eight)
    assert machine.calls(6) == [1, 8] * 3
    quicker = 8 if eight < one else 1
    assert machine.choice.chosen == quicker
    counts = machine.calls(5000)
    slower = sum(count != quicker for count in counts)
    assert slower >= 3 and set(counts[:100]) == {quicker}
    assert slower * max(one, eight) <= sum(machine.seconds[count] for count in counts) / 20 + 3 * max(one, eight)


@pytest.mark.parametrize(("odd", "one", "eight"), [(1, 1.0, 2.0), (8, 2.0, 1.0)])
def test_a_call_that_compiles_or_starts_threads_decides_nothing(odd, one, eight):
    machine = Machine(one, eight)
    if odd == 8:
        machine.calls(1)
    machine.seconds[odd] = 60.0
    machine.calls(1)
    machine.seconds[odd] = 1.0
    machine.calls(6 - len(machine.counts))
    assert machine.choice.chosen == odd
    # The next measurement does not wait for longer because of it: 20 × 3 × (1 + 2) calls of a second.
    assert set(machine.calls(180)) == {odd} and set(machine.calls(2)) == {1, 8}


def test_it_is_measured_again_when_the_load_changes():
    machine = Machine(2.0, 1.0)
    machine.calls(6)
    assert machine.choice.chosen == 8
    machine.seconds = {1: 4.0, 8: 20.0}  # a busy machine: 20 × 3 × (2 + 1) s have soon passed
    assert machine.calls(20).count(1) == 3 + (20 - 15) and machine.choice.chosen == 1
    machine.seconds = {1: 0.2, 8: 0.1}  # idle again: as many calls have soon passed
    assert 8 in machine.calls(400) and machine.choice.chosen == 8


def test_an_error_is_not_measured():
    choice = ThreadChoice(8)
    for _ in range(9):
        with pytest.raises(ZeroDivisionError):
            choice.run(lambda count: count / 0)
    assert choice.chosen is None


@pytest.fixture
def tried(monkeypatch):
    """A function that makes a search with measured workers, of two cores, and a list of the numbers of threads."""

    def make(seconds, task=None):
        pytest.importorskip("joblib")
        now, counts, by_threads = [0.0], [], Evaluator._by_threads

        def timed(self, count, networks, how):
            counts.append((count, how["part"]))
            now[0] += seconds[count]
            return by_threads(self, count, networks, how)

        monkeypatch.setattr(workers.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(Evaluator, "_by_threads", timed)
        monkeypatch.setattr(workers, "ThreadChoice", lambda several: ThreadChoice(several, lambda: now[0]))
        return search_of(task, workers=None), counts

    return make


@pytest.mark.parametrize("seconds", [{1: 1.0, 2: 10.0}, {1: 10.0, 2: 1.0}])
def test_a_search_measures_whole_generations_and_finds_the_same(tried, seconds):
    expected = search_of(workers=1)
    expected.run(20)
    search, counts = tried(seconds)
    search.run(20)
    assert_same(search, expected)
    quicker = min(seconds, key=lambda count: seconds[count])
    assert [count for count, part in counts if part == "train"] == [1, 2] * 3 + [quicker] * 15
    first, *later = [count for count, part in counts if part == "validation"]
    assert first == 1 and set(later) <= {quicker}
    assert search.evaluator.choice is not None and search.evaluator.choice.chosen == quicker


def test_processes_are_not_tried_and_one_core_or_no_joblib_means_one_thread(monkeypatch):
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 3)
    gym = Evaluator(Toy(frees_threads=False), None)
    assert (gym.workers, gym.choice) == (3, None)
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert (Evaluator(Toy(), None).workers, Evaluator(Toy(), None).choice) == (1, None)
    search = search_of(workers=None)
    search.run(2)
    monkeypatch.undo()
    monkeypatch.setattr(workers.os, "cpu_count", lambda: None)
    assert (Evaluator(Toy(), None).workers, Evaluator(Toy(), None).choice) == (1, None)
