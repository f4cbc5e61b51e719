"""Packed layers: what they compute, against a naive oracle, and that they behave as modules do."""

import copy
import hashlib
import itertools
import json
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.cli import main
from untrained.native import library, processor
from untrained.native.compiler import NoCompiler
from untrained.packed import bench, trits
from untrained.packed import kernels as packed_kernels
from untrained.packed import modules as packed

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def kernels_of(level):
    try:
        return library.load(level)
    except NoCompiler as why:
        pytest.skip(str(why))


def drawn(rows, columns, density, seed):
    """Random trits (rows, columns), int8."""
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (rows, columns)) * 2 - 1
    return torch.from_numpy((signs * (rng.random((rows, columns)) < density)).astype(np.int8))


def oracle(x, matrix, scale, bias=None):
    y = x.double() @ matrix.double().T * float(scale)
    return y if bias is None else y + bias.double()


def products(kernels, matrix, scale, bias, x):
    """The product of the kernel for words, and of that for lists."""
    codes = (trits.pack_words(matrix), None), trits.pack_lists(matrix)
    return [packed_kernels.product(kernels, *each, scale, bias, x, *matrix.shape) for each in codes]


def assert_right(y, expected, tolerance=1e-6):
    assert y.shape == expected.shape
    size = expected.abs().max() if expected.numel() else 0
    assert (y.double() - expected).abs().le(tolerance * size).all()


def ternary(layer, density=0.5, scale=0.25, seed=0):
    """A layer with such a weight."""
    flat = drawn(len(layer.weight), layer.weight[0].numel(), density, seed)
    layer.weight.data = (flat * scale).reshape(layer.weight.shape)
    return layer.requires_grad_(False)


SIDES = st.one_of(st.integers(1, 40), st.sampled_from([97, 513, 1024, 1025]))


@pytest.mark.parametrize("level", library.levels())
@settings(max_examples=40)
@given(
    rows=SIDES,
    columns=SIDES,
    batch=st.integers(0, 19),
    density=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    with_bias=st.booleans(),
    seed=st.integers(0, 99),
)
@example(rows=1, columns=1, batch=1, density=1.0, with_bias=False, seed=0)
@example(rows=2049, columns=17, batch=3, density=0.5, with_bias=True, seed=0)
@example(rows=3, columns=16384, batch=2, density=1.0, with_bias=False, seed=0)
@example(rows=2, columns=40_000, batch=1, density=1.0, with_bias=False, seed=0)
@example(rows=2, columns=40_000, batch=5, density=1.0, with_bias=False, seed=0)
@example(rows=9, columns=40_000, batch=17, density=0.01, with_bias=True, seed=0)
@example(rows=2000, columns=1, batch=9, density=0.5, with_bias=True, seed=0)
def test_the_kernels_are_right_to_a_millionth(level, rows, columns, batch, density, with_bias, seed):
    kernels, matrix, scale = kernels_of(level), drawn(rows, columns, density, seed), torch.tensor(0.37)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, columns, generator=generator)
    bias = torch.randn(rows, generator=generator) if with_bias else None
    expected = oracle(x, matrix, scale, bias)
    # Sums that cancel to almost nothing are no measure of the error: the largest sum there could be is.
    size = (x.double().abs().sum(1).max() * 1e-7).item() if batch else 0
    for y in products(kernels, matrix, scale, bias, x):
        assert y.shape == expected.shape
        if batch:
            assert (y.double() - expected).abs().max().item() <= max(1e-6 * expected.abs().max().item(), size)


@pytest.mark.parametrize("level", library.levels())
def test_sums_over_many_columns_stay_right(level):
    kernels, matrix, scale = kernels_of(level), drawn(64, 16_384, 0.5, 0), torch.tensor(1.0)
    x = torch.randn(2, 16_384, generator=torch.Generator().manual_seed(0))
    for y in products(kernels, matrix, scale, None, x):
        assert_right(y, oracle(x, matrix, scale))


@pytest.mark.parametrize("level", library.levels())
def test_threads_change_no_bit(threads, level):
    kernels, matrix, scale = kernels_of(level), drawn(2100, 600, 0.5, 0), torch.tensor(1.0)
    x = torch.randn(17, 600, generator=torch.Generator().manual_seed(0))
    expected = products(kernels, matrix, scale, None, x)
    assert_right(expected[0], oracle(x, matrix, scale))
    threads(2)
    assert all(map(torch.equal, products(kernels, matrix, scale, None, x), expected))


