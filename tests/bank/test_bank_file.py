"""Files of banks: the same bytes however they came about, read task by task, and refused when damaged."""

import pytest
import torch

import untrained as ut
from untrained.bank import change, file

METHODS = {
    "edge-popup": ut.EdgePopup(keep=0.3),
    "signed": ut.EdgePopup(keep=0.1, signed=True),
    "nudge": ut.Nudge(levels=3),
    "slots": ut.SlotMachines(values=3),
    'Größe 3, "quoted"': ut.RandomSubnetwork(keep=0.3),
}
X = torch.randn(9, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def _net(widths=(24, 16)):
    return ut.models.fc(widths, norm="batch", shape=(1, 6, 6))


def _filled(names=METHODS):
    bank = ut.Bank(_net(), seed=3)
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        model = bank.masked(METHODS[name], heads={"fc3": 4} if name == "nudge" else None)
        model.train()(torch.randn(32, 1, 6, 6) + seed)
        bank.add(name, model.eval(), meta={"labels": ["a", "b"], "accuracy": 0.5 + seed / 16})
    return bank


@pytest.fixture(scope="module")
def bank():
    return _filled()


@pytest.fixture
def path(tmp_path, bank):
    bank.save(tmp_path / "tasks.bank")
    return tmp_path / "tasks.bank"


def test_a_bank_is_the_same_after_it_was_saved_and_loaded(bank, path):
    read = ut.Bank.load(path)
    assert (read.names, read.seed, read.law) == (bank.names, bank.seed, bank.law)
    for name in bank.names:
        assert torch.equal(read(X, name), bank(X, name))
        assert read.ticket(name).to_bytes() == bank.ticket(name).to_bytes() == read.task(name).file


def test_the_same_tasks_are_the_same_bytes_at_once_one_by_one_and_after_a_removal(bank, path, tmp_path):
    grown, rest, again = tmp_path / "grown.bank", tmp_path / "rest.bank", ut.Bank(_net(), seed=3)
    again.save(grown)
    for name in bank.names:
        change.append(grown, again._shared, bank.task(name))
    assert grown.read_bytes() == path.read_bytes()
    for name in bank.names:
        again.add(name, bank.ticket(name))
        again.save(rest)
    assert rest.read_bytes() == path.read_bytes()
    first, *others = bank.names
    change.remove(grown, first)
    again.remove(first)
    again.save(rest)
    assert again.names == others and grown.read_bytes() == rest.read_bytes()


def test_tasks_are_read_one_at_a_time(bank, path, monkeypatch):
    decoded = []
    kept = ut.Ticket.from_bytes
    monkeypatch.setattr(ut.Ticket, "from_bytes", staticmethod(lambda data: decoded.append(1) or kept(data)))
    some = ut.Bank.load(path, only=["slots"])
    assert some.names == ["slots"] and len(decoded) == 1
    assert torch.equal(some(X, "slots"), bank(X, "slots"))
    with pytest.raises(ut.TicketError, match=r"tasks\.bank: it has no task 'moths'; it has 'edge-popup'"):
        ut.Bank.load(path, only=["moths"])


def test_a_network_of_ones_own_is_passed(tmp_path):
    net = lambda: torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))  # noqa: E731
    bank = ut.Bank(net(), seed=1)
    bank.add("a", bank.masked(ut.EdgePopup(keep=0.5)))
    bank.save(tmp_path / "own.bank")
    with pytest.raises(ut.TicketError, match="pass a freshly built model"):
        ut.Bank.load(tmp_path / "own.bank")
    x = torch.randn(3, 12)
    assert torch.equal(ut.Bank.load(tmp_path / "own.bank", net())(x, "a"), bank(x, "a"))
    with pytest.raises(ut.TicketError, match=r"own\.bank: task 'a': '2\.weight' has shape \(3, 8\) in the ticket"):
        ut.Bank.load(
            tmp_path / "own.bank", torch.nn.Sequential(torch.nn.Linear(12, 8), net()[1], torch.nn.Conv1d(8, 3, 1))
        )


def test_a_task_of_another_seed_law_or_network_is_refused(bank, path):
    before = path.read_bytes()
    wrong = {
        "seed": ut.mask_(_net(), METHODS["signed"], seed=4),
        "weights": ut.mask_(_net(), METHODS["signed"], seed=3, weights=ut.Standard()),
        "network": ut.mask_(ut.models.fc((24, 17), norm="batch", shape=(1, 6, 6)), METHODS["signed"], seed=3),
    }
    for what, model in wrong.items():
        with pytest.raises(ut.TicketError, match=f"its {what} must be"):
            _filled(["signed"]).add(what, model)
    with pytest.raises(ut.TicketError, match=r"tasks\.bank: it has a task 'signed' already"):
        change.append(path, bank._shared, bank.task("signed"))
    assert path.read_bytes() == before


def test_another_file_in_its_place_is_replaced_and_a_damaged_one_written_anew(bank, path):
    whole = path.read_bytes()
    for other in (b"text", whole[:-1], whole[:60] + b"\0" + whole[61:], whole + b"left over by a kill"):
        path.write_bytes(other)
        bank.save(path)
        assert path.read_bytes() == whole


def test_bytes_behind_those_that_count_are_ignored_and_overwritten(bank, path, tmp_path):
    first, *others = bank.names
    small = tmp_path / "small.bank"
    _filled([first]).save(small)
    with small.open("ab") as left:
        left.write(b"x" * 10_000)
    assert ut.Bank.load(small).names == [first]
    for name in others:
        change.append(small, bank._shared, bank.task(name))
    assert small.read_bytes() == path.read_bytes()


def test_every_truncation_and_every_flipped_bit_is_refused_by_file_and_task(bank, path):
    whole, chance = path.read_bytes(), torch.Generator().manual_seed(0)
    for n in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:n])
        with pytest.raises(ut.TicketError, match=r"tasks\.bank: "):
            ut.Bank.load(path)
    told = set()
    for bit in torch.randint(8 * len(whole), (300,), generator=chance).tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(ut.TicketError, match=r"tasks\.bank: ") as error:
            ut.Bank.load(path)
        told |= {name for name in bank.names if repr(name) in str(error.value)}
    assert told == set(bank.names)


def test_a_damaged_task_leaves_the_others_readable(bank, path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    *others, last = bank.names
    assert ut.Bank.load(path, only=others).names == others
    with file.opened(path) as read, pytest.raises(ut.TicketError, match=r"^task .*hash before them"):
        read.file_of(last)
