"""Exported networks compute what the network computes; and the authors' own networks are read."""

import ast
import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.networks import to_onnx, to_python
from untrained.wann.networks.activations import FORMULAS, IDS, NAMES
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.levels import levels, positions
from untrained.wann.networks.net import Net, softmax
from untrained.wann.networks.released import read_champion
from untrained.wann.networks.to_python import source
from untrained.wann.networks.to_torch import TorchNet
from untrained.wann.numerics.vector_math import EXPRESSIONS
from wann_nets import NUMBERS, assert_same, big_net, error_bound, inputs_of, nets

CHAMPIONS = Path(__file__).parents[4] / "shared" / "data" / "wann"
# No connection at all, or one from bias or hidden nodes: the smallest networks that there are.
BARE = (Net(1, 1, [10], [0, 0], []), Net(2, 2, [1, 5], [0, 0, 0], []), Net(2, 1, [1, 4], [0, 0, 1], [3]))
SINGLE, DOUBLE = 2.0**-23, 2.0**-52


def differs(net, x, w, out, eps):
    """Where outputs are further off than rounding explains."""
    return abs(out - net(x, w)) > error_bound(net, x, w, eps)


# --- activations ---


def test_kernels_and_exports_have_every_activation():
    assert tuple(EXPRESSIONS) == tuple(FORMULAS) == NAMES == tuple(IDS)  # the order gives the ids
    assert set(to_python._CALLS) == set(to_onnx._ACTIVATIONS) == set(NAMES)


# --- levels ---


@settings(max_examples=40)
@given(nets())
def test_levels_need_only_those_before(net):
    found = levels(net)
    stand = positions(net, found)
    assert sorted(stand) == list(range(net.inputs + 1 + len(net.act)))
    done = set(range(net.inputs + 1))
    for level in found:
        sources = net.src[level.edges]
        assert set(sources.tolist()) <= done and not done & set(level.nodes.tolist())
        kinds = np.repeat([kind for kind, _ in level.groups], [count for _, count in level.groups])
        np.testing.assert_array_equal(net.act[level.nodes - net.inputs - 1], kinds)
        ends = np.repeat(np.arange(len(net.act)), np.diff(net.edge_ptr)) + net.inputs + 1
        np.testing.assert_array_equal(level.nodes[level.targets], ends[level.edges])
        done |= set(level.nodes.tolist())
    assert sorted(np.concatenate([level.edges for level in found])) == list(range(net.connections))


# --- ONNX ---


