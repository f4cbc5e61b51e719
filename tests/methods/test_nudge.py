"""Nudges: where they start, sums that no fused multiply-add changes, and what is refused."""

import os
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.methods.nudge import step_size

STEPS = st.floats(1e-3, 1e3)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_around_the_weight_a_search_starts_as_the_random_network(dtype):
    def build():
        return nn.Sequential(nn.Conv2d(4, 12, 3, groups=2), nn.Flatten(), nn.Linear(300, 7)).to(dtype)

    found = ut.bake_(ut.mask_(build(), ut.Nudge(step=0.7, levels=2), seed=5))
    whole = ut.bake_(ut.mask_(build(), ut.Dense(), seed=5, weights=ut.Nudge().law))
    for ours, theirs in zip(found.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("step", [1.0, 3.0])
def test_around_zero_a_search_starts_from_random_codes(step):
    model = ut.mask_(nn.Linear(500, 400), ut.Nudge(step, around="zero"), seed=5)
    shares = model.weight.mul(500**0.5 / step).round().unique(return_counts=True)
    assert shares[0].tolist() == [-1, 0, 1]
    assert (shares[1] / 200_000 - torch.tensor([0.25, 0.5, 0.25])).abs().max() < 0.01


@given(STEPS, st.integers(0, 2**40), st.integers(-192, 192))
def test_moves_are_exact_in_float32(step, fan_in, moves):
    size = step_size(step, (3, fan_in))
    assert float(np.float32(moves * size)) == moves * size
    assert abs(size * max(1, fan_in) ** 0.5 / step - 1) <= 2**-16


@pytest.mark.slow
# Inductor imports modules of torch that still use torch.jit.
@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_compiled_weights_have_the_same_bits():
    method, generator = ut.Nudge(step=0.3, levels=31), torch.Generator().manual_seed(0)
    drawn = [{str(d): (torch.randn(100, 77, generator=generator) / 9).to(d) for d in DTYPES[::2]} for _ in range(2)]

    def effective():
        return list(method.effective(*drawn).values())

    torch._dynamo.reset()
    for ours, theirs in zip(torch.compile(effective, fullgraph=True)(), effective(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("wrong", "says"),
    {
        "step": ({"step": 0}, "step must be in"),
        "huge": ({"step": 2e3}, "step must be in"),
        "nan": ({"step": float("nan")}, "step must be in"),
        "levels": ({"levels": 64}, r"levels must be in \[1, 63\], got 64"),
        "half": ({"levels": 1.5}, "levels must be of type int"),
        "around": ({"around": "weights"}, 'around must be "weight" or "zero"'),
    }.values(),
)
def test_wrong_fields_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        ut.Nudge(**wrong)


def test_a_part_of_a_tensor_has_no_fan_in():
    with pytest.raises(ValueError, match="needs no fan in to decode, got Nudge"):
        ut.PartlyFrozen(ut.Nudge())


def test_without_paper_there_is_no_paper_recipe():
    model = ut.mask_(nn.Linear(4, 3), ut.Nudge())
    with pytest.raises(ValueError, match="Nudge has no paper"):
        ut.fit(model, [(torch.ones(3, 4), torch.arange(3))], recipe="paper", title=None)
