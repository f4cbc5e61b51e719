"""What is saved is what loads, bit for bit; and a second reader, written from docs/format.md alone, agrees."""

import hashlib
import itertools
import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import untrained as ut
from untrained import header
from untrained.models import NETWORKS, build
from zoo import ZOO

GOLDEN = Path(__file__).parent / "golden.ticket"
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


def raw(tensor):
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state(model):
    return {name: (tensor.dtype, tuple(tensor.shape), raw(tensor)) for name, tensor in model.state_dict().items()}


def assert_loads(masked, path, fresh, meta=None):
    """Save, load into a fresh model, and compare every bit with the baked model."""
    ut.save(masked, path, meta=meta)
    ticket = path.read_bytes()
    loaded = ut.load(path, fresh)
    expected = state(ut.bake_(masked))
    assert list(state(loaded)) == list(expected)
    assert state(loaded) == expected
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert ut.Ticket.load(path).to_bytes() == ticket
    return loaded


class Backwards(nn.Module):
    """Its tensors are not in alphabetical order."""

    def __init__(self):
        super().__init__()
        self.b, self.a = nn.Linear(8, 8), nn.Linear(8, 8)


def mlp():
    return ZOO["mlp"].build()


def masked_mlp(method=METHODS[0], **options):
    return ut.mask_(mlp(), method, seed=7, **options)


# --- round trips ---


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("animal", ZOO)
def test_what_is_saved_loads_bit_for_bit(animal, method, tmp_path):
    assert_loads(ut.mask_(ZOO[animal].build(), method, seed=3), tmp_path / "a.ticket", ZOO[animal].build())


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("animal", ["mlp", "grouped conv", "experts"])
def test_every_law_of_weights(animal, law, tmp_path):
    masked = ut.mask_(ZOO[animal].build(), ut.EdgePopup(0.3), seed=2**64 - 1, weights=law)
    assert_loads(masked, tmp_path / "a.ticket", ZOO[animal].build())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("animal", ["mlp", "conv"])
def test_every_precision(animal, when, dtype, tmp_path):
    plain, law = ZOO[animal].build(), ut.KaimingNormal()
    if when == "before":
        masked = ut.mask_(plain.to(dtype), METHODS[0], weights=law)
    else:
        masked = ut.mask_(plain, METHODS[0], weights=law).to(dtype)
    assert_loads(masked, tmp_path / "a.ticket", ZOO[animal].build().to(dtype))


@pytest.mark.parametrize("keep", [1e-9, 0.01, 0.5, 0.99, 1.0, 1])
def test_every_fraction(keep, tmp_path):
    assert_loads(masked_mlp(ut.EdgePopup(keep)), tmp_path / "a.ticket", mlp())


def test_what_is_not_masked_is_drawn_whole(tmp_path):
    masked = masked_mlp(where="0.weight", weights=ut.KaimingUniform())
    ticket = ut.Ticket.of(masked)
    assert list(ticket.codes) == ["0.weight"]
    assert (ticket.tensors["3.weight"].method, ticket.tensors["3.weight"].constant) == (None, None)
    assert not ticket.extra
    assert_loads(masked, tmp_path / "a.ticket", mlp())


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_each_pattern_has_its_method(order, tmp_path):
    methods = {f"{name}.weight": ut.EdgePopup(0.1 if name == "a" else 0.6) for name in order}
    masked = ut.mask_(Backwards(), methods, weights=ut.XavierConstant(scaled=True))
    assert_loads(masked, tmp_path / "a.ticket", Backwards())
    loaded = ut.Ticket.load(tmp_path / "a.ticket")
    assert {name: entry.method for name, entry in loaded.tensors.items() if entry.method} == methods


@pytest.mark.parametrize("also_train", [r".*\.bias", "3.weight", ".*"])
@pytest.mark.parametrize("weights", [ut.SignedConstant(), None], ids=str)
def test_what_was_trained_is_stored_whole(also_train, weights, tmp_path):
    where = {"where": "0.weight"}
    if also_train == ".*":
        also_train = lambda name, parameter: name != "0.weight"  # noqa: E731
    masked = masked_mlp(also_train=also_train, weights=weights, **where)
    trained = {name for name, parameter in masked.named_parameters() if parameter.requires_grad and "_mask" not in name}
    with torch.no_grad():
        for name in trained:
            masked.get_parameter(name).add_(0.125)
    assert set(ut.Ticket.of(masked).extra) == trained
    assert_loads(masked, tmp_path / "a.ticket", mlp())