def test_lists_give_the_same_bits_at_every_level_and_batch():
    matrix, scale, bias = drawn(100, 3000, 0.2, 0), torch.tensor(0.37), torch.randn(100)
    lists, x = trits.pack_lists(matrix), torch.randn(21, 3000)
    expected = packed_kernels.product(kernels_of(library.levels()[0]), *lists, scale, bias, x, 100, 3000)
    for level in library.levels():
        for batch in (1, 3, 5, 21):
            y = packed_kernels.product(kernels_of(level), *lists, scale, bias, x[:batch], 100, 3000)
            assert y.equal(expected[:batch])


@pytest.mark.parametrize("level", library.levels())
@pytest.mark.parametrize("batch", [1, 8, 16])
def test_inputs_of_a_size_beyond_all_others_leave_no_trace_where_no_weight_takes_them(level, batch):
    matrix = drawn(40, 90, 0.7, 0)
    matrix[:, [0, 4, 8, 89]] = 0
    x = torch.randn(batch, 90, generator=torch.Generator().manual_seed(0))
    expected = oracle(x.index_fill(1, torch.tensor([0, 4, 8, 89]), 0), matrix, 1)
    x[:, [0, 4, 8, 89]] = 1e12
    for y in products(kernels_of(level), matrix, torch.tensor(1.0), None, x):
        assert_right(y, expected)


