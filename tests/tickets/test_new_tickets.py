"""Tickets of methods with nested parts, several draws or codes of their own: read again, and hostile ones refused."""

import json
import math
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hostile_files import canonical, closed, opened, parent, places
from torch import nn

import untrained as ut
from any_methods import LAWS, METHODS
from untrained.methods import METHODS as NAMES
from untrained.tickets import header
from untrained.weights import laws as weights
from untrained.weights import source

SECONDS = 5  # of processor time, for any one file


# --- headers ---


def through_json(base, config):
    text = header.to_json(header.describe(config))
    return header.revive(base, header.from_json(text)), text


@given(METHODS)
@settings(max_examples=100)
def test_a_method_is_revived(method):
    final = method.at(1.0)
    revived, text = through_json(ut.Method, final)
    assert revived == final and type(revived) is type(final)
    assert through_json(ut.Method, revived)[1] == text
    assert "null" not in text and "Schedule" not in text


@given(LAWS)
@settings(max_examples=24)
def test_a_law_is_revived(law):
    revived, text = through_json(ut.WeightLaw, law)
    assert revived == law and type(revived) is type(law) and through_json(ut.WeightLaw, revived)[1] == text


DESCRIBED = {
    ut.EdgePopup(0.5): {"name": "EdgePopup", "keep": 0.5, "scope": "layer", "signed": False},
    ut.EdgePopup(1): {"name": "EdgePopup", "keep": 1.0, "scope": "layer", "signed": False},
    ut.EdgePopup(0.25, structure=ut.Block(2, 3)): {
        "name": "EdgePopup",
        "keep": 0.25,
        "scope": "layer",
        "signed": False,
        "structure": {"name": "Block", "height": 2, "width": 3},
    },
    ut.Threshold(start=None): {"name": "Threshold", "threshold": 0.005, "ternary": False},
    ut.Threshold(threshold=0, start=1): {"name": "Threshold", "threshold": 0.0, "ternary": False, "start": 1.0},
    ut.IteRand(rate=1, period=7): {"name": "IteRand", "keep": 0.5, "period": 7, "rate": 1.0},
    ut.FedPM(entropy=2): {"name": "FedPM", "entropy": 2.0},
    ut.PartlyFrozen(ut.Dense(), pruned=0, locked=0): {
        "name": "PartlyFrozen",
        "of": {"name": "Dense"},
        "pruned": 0.0,
        "locked": 0.0,
    },
    ut.PartlyFrozen(ut.Threshold(start=None), 0.1, 0.2): {
        "name": "PartlyFrozen",
        "of": {"name": "Threshold", "threshold": 0.005, "ternary": False},
        "pruned": 0.1,
        "locked": 0.2,
    },
}


@pytest.mark.parametrize("method", DESCRIBED, ids=str)
def test_a_method_is_described_without_what_is_none(method):
    described = header.describe(method)
    assert header.to_json(described) == header.to_json(DESCRIBED[method])  # 1 is not 1.0
    assert header.revive(ut.Method, described) == method


def test_the_law_of_a_prototype_is_described():
    assert header.describe(ut.Prototype(length=9, scaled=True)) == {
        "name": "Prototype",
        "fan": "in",
        "nonlinearity": "relu",
        "scaled": True,
        "length": 9,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_ticket_names_the_method_as_it_ends(name, tmp_path):
    ticket = ut.Ticket.of(masked(NAMES[name]().keeping(0.3)))
    ticket.save(tmp_path / "a.ticket")
    assert ut.Ticket.load(tmp_path / "a.ticket").method == ticket.method == NAMES[name]().keeping(0.3).at(1.0)


# --- honest tickets, and their fate after a change ---


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))


def masked(method, law="recommended", model=None):
    """A masked net whose scores have moved."""
    model = ut.mask_(net() if model is None else model, method, seed=3, weights=law)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.copy_(torch.rand(scores.shape, generator=generator) * 2 - 0.9)
    return model


def state(model):
    tensors = model.state_dict().items()
    return {n: (t.dtype, t.shape, t.contiguous().reshape(-1).view(torch.uint8).tolist()) for n, t in tensors}