@pytest.fixture(scope="module")
def onnx_outputs(tmp_path_factory):
    """A function that exports a network and runs it with onnxruntime at several weights."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1

    def outputs(net, x, weights):
        net.to_onnx(path)
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        assert [put.name for put in session.get_inputs()] == ["x", "w"]
        given = ({"x": x.astype(np.float32), "w": np.array(w, np.float32)} for w in weights)
        return np.stack([session.run(["y"], feed)[0] for feed in given])

    return outputs


def test_onnx_computes_the_same(onnx_outputs):
    @settings(max_examples=40)
    @given(nets())
    def check(net):
        x = inputs_of(net)
        for w, out in zip(WEIGHTS, onnx_outputs(net, x, WEIGHTS), strict=True):
            assert out.dtype == np.float32 and not differs(net, x, w, out, SINGLE).any()

    check()


@pytest.mark.parametrize("net", BARE)
def test_onnx_of_networks_with_next_to_nothing(net, onnx_outputs):
    x = inputs_of(net, 2)
    np.testing.assert_allclose(onnx_outputs(net, x, [0.5])[0], net(x, 0.5), atol=1e-6)
    assert onnx_outputs(net, x[:0], [0.5]).shape == (1, 0, net.outputs)


@pytest.mark.parametrize("weighted", [False, True])
def test_onnx_predicts_the_same_classes(weighted, onnx_outputs):
    net = big_net(1, activations=("tanh", "sin", "gaussian", "relu", "sigmoid", "cos"), weighted=weighted)
    x = inputs_of(net, 300)
    weights = (1.0,) if weighted else WEIGHTS  # tuned weights predict by themselves
    share = softmax(onnx_outputs(net, x, weights).astype(float)).mean(0)
    first, second = np.sort(softmax(net(x, weights)).mean(0))[:, :-3:-1].T
    clear = first - second > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(share.argmax(1)[clear], net.predict(x)[clear])


def test_onnx_keeps_labels_and_bytes(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = big_net(2)
    for name in "ab":
        net.to_onnx(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (entry,) = onnx.load(tmp_path / "a").metadata_props
    assert entry.key == "labels" and '"class 3"' in entry.value


def test_onnx_refuses_what_single_precision_cannot_hold(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=r"weights.*1e\+39"):
        Net(1, 1, [1], [0, 1], [1], [-1e39]).to_onnx(tmp_path / "a")
    assert not list(tmp_path.iterdir())


# --- torch ---


@given(nets(), NUMBERS)
def test_torch_computes_the_same(net, w):
    x = inputs_of(net)
    with torch.no_grad():
        double = TorchNet(net, w, dtype=torch.float64)(torch.tensor(x)).numpy()
        single = TorchNet(net, w)(torch.tensor(x)).numpy()
    assert double.dtype == np.float64 and not differs(net, x, w, double, DOUBLE).any()
    assert single.dtype == np.float32 and not differs(net, x, w, single, SINGLE).any()
    assert_same(TorchNet(net, w, dtype=torch.float64).to_net(), net.replace(weights=w * net.own_weights))


def test_torch_is_as_close_as_double_precision_allows():
    net = big_net(1, activations=("tanh", "gaussian", "sigmoid", "abs"))
    x = inputs_of(net, 100)
    for w in (0.25, 0.5):
        out = TorchNet(net, w, dtype=torch.float64)(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(out, net(x, w), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(TorchNet(net, w)(torch.tensor(x)).detach(), net(x, w), rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(nets(activations=("linear", "sin", "gaussian", "tanh", "sigmoid", "inverse", "cos", "square")))
def test_torch_gradients_are_those_of_the_function(net):
    module = TorchNet(net, 0.5, dtype=torch.float64)
    x = torch.tensor(inputs_of(net, 2) / 4, requires_grad=True)
    weight = module.weight.detach().clamp(-1, 1).requires_grad_()

    def outputs(weight, x):
        return torch.func.functional_call(module, {"weight": weight}, x)

    assert torch.autograd.gradcheck(outputs, (weight, x), eps=1e-6, atol=1e-3, rtol=1e-3)


def test_torch_can_be_tuned_saved_and_copied(tmp_path):
    net = big_net(4, activations=("tanh", "relu", "linear"))
    x = torch.tensor(inputs_of(net, 200)).float()
    target = torch.arange(200) % 10
    module = net.to_torch(0.5)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(module(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    tuned = module.to_net()
    np.testing.assert_allclose(tuned(x.numpy()), module(x).detach().numpy(), atol=1e-4)
    assert list(module.state_dict()) == ["weight"]
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), tuned.to_torch()):
        torch.testing.assert_close(other(x), module(x))
    fresh = net.to_torch()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(fresh(x), module(x))


@pytest.mark.parametrize("net", BARE)
def test_torch_of_networks_with_next_to_nothing(net):
    module = TorchNet(net, 0.5)
    x = inputs_of(net, 2)
    np.testing.assert_allclose(module(torch.tensor(x)).detach(), net(x, 0.5), atol=1e-6)
    module(torch.tensor(x)).sum().backward()
    assert module(torch.zeros(0, net.inputs)).shape == (0, net.outputs)


def test_torch_refuses():
    with pytest.raises(ValueError, match=r"w.*nan"):
        TorchNet(BARE[0], float("nan"))
    with pytest.raises(ValueError, match=r"inputs.*\(n, 1\).*\(3,\)"):
        TorchNet(BARE[0])(torch.zeros(3))
    broken = TorchNet(Net(1, 1, [1], [0, 1], [1]))
    torch.nn.init.constant_(broken.weight, float("inf"))
    with pytest.raises(ValueError, match=r"weights.*inf"):
        broken.to_net()


# --- Python source ---


def function(net, name="network"):
    names = {}
    exec(compile(source(net, name), "source", "exec"), names)
    return names[name]


@given(nets(named=True), st.sampled_from([*WEIGHTS, 0.7]))
def test_python_source_computes_the_same_and_holds_no_text_of_others(net, w):
    x = inputs_of(net, 3)
    run = function(net)
    evil = '"""\nimport os  # '
    text = source(net.replace(labels=(evil,) * net.outputs, meta={evil: evil}))
    assert evil not in text and "import os" not in text
    for node in ast.walk(ast.parse(text)):
        assert not isinstance(node, ast.ImportFrom)
        assert not isinstance(node, ast.Import) or [alias.name for alias in node.names] == ["math"]
    assert max(map(len, text.splitlines())) <= 120
    assert not differs(net, x, w, np.array([run(row, w) for row in x]), DOUBLE).any()
    if w == 1:
        assert run(x[0].astype(np.float32)) == run(x[0].tolist(), 1)