def test_running_statistics_are_stored_whole(tmp_path):
    masked = ut.mask_(ZOO["conv"].build(), METHODS[0])
    masked(ZOO["conv"].input())
    assert set(ut.Ticket.of(masked).extra) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    loaded = assert_loads(masked, tmp_path / "a.ticket", ZOO["conv"].build())
    assert loaded[1].num_batches_tracked == 1


def test_tied_weights_stay_tied(tmp_path):
    masked = ut.mask_(ZOO["tied"].build(), METHODS[0])
    assert list(ut.Ticket.of(masked).tensors) == ["embedding.weight"]
    loaded = assert_loads(masked, tmp_path / "a.ticket", ZOO["tied"].build())
    assert loaded.head.weight is loaded.embedding.weight


def test_tensors_without_elements(tmp_path):
    def make():
        torch.manual_seed(0)
        return nn.ParameterDict({"none": torch.empty(3, 0), "some": torch.empty(3, 4)})

    assert_loads(ut.mask_(make(), METHODS[0]), tmp_path / "a.ticket", make())


def test_names_of_any_script(tmp_path):
    def make():
        return nn.ModuleDict({'größe "1"\n': nn.Linear(3, 2), "𝒲": nn.Linear(2, 3)})

    assert_loads(ut.mask_(make(), METHODS[0]), tmp_path / "a.ticket", make())


def test_a_loaded_model_keeps_its_own_memory_format(tmp_path):
    fresh = ZOO["conv"].build().to(memory_format=torch.channels_last)
    loaded = assert_loads(ut.mask_(ZOO["conv"].build(), METHODS[0]), tmp_path / "a.ticket", fresh)
    assert loaded[0].weight.is_contiguous(memory_format=torch.channels_last)


def to_half_and_back(model):
    return model.bfloat16().float()


def with_another_seeds_tensors(model):
    model.load_state_dict(ut.mask_(mlp(), METHODS[0], seed=8, weights=ut.KaimingNormal()).state_dict())


def with_another_bias(model):
    model.get_parameter("0.bias").data.fill_(0.5)


@pytest.mark.parametrize("change", [to_half_and_back, with_another_seeds_tensors, with_another_bias])
def test_frozen_tensors_that_the_seed_does_not_give_any_more(change, tmp_path):
    # Nobody may find out at the next load that the ticket holds another network than the one that was searched.
    masked = masked_mlp(weights=ut.KaimingNormal())
    change(masked)
    try:
        ut.save(masked, tmp_path / "a.ticket")
    except ValueError:
        return
    assert_loads(masked, tmp_path / "a.ticket", mlp())


# --- pretrained weights ---


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("animal", ZOO)
def test_a_pretrained_model_is_masked_and_loaded_again(animal, frozen, tmp_path):
    masked = ut.mask_(ZOO[animal].build(), METHODS[0], weights=None)
    masked(ZOO[animal].input())  # a norm in training mode goes on with its statistics
    assert_loads(masked, tmp_path / "a.ticket", ZOO[animal].build().requires_grad_(not frozen))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("changed", [name for name, _ in mlp().named_parameters()])
def test_another_pretrained_model_is_refused(changed, frozen, tmp_path):
    path = tmp_path / "a.ticket"
    masked = masked_mlp(weights=None)
    ut.save(masked, path)
    model = mlp().requires_grad_(not frozen)
    with torch.no_grad():
        kept = ut.bake_(masked).get_parameter(changed).nonzero()
        model.get_parameter(changed)[tuple(kept[-1])] += 1e-3  # one element
    before = state(model)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*sha256"):
        ut.load(path, model)
    assert state(model) == before


def test_weights_that_are_not_kept_may_differ(tmp_path):
    masked, model = masked_mlp(weights=None, where="0.weight"), mlp().requires_grad_(False)
    model[0].weight.data[~ut.masks(masked)["0.weight"]] = math.nan
    assert_loads(masked, tmp_path / "a.ticket", model)


