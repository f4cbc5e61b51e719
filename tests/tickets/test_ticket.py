"""Tickets: what is saved is what loads, bit for bit, and a second reader agrees."""

import hashlib
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

import untrained as ut
from hostile import masked, net
from round_trip import assert_loads, masked_mlp, mlp, raw, state
from untrained.models import NETWORKS, build
from untrained.tickets import header
from zoo import ZOO

GOLDEN = Path(__file__).parents[1] / "golden.ticket"
GOLDEN_WEIGHTS = "b4aa325fc801f09680f269c6246d538e5cc07b04ddabdede56d933a7a85dabf0"
METHODS = [
    ut.EdgePopup(0.3),
    ut.EdgePopup(0.5, "global"),
    ut.EdgePopup(0.05, signed=True),
    ut.EdgePopup(1.0),
    ut.RandomSubnetwork(0.3),
    ut.Dense(),
]
LAWS = [
    ut.SignedConstant(),
    ut.SignedConstant(fan="out", nonlinearity="tanh", scaled=True),
    ut.UnsignedConstant(scaled=True),
    ut.KaimingNormal(nonlinearity="leaky_relu"),
    ut.KaimingNormal(scaled=True),
    ut.KaimingUniform(fan="out", nonlinearity="selu"),
    ut.XavierNormal(scaled=True),
    ut.XavierUniform(nonlinearity="sigmoid"),
    ut.XavierConstant(),
    ut.Standard(scaled=True),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


class Backwards(nn.Module):
    """Its tensors are not in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.b, self.a = nn.Linear(8, 8), nn.Linear(8, 8)


# --- round trips ---


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("case", ZOO.values(), ids=ZOO)
def test_what_is_saved_loads_bit_for_bit(case, method, path):
    model = ut.mask_(case.build(), method, seed=3)
    model(case.input())  # a norm in training mode goes on with its statistics
    assert_loads(model, path, case.build())


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_law_in_every_precision(law, dtype, path):
    def build():
        return nn.ModuleDict({"linear": nn.Linear(24, 40), "conv": nn.Conv2d(4, 6, 3, groups=2)}).to(dtype)

    model = ut.mask_(build(), {"linear.weight": ut.EdgePopup(0.07)}, seed=2**64 - 1, weights=law)
    _, codings = assert_loads(model, path, build())
    assert codings == {"ans"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_precision_after_the_mask(dtype, path):
    model = ut.mask_(ZOO["conv"].build(), METHODS[0], weights=ut.KaimingNormal()).to(dtype)
    assert_loads(model, path, ZOO["conv"].build().to(dtype))


@pytest.mark.parametrize("keep", [1e-9, 0.01, 0.5, 0.99, 1.0, 1])
def test_every_fraction(keep, path):
    assert_loads(masked_mlp(ut.EdgePopup(keep)), path, mlp())


def test_what_is_not_masked_is_drawn_whole(path):
    model = masked_mlp(where="0.weight", weights=ut.KaimingUniform())
    ticket = ut.Ticket.of(model)
    assert list(ticket.codes) == ["0.weight"]
    assert (ticket.tensors["3.weight"].method, ticket.tensors["3.weight"].constant) == (None, None)
    assert not ticket.extra
    assert_loads(model, path, mlp())


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_each_pattern_has_its_method(order, path):
    methods = {f"{name}.weight": ut.EdgePopup(0.1 if name == "a" else 0.6) for name in order}
    assert_loads(ut.mask_(Backwards(), methods, weights=ut.XavierConstant(scaled=True)), path, Backwards())
    loaded = ut.Ticket.load(path)
    assert {name: entry.method for name, entry in loaded.tensors.items() if entry.method} == methods


@pytest.mark.parametrize(
    "also_train",
    [r".*\.bias", "3.weight", lambda name, parameter: name != "0.weight"],
    ids=["pattern", "name", "function"],
)
@pytest.mark.parametrize("weights", [ut.SignedConstant(), None], ids=str)
def test_what_was_trained_is_stored_whole(also_train, weights, path):
    model = masked_mlp(also_train=also_train, weights=weights, where="0.weight")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad and "_mask" not in name}
    with torch.no_grad():
        for name in trained:
            model.get_parameter(name).add_(0.125)
    assert set(ut.Ticket.of(model).extra) == trained
    assert_loads(model, path, mlp())


def test_running_statistics_are_stored_whole(path):
    model = ut.mask_(ZOO["conv"].build(), METHODS[0])
    model(ZOO["conv"].input())
    assert set(ut.Ticket.of(model).extra) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    loaded, _ = assert_loads(model, path, ZOO["conv"].build())
    assert loaded[1].num_batches_tracked == 1


def test_tied_weights_stay_tied(path):
    model = ut.mask_(ZOO["tied"].build(), METHODS[0])
    assert list(ut.Ticket.of(model).tensors) == ["embedding.weight"]
    loaded, _ = assert_loads(model, path, ZOO["tied"].build())
    assert loaded.head.weight is loaded.embedding.weight


def test_tensors_without_elements_and_names_of_any_script(path):
    def make():
        torch.manual_seed(0)
        odd = nn.ModuleDict({'größe "1"\n': nn.Linear(3, 2), "𝒲": nn.Linear(2, 3)})
        return nn.ModuleList([nn.ParameterDict({"none": torch.empty(3, 0), "some": torch.empty(3, 4)}), odd])

    assert_loads(ut.mask_(make(), METHODS[0]), path, make())


def test_a_loaded_model_keeps_its_own_memory_format(path):
    fresh = ZOO["conv"].build().to(memory_format=torch.channels_last)
    loaded, _ = assert_loads(ut.mask_(ZOO["conv"].build(), METHODS[0]), path, fresh)
    assert loaded[0].weight.is_contiguous(memory_format=torch.channels_last)


# --- methods with codes of their own ---


def test_only_undecided_codes_are_stored():
    ticket = ut.Ticket.of(masked(ut.PartlyFrozen(ut.EdgePopup(0.2), 0.5, 0.1), model=nn.Linear(64, 64)))
    (encoded,) = ticket.encoded().values()
    assert sum(encoded.counts) == pytest.approx(0.4 * 64 * 64, rel=0.1)
    assert encoded.values == (0, 1)


def test_a_start_that_decides_everything_stores_nothing(path):
    assert_loads(masked(ut.PartlyFrozen(ut.Dense(), 0.5, 0.499999)), path, net(), second=False)
    stored = ut.Ticket.load(path).encoded().values()
    assert all((e.coding, e.values, e.counts, e.data) == ("bits", (), (), b"") for e in stored)


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
    values = {value for codes in ut.Ticket.of(model).codes.values() for value in codes.unique().tolist()}
    assert values == {0, 1, (1 + steps % 255 + 128) % 256 - 128}
    assert_loads(model, path, net().to(dtype), meta={"steps": steps})


def test_a_search_that_is_not_over_loads_too(path):
    model = masked(ut.EdgePopup(ut.Cubic(0.9, 0.1)), ut.SignedConstant(scaled=True))
    ut.advance_(model, 1, 3)
    assert_loads(model, path, net())
    ticket = ut.Ticket.load(path)
    assert ticket.method == ut.EdgePopup(0.1)
    kept = sum(int((codes != 0).sum()) for codes in ticket.codes.values())
    assert kept == 2 * math.ceil(ut.Cubic(0.9, 0.1).at(1 / 3) * 48)


def test_a_drawn_ticket_is_verified_alone():
    ticket = ut.Ticket.of(masked_mlp())
    ticket.verify()
    codes = {**ticket.codes, "0.weight": 1 - ticket.codes["0.weight"]}
    with pytest.raises(ut.TicketError, match="sha256"):
        ut.Ticket(**{**vars(ticket), "codes": codes}).verify()


# --- networks of ours load without a model ---

SMALL = {name: {"width": 0.05} for name in NETWORKS} | {"fc": {"widths": (16,), "shape": (1, 4, 4)}, "mnist-conv": {}}


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_ours_needs_no_model(name, path):
    model = ut.mask_(build(name, **SMALL[name]), METHODS[0])
    ut.save(model, path)
    before = torch.get_rng_state()
    loaded = ut.load(path)
    assert torch.equal(torch.get_rng_state(), before)  # it is not drawn before the ticket is
    assert loaded.built_by == model.built_by
    assert all(map(torch.equal, loaded.state_dict().values(), ut.bake_(model).state_dict().values()))


def test_another_network_needs_a_model(path):
    ut.save(masked_mlp(), path)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*pass a freshly built model"):
        ut.load(path)


# --- the ticket in memory ---


def test_the_method_of_a_ticket(path):
    # Equal methods are one, before and after the file.
    equal = masked_mlp({"0.weight": METHODS[0], "3.weight": ut.EdgePopup(0.3)})
    ut.save(equal, path)
    assert ut.Ticket.of(equal).method == ut.Ticket.load(path).method == METHODS[0]
    several = ut.Ticket.of(masked_mlp({"0.weight": METHODS[0], "3.weight": METHODS[1]}))
    with pytest.raises(ValueError, match="2 methods"):
        _ = several.method


def test_a_ticket_is_the_same_after_the_file(path):
    meta = {"b": [1, 2.5, None, True], "a": {"ü": "\u2028 𝒲 \x00"}, "big": 10**40, "small": -0.0}
    model = ut.mask_(ZOO["conv"].build(), METHODS[0])
    ticket = ut.Ticket.of(model, meta)
    ticket.save(path)
    loaded = ut.Ticket.load(path)
    assert loaded.meta == ticket.meta == meta
    assert loaded.tensors == ticket.tensors
    assert {n: (c != 0).tolist() for n, c in loaded.codes.items()} == {
        n: m.tolist() for n, m in ut.masks(model).items()
    }
    assert {n: raw(c) for n, c in loaded.codes.items()} == {n: raw(c) for n, c in ticket.codes.items()}
    assert {n: raw(t) for n, t in loaded.extra.items()} == {n: raw(t) for n, t in ticket.extra.items()}
    for field in ("seed", "law", "built_by", "weights_sha256", "sample_sha256"):
        assert getattr(loaded, field) == getattr(ticket, field)


def test_a_ticket_shares_no_memory_with_the_model_and_leaves_it_as_it_was():
    model = ut.mask_(ZOO["conv"].build(), METHODS[0])
    before = state(model)
    ticket = ut.Ticket.of(model)
    data = ticket.to_bytes()
    assert state(model) == before and len(ut.scores(model)) == 2
    model[1].running_mean.fill_(9)
    next(iter(ut.scores(model))).data.neg_()
    assert ticket.to_bytes() == data


@pytest.mark.parametrize(
    ("meta", "message"),
    [({"a": math.nan}, "JSON"), ({"a": math.inf}, "JSON"), ({"a": {1, 2}}, "JSON"), ({"a": torch.ones(1)}, "JSON"),
     ({1: 2, "a": 3}, "JSON"), ({"a": {1: 2, "b": 3}}, "keys must be strings, got 1")],
)  # fmt: skip
def test_meta_that_is_not_json_is_refused(meta, message, path):
    with pytest.raises(ValueError, match=message):
        ut.save(masked_mlp(), path, meta=meta)
    assert not path.exists()


def test_meta_that_no_header_can_hold_is_a_value_error(path, monkeypatch):
    def too_large(*_, **__):
        raise SafetensorError("header too large")

    monkeypatch.setattr("untrained.tickets.file.safetensors.torch.save", too_large)
    monkeypatch.setattr("untrained.tickets.container.LONGEST", 1000)
    for format, why in ((1, r" \(header too large\)"), (2, "")):
        with pytest.raises(ValueError, match=rf"its header takes [\d,]+ bytes, 1,008 of them meta{why}"):
            ut.Ticket.of(masked_mlp(), {"a": "x" * 1000}).save(path, format)
    assert not path.exists()


def test_a_file_name_that_is_not_unicode(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9\xff.ticket"))
    model = masked_mlp()
    try:
        ut.save(model, path)
    except OSError:
        pytest.skip("no such names here")
    assert state(ut.load(path, mlp())) == state(ut.bake_(model))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ut.TicketError, match="ticket"):
        ut.load(path, mlp())


# --- the same ticket, the same bytes ---


def with_integer_scores(model):
    """Scores that are the same on every processor."""
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.copy_((torch.arange(scores.numel()) * 7919 % 10007 - 5000).reshape(scores.shape))
    return model


def golden_ticket():
    """An fc network whose scores come from integers alone; its two tensors are coded in the two ways."""
    network = build("fc", widths=[16], shape=[1, 8, 8])
    network = with_integer_scores(ut.mask_(network, ut.EdgePopup(0.3), seed=42, weights=ut.KaimingNormal()))
    meta = {"task": "classification", "data": "digits", "labels": list("0123456789"), "shape": [1, 8, 8]}
    return ut.Ticket.of(network, meta | {"mean": [0.3053], "std": [0.3762], "accuracy": 0.125, "val_accuracy": 1e-05})


def test_the_golden_file_is_written_again_byte_by_byte(monkeypatch):
    monkeypatch.setattr(header, "__version__", "0.1.0")  # all that a new version may change
    assert golden_ticket().to_bytes(1) == ut.Ticket.load(GOLDEN).to_bytes() == GOLDEN.read_bytes()


def test_the_golden_file_loads_to_its_weights():
    ticket = ut.Ticket.load(GOLDEN)
    ticket.verify()
    weights = b"".join(raw(tensor) for _, tensor in sorted(ut.load(GOLDEN).state_dict().items()))
    assert hashlib.sha256(weights).hexdigest() == GOLDEN_WEIGHTS
    assert ticket.meta["data"] == "digits" and ticket.method == ut.EdgePopup(0.3)


def test_the_same_ticket_has_the_same_bytes_in_every_process(monkeypatch):
    monkeypatch.setattr(header, "__version__", "0.1.0")
    digest = hashlib.sha256()
    for case in ZOO.values():
        meta = dict.fromkeys({"one", "two", "three", "four"})  # a set has another order in each process
        law = ut.KaimingNormal(scaled=True)
        model = with_integer_scores(ut.mask_(case.build(), METHODS[0], weights=law))
        digest.update(ut.Ticket.of(model, meta).to_bytes(1))
    assert digest.hexdigest() == "11359332717bde393713123cf3df55a2dc7e6985c57cc2aff583003d26e49b50"


# --- sizes ---


@pytest.mark.parametrize("keep", [0.5, 0.3, 0.1, 0.05])
def test_the_file_takes_what_entropy_allows(keep, path):
    # Of format 1: in format 2 the seed tells all of a mask that nothing has moved.
    ut.Ticket.of(ut.mask_(nn.Linear(500, 220, bias=False), ut.EdgePopup(keep))).save(path, 1)
    n, data = 500 * 220, path.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    entropy = -(keep * math.log2(keep) + (1 - keep) * math.log2(1 - keep))
    assert head < 1200
    assert n * entropy / 8 * 0.995 < len(data) <= n * entropy / 8 * 1.005 + head


def test_a_network_for_mnist_takes_86_kilobytes(path):
    ticket = ut.Ticket.of(with_integer_scores(ut.mask_(build("fc", widths=[512, 512]), ut.EdgePopup(0.5))))
    for format, most in ((1, 86_000), (2, 84_000)):
        ticket.save(path, format)
        assert path.stat().st_size <= most


# --- a save that is killed ---


def half_written(path, data):
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise KeyboardInterrupt


def killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    ("step", "stop"),
    [("pathlib.Path.write_bytes", half_written), ("os.fsync", killed), ("pathlib.Path.replace", killed)],
)
def test_a_killed_save_leaves_the_old_file(step, stop, exists, path, monkeypatch):
    if exists:
        ut.save(masked_mlp(ut.Dense()), path)
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(step, stop)
        ut.save(masked_mlp(), path)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    ut.save(masked_mlp(), path)
    assert ut.Ticket.load(path).method == METHODS[0]
