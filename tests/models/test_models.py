import copy
import inspect
import json
import math
import pickle
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained import models
from untrained.models import MAX_WEIGHTS, NETWORKS, build

IMAGENET = {"shape": (3, 224, 224), "classes": 1000}
# The ResNets' counts are torchvision's less the biases and the norms' weights and biases.
WEIGHTS = [
    ("fc", {}, 266_200),
    ("conv2", {}, 4_300_992),
    ("conv4", {}, 2_425_024),
    ("conv6", {}, 2_261_184),
    ("conv8", {}, 5_275_840),
    ("mnist-conv", {}, 1_199_648),
    ("resnet18", IMAGENET, 11_678_912),
    ("resnet34", IMAGENET, 21_779_648),
    ("resnet50", IMAGENET, 25_502_912),
    ("resnet101", IMAGENET, 44_442_816),
    ("wide-resnet50", IMAGENET, 68_814_016),
    ("wide-resnet101", IMAGENET, 126_747_840),
]
# Other than the defaults in every argument, and small enough to run.
SMALL = {
    "fc": {"widths": [7, 5], "shape": [2, 3, 4], "classes": 3, "activation": "elu", "norm": "batch"},
    **{
        f"conv{n}": {
            "width": 0.1,
            "shape": [1, 19, 24],
            "classes": 3,
            "activation": ("elu", "sign")[n // 2 % 2],
            "norm": "batch",
        }
        for n in (2, 4, 6, 8)
    },
    "mnist-conv": {"shape": [2, 9, 6], "classes": 3, "activation": "sign", "norm": "batch"},
    **{
        name: {
            "width": 0.05,
            "shape": [2, 40, 33],
            "classes": 3,
            "stem": "large",
            "activation": "sign" if "wide" in name else "elu",
            "folded": True,
        }
        for name in NETWORKS
        if "res" in name
    },
}
ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "sign": models.BinaryActivation}


def on_meta(name, arguments):
    with torch.device("meta"):
        return build(name, **arguments)


def shapes(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def defaults(name):
    return {key: parameter.default for key, parameter in inspect.signature(NETWORKS[name]).parameters.items()}


def test_every_network_is_counted():
    assert {name for name, _, _ in WEIGHTS} == set(NETWORKS) == set(SMALL)
    for name, arguments in SMALL.items():
        assert arguments.keys() == defaults(name).keys()
        assert all(arguments[key] != default for key, default in defaults(name).items())


def test_the_simplest_networks_are_listed_first():
    assert list(NETWORKS) == [name for name, _, _ in WEIGHTS]


@pytest.mark.parametrize(("name", "arguments", "weights"), WEIGHTS)
def test_weights_and_output_at_full_size(name, arguments, weights):
    model = on_meta(name, arguments)
    assert sum(p.numel() for p in model.parameters()) == weights
    assert all(key.endswith(".weight") and p.dim() in (2, 4) for key, p in model.named_parameters())
    modules = list(model.modules())
    assert all(getattr(module, "bias", None) is None for module in modules)
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    assert all(not norm.affine and norm.track_running_stats for norm in norms)
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    assert len(norms) == (len(convolutions) if "resnet" in name else 0)
    noted = model.built_by["arguments"]
    assert model(torch.empty(2, *noted["shape"], device="meta")).shape == (2, noted["classes"])


@pytest.mark.parametrize("name", NETWORKS)
def test_output_shape_and_gradients(name):
    model = build(name, **SMALL[name])
    for batch in (2, 3):
        output = model(torch.randn(batch, *SMALL[name]["shape"]))
        assert output.shape == (batch, 3)
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.eval()(torch.randn(1, *SMALL[name]["shape"])).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("fc", (20,)),
        ("conv2", (3, 2, 3)),
        ("conv8", (4, 16, 31)),
        ("conv4", (1, 28, 28)),
        ("mnist-conv", (3, 6, 6)),
        ("resnet18", (1, 8, 8)),
        ("resnet50", (3, 64, 96)),
        ("resnet50", (3, 65, 65)),
    ],
)
def test_output_shape_of_other_inputs(name, shape):
    model = on_meta(name, {"shape": shape, "classes": 1}).eval()
    assert model(torch.empty(1, *shape, device="meta")).shape == (1, 1)


def test_layers_of_conv4():
    model = on_meta("conv4", {"width": 0.5})
    kernels = [tuple(p.shape) for p in model.parameters()]
    assert kernels[:4] == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3)]
    assert kernels[4:] == [(128, 64 * 8 * 8), (128, 128), (10, 128)]
    kinds = [type(m).__name__ for m in model]
    pair = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert kinds == [*pair, *pair, "Flatten", "Linear", "ReLU", "Linear", "ReLU", "Linear"]


