"""Every kind of model × everything that is done to models: a mask must change the weights and nothing else."""

import copy
import io
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.utils.checkpoint import checkpoint

from untrained.masking.bake import bake_, baked
from untrained.masking.mask import mask_, masks, scores
from untrained.methods.dense import Dense
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.random_subnetwork import RandomSubnetwork
from untrained.selection.topk import keep_count
from untrained.weights.laws import KaimingNormal, SignedConstant
from zoo import ZOO, ModelCase, hand_baked, naive_mask, naive_masks, states

KEEP = 0.3
LAYER = EdgePopup(KEEP)


# What the matrix is made of


@pytest.fixture(params=["layer", "global"])
def scope(request):
    return request.param


@pytest.fixture(params=ZOO)
def case(request):
    return ZOO[request.param]


def masked_model(case, scope="layer", seed=3):
    # The model's own weights and biases: the default law has one magnitude and no bias, and could hide a mistake.
    return mask_(case.build(), EdgePopup(KEEP, scope), seed=seed, weights=None)


@pytest.fixture
def masked(case, scope):
    return masked_model(case, scope)


def together(masked):
    return next(iter(states(masked).values())).group.method.together


def naive_masks_of(case, masked):
    return naive_masks(case, masked, KEEP, together=together(masked))


def plain_of(case, masked):
    """The model with the masked model's effective weights, worked out by hand; nothing of it learns."""
    return hand_baked(case, masked, KEEP, together=together(masked)).requires_grad_(False)


def loss_of(model, x):
    return model(x).square().mean()


def gradients(model, x, forward=None):
    """The gradient of every score, of a loss on x."""
    model.zero_grad()
    loss_of(forward or model, x).backward()
    return grads_of(model)


def grads_of(model):
    return {name: state.scores.grad.clone() for name, state in states(model).items()}


def assert_near(found, expected):
    """Equal gradients but for the order in which their parts were added up."""
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-8)
    assert found.keys() == expected.keys()


def nudge(model, optimizer=torch.optim.SGD, **options):
    """One step of an optimizer that moves every score at random, far enough to change the choice."""
    generator = torch.Generator().manual_seed(7)
    for score in scores(model):
        score.grad = torch.randn(score.shape, generator=generator).to(score)
    optimizer(scores(model), lr=1.0, **options).step()
    model.zero_grad()


def evaluate(model, x):
    with torch.no_grad():
        return model(x)


def same(found, expected):
    """Whether two dicts of tensors have the same names and bits."""
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def tensors_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def choices(monkeypatch):
    """One entry per choice made: the names of the tensors chosen together."""
    made, effective = [], EdgePopup.effective

    def counted(self, weights, scores):
        made.append(list(weights))
        return effective(self, weights, scores)

    monkeypatch.setattr(EdgePopup, "effective", counted)
    return made


# Forward and backward


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_forward_is_that_of_the_effective_weights(case, masked, training, grad):
    masked.train(training)
    # torch picks its kernels by whether the weights want a gradient: ours do in the one case and not in the other.
    plain, x = plain_of(case, masked).requires_grad_(grad), case.input()
    with torch.set_grad_enabled(grad):
        found, expected = masked(x), plain(x)
    assert torch.equal(found, expected)
    assert same(dict(masked.named_buffers()), dict(plain.named_buffers()))


def test_inference_mode_changes_nothing(case, masked):
    masked.eval()
    with torch.inference_mode():
        found = masked(case.input())
    assert torch.equal(found, evaluate(masked, case.input()))
    gradients(masked, case.input())  # no tensor of inference mode has stayed behind to break this


@pytest.mark.parametrize("root", [True, False], ids=["root", "inside"])
def test_the_encoder_layer_takes_its_fast_path(scope, root, monkeypatch):
    layer, fast, calls = ZOO["encoder layer"], torch._transformer_encoder_layer_fwd, []
    case = layer if root else ModelCase(lambda: nn.Sequential(layer.make()))
    masked = masked_model(case, scope).eval()
    expected = evaluate(plain_of(case, masked), layer.input())
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *args: calls.append(args) or fast(*args))
    assert torch.equal(evaluate(masked, layer.input()), expected)
    assert len(calls) == 1


def test_every_score_has_its_gradient(case, masked):
    plain, x = plain_of(case, masked).requires_grad_(True), case.input()
    loss_of(plain, x).backward()
    weights, grads = dict(plain.named_parameters()), gradients(masked, x)
    for name, state in states(masked).items():
        expected = state.scores.sign() * state.frozen * weights[name].grad
        assert torch.equal(grads[name], expected)
        assert expected.any()
    assert {id(p) for p in masked.parameters() if p.grad is not None} == {id(s) for s in scores(masked)}


