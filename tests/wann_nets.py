"""Random small networks for tests, and how far a computation of one may be from the exact values."""

import numpy as np
from hypothesis import strategies as st

from untrained.wann.networks.activations import FUNCTIONS, NAMES, ids_of
from untrained.wann.networks.net import Net

NUMBERS = st.floats(-4, 4, allow_nan=False).map(lambda value: round(value, 3))
_SLOPES = {"sin": np.pi, "cos": np.pi, "gaussian": 0.61, "sigmoid": 0.25}
ARRAYS = ("act", "edge_ptr", "src", "weights", "offset", "scale")


@st.composite
def nets(draw, activations=NAMES, *, weighted=None, scaled=None, named=None):
    """Networks with up to 5 inputs, 3 outputs and 8 hidden nodes; some have unconnected nodes, or connections twice.

    `weighted`, `scaled`, `named`: whether they have own weights, offset and scale, labels and meta; None: some have.
    """
    inputs, outputs, hidden = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 8))
    names = draw(st.lists(st.sampled_from(activations), min_size=hidden + outputs, max_size=hidden + outputs))
    sources = [draw(st.lists(st.integers(0, inputs + k), max_size=5)) for k in range(hidden + outputs)]
    src = [source for part in sources for source in part]
    optional = {}
    if draw(st.booleans()) if weighted is None else weighted:
        optional["weights"] = draw(_numbers(len(src)))
    if draw(st.booleans()) if scaled is None else scaled:
        optional |= {"offset": draw(_numbers(inputs)), "scale": draw(_numbers(inputs))}
    if draw(st.booleans()) if named is None else named:
        optional["labels"] = tuple(draw(st.lists(st.text(max_size=5), min_size=outputs, max_size=outputs)))
        optional["meta"] = draw(st.dictionaries(st.text(max_size=5), st.integers() | st.text() | NUMBERS, max_size=3))
    return Net(inputs, outputs, ids_of(names), np.cumsum([0, *map(len, sources)]), src, **optional)


def _numbers(count):
    return st.lists(NUMBERS, min_size=count, max_size=count)


def big_net(seed, *, inputs=64, outputs=10, hidden=120, activations=NAMES[:10], weighted=False):
    """A network about as large as those that are found for images."""
    rng = np.random.default_rng(seed)
    sources = [rng.choice(inputs + 1 + k, rng.integers(1, 8), replace=False) for k in range(hidden)]
    last = inputs + 1 + hidden
    sources += [rng.choice(last, 20, replace=False) for _ in range(outputs)]
    src = np.concatenate(sources)
    return Net(
        inputs,
        outputs,
        ids_of(rng.choice(activations, hidden + outputs).tolist()),
        np.cumsum([0, *map(len, sources)]),
        src,
        rng.normal(size=len(src)) if weighted else None,
        np.full(inputs, 0.25),
        rng.uniform(0.5, 2, inputs),
        tuple(f"class {number}" for number in range(outputs)),
    )


def random_net(seed, inputs=3, outputs=2, *, hidden=None, weighted=None, activations=NAMES, fan_in=4):
    """Return a network with up to `fan_in` sources per node; `hidden`, `weighted`: None draws them, too."""
    rng = np.random.default_rng(seed)
    hidden = int(rng.integers(0, 7)) if hidden is None else hidden
    sources = [rng.integers(0, inputs + 1 + k, rng.integers(0, fan_in + 1)) for k in range(hidden)]
    sources += [rng.integers(0, inputs + 1 + hidden, rng.integers(0, fan_in + 1)) for _ in range(outputs)]
    src = np.concatenate(sources).astype(int)
    weighted = bool(rng.integers(2)) if weighted is None else weighted
    kinds = ids_of(rng.choice(activations, hidden + outputs).tolist())
    weights = rng.normal(size=len(src)) if weighted else None
    return Net(inputs, outputs, kinds, np.cumsum([0, *map(len, sources)]), src, weights)


def inputs_of(net, count=7, seed=0):
    """Random inputs, float64 that are float32, too."""
    return np.random.default_rng(seed).normal(size=(count, net.inputs)).astype(np.float32).astype(float)


def error_bound(net, x, w, eps):
    """How far outputs may be off if every operation is off by `eps` times its result, (n, outputs).

    Where a step may fall on the other side it is off by 1; where values are huge, nothing is known: infinity.
    """
    x = np.asarray(x, float)
    offset, scale = (np.zeros(net.inputs) if net.offset is None else net.offset), net.scale
    value = np.ones((len(x), net.inputs + 1 + len(net.act)))
    error = np.zeros(value.shape)
    value[:, 1 : net.inputs + 1] = net.scaled(x)
    error[:, 1 : net.inputs + 1] = 4 * eps * (abs(x) + abs(offset)) * (1 if scale is None else abs(scale))
    with np.errstate(over="ignore", invalid="ignore"):
        for k, kind in enumerate(net.act):
            edges = slice(net.edge_ptr[k], net.edge_ptr[k + 1])
            sources, own = net.src[edges], 1.0 if net.weights is None else net.weights[edges]
            t = w * (value[:, sources] * own).sum(1)
            each = error[:, sources] + (len(sources) + 4) * eps * abs(value[:, sources])
            off = abs(w) * (each * abs(own)).sum(1) + eps**5
            at, name = net.inputs + 1 + k, NAMES[kind - 1]
            value[:, at] = FUNCTIONS[name](t)
            if name == "step":
                error[:, at] = abs(t) <= off
                continue
            if name == "square":
                off = off * (2 * abs(t) + off)
            elif name in ("sin", "cos"):
                off = off + eps * (abs(t) + 1)
            error[:, at] = _SLOPES.get(name, 1.0) * off + 8 * eps * (1 + abs(value[:, at]))
    sane = (abs(value) < 1e30).all(1, keepdims=True)
    return np.where(sane, error, np.inf)[:, -net.outputs :]


def assert_same(one, other):
    """Two networks are equal in every bit."""
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None), name
        assert a is None or (a.dtype == b.dtype and a.tobytes() == b.tobytes()), name
    for name in ("inputs", "outputs", "labels", "meta"):
        assert getattr(one, name) == getattr(other, name), name
