"""Overlaps of tasks against counts of plain masks, and merged tasks: networks and tickets like any other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.bank.overlap import overlap_matrix
from untrained.bank.task import Task
from untrained.masking.mask import record

METHODS = {"edges": ut.EdgePopup(keep=0.5), "fedpm": ut.FedPM(), "signed": ut.EdgePopup(keep=0.1, signed=True)}
X = torch.randn(32, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Module:
    return ut.models.fc((24, 15), norm="batch", shape=(1, 6, 6))


def _add(bank: ut.Bank, name: str, method: ut.Method, number: int = 0, **meta: object) -> None:
    """Add a task of random scores, with statistics of its own."""
    model, generator = bank.masked(method), torch.Generator().manual_seed(number)
    with torch.no_grad():
        for state in record(model).states:
            state.scores.normal_(generator=generator)
    model.train()(X * number)
    bank.add(name, model.eval(), meta=meta)


@pytest.fixture
def bank() -> ut.Bank:
    bank = ut.Bank(_net(), seed=3)
    for number, (name, method) in enumerate(METHODS.items()):
        _add(bank, name, method, number, data="digits", accuracy=0.5, run=number)
    return bank


def _plain(bank: ut.Bank) -> dict[str, dict[str, torch.Tensor]]:
    return {name: {each: codes != 0 for each, codes in bank.ticket(name).codes.items()} for name in bank.names}


def _task(name: str, masks: dict[str, torch.Tensor]) -> Task:
    """A task of these masks, by way of a network that has them."""
    model = nn.ParameterDict({each: nn.Parameter(torch.zeros(mask.shape)) for each, mask in masks.items()})
    ut.mask_(model, ut.RelaxedBernoulli(), seed=0)
    with torch.no_grad():
        for state in record(model).states:
            state.scores.copy_(masks[state.name].float() - 0.5)
    return Task.of(name, ut.Ticket.of(model))


SHAPES = st.dictionaries(
    st.sampled_from("abc"), st.tuples(st.integers(2, 3), st.integers(2, 70)), min_size=1, max_size=2
)


@settings(max_examples=15)
@given(st.lists(SHAPES, min_size=1, max_size=4), st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 1.0]))
def test_the_matrix_is_the_count_of_common_weights(shapes, seed, keep):
    generator, sizes, tasks, plain = torch.Generator().manual_seed(seed), {}, [], []
    for number, its in enumerate(shapes):
        own = {name: sizes.setdefault(name, shape) for name, shape in its.items()}
        plain.append({name: torch.rand(shape, generator=generator) < keep for name, shape in own.items()})
        tasks.append(_task(str(number), plain[-1]))
    found, chance = overlap_matrix(tasks)
    for i, a in enumerate(plain):
        for j, b in enumerate(plain):
            names = sorted(a.keys() & b.keys())
            either = sum(int((a[n] | b[n]).sum()) for n in names)
            expected = sum(int((a[n] & b[n]).sum()) for n in names) / either if either else 1.0
            assert (found[i, j] == expected) if names else found[i, j].isnan()
            total = sum(int(each[n].sum()) for each in (a, b) for n in names)
            mean = sum(a[n].double().mean() * b[n].double().mean() * a[n].numel() for n in names)
            if i != j and names:
                assert chance[i, j] == pytest.approx(float(mean / (total - mean)) if total else 1.0)
    assert torch.equal(found.nan_to_num(2), found.T.nan_to_num(2)) and bool((found.diag() == 1).all())


def test_two_tasks_overlap_tensor_by_tensor(bank):
    plain = _plain(bank)
    found = bank.overlap("edges", "signed")
    assert found.keys() == plain["edges"].keys()
    for name, each in found.items():
        a, b = plain["edges"][name], plain["signed"][name]
        assert each.share == int((a & b).sum()) / int((a | b).sum())
        ka, kb = float(a.double().mean()), float(b.double().mean())
        assert each.chance == pytest.approx(ka * kb / (ka + kb - ka * kb))
    assert bank.overlap("fedpm", "fedpm")["fc1.weight"].share == 1
    assert bank.overlap().shape == (3, 3) and ut.Bank(_net()).overlap().shape == (0, 0)


def test_masks_of_independent_scores_overlap_as_chance_says():
    bank = ut.Bank(nn.Linear(400, 100))
    for number, name in enumerate("ab"):
        _add_linear(bank, name, number)
    (each,) = bank.overlap("a", "b").values()
    assert each.share == pytest.approx(each.chance, abs=0.01)


def _add_linear(bank: ut.Bank, name: str, number: int) -> None:
    model = bank.masked(ut.RandomSubnetwork(keep=0.3))
    with torch.no_grad():
        record(model).states[0].scores.normal_(generator=torch.Generator().manual_seed(number))
    bank.add(name, model)


RULES = {"union": lambda kept: kept > 0, "intersection": lambda kept: kept == 3, "majority": lambda kept: kept > 1.5}


@pytest.mark.parametrize("how", RULES)
def test_a_merged_task_is_saved_loaded_and_verified_like_any_other(bank, tmp_path, how):
    plain, before = _plain(bank), bank(X, "edges")
    bank.merge("new", list(METHODS), how)
    merged = bank.ticket("new")
    for name, codes in merged.codes.items():
        assert torch.equal(codes != 0, RULES[how](sum(each[name].int() for each in plain.values()))), name
        method = merged.tensors[name].method
        assert isinstance(method, ut.EdgePopup) and method.codes({name: codes.float()}, {name: codes.float()}).keys()
        assert torch.equal(method.codes({name: codes.float()}, {name: codes.float()})[name], codes)
    merged.save(tmp_path / "new.ticket")
    ut.Ticket.load(tmp_path / "new.ticket").verify()
    assert torch.equal(ut.load(tmp_path / "new.ticket").eval()(X), bank(X, "new"))
    assert merged.meta == {"data": "digits", "merged": {"how": how, "tasks": list(METHODS)}}
    mean = torch.stack([bank.ticket(name).extra["fc_norm1.running_mean"] for name in METHODS]).mean(0)
    torch.testing.assert_close(merged.extra["fc_norm1.running_mean"], mean)
    assert torch.equal(bank(X, "edges"), before)


def test_statistics_of_a_merged_task_are_taken_anew(bank):
    bank.merge("new", ["edges", "fedpm"], calibrate=lambda model: ut.calibrate_(model, [(X, torch.zeros(32))]))
    expected = bank.ticket("new").apply_(_net())
    for norm in (expected.fc_norm1, expected.fc_norm2):
        norm.reset_running_stats()
    ut.calibrate_(expected, [(X, torch.zeros(32))])
    assert torch.equal(bank(X, "new"), expected.eval()(X))


def test_what_tasks_have_in_common_is_merged_whatever_it_is(bank):
    for name, method in {"signed": ut.EdgePopup(keep=0.1), "random": ut.RandomSubnetwork(keep=0.3)}.items():
        model = bank.masked({"fc2.weight": ut.Nudge(levels=3), r"fc[13]\.weight": method})
        bank.add(f"{name} nudged", model.eval())
    bank.merge("new", ["signed nudged", "random nudged"])
    ticket = bank.ticket("new")
    assert ticket.tensors["fc2.weight"].method == ut.Nudge(levels=3) and ticket.meta.keys() == {"merged"}
    assert torch.equal(ticket.apply_(_net()).eval()(X), bank(X, "new"))


def test_pretrained_networks_merge():
    bank = ut.Bank(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), weights=None)
    for name, keep in {"half": 0.5, "most": 0.8}.items():
        bank.add(name, bank.masked(ut.EdgePopup(keep=keep)))
    bank.merge("new", ["half", "most"], "intersection")
    weight = bank.use("half")[0].weight.clone()
    weight[bank.use("most")[0].weight == 0] = 0
    assert torch.equal(bank.use("new")[0].weight, weight)


BAD = {
    "one": (lambda bank: bank.merge("new", ["edges"]), "two different tasks or more, got"),
    "twice": (lambda bank: bank.merge("new", ["edges", "edges"]), "two different tasks or more"),
    "missing": (lambda bank: bank.merge("new", ["edges", "gone"]), "has no task 'gone'"),
    "in use": (lambda bank: bank.merge("edges", ["edges", "signed"]), "has a task 'edges' already"),
    "rule": (lambda bank: bank.merge("new", ["edges", "signed"], "xor"), "how must be 'union', .* got 'xor'"),
    "codes": (
        lambda bank: bank.merge("new", ["edges", "nudged"]),
        "'fc1.weight' cannot be merged: it is no mask, .* edges, nudged",
    ),
    "nothing": (
        lambda bank: bank.merge("new", ["low", "high"], "intersection"),
        "the intersection keeps no weight of 'fc1.weight'",
    ),
    "heads": (lambda bank: bank.merge("new", ["four", "five"]), r"'fc3.weight' must be of one size .*\(4, 15\) and"),
    "one head": (lambda bank: bank.merge("new", ["edges", "four"]), "'fc3.weight' cannot be merged"),
    "one tensor": (lambda bank: bank.merge("new", ["four", "edges"]), "'fc3.weight' must be each task's own, or"),
    "calibrate": (
        lambda bank: bank.merge("new", ["edges", "signed"], calibrate=lambda m: m.fc_norm1.double()),
        "calibrate must leave 'fc_norm1",
    ),
    "one name": (lambda bank: bank.overlap("edges"), "names of two tasks, or none"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_merged_is_refused_by_name_and_the_bank_is_unchanged(bank, case):
    _add(bank, "nudged", ut.Nudge(levels=3))
    for name, outputs in {"four": 4, "five": 5}.items():
        bank.add(name, bank.masked(METHODS["edges"], heads={"fc3": outputs}).eval())
    for name, sign in {"low": 1.0, "high": -1.0}.items():
        model = bank.masked(ut.EdgePopup(keep=0.01, signed=True))
        with torch.no_grad():
            for state in record(model).states:
                state.scores.copy_(sign * torch.arange(state.scores.numel()).reshape(state.shape))
        bank.add(name, model.eval())
    names, (call, message) = bank.names, BAD[case]
    with pytest.raises(ValueError, match=message):
        call(bank)
    assert bank.names == names
