"""The network itself: what it computes, and what it refuses to be."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.networks.activations import NAMES, ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net, softmax
from wann_nets import NUMBERS, big_net, error_bound, inputs_of, nets


def naive_activation(name, t):
    if name in ("sin", "cos"):
        turned = math.fmod(t, 2)
        return math.sin(math.pi * turned) if name == "sin" else math.cos(math.pi * turned)
    return {
        "linear": t,
        "step": float(t > 0),
        "gaussian": math.exp(-(t**2) / 2),
        "tanh": math.tanh(t),
        "sigmoid": 1 / (1 + math.exp(-t)) if t > -700 else 0.0,
        "inverse": -t,
        "abs": abs(t),
        "relu": t if t > 0 else 0.0,
        "square": t * t,
    }[name]


def naive(net, x, w):
    """One example, one weight, one connection at a time; None where numbers become too large to compare."""
    values = [1.0]
    for i in range(net.inputs):
        offset = 0.0 if net.offset is None else float(net.offset[i])
        scale = 1.0 if net.scale is None else float(net.scale[i])
        values.append((float(x[i]) - offset) * scale)
    for k in range(len(net.act)):
        total = 0.0
        for e in range(int(net.edge_ptr[k]), int(net.edge_ptr[k + 1])):
            total += (1.0 if net.weights is None else float(net.weights[e])) * values[net.src[e]]
        if abs(w * total) > 1e100:
            return None
        values.append(naive_activation(NAMES[net.act[k] - 1], w * total))
    return values[-net.outputs :]


@given(nets(), NUMBERS)
def test_it_computes_what_the_paper_says(net, w):
    x = inputs_of(net, 3)
    bound = error_bound(net, x, w, 2.0**-52)
    for row, found, allowed in zip(x, net(x, w), bound, strict=True):
        expected = naive(net, row, w)
        assert expected is None or (abs(np.subtract(found, expected)) <= allowed).all()


@given(nets(activations=NAMES[:10]))
def test_several_weights_are_as_many_calls(net):
    x = inputs_of(net)
    together = net(x, WEIGHTS)
    assert together.shape == (6, len(x), net.outputs)
    for w, out in zip(WEIGHTS, together, strict=True):
        np.testing.assert_array_equal(net(x, w), out)


def test_an_example_does_not_depend_on_those_beside_it():
    net = Net(60, 1, [1], [0, 61], np.arange(61))
    x = np.random.default_rng(0).normal(size=(50, 60)) * 10.0 ** np.arange(-5, 5).repeat(6)
    np.testing.assert_array_equal(net(x), np.concatenate([net(row[None]) for row in x]))


def test_breaking_down_gives_no_warning():
    # Two infinities whose difference is NaN, in a sum.
    net = Net(1, 1, ids_of(["square"] * 12 + ["inverse", "linear"]), [*range(14), 15], [*range(1, 14), 13, 14])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(net([[10.0]])).all()


def test_the_ensemble_answers():
    net = big_net(3)
    x = inputs_of(net, 50)
    expected = np.mean([softmax(net(x, w)) for w in WEIGHTS], axis=0).argmax(1)
    np.testing.assert_array_equal(net.predict(x), expected)
    np.testing.assert_allclose(net.replace(labels=None).predict(x), np.mean([net(x, w) for w in WEIGHTS], axis=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": 0}, "inputs.*0"),
        ({"outputs": 0}, "outputs.*0"),
        ({"outputs": 3}, "act.*3.*2"),
        ({"act": [0, 1]}, r"act.*11, got 0"),
        ({"act": [1, 12]}, r"act.*11, got 12"),
        ({"act": [1]}, "edge_ptr"),
        ({"edge_ptr": [0, 2]}, "edge_ptr"),
        ({"edge_ptr": [1, 1, 3]}, "edge_ptr"),
        ({"edge_ptr": [0, 4, 3]}, "edge_ptr"),
        ({"edge_ptr": [0, 1, 2]}, "edge_ptr"),
        ({"edge_ptr": [0, 0, 0, 3]}, "edge_ptr"),
        ({"src": [0, 3, 3]}, "src.*connection 1 from 3 to 3"),
        ({"src": [-1, 1, 3]}, "src.*connection 0 from -1 to 3"),
        ({"src": [0, 1, 4]}, "src.*connection 2 from 4 to 4"),
        ({"weights": [1.0]}, r"weights.*\(3,\).*\(1,\)"),
        ({"weights": [1.0, np.nan, 1.0]}, "weights.*nan"),
        ({"offset": [1.0]}, r"offset.*\(2,\).*\(1,\)"),
        ({"scale": [1.0, np.inf]}, "scale.*inf"),
        ({"labels": ("a", "b")}, "labels.*1.*2"),
    ],
)
def test_it_refuses_to_be_no_network(changes, message):
    fields = {"inputs": 2, "outputs": 1, "act": [1, 5], "edge_ptr": [0, 2, 3], "src": [0, 1, 3]}
    Net(**fields)
    with pytest.raises(ValueError, match=message):
        Net(**(fields | changes))


@pytest.mark.parametrize("changes", [{"act": np.array([257])}, {"src": np.array([2**32 + 1])}, {"src": [0.5]}])
def test_numbers_are_not_bent_into_shape(changes):
    with pytest.raises((ValueError, OverflowError)):
        Net(**({"inputs": 1, "outputs": 1, "act": [1], "edge_ptr": [0, 1], "src": [1]} | changes))


def test_it_refuses_inputs_that_are_none():
    net = Net(2, 1, [1], [0, 1], [1])
    for x in (np.zeros(2), np.zeros((1, 3)), [[np.nan, 0]], [[0, np.inf]]):
        with pytest.raises(ValueError, match="inputs"):
            net(x)
    with pytest.raises(ValueError, match=r"w .*\(2, 2\)"):
        net(np.zeros((1, 2)), np.ones((2, 2)))


def test_it_stays_as_it_is():
    act = np.array([1], np.int8)
    net = Net(1, 1, act, [0, 1], [1], weights=[2.0])
    act[0] = 5
    assert net.act[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        net.weights[0] = 3
    with pytest.raises(AttributeError):
        net.inputs = 2


@settings(max_examples=30)
@given(st.lists(nets(named=False, scaled=False), min_size=1, max_size=4))
def test_packing_loses_nothing(several):
    several = [net for net in several if (net.inputs, net.outputs) == (several[0].inputs, several[0].outputs)]
    packed = Packed.of(several)
    assert len(packed) == len(several)
    assert packed.connections.tolist() == [net.connections for net in several]
    for number, net in enumerate(several):
        x = inputs_of(net, 2)
        np.testing.assert_array_equal(packed.net(number)(x, 0.5), net(x, 0.5))
        np.testing.assert_array_equal(packed.chosen([number]).net(0)(x, 0.5), net(x, 0.5))
