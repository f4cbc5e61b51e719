"""The page's own reader and interpreter, in node: the weights of Python to the last bit, and the logits of PyTorch."""

import hashlib
import inspect
import json
import random
import re
import struct
import time
from dataclasses import dataclass, replace
from typing import final

import pytest
import torch
from browser_reader import python_reads, read_in_node, run_in_node
from torch import nn

import untrained as ut
from hostile import ATTACKS, NO_TICKETS, TEXTS, TICKETS, VALUES, canonical, closed, parent, places, storing, with_text
from hostile import changed as attacked
from hostile import opened as taken_apart
from mutations import COMPACT, mutated, parts, with_header
from untrained import models
from untrained.export import to_html
from untrained.export.browser.page import is_mask
from untrained.export.network import build_network
from untrained.methods import METHODS
from untrained.weights import laws


@final
@dataclass(frozen=True)
class FifteenthMethod(ut.Method):
    """A method that the page was never told of: it keeps the largest scores, and overrides nothing that decodes."""

    keep: float = 0.4
    tries: int = 3

    def init_scores(self, weight, generator):
        return torch.rand(weight.shape, generator=generator)

    def codes(self, weights, scores):
        return {name: (scores[name] > 1 - self.keep).to(torch.int8) for name in weights}


@dataclass(frozen=True)
class OtherDecode(ut.RandomSubnetwork):
    """A method with a meaning of its own for codes."""

    def decode(self, weight, codes):
        return 2 * weight * codes


class OtherLaw(ut.SignedConstant):
    """A law of somebody's own."""


METHODS_AND_LAWS = {
    "edges": (ut.EdgePopup(0.1), ut.KaimingNormal()),
    "structure": (ut.EdgePopup(0.5, structure=ut.NofM(2, 4)), ut.KaimingUniform(scaled=True)),
    "blocks": (ut.EdgePopup(0.3, structure=ut.Block(4, 5)), ut.XavierNormal()),
    "draws": (ut.SlotMachines(5), ut.SignedConstant()),
    "many draws": (ut.SlotMachines(127), ut.KaimingNormal(nonlinearity="selu")),
    "redrawn": (ut.IteRand(0.4), ut.Standard()),
    "binary": (ut.Biprop(0.3), ut.KaimingNormal(scaled=True)),
    "partly": (ut.PartlyFrozen(ut.EdgePopup(0.3), 0.3, 0.1), ut.SignedConstant(scaled=True)),
    "partly, rescaled": (ut.PartlyFrozen(ut.Bernoulli(True)), ut.XavierUniform()),
    "partly, signs": (ut.PartlyFrozen(ut.Threshold(ternary=True), 0.3), ut.XavierUniform(nonlinearity="sigmoid")),
    "rescaled": (ut.Bernoulli(True), ut.XavierConstant()),
    "coats": (ut.Multicoated(0.3, 5), ut.UnsignedConstant()),
    "signed": (ut.SignedSupermask(), ut.Prototype(length=37)),
    "ternary": (ut.Threshold(ternary=True), ut.SignedConstant()),
    "random": (ut.RandomSubnetwork(0.3), ut.Prototype(scaled=True, length=2**31)),
    "dense": (ut.Dense(), ut.SignedConstant(fan="out", nonlinearity="tanh")),
    "gems": (ut.GemMiner(0.3), ut.UnsignedConstant(scaled=True)),
    "nudged": (ut.Nudge(0.7, 31), ut.Standard()),
    "levels": (ut.Nudge(1.0, 3, "zero"), ut.KaimingNormal()),
    "federated": (ut.FedPM(), ut.Standard(scaled=True)),
    "relaxed": (ut.RelaxedBernoulli(), ut.XavierNormal(nonlinearity="leaky_relu")),
    "fifteenth": (FifteenthMethod(), ut.KaimingNormal(scaled=True)),
}
NETWORKS = {
    "conv2": lambda: models.conv2(0.1, (3, 12, 12)),
    "mnist-conv": lambda: models.mnist_conv((1, 12, 12)),
    "norm": lambda: models.mnist_conv((1, 12, 12), norm="batch", activation="elu"),
    "resnet, elu": lambda: models.resnet18(0.06, (3, 16, 16), activation="elu"),
    "folded": lambda: models.resnet34(0.05, (3, 32, 32), stem="large", folded=True),
    "sign": lambda: models.fc((20,), (1, 6, 6), activation="sign"),
}


def found(model, method=None, meta=None, **mask):
    """A ticket with a random mask, and running statistics that are not those of a fresh network."""
    ut.mask_(model, method or ut.EdgePopup(0.5), **({"seed": 2**64 - 7} | mask))
    draws = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(generator=draws).mul_(0.1)
            module.running_var.uniform_(0.5, 1.5, generator=draws)
    return ut.Ticket.of(model, meta)