KINDS = {
    "popup": ut.EdgePopup(0.3),
    "blocks": ut.EdgePopup(0.5, structure=ut.Block(2, 3)),
    "groups": ut.EdgePopup(0.5, structure=ut.NofM(2, 4)),
    "biprop": ut.Biprop(0.3),
    "coats": ut.Multicoated(0.4, 3),
    "slots": ut.SlotMachines(4),
    "redrawn": ut.IteRand(0.4),
    "gems": ut.GemMiner(0.4),
    "rescaled": ut.Bernoulli(),
    "federated": ut.FedPM(),
    "gates": ut.RelaxedBernoulli(sparsity=0.5),
    "signed": ut.SignedSupermask(),
    "ternary": ut.Threshold(0.1, True),
    "sparse": ut.PartlyFrozen(ut.EdgePopup(0.3), pruned=0.3, locked=0.1),
    "sparse coats": ut.PartlyFrozen(ut.Multicoated(0.3), pruned=0.2),
}
LAW = ut.KaimingNormal(scaled=True)  # so that keep matters
HONEST = {name: ut.Ticket.of(masked(method, LAW)).to_bytes() for name, method in KINDS.items()}
HONEST["prototype"] = ut.Ticket.of(masked(ut.EdgePopup(0.3), ut.Prototype(length=10))).to_bytes()


def changed(name, change):
    """An honest ticket after `change(head, stored)`, with its hash made again."""
    head, stored = opened(HONEST[name])
    change(head, stored)
    return closed(canonical(head)[:-1], stored)


def fate(data, name, path):
    """ "refused" or "same"; whatever else happens is an error of the reader."""
    path.write_bytes(data)
    model, start = net(), time.process_time()
    before = state(model)
    try:
        loaded = ut.load(path, model)
        ut.Ticket.load(path).verify()
        ut.summary(path)
    except ut.TicketError as error:
        assert str(error).startswith((f"{path}: ", "the weights come out different"))
        assert "weights come out" in str(error) or state(model) == before
        return "refused"
    finally:
        assert time.process_time() - start < SECONDS
    assert state(loaded) == EXPECTED[name]
    return "same"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


def loaded(data, path):
    path.write_bytes(data)
    return state(ut.load(path, net()))


@pytest.fixture(scope="module", autouse=True)
def expected(tmp_path_factory):
    """What every honest ticket gives."""
    place = tmp_path_factory.mktemp("honest") / "a.ticket"
    EXPECTED.update({name: loaded(data, place) for name, data in HONEST.items()})


EXPECTED = {}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_ticket_survives_these_tools(name, path):
    assert changed(name, lambda head, stored: None) == HONEST[name]
    assert fate(HONEST[name], name, path) == "same"
    assert ut.Ticket.load(path).to_bytes() == HONEST[name]


@pytest.mark.parametrize("name", KINDS)
def test_an_honest_ticket_is_the_model_baked(name):
    assert state(ut.bake_(masked(KINDS[name], LAW))) == EXPECTED[name]


# --- every field of a method, and of what is nested in it ---

MORE = [{"name": "EdgePopup"}, {"name": "Block", "height": 1, "width": 1}, {"name": "NofM", "n": 1, "m": 2}]
FEWER = [
    None, True, -1, 0, 1, 10**400, 0.5, -0.0, 1e300, "", "EdgePopup", [], [None], {}, {"name": []},
    {"name": "Standard"},
]  # fmt: skip
PLACES = list(  # every field of every class once
    {
        (parent(head, place).get("name") if len(place) > 2 else place, place[-1], len(place)): (name, place)
        for name, head in ((name, opened(data)[0]) for name, data in HONEST.items())
        for place in places(head["methods"], ("methods",))
    }.values()
) + [("prototype", ("weights", field)) for field in opened(HONEST["prototype"])[0]["weights"]]


def spelled(value):
    return value if isinstance(value, str) else "/".join(map(str, value[1:]))


@pytest.mark.parametrize(("name", "place"), PLACES, ids=spelled)
def test_a_changed_field_is_refused_or_harmless(name, place, path):
    files = {}
    for value in [*FEWER, *MORE]:
        if place != ("weights", "length") or type(value) is not int or value < 2**16:
            files[repr(value)[:50]] = changed(
                name, lambda head, _, value=value: parent(head, place).__setitem__(place[-1], value)
            )
    files["one more"] = changed(name, lambda head, _: add(parent(head, place)))
    wrong = {}
    for label, data in files.items():
        try:
            fate(data, name, path)
        except Exception as error:
            wrong[label] = f"{type(error).__name__}: {str(error)[:100]}"
    assert wrong == {}


def add(above):
    if isinstance(above, list):
        above.append(above[0])
    else:
        above["another"] = 1