def test_a_pretrained_ticket_is_verified_with_its_model(tmp_path):
    path = tmp_path / "a.ticket"
    ut.save(masked_mlp(weights=None), path)
    ticket = ut.Ticket.load(path)
    ticket.verify(mlp())
    with pytest.raises(ut.TicketError, match="pretrained"):
        ticket.verify()
    with pytest.raises(ut.TicketError, match="not in the model"):
        ticket.verify(nn.Linear(2, 2))
    other = mlp()
    other[0].weight.data.neg_()
    with pytest.raises(ut.TicketError, match="sha256"):
        ticket.verify(other)


def test_a_drawn_ticket_is_verified_alone():
    ticket = ut.Ticket.of(masked_mlp())
    ticket.verify()
    codes = {**ticket.codes, "0.weight": 1 - ticket.codes["0.weight"]}
    with pytest.raises(ut.TicketError, match="sha256"):
        ut.Ticket(**{**vars(ticket), "codes": codes}).verify()


# --- networks of ours load without a model ---

SMALL = {name: {"width": 0.05} for name in NETWORKS} | {"fc": {"widths": (16,), "shape": (1, 4, 4)}, "mnist-conv": {}}


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_ours_needs_no_model(name, tmp_path):
    masked = ut.mask_(build(name, **SMALL[name]), METHODS[0])
    ut.save(masked, tmp_path / "a.ticket")
    loaded = ut.load(tmp_path / "a.ticket")
    assert state(loaded) == state(ut.bake_(masked))
    assert loaded.built_by == masked.built_by


def test_another_network_needs_a_model(tmp_path):
    ut.save(masked_mlp(), tmp_path / "a.ticket")
    with pytest.raises(ut.TicketError, match=r"a\.ticket: .*pass a freshly built model"):
        ut.load(tmp_path / "a.ticket")


# --- the ticket in memory ---


def test_the_method_of_a_ticket(tmp_path):
    for method in METHODS:
        assert ut.Ticket.of(masked_mlp(method)).method == method
    several = ut.Ticket.of(masked_mlp({"0.weight": METHODS[0], "3.weight": METHODS[1]}))
    with pytest.raises(ValueError, match="2 methods"):
        _ = several.method


def test_equal_methods_are_one_before_and_after_the_file(tmp_path):
    ticket = ut.Ticket.of(masked_mlp({"0.weight": ut.EdgePopup(0.3), "3.weight": ut.EdgePopup(0.3)}))
    ticket.save(tmp_path / "a.ticket")
    assert ut.Ticket.load(tmp_path / "a.ticket").method == ut.EdgePopup(0.3)
    assert ticket.method == ut.EdgePopup(0.3)


def test_the_codes_are_the_masks():
    masked = masked_mlp()
    assert {n: (c.dtype, (c != 0).tolist()) for n, c in ut.Ticket.of(masked).codes.items()} == {
        name: (torch.int8, mask.tolist()) for name, mask in ut.masks(masked).items()
    }


def test_a_ticket_is_the_same_after_the_file(tmp_path):
    meta = {"b": [1, 2.5, None, True], "a": {"ü": "\u2028 𝒲 \x00"}, "big": 10**40, "small": -0.0}
    masked = ut.mask_(ZOO["conv"].build(), METHODS[0])
    ticket = ut.Ticket.of(masked, meta)
    ticket.save(tmp_path / "a.ticket")
    loaded = ut.Ticket.load(tmp_path / "a.ticket")
    assert loaded.meta == ticket.meta == meta
    assert loaded.tensors == ticket.tensors
    assert {n: raw(c) for n, c in loaded.codes.items()} == {n: raw(c) for n, c in ticket.codes.items()}
    assert {n: raw(t) for n, t in loaded.extra.items()} == {n: raw(t) for n, t in ticket.extra.items()}
    for field in ("seed", "law", "built_by", "weights_sha256", "sample_sha256"):
        assert getattr(loaded, field) == getattr(ticket, field)


def test_a_ticket_shares_no_memory_with_the_model():
    masked = ut.mask_(ZOO["conv"].build(), METHODS[0])
    ticket = ut.Ticket.of(masked)
    before = ticket.to_bytes()
    masked[1].running_mean.fill_(9)
    next(iter(ut.scores(masked))).data.neg_()
    assert ticket.to_bytes() == before


