"""Inferred tasks: the slopes are those of autograd over dense masks, and tasks of distinct inputs are told apart."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import untrained as ut
from untrained.bank import statistics
from untrained.bank.infer import _entropy, _entropy_of_spread
from untrained.bank.superposition import Superposition

METHODS = {
    "half": ut.EdgePopup(keep=0.5),
    "signed": ut.EdgePopup(keep=0.2, signed=True),
    "nudge": ut.Nudge(levels=3),
    "slots": ut.SlotMachines(values=3),
    "whole": ut.Dense(),
}
CASES = {
    "masks": (lambda: ut.models.fc((12, 9), shape=(7,)), ["half", "signed"], ut.SignedConstant()),
    "norms": (lambda: ut.models.fc((12, 9), norm="batch", shape=(7,)), ["half", "signed"], ut.SignedConstant()),
    "any": (lambda: ut.models.fc((12, 9), shape=(7,)), list(METHODS), ut.SignedConstant()),
    "scaled": (lambda: ut.models.fc((12,), shape=(7,)), ["half", "signed"], ut.SignedConstant(scaled=True)),
    "float64": (lambda: ut.models.fc((12,), shape=(7,)).double(), ["half", "signed", "nudge"], ut.SignedConstant()),
    "biases": (lambda: nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 5)), ["half", "signed"], None),
}


def _bank(case: str, count: int = 3) -> ut.Bank:
    build, methods, law = CASES[case]
    torch.manual_seed(5)
    bank = ut.Bank(build(), seed=1, weights=law)
    for i in range(count):
        trained = r"2\.bias" if case == "biases" else None
        model = bank.masked(METHODS[methods[i % len(methods)]], also_train=trained)
        with torch.no_grad():
            for scores in ut.scores(model):
                scores.copy_(torch.randn_like(scores))
            for parameter in model.parameters():
                if parameter.requires_grad and parameter.ndim == 1:
                    parameter.normal_()
        bank.add(f"t{i}", model)
    return bank


def _dense_slopes(bank: ut.Bank, x: torch.Tensor, objective) -> torch.Tensor:
    """The slopes along explicit shares of dense weights, by autograd."""
    shown = [{n: p.clone() for n, p in bank.use(name).named_parameters()} for name in bank.names]
    shares = torch.full((len(bank),), 1 / len(bank), dtype=torch.float64, requires_grad=True)
    mixed = {n: sum(s * w[n].double() for s, w in zip(shares, shown, strict=True)) for n in shown[0]}
    module = copy.deepcopy(bank.model).double().eval()
    for each in module.modules():
        each.train(isinstance(each, nn.BatchNorm1d))
    return torch.autograd.grad(objective(functional_call(module, mixed, (x.double(),))).mean(), shares)[0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("objective", [_entropy, _entropy_of_spread])
def test_the_slopes_are_those_of_autograd_over_dense_weights(case, objective):
    for count in (1, 2, 7):
        bank = _bank(case, count)
        x = torch.randn(6, 7, dtype=next(bank.model.parameters()).dtype)
        network = Superposition(bank._live)
        network.mix_(bank.tasks)
        slopes, expected = network.slopes(x, objective, rows=False), _dense_slopes(bank, x, objective)
        apart = [each - each.mean() for each in (slopes, expected)]  # what is the same in all tasks is left out
        torch.testing.assert_close(*apart, rtol=1e-3, atol=1e-4)
        by_row = network.slopes(x, objective, rows=True)
        torch.testing.assert_close(by_row.mean(0), slopes, rtol=1e-3, atol=1e-4)


class Late(nn.Module):
    """A norm behind a nonlinearity, which is not linear in the weight before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(7, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(input=self.first(x).relu()))


def _conv() -> nn.Module:
    layers = nn.Conv2d(2, 5, 3, bias=False, stride=2), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(45, 3)
    return nn.Sequential(*layers)


