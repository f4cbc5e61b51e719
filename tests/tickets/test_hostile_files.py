"""Files made to break a reader: always a TicketError that names the file, soon, and never a wrong model."""

import random
import shutil
import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import untrained as ut
from hostile import (
    ATTACKS,
    EXPECTED,
    MAKERS,
    META,
    NO_TICKETS,
    SECONDS,
    TEXTS,
    TICKETS,
    VALUES,
    WEIGHT,
    both,
    changed,
    claiming,
    entry,
    fate,
    mixed,
    net,
    opened,
    ours,
    parent,
    places,
    rename,
    setting,
    state,
    storing,
    with_text,
)
from untrained import cli
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


def escapes(files, path):
    """What a reader must not do with these files: {label: what it did}."""
    wrong = {}
    for label, (data, name) in files.items():
        try:
            fate(data, name, path)
        except Exception as error:
            wrong[label] = f"{type(error).__name__}: {str(error)[:100]}"
    return wrong


@pytest.mark.parametrize("name", TICKETS)
def test_an_honest_ticket_survives_these_tools(name, path):
    # Otherwise everything below would be refused for a wrong hash.
    assert changed(name, lambda head, stored: None) == TICKETS[name]
    assert fate(TICKETS[name], name, path) == "same"
    ticket = ut.Ticket.load(path)
    assert ticket.to_bytes() == TICKETS[name]
    assert state(ticket.apply_(MAKERS[name]())) == EXPECTED[name]


# --- damage ---


@pytest.mark.parametrize("name", ["mixed", "ours"])
def test_a_truncated_file_is_refused(name, path):
    data = TICKETS[name]
    for hundredth in range(100):
        assert fate(data[: len(data) * hundredth // 100], name, path) == "refused"
    assert fate(data[:-1], name, path) == fate(data + b"\0", name, path) == "refused"


@pytest.mark.parametrize("name", ["mixed", "ours"])
def test_a_flipped_bit_never_gives_another_model(name, path):
    data, chance, fates = TICKETS[name], random.Random(0), []
    for bit in chance.sample(range(8 * len(data)), 200):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        fates.append(fate(bytes(flipped), name, path))
    assert fates.count("refused") > 190  # nearly every bit matters


@pytest.mark.parametrize("name", ["mixed", "ours"])
def test_damaged_stretches_never_give_another_model(name, path):
    data, chance = TICKETS[name], random.Random(1)
    for _ in range(40):
        start = chance.randrange(len(data))
        end = min(len(data), start + chance.randrange(1, 64))
        for middle in (b"", bytes(end - start), chance.randbytes(end - start), data[start:end] * 2):
            fate(data[:start] + middle + data[end:], name, path)


# --- one field of the header after the other ---

HEADS = {name: opened(data)[0] for name, data in TICKETS.items()}
# All of one header, but of its tensors one of each sort; the network of another; every field of every method and law.
SORTS = {"0.weight", "3.weight", "4.weight", "0.bias", "a"}
PLACES = [("mixed", place) for place in places(HEADS["mixed"])]
PLACES = [(n, p) for n, p in PLACES if p[0] not in ("tensors", "meta") or len(p) == 1 or p[1] in SORTS]
PLACES = [(n, p) for n, p in PLACES if p[:2] != ("methods", 0) and (p[0] != "meta" or len(p) < 3)]
PLACES += [("ours", place) for place in places(HEADS["ours"]) if place[0] == "network"]
PLACES += {
    (parent(head, place).get("name") if len(place) > 2 else place, place[-1], len(place)): (name, place)
    for name, head in HEADS.items() if name not in ("mixed", "ours")
    for place in places(head["methods"], ("methods",))
    if len(place) > 2
}.values()  # fmt: skip
PLACES += [("prototype", ("weights", field)) for field in HEADS["prototype"]["weights"]]
PLACES = [(n, p) for n, p in PLACES if p[-1] not in range(1, 99)]  # of a list the first will do


def spelled(value):
    return value if isinstance(value, str) else "/".join(map(str, value))


def mutations(name, place):
    """Every hostile change of one place: {label: (file, name)}."""
    files = {}
    for value in VALUES:
        if value != parent(HEADS[name], place)[place[-1]] and not (place[-1] == "length" and value in (2**31,)):
            change = lambda head, _, v=value: parent(head, place).__setitem__(place[-1], v)  # noqa: E731
            files[repr(value)[:40]] = changed(name, change), name
    files["without it"] = changed(name, lambda head, _: parent(head, place).__delitem__(place[-1])), name

    def more(head, _):
        above = parent(head, place)
        if isinstance(above, list):
            above.insert(place[-1], above[place[-1]])
        else:
            above["another"] = above[place[-1]]

    files["one more"] = changed(name, more), name
    return files


@pytest.mark.parametrize(("name", "place"), PLACES, ids=spelled)
def test_a_mutated_field_is_refused_or_harmless(name, place, path):
    assert escapes(mutations(name, place), path) == {}


def test_every_field_is_needed(path):
    # All but what is free, what may be left out, and the tensors, which are missed in the model.
    needed = [(name, place) for name, place in PLACES if isinstance(place[-1], str) and place[0] != "meta"]
    for name, place in needed:
        free = place[-1] in ("structure", "start") or (place[0] == "tensors" and len(place) == 2)
        if not free and (name != "ours" or len(place) < 2):
            data = changed(name, lambda head, _, place=place: parent(head, place).__delitem__(place[-1]))
            assert fate(data, name, path) == "refused", place


# --- attacks with some thought ---


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack, path):
    name, change = ATTACKS[attack]
    assert fate(changed(name, change), name, path) == "refused"


def test_a_forged_code_is_found_by_verify(path):
    # A load looks at 256 elements of a tensor; verify looks at all of them.
    n = 40 * 40
    sampled = {j * n // 256 for j in range(256)}

    def forge(head, stored):
        assert head["tensors"]["3.weight"]["coding"] == "bits"
        bits = np.unpackbits(stored["codes/3.weight"].numpy(), bitorder="little")
        kept, dropped = (next(i for i in range(n) if i not in sampled and bits[i] == code) for code in (1, 0))
        bits[[kept, dropped]] = 0, 1  # the counts stay as they were
        stored["codes/3.weight"] = torch.from_numpy(np.packbits(bits, bitorder="little"))

    path.write_bytes(changed("mixed", forge))
    with pytest.raises(ut.TicketError, match="sha256"):
        ut.Ticket.load(path).verify()


def test_a_ticket_for_another_model_leaves_it_alone(path):
    path.write_bytes(TICKETS["sparse"])
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 7))
    before = state(model)
    with pytest.raises(ut.TicketError, match="shape"):
        ut.load(path, model)
    assert state(model) == before