@pytest.mark.parametrize("name", NETWORKS)
def test_an_activation_takes_the_place_of_every_relu(name):
    plain = on_meta(name, {})
    relus = [type(m) for m in plain.modules()].count(nn.ReLU)
    for activation, kind in ACTIVATIONS.items():
        model = on_meta(name, {"activation": activation})
        kinds = [type(m) for m in model.modules()]
        assert {k: kinds.count(k) for k in ACTIVATIONS.values()} == dict.fromkeys(ACTIVATIONS.values(), 0) | {
            kind: relus
        }
        assert shapes(model) == shapes(plain)
        assert [k.replace(activation, "relu") for k, _ in model.named_children()] == [
            k for k, _ in plain.named_children()
        ]


@pytest.mark.parametrize("name", NETWORKS)
def test_sign_leaves_one_bit_between_the_layers(name):
    model, seen = build(name, **SMALL[name] | {"activation": "sign"}), []
    for module in model.modules():
        if isinstance(module, models.BinaryActivation):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    model(torch.randn(2, *SMALL[name]["shape"])).square().sum().backward()
    assert seen
    assert all((output.abs() == 1).all() for output in seen)
    assert next(model.parameters()).grad.count_nonzero()


@pytest.mark.parametrize("name", [name for name in NETWORKS if "norm" in defaults(name)])
def test_a_norm_follows_every_hidden_layer_and_nothing_else_changes(name):
    arguments = {key: value for key, value in SMALL[name].items() if key != "norm"}
    layers = dict(build(name, **SMALL[name]).named_children())
    norms = {key: layer for key, layer in layers.items() if "_norm" in key}
    order, kinds = list(layers), {"conv": nn.BatchNorm2d, "fc": nn.BatchNorm1d}
    hidden = [key for key, layer in layers.items() if isinstance(layer, nn.Linear | nn.Conv2d)][:-1]
    assert [order[order.index(key) + 1] for key in hidden] == list(norms)
    for (key, norm), layer in zip(norms.items(), hidden, strict=True):
        kind, number = key.split("_norm")
        activation = order[order.index(key) + 1]
        assert (layer, activation) == (kind + number, f"{kind}_{arguments['activation']}{number}")
        assert type(norm) is kinds[kind] and norm.num_features == len(layers[layer].weight)
        assert not norm.affine and norm.track_running_stats
    torch.manual_seed(0)
    plain = build(name, **arguments)
    torch.manual_seed(0)
    normed = build(name, **SMALL[name])
    assert list(plain.state_dict()) == [key for key, _ in normed.named_parameters()]
    assert all(weight.equal(plain.state_dict()[key]) for key, weight in normed.named_parameters())
    assert list(dict(plain.named_children())) == [key for key in layers if key not in norms]


def test_width_never_removes_a_layer():
    assert shapes(models.conv2(width=1e-9))["conv2.weight"] == (1, 1, 3, 3)


def test_fc_without_hidden_layers_is_linear():
    assert shapes(models.fc(widths=())) == {"fc1.weight": (10, 784)}


@pytest.mark.parametrize(("height", "kernel"), [(64, 3), (65, 7)])
def test_stem_follows_from_height(height, kernel):
    model = on_meta("resnet18", {"shape": (3, height, 64)})
    assert model.conv.kernel_size == (kernel, kernel)
    assert ("pool" in dict(model.named_children())) == (kernel == 7)
    other = "large" if kernel == 3 else "small"
    model = on_meta("resnet18", {"shape": (3, height, 64), "stem": other})
    assert model.conv.kernel_size == (10 - kernel, 10 - kernel)


