"""What counts as a weight matrix, and what `mask_` does with everything else."""

import copy
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

import untrained as ut
from untrained.masking.roles import roles
from untrained.testing.method import check_method
from untrained.tickets.narrow import narrowed

LAYER = ut.EdgePopup(0.5)


def kinds(model):
    return {name: role.kind for name, role in roles(model)[2].items()}


def module(name="Module", base=nn.Module, **parameters):
    """A module of a class of this name, with these parameters."""
    made = type(name, (base,), {"forward": lambda self, x: x})()
    for leaf, values in parameters.items():
        made.register_parameter(leaf, nn.Parameter(values, requires_grad=values.is_floating_point()))
    return made


OF_TORCH = {
    "linear": (nn.Linear(1, 1), {"weight": "weight", "bias": "bias"}),
    "one output": (nn.Linear(9, 1), {"weight": "weight", "bias": "bias"}),
    "conv of one channel": (nn.Conv2d(1, 1, 1), {"weight": "weight", "bias": "bias"}),
    "transposed conv": (nn.ConvTranspose1d(1, 3, 1), {"weight": "weight", "bias": "bias"}),
    "bilinear": (nn.Bilinear(1, 1, 2), {"weight": "weight", "bias": "bias"}),
    "embedding": (nn.Embedding(1, 5), {"weight": "weight"}),
    "bag": (nn.EmbeddingBag(5, 1), {"weight": "weight"}),
    "batch norm": (nn.BatchNorm2d(4), {"weight": "norm scale", "bias": "bias"}),
    "instance norm": (nn.InstanceNorm1d(4, affine=True), {"weight": "norm scale", "bias": "bias"}),
    "group norm": (nn.GroupNorm(2, 4), {"weight": "norm scale", "bias": "bias"}),
    "rms norm": (nn.RMSNorm((3, 4)), {"weight": "norm scale"}),
    "layer norm of images": (nn.LayerNorm((3, 4, 4)), {"weight": "norm scale", "bias": "bias"}),
    "prelu": (nn.PReLU(4), {"weight": "other"}),
    "cell": (
        nn.LSTMCell(1, 1),
        {"weight_ih": "weight", "weight_hh": "weight", "bias_ih": "bias", "bias_hh": "bias"},
    ),
    "projected lstm": (
        nn.LSTM(1, 2, proj_size=1),
        {"weight_ih_l0": "weight", "weight_hh_l0": "weight", "weight_hr_l0": "weight", "bias_ih_l0": "bias"}
        | {"bias_hh_l0": "bias"},
    ),
    "attention": (
        nn.MultiheadAttention(2, 1, kdim=1, vdim=1, add_bias_kv=True),
        {f"{which}_proj_weight": "weight" for which in "qkv"}
        | {"in_proj_bias": "bias", "bias_k": "bias", "bias_v": "bias"}
        | {"out_proj.weight": "weight", "out_proj.bias": "bias"},
    ),
}


@pytest.mark.parametrize(("layer", "expected"), OF_TORCH.values(), ids=OF_TORCH)
def test_parameters_of_torchs_modules_have_the_role_that_torch_gives_them(layer, expected):
    assert kinds(layer) == expected
    assert kinds(type("Stranger", (type(layer),), {"__init__": nn.Module.__init__})()) == {}
    layer.__class__ = type("Sub", (type(layer),), {})
    assert kinds(layer) == expected


NAMES = ["NormedLinear", "SpectralNormConv", "AbnormalHead", "BatchNorm", "Bias", "DebiasedLayer", "Scale", "Linear"]


@pytest.mark.parametrize("class_name", NAMES)
@pytest.mark.parametrize("leaf", ["weight", "unbiased_proj", "debias", "norm", "scale", "gamma", "weight_g"])
def test_letters_decide_nothing(class_name, leaf):
    assert kinds(module(class_name, **{leaf: torch.ones(3, 16)})) == {leaf: "weight"}
    assert kinds(module(class_name, **{leaf: torch.ones(16)})) == {leaf: "other"}


