"""One bit forward, and a clipped straight line backward."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from untrained.models import BinaryActivation

EDGES = [0.0, -0.0, 1.0, -1.0, math.nextafter(1, 2), math.nextafter(-1, -2), 5e-324, -5e-324, 1e300, math.inf]
EDGES += [-math.inf]
PRECISIONS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def naive(x, upstream):
    """Output and gradient, number by number."""
    outputs = [1.0 if value >= 0 else -1.0 for value in x.tolist()]
    gradients = [g if abs(value) <= 1 else 0.0 for value, g in zip(x.tolist(), upstream.tolist(), strict=True)]
    return torch.tensor(outputs, dtype=x.dtype), torch.tensor(gradients, dtype=x.dtype)


def assert_as_naive(activation, x, upstream):
    x = x.clone().requires_grad_()
    output = activation(x)
    output.backward(upstream)
    expected, gradient = naive(x.detach(), upstream)
    assert output.dtype == x.dtype
    assert output.equal(expected)
    assert x.grad.equal(gradient)


@pytest.mark.parametrize("dtype", PRECISIONS)
@settings(max_examples=40)
@given(
    values=hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False)), scale=st.integers(-60, 0)
)
@example(values=np.array(EDGES), scale=0)
def test_exact_signs_and_the_clipped_gradient(dtype, values, scale):
    x = torch.from_numpy(np.ldexp(values, scale)).to(dtype)
    upstream = torch.arange(1.0, len(x) + 1, dtype=dtype)
    assert_as_naive(BinaryActivation(), x, upstream)


def test_compiled_in_one_graph():
    torch.compiler.reset()
    compiled = torch.compile(BinaryActivation(), backend="aot_eager", fullgraph=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.tensor(EDGES), 2 * torch.randn(50, generator=generator)])
    assert_as_naive(compiled, x, torch.randn(len(x), generator=generator))


def test_nothing_comes_back_through_where_it_is_clipped_whatever_is_sent():
    x = torch.tensor([-2.0, 2.0, math.inf, -math.inf], requires_grad=True)
    BinaryActivation()(x).backward(torch.tensor([math.inf, math.nan, 1.0, -1.0]))
    assert not x.grad.any()


def test_nan_is_not_hidden():
    assert BinaryActivation()(torch.tensor([math.nan, 1.0])).isnan().tolist() == [True, False]


def test_transforms_of_torch_apply():
    x = torch.linspace(-2, 2, 9)
    gradients = torch.func.vmap(torch.func.grad(BinaryActivation()))(x)
    assert gradients.equal((x.abs() <= 1).float())


def test_nothing_is_stored():
    assert not BinaryActivation().state_dict()