@given(
    rows=SIDES,
    columns=SIDES | st.just(3000),
    density=st.floats(0, 1) | st.floats(0, 0.01),
    crowded=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@example(rows=3, columns=40_000, density=0.5, crowded=1, seed=0)
@example(rows=9, columns=40_000, density=0.0001, crowded=1, seed=0)
@example(rows=4000, columns=1, density=0.5, crowded=0.5, seed=0)
@settings(max_examples=20)
def test_packing_loses_nothing(rows, columns, density, crowded, seed):
    matrix = drawn(rows, columns, density, seed)
    matrix[int(crowded * rows) :] = 0  # lists of very different lengths
    words = trits.pack_words(matrix)
    assert trits.unpack_words(words, rows, columns).equal(matrix)
    assert trits.read(words, None, rows, columns)[0] is words
    lists = trits.pack_lists(matrix)
    assert trits.unpack_lists(*lists, rows, columns).equal(matrix)
    assert trits.read(*lists, rows, columns) == lists
    for old in ((old_words(matrix), None), old_places(matrix)):
        codes, starts = trits.read(*old, rows, columns)
        new = (words, None) if starts is None else lists
        assert codes.equal(new[0])
        assert starts is None or starts.equal(new[1])


def walked(matrix):
    """The lists of a matrix, step by step: the oracle of `pack_lists`."""
    rows, columns = matrix.shape
    lists = []
    for row in matrix.tolist():
        at, steps = 0, []
        for c in [c for c in range(columns) if row[c] > 0] + [columns + c for c in range(columns) if row[c] < 0]:
            to = c // 84 * 85 + c % 84
            while to - at > 255:
                zero = max(place for place in range(at + 1, at + 256) if place % 85 == 84)
                steps, at = [*steps, zero - at], zero
            steps, at = [*steps, to - at], to
        lists.append((steps, 84 - at % 85))
    order = sorted(range(rows), key=lambda row: -len(lists[row][0]))
    starts, codes = [0], []
    for first in range(0, rows, 8):
        group = [lists[row] for row in order[first : first + 8]] + [([], 0)] * max(0, first + 8 - rows)
        for k in range(len(group[0][0])):
            codes += [steps[k] if k < len(steps) else rest * (k == len(steps)) for steps, rest in group]
        starts.append(len(codes))
    return codes, starts + order


@pytest.mark.parametrize("density", [0.002, 0.02, 0.3])
def test_lists_are_those_of_a_naive_walk(density):
    matrix = drawn(21, 700, density, 1)
    steps, starts = trits.pack_lists(matrix)
    expected = walked(matrix)
    assert starts.tolist() == expected[1] or density == 0.002
    if density != 0.002:
        assert steps.dtype is torch.uint8
        assert steps.tolist() == expected[0]
    assert steps.nbytes <= len(expected[0])  # two bytes a step only where they are fewer


def test_the_bytes_of_words_and_lists_are_for_ever():
    matrix = torch.tensor([[1, 0, -1, -1, -1, -1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]], dtype=torch.int8)
    numbers = [1 - 9, -13, 13, 0, 3, 9]
    fives = [abs(number) | (number < 0) << 4 for number in numbers]
    word = sum(five << shift for five, shift in zip(fives, [0, 5, 10, 16, 21, 26], strict=True))
    word -= (word >> 31) << 32
    assert old_words(matrix).tolist() == [word] + [0] * 15
    words = trits.pack_words(matrix)
    assert words.shape == (1, 16)
    assert words[0].tolist() == [783121422] + [900543917] * 15
    steps, starts = trits.pack_lists(matrix)
    assert steps.reshape(-1, 8)[:, 0].tolist() == [0, 6, 1, 1, 5, 4, 3, 1, 1, 1]
    assert not steps.reshape(-1, 8)[:, 1:].any()
    assert starts.tolist() == [0, 80, 0]
    every = torch.tensor(list(itertools.product([-1, 0, 1], repeat=3)), dtype=torch.int8)
    assert hashlib.sha256(trits.pack_words(every).numpy().tobytes()).hexdigest()[:8] == "e09acbb6"


@pytest.mark.parametrize("density", [0.5, 0.03])
@pytest.mark.parametrize("like", [0.5, 0.03])
def test_states_and_programs_of_earlier_versions_still_load(density, like, tmp_path):
    dense, x = ternary(nn.Linear(70, 30), density), torch.randn(3, 70)
    matrix = (dense.weight / 0.25).to(torch.int8)
    codes, starts = (old_words(matrix), None) if density == 0.5 else old_places(matrix)
    state = {"bias": dense.bias.data, "codes": codes, "scale": torch.tensor(0.25)}
    expected = oracle(x, dense.weight, 1, dense.bias)
    for assign in (False, True):
        layer = ut.pack_(ternary(nn.Linear(70, 30), like, seed=1))
        layer.load_state_dict(state if starts is None else {**state, "starts": starts}, assign=assign)
        assert_right(layer(x), expected)
        assert layer.weight.equal(dense.weight)
    layer._buffers.update(codes=codes, starts=starts)  # and a module that was pickled whole
    assert_right(pickle.loads(pickle.dumps(layer))(x), expected)
    run = torch.ops.untrained.packed_linear.default
    for _ in range(2):
        assert_right(run(x, codes, starts, layer.scale, layer.bias, 30, 70, torch.float32), expected)
    with pytest.raises(ValueError, match=r"words|starts"):
        run(x, codes[:-4], starts, layer.scale, layer.bias, 30, 70, torch.float32)


def old_words(matrix):
    """Words as earlier versions had them."""
    rows, columns = matrix.shape
    height, groups = -(-rows // 16) * 16, -(-columns // 18)
    padded = np.zeros((height, groups * 18), np.int64)
    padded[:rows, :columns] = matrix.numpy()
    numbers = padded.reshape(height, groups, 6, 3) @ [1, 3, 9]
    words = ((abs(numbers) | (numbers < 0) << 4) << np.array([0, 5, 10, 16, 21, 26])).sum(2).astype(np.uint32)
    blocks = [words[at : at + 1024].T.ravel() for at in range(0, height, 1024)]
    return torch.from_numpy(np.concatenate(blocks).view(np.int32))


def old_places(matrix):
    """Places in (x, -x, 0), and the starts of the rows, as earlier versions had them."""
    columns = matrix.shape[1]
    lists = [np.flatnonzero(np.concatenate([row > 0, row < 0])) for row in matrix.numpy()]
    lists = [np.append(each, [2 * columns] * (-len(each) % 4)) for each in lists]
    kinds = (np.uint16, np.int16) if 2 * columns < 1 << 16 else (np.uint32, np.int32)
    places = torch.from_numpy(np.concatenate(lists).astype(kinds[0]).view(kinds[1]))
    return places, torch.tensor([0, *np.cumsum([len(each) for each in lists])], dtype=torch.int32)


def test_memory_of_a_large_layer():
    layer = ut.pack_(ternary(nn.Linear(2048, 2048, bias=False)))
    (line,) = packed.layers(layer)
    assert sum(tensor.nbytes for tensor in layer.state_dict().values()) < 1e6
    if library.status().level == "avx512":
        layer(torch.ones(100, 2048))
        assert packed.layers(layer) == [line]
        assert line.bytes < 1e6


NETWORKS = {
    "fc": (lambda: ut.models.fc(widths=(40, 33)), (1, 28, 28)),
    "conv4": (lambda: ut.models.conv4(width=0.1), (3, 32, 32)),
    "resnet18": (lambda: ut.models.resnet18(width=0.1), (3, 32, 32)),
}
TERNARY = [ut.EdgePopup(keep=0.5), ut.EdgePopup(keep=0.02), ut.Biprop(), ut.SignedSupermask(), ut.Threshold()]


@pytest.mark.parametrize("method", TERNARY, ids=str)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [1, 5])
def test_a_found_network_computes_what_it_did(network, method, batch):
    build, shape = NETWORKS[network]
    model = ut.mask_(build(), method, seed=0).eval()
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), ut.baked(model) as dense:
        expected = dense(x)
    assert ut.pack_(model) is model
    assert_right(model(x), expected.double(), 1e-5)
    assert not any("left alone" in layer.how for layer in packed.layers(model))