def small(name, format=1):
    """The ticket of a small network, with tensors of every kind."""
    method, law = METHODS_AND_LAWS[name]
    layers = [nn.Flatten(), nn.Linear(36, 20), nn.BatchNorm1d(20), nn.Linear(20, 5)]
    return found(nn.Sequential(*layers), method, weights=law).to_bytes(format)


def test_every_method_and_law_is_tried():
    methods, tried = zip(*METHODS_AND_LAWS.values(), strict=True)
    assert {*map(type, methods)} >= {*METHODS.values()}
    assert {*map(type, tried)} == {
        law for law in vars(laws).values() if inspect.isclass(law) and issubclass(law, ut.WeightLaw)
        and not inspect.isabstract(law)
    }  # fmt: skip


def test_every_page_gives_the_logits_of_torch(tmp_path):
    torch.manual_seed(0)
    tickets = {name: found(build()) for name, build in NETWORKS.items()}
    for name, (method, law) in METHODS_AND_LAWS.items():
        tickets[name] = found(models.fc((20,), (1, 6, 6)), method, weights=law)
    pages = {}
    for number, ticket in enumerate(tickets.values()):
        to_html(ticket, tmp_path / f"{number}.html")
        pages[tmp_path / f"{number}.html"] = torch.randn(3, *ticket.built_by["arguments"]["shape"])
    for name, x, logits in zip(tickets, pages.values(), run_in_node(pages, tmp_path), strict=True):
        expected = build_network(tickets[name])(x)
        assert (logits - expected).abs().max() <= 1e-4 * max(1, expected.abs().max()), name


def test_layers_that_our_networks_lack(tmp_path):
    def build():
        torch.manual_seed(0)
        first = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
        pools = [nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()]
        return nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 1, 1), *pools, nn.Linear(12, 3))

    ticket = found(build(), meta={"shape": [4, 8, 10]}, also_train=r".*bias|1\.weight")
    # What was also trained is in the ticket as it is.
    ticket.extra["0.bias"].normal_()
    ticket.extra["1.weight"].uniform_(0.5, 2)
    page, x = tmp_path / "a.html", torch.randn(3, 4, 8, 10)
    to_html(ticket, page, build())
    (logits,) = run_in_node({page: x}, tmp_path)
    assert (logits - build_network(ticket, build())(x)).abs().max() < 1e-4
    assert "hardly trained" in page.read_text(encoding="utf-8")