@pytest.mark.parametrize(
    "meta", [{"a": math.nan}, {"a": math.inf}, {"a": {1, 2}}, {"a": torch.ones(1)}, {1: 2, "a": 3}]
)
def test_meta_that_is_not_json_is_refused(meta, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        ut.save(masked_mlp(), tmp_path / "a.ticket", meta=meta)
    assert list(tmp_path.iterdir()) == []


def test_an_unmasked_model_has_no_ticket(tmp_path):
    with pytest.raises(ValueError, match="not masked"):
        ut.save(mlp(), tmp_path / "a.ticket")


def test_saving_leaves_the_model_as_it_was(tmp_path):
    masked = masked_mlp()
    before = state(masked)
    ut.save(masked, tmp_path / "a.ticket")
    assert state(masked) == before
    assert len(ut.scores(masked)) == 2


# --- the same ticket, the same bytes ---


def many_tickets():
    """sha256 of the bytes of one ticket of each animal."""
    digests = []
    for animal in ZOO.values():
        meta = dict.fromkeys({"one", "two", "three", "four"})  # a set has another order in each process
        masked = ut.mask_(animal.build(), METHODS[0], weights=ut.KaimingNormal(scaled=True))
        digests.append(hashlib.sha256(ut.Ticket.of(masked, meta).to_bytes()).hexdigest())
    return digests


def test_the_same_ticket_has_the_same_bytes_in_every_process():
    code = "import test_ticket; print(*test_ticket.many_tickets())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == many_tickets() == many_tickets()


def golden_ticket():
    """An fc network whose scores come from integers alone; its two tensors are coded in the two ways."""
    network = ut.mask_(
        build("fc", widths=[16], shape=[1, 8, 8]), ut.EdgePopup(0.3), seed=42, weights=ut.KaimingNormal()
    )
    with torch.no_grad():
        for scores in ut.scores(network):
            scores.copy_((torch.arange(scores.numel()) * 7919 % 10007 - 5000).reshape(scores.shape))
    meta = {"task": "classification", "data": "digits", "labels": list("0123456789"), "shape": [1, 8, 8]}
    return ut.Ticket.of(network, meta | {"mean": [0.3053], "std": [0.3762], "accuracy": 0.125, "val_accuracy": 1e-05})


def test_the_golden_file_is_written_again_byte_by_byte(monkeypatch):
    monkeypatch.setattr(header, "__version__", "0.1.0")  # all that a new version may change
    assert golden_ticket().to_bytes() == ut.Ticket.load(GOLDEN).to_bytes() == GOLDEN.read_bytes()


def test_the_golden_file_loads_to_its_weights():
    ticket = ut.Ticket.load(GOLDEN)
    ticket.verify()
    weights = b"".join(raw(tensor) for _, tensor in sorted(ut.load(GOLDEN).state_dict().items()))
    assert hashlib.sha256(weights).hexdigest() == GOLDEN_WEIGHTS
    assert ticket.meta["data"] == "digits" and ticket.method == ut.EdgePopup(0.3)


# --- sizes ---


@pytest.mark.parametrize("keep", [0.5, 0.3, 0.1, 0.05])
def test_the_file_takes_what_entropy_allows(keep, tmp_path):
    path = tmp_path / "a.ticket"
    ut.save(ut.mask_(nn.Linear(500, 220, bias=False), ut.EdgePopup(keep)), path)
    n, data = 500 * 220, path.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    entropy = -(keep * math.log2(keep) + (1 - keep) * math.log2(1 - keep))
    assert head < 1200
    assert n * entropy / 8 * 0.995 < len(data) <= n * entropy / 8 * 1.005 + head


def test_a_network_for_mnist_takes_86_kilobytes(tmp_path):
    ut.save(ut.mask_(build("fc", widths=[512, 512]), ut.EdgePopup(0.5)), tmp_path / "a.ticket")
    assert (tmp_path / "a.ticket").stat().st_size <= 86_000


# --- misfits ---


class Renamed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16))
        self.head = nn.Linear(16, 8)


def with_buffer(persistent):
    model = mlp()
    model.register_buffer("scale", torch.ones(3), persistent=persistent)
    return model


def other(layer, index):
    model = mlp()
    model[index] = layer
    return model