@pytest.mark.parametrize("network", NETWORKS)
def test_in_bfloat16_convolutions_and_large_batches_are_as_right_as_bfloat16(network):
    build, shape = NETWORKS[network]
    model = ut.bake_(ut.mask_(build(), ut.EdgePopup(keep=0.5)).eval())
    x = torch.randn(100, *shape, generator=torch.Generator().manual_seed(1))
    expected = model(x)
    assert_right(ut.pack_(model, dtype=torch.bfloat16)(x), expected.double(), 2e-2)
    if network != "fc":
        assert packed.layers(model)[0].how == "dense bfloat16"


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda **kw: nn.Conv1d(4, 6, 3, **kw), (4, 9)),
        (lambda **kw: nn.Conv2d(4, 6, (3, 5), **kw), (4, 9, 11)),
        (lambda **kw: nn.Conv3d(4, 6, 3, **kw), (4, 5, 6, 7)),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "bias": False},
        {"groups": 2, "dilation": 2},
        {"padding": "same"},
        {"padding": "valid"},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "reflect"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_convolutions_of_every_kind(make, side, options, dtype):
    dense = ternary(make(**options))
    if dense.bias is not None:
        dense.bias.data = torch.arange(6.0)
    conv = ut.pack_(copy.deepcopy(dense), dtype=dtype)
    for x in (torch.randn(2, *side), torch.randn(side), torch.randn(0, *side)):
        assert_right(conv(x), dense(x).double(), 1e-6 if dtype is torch.float32 else 2e-2)
        assert conv(x.double()).dtype is torch.float64
    for wrong in (torch.randn(2, 5, *side[1:]), torch.randn(4), torch.ones(2, *side, dtype=torch.int64)):
        with pytest.raises((ValueError, NotImplementedError, RuntimeError)):
            conv(wrong)