def test_two_forwards_and_one_backward(case, masked):
    masked.eval()  # or the batch statistics would move in between
    x, y = case.input(1), case.input(2)
    apart = [gradients(masked, batch) for batch in (x, y)]
    masked.zero_grad()
    (loss_of(masked, x) + loss_of(masked, y)).backward()
    assert_near(grads_of(masked), {name: apart[0][name] + apart[1][name] for name in apart[0]})


def test_gradients_accumulate_over_backward_passes(case, masked):
    once = gradients(masked.eval(), case.input())
    loss_of(masked, case.input()).backward()
    assert same(grads_of(masked), {name: 2 * grad for name, grad in once.items()})


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_regions_keep_the_gradients(scope, use_reentrant):
    case = ZOO["checkpointed"]
    masked, x = masked_model(case, scope), case.input().requires_grad_()
    masked.use_reentrant = use_reentrant
    found = gradients(masked, x)
    masked.recompute = False
    assert_near(found, gradients(masked, x))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_the_whole_model_keeps_the_gradients(case, masked, use_reentrant):
    if use_reentrant and case is ZOO["tied"]:
        pytest.skip("its input is indices, without the gradient that this kind of checkpoint needs")
    masked.eval()
    x = case.input().requires_grad_()
    found = gradients(masked, x, lambda x: checkpoint(masked, x, use_reentrant=use_reentrant))
    assert_near(found, gradients(masked, x))


def called_with(masked, given, x):
    """The loss with other scores, by name, in place of the model's own."""
    return torch.func.functional_call(masked, given, x).square().mean()


def test_scores_may_be_passed_in(case, masked):
    masked.eval()
    x, expected = case.input(), gradients(masked, case.input())
    given = {f"{name}_mask.scores": s.scores.detach().clone().requires_grad_() for name, s in states(masked).items()}
    found = torch.autograd.grad(called_with(masked, given, x), list(given.values()))
    assert_near(dict(zip(expected, found, strict=True)), expected)


def test_torch_func_may_differentiate():
    masked, x = masked_model(ZOO["mlp"]), ZOO["mlp"].input()
    expected = gradients(masked, x)
    given = {f"{name}_mask.scores": state.scores.detach() for name, state in states(masked).items()}
    found = torch.func.grad(lambda given: called_with(masked, given, x))(given)
    assert_near({name.removesuffix("_mask.scores"): grad for name, grad in found.items()}, expected)


def test_autocast_chooses_the_same(case, masked):
    plain, x = plain_of(case, masked).requires_grad_(True), case.input()
    try:
        with torch.autocast("cpu", torch.bfloat16):
            expected = plain(x)
        expected.float().square().mean().backward()
    except RuntimeError as why:  # oneDNN's LSTM needs instructions that not every processor has
        pytest.skip(f"the plain model itself does not run in bfloat16 here: {why}")
    chosen = masks(masked)
    with torch.autocast("cpu", torch.bfloat16):
        found = masked(x)
        assert same(masks(masked), chosen)
    assert torch.equal(found, expected)
    found.float().square().mean().backward()
    weights = dict(plain.named_parameters())
    for name, state in states(masked).items():
        expected = state.scores.sign() * state.frozen * weights[name].grad
        # Autocast adds the parts of a leaf's gradient in bfloat16, and those of our weights in float32.
        torch.testing.assert_close(state.scores.grad, expected, rtol=2**-6, atol=2e-5)
        assert state.scores.grad.any()


# When the choice is made


UPDATES = {
    "sgd": (torch.optim.SGD, {}),
    "sgd fused": (torch.optim.SGD, {"fused": True}),  # writes without telling autograd
    "sgd foreach": (torch.optim.SGD, {"foreach": True}),
    "adam fused": (torch.optim.Adam, {"fused": True}),
}


@pytest.mark.parametrize("update", UPDATES)
def test_the_choice_is_fresh_after_an_update(case, masked, update):
    optimizer, options = UPDATES[update]
    masked.eval()
    x, before = case.input(), masks(masked)
    evaluate(masked, x)
    loss_of(masked, x).backward()
    nudge(masked, optimizer, **options)
    assert not same(masks(masked), before)
    assert torch.equal(evaluate(masked, x), evaluate(plain_of(case, masked), x))
    plain = plain_of(case, masked).requires_grad_(True)
    assert torch.equal(masked(x), plain(x))


