"""Files of banks: the same bytes however they came about, read task by task, and refused when damaged."""

import ast
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch

import bank_mutations
import untrained as ut
from bank_mutations import METHODS, Parts, filled, net
from second_bank import read_bank
from second_reader import read_ticket
from untrained.bank import change, file
from untrained.tickets import container
from untrained.tickets.header import to_json

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden.bank"
X = torch.randn(9, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def bank():
    return filled()


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
    grown, rest, again = tmp_path / "grown.bank", tmp_path / "rest.bank", ut.Bank(net(), seed=3)
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
        "seed": ut.mask_(net(), METHODS["signed"], seed=4),
        "weights": ut.mask_(net(), METHODS["signed"], seed=3, weights=ut.Standard()),
        "network": ut.mask_(ut.models.fc((24, 17), norm="batch", shape=(1, 6, 6)), METHODS["signed"], seed=3),
    }
    for what, model in wrong.items():
        with pytest.raises(ut.TicketError, match=f"its {what} must be"):
            filled(["signed"]).add(what, model)
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
    filled([first]).save(small)
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


# --- the golden file, and the second reader ---


def test_the_golden_file_is_read_by_both_readers(bank):
    # Made by: PYTHONPATH=src:tests python -c "import bank_mutations; bank_mutations.filled().save('tests/golden.bank')"
    shared, tickets = read_bank(GOLDEN.read_bytes())
    read = ut.Bank.load(GOLDEN)
    assert read.names == list(tickets) == bank.names
    assert (shared["seed"], shared["network"]["name"]) == (3, "fc")
    for name, data in tickets.items():
        held = read.use(name).state_dict()
        second, _ = read_ticket(data)
        assert second.keys() == held.keys()
        for each, (_, shape, content) in second.items():
            assert tuple(held[each].shape) == shape and held[each].numpy().tobytes() == content, each
        assert read.task(name).meta == bank.task(name).meta


def test_the_second_reader_reads_what_is_saved_now(path, bank):
    _, tickets = read_bank(path.read_bytes())
    for name, data in tickets.items():
        assert ut.Ticket.from_bytes(data).to_bytes() == bank.task(name).file


# --- hostile files ---


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_refused_or_the_same_or_verified(seed):
    fates = bank_mutations.main(60, seed)
    assert not fates["WRONG"] and fates["refused"] > 20 and fates["same"]


@pytest.fixture(scope="module")
def parts(bank):
    return Parts(bank)


def refused(path, data, why):
    path.write_bytes(data)
    with pytest.raises(ut.TicketError, match=rf"tasks\.bank: .*{why}"):
        ut.Bank.load(path, net())


def test_swapped_missing_and_repeated_records_are_found(parts, path):
    records, whole = parts.records(), path.read_bytes()
    for others in (records[::-1], records[:-1], [*records[:-1], records[0]], records[1:]):
        data = parts.file(records=others)
        count = len(records).to_bytes(8, "little")
        for head in (whole[:40], bank_mutations.with_numbers(data, count=count, digest=whole[32:40])):
            refused(path, head[:40] + data[40:], "")
    refused(path, parts.file(records=[records[0], records[0]]), "is there already")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("seed", 4, "task 'edge-popup': its seed must be"),
        ("seed", -1, "seed must be in"),
        ("seed", 3.0, "seed must be a int"),
        ("weights", {"name": "Standard", "scaled": False}, "task 'edge-popup': its weights must be"),
        ("weights", {"name": "Dense"}, "unknown weights law"),
        ("weights", None, "task 'edge-popup': its weights must be the model’s own"),
        ("network", {"name": "fc"}, "the network has missing or unknown fields: 'arguments'"),
        ("network", {"name": "conv2", "arguments": {}}, "task 'edge-popup': its network must be"),
        ("more", 1, "missing or unknown fields: 'more'"),
    ],
)
def test_a_lying_header_is_refused(field, value, why, parts, path):
    text = to_json(json.loads(parts.text) | {field: value}).encode()
    honest, parts.text = parts.text, text
    try:
        refused(path, parts.file(), why)
    finally:
        parts.text = honest