@pytest.mark.parametrize("density", [0.5, 0.02])
class TestLinear:
    @pytest.fixture
    def pair(self, density):
        dense = ternary(nn.Linear(70, 30), density)
        return dense, ut.pack_(copy.deepcopy(dense))

    def test_shapes(self, pair):
        dense, ours = pair
        for x in (
            torch.randn(70),
            torch.randn(0, 70),
            torch.randn(200, 70),
            torch.randn(2, 3, 70),
            torch.randn(70, 5).T,
            torch.randn(4, 140)[:, ::2],
        ):
            assert_right(ours(x), oracle(x, dense.weight, 1, dense.bias))

    def test_wrong_inputs_are_refused(self, pair):
        for wrong in (torch.randn(3, 71), torch.tensor(1.0), torch.ones(3, 70, dtype=torch.int64)):
            with pytest.raises(ValueError, match="the input of a packed layer must be"):
                pair[1](wrong)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("batch", [1, 64])
    def test_dtypes(self, pair, dtype, batch):
        dense, ours = pair
        x = torch.randn(batch, 70, dtype=dtype)
        expected = oracle(x, dense.weight, 1, dense.bias)
        for model in (ours, copy.deepcopy(ours).to(dtype)):
            assert model(x).dtype is dtype
            assert_right(model(x), expected, {torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-6))
            assert model.scale.dtype is torch.float32

    def test_default_dtype_and_autocast_have_no_say(self, pair):
        x = torch.randn(3, 70)
        y = pair[1](x)
        torch.set_default_dtype(torch.float64)
        try:
            assert pair[1](x).equal(y)
        finally:
            torch.set_default_dtype(torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            assert pair[1](x).equal(y)

    def test_copies_and_saved_states(self, pair, tmp_path):
        _, ours = pair
        x = torch.randn(3, 70)
        y = ours(x)
        for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert twin(x).equal(y)
        torch.save(ours.state_dict(), tmp_path / "state.pt")
        density = 0.5 if ours.starts is None else 0.005  # below, a layer of the other kind, too
        other = ut.pack_(ternary(nn.Linear(70, 30), density, scale=3.0, seed=1))
        other(x.double())  # expands the weights that are replaced now
        for assign in (False, True):
            other.load_state_dict(torch.load(tmp_path / "state.pt"), assign=assign)
            assert other(x).equal(y)
            assert other(x.double()).equal(ours(x.double()))

    def test_damaged_states_are_refused(self, pair):
        state = pair[1].state_dict()
        damaged = [{**state, "codes": state["codes"].double()}]
        if "starts" in state:
            damaged += [
                {**state, "starts": state["starts"] + 8},
                {**state, "starts": state["starts"].flip(0)},
                {**state, "starts": state["starts"][:-1]},
                {**state, "starts": state["starts"].double()},
                {**state, "starts": torch.cat([state["starts"][:-1], state["starts"][-2:-1]])},  # a row twice
                {**state, "codes": state["codes"][:-8]},
                {**state, "codes": state["codes"].reshape(-1, 8)},
                {**state, "codes": torch.full_like(state["codes"], 255)},
                {**state, "codes": torch.where(torch.arange(len(state["codes"])) == 8, 0, state["codes"])},
            ]
        else:
            damaged += [
                {**state, "codes": state["codes"][:-1]},
                {**state, "codes": state["codes"][None]},
                {**state, "starts": torch.zeros(31, dtype=torch.int32)},
            ]
        for wrong in damaged:
            victim = copy.deepcopy(pair[1])
            with pytest.raises(ValueError, match="codes: "):
                victim.load_state_dict(wrong, assign=True)
            assert all(map(torch.equal, victim.state_dict().values(), state.values()))  # and nothing was loaded

    def test_compiled_and_exported(self, pair):
        torch.compiler.reset()
        _, ours = pair
        compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
        for batch in (1, 40):
            x = torch.randn(batch, 70)
            assert compiled(x).equal(ours(x))
        batch = torch.export.Dim("batch")
        exported = torch.export.export(ours, (torch.randn(2, 70),), dynamic_shapes=({0: batch},)).module()
        assert exported(x).equal(ours(x))

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("batch", [1, 200])
    def test_the_input_has_the_gradient_of_the_dense_layer(self, pair, dtype, batch):
        dense, ours = pair
        x = torch.randn(batch, 70, dtype=dtype, requires_grad=True)
        exact = x.detach().double().requires_grad_()
        (copy.deepcopy(dense).double()(exact).sin().sum() + exact.sum()).backward()
        with torch.no_grad():
            assert not ours(x).requires_grad
        (ours(x).sin().sum() + x.sum()).backward()
        tolerance = {torch.float16: 1e-2, torch.bfloat16: 1e-1}.get(dtype, 1e-5)
        assert x.grad.dtype is dtype
        assert_right(x.grad, exact.grad, tolerance)

    def test_a_bias_that_learns_has_a_gradient(self, pair):
        ours = copy.deepcopy(pair[1])
        ours.bias.requires_grad_(True)
        ours(torch.randn(3, 70)).sum().backward()
        assert ours.bias.grad.equal(torch.full((30,), 3.0))

    def test_a_gradient_is_refused_where_it_is_compiled(self, pair):
        torch.compiler.reset()
        with pytest.raises(RuntimeError, match="no gradient where it is compiled"):
            torch.compile(pair[1], backend="aot_eager")(torch.randn(3, 70, requires_grad=True)).sum().backward()

    @pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 3e38, -3.4e38])
    @pytest.mark.parametrize("places", [[0], [69], [3, 4], range(70)])
    @pytest.mark.parametrize("batch", [1, 6, 200])
    def test_numbers_that_are_none_and_huge_ones_give_what_the_dense_layer_gives(self, pair, wrong, places, batch):
        dense, ours = pair
        x = torch.randn(batch, 70)
        x[-1, list(places)] = wrong
        for dtype in (torch.float32, torch.float64):
            got, expected = ours(x.to(dtype)), copy.deepcopy(dense).to(dtype)(x.to(dtype))
            assert torch.allclose(got, expected, rtol=1e-5, atol=1e-5, equal_nan=True)

    def test_the_weight_can_be_read(self, pair):
        dense, ours = pair
        assert ours.weight.equal(dense.weight)
        assert "weight" not in ours.state_dict()

    def test_without_kernels(self, pair, monkeypatch):
        dense, ours = pair
        x = torch.randn(3, 70)
        y = ours(x)
        monkeypatch.setattr(packed_kernels, "status", lambda: library.Status(None, "", "none"))
        assert_right(ours(x), y.double())
        assert_right(ours(x), oracle(x, dense.weight, 1, dense.bias))