@given(st.lists(st.integers(1, 3), max_size=5))
def test_two_axes_longer_than_one_make_a_matrix(shape):
    long = sum(side > 1 for side in shape)
    assert kinds(module(p=torch.ones(shape))) == {"p": "weight" if long >= 2 else "other"}


@pytest.mark.parametrize("value", [1e-6, 0.0, 1.0, 0.1, None], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_scale_in_any_shape_stays_as_it_was(tmp_path, value, dtype):
    def build():
        shapes = [(), (8,), (8, 1), (8, 1, 1), (1, 8, 1, 1), (1, 1, 8), (1, 1)]
        scales = [torch.rand(shape) if value is None else torch.full(shape, value) for shape in shapes]
        own = [module("LayerScaleNorm", scale=scale) for scale in scales]
        return nn.ModuleDict({"layer": nn.Linear(4, 3), "own": nn.ModuleList(own)}).to(dtype)

    model = build()
    before = {f"own.{name}": p.detach().clone() for name, p in model["own"].named_parameters()}
    ut.mask_(model, LAYER)
    assert not any(p.requires_grad for p in model["own"].parameters())
    ut.save(model, tmp_path / "t.ticket")
    loaded = ut.load(tmp_path / "t.ticket", build())
    stored = {other.name: other.stored_bytes for other in ut.summary(model).others}
    for name, scale in before.items():
        assert torch.equal(model.get_parameter(name), scale) and torch.equal(loaded.get_parameter(name), scale)
        uniform = len(set(scale.flatten().tolist())) == 1  # one value costs no byte of its own
        assert stored[name] == (0 if uniform else narrowed(scale).nbytes)


BIASES = ["bias", "bias_hh", "q_bias", "in_proj_bias", "attention_biases", "pos_bias_u", "relative_position_bias_table"]


@pytest.mark.parametrize("leaf", BIASES)
def test_a_bias_is_zero_and_one_of_a_matrixs_shape_is_told(leaf):
    model = nn.ModuleList([nn.Linear(4, 3), module(**{leaf: torch.ones(5)})])
    assert not ut.mask_(model, LAYER)[1].get_parameter(leaf).any()
    model = nn.ModuleList([nn.Linear(4, 3), module(**{leaf: torch.ones(5, 2)})])
    with pytest.warns(UserWarning, match=rf"'1\.{leaf}' \(5, 2\) \(by its name it is a bias; frozen at 0\)"):
        ut.mask_(model, LAYER)
    assert not model[1].get_parameter(leaf).any()


def test_what_where_spells_out_is_masked():
    def build():
        parts = {"bias_table": torch.ones(5, 2), "factor": torch.ones(7, 1), "scale": torch.ones(1, 6)}
        return nn.ModuleDict({"layer": nn.Linear(4, 3), "own": module(**parts)})

    model = ut.mask_(build(), LAYER, where=r"layer.*|own\.factor|own.bias_table")
    assert list(ut.masks(model)) == ["layer.weight", "own.bias_table", "own.factor"]
    with pytest.warns(UserWarning, match=r"bias_table.*left as it was"):
        model = ut.mask_(build(), {r"own\.scale": ut.EdgePopup(0.1), r"layer\.weight": LAYER}, weights=None)
    assert list(ut.masks(model)) == ["layer.weight", "own.scale"]
    with pytest.warns(UserWarning, match=r"bias_table.*frozen at 0"):  # what merely matches is masked if a matrix
        assert list(ut.masks(ut.mask_(build(), LAYER, where=".*"))) == ["layer.weight"]


# Parametrized weights


def flat(x):
    return x.flatten(1)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


PARAMETRIZED = {
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(8, 6)), "original1"),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(8, 6)), "original"),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(8, 6)), "original"),
    "one's own, twice": (lambda: twice(nn.Linear(8, 6), "weight"), "original"),
    "of one output": (lambda: twice(nn.Linear(8, 1), "weight"), "original"),
    "a bias, too": (lambda: twice(twice(nn.Linear(8, 6), "bias"), "weight"), "original"),
}


