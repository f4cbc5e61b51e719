"""Tickets made to break a reader: honest ones, tools to change them, and one table of attacks."""

import functools
import hashlib
import io
import json
import pickle
import random
import struct
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import untrained as ut
from untrained.models import build
from untrained.tickets import header

SECONDS = 5  # of processor time, for any one file
META = {"data": "digits", "labels": list("0123456789"), "shape": [1, 8, 8], "mean": [0.5], "std": [0.5]}
LAW = ut.KaimingNormal(scaled=True)  # so that seed, keep and law all matter

# --- honest tickets ---


def mixed():
    """Masked, whole, constant and stored tensors, two of one shape."""
    layers = nn.Linear(8, 40), nn.BatchNorm1d(40), nn.Linear(40, 40), nn.Linear(40, 40), nn.Linear(40, 2)
    return nn.Sequential(*layers)


def ours():
    return build("fc", widths=[16], shape=[1, 8, 8])


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))


# Methods with nested parts, several draws, or codes with a meaning of their own.
METHODS = {
    "popup": ut.EdgePopup(0.3), "blocks": ut.EdgePopup(0.5, structure=ut.Block(2, 3)),
    "groups": ut.EdgePopup(0.5, structure=ut.NofM(2, 4)), "biprop": ut.Biprop(0.3), "coats": ut.Multicoated(0.4, 3),
    "slots": ut.SlotMachines(4), "redrawn": ut.IteRand(0.4), "gems": ut.GemMiner(0.4),
    "nudged": ut.Nudge(0.5, 2), "levels": ut.Nudge(1.0, 3, "zero"),"rescaled": ut.Bernoulli(),
    "federated": ut.FedPM(), "gates": ut.RelaxedBernoulli(sparsity=0.5), "signed": ut.SignedSupermask(),
    "ternary": ut.Threshold(0.1, True), "sparse": ut.PartlyFrozen(ut.EdgePopup(0.3), pruned=0.3, locked=0.1),
    "sparse coats": ut.PartlyFrozen(ut.Multicoated(0.3), pruned=0.2),
}  # fmt: skip
MAKERS = {"mixed": mixed, "ours": ours, "prototype": net, **dict.fromkeys(METHODS, net)}


def masked(method, law="recommended", model=None):
    """A masked net whose scores have moved."""
    model = ut.mask_(net() if model is None else model, method, seed=3, weights=law)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.copy_(torch.rand(scores.shape, generator=generator) * 2 - 0.9)
    return model


def masked_as(name):
    """The masked model of a ticket, and the facts in it."""
    if name == "ours":
        return ut.mask_(ours(), ut.EdgePopup(0.3), seed=42, weights=LAW), META
    if name == "mixed":
        rules = {"[02].weight": ut.EdgePopup(0.05), "3.weight": ut.RandomSubnetwork(0.5)}
        return ut.mask_(mixed(), rules, seed=42, weights=LAW), {"a": [1, {"b": 0.5}]}
    if name == "prototype":
        return masked(ut.EdgePopup(0.3), ut.Prototype(length=10)), None
    return masked(METHODS[name], LAW), None


def state(model):
    """The bits of a model; a NaN is equal to itself."""
    tensors = model.state_dict().items()
    return {n: (t.dtype, t.shape, t.contiguous().reshape(-1).view(torch.uint8).tolist()) for n, t in tensors}


TICKETS = {name: ut.Ticket.of(*masked_as(name)).to_bytes(1) for name in MAKERS}
EXPECTED = {name: state(ut.bake_(masked_as(name)[0])) for name in MAKERS}

# --- tools ---


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


@functools.cache
def _opened_once(name):
    head, stored = opened(TICKETS[name])
    return canonical(head), stored


def changed(name, change):
    """An honest ticket after `change(head, stored)`, with its hash made again."""
    text, stored = _opened_once(name)
    head, stored = json.loads(text), dict(stored)
    change(head, stored)
    if "tensors" not in head:  # nothing to order by: the hash will be missed
        return safetensors.torch.save(stored, metadata={"untrained": canonical(head)})
    return closed(canonical(head)[:-1], stored)


