"""Tasks on one network: each is the network that its ticket alone gives, whatever else the bank holds."""

import copy
import threading

import pytest
import torch
from torch import nn

import untrained as ut

METHODS = {
    "edge-popup": ut.EdgePopup(keep=0.5),
    "signed": ut.EdgePopup(keep=0.1, signed=True),
    "nudge": ut.Nudge(levels=3),
    "random": ut.RandomSubnetwork(keep=0.3),
    "slots": ut.SlotMachines(values=3),
    "biprop": ut.Biprop(keep=0.4),
    "whole": ut.Dense(),
}


def _net(widths: tuple[int, ...] = (24, 16)) -> nn.Module:
    return ut.models.fc(widths, norm="batch", shape=(1, 6, 6))


def _move_statistics(model: nn.Module, seed: int) -> nn.Module:
    """Give norms statistics of their own, as a search does."""
    torch.manual_seed(seed)
    model.train()(torch.randn(32, 1, 6, 6) + seed)
    return model.eval()


@pytest.fixture
def bank() -> ut.Bank:
    bank = ut.Bank(_net(), seed=3)
    for seed, (name, method) in enumerate(METHODS.items()):
        bank.add(name, _move_statistics(bank.masked(method), seed))
    return bank


@pytest.fixture
def alone(bank: ut.Bank) -> dict[str, nn.Module]:
    """The network of each task, loaded from its ticket alone."""
    return {name: bank.ticket(name).apply_(_net()).eval() for name in bank.names}


