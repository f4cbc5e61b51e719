"""Compiled masked models learn as others do, with one choice a forward pass."""

import copy
import os
import shutil

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from mask_checks import (
    loss_of,
    masked_model,
    same,
)
from untrained.masking.mask import masks, scores
from zoo import ZOO, ModelCase, states


class Recorder:
    """A compiler that notes the graphs it is given, and how many choices each of their halves makes."""

    def __init__(self):
        self.graphs, self.forward, self.backward = 0, [], []

    def __call__(self, graph, inputs):
        self.graphs += 1
        halves = {"fw_compiler": self.count(self.forward), "bw_compiler": self.count(self.backward)}
        return aot_autograd(**halves)(graph, inputs)

    def count(self, into):
        def compiler(graph, inputs):
            into.append(sum("keep_top" in str(node.target) for node in graph.graph.nodes))
            return make_boxed_func(graph.forward)

        return compiler


def five_steps(masked, call, case):
    """The losses of five steps, and the scores after them."""
    optimizer = torch.optim.Adam(scores(masked), lr=0.05)
    losses = []
    for step in range(5):
        loss = loss_of(call, case.input(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses), [s.detach().clone() for s in scores(masked)]


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


UNSUPPORTED = torch._dynamo.exc.Unsupported
NO_RNN = pytest.mark.xfail(strict=True, raises=UNSUPPORTED, reason="torch compiles no RNN, masked or not")
KINDS = ["mlp", "conv", "lstm", "encoder layer", "tied", "experts", "reads weight", "checkpointed"]
MARKS = {name: [] if ZOO[name].compiles else [NO_RNN] for name in KINDS}
COMPILED = [pytest.param(ZOO[name], "layer", id=name, marks=marks) for name, marks in MARKS.items()]
COMPILED += [pytest.param(ZOO[name], "global", id=f"global {name}") for name in ("mlp", "tied", "checkpointed")]


@pytest.mark.parametrize(("case", "scope"), COMPILED)
def test_a_compiled_model_learns_the_same(case, scope, fresh_compiler):
    masked, recorder = masked_model(case, scope), Recorder()
    twin, first, compiled = copy.deepcopy(masked), masks(masked), masked
    if case is ZOO["mlp"]:
        masked.compile(backend=recorder, fullgraph=True)
    else:
        compiled = torch.compile(masked, backend=recorder, fullgraph=True)
    losses, learned = five_steps(masked, compiled, case)
    expected_losses, expected = five_steps(twin, twin, case)
    assert torch.equal(losses, expected_losses)
    assert all(torch.equal(a, b) for a, b in zip(learned, expected, strict=True))
    assert not same(masks(masked), first)
    assert recorder.graphs == 1
    assert recorder.forward == [1 if scope == "global" else len(states(masked))]
    assert recorder.backward == [0]


# Inductor imports modules of torch that still use torch.jit.
@pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_inductor_learns_the_same(fresh_compiler):
    case = ModelCase(lambda: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 8)))
    masked = masked_model(case)
    twin = copy.deepcopy(masked)
    losses, _ = five_steps(masked, torch.compile(masked, fullgraph=True), case)
    # Inductor fuses and sums in another order.
    torch.testing.assert_close(losses, five_steps(twin, twin, case)[0])
    assert same(masks(masked), masks(twin))