def with_text(name, change):
    """An honest ticket with the text of its header changed."""
    text, stored = _opened_once(name)
    new = change(text)
    assert new != text
    if new.endswith("}") and '"tensors":' in new:
        return closed(new[:-1], stored)
    return safetensors.torch.save(stored, metadata={"untrained": new})


def places(value, place=()):
    """All places in a JSON value, as tuples of keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*place, key)
        yield from places(value[key], (*place, key))


def parent(head, place):
    for key in place[:-1]:
        head = head[key]
    return head


def fate(data, name, path):
    """ "refused" or "same"; whatever else happens is an error of the reader."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        ticket = ut.Ticket.load(path)
    except ut.TicketError as error:  # which never comes to a model
        assert str(error).startswith(f"{path}: ")
        return "refused"
    finally:
        assert time.process_time() - start < SECONDS
    try:
        ticket.verify()
        ut.summary(ticket)
    except ut.TicketError:
        pass
    model = MAKERS[name]()
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


# --- changes ---


def setting(place, value):
    """Set one field; a place is a path of keys, with slashes."""
    place = [int(key) if key.isdigit() else key for key in place.split("/")]
    return lambda head, stored: parent(head, place).__setitem__(place[-1], value)


def storing(name, tensor):
    return lambda head, stored: stored.__setitem__(name, tensor)


def both(first, second):
    def change(head, stored):
        first(head, stored)
        second(head, stored)

    return change


def coded(shape, values, counts):
    """Codes without bytes: none, or all equal, which may claim any number."""

    def change(head, stored):
        head["tensors"]["0.weight"].update(shape=shape, values=values, counts=counts, coding="bits")
        stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)

    return change


