"""The summary of a bank: what the summaries of its tickets say, and a table that a person reads."""

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.bank.summary import BankSummary


def _bank(count: int, **facts: float) -> ut.Bank:
    bank = ut.Bank(ut.models.fc((12, 8), norm="batch", shape=(1, 5, 5)))
    if count:
        found = ut.Ticket.of(bank.masked(ut.EdgePopup(keep=0.3)), meta=facts)
    for number in range(count):
        bank.add(f"task {number}", found)
    return bank


METHODS = {
    "edges": ut.EdgePopup(keep=0.3),
    "nudge": ut.Nudge(levels=3),
    "partly": ut.PartlyFrozen(ut.EdgePopup(keep=0.2), pruned=0.5),
    "whole": ut.Dense(),
    "slots": ut.SlotMachines(values=3),
}


def test_it_says_what_the_summaries_of_the_tickets_say():
    bank = _bank(0)
    for name, method in METHODS.items():
        bank.add(name, bank.masked(method), meta={"accuracy": 0.5})
    for task in bank.summary().tasks:
        expected = ut.summary(bank.ticket(task.name))
        assert (task.kept, task.weights) == (expected.kept, expected.weights), task.name
        assert task.entropy_bytes == expected.entropy_bytes, task.name
        assert (task.extra_bytes, task.dense_bytes) == (expected.extra_bytes, expected.fp32_bytes), task.name
        assert (task.file_bytes, task.accuracy) == (expected.file_bytes, 0.5), task.name


def test_the_totals_beside_it_are_those_of_a_count_by_hand():
    bank = ut.Bank(nn.Linear(20, 10))
    for name in "ab":
        bank.add(name, bank.masked(ut.EdgePopup(keep=0.5)))
    found = bank.summary()
    # 200 weights; the bias stays at 0 in each of them.
    assert found.total("dense_bytes") == 2 * 4 * 200
    assert found.total("int8_bytes") == 2 * (200 + 2 * 10)
    assert found.adapter_bytes == 4 * 200 + 2 * (2 * 4 * (20 + 10))
    assert BankSummary.of(bank.tasks, {"a": 5, "b": 7}).total("file_bytes") == 12


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 4), (13, 14), (14, 14)])
def test_a_long_table_shows_its_ends_and_the_mean(count, rows):
    lines = str(_bank(count, accuracy=0.9).summary()).splitlines()
    table = lines[1 : 1 + rows]
    assert lines[1 + rows].startswith("bytes: ") and f"{count:,} task" in lines[-4]
    assert table[0].startswith("task 0 ") and (count == 1) != table[-1].startswith("mean ")
    assert all(line.endswith("90.00%") or "more" in line for line in table)
    assert any(f"… {count - 12:,} more" in line for line in table) == (count > 13)
    assert max(map(len, lines)) <= 120


def test_facts_that_are_no_accuracy_are_left_out():
    for wrong in (7.0, -0.1, float("nan"), True, "0.9", None):
        bank = _bank(0)
        bank.add("a", bank.masked(ut.EdgePopup()), meta={"accuracy": wrong} if wrong == wrong else {})
        assert bank.summary().tasks[0].accuracy is None and "accuracy" not in str(bank.summary())


def test_a_bank_without_tasks_and_odd_names_are_shown():
    assert "no tasks" in str(_bank(0).summary())
    bank = _bank(0)
    for name in ("<b>bold</b>", "x" * 200, "\u0634\u062a\u0631"):
        bank.add(name, bank.masked(ut.EdgePopup()))
    text, html = str(bank.summary()), bank.summary()._repr_html_()
    assert "…" in text and "<b>" not in html and "&lt;b&gt;bold" in html


def test_embeddings_convolutions_and_double_precision_count():
    network = nn.ModuleDict({"a": nn.Embedding(9, 4), "b": nn.Conv2d(4, 6, 3, groups=2), "c": nn.Linear(6, 2)})
    bank = ut.Bank(network.double())
    bank.add("a", bank.masked(ut.EdgePopup(keep=0.5)))
    (task,) = bank.summary().tasks
    assert task.weights == sum(p.numel() for p in bank.model.parameters() if p.ndim > 1)
    assert task.adapter_bytes == 8 * ((9 + 4) + (6 + 18) + (2 + 6)) and torch.isfinite(torch.tensor(task.kept))


def test_scalars_and_biases_of_pretrained_networks_count_as_floats():
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    network.register_parameter("scale", nn.Parameter(torch.ones(())))
    bank = ut.Bank(network, weights=None)
    bank.add("a", bank.masked(ut.EdgePopup(keep=0.5)))
    (task,) = bank.summary().tasks
    assert (task.dense_bytes, task.int8_bytes) == (4 * (12 + 3 + 6 + 1), 12 + 2 * 3 + 4 * (3 + 6 + 1))
