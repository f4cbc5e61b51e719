"""What is saved is what loads, bit for bit; and a second reader, written from docs/format.md alone, agrees."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

import untrained as ut
from stranger import stranger_reads
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
@pytest.mark.parametrize("case", ZOO)
def test_what_is_saved_loads_bit_for_bit(case, method, tmp_path):
    assert_loads(ut.mask_(ZOO[case].build(), method, seed=3), tmp_path / "a.ticket", ZOO[case].build())


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("case", ["mlp", "grouped conv", "experts"])
def test_every_law_of_weights(case, law, tmp_path):
    masked = ut.mask_(ZOO[case].build(), ut.EdgePopup(0.3), seed=2**64 - 1, weights=law)
    assert_loads(masked, tmp_path / "a.ticket", ZOO[case].build())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("case", ["mlp", "conv"])
def test_every_precision(case, when, dtype, tmp_path):
    plain, law = ZOO[case].build(), ut.KaimingNormal()
    if when == "before":
        masked = ut.mask_(plain.to(dtype), METHODS[0], weights=law)
    else:
        masked = ut.mask_(plain, METHODS[0], weights=law).to(dtype)
    assert_loads(masked, tmp_path / "a.ticket", ZOO[case].build().to(dtype))


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


def with_one_sign_turned(model):
    model[0].weight_mask.frozen.data[3, 2].neg_()


def with_one_weight_cut(model):
    model[0].weight_mask.frozen.data[ut.masks(model)["0.weight"]] = 0


def a_little_trained(model):
    model[0].weight_mask.frozen.data.mul_(1 + 2**-11)


CHANGES = [to_half_and_back, with_another_seeds_tensors, with_another_bias, with_one_sign_turned, with_one_weight_cut,
           a_little_trained]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_frozen_tensors_that_the_seed_does_not_give_any_more(change, tmp_path):
    # Nobody may find out at the next load that the ticket holds another network than the one that was searched.
    masked = masked_mlp(weights=ut.KaimingNormal())
    change(masked)
    try:
        ut.save(masked, tmp_path / "a.ticket")
    except ValueError as error:
        assert "load and average those alone" in str(error)
        return
    assert_loads(masked, tmp_path / "a.ticket", mlp())


@pytest.mark.parametrize("method", [ut.EdgePopup(0.5), ut.Biprop(0.5), ut.SlotMachines(3), ut.IteRand(0.5)], ids=str)
@pytest.mark.parametrize("law", [ut.SignedConstant(), ut.KaimingNormal()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decay", [0.9, 0.9998])
def test_an_average_of_equal_frozen_values_is_saved_as_the_seeds(decay, dtype, law, method, tmp_path):
    masked = ut.mask_(nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16)).to(dtype), method, weights=law)
    ut.advance_(masked, 1, 1)
    expected = ut.Ticket.of(masked)
    with torch.no_grad():
        for tensor in masked.state_dict().values():
            own = tensor.clone()
            for _ in range(300):
                tensor.copy_(decay * tensor + (1 - decay) * own)
    ticket = ut.Ticket.of(masked)
    for given in (dict(ticket.rebuilt()), ticket.codes):
        again = dict(expected.rebuilt()) if given is not ticket.codes else expected.codes
        assert {n: raw(t) for n, t in given.items()} == {n: raw(t) for n, t in again.items()}
    assert ticket.weights_sha256 == expected.weights_sha256


# --- what a ticket cannot hold ---


class Counting(nn.Linear):
    """It has extra state."""

    state: object = None

    def get_extra_state(self):
        return self.state

    def set_extra_state(self, state):
        self.state = state


class Packing(nn.Linear):
    """It has more in its state_dict than tensors of its own."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "packed"] = self.weight.sign()


@pytest.mark.parametrize("state", [None, {}, [], b"", torch.empty(0)], ids=repr)
def test_extra_state_that_holds_nothing_is_left_out(state, tmp_path):
    model = nn.Sequential(Counting(8, 8), nn.Linear(8, 2))
    model[0].state = state
    ut.save(ut.mask_(model, METHODS[0]), tmp_path / "a.ticket")
    ut.load(tmp_path / "a.ticket", nn.Sequential(Counting(8, 8), nn.Linear(8, 2)))