def claiming(n):
    return coded([n // 8, 8], [1], [n])


def swap(first, second):
    def change(head, stored):
        stored[first], stored[second] = stored[second], stored[first]

    return change


def swap_tensors(head, stored):
    """Swap two tensors of one shape in all but their names."""
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
            head["tensors"].pop(name, None)

    return change


def nested(depth):
    """A partly frozen start in another, and so on."""
    described = POPUP
    for _ in range(depth):
        described = {"name": "PartlyFrozen", "of": described, "pruned": 0.3, "locked": 0.1}
    return described


def entry(**fields):
    return {"shape": [2, 2], "dtype": "float32", **fields}


def block(**fields):
    return {"name": "Block", "height": 2, "width": 3, **fields}


# --- the table of attacks ---

VALUES = [
    None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, -0.5, 1e300, 1e-300, 5e-324, "", "x",
    "\ud800", "\x00\x1b\n", "EdgePopup", "float16", [], [[]], [None], [-1], [0, 10**30], [2**40, 2**40], {},
    {"name": []}, {"name": {}}, {"name": "WeightLaw"}, {"name": "Dense"}, {"name": "Dense", "x": 1},
    {"name": "Standard"}, {"name": "EdgePopup"}, {"name": "NofM", "n": 1, "m": 2},
]  # fmt: skip
"""Values that any field might be set to."""

SCHEDULE = {"name": "Cubic", "start": 0.5, "end": 0.3, "until": 1.0}
POPUP = {"name": "EdgePopup", "keep": 0.3, "scope": "layer", "signed": False}
WEIGHT = "tensors/0.weight"
_FIELDS = {
    "mixed": {
        "format": [0, 2, 1.0, True],
        "seed": [43, 2**64, -1, 10**4000],
        "weights": [{"name": "Cauchy", "scaled": False}, {"name": "Dense"}, None],
        "weights/scaled": [0],
        "methods": [[]],
        "methods/0": [{"name": "Standard", "scaled": False}],
        "methods/0/name": ["Magic"],
        "methods/0/keep": [5e-324, 1e-300, 0.0, 1],
        f"{WEIGHT}/method": [2, -1],
        f"{WEIGHT}/coding": ["zip"],
        f"{WEIGHT}/dtype": ["int8", "float16"],
        f"{WEIGHT}/shape": [[-40, -8], [8, 40], [320], [], [40, 8] + [1] * 63, [40, 8] + [1] * 62, [True, True],
                            [40.0, 8.0], [2**62, 2**62]],
        f"{WEIGHT}/counts": [[160, 160], [-1, 321], [2**63, 320 - 2**63]],
        f"{WEIGHT}/values": [[0, 300], [1, 0], []],
        f"{WEIGHT}/constant": [1.0],
        "tensors": [{}],
        "tensors/0.bias/constant": [1e300, -1e-30, -0.0, None],
        "tensors/x": [entry(shape=[0, 10**30], constant=1.0), entry(shape=[0, 2**62, 2**62], constant=1.0),
                      entry(shape=[0, 10**30]), entry(shape=[4]), entry(shape=[2**45, 2]),
                      entry(shape=[2**45], constant=0.0)],
        "network": [{}, {"name": "fc", "arguments": {}, "x": 1}],
        "meta": [[]],
        "sample_sha256": ["0" * 64, ""],
    },
    "sparse": {
        "seed": [4],
        "methods/0": [POPUP, *map(nested, (2, 10, 100))],
        "methods/0/of": [{"name": "SignedConstant", "scaled": False}, header.describe(ut.SignedConstant()), block(),
                         SCHEDULE, "EdgePopup", None, [POPUP], nested(1), header.describe(ut.SlotMachines(4)),
                         header.describe(ut.IteRand()), header.describe(ut.GemMiner(0.5).at(1.0))],
        "methods/0/of/name": ["Magic", "Method"],
        "methods/0/of/another": [1],
        "methods/0/of/keep": [0.0, 1],
        "methods/0/of/structure": [block(), None],
        "methods/0/pruned": [0.5, 0.0, 0.33, 1.0, -0.1, 0, SCHEDULE],
        "methods/0/locked": [0.8],
    },
    "popup": {"methods/0": [nested(1)], "methods/0/keep": [SCHEDULE], "methods/0/structure": [None]},
    "blocks": {"methods/0/structure": [POPUP, {"name": "Structure"}, SCHEDULE, "Block", {"name": "Block", "height": 2},
                                       block(depth=1), block(height=2.0), block(height=True, width=True),
                                       block(height=-2)]},
    "groups": {"methods/0/keep": [0.3], "methods/0/scope": ["global"],
               "methods/0/structure": [{"name": "NofM", "n": 5, "m": 4}]},
    "biprop": {"methods/0/scope": ["normalised"], "methods/0/keep": [SCHEDULE]},
    "coats": {"methods/0/coats": [0, -3, 128, 3.0, True], f"{WEIGHT}/values": [[0, 1, 2, 4]]},
    "slots": {"methods/0": [POPUP], "methods/0/values": [1, -4, 128, 2**62, 4.0, True, 2], "methods/0/greedy": [1],
              f"{WEIGHT}/values": [[1, 2, 3, 5], [0, 2, 3, 4], [-5, 2, 3, 4]], "weights": [None]},
    "redrawn": {"methods/0/period": [0], "methods/0/rate": [1.5, 1], f"{WEIGHT}/values": [[0, 2], [-1, 0]]},
    "gems": {"methods/0/drops": [-1], "methods/0/decay": [-1.0]},
    "gates": {"methods/0/gate": ["sigmoid"], "methods/0/width": [0.0],
              "methods/0/sparsity": [-0.5, {"name": "Constant", "value": 0.5}]},
    "signed": {"methods/0/threshold": [-0.1]},
    "ternary": {"methods/0/ternary": [1], "methods/0/start": [None]},
    "prototype": {"weights/length": [0, -10, 10.0, True, 9, 2**62]},
}  # fmt: skip
_BYTES = torch.zeros(3, dtype=torch.uint8)
_CHANGES = {
    "mixed": {
        "empty and huge shape": coded([0, 10**30], [], []),
        "empty and overflowing shape": coded([0, 2**62, 2**62], [], []),
        "huge and empty shape": coded([2**63, 0], [], []),
        "empty shape": coded([0, 8], [], []),
        "only constants": drop("0.weight", "2.weight", "3.weight"),
        "a tensor less": drop("0.weight"),
        "codes less": lambda head, stored: stored.pop("codes/0.weight"),
        "running mean less": lambda head, stored: stored.pop("extra/1.running_mean"),
        "swapped codes": swap("codes/2.weight", "codes/3.weight"),
        "swapped tensors": swap_tensors,
        "swapped biases": rename("0.bias", "2.bias"),
        "another name": rename("0.weight", "0.weights"),
        "name of nothing": rename("0.weight", ""),
        "name with a slash": rename("0.weight", "../0.weight"),
        "constant with a lone surrogate": rename("0.bias", "\ud800"),
        "whole tensor with a lone surrogate": rename("4.weight", "\udfff"),
        "all memory": claiming(2**45),
        "many code bytes": storing("codes/0.weight", torch.zeros(10**5, dtype=torch.uint8)),
        **{f"more: {name!r}": storing(name, tensor) for name, tensor in {
            "codes/9.weight": _BYTES, "codes/0.bias": _BYTES, "codes/": _BYTES, "extra/9.weight": torch.zeros(3),
            "extra/0.weight": torch.zeros(40, 8), "extra/0.bias": torch.zeros(40), "extra/": torch.zeros(1),
            "weights": torch.zeros(3)}.items()},
        **{f"running mean {t.dtype} {tuple(t.shape)}": storing("extra/1.running_mean", t) for t in [
            torch.zeros(41), torch.zeros(()), torch.zeros(40, dtype=torch.float64), torch.zeros(40, dtype=torch.int32),
            torch.zeros(40).to(torch.float8_e4m3fn), torch.zeros(40, dtype=torch.complex64)]},
        **{f"codes {t.dtype} {tuple(t.shape)}": storing("codes/0.weight", t) for t in [
            torch.zeros(40, dtype=torch.bool), torch.zeros(40, dtype=torch.int8), torch.zeros(10),
            torch.zeros(2, 20, dtype=torch.uint8), torch.zeros((), dtype=torch.uint8),
            torch.zeros(0, dtype=torch.uint8), torch.arange(24, dtype=torch.uint8) * 37 + 5]},
    },
    "sparse": {
        "a method without its name": lambda head, stored: head["methods"][0]["of"].pop("name"),
        "locked for pruned": lambda head, stored: head["methods"][0].update(pruned=0.1, locked=0.3),
        "all codes of a sparse start": coded([8, 6], [1], [48]),
        "a code less": lambda head, stored: coded([8, 6], [1], [sum(head["tensors"]["0.weight"]["counts"]) - 1])(
            head, stored),
        "all memory": claiming(2**45),
    },
    "slots": {"all memory": claiming(2**45)},
    "redrawn": {
        "all memory": claiming(2**45),
        "of a pretrained model": both(setting("weights", None), setting(f"{WEIGHT}/values", [0, 2])),
    },
    "prototype": {"no length": lambda head, stored: head["weights"].pop("length")},
}  # fmt: skip
ATTACKS = {f"{name}: {label}": (name, change) for name, its in _CHANGES.items() for label, change in its.items()} | {
    f"{name}: {place} {number} {repr(value)[:50]}": (name, setting(place, value))
    for name, fields in _FIELDS.items()
    for place, values in fields.items()
    for number, value in enumerate(values)
}
"""The name of an honest ticket, and a change after which it must be refused."""

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
"""Changes of the header's text after which it is no canonical JSON."""

# --- files that are no tickets ---


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
    "bools that are neither": container({"__metadata__": {"untrained": TEXT}, "extra/w": line("BOOL", [8], 0, 8)},
                                        b"\3" * 8),
    **{
        f"an extra of {dtype}": container(
            {"__metadata__": {"untrained": TEXT}, "extra/w": line(dtype, [24], 0, size)}, bytes(size)
        )
        for dtype, size in {"F4": 12, "F6_E2M3": 18, "F8_E8M0": 24, "C64": 192, "U64": 192, "BOOL": 24}.items()
    },
}  # fmt: skip