def twice(layer, leaf):
    for _ in range(2):
        register_parametrization(layer, leaf, Doubled())
    return layer


@pytest.mark.parametrize(("build", "masked"), PARAMETRIZED.values(), ids=PARAMETRIZED)
def test_of_a_parametrized_weight_the_original_is_masked(tmp_path, build, masked):
    def network():
        torch.manual_seed(0)
        return nn.Sequential(build(), nn.ReLU(), nn.Linear(build().out_features, 3))

    model, x = ut.mask_(network(), LAYER, seed=3), torch.randn(16, 8)
    name = f"0.parametrizations.weight.{masked}"
    assert list(ut.masks(model)) == [name, "2.weight"]
    ut.fit(model, [(x, torch.arange(16) % 3)], epochs=3, title=None)
    model.eval()
    originals = model[0].parametrizations["weight"]
    assert torch.equal((getattr(originals, masked) != 0), ut.masks(model)[name])
    ut.save(model, tmp_path / "t.ticket")
    assert torch.equal(ut.load(tmp_path / "t.ticket", network()).eval()(x), model(x))
    with ut.baked(model) as plain:
        assert torch.equal(plain(x), model(x))


def test_a_weight_norm_divides_by_the_norm_of_the_masked_weight():
    model = ut.mask_(nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 6))), LAYER)
    g, v = model[0].parametrizations["weight"].original0, model[0].parametrizations["weight"].original1
    assert torch.allclose(model[0].weight, g * v / v.norm(dim=1, keepdim=True))
    norm = ut.mask_(nn.Sequential(nn.Linear(4, 4), twice(nn.LayerNorm((2, 2)), "weight")), LAYER)
    assert list(ut.masks(norm)) == ["0.weight"]  # a norm's scale is none, parametrized or not
    assert (norm[1].weight == 4).all()


# Embeddings with a padding row


def embedding(kind=nn.Embedding, row=3):
    return nn.Sequential(kind(10, 8, padding_idx=row), nn.Flatten(), nn.Linear(8 if kind is nn.EmbeddingBag else 16, 3))


PADDED = {
    "edge-popup": LAYER, "global": ut.EdgePopup(0.5, "global"), "signed": ut.EdgePopup(0.5, signed=True),
    "everything kept": ut.EdgePopup(1.0), "n of m": ut.EdgePopup(0.5, structure=ut.NofM(2, 4)),
    "biprop": ut.Biprop(1.0), "bernoulli": ut.Bernoulli(), "fedpm": ut.FedPM(), "gem-miner": ut.GemMiner(0.5),
    "iterand": ut.IteRand(0.5, period=2, rate=0.9), "multicoated": ut.Multicoated(), "random": ut.RandomSubnetwork(0.5),
    "relaxed": ut.RelaxedBernoulli(), "signed supermask": ut.SignedSupermask(), "threshold": ut.Threshold(),
    "dense": ut.Dense(), "nudge": ut.Nudge(), "levels": ut.Nudge(around="zero"),
}  # fmt: skip


@pytest.mark.parametrize("where", [None, r"2\.weight"], ids=["masked", "drawn whole"])
@pytest.mark.parametrize("method", PADDED.values(), ids=PADDED)
def test_a_padding_row_stays_zero(tmp_path, method, where):
    model = ut.mask_(embedding(), method, seed=1, where=where)
    x, y = torch.arange(20).view(10, 2) % 10, torch.arange(10) % 3
    if method.learns:
        ut.fit(model, [(x, y)], epochs=4, title=None)
    for training in (True, False):
        assert not model.train(training)[0](torch.tensor([3])).any()
        assert model[0](torch.tensor([2])).any()
    ut.save(model, tmp_path / "t.ticket")
    ticket = ut.Ticket.load(tmp_path / "t.ticket")
    ticket.verify()
    assert not ticket.codes["0.weight"][3].any()
    if where is None:
        assert not ut.masks(model)["0.weight"][3].any()
    assert torch.equal(ut.load(tmp_path / "t.ticket", embedding())(x), model(x))