def _scaled_first() -> nn.Module:
    """A norm over all channels, of its own statistics, before the first weight."""
    first = nn.Unflatten(1, (1, 7)), nn.InstanceNorm1d(1, track_running_stats=True), nn.Flatten()
    return nn.Sequential(*first, nn.Linear(7, 9), nn.BatchNorm1d(9), nn.Linear(9, 3))


WITH_NORMS = {
    "of the inputs": (lambda: nn.Sequential(nn.BatchNorm1d(7), nn.Linear(7, 3)), (7,), METHODS["half"], False),
    "behind statistics of each task": (_scaled_first, (7,), METHODS["half"], False),
    "linear": (lambda: ut.models.fc((12, 9), norm="batch", shape=(7,)), (7,), METHODS["half"], True),
    "convolution": (_conv, (2, 8, 8), METHODS["signed"], True),
    "behind a relu": (Late, (7,), METHODS["half"], False),
    "other codes": (lambda: ut.models.fc((12,), norm="batch", shape=(7,)), (7,), METHODS["nudge"], False),
}


@pytest.mark.parametrize("case", WITH_NORMS)
def test_distances_are_those_of_what_the_first_norm_gets_under_each_task(case, monkeypatch):
    build, shape, method, at_once = WITH_NORMS[case]
    bank = ut.Bank(build(), seed=1)
    for i in range(5):
        torch.manual_seed(i)
        model = bank.masked(method)
        with torch.no_grad():
            for scores in ut.scores(model):
                scores.copy_(torch.randn_like(scores))
        model.train()(torch.randn(64, *shape) + i)
        bank.add(f"t{i}", model.eval())
    bank.add("again", bank.ticket("t0"))  # the last mask is the first one
    x, expected = torch.randn(20, *shape) + 1, []
    for name in bank.names:
        model, got = bank.use(name), []
        norm = next(each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
        handle = norm.register_forward_pre_hook(
            lambda _, given, named, got=got: got.extend((*given, *named.values())), with_kwargs=True
        )
        model(x)
        handle.remove()
        means = got[0].transpose(0, 1).flatten(1).double().mean(1)
        expected.append(((means - norm.running_mean) ** 2 / (norm.running_var + norm.eps)).mean().sqrt())
    read = []
    monkeypatch.setattr(statistics, "_read_off", lambda *a, f=statistics._read_off: read.append(f(*a)) or read[-1])
    found = bank.which(x)
    assert (read[0][1] is not None) == at_once
    torch.testing.assert_close(-found.evidence, torch.stack(expected).detach().double(), rtol=1e-4, atol=1e-5)
    assert torch.equal(bank.which(x, "gradient").evidence, bank.which(x, "gradient").evidence)
    assert bank.which(x, unknown=1e9).task == found.task and bank.which(x, unknown=1e-9).task is None


@pytest.mark.parametrize(
    ("case", "arguments", "message"),
    [
        ("masks", {"how": "statistics"}, "the network runs through none"),
        ("norms", {"how": "statistics", "per": "row"}, "how='each' per row"),
        ("norms", {"how": "statistics"}, "task 't0' has no statistics: it was never run in training mode"),
        ("norms", {"unknown": "1"}, "unknown must be above 0"),
        ("norms", {"how": "statistic"}, "how must be None, 'statistics'"),
    ],
)
def test_statistics_that_are_not_there_are_refused(case, arguments, message):
    with pytest.raises(ValueError, match=message):
        _bank(case).which(torch.randn(20, 7), **arguments)


def test_norms_that_were_never_run_are_not_asked():
    bank, x = _bank("norms"), torch.randn(20, 7)
    assert torch.equal(bank.which(x).evidence, bank.which(x, "gradient").evidence)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 9), st.sampled_from(["gradient", "binary", "each"]), st.booleans(), st.sampled_from(list(CASES)))
