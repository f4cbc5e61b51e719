"""A masked model captured for its ticket: frozen values that changed, and what no ticket can hold, are refused."""

import pytest
import torch
from torch import nn

import untrained as ut
from round_trip import assert_loads, masked_mlp, mlp, raw

METHOD = ut.EdgePopup(0.3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


def to_half_and_back(model):
    return model.bfloat16().float()


def with_another_seeds_tensors(model):
    model.load_state_dict(ut.mask_(mlp(), METHOD, seed=8, weights=ut.KaimingNormal()).state_dict())


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
def test_frozen_tensors_that_the_seed_does_not_give_any_more(change, path):
    # Nobody may find out at the next load that the ticket holds another network than the one that was searched.
    masked = masked_mlp(weights=ut.KaimingNormal())
    change(masked)
    try:
        ut.save(masked, path)
    except ValueError as error:
        assert "load and average those alone" in str(error)
        return
    assert_loads(masked, path, mlp())


@pytest.mark.parametrize("method", [ut.EdgePopup(0.5), ut.Biprop(0.5), ut.SlotMachines(3), ut.IteRand(0.5)], ids=str)
@pytest.mark.parametrize("law", [ut.SignedConstant(), ut.KaimingNormal()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decay", [0.9, 0.9998])
def test_an_average_of_equal_frozen_values_is_saved_as_the_seeds(decay, dtype, law, method, path):
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
def test_extra_state_that_holds_nothing_is_left_out(state, path):
    model = nn.Sequential(Counting(8, 8), nn.Linear(8, 2))
    model[0].state = state
    ut.save(ut.mask_(model, METHOD), path)
    ut.load(path, nn.Sequential(Counting(8, 8), nn.Linear(8, 2)))


@pytest.mark.parametrize("state", [{"steps": 3}, 0, torch.zeros(())], ids=repr)
def test_extra_state_is_refused_by_name(state, path):
    model = nn.Sequential(nn.Linear(8, 8), Counting(8, 8))
    model[1].state = state
    with pytest.raises(ValueError, match=r"module '1' \(Counting\) holds extra state .*register_buffer"):
        ut.save(ut.mask_(model, METHOD), path)
    assert not path.exists()


def test_what_only_a_state_dict_holds_is_refused_by_name():
    with pytest.raises(ValueError, match=r"state_dict of the model \(Packing\) holds 'packed'"):
        ut.Ticket.of(ut.mask_(Packing(8, 8), METHOD))


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
def test_a_buffer_that_no_ticket_can_store_is_refused_by_name(make, path):
    masked = masked_mlp()
    masked[0].register_buffer("adjacency", make())
    with pytest.raises(ValueError, match=r"'0\.adjacency' is .*persistent=False"):
        ut.save(masked, path)
    masked[0].register_buffer("adjacency", make(), persistent=False)
    ut.save(masked, path)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1, 1, 2)[..., 0], torch.arange(6).reshape(2, 3).t(), torch.zeros(3, dtype=torch.complex64).conj(),
     torch.tensor(2.0), torch.zeros(0, 3), torch.ones(4, dtype=torch.bool), torch.ones(1).expand(5, 4)],
    ids=lambda t: f"{t.dtype} {t.stride()}",
)  # fmt: skip
def test_buffers_of_any_strides_and_dtypes(tensor, path):
    def make(value):
        model = mlp()
        model.register_buffer("more", value)
        return model

    fresh = torch.full(tensor.shape, 1, dtype=tensor.dtype)
    masked = ut.mask_(mlp(), METHOD)
    masked.register_buffer("more", tensor)
    ut.save(masked, path)
    loaded = ut.load(path, make(fresh))
    assert torch.equal(loaded.more, tensor)


def test_an_unmasked_model_has_no_ticket(path):
    with pytest.raises(ValueError, match="not masked"):
        ut.save(mlp(), path)
