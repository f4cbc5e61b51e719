"""ONNX files: small, the same answers in another runtime, raw pixels in, and errors that say what is missing."""

import hashlib
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained import models
from untrained.export import to_html, to_onnx
from untrained.export.onnx_packed import pack_
from untrained.terminal.extras import install_command
from untrained.tickets.networks import rebuild

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ir = pytest.importorskip("onnx_ir")


def found(model, method=None, meta=None, **mask):
    """Return a ticket whose running statistics are no ones and zeros."""
    masked = ut.mask_(model, method or ut.EdgePopup(0.5), seed=3, **mask)
    for name, buffer in masked.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.linspace(0.5, 2, len(buffer)))
    return ut.Ticket.of(masked, meta)


def start(model):
    """Start a session of a file or its bytes, on one thread."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(path, x):
    session = start(path)
    (given,) = session.get_inputs()
    (logits,) = session.run(["logits"], {given.name: x.numpy()})
    return given.name, torch.from_numpy(logits), session.get_modelmeta()


def initializer(weight):
    """Return a graph that adds its input, a number, to this weight."""
    tensor = ir.tensor(weight, name="layer.weight")
    float_, shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
    value = ir.Value(name="layer.weight", type=float_, shape=shape, const_value=tensor)
    x, y = ir.Value(name="x", type=float_, shape=ir.Shape([])), ir.Value(name="y", type=float_, shape=shape)
    node = ir.node("Add", [value, x], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[value], opset_imports={"": 20}, name="g")
    return ir.Model(graph, ir_version=10)


@st.composite
def weights(draw):
    """Return weights of a kind, and the bytes that they may take without operators."""
    shapes = [(1700,), (1, 1701), (850, 2), (8, 21, 3, 3), (13, 130, 1, 1), (600, 3), (2, 3, 5, 57)]
    shape = draw(st.sampled_from(shapes))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["few", "rows", "kept", "different"]))
    size = int(np.prod(shape))
    if kind == "few":
        count = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 256]))
        values = rng.standard_normal(count).astype(np.float32)
        bits = (
            8 if count > 16 else 4 if count > 6 else 8 / 3 if count > 4 else 2 if count > 3 else 1.6 if count > 2 else 1
        )
        return values[rng.integers(count, size=shape)], 1 + size * bits / 8 + 4 * max(2, count)
    if kind == "rows":
        scale = rng.standard_normal((shape[0], *(1 for _ in shape[1:]))).astype(np.float32)
        return rng.integers(-1, 2, shape) * scale, 1 + size * 0.2 + 4 * 3 * shape[0] if len(shape) > 1 else np.inf
    full = rng.standard_normal(shape).astype(np.float32)
    keep = draw(st.sampled_from([0, 0.1, 0.5, 0.9])) if kind == "kept" else 1
    kept = rng.random(shape) < keep
    return np.where(kept, full, np.float32(0)), 1 + size / 8 + 4 * (1 + kept.sum())


@settings(max_examples=25, deadline=None)
@given(weights())
def test_packed_weights_are_the_same_floats(case):
    weight, most = case
    model = initializer(weight.astype(np.float32))
    pack_(model.graph)
    file = ir.to_proto(model).SerializeToString()
    (got,) = start(file).run(["y"], {"x": np.zeros((), np.float32)})
    assert got.shape == weight.shape and np.array_equal(got, weight)
    rest_of_the_graph = 300
    assert len(file) <= min(most + 3500, weight.nbytes) + rest_of_the_graph


IMAGES = {"labels": ["<b>"] * 10, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


def test_a_small_file_takes_pixels_and_gives_the_same_logits(tmp_path):
    ticket = found(models.resnet18(0.1, (3, 16, 16)), meta=IMAGES)
    to_onnx(ticket, tmp_path / "a.onnx")
    network, path = ticket.apply_(rebuild(ticket)).eval(), tmp_path / "a.onnx"
    mean, std = (255 * torch.tensor(IMAGES[name]).view(-1, 1, 1) for name in ("mean", "std"))
    for batch in (1, 7):
        pixels = torch.randint(256, (batch, 3, 16, 16), dtype=torch.uint8)
        name, logits, meta = run(path, pixels)
        expected = network((pixels.float() - mean) / std)
        assert name == "pixels" and (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    facts, codes = meta.custom_metadata_map, ticket.codes.values()
    assert json.loads(facts["labels"]) == IMAGES["labels"] and meta.producer_name == "untrained"
    assert facts["ticket_sha256"] == hashlib.sha256(ticket.to_bytes()).hexdigest()
    assert facts["input"].startswith("pixels: uint8 (batch, 3, 16, 16), 0..255, red, green, blue")
    assert path.stat().st_size <= 1.2 * sum(code.numel() for code in codes) / 4 + 1600 * len(codes)
    assert [each.name for each in tmp_path.iterdir()] == ["a.onnx"]
    with pytest.raises(runtime.capi.onnxruntime_pybind11_state.InvalidArgument, match="float"):
        run(path, pixels.float() / 255)


def test_a_dense_file_takes_floats(tmp_path):
    ticket = found(models.mnist_conv((1, 12, 12), norm="batch"), meta={"mean": [0.5], "std": [0.25]})
    to_onnx(ticket, tmp_path / "a.onnx", dense=True)
    x = torch.randn(3, 1, 12, 12)
    name, logits, meta = run(tmp_path / "a.onnx", x)
    expected = ticket.apply_(rebuild(ticket)).eval()(x)
    assert name == "image" and (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert meta.custom_metadata_map["mean"] == "[0.5]"
    assert (tmp_path / "a.onnx").stat().st_size >= 4 * sum(code.numel() for code in ticket.codes.values())


class Shared(nn.Module):
    """Two layers of one weight, and a third in another form, pretrained."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(24, 24), nn.Linear(24, 24), nn.Conv1d(4, 40, 6, groups=2)
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)))
        return self.last(x.unflatten(1, (4, 6))).flatten(1)