def test_a_network_that_cannot_be_built_is_refused(path):
    for arguments, why in ({"widths": [2**30]}, "widths"), ({"0": 1}, "0"):
        text = to_json({"network": {"name": "fc", "arguments": arguments}, "seed": 0, "weights": None}).encode()
        path.write_bytes(bank_mutations.assembled(container.text_bytes(text), []))
        with pytest.raises(ut.TicketError, match=rf"tasks\.bank: its network cannot be built: .*{why}"):
            ut.Bank.load(path)


def test_what_small_files_claim_takes_little_memory(parts, path):
    # Headers that inflate, numbers of tasks and of bytes that are not there, and tasks that are claimed many times.
    tensors, own = parts.tensors[0], parts.hashes[0]
    packed = container.deflate(b" " * 10**7, 9)
    bomb = own + len(packed).to_bytes(2, "little") + packed + tensors  # not a varint, or one that is too long
    claims = {
        "header": parts.file(records=[(b"a", bomb)]),
        "text": bank_mutations.assembled(container.coded.varint(len(packed)) + packed, []),
        "count": bank_mutations.with_numbers(path.read_bytes(), count=b"\xff" * 7 + b"\0"),
        "end": bank_mutations.with_numbers(path.read_bytes(), end=b"\xff" * 7 + b"\0"),
    }
    for data in claims.values():
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(ut.TicketError):
                ut.Bank.load(path)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


def test_tasks_together_may_claim_no_more_than_a_ticket(path, monkeypatch):
    filled(["edge-popup", "signed"]).save(path)
    monkeypatch.setattr("untrained.tickets.header.MOST_WEIGHTS_PER_BYTE", 2.4)
    assert ut.Bank.load(path, only=["signed"]).names == ["signed"]
    with pytest.raises(ut.TicketError, match=r"tasks\.bank: task 'signed': it claims 2,816 weights"):
        ut.Bank.load(path)


# --- a kill ---


def test_a_kill_leaves_the_old_bank_or_the_new_one():
    # In a process of its own, which has no threads that a fork would lose.
    script, places = TESTS / "bank_kills.py", f"{TESTS.parent / 'src'}:{TESTS}"
    environment = os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script, "20"], env=environment, capture_output=True, text=True, timeout=120)
    assert not done.stderr and sum(count for _, count in ast.literal_eval(done.stdout)) == 20


def test_every_moment_before_the_head_is_written_is_the_old_bank(bank, path, tmp_path):
    small, data = tmp_path / "small.bank", path.read_bytes()
    filled(bank.names[:-1]).save(small)
    old = small.read_bytes()
    for n in range(len(old), len(data), 7):
        path.write_bytes(old + data[len(old) : n])
        assert ut.Bank.load(path, only=()).names == []
        with file.opened(path) as read:
            assert read.names == bank.names[:-1]


def test_a_full_disk_leaves_the_file_as_it_was(bank, path, tmp_path, monkeypatch):
    small = tmp_path / "small.bank"
    filled(bank.names[:2]).save(small)
    before = small.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        change.append(small, bank._shared, bank.tasks[2])
    assert small.read_bytes() == before


def test_a_bank_that_is_read_as_a_ticket_is_called_a_bank(tmp_path):
    bank = ut.Bank(ut.models.fc((4,), shape=(3,)))
    bank.save(tmp_path / "none.bank")
    with pytest.raises(ut.TicketError, match=r"none\.bank: a bank of tasks, not a ticket"):
        ut.Ticket.load(tmp_path / "none.bank")


def test_a_part_of_a_bank_is_not_saved_over_the_whole(tmp_path):
    bank, path = ut.Bank(ut.models.fc((4,), shape=(3,))), tmp_path / "tasks.bank"
    for name in ("one", "other"):
        bank.add(name, bank.masked(ut.EdgePopup(keep=0.5)))
    bank.save(path)
    part, whole = ut.Bank.load(path, only=["one"]), path.read_bytes()
    with pytest.raises(ValueError, match="holds tasks that were not read"):
        part.save(path)
    assert path.read_bytes() == whole
    part.save(tmp_path / "part.bank")
    assert ut.Bank.load(tmp_path / "part.bank").names == ["one"]
    with pytest.raises(TypeError, match=r"only must be the names of tasks, such as \['one'\]"):
        ut.Bank.load(path, only="one")