def test_every_answer_is_a_task_with_the_most_evidence_and_the_live_network_is_as_before(count, how, rows, case):
    bank = _bank(case, count)
    x = torch.randn(4, 7, dtype=next(bank.model.parameters()).dtype)
    before = {name: t.clone() for name, t in bank.use("t0").state_dict().items()}
    found = bank.which(x, how, per="row" if rows else "batch")
    assert all(torch.equal(t, before[name]) for name, t in bank.model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in bank.model.parameters())
    assert found.evidence.shape == ((4, count) if rows else (count,)) and found.names == tuple(bank.names)
    best = [found.names[i] for i in found.evidence.reshape(-1, count).argmax(1)]
    assert found.task == (best if rows else best[0])
    assert torch.equal(bank.which(x, how, per="row" if rows else "batch").evidence, found.evidence)


def _learned(norm, tasks: int = 4) -> tuple[ut.Bank, list]:
    """A bank of tasks that each classify the digits in their own order of pixels, and a batch of each and a new one."""
    data = ut.load_data("digits")
    x, y = next(iter(data.batches("train", 1100)))
    unseen, _ = next(iter(data.batches("val", 200)))
    bank, batches = ut.Bank(ut.models.fc((64, 64), norm=norm, shape=(1, 8, 8))), []
    for i in range(tasks + 2):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(i))
        batches.append(unseen.flatten(1)[:, order].reshape(-1, 1, 8, 8))
        if i < tasks:
            own = x.flatten(1)[:, order].reshape(-1, 1, 8, 8)
            model = bank.masked(ut.EdgePopup(keep=0.5))
            ut.fit(model, list(zip(own.split(100), y.split(100), strict=True)), epochs=5, title=None)
            bank.add(f"t{i}", model)
    return bank, batches


@pytest.mark.parametrize("norm", [None, "batch"])
def test_tasks_of_permuted_pixels_are_told_apart(norm):
    bank, batches = _learned(norm)
    for how in ("gradient", "binary", "each"):
        assert [bank.which(x[:128], how).task for x in batches[:4]] == bank.names, how
        assert bank.which(batches[2], how, among=["t0", "t2"]).task == "t2"
    rows = bank.which(torch.cat([x[:5] for x in batches[:4]]), "each", per="row").task
    assert sum(a == b for a, b in zip(rows, [n for n in bank.names for _ in range(5)], strict=True)) >= 16


def test_a_batch_of_no_task_is_none_of_them():
    bank, batches = _learned("batch", tasks=3)
    assert [bank.which(x[:128], unknown=0.3).task for x in batches] == [*bank.names, None, None]
    alone = ut.Bank(bank.model.requires_grad_(False), weights=bank.law)
    alone.add("t0", bank.ticket("t0"))
    assert [alone.which(x[:128], unknown=0.3).task for x in batches[:3]] == ["t0", None, None]


def test_superfluous_outputs_tell_of_the_task_too():
    bank = ut.Bank(ut.models.fc((16,), shape=(7,), classes=8))
    for i in range(3):
        bank.add(f"t{i}", bank.masked(METHODS["half"]), {"labels": ["a", "b", "c"]})
    x = torch.randn(5, 7)
    for how in ("gradient", "binary", "each"):
        assert bank.which(x, how, objective="superfluous").task in bank.names
    network = Superposition(bank._live)
    network.mix_(bank.tasks)

    def naive(z):
        return torch.cat([z[:, :3].detach(), z[:, 3:]], 1).exp().sum(1).log()

    expected = -_dense_slopes(bank, x, naive)
    torch.testing.assert_close(
        bank.which(x, "gradient", objective="superfluous").evidence, expected, rtol=1e-3, atol=1e-5
    )


def _heads(bank: ut.Bank) -> ut.Bank:
    bank.add("four", bank.masked(METHODS["half"], heads={"fc3": 4}))
    return bank


def test_heads_of_several_sizes_are_compared_by_their_own_entropy():
    bank = _heads(_bank("masks"))
    found = bank.which(torch.randn(3, 7), "each", per="row")
    assert bool((found.evidence <= 0).all()) and bool((found.evidence >= -1.001).all()) and "four" in found.names
    assert torch.equal(found["four"], found.evidence[:, 3])