NEEDED = [
    (name, place)
    for name, place in PLACES
    if isinstance(place[-1], str) and place[-1] not in ("structure", "start") and len(place) > 2
]


@pytest.mark.parametrize(("name", "place"), NEEDED, ids=spelled)
def test_a_field_is_needed(name, place, path):
    assert fate(changed(name, lambda head, _: parent(head, place).__delitem__(place[-1])), name, path) == "refused"


# --- attacks with some thought ---

SCHEDULE = {"name": "Cubic", "start": 0.5, "end": 0.3, "until": 1.0}
POPUP = {"name": "EdgePopup", "keep": 0.3, "scope": "layer", "signed": False}


def method(**fields):
    return lambda head, stored: head["methods"][0].update(fields)


def inner(**fields):
    return lambda head, stored: head["methods"][0]["of"].update(fields)


def instead(described):
    return lambda head, stored: head["methods"].__setitem__(0, described)


def entry(**fields):
    return lambda head, stored: head["tensors"]["0.weight"].update(fields)


def law(**fields):
    return lambda head, stored: head["weights"].update(fields)


def drop_codes(head, stored):
    """All codes of a tensor, the given ones too, as another method would store them."""
    counts = head["tensors"]["0.weight"]["counts"]
    missing = 48 - sum(counts)
    assert missing > 0
    head["tensors"]["0.weight"].update(values=[1], counts=[48], coding="bits")
    stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)


def one_code_less(head, stored):
    line = head["tensors"]["0.weight"]
    n = sum(line["counts"]) - 1
    line.update(values=[1], counts=[n], coding="bits")
    stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)