def test_other_rows_are_drawn_as_they_would_be_without_padding():
    with_row, without = (ut.mask_(nn.Sequential(nn.Embedding(10, 8, row)), LAYER) for row in (9, None))
    frozen, expected = (model[0].weight_mask.frozen for model in (with_row, without))
    assert torch.equal(frozen[:9], expected[:9]) and not frozen[9].any()
    bag = ut.mask_(embedding(nn.EmbeddingBag, -1), LAYER)
    assert not bag[0].weight[9].any()


@pytest.mark.parametrize("method", [ut.SlotMachines(), ut.PartlyFrozen()], ids=str)
def test_a_method_that_cannot_drop_a_padding_row_is_refused(method):
    model = embedding()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'0\.weight' has a padding row.*leave it out with where="):
        ut.mask_(model, method)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not ut.mask_(model, method, where=r"2\.weight")[0].weight[3].any()


def test_pretrained_padding_stays_as_it_was():
    model = embedding()
    with torch.no_grad():
        model[0].weight.fill_(1)
    ut.mask_(model, ut.EdgePopup(1.0), weights=None)
    assert (model[0].weight == 1).all()


# What cannot belong to a masked model


def overlapping():
    memory = torch.randn(12)
    return module(a=memory[:8].view(2, 4), b=memory[4:].view(2, 4))


def with_buffer(buffer):
    model = nn.Sequential(nn.Linear(4, 4))
    model.register_buffer("tied", buffer(model[0].weight))
    return model


def under_inference_mode():
    with torch.inference_mode():
        return nn.Linear(4, 4)


UNFIT = {
    "float8": (lambda: module(p=torch.zeros(4, 4).to(torch.float8_e4m3fn)), r"'1\.p' has dtype float8_e4m3fn"),
    "sparse": (lambda: module(p=torch.eye(4).to_sparse()), r"'1\.p' is a tensor of another form"),
    "compressed": (lambda: module(p=torch.eye(4).to_sparse_csc()), r"'1\.p' is a tensor of another form"),
    "expanded": (lambda: module(p=torch.randn(1, 4).expand(4, 4)), r"elements of '1\.p' share memory"),
    "overlapping": (overlapping, r"'1\.b' and '1\.a' share memory"),
    "a buffer in the same memory": (
        lambda: with_buffer(lambda w: w.detach()),
        r"(?=.*'1\.0\.weight')(?=.*'1\.tied').* share",
    ),
    "a buffer in a part of it": (
        lambda: with_buffer(lambda w: w.detach()[1:2]),
        r"(?=.*'1\.0\.weight')(?=.*'1\.tied').* share",
    ),
    "inference": (under_inference_mode, r"'1\.weight' was made under torch\.inference_mode"),
    "scripted": (lambda: torch.jit.script(nn.Linear(4, 4)), r"'1' is a RecursiveScriptModule, compiled by torch\.jit"),
    "meta": (lambda: nn.Linear(4, 4, device="meta"), r"'1\.weight' is on the meta device"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:Sparse CSC:UserWarning")
@pytest.mark.parametrize("weights", ["recommended", None])
@pytest.mark.parametrize(("build", "message"), UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_masked_is_refused_by_name_and_nothing_is_changed(build, message, weights):
    model = nn.Sequential(nn.Linear(4, 4), build())
    first, before = model[0], model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=message):
        ut.mask_(model, LAYER, weights=weights)
    assert type(model) is nn.Sequential and type(first) is nn.Linear
    assert torch.equal(first.weight, before) and first.weight.requires_grad


def test_a_compiled_model_is_refused():
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="mask it first, then compile"):
        ut.mask_(torch.compile(model, backend="eager"), LAYER)
    assert type(model[0]) is nn.Linear and model[0].weight.requires_grad


def test_first_scores_that_fail_leave_the_model_as_it_was():
    class Fails(ut.EdgePopup):
        def init_scores(self, weight, generator):
            if weight.shape[0] == 3:
                raise RuntimeError("no")
            return super().init_scores(weight, generator)

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="no"):
        ut.mask_(model, Fails(0.5))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model[0]) is nn.Linear