def test_each_tensor_is_chosen_once_per_forward(case, masked, choices):
    x = case.input()
    for grad in (True, False, True):
        choices.clear()
        with torch.set_grad_enabled(grad):
            masked(x)
        assert sorted(name for names in choices for name in names) == sorted(states(masked))


def test_outside_a_forward_a_weight_is_read_as_the_scores_are_now(scope):
    masked = masked_model(ZOO["mlp"], scope)
    masked(ZOO["mlp"].input())
    for _ in range(2):
        expected = plain_of(ZOO["mlp"], masked)
        assert torch.equal(masked[0].weight, expected[0].weight)
        assert torch.equal(masked[3].weight, expected[3].weight)
        nudge(masked)


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.fail = nn.Linear(8, 8), True

    def forward(self, x):
        x = self.inner(x)
        if self.fail:
            raise RuntimeError("on purpose")
        return x


def test_a_forward_that_fails_leaves_no_choice_behind(scope):
    case = ModelCase(Fails)
    masked, x = masked_model(case, scope), case.input()
    with pytest.raises(RuntimeError, match="on purpose"):
        masked(x)
    nudge(masked)
    masked.fail = False
    plain = plain_of(case, masked)
    plain.fail = False
    assert torch.equal(masked(x), plain(x))


class Generates(nn.Module):
    """Has methods other than forward; one of them calls the model again and again."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

    def embed(self, x):
        return F.linear(self.first(x), self.second.weight)

    def generate(self, x, steps=3):
        for _ in range(steps):
            x = self(x) + self.embed(x)
        return x


@pytest.mark.parametrize("call", ["embed", "generate"])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_other_methods_read_masked_weights(scope, call, grad):
    case = ModelCase(Generates)
    masked, x = masked_model(case, scope), case.input()
    for _ in range(2):
        with torch.set_grad_enabled(grad):
            found, expected = getattr(masked, call)(x), getattr(plain_of(case, masked), call)(x)
        assert torch.equal(found, expected)
        assert found.requires_grad == grad
        nudge(masked)


def test_threads_may_share_a_model(case, masked):
    masked.eval()
    inputs = [case.input(seed) for seed in range(16)]
    plain = plain_of(case, masked)
    expected = [evaluate(plain, x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: evaluate(masked, x), inputs))
    for output, right in zip(found, expected, strict=True):
        # Every thread has its own number of threads for kernels, and sums may run in another order.
        torch.testing.assert_close(output, right)


def test_a_thread_that_leaves_first_takes_nothing_from_the_others(scope):
    case = ModelCase(Generates)
    masked, x = masked_model(case, scope), case.input()
    expected = evaluate(plain_of(case, masked), x)
    half_way, go_on = threading.Event(), threading.Event()

    def wait(module, args, output):
        if threading.current_thread() is not threading.main_thread():
            half_way.set()
            assert go_on.wait(60)

    masked.first.register_forward_hook(wait)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(evaluate, masked, x)
        assert half_way.wait(60)
        assert torch.equal(evaluate(masked, x), expected)
        go_on.set()
        assert torch.equal(slow.result(60), expected)


# Copies


def copy_by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": copy_by_torch_save,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_learn_apart(case, masked, how):
    x = case.input()
    gradients(masked, x)  # a model in use holds more than a new one
    masked.eval()
    twin = COPIES[how](masked)
    assert torch.equal(evaluate(twin, x), evaluate(masked, x))
    for learner, other in ((twin, masked), (masked, twin)):
        before = tensors_of(other)
        nudge(learner)
        assert torch.equal(evaluate(learner, x), evaluate(plain_of(case, learner), x))
        assert same(tensors_of(other), before)
        assert torch.equal(evaluate(other, x), evaluate(plain_of(case, other), x))
        nudge(learner)


@pytest.mark.parametrize("how", COPIES)
def test_baking_a_copy_leaves_the_original_masked(case, masked, how):
    masked.eval()
    expected = evaluate(masked, case.input())
    bake_(COPIES[how](masked))
    assert same(masks(masked), naive_masks_of(case, masked))
    assert torch.equal(evaluate(masked, case.input()), expected)
    gradients(masked, case.input())


def test_a_state_dict_restores_another_model(case, masked, scope):
    masked(case.input())
    other = mask_(case.build(), EdgePopup(KEEP, scope), seed=9)
    other.load_state_dict(masked.state_dict())
    assert same(masks(other), masks(masked))
    assert torch.equal(evaluate(other.eval(), case.input()), evaluate(masked.eval(), case.input()))


# Baking


def ties(model):
    """For each name of a parameter, the first name of that same parameter."""
    first = {}
    return {name: first.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}


def assert_plain(found, like):
    """A model is as if we had never touched it, its values aside."""
    assert [type(m) for m in found.modules()] == [type(m) for m in like.modules()]
    assert [vars(m).keys() for m in found.modules()] == [vars(m).keys() for m in like.modules()]
    assert list(found.state_dict()) == list(like.state_dict())
    assert ties(found) == ties(like)
    assert not any(p.requires_grad for p in found.parameters())
    for module in found.modules():
        hooks = [value for name, value in vars(module).items() if "hook" in name and isinstance(value, dict)]
        assert hooks
        assert not any(hooks)
    assert b"untrained" not in pickle.dumps(found)


def test_baked_is_a_plain_copy(case, masked):
    masked.eval()
    x, before = case.input(), tensors_of(masked)
    gradients(masked, x)
    with baked(masked) as plain:
        assert_plain(plain, case.build())
        assert same(plain.state_dict(), plain_of(case, masked).state_dict())
        assert torch.equal(evaluate(plain, x), evaluate(masked, x))
        memory = {t.data_ptr() for t in plain.state_dict().values()}
        assert memory.isdisjoint(t.data_ptr() for t in masked.state_dict().values())
    assert same(tensors_of(masked), before)
    assert gradients(masked, x).keys() == states(masked).keys()


def test_bake_leaves_nothing_of_ours(case, masked):
    masked.eval()
    x = case.input()
    gradients(masked, x)
    expected, values = evaluate(masked, x), plain_of(case, masked).state_dict()
    assert bake_(masked) is masked
    assert_plain(masked, case.build())
    assert same(masked.state_dict(), values)
    assert torch.equal(evaluate(masked, x), expected)
    assert mask_(masked, LAYER) is masked  # and may be masked again


def test_bake_leaves_other_peoples_hooks():
    masked, calls = masked_model(ZOO["mlp"]), []
    masked.register_forward_pre_hook(lambda *_: calls.append("before"))
    masked.register_forward_hook(lambda *_: calls.append("after"), always_call=True)
    bake_(masked)(ZOO["mlp"].input())
    assert calls == ["before", "after"]
    assert len(masked._forward_hooks_always_called) == 1


# Torch's own words about an RNN, masked or not: it looks for its list of weights among the buffers.
@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn._flat_weights:UserWarning")
def test_a_baked_model_can_be_exported(case, masked):
    x = case.input()
    with baked(masked.eval()) as plain:
        exported = torch.export.export(plain, (x,)).module()
        # The exported graph has elementary kernels where the model has fused ones.
        torch.testing.assert_close(exported(x), plain(x))


# Compiling


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
COMPILED = [pytest.param(a, "layer", id=name, marks=[] if a.compiles else [NO_RNN]) for name, a in ZOO.items()]
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


# What mask_ does to a model


class Norms(nn.Module):
    """Parameters of every sort: matrices, biases, a norm, a scale that is neither, integers, one that is missing."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.full((5,), 0.7))
        self.register_parameter("missing", None)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3))) * self.scale


NORMS = ModelCase(Norms, (2, 3, 6, 6))


def used_norms():
    """Norms after some use, so that its running statistics are not those of a new model."""
    model = NORMS.build()
    model(NORMS.input())
    return model


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
    with pytest.raises(ValueError, match="where matched nothing"):
        mask_(ZOO["mlp"].build(), LAYER, where="weight")


def test_where_that_matches_nothing_lists_the_parameters():
    with pytest.raises(ValueError, match=r"where matched nothing.*0\.weight \(16, 8\), 0\.bias \(16,\).*3\.weight"):
        mask_(ZOO["mlp"].build(), LAYER, where=lambda name, parameter: False)
    with pytest.raises(ValueError, match=r"where matched nothing.*no parameter"):
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
    with pytest.raises(ValueError, match=r"method pattern 'attention.*' matched nothing.*0\.weight"):
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
    with pytest.raises(ValueError, match="also_train matched nothing"):
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
    "where": ({"where": "nothing"}, "where matched nothing"),
    "also_train": ({"also_train": "nothing"}, "also_train matched nothing"),
    "pattern": ({"method": {".*": LAYER, "nothing": LAYER}}, "pattern 'nothing' matched nothing"),
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