MISFITS = {
    "missing": (Renamed, "'3.(weight|bias)' is in the ticket and not in the model"),
    "missing bias": (lambda: other(nn.Linear(16, 8, bias=False), 3), "'3.bias' is in the ticket and not in the model"),
    "unknown": (lambda: nn.Sequential(*mlp(), nn.Linear(8, 8)), r"'4.weight' \(8, 8\) is in the model and not"),
    "unknown buffer": (lambda: with_buffer(True), r"'scale' \(3,\) is in the model and not in the ticket"),
    "shape": (
        lambda: other(nn.Linear(16, 9), 3),
        r"'3.(weight|bias)' has shape \(8(, 16|,)\) in the ticket and \(9(, 16|,)\) in the model",
    ),
    "transposed": (lambda: other(nn.Linear(16, 8, bias=False), 0), r"'0.(weight|bias)' (has shape|is in)"),
    "dtype": (lambda: mlp().double(), "'0.(weight|bias)' is float32 in the ticket and float64 in the model"),
    "one dtype": (
        lambda: other(nn.Linear(16, 8, dtype=torch.bfloat16), 3),
        "'3.(weight|bias)' is float32 in the ticket and bfloat16 in the model",
    ),
    "masked": (masked_mlp, "the model is masked"),
    "empty": (nn.Module, "'0.(weight|bias)' is in the ticket and not in the model"),
}