# What is left alone, and told


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint8, torch.int8], ids=str)
def test_matrices_of_other_dtypes_are_left_alone_counted_and_told(tmp_path, dtype):
    def build():
        return nn.Sequential(nn.Linear(4, 3), module(modes=torch.ones(4, 4).to(dtype)))

    model = build()
    with pytest.warns(UserWarning, match=rf"'1\.modes' \(4, 4\) \(it is {str(dtype)[6:]}; left as it was\)"):
        ut.mask_(model, LAYER)
    [told] = [other for other in ut.summary(model).others if other.name == "1.modes"]
    assert (told.became, told.stored_bytes) == ("stored whole", model[1].modes.nbytes)
    assert re.search(r"stored whole: 16 values of 1 tensor \(1\.modes\)", str(ut.summary(model)))
    ut.save(model, tmp_path / "t.ticket")
    assert torch.equal(ut.load(tmp_path / "t.ticket", build())[1].modes, model[1].modes)


def test_summary_tells_what_became_of_every_tensor():
    parts = {"scale": torch.full((5, 1), 0.5), "free": torch.rand(5), "table": torch.arange(6).view(2, 3)}
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.Linear(4, 2), module(**parts))
    ut.mask_(model, LAYER, where=r"0\.weight", also_train=r"3\..*")
    became = {other.name: other.became for other in ut.summary(model).others}
    whole = ("1.running_mean", "1.running_var", "1.num_batches_tracked", "3.weight", "3.bias", "4.free", "4.table")
    assert became == {
        **dict.fromkeys(("0.bias", "1.bias", "2.bias"), "frozen at 0"),
        **{"1.weight": "frozen at 1", "4.scale": "frozen at 0.5", "2.weight": "drawn whole"},
        **dict.fromkeys(whole, "stored whole"),
    }
    everything = dict(ut.bake_(model).named_parameters()) | dict(model.named_buffers())
    assert became.keys() | {"0.weight"} == everything.keys()


# Numbers of other libraries


@pytest.mark.parametrize(
    "kind", [float, np.float64, np.float32, np.float16, np.array, torch.tensor], ids=lambda k: k.__name__
)
def test_keep_may_be_a_number_of_another_library(kind):
    method = ut.EdgePopup(keep=kind(0.5), signed=np.bool_(True), scope=np.str_("global"))
    assert method == ut.EdgePopup(0.5, "global", signed=True)
    assert [type(value) for value in (method.keep, method.signed, method.scope)] == [float, bool, str]
    check_method(method)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array, torch.tensor], ids=lambda k: k.__name__)
def test_seeds_and_counts_may_be_numbers_of_another_library(kind):
    assert ut.IteRand(period=kind(7)) == ut.IteRand(period=7)
    assert type(ut.SlotMachines(values=kind(3)).values) is int
    model = ut.mask_(nn.Sequential(nn.Linear(4, 3)), LAYER, seed=kind(5))
    assert type(ut.Ticket.of(model).seed) is int
    assert torch.equal(model[0].weight, ut.mask_(nn.Sequential(nn.Linear(4, 3)), LAYER, seed=5)[0].weight)


@pytest.mark.parametrize(
    "wrong", [True, np.bool_(True), 0.5, np.float64(1), -1, 1 << 64, "1", None, np.ones(2)], ids=str
)
def test_a_seed_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="seed must be an integer"):
        ut.mask_(nn.Sequential(nn.Linear(4, 3)), LAYER, seed=wrong)


