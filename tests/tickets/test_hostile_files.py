"""Files made to break a reader: always a TicketError that names the file, soon, and never a wrong model."""

import hashlib
import io
import json
import pickle
import random
import shutil
import struct
import time
import tracemalloc

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import untrained as ut
from untrained import cli
from untrained.models import build
from untrained.tickets import header

SECONDS = 5  # of processor time, for any one file
META = {"data": "digits", "labels": list("0123456789"), "shape": [1, 8, 8], "mean": [0.5], "std": [0.5]}

# --- honest tickets, and tools to break them ---


def mixed():
    """Masked, whole, constant and stored tensors, two of one shape."""
    layers = nn.Linear(8, 40), nn.BatchNorm1d(40), nn.Linear(40, 40), nn.Linear(40, 40), nn.Linear(40, 2)
    return nn.Sequential(*layers)


def ours():
    return build("fc", widths=[16], shape=[1, 8, 8])


MAKERS = {"mixed": mixed, "ours": ours}


def make_ticket(name):
    law = ut.KaimingNormal(scaled=True)  # so that seed, keep and law all matter
    if name == "ours":
        return ut.Ticket.of(ut.mask_(ours(), ut.EdgePopup(0.3), seed=42, weights=law), META)
    rules = {"[02].weight": ut.EdgePopup(0.05), "3.weight": ut.RandomSubnetwork(0.5)}
    return ut.Ticket.of(ut.mask_(mixed(), rules, seed=42, weights=law), {"a": [1, {"b": 0.5}]})


def state(model):
    """The bits of a model; a NaN is equal to itself."""
    tensors = model.state_dict().items()
    return {n: (t.dtype, t.shape, t.contiguous().reshape(-1).view(torch.uint8).tolist()) for n, t in tensors}


TICKETS = {name: make_ticket(name).to_bytes() for name in MAKERS}
EXPECTED = {name: state(make_ticket(name).apply_(make())) for name, make in MAKERS.items()}


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def opened(data):
    """(header without its hash, stored tensors) of a ticket's bytes."""
    size = int.from_bytes(data[:8], "little")
    head = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["untrained"])
    del head["sha256"]
    return head, safetensors.torch.load(data)


