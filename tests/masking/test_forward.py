"""Forward and backward passes of every kind of model: a mask must change the weights and nothing else."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mask_checks import (
    assert_near,
    evaluate,
    gradients,
    grads_of,
    loss_of,
    masked_model,
    nudge,
    plain_of,
    same,
)
from untrained.masking.mask import masks, scores
from untrained.methods.edge_popup import EdgePopup
from zoo import ZOO, ModelCase, states


@pytest.fixture
def choices(monkeypatch):
    """One entry per choice made: the names of the tensors chosen together."""
    made, effective = [], EdgePopup.effective

    def counted(self, weights, scores):
        made.append(list(weights))
        return effective(self, weights, scores)

    monkeypatch.setattr(EdgePopup, "effective", counted)
    return made


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