def test_python_source_is_as_close_as_double_precision_allows():
    net = big_net(1, activations=("tanh", "gaussian", "sigmoid", "abs"), weighted=True)
    x, run = inputs_of(net, 20), function(net)
    np.testing.assert_allclose([run(row, 0.5) for row in x], net(x, 0.5), rtol=1e-12, atol=1e-12)


def test_python_source_is_readable():
    net = Net(3, 1, [5, 3, 1], [0, 2, 3, 5], [0, 2, 4, 5, 3], [1, -1, 0.5, -0.25, 1], offset=[0, 0.5, 0])
    text = source(net, "steer")
    assert "def steer(x, w=1.0):" in text and "h1" not in text
    assert "    h2 = (float(x[1]) - 0.5)\n" in text
    assert "    h4 = math.tanh(w * (1.0 - h2))\n    h5 = _sin(w * (0.5 * h4))\n" in text
    assert "    h6 = w * (-0.25 * h5 + h3)\n    return [h6]\n" in text
    assert re.findall(r"def (\w+)", text) == ["_sin", "steer"]


def test_python_source_of_very_long_sums():
    count = 20_000
    net = Net(count, 1, [1], [0, count + 1], np.arange(count + 1))
    x = np.random.default_rng(0).normal(size=(1, count))
    np.testing.assert_allclose(function(net)(x[0], 0.5), net(x, 0.5)[0], rtol=1e-12)


@pytest.mark.parametrize("net", BARE)
def test_python_source_of_networks_with_next_to_nothing(net):
    x = inputs_of(net, 2)
    np.testing.assert_allclose([function(net)(row, 0.5) for row in x], net(x, 0.5), atol=1e-15)
    with pytest.raises(ValueError, match=r"x.*7"):
        function(net)([0.0] * 7)


def test_python_source_survives_infinity():
    net = Net(1, 1, [11] * 11 + [3], range(13), range(1, 13))
    assert np.isnan(function(net)([1e10])).all() and np.isnan(net([[1e10]])).all()


@pytest.mark.parametrize(
    "name", ["", "a b", "class", "None", "print", "math", "_sin", "x", "w", "1a", "a\n", "ｍath", "é"]
)
def test_python_source_refuses_names(name):
    with pytest.raises(ValueError, match="name"):
        source(BARE[0], name)


# --- networkx ---


@settings(max_examples=40)
@given(nets(named=True))
def test_the_graph_has_every_connection(net):
    networkx = pytest.importorskip("networkx")
    graph = net.to_networkx()
    assert networkx.is_directed_acyclic_graph(graph)
    expected = {}
    for k in range(len(net.act)):
        for edge in range(net.edge_ptr[k], net.edge_ptr[k + 1]):
            key = int(net.src[edge]), net.inputs + 1 + k
            expected[key] = expected.get(key, 0.0) + (1.0 if net.weights is None else net.weights[edge])
    assert {(a, b): weight for a, b, weight in graph.edges.data("weight")} == expected
    kinds = [kind for _, kind in sorted(graph.nodes.data("kind"))]
    hidden = len(net.act) - net.outputs
    assert kinds == ["bias"] + ["input"] * net.inputs + ["hidden"] * hidden + ["output"] * net.outputs
    activations = [name for _, name in sorted(graph.nodes.data("activation"))][net.inputs + 1 :]
    assert activations == [NAMES[kind - 1] for kind in net.act]
    assert tuple(graph.nodes[node]["label"] for node in sorted(graph)[-net.outputs :]) == net.labels