def test_a_method_is_exported_by_rule(tmp_path):
    assert is_mask(FifteenthMethod) and not is_mask(OtherDecode)
    assert {name for name, method in METHODS.items() if is_mask(method)} >= {"edge-popup", "dense", "fedpm"}
    ticket = found(models.fc((6,), (1, 8, 8)))
    tensors = {name: replace(entry, method=OtherDecode()) for name, entry in ticket.tensors.items()}
    with pytest.raises(ut.TicketError, match=r"'fc1\.weight': .*OtherDecode"):
        to_html(replace(ticket, tensors=tensors), tmp_path / "a.html")
    with pytest.raises(ut.TicketError, match="law OtherLaw"):
        to_html(replace(ticket, law=OtherLaw()), tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


# --- tickets, honest and hostile, beside Python's reader ---


def disagreements(files, folder):
    """How the two readers disagree on files: {label: (what the page's says, whether Python reads it)}."""
    wrong = {}
    outcomes = read_in_node(list(files.values()), folder, masks=[FifteenthMethod.__name__])
    for number, (label, (outcome, said)) in enumerate(zip(files, outcomes, strict=True)):
        ticket = python_reads(folder / f"{number}.ticket")
        if outcome == "broken" or (outcome == "read") != (ticket is not None):
            wrong[label] = outcome, said, ticket is not None
        elif ticket is None:
            assert said.startswith(("This ticket is damaged: ", "This page cannot run this ticket: ")), label
        else:
            tensors = dict(ticket.rebuilt()) | {n: x for n, x in ticket.extra.items() if x.dtype is torch.float32}
            expected = {n: hashlib.sha256(x.reshape(-1).numpy().tobytes()).hexdigest() for n, x in tensors.items()}
            if dict(said) != expected:
                wrong[label] = outcome, "other weights", True
    return wrong


def test_every_ticket_is_read_to_the_last_bit(tmp_path):
    files = {name: small(name) for name in METHODS_AND_LAWS} | TICKETS
    compact = {f"{name} in format 2": small(name, 2) for name in METHODS_AND_LAWS} | {
        f"{name} of hostile": data for name, data in COMPACT.items()
    }
    assert disagreements(compact, tmp_path) == {}
    assert all(python_reads(tmp_path / f"{number}.ticket") for number in range(len(compact)))
    assert disagreements(files, tmp_path) == {}
    assert all(python_reads(tmp_path / f"{number}.ticket") for number in range(len(files)))
    codings = {codes["coding"] for data in files.values() for codes in taken_apart(data)[0]["tensors"].values()
               if "coding" in codes}  # fmt: skip
    assert codings == {"bits", "ans"}


def test_hostile_files_have_the_same_fate_in_both_readers(tmp_path):
    files = {label: attacked(name, change) for label, (name, change) in ATTACKS.items()}
    files |= {f"text: {name}": with_text("mixed", change) for name, change in TEXTS.items()}
    files |= {f"no ticket: {name}": data for name, data in NO_TICKETS.items()}
    files |= {f"cut at {at}": TICKETS["mixed"][:at] for at in range(0, 4000, 97)}
    assert disagreements(files, tmp_path) == {}


LIMITS = [-0.1, 1.0, 1.5, 9e-4, 1e-3, 1e5, 3, 126, 127, 128, 2**31 + 1, "in", "layer", "global", "tanh", "constructor"]
LIMITS += [{"name": "NofM", "n": n, "m": 4} for n in (2, 5)] + [{"name": "Block", "height": 0, "width": 1}]
LIMITS += [{"name": "toString"}, {"name": "GemMiner", "keep": 0.5, "scope": "layer", "decay": 0.0, "drops": 1}]


# Two with all that a header has, of the others the law and the method.
@pytest.mark.parametrize("names", [["partly"], ["edges"], [*METHODS_AND_LAWS][:10], [*METHODS_AND_LAWS][10:-1]])
def test_a_changed_field_has_the_same_fate_in_both_readers(names, tmp_path):
    files, draws = {}, random.Random(names[0])
    for name in names:
        honest, stored = taken_apart(small(name))
        for place in places(honest):
            # Of long lists the first will do.
            if place[0] == "meta" or (type(place[-1]) is int and place[-1] > 2):
                continue
            if len(names) > 1 and place[0] not in ("methods", "weights"):
                continue
            for value in [*draws.sample(VALUES + LIMITS, 5), None]:
                head = json.loads(json.dumps(honest))
                if draws.random() < 0.1 and isinstance(parent(head, place), dict):
                    parent(head, place)["toString"] = value
                elif value is None and draws.random() < 0.5:
                    del parent(head, place)[place[-1]]
                else:
                    parent(head, place)[place[-1]] = value
                if "tensors" in head:
                    text = json.dumps(head, sort_keys=True, separators=(",", ":"))
                    files[f"{name} {place} {str(value)[:40]}"] = closed(text[:-1], stored)
    assert disagreements(files, tmp_path) == {}


def indexed(change):
    """An honest ticket whose index, as text, was changed."""
    data = TICKETS["mixed"]
    size = struct.unpack("<Q", data[:8])[0]
    text = change(json.dumps(json.loads(data[8 : 8 + size])))
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


LINE = '"codes/0.weight": {"dtype": "U8", "shape": ['
EXTRAS = [torch.bool, torch.int8, torch.uint16, torch.int64, torch.float16, torch.bfloat16, torch.float64]
EXTRAS += [torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint64, torch.uint8, torch.float32]
LISTED = r'"codes/0\.weight": {"dtype": "U8", "shape": (\[\d+\]), "data_offsets": (\[.*?\])}'
NAMES = ["__proto__", "constructor", "é", "\U0001f600", "", "../0"]


def test_damaged_and_forged_files_of_format_2_have_the_same_fate_in_both_readers(tmp_path):
    files = {f"{n}": mutated(random.Random(f"page/{n}"))[1] for n in range(400)}
    hashes, text, tensors = parts("mixed")
    for level in (0, 1, 9):  # stored blocks, fixed codes, codes of its own
        files[f"level {level}"] = with_header(hashes, text, tensors, level)
    head = json.loads(text)
    for what, its in {"f8": [56, 8, 1, 129], "f16": [0, 60, 1, 128]}.items():
        line = {"dtype": "float32", "shape": [len(its) // (2 if what == "f16" else 1)], "stored": "float16"}
        line["stored"] = "float16" if what == "f16" else "float8_e4m3fn"
        forged = {**head, "tensors": {**head["tensors"], "zz": line}}
        files[what] = with_header(hashes, canonical(forged), tensors + bytes(its))
        files[f"{what}, not finite"] = with_header(hashes, canonical(forged), tensors + b"\xff" * len(its))
    assert disagreements(files, tmp_path) == {}


INDEXES = {
    "as it is": indexed(str),
    "spaces": indexed(lambda text: text.replace(",", ",\n \t") + "  "),
    "a space first": indexed(lambda text: " " + text),
    "byte order mark": indexed(lambda text: "\ufeff" + text),
    "more behind": indexed(lambda text: text + "\0"),
    "another order": indexed(lambda text: json.dumps(dict(reversed(json.loads(text).items())))),
    "an unknown field": indexed(lambda text: text.replace(LINE, LINE.replace("{", '{"x": [{"y": 1e5}], '))),
    "a name twice": indexed(lambda text: "{" + text[text.index('"codes/0'):][:-1] + "," + text[1:]),
    "a field twice": indexed(lambda text: text.replace('"dtype"', '"dtype": "U8", "dtype"', 1)),
    "metadata twice": indexed(lambda text: text.replace('"__metadata__"', '"__metadata__": {}, "__metadata__"')),
    "the header twice": indexed(lambda text: text.replace('"untrained":', '"untrained": "{}", "untrained":')),
    "other metadata": indexed(lambda text: text.replace('"untrained":', '"format": "pt", "untrained":')),
    "a number as metadata": indexed(lambda text: text.replace('"untrained":', '"format": 1, "untrained":')),
    "a float as shape": indexed(lambda text: re.sub(r'("shape": \[\d+)', r"\1.0", text, count=1)),
    "a float as place": indexed(lambda text: re.sub(r'("data_offsets": \[\d+)', r"\1e0", text, count=1)),
    "minus zero": indexed(lambda text: text.replace('"data_offsets": [0,', '"data_offsets": [-0,')),
    "three places": indexed(lambda text: re.sub(r'("data_offsets": \[)', r"\g<1>0, ", text, count=1)),
    "a gap": indexed(lambda text: re.sub(r"(\d+)\]}}$", lambda m: f"{int(m[1]) + 1}]}}}}", text)),
    "a list as line": indexed(lambda text: re.sub(LISTED, r'"codes/0.weight": ["U8", \1, \2]', text)),
    "not UTF-8": indexed(lambda text: text.encode().replace(b"codes/0.weight", b"codes/0.weigh\xff")),
    "an escape": indexed(lambda text: text.replace("codes/0.weight", "\\u0063odes\\/0.weight")),
    "half a character": indexed(lambda text: text.replace("codes/0.weight", "codes/\\ud800")),
    **{f"extra of {dtype}": attacked("mixed", storing("extra/x", torch.zeros(3, 2).to(dtype))) for dtype in EXTRAS},
    **{f"extra {name!r}": attacked("mixed", storing(f"extra/{name}", torch.zeros(2))) for name in NAMES},
    **{f"extra of shape {shape}": attacked("mixed", storing("extra/x", torch.zeros(shape)))
       for shape in [(), (0,), (0, 2**40), (0, 2**62), (1,) * 70]},
}  # fmt: skip


def test_odd_containers_have_the_same_fate_in_both_readers(tmp_path):
    assert disagreements(INDEXES, tmp_path) == {}


def claiming(shape, law, method, counts):
    head, _ = taken_apart(TICKETS["mixed"])
    entry = {"shape": shape, "dtype": "float32", "method": 0, "coding": "bits", "values": [1], "counts": counts}
    head |= {"tensors": {"w": entry}, "weights": law, "methods": [method], "meta": {"pad": "x" * 2**18}}
    return closed(
        json.dumps(head, sort_keys=True, separators=(",", ":"))[:-1], {"codes/w": torch.zeros(0, dtype=torch.uint8)}
    )


def test_what_costs_much_is_refused_or_cheap(tmp_path):
    dense, signs = {"name": "Dense"}, {"name": "UnsignedConstant", "fan": "in", "nonlinearity": "relu", "scaled": False}
    slots = {"name": "SlotMachines", "values": 127, "greedy": True}
    files = [claiming([2**16, 2**17], signs, dense, [2**33]), claiming([2**13, 2**13], signs, slots, [2**26])]
    files += [claiming([2**8, 2**8], {**signs, "name": "Prototype", "length": 2**31}, dense, [2**16])]
    start = time.perf_counter()
    (*far_too_many, (_, prototype)) = read_in_node(files, tmp_path)
    assert time.perf_counter() - start < 20
    assert all(v == "refused" and re.search("claims 8[0-9]* weights", said) for v, said in far_too_many)
    assert "the weights do not have the sample_sha256" in prototype