def claiming(n):
    def change(head, stored):
        head["tensors"]["0.weight"].update(shape=[n // 8, 8], values=[1], counts=[n], coding="bits")
        stored["codes/0.weight"] = torch.empty(0, dtype=torch.uint8)

    return change


def nested(depth):
    described = POPUP
    for _ in range(depth):
        described = {"name": "PartlyFrozen", "of": described, "pruned": 0.3, "locked": 0.1}
    return described


ATTACKS = {
    "unknown method": ("sparse", inner(name="Magic")),
    "a method without its name": ("sparse", lambda head, _: head["methods"][0]["of"].pop("name")),
    "an abstract method": ("sparse", inner(name="Method")),
    "an inner law": ("sparse", method(of={"name": "SignedConstant", "scaled": False})),
    "an inner law, rightly": ("sparse", method(of=header.describe(ut.SignedConstant()))),
    "an inner part": ("sparse", method(of={"name": "Block", "height": 2, "width": 3})),
    "an inner schedule": ("sparse", method(of=SCHEDULE)),
    "an inner word": ("sparse", method(of="EdgePopup")),
    "nothing inside": ("sparse", method(of=None)),
    "an inner list": ("sparse", method(of=[POPUP])),
    "an inner field more": ("sparse", inner(another=1)),
    "an inner keep of 0": ("sparse", inner(keep=0.0)),
    "an inner keep of an integer": ("sparse", inner(keep=1)),
    "an inner structure": ("sparse", inner(structure={"name": "Block", "height": 2, "width": 3})),
    "inside itself": ("sparse", method(of=nested(1))),
    "slots inside": ("sparse", method(of=header.describe(ut.SlotMachines(4)))),
    "redraws inside": ("sparse", method(of=header.describe(ut.IteRand()))),
    "gems inside": ("sparse", method(of=header.describe(ut.GemMiner(0.5).at(1.0)))),
    "another share pruned": ("sparse", method(pruned=0.5)),
    "nothing pruned": ("sparse", method(pruned=0.0)),
    "a little more pruned": ("sparse", method(pruned=0.33)),
    "all pruned": ("sparse", method(pruned=1.0)),
    "locked and pruned": ("sparse", method(locked=0.8)),
    "pruned below 0": ("sparse", method(pruned=-0.1)),
    "pruned of an integer": ("sparse", method(pruned=0)),
    "pruned of a schedule": ("sparse", method(pruned=SCHEDULE)),
    "locked for pruned": ("sparse", method(pruned=0.1, locked=0.3)),
    "another seed": ("sparse", lambda head, _: head.update(seed=4)),
    "nothing given": ("sparse", instead(POPUP)),
    "something given": ("popup", instead(nested(1))),
    "all codes of a sparse start": ("sparse", drop_codes),
    "a code less": ("sparse", one_code_less),
    "a structure of another base": ("blocks", method(structure=POPUP)),
    "a structure that is abstract": ("blocks", method(structure={"name": "Structure"})),
    "a structure that is a schedule": ("blocks", method(structure=SCHEDULE)),
    "a structure of a word": ("blocks", method(structure="Block")),
    "a structure without a field": ("blocks", method(structure={"name": "Block", "height": 2})),
    "a structure with another": ("blocks", method(structure={"name": "Block", "height": 2, "width": 3, "depth": 1})),
    "a structure of floats": ("blocks", method(structure={"name": "Block", "height": 2.0, "width": 3})),
    "a structure of booleans": ("blocks", method(structure={"name": "Block", "height": True, "width": True})),
    "a structure below 0": ("blocks", method(structure={"name": "Block", "height": -2, "width": 3})),
    "a structure and another keep": ("groups", method(keep=0.3)),
    "a structure and another scope": ("groups", method(scope="global")),
    "more kept than there are": ("groups", method(structure={"name": "NofM", "n": 5, "m": 4})),
    "unknown scope": ("biprop", method(scope="normalised")),
    "no coats": ("coats", method(coats=0)),
    "coats below 0": ("coats", method(coats=-3)),
    "many coats": ("coats", method(coats=128)),
    "coats of a float": ("coats", method(coats=3.0)),
    "coats of a boolean": ("coats", method(coats=True)),
    "one value": ("slots", method(values=1)),
    "values below 0": ("slots", method(values=-4)),
    "many values": ("slots", method(values=128)),
    "huge values": ("slots", method(values=2**62)),
    "values of a float": ("slots", method(values=4.0)),
    "values of a boolean": ("slots", method(values=True)),
    "the value after the last": ("slots", entry(values=[1, 2, 3, 5])),
    "fewer values than codes": ("slots", method(values=2)),
    "greedy of a number": ("slots", method(greedy=1)),
    "no period": ("redrawn", method(period=0)),
    "a rate above 1": ("redrawn", method(rate=1.5)),
    "a rate of an integer": ("redrawn", method(rate=1)),
    "drops below 0": ("gems", method(drops=-1)),
    "a decay below 0": ("gems", method(decay=-1.0)),
    "a gate of another kind": ("gates", method(gate="sigmoid")),
    "a width of 0": ("gates", method(width=0.0)),
    "a price below 0": ("gates", method(sparsity=-0.5)),
    "a threshold below 0": ("signed", method(threshold=-0.1)),
    "ternary of a number": ("ternary", method(ternary=1)),
    "codes of slots for a mask": ("slots", instead(POPUP)),
    "redrawn once more": ("redrawn", entry(values=[0, 2])),
    "redrawn for ever": ("redrawn", entry(values=[-1, 0])),
    "other coats": ("coats", entry(values=[0, 1, 2, 4])),
    "no length": ("prototype", law(length=0)),
    "a length below 0": ("prototype", law(length=-10)),
    "a length of a float": ("prototype", law(length=10.0)),
    "a length of a boolean": ("prototype", law(length=True)),
    "another length": ("prototype", law(length=9)),
    "a schedule": ("popup", method(keep=SCHEDULE)),
    "a schedule of another keep": ("biprop", method(keep=SCHEDULE)),
    "a schedule for a price": ("gates", method(sparsity={"name": "Constant", "value": 0.5})),
    "a structure of null": ("popup", method(structure=None)),
    "an inner structure of null": ("sparse", inner(structure=None)),
    "a start of null": ("ternary", method(start=None)),
    "the value before the first": ("slots", entry(values=[0, 2, 3, 4])),
    "a value below 0": ("slots", entry(values=[-5, 2, 3, 4])),
    "slots of a pretrained model": ("slots", lambda head, _: head.update(weights=None)),
    "redraws of a pretrained model": (
        "redrawn",
        lambda head, _: (head.update(weights=None), head["tensors"]["0.weight"].update(values=[0, 2])),
    ),
    "a length beyond memory": ("prototype", law(length=2**62)),
    "a law without a length": ("prototype", lambda head, _: head["weights"].pop("length")),
    "claims all memory, sparse": ("sparse", claiming(2**45)),
    "claims all memory, slots": ("slots", claiming(2**45)),
    "claims all memory, redrawn": ("redrawn", claiming(2**45)),
    **{f"{depth} deep": ("sparse", instead(nested(depth))) for depth in (2, 10, 100)},
}


@pytest.mark.parametrize(("name", "change"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused(name, change, path):
    data = changed(name, change)
    assert fate(data, name, path) == "refused"


@pytest.mark.parametrize(
    "described",
    [{**POPUP, "keep": SCHEDULE}, {**nested(1), "of": {**POPUP, "keep": SCHEDULE}}],
    ids=["a method's", "an inner method's"],
)
def test_a_schedule_is_not_revived(described):
    with pytest.raises(ut.TicketError):
        header.revive(ut.Method, described)


def test_a_schedule_and_a_scaled_law_are_refused(path):
    path.write_bytes(changed("popup", method(keep=SCHEDULE)))
    with pytest.raises(ut.TicketError):
        ut.load(path, net())


def test_a_very_deep_method_is_refused():
    with pytest.raises(ut.TicketError):
        header.revive(ut.Method, nested(2000))


def test_a_deep_method_is_refused_in_few_words():
    with pytest.raises(ut.TicketError) as refused:
        header.revive(ut.Method, nested(300))
    assert len(str(refused.value)) < 1000


def test_many_values_of_a_tensor_that_is_only_claimed_are_refused(path):
    n = 2**24

    def change(head, stored):
        method(values=127)(head, stored)
        claiming(n)(head, stored)

    path.write_bytes(changed("slots", change))
    assert n < header.MOST_WEIGHTS_PER_BYTE * path.stat().st_size < 127 * n
    with pytest.raises(ut.TicketError, match="claims"):
        ut.Ticket.load(path)


def test_nothing_is_drawn_for_a_ticket_that_is_refused(path, monkeypatch):
    def drawn(*_, **__):
        raise AssertionError("weights were drawn")

    monkeypatch.setattr(weights.WeightLaw, "draw", drawn)
    monkeypatch.setattr(source.Source, "uniforms", drawn)
    for name in ("sparse", "slots", "redrawn", "prototype"):
        path.write_bytes(changed(name, claiming(2**45)))
        with pytest.raises(ut.TicketError, match=r"a\.ticket: it claims"):
            ut.load(path, net())


def test_a_ticket_for_another_model_leaves_it_alone(path):
    path.write_bytes(HONEST["sparse"])
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 7))
    before = state(model)
    with pytest.raises(ut.TicketError, match="shape"):
        ut.load(path, model)
    assert state(model) == before


# --- more honest tickets ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "inner",
    [
        ut.EdgePopup(0.3), ut.EdgePopup(0.3, "global", True), ut.EdgePopup(0.3, "normalised"), ut.Biprop(0.3),
        ut.Multicoated(0.3, spacing="uniform"), ut.Bernoulli(), ut.Threshold(0.1, True), ut.RelaxedBernoulli(),
        ut.RandomSubnetwork(0.3), ut.Dense(),
    ],
    ids=str,
)  # fmt: skip
def test_a_partly_frozen_start_loads_bit_for_bit(inner, dtype, path):
    model = masked(ut.PartlyFrozen(inner, 0.3, 0.1), ut.KaimingNormal(), net().to(dtype))
    ut.save(model, path)
    codes = ut.Ticket.load(path).codes
    assert {n: c.tolist() for n, c in codes.items()} == {n: c.tolist() for n, c in ut.Ticket.of(model).codes.items()}
    assert state(ut.load(path, net().to(dtype))) == state(ut.bake_(model))


def test_only_undecided_codes_are_stored():
    ticket = ut.Ticket.of(masked(ut.PartlyFrozen(ut.EdgePopup(0.2), 0.5, 0.1), model=nn.Linear(64, 64)))
    (encoded,) = ticket.encoded().values()
    assert sum(encoded.counts) == pytest.approx(0.4 * 64 * 64, rel=0.1)
    assert encoded.values == (0, 1)


def test_a_start_that_decides_everything_stores_nothing(path):
    model = masked(ut.PartlyFrozen(ut.Dense(), 0.5, 0.499999))
    ut.save(model, path)
    assert all(encoded == ("bits", (), (), b"") for encoded in map(astuple, ut.Ticket.load(path).encoded().values()))
    assert state(ut.load(path, net())) == state(ut.bake_(model))


def astuple(encoded):
    return encoded.coding, encoded.values, encoded.counts, encoded.data


def test_a_summary_asks_for_no_more_bytes_than_are_stored():
    summary = ut.summary(masked(ut.PartlyFrozen(ut.EdgePopup(0.05), 0.8), model=nn.Linear(100, 100)))
    (tensor,) = summary.tensors
    assert summary.entropy_bytes <= tensor.stored_bytes + 8


@pytest.mark.parametrize(("steps", "dtype"), [(1, torch.float32), (254, torch.bfloat16), (255, torch.float32)])
def test_redrawn_weights_load_bit_for_bit(steps, dtype, path):
    # From draw 127 on the code is a negative int8, and after 254 comes 0.
    model = masked(ut.IteRand(0.4, period=1, rate=1.0), model=net().to(dtype))
    for step in range(1, steps + 1):
        ut.advance_(model, step, 300)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.copy_(torch.rand(scores.shape, generator=generator))
    ut.save(model, path, meta={"steps": steps})
    values = {value for codes in ut.Ticket.load(path).codes.values() for value in codes.unique().tolist()}
    assert values == {0, 1, (1 + steps % 255 + 128) % 256 - 128}
    assert state(ut.load(path, net().to(dtype))) == state(ut.bake_(model))


def test_a_search_that_is_not_over_loads_too(path):
    model = masked(ut.EdgePopup(ut.Cubic(0.9, 0.1)), ut.SignedConstant(scaled=True))
    ut.advance_(model, 1, 3)
    ut.save(model, path)
    ticket = ut.Ticket.load(path)
    assert ticket.method == ut.EdgePopup(0.1)
    kept = sum(int((codes != 0).sum()) for codes in ticket.codes.values())
    assert kept == 2 * math.ceil(ut.Cubic(0.9, 0.1).at(1 / 3) * 48)
    assert state(ut.load(path, net())) == state(ut.bake_(model))


# --- pretrained weights ---

PRETRAINED = [
    ut.PartlyFrozen(ut.EdgePopup(0.3), 0.3, 0.1),
    ut.PartlyFrozen(ut.Threshold(0.1, True), 0.3),
    ut.Biprop(0.3),
    ut.Multicoated(0.3),
    ut.Bernoulli(),
    ut.EdgePopup(0.5, structure=ut.NofM(2, 4)),
]


def backbone():
    torch.manual_seed(7)
    return net()


@pytest.mark.parametrize("method", PRETRAINED, ids=str)
def test_a_pretrained_model_loads_bit_for_bit(method, path):
    model = masked(method, None, backbone())
    ut.save(model, path)
    ticket = ut.Ticket.load(path)
    assert ticket.law is None
    ticket.verify(backbone())
    assert state(ut.load(path, backbone())) == state(ut.bake_(model))
    other = backbone()
    with torch.no_grad():
        other[0].weight.neg_()
    before = state(other)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*sha256"):
        ut.load(path, other)
    assert state(other) == before


def test_a_partly_frozen_pretrained_model_keeps_its_own_weights():
    model, own = masked(PRETRAINED[0], None, backbone()), backbone()
    for name, mask in ut.masks(model).items():
        assert int(mask.sum()) == math.ceil(0.3 * mask.numel())
        with ut.baked(model) as plain:
            assert torch.equal(plain.get_parameter(name), own.get_parameter(name) * mask)


@pytest.mark.parametrize(
    "method",
    [ut.SlotMachines(), {"0.weight": ut.EdgePopup(), "2.weight": ut.SlotMachines()}, ut.IteRand()],
    ids=["slots", "slots in the second", "redraws"],
)
def test_a_pretrained_model_has_one_value_a_weight(method):
    model = backbone()
    before, classes = state(model), [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=r"'[02]\.weight' has weights of its own .*cannot be drawn again"):
        ut.mask_(model, method, weights=None)
    assert state(model) == before and [type(module) for module in model.modules()] == classes
    assert all(parameter.requires_grad for parameter in model.parameters())
    ut.mask_(model, ut.EdgePopup(), weights=None)  # and it can still be masked


@given(st.sampled_from(list(KINDS.values())), st.sampled_from([ut.SignedConstant(scaled=True), ut.Prototype(), LAW]))
@settings(max_examples=20)
def test_a_ticket_is_written_the_same_again(tmp_path_factory, method, law):
    path = tmp_path_factory.mktemp("again") / "a.ticket"
    data = ut.Ticket.of(masked(method, law)).to_bytes()
    path.write_bytes(data)
    assert ut.Ticket.load(path).to_bytes() == data
    head, _ = opened(data)
    assert json.loads(canonical(head)) == head and "null" not in canonical(head["methods"])
