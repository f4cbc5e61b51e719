"""What `mask_` does to a model, and what it refuses."""

import pytest
import torch
from torch import nn

from mask_checks import (
    KEEP,
    LAYER,
    NORMS,
    evaluate,
    gradients,
    loss_of,
    masked_model,
    naive_masks_of,
    plain_of,
    same,
    tensors_of,
    used_norms,
)
from untrained.masking.bake import bake_, baked
from untrained.masking.mask import mask_, masks, scores
from untrained.methods.biprop import Biprop
from untrained.methods.dense import Dense
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.random_subnetwork import RandomSubnetwork
from untrained.selection.topk import keep_count
from untrained.weights.laws import KaimingNormal, SignedConstant
from zoo import ZOO, naive_mask, naive_masks, states


def kept(model):
    return {name: int(mask.sum()) for name, mask in masks(model).items()}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ["0.weight", "3.weight"]),
        (".*", ["0.weight", "3.weight"]),
        (r"3\..*", ["3.weight"]),
        (lambda name, parameter: parameter.shape[0] == 16, ["0.weight"]),
    ],
    ids=["default", "everything", "regex", "function"],
)
def test_where_says_what_is_masked(where, expected):
    model = mask_(ZOO["mlp"].build(), LAYER, where=where)
    assert list(masks(model)) == list(states(model)) == expected
    assert len(scores(model)) == len(expected)


def test_a_regex_must_match_the_whole_name():
    with pytest.raises(ValueError, match="where must match"):
        mask_(ZOO["mlp"].build(), LAYER, where="weight")


def test_where_that_matches_nothing_lists_the_parameters():
    with pytest.raises(ValueError, match=r"where must match.*0\.weight \(16, 8\), 0\.bias \(16,\).*3\.weight"):
        mask_(ZOO["mlp"].build(), LAYER, where=lambda name, parameter: False)
    with pytest.raises(ValueError, match=r"where must match.*no parameter"):
        mask_(nn.ReLU(), LAYER)


def test_each_pattern_has_its_method():
    methods = {r"self_attn\..*": EdgePopup(0.1), r"linear1\.weight": RandomSubnetwork(0.5)}
    model = mask_(ZOO["encoder layer"].build(), methods)
    assert kept(model) == {"self_attn.in_proj_weight": 20, "self_attn.out_proj.weight": 7, "linear1.weight": 64}
    assert len(scores(model)) == 2
    assert type(model.linear2) is nn.Linear


def test_the_first_pattern_wins():
    model = mask_(ZOO["mlp"].build(), {r"3\..*": EdgePopup(1.0), ".*": EdgePopup(0.5)})
    assert kept(model) == {"0.weight": 64, "3.weight": 128}


def test_a_global_choice_is_made_among_its_own_tensors_only():
    model = mask_(ZOO["encoder layer"].build(), {r"self_attn.*": EdgePopup(0.1, "global"), ".*": EdgePopup(0.5)})
    found, chosen = states(model), masks(model)
    attention = ["self_attn.in_proj_weight", "self_attn.out_proj.weight"]
    expected = naive_mask([found[name].scores for name in attention], 0.1)
    assert all(torch.equal(chosen[name], mask) for name, mask in zip(attention, expected, strict=True))


def test_a_pattern_that_matches_nothing_raises():
    with pytest.raises(ValueError, match=r"method pattern 'attention.*' must match.*0\.weight"):
        mask_(ZOO["mlp"].build(), {".*": LAYER, r"attention\..*": LAYER})


ALSO = {"regex": r"norm\..*|head\.weight", "function": lambda name, p: name.startswith(("norm", "head.w"))}


@pytest.mark.parametrize("also_train", ALSO.values(), ids=ALSO)
def test_also_train_leaves_parameters_to_learn(also_train):
    model = used_norms()
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    mask_(model, LAYER, also_train=also_train)
    assert list(masks(model)) == ["conv.weight"]
    learners = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert learners.keys() == {"conv.weight_mask.scores", "norm.weight", "norm.bias", "head.weight"}
    assert [id(s) for s in scores(model)] == [id(learners.pop("conv.weight_mask.scores"))]
    assert all(torch.equal(p, own[name]) for name, p in learners.items())
    loss_of(model, NORMS.input()).backward()
    torch.optim.SGD(learners.values(), lr=1.0).step()
    assert not any(torch.equal(p, own[name]) for name, p in learners.items())
    with baked(model) as plain:
        assert all(torch.equal(plain.get_parameter(name), p) for name, p in learners.items())