@pytest.mark.parametrize(("stem", "stride"), [("small", 8), ("large", 32)])
def test_total_stride_of_resnets(stem, stride):
    model = on_meta("resnet50", {"shape": (3, 64, 96), "stem": stem})
    stages = nn.Sequential(*[m for key, m in model.named_children() if key not in ("mean", "flatten", "fc1")])
    expected = (1, 2048, 64 // stride, 96 // stride)
    assert stages(torch.empty(1, 3, 64, 96, device="meta")).shape == expected


def test_wide_resnet_doubles_only_the_inner_channels():
    plain, wide = (shapes(on_meta(name, {})) for name in ("resnet50", "wide-resnet50"))
    assert plain.keys() == wide.keys()
    assert plain["stage1.1.body.0.weight"] == (64, 256, 1, 1)
    assert wide["stage1.1.body.0.weight"] == (128, 256, 1, 1)
    assert wide["stage1.1.body.3.weight"] == (128, 128, 3, 3)
    assert wide["stage1.1.body.6.weight"] == (256, 128, 1, 1)


def test_residual_block_adds_its_input():
    model = models.resnet18(width=0.1).eval()
    block = model.stage1[0]
    nn.init.zeros_(block.body[3].weight)
    x = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(block(x), x.relu())


@pytest.mark.parametrize("name", NETWORKS)
def test_built_by_survives_json_copy_and_pickle(name):
    model = on_meta(name, SMALL[name])
    assert json.loads(json.dumps(model.built_by)) == model.built_by == {"name": name, "arguments": SMALL[name]}
    assert copy.deepcopy(model).built_by == pickle.loads(pickle.dumps(model)).built_by == model.built_by


def test_built_by_holds_all_arguments_of_a_direct_call():
    assert models.fc((5,), classes=2).built_by == {
        "name": "fc",
        "arguments": {"widths": [5], "shape": [1, 28, 28], "classes": 2},
    }
    expected = {"width": 0.05, "shape": [3, 32, 32], "classes": 10, "stem": None}
    assert models.resnet18(0.05).built_by["arguments"] == expected
    assert type(models.conv2(width=1).built_by["arguments"]["width"]) is float


def test_arguments_younger_than_tickets_are_noted_only_when_they_differ():
    for name in NETWORKS:
        noted = on_meta(name, {}).built_by["arguments"]
        assert noted.keys() == defaults(name).keys() - {"activation", "folded", "norm"}
        assert on_meta(name, {"activation": "elu"}).built_by["arguments"] == noted | {"activation": "elu"}
    folded = on_meta("resnet34", {"folded": True}).built_by["arguments"]
    assert folded == on_meta("resnet34", {}).built_by["arguments"] | {"folded": True}
    ticket = ut.Ticket.of(ut.mask_(models.resnet18(width=0.05), ut.EdgePopup(0.5))).to_bytes()
    assert not any(key in ticket for key in (b"activation", b"folded", b'"norm"'))


@settings(max_examples=12)
@given(
    name=st.sampled_from(list(NETWORKS)),
    width=st.floats(1 / 64, 1),
    stem=st.sampled_from(["small", "large", None]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    norm=st.sampled_from(["batch", None]),
    folded=st.booleans(),
)
def test_what_is_noted_builds_the_same_again(name, **arguments):
    arguments = {key: value for key, value in arguments.items() if key in defaults(name)} | {"shape": [3, 32, 32]}
    model = on_meta(name, arguments)
    again = on_meta(name, json.loads(json.dumps(model.built_by["arguments"])))
    assert again.built_by == model.built_by
    assert shapes(again) == shapes(model)
    assert repr(again) == repr(model)


@pytest.mark.parametrize("name", ["fc", "conv2", "mnist-conv", "resnet34", "wide-resnet50"])
def test_a_ticket_says_how_its_network_is_built(name, tmp_path):
    masked = ut.mask_(build(name, **SMALL[name]), ut.EdgePopup(0.5))
    x = torch.randn(5, *SMALL[name]["shape"])
    masked(x)
    ut.save(masked, tmp_path / "a.ticket")
    loaded = ut.load(tmp_path / "a.ticket")
    assert repr(loaded) == repr(build(name, **SMALL[name]))
    assert loaded.built_by["arguments"] == SMALL[name]
    assert loaded.eval()(x).equal(masked.eval()(x))


def test_counting_draws_nothing_from_the_generator():
    torch.manual_seed(3)
    expected = nn.Linear(784, 5, bias=False).weight
    torch.manual_seed(3)
    assert models.fc(widths=(5,)).fc1.weight.equal(expected)


@pytest.mark.parametrize(
    ("name", "shape", "least"),
    [
        ("conv2", (3, 1, 32), "2 or more"),
        ("conv8", (3, 15, 32), "16 or more"),
        ("mnist-conv", (1, 28, 5), "6 or more"),
        ("resnet18", (3, 7, 32), "8 or more"),
        ("resnet50", (3, 224, 31), "32 or more"),
    ],
)
def test_too_small_an_input_is_named(name, shape, least):
    with pytest.raises(ValueError, match="too small") as caught:
        build(name, shape=shape)
    assert str(shape) in str(caught.value)
    assert least in str(caught.value)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "fc"])