def closed(text, stored):
    """A ticket of this header, as text without its last brace, and its true hash, as an attacker would make it."""
    digest = hashlib.sha256((text + "}").encode())
    for name, tensor in sorted(stored.items()):
        dtype, shape = str(tensor.dtype).removeprefix("torch."), ",".join(map(str, tensor.shape))
        digest.update(f"\n{name} {dtype} {shape}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    # The hash is put where canonical JSON wants it.
    before, separator, after = text.rpartition(',"tensors":')
    assert separator
    text = f'{before},"sha256":"{digest.hexdigest()}"{separator}{after}}}'
    return safetensors.torch.save(stored, metadata={"untrained": text})


def changed(name, change):
    """An honest ticket after `change(head, stored)`, with its hash made again."""
    head, stored = opened(TICKETS[name])
    change(head, stored)
    if "tensors" not in head:  # nothing to order by: the hash will be missed
        return safetensors.torch.save(stored, metadata={"untrained": canonical(head)})
    return closed(canonical(head)[:-1], stored)


def fate(data, name, path):
    """ "refused" or "same"; whatever else happens is an error of the reader."""
    path.write_bytes(data)
    model, start = MAKERS[name](), time.process_time()
    before = state(model)
    try:
        loaded = ut.load(path, model)
    except ut.TicketError as error:
        assert str(error).startswith(f"{path}: ")
        assert state(model) == before
        return "refused"
    finally:
        assert time.process_time() - start < SECONDS
    assert state(loaded) == EXPECTED[name]
    return "same"


def also_elsewhere(path):
    """Whatever loads as a ticket can be used as one, or raises a TicketError."""
    try:
        ut.Ticket.load(path).verify()
        ut.summary(path)
    except ut.TicketError:
        pass


def escapes(files, name, path):
    """What a reader must not do with these files: {label: what it did}."""
    wrong = {}
    for label, data in files.items():
        try:
            fate(data, name, path)
            also_elsewhere(path)
        except Exception as error:
            wrong[label] = f"{type(error).__name__}: {str(error)[:100]}"
    return wrong


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


@pytest.mark.parametrize("name", MAKERS)
def test_an_honest_ticket_survives_these_tools(name, path):
    # Otherwise everything below would be refused for a wrong hash.
    assert changed(name, lambda head, stored: None) == TICKETS[name]
    assert fate(TICKETS[name], name, path) == "same"


# --- damage ---


@pytest.mark.parametrize("name", MAKERS)
def test_a_truncated_file_is_refused(name, path):
    data = TICKETS[name]
    for hundredth in range(100):
        assert fate(data[: len(data) * hundredth // 100], name, path) == "refused"
    assert fate(data[:-1], name, path) == fate(data + b"\0", name, path) == "refused"


@pytest.mark.parametrize("name", MAKERS)
def test_a_flipped_bit_never_gives_another_model(name, path):
    data, chance, fates = TICKETS[name], random.Random(0), []
    for bit in chance.sample(range(8 * len(data)), 300):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        fates.append(fate(bytes(flipped), name, path))
    assert fates.count("refused") > 290  # nearly every bit matters


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_stretches_never_give_another_model(name, path):
    data, chance = TICKETS[name], random.Random(1)
    for _ in range(60):
        start = chance.randrange(len(data))
        end = min(len(data), start + chance.randrange(1, 64))
        for middle in (b"", bytes(end - start), chance.randbytes(end - start), data[start:end] * 2):
            fate(data[:start] + middle + data[end:], name, path)


# --- one field of the header after the other ---

VALUES = [
    None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, -0.5, 1e300, 1e-300, 5e-324, "", "x",
    "\ud800", "\x00\x1b\n", "EdgePopup", "float16", [], [[]], [None], [-1], [0, 10**30], [2**40, 2**40], {},
    {"name": []}, {"name": {}}, {"name": "WeightLaw"}, {"name": "Dense"}, {"name": "Dense", "x": 1},
    {"name": "Standard"},
]  # fmt: skip


def places(value, place=()):
    """All places in a JSON value, as tuples of keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*place, key)
        yield from places(value[key], (*place, key))


def spelled(place):
    return "/".join(map(str, place))


def parent(head, place):
    for key in place[:-1]:
        head = head[key]
    return head


def mutations(name, place):
    """Every hostile change of one place: {label: file}."""
    honest, _ = opened(TICKETS[name])
    changes = {repr(value)[:40]: value for value in VALUES if value != parent(honest, place)[place[-1]]}
    files = {}
    for label, value in changes.items():
        files[label] = changed(name, lambda head, _, v=value: parent(head, place).__setitem__(place[-1], v))
    files["without it"] = changed(name, lambda head, _: parent(head, place).__delitem__(place[-1]))

    def more(head, _):
        above = parent(head, place)
        if isinstance(above, list):
            above.insert(place[-1], above[place[-1]])
        else:
            above["another"] = above[place[-1]]

    files["one more"] = changed(name, more)
    return files


PLACES = [("mixed", place) for place in places(opened(TICKETS["mixed"])[0])]
PLACES += [("ours", place) for place in places(opened(TICKETS["ours"])[0]) if place[0] == "network"]


@pytest.mark.parametrize(
    ("name", "place"), PLACES, ids=lambda value: value if isinstance(value, str) else spelled(value)
)
def test_a_mutated_field_is_refused_or_harmless(name, place, path):
    assert escapes(mutations(name, place), name, path) == {}


# All but what is free, and the tensors, which are missed in the model.
FIELDS = [place for name, place in PLACES if name == "mixed" and isinstance(place[-1], str)]
FIELDS = [place for place in FIELDS if place[0] != "meta" and not (place[0] == "tensors" and len(place) == 2)]


@pytest.mark.parametrize("place", FIELDS, ids=spelled)
def test_a_field_is_needed(place, path):
    data = changed("mixed", lambda head, _: parent(head, place).__delitem__(place[-1]))
    assert fate(data, "mixed", path) == "refused"


# --- attacks with some thought ---


def entry(**fields):
    return {"shape": [2, 2], "dtype": "float32", **fields}


def empty_masked(shape):
    """Codes without elements cost nothing, so any shape that holds a 0 could pass."""

    def change(head, stored):
        head["tensors"]["0.weight"].update(shape=shape, values=[], counts=[], coding="bits")
        stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)

    return change


def claiming(n, **fields):
    def change(head, stored):
        head["tensors"]["0.weight"].update(shape=[n // 8, 8], values=[1], counts=[n], coding="bits", **fields)
        stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)

    return change


def setting(place, value):
    return lambda head, stored: parent(head, place).__setitem__(place[-1], value)


def storing(name, tensor):
    return lambda head, stored: stored.__setitem__(name, tensor)


def swap(first, second):
    def change(head, stored):
        stored[first], stored[second] = stored[second], stored[first]

    return change


def swap_entries(head, stored):
    """Everything of two tensors of one shape, but for their names."""
    tensors = head["tensors"]
    tensors["2.weight"], tensors["3.weight"] = tensors["3.weight"], tensors["2.weight"]
    swap("codes/2.weight", "codes/3.weight")(head, stored)


def rename(old, new):
    def change(head, stored):
        head["tensors"][new] = head["tensors"].pop(old)
        if f"codes/{old}" in stored:
            stored[f"codes/{new}"] = stored.pop(f"codes/{old}")

    return change


def drop(*names):
    def change(head, stored):
        for name in names:
            stored.pop(f"codes/{name}", None)
            stored.pop(f"extra/{name}", None)
            head["tensors"].pop(name, None)

    return change


def drop_stored(name):
    return lambda head, stored: stored.pop(name)


WEIGHT, CODES = ("tensors", "0.weight"), "codes/0.weight"
ATTACKS = {
    "format 0": setting(("format",), 0),
    "format 2": setting(("format",), 2),
    "format 1.0": setting(("format",), 1.0),
    "format true": setting(("format",), True),
    "unknown law": setting(("weights",), {"name": "Cauchy", "scaled": False}),
    "law that is a method": setting(("weights",), {"name": "Dense"}),
    "no law": setting(("weights",), None),
    "scaled is 0": setting(("weights", "scaled"), 0),
    "unknown method": setting(("methods", 0, "name"), "Magic"),
    "method that is a law": setting(("methods", 0), {"name": "Standard", "scaled": False}),
    "method out of range": setting((*WEIGHT, "method"), 2),
    "negative method": setting((*WEIGHT, "method"), -1),
    "no methods": setting(("methods",), []),
    "keep of nothing": setting(("methods", 0, "keep"), 5e-324),
    "keep of hardly anything": setting(("methods", 0, "keep"), 1e-300),
    "keep 0": setting(("methods", 0, "keep"), 0.0),
    "keep of an integer": setting(("methods", 0, "keep"), 1),
    "another seed": setting(("seed",), 43),
    "seed 2**64": setting(("seed",), 2**64),
    "seed -1": setting(("seed",), -1),
    "huge seed": setting(("seed",), 10**4000),
    "unknown coding": setting((*WEIGHT, "coding"), "zip"),
    "unknown dtype": setting((*WEIGHT, "dtype"), "int8"),
    "narrower dtype": setting((*WEIGHT, "dtype"), "float16"),
    "constant out of float32": setting(("tensors", "0.bias", "constant"), 1e300),
    "another constant": setting(("tensors", "0.bias", "constant"), -1e-30),
    "negative zero": setting(("tensors", "0.bias", "constant"), -0.0),
    "negative shape": setting((*WEIGHT, "shape"), [-40, -8]),
    "transposed shape": setting((*WEIGHT, "shape"), [8, 40]),
    "flat shape": setting((*WEIGHT, "shape"), [320]),
    "scalar shape": setting((*WEIGHT, "shape"), []),
    "shape of 65 dimensions": setting((*WEIGHT, "shape"), [40, 8] + [1] * 63),
    "shape of 64 dimensions": setting((*WEIGHT, "shape"), [40, 8] + [1] * 62),
    "shape of booleans": setting((*WEIGHT, "shape"), [True, True]),
    "shape of floats": setting((*WEIGHT, "shape"), [40.0, 8.0]),
    "huge shape": setting((*WEIGHT, "shape"), [2**62, 2**62]),
    "empty and huge shape": empty_masked([0, 10**30]),
    "empty and overflowing shape": empty_masked([0, 2**62, 2**62]),
    "huge and empty shape": empty_masked([2**63, 0]),
    "empty shape": empty_masked([0, 8]),
    "counts of others": setting((*WEIGHT, "counts"), [160, 160]),
    "negative count": setting((*WEIGHT, "counts"), [-1, 321]),
    "huge counts": setting((*WEIGHT, "counts"), [2**63, 320 - 2**63]),
    "values too large": setting((*WEIGHT, "values"), [0, 300]),
    "values in disorder": setting((*WEIGHT, "values"), [1, 0]),
    "no values": setting((*WEIGHT, "values"), []),
    "no tensors": setting(("tensors",), {}),
    "only constants": lambda head, stored: drop("0.weight", "2.weight", "3.weight")(head, stored),
    "a tensor less": drop("0.weight"),
    "codes less": drop_stored(CODES),
    "running mean less": drop_stored("extra/1.running_mean"),
    "codes more": storing("codes/9.weight", torch.zeros(3, dtype=torch.uint8)),
    "codes of a constant": storing("codes/0.bias", torch.zeros(3, dtype=torch.uint8)),
    "extra more": storing("extra/9.weight", torch.zeros(3)),
    "extra of a masked tensor": storing("extra/0.weight", torch.zeros(40, 8)),
    "extra of a constant": storing("extra/0.bias", torch.zeros(40)),
    "extra without a name": storing("extra/", torch.zeros(1)),
    "stored under no folder": storing("weights", torch.zeros(3)),
    "codes without a name": storing("codes/", torch.zeros(3, dtype=torch.uint8)),
    "running mean of another shape": storing("extra/1.running_mean", torch.zeros(41)),
    "running mean of another dtype": storing("extra/1.running_mean", torch.zeros(40, dtype=torch.float64)),
    "running mean of integers": storing("extra/1.running_mean", torch.zeros(40, dtype=torch.int32)),
    "running mean of eight bits": storing("extra/1.running_mean", torch.zeros(40).to(torch.float8_e4m3fn)),
    "complex running mean": storing("extra/1.running_mean", torch.zeros(40, dtype=torch.complex64)),
    "scalar running mean": storing("extra/1.running_mean", torch.zeros(())),
    "codes of bools": storing(CODES, torch.zeros(40, dtype=torch.bool)),
    "codes of int8": storing(CODES, torch.zeros(40, dtype=torch.int8)),
    "codes of floats": storing(CODES, torch.zeros(10)),
    "codes of two dimensions": storing(CODES, torch.zeros(2, 20, dtype=torch.uint8)),
    "scalar codes": storing(CODES, torch.zeros((), dtype=torch.uint8)),
    "no code bytes": storing(CODES, torch.zeros(0, dtype=torch.uint8)),
    "random codes": storing(CODES, torch.arange(24, dtype=torch.uint8) * 37 + 5),
    "many code bytes": storing(CODES, torch.zeros(10**5, dtype=torch.uint8)),
    "swapped codes": swap("codes/2.weight", "codes/3.weight"),
    "swapped tensors": swap_entries,
    "swapped statistics": rename("0.bias", "2.bias"),
    "another name": rename("0.weight", "0.weights"),
    "name of nothing": rename("0.weight", ""),
    "name with a slash": rename("0.weight", "../0.weight"),
    "constant with a lone surrogate": rename("0.bias", "\ud800"),
    "whole tensor with a lone surrogate": rename("4.weight", "\udfff"),
    "constant, empty and huge": setting(("tensors", "x"), entry(shape=[0, 10**30], constant=1.0)),
    "constant, empty and overflowing": setting(("tensors", "x"), entry(shape=[0, 2**62, 2**62], constant=1.0)),
    "whole, empty and huge": setting(("tensors", "x"), entry(shape=[0, 10**30])),
    "constant and whole": setting(("tensors", "0.bias", "constant"), None),
    "constant and masked": setting((*WEIGHT, "constant"), 1.0),
    "one dimension, whole": setting(("tensors", "x"), entry(shape=[4])),
    "network of nothing": setting(("network",), {}),
    "network with more": setting(("network",), {"name": "fc", "arguments": {}, "x": 1}),
    "meta in a list": setting(("meta",), []),
    "hash of the weights": setting(("sample_sha256",), "0" * 64),
    "hash of no weights": setting(("sample_sha256",), ""),
    "claims all memory": claiming(2**45),
    "claims all memory, whole": setting(("tensors", "x"), entry(shape=[2**45, 2])),
    "claims all memory, constant": setting(("tensors", "x"), entry(shape=[2**45], constant=0.0)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack, path):
    data = changed("mixed", ATTACKS[attack])
    assert fate(data, "mixed", path) == "refused"
    also_elsewhere(path)


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


@pytest.mark.parametrize(
    "change", [claiming(2**45), claiming(2**34), setting(("tensors", "x"), entry(shape=[2**40, 2]))]
)
def test_what_asks_for_too_much_is_refused_before_it_has_any(change, path):
    data = changed("mixed", change)
    tracemalloc.start()
    try:
        assert fate(data, "mixed", path) == "refused"
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_what_may_be_asked_for_takes_few_bytes_a_weight(path):
    # Codes that are all equal take no byte of the file: the reader must not take many of its memory.
    n = 2**24
    path.write_bytes(changed("mixed", claiming(n)))
    tracemalloc.start()
    try:
        ut.Ticket.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * n
    finally:
        tracemalloc.stop()


def test_equal_codes_take_no_memory_before_they_are_looked_at(path):
    # 2³² of them, which a file of 64 kB may claim.
    path.write_bytes(changed("mixed", both(claiming(2**31), setting(("meta",), {"a": "x" * 2**16}))))
    tracemalloc.start()
    try:
        ut.Ticket.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("weights", "file_bytes", "allowed"),
    [(2**26, 2**10, True), (2**26 + 8, 2**10, False), (2**32, 2**20, True), (2**32 + 8, 2**20, False),
     (2**34, 2**24, True), (2**34 + 8, 2**24, False)],
)  # fmt: skip
def test_a_bound_on_what_a_file_may_claim(weights, file_bytes, allowed):
    tensors = {"w": header.TensorEntry((weights // 8, 8), torch.float32, ut.Dense())}
    if allowed:
        header.check_expansion(tensors, file_bytes)
    else:
        with pytest.raises(ut.TicketError, match="claims"):
            header.check_expansion(tensors, file_bytes)


def both(first, second):
    def change(head, stored):
        first(head, stored)
        second(head, stored)

    return change


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
        ("untrained.tickets.ticket.build", ut.load),
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
    path.write_bytes(changed("ours", setting(("network",), {"name": name, "arguments": arguments})))
    with pytest.raises(ut.TicketError, match=r"has shape|is in the"):
        ut.load(path)


ARGUMENTS = {
    "a billion weights": {"widths": [2**20, 2**10]},
    "many layers": {"widths": [1] * 33},
    "no list": {"widths": "16"},
    "an integer": {"widths": 16},
    "a nested list": {"widths": [[16]]},
    "a boolean": {"widths": [True], "shape": [1, 8, 8]},
    "a float": {"widths": [16.0], "shape": [1, 8, 8]},
    "a negative width": {"widths": [-16], "shape": [1, 8, 8]},
    "a huge integer": {"widths": [10**400]},
    "a huge shape": {"shape": [2**20, 2**20, 2**20, 2**20]},
    "no shape": {"shape": []},
    "no class": {"classes": 0},
    "another argument": {"width": 1.0},
    "self": {"self": 1, "name": "fc"},
    "no name": {"": 1},
    "other sizes": {"widths": [17], "shape": [1, 8, 8]},
    "the default": {},
    "null": {"widths": None},
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_a_hostile_network_is_refused(arguments, path):
    path.write_bytes(changed("ours", setting(("network", "arguments"), arguments)))
    start = time.process_time()
    with pytest.raises(ut.TicketError, match=r"a\.ticket: "):
        ut.load(path)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("name", ["", "FC", "Linear", "os.system", "__class__", "resnet18", "conv2\n", "\ud800"])
def test_an_unknown_network_is_refused(name, path):
    path.write_bytes(changed("ours", setting(("network",), {"name": name, "arguments": {}})))
    with pytest.raises(ut.TicketError, match=r"a\.ticket: "):
        ut.load(path)


# --- JSON that is no honest JSON ---


def with_text(name, change):
    head, stored = opened(TICKETS[name])
    text = canonical(head)
    changed_text = change(text)
    assert changed_text != text
    return closed(changed_text[:-1], stored) if changed_text.endswith("}") and '"tensors":' in changed_text else (
        safetensors.torch.save(stored, metadata={"untrained": changed_text})
    )  # fmt: skip


TEXTS = {
    "NaN": lambda text: text.replace('"constant":0.0', '"constant":NaN', 1),
    "infinity": lambda text: text.replace('"constant":0.0', '"constant":Infinity', 1),
    "overflow": lambda text: text.replace('"constant":0.0', '"constant":1e999', 1),
    "another spelling of a float": lambda text: text.replace('"constant":0.0', '"constant":0.00', 1),
    "exponent": lambda text: text.replace('"seed":42', '"seed":42e0'),
    "leading zero": lambda text: text.replace('"seed":42', '"seed":042'),
    "more digits than Python reads": lambda text: text.replace('"seed":42', '"seed":' + "4" * 5000),
    "a space": lambda text: text.replace('"seed":42', '"seed": 42'),
    "a line": lambda text: "\n" + text,
    "an escape that is not needed": lambda text: text.replace('"seed"', '"\\u0073eed"'),
    "not ASCII": lambda text: text.replace('"producer":"', '"producer":"é'),
    "one field twice": lambda text: text.replace('"seed":42', '"seed":41,"seed":42'),
    "disorder": lambda text: text.replace('{"format":1,', "{", 1)[:-1] + ',"format":1}',
    "a comment": lambda text: text + "/**/",
    "two objects": lambda text: text + text,
    "a list": lambda text: f"[{text}]",
    "a string": lambda text: json.dumps(text),
    "null": lambda text: "null",
    "nothing": lambda text: "",
    "a byte order mark": lambda text: "\ufeff" + text,
    "a null character": lambda text: text + "\0",
    "unfinished": lambda text: text[:-1],
    "no fields": lambda text: "{}",
}


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_json_that_is_not_canonical_is_refused(change, path):
    assert fate(with_text("mixed", change), "mixed", path) == "refused"


@pytest.mark.parametrize(
    "place", ['"a":[1,{"b":0.5}]', '"name":"EdgePopup"', '"format":1', '"network":null', '"seed":42']
)
def test_deep_json_is_refused_or_harmless(place, path):
    files = {}
    for left, right in ("[]", ('{"a":', "}")):
        for depth in (*range(5, 1100, 45), 5_000, 100_000):
            deep = left * depth + ("1" if right == "}" else "") + right * depth
            key = place[: place.index(":") + 1]
            files[f"{left} {depth}"] = with_text(
                "mixed", lambda text, key=key, deep=deep: text.replace(place, key + deep)
            )
    assert escapes(files, "mixed", path) == {}


STEERING = "\x1b[2J\n\u202e\x00verify   good"
NAMED = {
    "field": lambda head, _: head.update({STEERING: 1}),
    "field of a tensor": lambda head, _: head["tensors"]["0.weight"].update({STEERING: 1}),
    "tensor": rename("0.weight", STEERING),
    "long tensor": rename("0.weight", "a" * 10**6),
    "method": setting(("methods", 0, "name"), STEERING),
    "method's field": lambda head, _: head["methods"][0].update({STEERING: 1}),
    "law": setting(("weights", "name"), STEERING),
    "coding": setting((*WEIGHT, "coding"), STEERING),
    "dtype": setting((*WEIGHT, "dtype"), STEERING),
    "constant": setting(("tensors", "0.bias", "constant"), STEERING),
    "format": setting(("format",), STEERING * 10**4),
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
    assert fate(changed("mixed", setting(("meta",), meta)), "mixed", path) == "same"
    many = {str(i): entry(constant=1.0) for i in range(3000)}
    assert fate(changed("mixed", lambda head, _: head["tensors"].update(many)), "mixed", path) == "refused"


# --- safetensors that are no tickets, and files that are nothing of the kind ---


def container(index, data=b""):
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    return struct.pack("<Q", len(text)) + text + data


def line(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Bomb:
    """Unpickled, it would fail the test."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


TEXT = json.loads(TICKETS["mixed"][8 : 8 + int.from_bytes(TICKETS["mixed"][:8], "little")])["__metadata__"]["untrained"]
NO_TICKETS = {
    "empty": b"",
    "one byte": b"\0",
    "eight zeros": bytes(8),
    "zeros": bytes(4096),
    "random bytes": random.Random(2).randbytes(4096),
    "text": b"This is not a ticket.\n" * 50,
    "its own header": TEXT.encode(),
    "a pickle": pickle.dumps(Bomb()),
    "a checkpoint of torch": saved({"weight": torch.zeros(3)}),
    "numpy's": np.lib.format.magic(1, 0) + bytes(500),
    "plain safetensors": safetensors.torch.save({"codes/w": torch.zeros(3, dtype=torch.uint8)}),
    "safetensors of others": safetensors.torch.save({"w": torch.zeros(3)}, metadata={"format": "pt"}),
    "safetensors of nothing": container({}),
    "no tensors": container({"__metadata__": {"untrained": TEXT}}),
    "metadata that are no text": container({"__metadata__": {"untrained": json.loads(TEXT)}}),
    "metadata in a list": container({"__metadata__": ["untrained", TEXT]}),
    "a header larger than the file": struct.pack("<Q", 2**20) + b"{}",
    "a header larger than anything": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a header that is no JSON": container(b"{" * 100),
    "a deep header": container(b"[" * 100_000),
    "a header that is not UTF-8": container(b'{"\xff":1}'),
    "data outside the file": container({"w": line("U8", [9], 0, 9)}),
    "offsets in reverse": container({"w": line("U8", [0], 9, 0)}, bytes(9)),
    "data that overlap": container({"a": line("U8", [9], 0, 9), "b": line("U8", [9], 0, 9)}, bytes(9)),
    "a shape that overflows": container({"w": line("F32", [2**62, 2**62], 0, 4)}, bytes(4)),
    "a negative shape": container({"w": line("U8", [-1], 0, 1)}, bytes(1)),
    "an unknown dtype": container({"w": line("F7", [1], 0, 1)}, bytes(1)),
    **{
        f"an extra of {dtype}": container(
            {"__metadata__": {"untrained": TEXT}, "extra/w": line(dtype, [24], 0, size)}, bytes(size)
        )
        for dtype, size in {"F4": 12, "F6_E2M3": 18, "F8_E8M0": 24, "C64": 192, "U64": 192, "BOOL": 24}.items()
    },
}


@pytest.mark.parametrize("data", NO_TICKETS.values(), ids=NO_TICKETS)
def test_what_is_no_ticket_is_refused(data, path):
    assert fate(data, "mixed", path) == "refused"


def test_bools_that_are_neither_are_no_crash(path):
    # A byte of 3 is no bool; torch must not be asked to make something of it.
    index = {"__metadata__": {"untrained": TEXT}, "extra/w": line("BOOL", [8], 0, 8)}
    assert fate(container(index, b"\3" * 8), "mixed", path) == "refused"


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for wrong in (tmp_path / "nowhere.ticket", tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(ut.TicketError) as refused:
            ut.load(wrong, mixed())
        assert str(wrong) in str(refused.value)
        with pytest.raises(ut.TicketError):
            ut.Ticket.load(str(wrong))


def test_a_name_with_a_null_character_is_refused():
    with pytest.raises(ut.TicketError):
        ut.load("a\0.ticket", mixed())


# --- the command line ---

FILES = {
    "damaged": TICKETS["ours"][:-3],
    "flipped": TICKETS["ours"][:-3] + b"\xff" + TICKETS["ours"][-2:],
    "format 2": changed("ours", setting(("format",), 2)),
    "unknown method": changed("ours", setting(("methods", 0, "name"), "Magic\n\nMethod")),
    "method of a list": changed("ours", setting(("methods", 0, "name"), [])),
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
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_commands_end_with_one_line(command, data, path, capsys):
    path.write_bytes(data)
    assert str(path) in complaint([command, path], capsys)


@pytest.mark.parametrize("command", ["info", "eval", "verify"])
def test_commands_without_a_file_end_with_one_line(command, tmp_path, capsys):
    for wrong in (tmp_path, tmp_path / "nowhere.ticket"):
        assert str(wrong) in complaint([command, wrong], capsys)


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


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in HOSTILE_META.items() for value in values], ids=repr
)
def test_eval_refuses_meta_that_make_no_sense(key, value, path, capsys):
    path.write_bytes(changed("ours", setting(("meta", key), value)))
    assert str(path) in complaint(["eval", path], capsys)


@pytest.mark.parametrize("key", META)
def test_eval_needs_its_meta(key, path, capsys):
    path.write_bytes(changed("ours", lambda head, _: head["meta"].pop(key)))
    assert str(path) in complaint(["eval", path], capsys)


@pytest.mark.parametrize(("command", "place"), [("info", "meta"), ("info", "network"), ("eval", "meta")])
def test_deep_facts_are_no_crash(command, place, path, capsys):
    key = '"data":"digits"' if place == "meta" else '"widths":[16]'
    for depth in range(100, 1000, 50):
        deep = key[: key.index(":") + 1] + "[" * depth + "]" * depth
        path.write_bytes(with_text("ours", lambda text, deep=deep: text.replace(key, deep)))
        try:
            cli.main([command, str(path)])
        except SystemExit as ended:
            assert ended.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_refused(path, monkeypatch):
    # As root every file can be read, so the error is made.
    shutil.copy(__file__, path)

    def unreadable(*_, **__):
        raise PermissionError("permission denied")

    monkeypatch.setattr("untrained.tickets.file.safe_open", unreadable)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*permission denied"):
        ut.load(path, mixed())