def test_also_train_that_matches_nothing_raises():
    with pytest.raises(ValueError, match="also_train must match"):
        mask_(NORMS.build(), LAYER, also_train="tail")


def test_without_a_law_everything_keeps_its_value(scope):
    model = used_norms()
    own = tensors_of(model)
    mask_(model, EdgePopup(KEEP, scope), weights=None)
    found = model.state_dict() | {name: state.frozen for name, state in states(model).items()}
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(s) for s in scores(model)}


@pytest.mark.parametrize("law", [SignedConstant(), SignedConstant(scaled=True), KaimingNormal()], ids=str)
def test_drawn_weights(law):
    model = mask_(used_norms(), EdgePopup(0.25), seed=5, weights=law, where=r"conv\.weight")
    expected = {
        "conv.weight_mask.frozen": law.draw((4, 3, 3, 3), seed=5, name="conv.weight", keep=0.25),
        "conv.bias": torch.zeros(4),
        "norm.weight": torch.ones(4),
        "norm.bias": torch.zeros(4),
        "norm.running_mean": torch.zeros(4),
        "norm.running_var": torch.ones(4),
        "norm.num_batches_tracked": torch.tensor(0),
        "head.weight": law.draw((5, 4), seed=5, name="head.weight"),  # not searched: drawn, and all of it kept
        "head.bias": torch.zeros(5),
        "scale": NORMS.build().scale.detach(),  # nobody knows what it is
    }
    assert same(
        {name: t for name, t in model.state_dict().items() if not name.endswith(("scores", "_extra_state"))}, expected
    )
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["conv.weight_mask.scores"]


def test_methods_that_recommend_several_laws_need_one():
    methods = {r"0\..*": EdgePopup(KEEP), r"3\..*": Biprop(KEEP)}
    with pytest.raises(ValueError, match=r"weights must be given: .*SignedConstant.*KaimingNormal"):
        mask_(ZOO["mlp"].build(), methods)
    assert list(masks(mask_(ZOO["mlp"].build(), methods, weights=KaimingNormal()))) == ["0.weight", "3.weight"]


def test_every_tensor_is_drawn_by_its_name(case, scope):
    seed = 2**64 - 1
    for name, state in states(mask_(case.build(), EdgePopup(KEEP, scope), seed=seed)).items():
        assert torch.equal(state.frozen, SignedConstant().draw(state.frozen.shape, seed=seed, name=name))


def test_a_seed_gives_one_search_whatever_torchs_own(case):
    first = states(mask_(case.build(), LAYER, seed=11))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        again = states(mask_(case.build(), LAYER, seed=11))
    other = states(mask_(case.build(), LAYER, seed=12))
    assert first.keys() == again.keys() == other.keys()
    for name, state in first.items():
        assert torch.equal(again[name].frozen, state.frozen)
        assert torch.equal(again[name].scores, state.scores)
        assert not torch.equal(other[name].frozen, state.frozen)
        assert not torch.equal(other[name].scores, state.scores)


def test_tensors_of_one_shape_have_scores_of_their_own():
    first, second = scores(mask_(ZOO["checkpointed"].build(), LAYER))
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_torchs_own_generator_is_left_alone(case, scope):
    model, before = case.build(), torch.get_rng_state()
    mask_(model, EdgePopup(KEEP, scope))
    masks(model)
    gradients(model, case.input())
    with baked(model):
        assert torch.equal(torch.get_rng_state(), before)


def test_masking_twice_raises():
    model = mask_(ZOO["mlp"].build(), LAYER)
    for again in (model, nn.Sequential(nn.Linear(2, 2), model)):
        with pytest.raises(ValueError, match="masked already"):
            mask_(again, LAYER)


@pytest.mark.parametrize("ask", [scores, masks, bake_, lambda model: baked(model).__enter__()])
def test_an_unmasked_model_raises(ask):
    with pytest.raises(ValueError, match="Linear is not masked"):
        ask(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="Sequential is not masked"):
        ask(nn.Sequential(mask_(nn.Linear(2, 2), LAYER)))


def test_a_parameter_on_a_sequential_raises():
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_parameter("bare", nn.Parameter(torch.ones(2, 2)))
    with pytest.raises(ValueError, match="'bare' hangs on a Sequential"):
        mask_(model, LAYER)