@pytest.mark.parametrize("state", [{"steps": 3}, 0, torch.zeros(())], ids=repr)
def test_extra_state_is_refused_by_name(state, tmp_path):
    model = nn.Sequential(nn.Linear(8, 8), Counting(8, 8))
    model[1].state = state
    with pytest.raises(ValueError, match=r"module '1' \(Counting\) holds extra state .*register_buffer"):
        ut.save(ut.mask_(model, METHODS[0]), tmp_path / "a.ticket")
    assert list(tmp_path.iterdir()) == []


def test_what_only_a_state_dict_holds_is_refused_by_name():
    with pytest.raises(ValueError, match=r"state_dict of the model \(Packing\) holds 'packed'"):
        ut.Ticket.of(ut.mask_(Packing(8, 8), METHODS[0]))


UNSTORABLE = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "mkldnn": lambda: torch.eye(3).to_mkldnn(),
    "quantised": lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "complex of 128 bits": lambda: torch.zeros(3, dtype=torch.complex128),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:The PyTorch API of nested", "ignore:.*quantize")
@pytest.mark.parametrize("make", UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_buffer_that_no_ticket_can_store_is_refused_by_name(make, tmp_path):
    masked = masked_mlp()
    masked[0].register_buffer("adjacency", make())
    with pytest.raises(ValueError, match=r"'0\.adjacency' is .*persistent=False"):
        ut.save(masked, tmp_path / "a.ticket")
    masked[0].register_buffer("adjacency", make(), persistent=False)
    ut.save(masked, tmp_path / "a.ticket")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1, 1, 2)[..., 0], torch.arange(6).reshape(2, 3).t(), torch.zeros(3, dtype=torch.complex64).conj(),
     torch.tensor(2.0), torch.zeros(0, 3), torch.ones(4, dtype=torch.bool), torch.ones(1).expand(5, 4)],
    ids=lambda t: f"{t.dtype} {t.stride()}",
)  # fmt: skip
def test_buffers_of_any_strides_and_dtypes(tensor, tmp_path):
    def make(value):
        model = mlp()
        model.register_buffer("more", value)
        return model

    fresh = torch.full(tensor.shape, 1, dtype=tensor.dtype)
    masked = ut.mask_(mlp(), METHODS[0])
    masked.register_buffer("more", tensor)
    ut.save(masked, tmp_path / "a.ticket")
    loaded = ut.load(tmp_path / "a.ticket", make(fresh))
    assert torch.equal(loaded.more, tensor)


# --- pretrained weights ---


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("case", ZOO)
def test_a_pretrained_model_is_masked_and_loaded_again(case, frozen, tmp_path):
    masked = ut.mask_(ZOO[case].build(), METHODS[0], weights=None)
    masked(ZOO[case].input())  # a norm in training mode goes on with its statistics
    assert_loads(masked, tmp_path / "a.ticket", ZOO[case].build().requires_grad_(not frozen))


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
    other[3] = nn.Linear(16, 9)
    with pytest.raises(ut.TicketError, match=r"'3.(weight|bias)' has shape"):
        ticket.verify(other)
    with pytest.raises(ut.TicketError, match=r"'0.(weight|bias)' is float32 in the ticket and float64"):
        ticket.verify(mlp().double())


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


def test_a_network_of_ours_is_not_drawn_before_the_ticket_is(tmp_path):
    ut.save(ut.mask_(build("fc", **SMALL["fc"]), METHODS[0]), tmp_path / "a.ticket")
    before = torch.get_rng_state()
    ut.load(tmp_path / "a.ticket")
    assert torch.equal(torch.get_rng_state(), before)


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


