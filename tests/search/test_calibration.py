"""Statistics of norms that are taken anew: of the network as it is evaluated, rounded on demand, or unchanged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import toy_data

import untrained as ut


class Frozen(nn.BatchNorm1d):
    """A norm that is never in training mode, as of a pretrained detector."""

    def train(self, mode=True):
        return super().train(False)


def network(*, masked, dropout=0.3):
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(12, 8, bias=False), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 4))
    return ut.mask_(model, ut.EdgePopup(keep=0.5), seed=3) if masked else model


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, [m.training for m in model.modules()]


def same(first, second):
    return first[0].keys() == second[0].keys() and first[1] == second[1] and all(
        torch.equal(tensor, second[0][name]) for name, tensor in first[0].items()
    )  # fmt: skip


@pytest.mark.parametrize("masked", [True, False])
def test_statistics_are_the_plain_means_of_the_batches_without_dropout(masked):
    model, batches = network(masked=masked), toy_data()(60)
    model[2].momentum = None
    ut.calibrate_(model, batches)
    expected = []
    with torch.no_grad():
        for x, _ in batches:
            weights = [model[at].weight.detach() for at in (1, 5)]
            first = x.flatten(1) @ weights[0].T + model[1].bias
            scale = (first.var(0, unbiased=False) + 1e-5).sqrt()
            second = (model[2].weight * (first - first.mean(0)) / scale + model[2].bias).relu() @ weights[1].T
            expected.append([first.mean(0), first.var(0), second.mean(0), second.var(0)])
    got = [model[2].running_mean, model[2].running_var, model[6].running_mean, model[6].running_var]
    for statistic, wanted in zip(got, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(statistic, torch.stack(wanted).mean(0))
    assert model[2].momentum is None and model[6].momentum == 0.1 and model.training
    assert ut.calibrate_(plain := nn.Linear(2, 2), []) is plain


def test_sampled_masks_are_those_of_the_evaluation():
    model = ut.mask_(nn.Sequential(nn.Linear(16, 6, bias=False), nn.BatchNorm1d(6, affine=False)), ut.Bernoulli())
    batch = [(torch.randn(50, 16), torch.zeros(50))]
    ut.calibrate_(model, batch)
    with ut.baked(model) as dense:
        torch.testing.assert_close(model[1].running_mean, dense[0](batch[0][0]).mean(0))


def test_other_norms_are_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen, self.used, self.unused = Frozen(4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
            self.instance = nn.InstanceNorm1d(4, track_running_stats=True)
            self.untracked = nn.BatchNorm1d(4, track_running_stats=False)
            self.emptied = nn.BatchNorm1d(4)
            self.emptied.running_mean = self.emptied.running_var = None

        def forward(self, x):
            x = self.untracked(self.emptied(self.frozen(x)))
            return self.used(3 + self.instance(x[..., None].expand(-1, -1, 2))[..., 0])

    model = Odd()
    for norm in (model.frozen, model.used, model.unused, model.instance):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 1)
    (before, modes), batch = state(model), [(torch.randn(9, 4), torch.zeros(9))]
    after, modes_after = state(ut.calibrate_(model, batch, dtype=torch.float16))
    assert modes == modes_after
    # Evaluation of an instance norm rounds its statistics anew before torch 2.13.
    changed = {name for name, tensor in after.items() if not torch.allclose(tensor, before[name], rtol=1e-6)}
    assert changed == {f"used.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


GOOD = [(torch.randn(5, 16), torch.zeros(5))]


@pytest.mark.parametrize(
    ("batches", "options", "error"),
    [
        ([], {}, "no example"),
        ([(torch.zeros(0, 16), torch.zeros(0))], {}, "no example"),
        ([*GOOD, (torch.randn(1, 16), torch.zeros(1))], {}, "a batch has one example"),
        ([*GOOD, (torch.randn(5, 7), torch.zeros(5))], {}, "mat1 and mat2"),
        ([*GOOD, torch.randn(5, 16)], {}, "must be a pair"),
        ([*GOOD, (torch.full((5, 16), torch.nan), torch.zeros(5))], {}, "statistics of 2 are not finite"),
        ([(torch.full((5, 16), 1e38), torch.zeros(5))], {}, "statistics of [26] are not finite"),
        (GOOD, {"dtype": torch.int8}, "dtype must be a floating type, got torch.int8"),
        (GOOD, {"dtype": "float16"}, "dtype must be a floating type, got float16"),
    ],
)
def test_after_an_error_nothing_has_changed(batches, options, error):
    model = network(masked=False)
    before = state(model.train())
    with pytest.raises((ValueError, RuntimeError), match=error):
        ut.calibrate_(model, batches, **options)
    assert same(before, state(model)) and model[2].momentum == 0.1


@settings(max_examples=60)
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float32]),
    middle=st.floats(-6, 6),
    spread=st.floats(-8, 6),
    eps=st.sampled_from([1e-5, 1e-12, 1.0]),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rounded_statistics_change_outputs_within_the_bounds(dtype, middle, spread, eps, double, seed):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 7, generator=draws, dtype=torch.float64) * 10 ** (spread * torch.rand(7, generator=draws))
    x[:, 0] = 0
    x = (x + 10**middle * torch.randn(7, generator=draws)).to(torch.float64 if double else torch.float32)
    exact, norm = (nn.BatchNorm1d(7, eps=eps, affine=False).to(x.dtype) for _ in range(2))
    for each, options in ((exact, {}), (norm, {"dtype": dtype})):
        ut.calibrate_(each, [(x, torch.zeros(40))], **options)
    scale = exact.running_var.double() + eps
    for name, bound in (("running_mean", scale.sqrt() / 4), ("running_var", scale / 4)):
        given_, got = (getattr(each, name) for each in (exact, norm))
        assert ((given_.double() - got.double()).abs() <= bound).all()
        exactly = [narrow for narrow in (dtype, torch.float16) if torch.equal(got.to(narrow).to(got.dtype), got)]
        assert exactly or torch.equal(got, given_)
        rounded = given_.to(dtype).double()
        if ((rounded - given_.double()).abs() <= bound).all():
            assert torch.equal(got.double(), rounded)


def test_a_mean_far_from_zero_stays_exact_where_narrow_types_would_shift_the_outputs():
    x = 5002 + torch.randn(200, 2)
    norm = ut.calibrate_(nn.BatchNorm1d(2), [(x, torch.zeros(200))], dtype=torch.float8_e4m3fn)
    torch.testing.assert_close(norm.running_mean, x.mean(0))  # float16 has steps of 4 here
    assert torch.equal(norm.running_var.to(torch.float8_e4m3fn).float(), norm.running_var)
    norm = ut.calibrate_(nn.BatchNorm1d(2), [(1e6 * x, torch.zeros(200))], dtype=torch.float16)
    torch.testing.assert_close(norm.running_var, (1e6 * x).var(0), rtol=1e-4, atol=0.0)