@pytest.mark.parametrize(("make", "message"), MISFITS.values(), ids=MISFITS)
def test_a_model_that_does_not_fit_is_left_as_it_was(make, message, tmp_path):
    ut.save(masked_mlp(), tmp_path / "a.ticket")
    model = make()
    before, learning = state(model), [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ut.TicketError, match=rf"a\.ticket: {message}"):
        ut.load(tmp_path / "a.ticket", model)
    assert state(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == learning


def test_a_buffer_that_is_not_saved_is_no_misfit(tmp_path):
    ut.save(masked_mlp(), tmp_path / "a.ticket")
    ut.load(tmp_path / "a.ticket", with_buffer(False))


def test_extra_tensors_must_fit_too(tmp_path):
    masked = ut.mask_(ZOO["conv"].build(), METHODS[0])
    ut.save(masked, tmp_path / "a.ticket")
    model = ZOO["conv"].build()
    model[1] = nn.BatchNorm2d(8, track_running_stats=False)
    before = state(model)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: '1\.\w+' is in the ticket and not in the model"):
        ut.load(tmp_path / "a.ticket", model)
    assert state(model) == before


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
def test_a_killed_save_leaves_the_old_file(step, stop, exists, tmp_path, monkeypatch):
    path = tmp_path / "a.ticket"
    if exists:
        ut.save(masked_mlp(ut.Dense()), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(step, stop)
        ut.save(masked_mlp(), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    ut.save(masked_mlp(), path)
    assert ut.Ticket.load(path).method == METHODS[0]


# --- a second reader, from docs/format.md and nothing else ---

GAINS = {"relu": 2**0.5, "linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "selu": 0.75}
GAINS["leaky_relu"] = math.sqrt(2 / (1 + 0.01 * 0.01))
UNITS = {"SignedConstant": "sign", "XavierConstant": "sign", "UnsignedConstant": "one"}
UNITS |= {"KaimingNormal": "normal", "XavierNormal": "normal"}
UNITS |= {"KaimingUniform": "uniform", "XavierUniform": "uniform", "Standard": "uniform"}
A = [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080]  # fmt: skip
B = [5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0]  # fmt: skip
C = [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734]  # fmt: skip
D = [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0]  # fmt: skip
NUMPY = {"U8": "u1", "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8"}
SPELLED = {"U8": "uint8", "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


def stranger_words(seed, name, count):
    h0, h1 = struct.unpack("<II", hashlib.sha256(name.encode()).digest()[:8])
    drawn = []
    for block in range(-(-count // 4)):
        c0, c1, c2, c3, k0, k1 = block % 2**32, block >> 32, h0, h1, seed % 2**32, seed >> 32
        for _ in range(10):
            first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
            c0, c1, c2, c3 = second >> 32 ^ c1 ^ k0, second % 2**32, first >> 32 ^ c3 ^ k1, first % 2**32
            k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
        drawn += [c0, c1, c2, c3]
    return drawn[:count]


def stranger_polynomial(coefficients, x):
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


def stranger_ln(x):
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = m * 2, e - 1
    t = (m - 1) / (m + 1)
    return 2 * t * stranger_polynomial([1 / odd for odd in range(23, 0, -2)], t * t) + e * 0.6931471805599453


def stranger_normal(word):
    q = (2 * word + 1 - 2**32) * 2.0**-33
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * (stranger_polynomial(A, r) / stranger_polynomial(B, r))
    r = math.sqrt(-stranger_ln(0.5 - abs(q))) - 1.6
    return math.copysign(stranger_polynomial(C, r) / stranger_polynomial(D, r), q)


def stranger_units(kind, seed, name, n):
    if kind == "sign":
        words = stranger_words(seed, name, -(-n // 32))
        return [1.0 if words[i // 32] >> i % 32 & 1 else -1.0 for i in range(n)]
    if kind == "one":
        return [1.0] * n
    words = stranger_words(seed, name, n)
    if kind == "uniform":
        return [(2 * (word // 2**8) + 1 - 2**24) * 2.0**-24 for word in words]
    return [stranger_normal(word) for word in words]


def stranger_scale(law, shape, keep):
    fan_in, fan_out = shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])
    name, gain = law["name"], GAINS[law.get("nonlinearity", "linear")]
    if name == "Standard":
        scale = 1 / math.sqrt(fan_in)
    elif name.startswith("Xavier"):
        scale = gain * math.sqrt(2 / (fan_in + fan_out))
    else:
        scale = gain / math.sqrt(fan_in if law["fan"] == "in" else fan_out)
    if name in ("KaimingUniform", "XavierUniform"):
        scale = math.sqrt(3) * scale
    return scale * math.sqrt(1 / keep) if law["scaled"] else scale


def stranger_codes(entry, data):
    n, values, counts = math.prod(entry["shape"]), entry["values"], entry["counts"]
    assert sum(counts) == n and values == sorted(set(values))
    if entry["coding"] == "bits":
        width = math.ceil(math.log2(len(values))) if len(values) > 1 else 0
        assert len(data) == math.ceil(n * width / 8)
        number = int.from_bytes(data, "little")
        symbols = [number >> i * width & (2**width - 1) for i in range(n)]
        assert number >> n * width == 0
    else:
        frequencies = [max(1, count * 2**24 // n) for count in counts]
        frequencies[counts.index(max(counts))] += 2**24 - sum(frequencies)
        starts = [0, *itertools.accumulate(frequencies)]
        words, state, symbols = list(struct.unpack(f"<{len(data) // 4}I", data)), 0, []
        assert words[-1] != 0
        while state < 2**32 and words:
            state = state * 2**32 + words.pop()
        for _ in range(n):
            q = state % 2**24
            i = next(i for i in range(len(counts)) if starts[i] <= q < starts[i + 1])
            state = state // 2**24 * frequencies[i] + q - starts[i]
            if state < 2**32 and words:
                state = state * 2**32 + words.pop()
            symbols.append(i)
        assert state == 0 and not words
    assert [symbols.count(i) for i in range(len(values))] == counts
    return [values[symbol] for symbol in symbols]


def stranger_bytes(weights, dtype):
    """A float32 array rounded to a dtype, as bytes."""
    if dtype != "bfloat16":
        return weights.astype(f"<f{int(dtype.removeprefix('float')) // 8}").tobytes()
    bits = weights.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype("<u2").tobytes()


def stranger_reads(file, base=None):
    """All tensors of a ticket: name → (dtype, shape, bytes). `base` holds a pretrained model's, likewise."""
    size = int.from_bytes(file[:8], "little")
    index, data = json.loads(file[8 : 8 + size]), file[8 + size :]
    text = index.pop("__metadata__")["untrained"]
    stored = {}
    for name, line in index.items():
        start, end = line["data_offsets"]
        stored[name] = SPELLED[line["dtype"]], tuple(line["shape"]), data[start:end]
    head = json.loads(text)
    assert json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False) == text
    assert head["format"] == 1

    claimed = head.pop("sha256")
    digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for name, (dtype, shape, content) in sorted(stored.items()):
        digest.update(f"\n{name} {dtype} {','.join(map(str, shape))}\n".encode() + content)
    assert digest.hexdigest() == claimed

    read = {name.removeprefix("extra/"): value for name, value in stored.items() if name.startswith("extra/")}
    full, sample = hashlib.sha256(), hashlib.sha256()
    for name, entry in sorted(head["tensors"].items()):
        shape, dtype, n = tuple(entry["shape"]), entry["dtype"], math.prod(entry["shape"])
        method = head["methods"][entry["method"]] if "method" in entry else {}
        if "constant" in entry:
            drawn = stranger_bytes(np.full(n, entry["constant"], np.float32), dtype)
        elif head["weights"] is None:
            drawn = base[name][2]
        else:
            units = np.array(stranger_units(UNITS[head["weights"]["name"]], head["seed"], name, n), np.float32)
            scale = stranger_scale(head["weights"], shape, method.get("keep", 1.0)) if n else 0
            drawn = stranger_bytes(units * np.float32(scale), dtype)
        elements = [drawn[i * len(drawn) // n : (i + 1) * len(drawn) // n] for i in range(n)]
        if method:
            codes = stranger_codes(entry, stored[f"codes/{name}"][2])
            elements = [e if code else bytes(len(e)) for e, code in zip(elements, codes, strict=True)]
        m = min(256, n)
        for whole, part in ((full, elements), (sample, [elements[j * n // m] for j in range(m)])):
            whole.update(f"\n{name}\n".encode() + b"".join(part))
        read[name] = dtype, shape, b"".join(elements)
    assert (full.hexdigest(), sample.hexdigest()) == (head["weights_sha256"], head["sample_sha256"])
    return read, {entry["coding"] for entry in head["tensors"].values() if "coding" in entry}


def spelled(model):
    return {name: (str(d).removeprefix("torch."), shape, b) for name, (d, shape, b) in state(model).items()}


def test_a_stranger_reads_the_golden_file():
    read, codings = stranger_reads(GOLDEN.read_bytes())
    assert codings == {"bits", "ans"}
    assert read == spelled(ut.load(GOLDEN))


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.float16])
def test_a_stranger_reads_every_law(law, dtype):
    model = nn.Sequential(nn.Linear(24, 40), nn.Linear(40, 4)).to(dtype)
    masked = ut.mask_(model, {"0.weight": ut.EdgePopup(0.07)}, seed=2**63 + 11, weights=law)
    read, codings = stranger_reads(ut.Ticket.of(masked).to_bytes())
    assert codings == {"ans"}
    assert read == spelled(ut.bake_(masked))


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("animal", [name for name in ZOO if name != "tied"])
def test_a_stranger_reads_every_model(animal, method):
    masked = ut.mask_(ZOO[animal].build(), method, seed=5)
    masked(ZOO[animal].input())
    read, _ = stranger_reads(ut.Ticket.of(masked).to_bytes())
    assert read == spelled(ut.bake_(masked))


def test_a_stranger_reads_codes_of_many_values():
    # No method of today gives more than two codes; the format has room for 256.
    ticket = ut.Ticket.of(masked_mlp())
    codes = {"0.weight": torch.arange(128).reshape(16, 8).to(torch.int8) % 5 - 2}
    codes["3.weight"] = (torch.arange(128).reshape(8, 16) % 11 == 0).to(torch.int8) * 3 - 1
    changed = ut.Ticket(**{**vars(ticket), "codes": {**ticket.codes, **codes}})
    hashed = dict(changed.rebuilt())
    digest = hashlib.sha256(b"".join(f"\n{name}\n".encode() + raw(tensor) for name, tensor in sorted(hashed.items())))
    sums = {"weights_sha256": digest.hexdigest(), "sample_sha256": digest.hexdigest()}  # all below 257 elements
    read, _ = stranger_reads(ut.Ticket(**{**vars(changed), **sums}).to_bytes())
    assert {name: read[name][2] for name in hashed} == {name: raw(tensor) for name, tensor in hashed.items()}


def test_a_stranger_reads_a_pretrained_ticket():
    base = spelled(mlp())
    masked = masked_mlp(weights=None)
    read, _ = stranger_reads(ut.Ticket.of(masked).to_bytes(), base)
    assert base | read == spelled(ut.bake_(masked))