X = torch.randn(3, 7)
BAD = {
    "empty bank": (lambda: ut.Bank(ut.models.fc((4,), shape=(7,))).which(X), "no task to choose from"),
    "none among": (lambda: _bank("masks").which(X, among=["gone"]), "has no task 'gone'"),
    "no rows": (lambda: _bank("masks").which(X[:0]), "one row or more"),
    "nan": (lambda: _bank("norms").which(X * torch.nan), "must be finite"),
    "shape": (lambda: _bank("masks").which(torch.randn(3, 8)), "takes no inputs"),
    "how": (lambda: _bank("masks").which(X, "guess"), "how must be"),
    "objective": (lambda: _bank("masks").which(X, objective="loss"), "objective must be"),
    "per": (lambda: _bank("masks").which(X, per="image"), "per must be"),
    "unknown": (lambda: _bank("masks").which(X, unknown=-1.0), "unknown must be above 0"),
    "heads": (lambda: _heads(_bank("masks")).which(X, "gradient"), "'fc3.weight' has shape .* take how='each'"),
    "no labels": (lambda: _bank("masks").which(X, objective="superfluous"), "needs the labels of every task"),
    "every": (lambda: _bank("masks").learn([], METHODS["half"], every=0), "every must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_inferred_is_refused(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_outputs_that_are_no_logits_are_refused_and_labels_of_all_outputs_are():
    bank = ut.Bank(nn.Conv2d(1, 3, 3, bias=False))
    bank.add("a", bank.masked(METHODS["half"]))
    with pytest.raises(ValueError, match="must be logits"):
        bank.which(torch.randn(2, 1, 5, 5))
    bank = ut.Bank(ut.models.fc((4,), shape=(7,), classes=3))
    bank.add("a", bank.masked(METHODS["half"]), {"labels": ["a", "b", "c"]})
    for how in ("gradient", "each"):
        with pytest.raises(ValueError, match="more outputs than labels, got 3 and 3"):
            bank.which(X, how, objective="superfluous")


def test_inputs_with_nan_leave_nothing_behind():
    bank = _bank("norms")
    before = [bank.which(x).evidence for x in (X, X[:1])]
    with pytest.raises(ValueError, match="must be finite"):
        bank.which(X * torch.nan)
    with torch.inference_mode():
        after = [bank.which(x).evidence for x in (X.clone(), X[:1].clone())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_stream_without_task_labels_becomes_tasks():
    data = ut.load_data("digits")
    x, y = next(iter(data.batches("train", 1147)))
    pairs = list(zip(x.split(100)[:11], y.split(100)[:11], strict=True))

    def stream(order, passes):
        place = torch.randperm(64, generator=torch.Generator().manual_seed(order))
        return [(a.flatten(1)[:, place].reshape(a.shape), b) for _ in range(passes) for a, b in pairs]

    bank = ut.Bank(ut.models.fc((64, 64), norm="batch", shape=(1, 8, 8)))
    given = bank.learn(
        [*stream(0, 5), *stream(1, 5), *stream(0, 5)],
        ut.EdgePopup(keep=0.5), every=55, steps=55, unknown=0.3,
    )  # fmt: skip
    assert given == ["task 1"] * 55 + ["task 2"] * 55 + ["task 1"] * 55
    assert bank.names == ["task 1", "task 2"]
    for order, name in enumerate(bank.names):
        inputs = torch.cat([a for a, _ in stream(order, 1)])
        right = (bank(inputs, name).argmax(1) == torch.cat([b for _, b in pairs])).float().mean()
        assert right > 0.85, (name, right)


def test_an_interrupted_stream_keeps_the_tasks_that_were_added():
    bank = ut.Bank(ut.models.fc((8,), shape=(7,)))
    bank.add("first", bank.masked(METHODS["half"]))

    def stream():
        yield X, torch.tensor([0, 1, 2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bank.learn(stream(), METHODS["half"])
    assert bank.names == ["first"]