X = torch.randn(9, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def test_every_task_is_the_network_of_its_ticket_bit_for_bit_in_any_order(bank, alone):
    for name in [*bank.names, *reversed(bank.names), *bank.names[::2]]:
        assert torch.equal(bank(X, name), alone[name](X)), name


def test_the_network_and_its_memory_stay_the_same(bank):
    model, places = bank.model, {name: t.data_ptr() for name, t in bank.model.state_dict().items()}
    for name in bank.names:
        assert bank.use(name) is model
        assert {name: t.data_ptr() for name, t in model.state_dict().items()} == places
    assert not any(p.requires_grad for p in model.parameters())


def test_what_somebody_wrote_into_the_live_network_is_written_anew(bank, alone):
    model = bank.use("signed")
    with torch.no_grad():
        model.fc1.weight.fill_(7.0)
        model.fc_norm1.running_mean.fill_(7.0)
    assert torch.equal(bank(X, "signed"), alone["signed"](X))


def test_each_row_of_a_mixed_batch_gets_the_answer_of_its_task(bank, alone):
    names = ["signed", "nudge", "signed", "whole", "slots", "nudge", "signed", "random", "whole"]
    mixed = bank(X, names)
    for name in set(names):
        rows = [i for i, own in enumerate(names) if own == name]
        assert torch.equal(mixed[rows], alone[name](X[rows]))


def test_heads_have_their_own_number_of_classes(bank, alone):
    model = _move_statistics(bank.masked(ut.EdgePopup(keep=0.3), heads={"fc3": 4}), 9)
    assert [name for name, p in model.named_parameters() if p.requires_grad and "mask" not in name] == ["fc3.weight"]
    bank.add("four", model)
    with ut.baked(model) as plain:
        expected = plain(X)
    assert torch.equal(bank(X, "four"), expected) and bank.model.fc3.out_features == 4
    assert torch.equal(bank(X, "signed"), alone["signed"](X)) and bank.model.fc3.out_features == 10
    mixed = bank(X, ["four"] * 4 + ["signed"] * 5)
    assert torch.equal(mixed[:4, :4], bank(X[:4], "four")) and bool((mixed[:4, 4:] == -torch.inf).all())


def test_threads_that_ask_for_different_tasks_get_the_right_answers(bank, alone):
    expected, wrong = {name: model(X) for name, model in alone.items()}, []

    def ask(name: str) -> None:
        # On some processors torch's own products differ in the last bit, by where a thread's memory lies.
        wrong.extend(name for _ in range(30) if not torch.allclose(bank(X, name), expected[name], atol=1e-6))

    threads = [threading.Thread(target=ask, args=(name,)) for name in bank.names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_packed_task_is_a_network_of_its_own(bank, alone):
    packed = bank.packed("signed")
    assert bank.packed("signed") is packed and isinstance(packed.fc1, ut.packed.PackedLinear)
    torch.testing.assert_close(packed(X), alone["signed"](X))


def test_pretrained_weights_are_kept_for_every_task():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    base, bank = copy.deepcopy(model), ut.Bank(model, weights=None)
    for name, keep in {"half": 0.5, "tenth": 0.1}.items():
        bank.add(name, bank.masked(ut.EdgePopup(keep=keep)))
    x = torch.randn(5, 8)
    for name in ("half", "tenth", "half"):
        assert torch.equal(bank(x, name), bank.ticket(name).apply_(copy.deepcopy(base))(x))


def test_a_scaled_law_scales_by_the_keep_of_each_task():
    bank = ut.Bank(nn.Linear(8, 8, bias=False), weights=ut.SignedConstant(scaled=True))
    for name, keep in {"half": 0.5, "tenth": 0.1}.items():
        bank.add(name, bank.masked(ut.EdgePopup(keep=keep)))
        assert torch.equal(bank.use(name).weight, bank.ticket(name).apply_(nn.Linear(8, 8, bias=False)).weight)


def test_a_start_at_the_mean_prefers_what_earlier_tasks_keep(bank):
    for method in (ut.EdgePopup(keep=0.1), ut.EdgePopup(keep=0.1, signed=True)):
        kept = ut.masks(bank.masked(method, start="mean"))["fc1.weight"]
        before = torch.stack([bank.ticket(name).codes["fc1.weight"] != 0 for name in bank.names]).float().mean(0)
        assert before[kept].mean() > before.mean() + 0.1


BAD = {
    "in use": (lambda bank: bank.add("signed", bank.masked(METHODS["signed"])), "has a task 'signed' already"),
    "no name": (lambda bank: bank.add("", bank.masked(METHODS["signed"])), "1 to 200 printable characters"),
    "spaces": (lambda bank: bank.add("  ", bank.masked(METHODS["signed"])), "not all spaces"),
    "control": (lambda bank: bank.add("a\nb", bank.masked(METHODS["signed"])), "printable"),
    "another seed": (lambda bank: bank.add("new", ut.mask_(_net(), METHODS["signed"], seed=4)), "seed must be .* 3"),
    "another law": (
        lambda bank: bank.add("new", ut.mask_(_net(), METHODS["signed"], seed=3, weights=ut.KaimingNormal())),
        "its weights must be SignedConstant",
    ),
    "another network": (
        lambda bank: bank.add("new", ut.mask_(_net((24, 15)), METHODS["signed"], seed=3)),
        "its network must be that of the bank",
    ),
    "not masked": (lambda bank: bank.add("new", _net()), "not masked"),
    "missing": (lambda bank: bank.use("gone"), "has no task 'gone'; it has 'edge-popup'"),
    "removed": (lambda bank: bank.remove("gone"), "has no task 'gone'"),
    "rows": (lambda bank: bank(X, ["signed"]), "one task for each of 9 rows"),
    "row of none": (lambda bank: bank(X, ["gone"] * 9), "has no task 'gone'"),
    "head": (lambda bank: bank.masked(METHODS["signed"], heads={"fc_norm1": 3}), "'fc_norm1' is a BatchNorm1d"),
    "no head": (lambda bank: bank.masked(METHODS["signed"], heads={"fc3": 0}), "1 or more, got 0"),
    "start": (lambda bank: bank.masked(METHODS["signed"], start="zero"), "start must be 'mean' or None"),
    "masked": (lambda bank: ut.Bank(bank.masked(METHODS["signed"])), "the model is masked"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_and_the_bank_is_unchanged(bank, alone, case):
    call, message = BAD[case]
    names = bank.names
    with pytest.raises(ValueError, match=message):
        call(bank)
    assert bank.names == names
    assert torch.equal(bank(X, "signed"), alone["signed"](X))


def test_the_first_tasks_outputs_are_the_same_after_all_others_came_and_went(bank):
    before = bank(X, "edge-popup")
    for name in bank.names[1:]:
        bank.remove(name)
        bank.add(f"{name} again", bank.masked(METHODS[name]))
    assert torch.equal(bank(X, "edge-popup"), before) and len(bank) == len(METHODS)


def test_another_task_of_the_same_name_is_written_anew(bank):
    bank.use("signed")
    bank.remove("signed")
    bank.add("signed", other := bank.masked(METHODS["edge-popup"]).eval())
    with ut.baked(other) as plain:
        assert torch.equal(bank(X, "signed"), plain(X))
    assert bank(X, "signed").isfinite().all() and bank.task("signed") != bank.task("edge-popup")