# --- the authors' networks ---

SMALL = "0,0,0.5,nan,1\n0,0,-1.5e+00,1,1\n0,0,0,2,5\n0,0,0,0,3\n"


@pytest.fixture
def champion(tmp_path):
    """A function that reads a text as such a file."""

    def read(text, inputs=1, outputs=1):
        path = tmp_path / "a.out"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_champion(path, inputs, outputs)

    return read


def test_a_champion_is_read(champion):
    net = champion(SMALL)
    expected = Net(1, 1, [5, 3], [0, 2, 4], [0, 1, 1, 2], [0.5, -1.5, 1, 2])
    assert_same(net, expected)
    assert_same(champion(SMALL.replace("\n", "\r\n").rstrip()), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rows, got 0 rows"),
        ("\n" * 10**6, "rows, got 0 rows"),
        (b"\xff", "ASCII"),
        (SMALL.replace("0.5", "x"), "'x'.*row 0, column 3"),
        (SMALL.replace("0.5", "1_0"), "'1_0'.*row 0, column 3"),
        (SMALL.replace("0.5", "inf"), "line 1 .*infinity in column 3"),
        (SMALL.replace("0.5", "1e999"), "line 1 .*infinity in column 3"),
        (SMALL.replace("0.5,", ""), "columns.*4 to 5"),
        (SMALL + SMALL, "8 rows of 5"),
        (SMALL.replace(",5\n", ",12\n"), "line 3 .*11.*12.0"),
        (SMALL.replace(",5\n", ",1.5\n"), "line 3 .*1.5"),
        (SMALL.replace(",5\n", ",nan\n"), "line 3 .*nan"),
        (SMALL.replace("0,0,0.5", "0,1,0.5"), "into bias or inputs, from 0 to 1"),
        (SMALL.replace("0,0,0,0,3", "0,0,1,0,3"), "out of an output, from 3 to 2"),
        (SMALL.replace("0,0,0,2,5", "0,0,1,2,5"), "not forwards, from 2 to 2"),
    ],
)
def test_a_champion_that_is_none(champion, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        champion(text)
    assert "a.out is no champion of 1 inputs and 1 outputs: " in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (0, 1, "inputs.*0"),
        (2, 1, "into bias"),
        (1, 2, "out of an output"),
        (2, 2, "5 nodes.*4"),
    ],
)
def test_a_champion_of_other_sizes(champion, inputs, outputs, message):
    with pytest.raises(ValueError, match=message):
        champion(SMALL, inputs, outputs)


@pytest.mark.skipif(not CHAMPIONS.is_dir(), reason="the authors' networks are not here")
@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "nodes", "connections"),
    [("swing", 5, 1, 29, 52), ("biped", 24, 4, 103, 210), ("racer", 16, 3, 106, 245)],
)
def test_the_champions_have_the_sizes_of_the_paper(name, inputs, outputs, nodes, connections, onnx_outputs):
    net = read_champion(CHAMPIONS / f"{name}.out", inputs, outputs)
    assert (inputs + 1 + len(net.act), net.connections) == (nodes, connections)
    # What the search left in its genome, most of it never touched.
    assert (net.weights == 1).mean() > 0.6 and abs(net.weights).max() < 2
    x = inputs_of(net, 50)
    for one in (net, net.replace(weights=None)):
        for w, out in zip(WEIGHTS, onnx_outputs(one, x, WEIGHTS), strict=True):
            assert not differs(one, x, w, out, SINGLE).any()
        assert_same(TorchNet(one, dtype=torch.float64).to_net().replace(weights=one.weights), one)