def test_a_name_that_is_taken_raises():
    model = nn.Linear(2, 2)
    model.weight_mask = "somebody else's"
    with pytest.raises(ValueError, match="already has an attribute 'weight_mask'"):
        mask_(model, LAYER)


def test_the_meta_device_raises():
    with pytest.raises(ValueError, match="meta device"):
        mask_(nn.Linear(2, 2, device="meta"), LAYER)


REFUSED = {
    "where": ({"where": "nothing"}, "where must match"),
    "also_train": ({"also_train": "nothing"}, "also_train must match"),
    "pattern": ({"method": {".*": LAYER, "nothing": LAYER}}, "pattern 'nothing' must match"),
    "negative seed": ({"seed": -1}, "seed must be"),
    "great seed": ({"seed": 2**64}, "seed must be"),
    "seed for scores alone": ({"seed": -1, "weights": None}, "seed must be"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_model_is_as_it_was(options, message):
    model = used_norms()
    before, flags = tensors_of(model), [p.requires_grad for p in model.parameters()]
    with pytest.raises(ValueError, match=message):
        mask_(model, **({"method": LAYER} | options))
    assert same(tensors_of(model), before)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert type(model.conv) is nn.Conv2d


@pytest.mark.parametrize("method", [Dense(), RandomSubnetwork(KEEP)], ids=str)
def test_methods_that_do_not_learn_have_no_scores(case, method):
    model = mask_(case.build(), method).eval()
    assert scores(model) == []
    assert not any(p.requires_grad for p in model.parameters())
    keep = getattr(method, "keep", 1.0)
    assert kept(model) == {name: keep_count(keep, mask.numel()) for name, mask in masks(model).items()}
    with baked(model) as plain:
        assert torch.equal(evaluate(model, case.input()), evaluate(plain, case.input()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions(case, scope, dtype):
    masked = mask_(case.build().to(dtype), EdgePopup(KEEP, scope), seed=3)
    plain, x = plain_of(case, masked).requires_grad_(True), case.input().to(dtype)
    assert same(masks(masked), naive_masks_of(case, masked))
    assert torch.equal(masked(x), plain(x))
    for name, grad in gradients(masked, x).items():
        assert grad.dtype == states(masked)[name].frozen.dtype == dtype
        assert grad.isfinite().all()
        assert grad.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_masked_model_can_change_its_precision(case, masked, dtype):
    masked.to(dtype)
    assert same(masks(masked), naive_masks_of(case, masked))
    plain, x = plain_of(case, masked).requires_grad_(True), case.input().to(dtype)
    assert torch.equal(masked(x), plain(x))


@pytest.mark.parametrize("weights", [None, SignedConstant()], ids=["own", "drawn"])
def test_parameters_that_are_no_floats_are_left_alone(weights):
    model, table = NORMS.build(), torch.arange(6).view(2, 3)
    model.table = nn.Parameter(table.clone(), requires_grad=False)
    mask_(model, LAYER, weights=weights)
    assert list(masks(model)) == ["conv.weight", "head.weight"]
    assert torch.equal(model.table, table)
    with baked(model) as plain:
        assert torch.equal(plain.table, table)


def test_memory_format_is_kept_and_changes_no_choice(scope):
    case = ZOO["conv"]
    last = case.build().to(memory_format=torch.channels_last)
    mask_(last, EdgePopup(KEEP, scope), seed=3, weights=None)
    assert same(masks(last), masks(masked_model(case, scope)))
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_masks_have_exact_counts(case, scope):
    masked = mask_(case.build(), EdgePopup(0.07, scope))
    sizes = {name: mask.numel() for name, mask in masks(masked).items()}
    assert sizes == {name: state.frozen.numel() for name, state in states(masked).items()}
    if scope == "global":
        assert sum(kept(masked).values()) == keep_count(0.07, sum(sizes.values()))
    else:
        assert kept(masked) == {name: keep_count(0.07, size) for name, size in sizes.items()}
    assert same(masks(masked), naive_masks(case, masked, 0.07, together=scope == "global"))


def test_equal_scores_are_told_apart_by_the_models_own_order():
    masked = masked_model(ZOO["attention"], "global")
    for score in scores(masked):
        nn.init.ones_(score)
    found = masks(masked)
    assert list(found) == ["attention.in_proj_weight", "attention.out_proj.weight"]
    first = found["attention.in_proj_weight"].flatten().nonzero().flatten()
    assert first.tolist() == list(range(keep_count(KEEP, 4 * 8 * 8)))
    assert not found["attention.out_proj.weight"].any()


def test_nan_scores_raise_and_are_named(scope):
    masked, x = masked_model(ZOO["mlp"], scope), ZOO["mlp"].input()
    broken = states(masked)["3.weight"].scores
    with torch.no_grad():
        broken[0, 0] = float("nan")
    for ask in (masks, bake_, lambda model: model(x), lambda model: baked(model).__enter__()):
        with pytest.raises(ValueError, match=r"'3\.weight'.*NaN"):
            ask(masked)
    nn.init.ones_(broken)
    assert gradients(masked, x)["3.weight"].any()  # it can go on after that


# --- what a reviewer broke once ---


def test_a_masked_tensor_cannot_be_assigned():
    model = mask_(nn.Sequential(nn.Linear(4, 4)), EdgePopup(0.5))
    with pytest.raises(AttributeError, match="'weight' of this Linear is masked"):
        model[0].weight = nn.Parameter(torch.zeros(4, 4))
    assert set(dict(model.named_parameters())) == {"0.bias", "0.weight_mask.frozen", "0.weight_mask.scores"}


def test_a_slice_of_a_masked_sequential_is_an_ordinary_one():
    model = mask_(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), EdgePopup(0.5))
    x = torch.randn(3, 4)
    assert type(model[:2]) is nn.Sequential and torch.equal(model[2](model[:2](x)), model(x))
    assert type(type(model[0])(4, 2)) is nn.Linear


def test_norms_and_biases_of_any_dimension_are_constant():
    model = mask_(nn.Sequential(nn.Conv2d(1, 4, 3), nn.LayerNorm([4, 4, 4])), EdgePopup(0.5))
    assert list(masks(model)) == ["0.weight"]
    assert (model[1].weight == 1).all() and (model[1].bias == 0).all()


def test_a_model_that_keeps_an_activation_is_baked():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            self.kept = self.layer(x)
            return self.kept

    model, x = mask_(Keeps(), EdgePopup(0.5)), torch.randn(3, 4)
    y = model(x)
    with baked(model) as plain:
        assert torch.equal(plain(x), y)


def test_an_interrupted_forward_leaves_nothing_stale():
    class Stops(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.stop = nn.Linear(4, 4), True

        def forward(self, x):
            y = self.layer(x)
            if self.stop:
                raise KeyboardInterrupt
            return y

    model, x = mask_(Stops(), EdgePopup(0.5)), torch.randn(3, 4)
    with pytest.raises(KeyboardInterrupt):
        model(x)
    before = model.layer(x)
    with torch.no_grad():
        scores(model)[0].copy_(torch.randn(4, 4))
    assert not torch.equal(model.layer(x), before)


def test_gradients_may_be_differentiated_again():
    model, x = mask_(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), EdgePopup(0.5)), torch.randn(3, 4)
    first = torch.autograd.grad(model(x).square().sum(), scores(model), create_graph=True)
    sum(g.square().sum() for g in first).backward()
    assert all(s.grad is not None and s.grad.isfinite().all() for s in scores(model))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"where": "("}, ValueError, "not a regular expression"),
        ({"method": {"*": EdgePopup(0.5)}}, ValueError, "not a regular expression"),
        ({"method": EdgePopup}, TypeError, "got <class"),
    ],
)
def test_unusable_arguments_are_told(how, error, message):
    model = nn.Sequential(nn.Linear(4, 4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        mask_(model, **{"method": EdgePopup(0.5), **how})
    assert type(model) is nn.Sequential
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_lazy_and_doubled_memory_are_refused():
    with pytest.raises(ValueError, match="has no shape yet"):
        mask_(nn.Sequential(nn.LazyLinear(3)), EdgePopup(0.5))
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight.data)
    with pytest.raises(ValueError, match="share memory"):
        mask_(model, EdgePopup(0.5))


def test_equal_methods_are_one():
    equal = {r"0\..*": EdgePopup(0.3, "global"), r"1\..*": EdgePopup(0.3, "global")}
    one, two = (
        mask_(nn.Sequential(nn.Linear(9, 9), nn.Linear(5, 9)), how) for how in (EdgePopup(0.3, "global"), equal)
    )
    assert all(torch.equal(a, b) for a, b in zip(masks(one).values(), masks(two).values(), strict=True))