def test_pretrained_and_shared_weights_are_no_others(tmp_path):
    masked = ut.mask_(Shared(), ut.EdgePopup(0.1), seed=3, weights=None)
    ticket = ut.Ticket.of(masked, {"shape": [24]})
    to_onnx(ticket, tmp_path / "a.onnx", Shared())
    x = torch.randn(5, 24)
    name, logits, _ = run(tmp_path / "a.onnx", x)
    assert name == "image" and logits.numpy() == pytest.approx(ticket.apply_(Shared())(x).numpy(), abs=1e-6)
    assert (tmp_path / "a.onnx").stat().st_size < 4 * 24 * 24 + 6000


def test_meta_that_does_not_fit_is_named(tmp_path):
    ticket = lambda meta: found(models.fc((6,), (1, 8, 8)), meta=meta)  # noqa: E731
    with pytest.raises(ut.TicketError, match=r"meta\.labels must be 10 labels"):
        to_onnx(ticket({"labels": ["a"]}), tmp_path / "a.onnx")
    with pytest.raises(ut.TicketError, match=r"meta\.std must be 1 numbers, a std above 0"):
        to_onnx(ticket({"mean": [0.5], "std": [0]}), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


class Own(nn.Module):
    """A model with a forward pass, and a name of its layer, of somebody's own."""

    def __init__(self, rule, name="layer"):
        super().__init__()
        torch.manual_seed(0)
        self.add_module(name, nn.Linear(12, 8))
        self.rule = rule

    def forward(self, x):
        (layer,) = self._modules.values()
        return self.rule(layer, x)


def any_batch(layer, x):
    return layer(x.reshape(x.size(0), -1)) + x.new_zeros(x.shape[0], 1)


def test_onnx_files_take_any_batch_under_any_name(tmp_path):
    own = lambda: Own(any_batch, "é'{")  # noqa: E731
    ticket = found(own(), meta={"shape": [3, 4]})
    to_onnx(ticket, tmp_path / "a.onnx", own())
    network = ticket.apply_(own()).eval()
    for batch in (1, 2, 7):
        x = torch.randn(batch, 3, 4)
        assert run(tmp_path / "a.onnx", x)[1] == pytest.approx(network(x), abs=1e-5)


ONE_BATCH = {
    "len": lambda layer, x: layer(x.view(len(x), -1)),
    "sum": lambda layer, x: layer(x.flatten(1)).sum(),
}


@pytest.mark.parametrize("rule", ONE_BATCH.values(), ids=ONE_BATCH)
def test_a_batch_that_is_fixed_by_the_forward_pass_is_refused(rule, tmp_path):
    with pytest.raises(ut.TicketError, match=r"one size of the batch only: .*x\.flatten\(1\) for x\.view"):
        to_onnx(found(Own(rule), meta={"shape": [3, 4]}), tmp_path / "a.onnx", Own(rule))
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_export_is_told_in_a_line(tmp_path):
    own = lambda: Own(lambda layer, x: layer(x) if x.sum() > 0 else x)  # noqa: E731
    with pytest.raises(ut.TicketError, match=r"torch cannot export its forward pass: .+") as refused:
        to_onnx(found(own(), meta={"shape": [12]}), tmp_path / "a.onnx", own())
    assert "\n" not in str(refused.value)


def test_onnx_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("untrained.export.onnx.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape(install_command("onnx"))):
        to_onnx(found(models.fc((6,), (1, 8, 8))), tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ('a"b', "torch cannot export a layer called"),
        ("a\\", "torch cannot export a layer called"),
        ('a", breakpoint()) or getattr(self, "a', "torch cannot export a layer called"),
        ("class", "torch cannot export its forward pass: invalid syntax"),
    ],
)
def test_names_of_layers_are_no_code(name, fate, tmp_path):
    own = lambda: Own(lambda layer, x: layer(x.flatten(1)), name)  # noqa: E731
    ticket = found(own(), meta={"shape": [12]})
    to_html(ticket, tmp_path / "a.html", own())
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', (tmp_path / "a.html").read_text())
    assert facts is not None and json.loads(facts[1])["program"]["ops"][0]["weight"] == f"{name}.weight"
    with pytest.raises(ut.TicketError, match=fate):
        to_onnx(ticket, tmp_path / "a.onnx", own())
