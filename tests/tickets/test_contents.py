"""Models that a ticket does not fit are refused by name and left as they were; others are filled."""

import math

import pytest
import torch
from torch import nn

import untrained as ut
from round_trip import assert_loads, masked_mlp, mlp, state
from zoo import ZOO

METHOD = ut.EdgePopup(0.3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ticket"


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
def test_a_model_that_does_not_fit_is_left_as_it_was(make, message, path):
    ut.save(masked_mlp(), path)
    model = make()
    before, learning = state(model), [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ut.TicketError, match=rf"a\.ticket: {message}"):
        ut.load(path, model)
    assert state(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == learning


@pytest.mark.parametrize("persistent", [True, False])
def test_a_weight_that_shares_its_memory_with_a_buffer_is_not_written(persistent, path):
    separate = Tied(persistent)
    separate.tied = separate.tied.clone()
    ut.save(ut.mask_(separate, METHOD), path)
    model = Tied(persistent)
    before = state(model)
    with pytest.raises(
        ut.TicketError, match=r"'tied' and 'fc.weight' share memory|'fc.weight' and 'tied' share memory"
    ):
        ut.load(path, model)
    assert state(model) == before


def test_buffers_that_are_only_read_may_share_memory(path):
    model = mlp()
    model.register_buffer("positions", torch.arange(4)[None].expand(3, 4), persistent=False)
    model.register_buffer("first", model.positions[0], persistent=False)
    ut.save(masked_mlp(), path)
    ut.load(path, model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_loads(path):
    masked = ut.mask_(ZOO["conv"].build(), METHOD)
    ut.save(masked, path)
    script = ut.load(path, torch.jit.script(ZOO["conv"].build()))
    expected = state(ut.bake_(masked))
    assert state(script) == expected and not any(p.requires_grad for p in script.parameters())
    with pytest.raises(ut.TicketError, match="in the model"):
        ut.load(path, torch.jit.script(mlp()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: other(nn.LazyLinear(8), 3), "has no shape yet: run the lazy module once"),
        (lambda: mlp().to("meta"), "is on the meta device"),
    ],
)
def test_a_model_without_memory_is_refused(make, message, path):
    ut.save(masked_mlp(), path)
    with pytest.raises(ut.TicketError, match=message):
        ut.load(path, make())


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


def test_a_module_that_resizes_its_buffers_loads_them_itself(path):
    masked = ut.mask_(observed(), METHOD)
    masked[1].low, masked[1].seen = torch.tensor([math.nan, *range(15)]), torch.tensor(5)
    assert_loads(masked, path, observed(), second=False)


def test_a_module_that_cannot_take_a_buffer_is_left_as_it_was(path):
    masked = ut.mask_(observed(), METHOD)
    masked[1].low = torch.rand(16)
    ut.save(masked, path)
    for make in (lambda: observed(longest=15), lambda: nn.Sequential(observed()[0], BatchOf(0))):
        model = make()
        before = state(model)
        with pytest.raises(ut.TicketError, match=r"'1.low' has shape \(16,\) in the ticket and \(0,\) in the model"):
            ut.load(path, model)
        assert state(model) == before


class BatchOf(nn.Module):
    """It has the buffers of an observer, and no loader of its own."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("low", torch.zeros(n))
        self.register_buffer("seen", torch.tensor(0))


def test_a_buffer_that_is_not_saved_is_no_misfit(path):
    ut.save(masked_mlp(), path)
    ut.load(path, with_buffer(False))


def test_extra_tensors_must_fit_too(path):
    masked = ut.mask_(ZOO["conv"].build(), METHOD)
    ut.save(masked, path)
    model = ZOO["conv"].build()
    model[1] = nn.BatchNorm2d(8, track_running_stats=False)
    before = state(model)
    with pytest.raises(ut.TicketError, match=r"a\.ticket: '1\.\w+' is in the ticket and not in the model"):
        ut.load(path, model)
    assert state(model) == before