def test_meta_that_no_header_can_hold_is_a_value_error(tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise SafetensorError("header too large")

    monkeypatch.setattr("untrained.tickets.file.safetensors.torch.save", too_large)
    with pytest.raises(ValueError, match=r"its header takes [\d,]+ bytes, 1,008 of them meta \(header too large\)"):
        ut.save(masked_mlp(), tmp_path / "a.ticket", meta={"a": "x" * 1000})
    assert list(tmp_path.iterdir()) == []


def test_keys_of_several_kinds_in_meta_are_named():
    with pytest.raises(ValueError, match="keys must be strings, got 1"):
        ut.Ticket.of(masked_mlp(), {"a": {1: 2, "b": 3}})


def test_a_file_name_that_is_not_unicode(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9\xff.ticket"))
    masked = masked_mlp()
    try:
        ut.save(masked, path)
    except OSError:
        pytest.skip("no such names here")
    assert state(ut.load(path, mlp())) == state(ut.bake_(masked))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ut.TicketError, match="ticket"):
        ut.load(path, mlp())


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
    """sha256 of the bytes of one ticket of each model of the zoo."""
    digests = []
    for case in ZOO.values():
        meta = dict.fromkeys({"one", "two", "three", "four"})  # a set has another order in each process
        masked = ut.mask_(case.build(), METHODS[0], weights=ut.KaimingNormal(scaled=True))
        digests.append(hashlib.sha256(ut.Ticket.of(masked, meta).to_bytes()).hexdigest())
    return digests


def test_the_same_ticket_has_the_same_bytes_in_every_process():
    code = "import test_ticket; print(*test_ticket.many_tickets())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "12345"}
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


class Tied(nn.Module):
    """A buffer that is a parameter's memory."""

    def __init__(self, persistent):
        super().__init__()
        self.fc = nn.Linear(8, 8, bias=False)
        self.register_buffer("tied", self.fc.weight.detach().t(), persistent=persistent)


def made_in_inference_mode():
    with torch.inference_mode():
        return mlp()


def with_an_expanded_weight():
    model = mlp()
    model[0].weight = nn.Parameter(torch.randn(1, 8).expand(16, 8))
    return model


MISFITS = {
    "inference mode": (made_in_inference_mode, "'0.(weight|bias)' was made in inference mode"),
    "expanded": (with_an_expanded_weight, "elements of '0.weight' share memory"),
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


@pytest.mark.parametrize("persistent", [True, False])
def test_a_weight_that_shares_its_memory_with_a_buffer_is_not_written(persistent, tmp_path):
    separate = Tied(persistent)
    separate.tied = separate.tied.clone()
    ut.save(ut.mask_(separate, METHODS[0]), tmp_path / "a.ticket")
    model = Tied(persistent)
    before = state(model)
    with pytest.raises(
        ut.TicketError, match=r"'tied' and 'fc.weight' share memory|'fc.weight' and 'tied' share memory"
    ):
        ut.load(tmp_path / "a.ticket", model)
    assert state(model) == before


def test_buffers_that_are_only_read_may_share_memory(tmp_path):
    model = mlp()
    model.register_buffer("positions", torch.arange(4)[None].expand(3, 4), persistent=False)
    model.register_buffer("first", model.positions[0], persistent=False)
    ut.save(masked_mlp(), tmp_path / "a.ticket")
    ut.load(tmp_path / "a.ticket", model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_loads(tmp_path):
    masked = ut.mask_(ZOO["conv"].build(), METHODS[0])
    ut.save(masked, tmp_path / "a.ticket")
    script = ut.load(tmp_path / "a.ticket", torch.jit.script(ZOO["conv"].build()))
    expected = state(ut.bake_(masked))
    assert state(script) == expected and not any(p.requires_grad for p in script.parameters())
    with pytest.raises(ut.TicketError, match="in the model"):
        ut.load(tmp_path / "a.ticket", torch.jit.script(mlp()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: other(nn.LazyLinear(8), 3), "has no shape yet: run the lazy module once"),
        (lambda: mlp().to("meta"), "is on the meta device"),
    ],
)
def test_a_model_without_memory_is_refused(make, message, tmp_path):
    ut.save(masked_mlp(), tmp_path / "a.ticket")
    with pytest.raises(ut.TicketError, match=message):
        ut.load(tmp_path / "a.ticket", make())


class Observer(nn.Module):
    """It takes buffers of any length when a state dict is loaded, as observers of quantisation do."""

    def __init__(self, longest=99):
        super().__init__()
        self.longest = longest
        self.register_buffer("low", torch.zeros(0))
        self.register_buffer("seen", torch.tensor(0))

    def _load_from_state_dict(self, state_dict, prefix, *more):
        if len(state_dict[prefix + "low"]) <= self.longest:
            self.low.resize_(len(state_dict[prefix + "low"]))
        super()._load_from_state_dict(state_dict, prefix, *more)


def observed(longest=99):
    return nn.Sequential(nn.Linear(8, 16), Observer(longest))


def test_a_module_that_resizes_its_buffers_loads_them_itself(tmp_path):
    masked = ut.mask_(observed(), METHODS[0])
    masked[1].low, masked[1].seen = torch.tensor([math.nan, *range(15)]), torch.tensor(5)
    assert_loads(masked, tmp_path / "a.ticket", observed())


def test_a_module_that_cannot_take_a_buffer_is_left_as_it_was(tmp_path):
    masked = ut.mask_(observed(), METHODS[0])
    masked[1].low = torch.rand(16)
    ut.save(masked, tmp_path / "a.ticket")
    for make in (lambda: observed(longest=15), lambda: nn.Sequential(observed()[0], BatchOf(0))):
        model = make()
        before = state(model)
        with pytest.raises(ut.TicketError, match=r"'1.low' has shape \(16,\) in the ticket and \(0,\) in the model"):
            ut.load(tmp_path / "a.ticket", model)
        assert state(model) == before


class BatchOf(nn.Module):
    """It has the buffers of an observer, and no loader of its own."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("low", torch.zeros(n))
        self.register_buffer("seen", torch.tensor(0))


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


# --- a second reader, from docs/format.md and nothing else: stranger.py ---

MANY_METHODS = [
    *METHODS,
    ut.EdgePopup(0.5, structure=ut.NofM(1, 2)),
    ut.GemMiner(0.3),
    ut.FedPM(),
    ut.RelaxedBernoulli("concrete"),
    ut.Threshold(),
    ut.Threshold(0.3, ternary=True, start=None),
    ut.SignedSupermask(0.7),
    ut.Multicoated(0.6, coats=7),
    ut.Multicoated(1.0, coats=127, spacing="uniform"),
    ut.Bernoulli(),
    ut.Bernoulli(rescale=False),
    ut.Biprop(0.3),
    ut.Biprop(0.6, "global"),
    ut.SlotMachines(5),
    ut.SlotMachines(2, greedy=False),
    ut.IteRand(0.4, period=1, rate=0.5),
    ut.PartlyFrozen(ut.EdgePopup(0.4), pruned=0.3, locked=0.2),
    ut.PartlyFrozen(ut.Biprop(0.4), pruned=0.0, locked=0.3),
    ut.PartlyFrozen(ut.Bernoulli(), pruned=0.5),
    ut.PartlyFrozen(ut.Multicoated(0.7), pruned=0.2, locked=0.1),
]
MORE_LAWS = [
    ut.KaimingNormal(scaled=True),
    ut.Prototype(nonlinearity="elu", length=1024),
]


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
@pytest.mark.parametrize("case", [name for name in ZOO if name != "tied"])
def test_a_stranger_reads_every_model(case, method):
    masked = ut.mask_(ZOO[case].build(), method, seed=5)
    masked(ZOO[case].input())
    read, _ = stranger_reads(ut.Ticket.of(masked).to_bytes())
    assert read == spelled(ut.bake_(masked))


def every_shape(dtype):
    return nn.ModuleDict({"linear": nn.Linear(40, 30), "conv": nn.Conv2d(4, 6, 3, padding=1)}).to(dtype)


@pytest.mark.parametrize("law", MORE_LAWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", MANY_METHODS, ids=str)
def test_a_stranger_reads_every_method(method, dtype, law, tmp_path):
    masked = ut.mask_(every_shape(dtype), method, seed=2**33 + 5, weights=law)
    torch.manual_seed(0)
    with torch.no_grad():
        for scores in ut.scores(masked):
            scores.normal_()
    for step in range(3) if isinstance(method, ut.IteRand) else ():
        ut.advance_(masked, step + 1, 10)
    path = tmp_path / "a.ticket"
    ut.save(masked, path)
    read, _ = stranger_reads(path.read_bytes())
    assert read == spelled(ut.load(path, every_shape(dtype)))


MANY_CODES = {
    ut.EdgePopup(0.3): (-2, 2),
    ut.Threshold(ternary=True): (-128, 127),
    ut.Multicoated(0.5, coats=127): (0, 127),
    ut.Bernoulli(): (-2, 2),
    ut.Biprop(0.3): (-2, 2),
    ut.SlotMachines(127): (1, 127),
    ut.IteRand(0.3): (-128, 127),
}


@pytest.mark.parametrize(("method", "ends"), MANY_CODES.items(), ids=str)
def test_a_stranger_reads_codes_of_many_values(method, ends):
    first, last = ends
    ticket = ut.Ticket.of(masked_mlp(method, weights=ut.KaimingUniform()))
    every = first + torch.arange(256) * 37 % (last - first + 1)
    codes = {"0.weight": every[:128].reshape(16, 8), "3.weight": every[128:].reshape(8, 16)}
    codes = {name: tensor.to(torch.int8) for name, tensor in codes.items()}
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