@pytest.mark.parametrize("shape", [[32], [3, 32], [1, 3, 32, 32]])
def test_images_have_three_dimensions(name, shape):
    with pytest.raises(ValueError, match=r"must be \(channels, height, width\)"):
        build(name, shape=shape)


@pytest.mark.parametrize("name", ["conv3", "", "x" * 10**6, None, 3, ["fc"], {"fc": 1}, "wide_resnet50"])
def test_unknown_name_lists_the_names(name):
    with pytest.raises(ValueError, match="unknown network") as caught:
        build(name)
    assert all(known in str(caught.value) for known in NETWORKS)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "key", ["widths", "name", "self", "builder", "args", "kwargs", "stem", "folded", "normed", "bias"]
)
def test_unknown_argument_is_named(key):
    with pytest.raises(ValueError, match=f"no argument '{key}'"):
        build("conv4", **{key: 1})


NESTED = [1]
for _ in range(500):
    NESTED = [NESTED]
NEITHER = [None, "3", "x" * 10**6, True, {}, {"a": 1}, b"3", 1j, math.nan, math.inf, -math.inf, NESTED]
HOSTILE = {
    "width": [*NEITHER, 0, -1, -0.5, 65, 1e308, 10**400, [1.0]],
    "classes": [*NEITHER, 0, -1, 1.0, 2**20 + 1, 10**400, [10]],
    "shape": [
        *NEITHER,
        *([3, 32, value] for value in (*NEITHER, 0, -1, 32.0, 10**400)),
        [],
        32,
        [2**14, 2**14, 2],
        [1] * 10**6,
    ],
    "widths": [*NEITHER, *([value] for value in (*NEITHER, 0, -1, 3.0, 10**400)), [1] * 33, [[1, 2]]],
    "stem": ["", "medium", "x" * 10**6, True, 0, ["small"], {}, NESTED],
    "activation": [*NEITHER, "", "Relu", "ReLU", "gelu", ["relu"], b"relu", 0],
    "norm": [*NEITHER[1:], "", "Batch", "layer", ["batch"], b"batch", 0, False],
    "folded": [*(value for value in NEITHER if value is not True), 0, 1, 1.0, "True", [True]],
}


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_values_are_refused_at_once(key):
    name = {"widths": "fc", "stem": "resnet18", "folded": "resnet18"}.get(key, "conv4")
    start = time.perf_counter()
    for value in HOSTILE[key]:
        with pytest.raises(ValueError, match=key) as caught:
            build(name, **{key: value})
        assert len(str(caught.value)) < 300
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("conv4", {"norm": "layer"}, "\"batch\" or None, got 'layer'"),
        ("conv4", {"activation": "gelu"}, '"relu", "elu" or "sign", got \'gelu\''),
        ("resnet18", {"stem": "medium"}, '"small", "large" or None, got \'medium\''),
        ("resnet18", {"folded": 1}, "True or False, got 1"),
    ],
)
def test_a_refusal_shows_the_choices_and_what_was_given(name, arguments, message):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be {message}"):
        build(name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fc", {"widths": [2**20] * 32}),
        ("fc", {"widths": [2**20], "shape": [2**14, 2**14], "classes": 2**20}),
        ("fc", {"widths": [2**14, 2**14], "shape": [1], "classes": 1}),
        ("conv2", {"shape": [1, 2**14, 2**14]}),
        ("conv2", {"shape": [1, 2**14, 2**14], "width": 64, "classes": 2**20}),
        ("conv8", {"width": 64.0}),
        ("mnist-conv", {"shape": [1, 2**14, 2**14]}),
        ("wide-resnet101", {"width": 64.0, "shape": [2**18, 32, 32], "classes": 2**20}),
    ],
)
def test_too_many_weights_are_refused_before_allocation(name, arguments, monkeypatch):
    real_memory = []
    register = nn.Module.register_parameter

    def watch(self, key, parameter):
        if parameter is not None and parameter.device.type != "meta":
            real_memory.append(key)
        register(self, key, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", watch)
    with pytest.raises(ValueError, match=f"the limit is {MAX_WEIGHTS:,}"):
        build(name, **arguments)
    assert not real_memory
    build("fc", widths=[1])
    assert real_memory


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", ["fc", "conv2", "resnet18"])
def test_networks_can_be_scripted(name):
    network = build(name, shape=[1, 16, 16]).eval()
    x = torch.randn(2, 1, 16, 16)
    assert torch.jit.script(network)(x).equal(network(x))