def test_convolutions_compile_and_export():
    torch.compiler.reset()
    model = ut.pack_(ternary(nn.Conv2d(3, 8, 3, padding="same", stride=1)))
    x = torch.randn(2, 3, 9, 9)
    assert torch.compile(model, backend="aot_eager", fullgraph=True)(x).equal(model(x))
    assert torch.export.export(model, (x,)).module()(x).equal(model(x))


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(4, 6, 3, padding="same"), nn.Conv3d(4, 2, 2)]
)
def test_the_input_of_a_convolution_has_its_gradient(layer):
    dense = ternary(layer)
    ours = ut.pack_(copy.deepcopy(dense))
    x = torch.randn(2, 4, *[7] * (dense.weight.ndim - 2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, x, fast_mode=True)
    (expected,) = torch.autograd.grad(copy.deepcopy(dense).double()(x).sin().sum(), x)
    assert_right(torch.autograd.grad(ours(x).sin().sum(), x)[0], expected)


def test_what_cannot_be_packed_is_left_alone_and_said_so():
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = ternary(nn.Linear(8, 8))
            self.normal = nn.Linear(8, 8)
            self.tied, self.twin = ternary(nn.Linear(8, 8)), nn.Linear(8, 8)
            self.twin.weight = self.tied.weight
            self.table = ternary(nn.Embedding(8, 8))
            self.double = ternary(nn.Linear(8, 8)).double()
            self.constant = nn.Linear(8, 8)
            self.constant.weight.data = torch.ones(8, 8) + torch.eye(8)
            self.nan = nn.Linear(1, 1)
            self.nan.weight.data.fill_(float("nan"))
            self.dead = nn.Linear(8, 8)
            self.dead.weight.data.zero_()
            self.shared = self.first

    model = Model()
    before = model.normal.weight.clone()
    ut.pack_(model)
    how = {layer.name: layer.how for layer in packed.layers(model)}
    run = {"lookup", "indices"} if library.library() else {"dense float32"}
    assert {how.pop("first.weight"), how.pop("dead.weight")} == run
    assert how == {
        "normal.weight": "left alone: weights take 64 values",
        "tied.weight": "left alone: tied with 'twin.weight'",
        "table.weight": "left alone: weight of Embedding",
        "double.weight": "left alone: torch.float64 may hold a σ that float32 does not",
        "constant.weight": "left alone: weights take 2 values, not -σ, 0 and +σ",
        "nan.weight": "left alone: weights take 1 values, not -σ, 0 and +σ",
    }
    assert model.normal.weight.equal(before)
    assert model.shared is model.first
    assert model.dead(torch.ones(8)).equal(model.dead.bias)


def test_where_there_is_nothing_to_pack_nothing_happens():
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(ValueError, match=re.escape("nothing to pack: 0.weight: weights take 64 values")):
        ut.pack_(model)
    masked = ut.mask_(nn.Sequential(nn.Linear(8, 8)), ut.EdgePopup(keep=0.5), weights=ut.KaimingNormal())
    with pytest.raises(ValueError, match="nothing to pack"):
        ut.pack_(masked)
    assert ut.scores(masked)  # still there
    outer = nn.Sequential(ut.mask_(nn.Sequential(nn.Linear(8, 8)), ut.EdgePopup(keep=0.5)))
    with pytest.raises(ValueError, match="a part of this model is masked"):
        ut.pack_(outer)
    with pytest.raises(ValueError, match=re.escape("torch.float32 or torch.bfloat16, got torch.float64")):
        ut.pack_(model, dtype=torch.float64)
    packed_once = ut.pack_(ternary(nn.Linear(8, 8)))
    with pytest.raises(ValueError, match="no weights left to pack"):
        ut.pack_(packed_once)
    with pytest.raises(TypeError, match="made by pack_"):
        packed.PackedLinear()


def test_methods_of_other_codes_stay_dense():
    model = ut.mask_(nn.Sequential(nn.Linear(64, 64)), ut.Multicoated(keep=0.5)).eval()
    with pytest.raises(ValueError, match="weights take 7 values"):
        ut.pack_(model)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_transformer_that_reads_weights_of_its_layers():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    model = ut.bake_(ut.mask_(layer, ut.EdgePopup(keep=0.5)))
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = model(x)
        assert_right(ut.pack_(model)(x), expected.double(), 1e-5)
    names = {layer.name: layer.how for layer in packed.layers(model)}
    assert "left alone" in names["self_attn.in_proj_weight"]
    assert "left alone" not in names["linear1.weight"]


@pytest.mark.parametrize("level", library.levels())
def test_a_layer_is_packed_as_its_level_is_quicker_and_runs_at_every_other_one(level):
    x = torch.randn(3, 300)
    for keep in (0.03, 0.1, 0.25):
        dense = ternary(nn.Linear(300, 300), keep)
        kernels_of(level)
        with packed_kernels.held_to(level):
            layer = ut.pack_(copy.deepcopy(dense))
        kept = dense.weight.count_nonzero() / dense.weight.numel()
        assert (layer.starts is not None) == (kept <= packed_kernels.LISTS_UP_TO[level])
        assert sum(each.nbytes for each in (layer.codes, layer.starts) if each is not None) < 0.25 * 300 * 304
        for other in library.levels():
            with packed_kernels.held_to(other):
                assert_right(layer(x), oracle(x, dense.weight, 1, dense.bias))


def test_a_sparse_layer_goes_by_indices():
    for density, kind in ((0.02, "indices"), (0.25, "lookup")):
        layer = ut.pack_(ternary(nn.Linear(300, 300), density))
        assert (layer.starts is not None) == (kind == "indices")
        if library.library():
            assert packed.layers(layer)[0].how == kind
            assert kind in repr(layer)


def test_a_ticket_is_benchmarked(tmp_path, capsys, threads):
    threads(2)
    path = tmp_path / "found.ticket"
    ut.save(ut.mask_(ut.models.fc(widths=(32,)), ut.EdgePopup(keep=0.5)), path)
    main(["bench", str(path), "--batch", "1,2"])
    shown = capsys.readouterr()
    assert shown.err == ""
    for variant in ("dense float32", "dense bfloat16", "int8 dynamic", "packed"):
        assert len(re.findall(rf"^ *{variant}  ", shown.out, re.MULTILINE)) == 2
    assert re.search(r"^batch 1: .* is fastest", shown.out, re.MULTILINE)
    assert torch.get_num_threads() == 2
    rows = {row.variant: row for row in bench.bench(ut.Ticket.load(path), [3])}
    assert rows["dense float32"].error == 0
    assert rows["dense float32"].bytes == 4 * (784 * 32 + 320)
    assert rows["int8 dynamic"].bytes == 784 * 32 + 320
    levels = library.levels() if library.library() else []
    assert [name for name in rows if name.startswith("packed, ")] == [f"packed, {level}" for level in levels[1:]]
    assert all(row.error < 1e-6 for name, row in rows.items() if name.startswith("packed"))
    if library.status().level == "avx512":
        assert rows["packed"].bytes < 0.3 * rows["int8 dynamic"].bytes


@pytest.mark.parametrize("told", [{}, {"avx512_bf16": True}, {"bf16": True}, None])
def test_a_bfloat16_that_is_only_emulated_is_called_so(tmp_path, capsys, monkeypatch, told):
    monkeypatch.setattr(bench, "_SECONDS", 0.0)
    facts = {} if told is None else {"architecture": "x86_64", "avx512_bf16": False, **told}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: facts, raising=False)
    monkeypatch.setattr(processor, "_cpuinfo", dict)
    path = tmp_path / "found.ticket"
    ut.save(ut.mask_(ut.models.fc(widths=(4,)), ut.EdgePopup(keep=0.5)), path)
    main(["bench", str(path), "--batch", "1"])
    shown, emulated = capsys.readouterr().out, told == {}
    assert ("dense bfloat16, emulated  " in shown) == ("no instructions for bfloat16" in shown) == emulated
    main(["bench", str(path), "--batch", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["variant"] for row in rows if row["emulated"]} == ({"dense bfloat16"} if emulated else set())


@pytest.mark.parametrize(
    ("text", "known"),
    [("flags: fpu avx512f", False), ("flags: fpu amx_bf16", True), ("Features: fp bf16", True), ("cpu: POWER9", None)],
)
def test_an_older_torch_leaves_the_question_to_linux(tmp_path, monkeypatch, text, known):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nmodel name: A  Processor\n{text}\n\nprocessor: 1\n")
    monkeypatch.setattr(processor, "_LINUX", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "_cpuinfo", processor._cpuinfo.__wrapped__)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor.name() == "A Processor" and processor.computes_bfloat16() is known


def test_a_benchmark_says_when_there_is_nothing_to_pack(tmp_path, capsys):
    path = tmp_path / "found.ticket"
    model = ut.mask_(ut.models.conv2(width=0.05), ut.EdgePopup(keep=0.5), weights=ut.KaimingNormal())
    ut.save(model, path)
    main(["bench", str(path), "--batch", "1"])
    assert "no weight can be packed" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", ["0", "x", "", "1,-2"])
def test_a_benchmark_refuses_wrong_sizes(tmp_path, capsys, sizes):
    path = tmp_path / "found.ticket"
    ut.save(ut.mask_(ut.models.fc(widths=(4,)), ut.EdgePopup(keep=0.5)), path)
    with pytest.raises(SystemExit):
        main(["bench", str(path), "--batch", sizes])
    assert "batch" in capsys.readouterr().err


def rows_of(**ms):
    return [bench.Row(8, name.replace("_", " "), taken, 1, 0.0) for name, taken in ms.items()]


def test_the_verdict_is_plain_also_when_dense_wins():
    assert bench.verdict(rows_of(dense_float32=2.0, packed=1.0)) == [
        "batch 8: packed is fastest, 2.0 times as fast as dense float32"
    ]
    assert bench.verdict(rows_of(dense_float32=1.0, packed=0.97)) == [
        "batch 8: dense float32 is fastest; packed takes 1.0 times as long"
    ]
    assert bench.verdict(rows_of(dense_float32=1.0, packed=3.0)) == [
        "batch 8: dense float32 is fastest; packed takes 3.0 times as long"
    ]
    assert bench.verdict(rows_of(dense_float32=4.0, int8=1.0, packed=2.0)) == [
        "batch 8: int8 is fastest, 4.0 times as fast as dense float32; packed takes 2.0 times as long"
    ]
    assert bench.verdict(rows_of(dense_float32=4.0)) == ["batch 8: dense float32 is fastest; no weight can be packed"]


def test_the_operators_take_their_arguments_in_the_order_that_saved_programs_have():
    schemas = [
        str(getattr(torch.ops.untrained, f"packed_{name}").default._schema) for name in ("linear", "convolution")
    ]
    assert schemas == [
        "untrained::packed_linear(Tensor x, Tensor codes, Tensor? starts, Tensor scale, Tensor? bias, int rows, "
        "int columns, ScalarType dtype) -> Tensor",
        "untrained::packed_convolution(Tensor x, Tensor codes, Tensor scale, Tensor? bias, int[] shape, int[] stride, "
        "int[] padding, int[] dilation, int groups, ScalarType dtype) -> Tensor",
    ]