# --- memory ---

WIDE = setting("tensors/x", entry(shape=[2**40, 2]))
PADDED = both(claiming(2**31), setting("meta", {"a": "x" * 2**16}))


@pytest.mark.parametrize(
    ("change", "refused", "most"),
    [
        (claiming(2**45), True, 2**23),
        (claiming(2**34), True, 2**23),
        (WIDE, True, 2**23),
        (claiming(2**24), False, 4 * 2**24),  # equal codes take no byte of the file, and must take few of memory
        (PADDED, False, 2**24),  # 2³² of them, which a file of 64 kB may claim, take none before they are read
    ],
    ids=["2**45", "2**34", "whole", "2**24", "2**32"],
)
def test_a_claim_takes_little_memory(change, refused, most, path):
    path.write_bytes(changed("mixed", change))
    tracemalloc.start()
    try:
        if refused:
            with pytest.raises(ut.TicketError, match="claims"):
                ut.Ticket.load(path)
        else:
            ut.Ticket.load(path)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_many_values_of_a_tensor_that_is_only_claimed_are_refused(path):
    path.write_bytes(changed("slots", both(setting("methods/0/values", 127), claiming(2**24))))
    with pytest.raises(ut.TicketError, match="claims"):  # by 127 draws of each weight
        ut.Ticket.load(path)


@pytest.mark.parametrize("name", ["sparse", "slots", "redrawn", "prototype"])
def test_nothing_is_drawn_for_a_ticket_that_is_refused(name, path, monkeypatch):
    def drawn(*_, **__):
        raise AssertionError("weights were drawn")

    monkeypatch.setattr(WeightLaw, "draw", drawn)
    monkeypatch.setattr(Source, "uniforms", drawn)
    path.write_bytes(changed(name, claiming(2**45)))
    with pytest.raises(ut.TicketError, match=r"a\.ticket: it claims"):
        ut.load(path, net())


def too_large(*_, **__):
    raise MemoryError("Unable to allocate 8.00 GiB")


def too_large_for_torch(*_, **__):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize("failing", [too_large, too_large_for_torch])
@pytest.mark.parametrize(
    ("step", "run"),
    [
        ("untrained.tickets.file.decode_each", ut.Ticket.load),
        ("untrained.weights.source.Source.draw", lambda path: ut.Ticket.load(path).verify()),
        ("untrained.weights.source.Source.draw", lambda path: dict(ut.Ticket.load(path).rebuilt())),
        ("untrained.tickets.hashes.of_samples", lambda path: ut.load(path, ours())),
        ("untrained.tickets.networks.build", ut.load),
        ("untrained.tickets.ticket.encode", lambda path: ut.Ticket.load(path).encoded()),
    ],
)
def test_too_little_memory_is_a_ticket_error(step, run, failing, path, monkeypatch):
    path.write_bytes(TICKETS["ours"])
    monkeypatch.setattr(step, failing)
    with pytest.raises(ut.TicketError, match=r"more memory than there is .*allocate"):
        run(path)