def test_an_unlabelled_head_of_ones_learns():
    class NormedLinear(nn.Linear):
        def forward(self, x):
            return F.linear(F.normalize(x), F.normalize(self.weight, dim=1))

    model = ut.mask_(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), NormedLinear(16, 3, bias=False)), LAYER)
    assert model(torch.randn(64, 8)).std(1).median() > 1e-3  # of some inputs every hidden unit is 0


# What a reviewer broke


@pytest.mark.parametrize("layer", [nn.Linear(6, 1), nn.Conv1d(1, 4, 1), nn.Linear(1, 1)], ids=str)
def test_the_direction_of_a_weight_norm_is_masked_whatever_its_shape(layer):
    model = ut.mask_(nn.Sequential(parametrizations.weight_norm(copy.deepcopy(layer))), LAYER)
    assert list(ut.masks(model)) == ["0.parametrizations.weight.original1"]


def test_what_subclasses_of_torchs_modules_add_is_judged_as_elsewhere():
    layer, norm = nn.Linear(4, 3), nn.LayerNorm(4)
    layer.bias_weight = nn.Parameter(torch.ones(5, 5))
    norm.proj = nn.Parameter(torch.ones(4, 4))
    with pytest.warns(UserWarning, match=r"'0\.bias_weight' \(5, 5\) \(by its name it is a bias; frozen at 0\)"):
        model = ut.mask_(nn.ModuleList([layer, norm]), LAYER)
    assert list(ut.masks(model)) == ["0.weight", "1.proj"]


@pytest.mark.parametrize(
    ("where", "masked"),
    [
        (r"(q_bias|l\.weight)", ["q_bias", "l.weight"]),
        (r"^q_bias$", ["q_bias"]),
        (r"(?:k)|l\.weight", ["k", "l.weight"]),
        (r".*k.*|l\.weight", ["l.weight"]),
        (r"l\..*|q_biases", ["l.weight"]),
    ],
)
@pytest.mark.filterwarnings("ignore:not masked")
def test_how_a_name_is_spelled_out(where, masked):
    model = module(q_bias=torch.ones(4, 4), k=torch.ones(4, 1))
    model.l = nn.Linear(4, 4)
    assert list(ut.masks(ut.mask_(model, LAYER, where=where))) == masked


LATE = {
    "a whole embedding with max_norm": (
        lambda: nn.Sequential(nn.Embedding(5, 4, max_norm=1.0), nn.Linear(4, 3)),
        {"where": r"1\.weight"},
        r"'0\.weight' is changed by its module \(max_norm\)",
    ),
    "two dtypes ranked together": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double()),
        {"method": ut.EdgePopup(0.5, "global")},
        r"must have one dtype, got torch\.float32, torch\.float64",
    ),
    "a replaced forward": (
        lambda: replaced(nn.Sequential(nn.Linear(4, 4))),
        {"method": ut.FedPM()},
        "a module's forward was replaced",
    ),
    "a buffer that is not saved": (
        lambda: unsaved(nn.Sequential(nn.Linear(4, 4))),
        {},
        r"'0\.weight' and 'view' share memory|'view' and '0\.weight' share memory",
    ),
}


def replaced(model):
    model.forward = lambda x: x
    return model


def unsaved(model):
    model.register_buffer("view", model[0].weight.detach()[:2], persistent=False)
    return model


@pytest.mark.parametrize(("build", "options", "message"), LATE.values(), ids=LATE)
def test_what_would_go_wrong_later_is_refused_at_once(build, options, message):
    model = build()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        ut.mask_(model, **{"method": LAYER, **options})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_numbers_that_are_no_floats_do_not_learn():
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_parameter("table", nn.Parameter(torch.arange(4), requires_grad=False))
    ut.mask_(model, LAYER, also_train=r"0\.bias|table")
    assert model[0].bias.requires_grad and not model.table.requires_grad


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(4, 3), module(table_bias=torch.ones(3, 3)))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserWarning, match="table_bias"):
        ut.mask_(model, LAYER)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(model[0]) is nn.Linear and model[0].weight.requires_grad