def test_another_runtime_error_is_what_it_is(path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("another")

    path.write_bytes(TICKETS["ours"])
    monkeypatch.setattr("untrained.tickets.file.decode_each", broken)
    with pytest.raises(RuntimeError, match="another"):
        ut.Ticket.load(path)


# --- networks ---


@pytest.mark.parametrize("name", ["fc", "resnet50", "wide-resnet101"])
def test_a_large_network_of_a_small_file_gets_no_memory(name, path, monkeypatch):
    def allocates(*_, **__):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr("torch.nn.Module.to_empty", allocates)
    arguments = {"widths": [2**14, 2**13]} if name == "fc" else {}
    path.write_bytes(changed("ours", setting("network", {"name": name, "arguments": arguments})))
    with pytest.raises(ut.TicketError, match=r"has shape|is in the"):
        ut.load(path)


ARGUMENTS = [
    {"widths": [2**20, 2**10]}, {"widths": [1] * 33}, {"widths": "16"}, {"widths": 16}, {"widths": [[16]]},
    {"widths": [True], "shape": [1, 8, 8]}, {"widths": [16.0], "shape": [1, 8, 8]},
    {"widths": [-16], "shape": [1, 8, 8]}, {"widths": [10**400]}, {"shape": [2**20, 2**20, 2**20, 2**20]},
    {"shape": []}, {"classes": 0}, {"width": 1.0}, {"self": 1, "name": "fc"}, {"": 1},
    {"widths": [17], "shape": [1, 8, 8]}, {}, {"widths": None},
]  # fmt: skip
NAMES = ["", "FC", "Linear", "os.system", "__class__", "resnet18", "conv2\n", "\ud800"]


@pytest.mark.parametrize(
    "network",
    [{"name": "fc", "arguments": arguments} for arguments in ARGUMENTS]
    + [{"name": name, "arguments": {}} for name in NAMES],
    ids=lambda network: repr(network)[:60],
)
def test_a_hostile_network_is_refused(network, path):
    path.write_bytes(changed("ours", setting("network", network)))
    start = time.process_time()
    with pytest.raises(ut.TicketError, match=r"a\.ticket: "):
        ut.load(path)
    assert time.process_time() - start < SECONDS


# --- text that is no honest JSON, and files that are nothing of the kind ---


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_json_that_is_not_canonical_is_refused(change, path):
    assert fate(with_text("mixed", change), "mixed", path) == "refused"


@pytest.mark.parametrize(
    "place", ['"a":[1,{"b":0.5}]', '"name":"EdgePopup"', '"format":1', '"network":null', '"seed":42']
)
def test_deep_json_is_refused_or_harmless(place, path):
    files = {}
    for left, right in ("[]", ('{"a":', "}")):
        for depth in (5, 50, *range(140, 1100, 90), 5_000, 100_000):
            deep = place[: place.index(":") + 1] + left * depth + ("1" if right == "}" else "") + right * depth
            files[f"{left} {depth}"] = with_text("mixed", lambda text, deep=deep: text.replace(place, deep)), "mixed"
    assert escapes(files, path) == {}


STEERING = "\x1b[2J\n\u202e\x00verify   good"
NAMED = {
    "field": setting(STEERING, 1),
    "field of a tensor": setting(f"{WEIGHT}/{STEERING}", 1),
    "tensor": rename("0.weight", STEERING),
    "long tensor": rename("0.weight", "a" * 10**6),
    "method": setting("methods/0/name", STEERING),
    "method's field": setting(f"methods/0/{STEERING}", 1),
    "law": setting("weights/name", STEERING),
    "coding": setting(f"{WEIGHT}/coding", STEERING),
    "dtype": setting(f"{WEIGHT}/dtype", STEERING),
    "constant": setting("tensors/0.bias/constant", STEERING),
    "format": setting("format", STEERING * 10**4),
    "stored": storing(STEERING, torch.zeros(1)),
    "extra": storing(f"extra/{STEERING}", torch.zeros(1)),
}


@pytest.mark.parametrize("change", NAMED.values(), ids=NAMED)
def test_a_message_holds_nothing_raw_of_a_file(change, path):
    path.write_bytes(changed("mixed", change))
    with pytest.raises(ut.TicketError) as refused:
        ut.load(path, mixed())
    assert str(refused.value).isprintable() and len(str(refused.value)) < 3000


def test_a_large_header_is_read_or_refused_soon(path):
    meta = {"a": "x" * 10**6, "b": list(range(10**5))}
    assert fate(changed("mixed", setting("meta", meta)), "mixed", path) == "same"
    many = {str(i): entry(constant=1.0) for i in range(3000)}
    assert fate(changed("mixed", lambda head, _: head["tensors"].update(many)), "mixed", path) == "refused"


@pytest.mark.parametrize("data", NO_TICKETS.values(), ids=NO_TICKETS)
def test_what_is_no_ticket_is_refused(data, path):
    assert fate(data, "mixed", path) == "refused"


def test_a_path_without_a_file_is_refused(tmp_path):
    for wrong in (tmp_path / "nowhere.ticket", tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(ut.TicketError) as refused:
            ut.load(wrong, mixed())
        assert str(wrong) in str(refused.value)
        with pytest.raises(ut.TicketError):
            ut.Ticket.load(str(wrong))
    with pytest.raises(ut.TicketError):
        ut.load("a\0.ticket", mixed())


def test_a_file_that_cannot_be_read_is_refused(path, monkeypatch):
    # As root every file can be read, so the error is made.
    shutil.copy(__file__, path)

    def unreadable(*_, **__):
        raise PermissionError("permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", unreadable)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*permission denied"):
        ut.load(path, mixed())


# --- the command line ---

FILES = {
    "damaged": TICKETS["ours"][:-3],
    "flipped": TICKETS["ours"][:-3] + b"\xff" + TICKETS["ours"][-2:],
    "format 2": changed("ours", setting("format", 2)),
    "unknown method": changed("ours", setting("methods/0/name", "Magic\n\nMethod")),
    "method of a list": changed("ours", setting("methods/0/name", [])),
    "more tensors": changed("ours", storing("codes/x", torch.zeros(1, dtype=torch.uint8))),
    "deep": with_text("ours", lambda text: text.replace('"data":"digits"', '"data":' + "[" * 10**5 + "]" * 10**5)),
    **{f"not a ticket: {name}": NO_TICKETS[name] for name in ("empty", "random bytes", "text", "plain safetensors")},
}


def complaint(arguments, capsys):
    """The one line on standard error that the command ends with."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.err.startswith("untrained: ") and printed.err.endswith("\n")
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize("command", ["info", "eval", "verify"])
@pytest.mark.parametrize("data", [*FILES.values(), None], ids=[*FILES, "no file"])
def test_commands_end_with_one_line(command, data, path, capsys):
    if data is not None:
        path.write_bytes(data)
    assert str(path) in complaint([command, path], capsys)
    assert str(path.parent) in complaint([command, path.parent], capsys)


def test_commands_read_the_honest_ticket(path, capsys):
    path.write_bytes(TICKETS["ours"])
    for command, said in (("info", "KaimingNormal"), ("eval", "accuracy"), ("verify", "good")):
        cli.main([command, str(path)])
        assert said in capsys.readouterr().out


HOSTILE_META = {
    "shape": [5, None, [], {}, "x", [[8]], [1, 8, None]],
    "labels": [5, None, {}, []],
    "mean": [5, None, [], "x", [None], ["x"], [1.0, 2.0, 3.0], [[[1.0]]] * 2, {}],
    "std": [5, None, [], "x", [None], ["x"], [1.0, 2.0, 3.0], {}],
    "data": [5, None, [], {}, True],
}


@pytest.mark.parametrize("key", META)
def test_eval_refuses_meta_that_make_no_sense(key, path, capsys):
    changes = [setting(f"meta/{key}", value) for value in HOSTILE_META[key]]
    for change in (*changes, lambda head, _: head["meta"].pop(key)):
        path.write_bytes(changed("ours", change))
        assert str(path) in complaint(["eval", path], capsys)


@pytest.mark.parametrize(("command", "place"), [("info", "meta"), ("info", "network"), ("eval", "meta")])
def test_deep_facts_are_no_crash(command, place, path, capsys):
    key = '"data":"digits"' if place == "meta" else '"widths":[16]'
    for depth in range(100, 1000, 100):
        deep = key[: key.index(":") + 1] + "[" * depth + "]" * depth
        path.write_bytes(with_text("ours", lambda text, deep=deep: text.replace(key, deep)))
        try:
            cli.main([command, str(path)])
        except SystemExit as ended:
            assert ended.code == 2
    assert "Traceback" not in capsys.readouterr().err
