"""`ut.optim`: torch's own optimizers of the scores, whoever makes them, clips their gradients or scales the loss."""

import copy
import pickle

import pytest
import torch
from torch import nn

import untrained as ut
from any_methods import VARIANTS
from zoo import ZOO

KINDS = {
    "sgd": ("SGD", {"lr": 0.5}),
    "momentum": ("SGD", {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    "adam": ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
}
every_kind = pytest.mark.parametrize(("kind", "how"), KINDS.values(), ids=KINDS)
CONV = ZOO["conv"]


def masked(method=None, case=CONV):
    return ut.mask_(case.build(), method or ut.EdgePopup(0.4), seed=1)


def ours(model, kind="SGD", how=None):
    return getattr(ut.optim, kind)(model, **(how or {"lr": 0.5}))


def of_torch(model, kind="SGD", how=None, **more):
    return getattr(torch.optim, kind)(ut.scores(model), **(how or {"lr": 0.5}), **more)


def learned(model, optimizer, before_step=lambda model, optimizer: None, steps=3, case=CONV):
    """The scores after some steps."""
    for step in range(steps):
        model(case.input(step)).square().mean().backward()
        before_step(model, optimizer)
        optimizer.step()
        optimizer.zero_grad()
        ut.advance_(model, step + 1, steps)
    return [s.detach().clone() for s in ut.scores(model)]


def same(found, expected):
    return all(map(torch.equal, found, expected)) and len(found) == len(expected)


@pytest.mark.parametrize("method", [m for m in VARIANTS if m.learns], ids=str)
def test_the_steps_are_those_of_torchs_fused_optimizer(method):
    for kind, how in KINDS.values():
        one, other = masked(method), masked(method)
        assert same(learned(one, ours(one, kind, how)), learned(other, of_torch(other, kind, how, fused=True)))
    assert not same(ut.scores(one), ut.scores(masked(method)))  # something was learned


HANDED_OVER = {
    "parameters": lambda cls, model, how: cls(model.parameters(), **how),
    "named parameters": lambda cls, model, how: cls(model.named_parameters(), **how),
    "by keyword": lambda cls, model, how: cls(params=list(model.parameters()), **how),
    "scores": lambda cls, model, how: cls(ut.scores(model), **how),
    "groups": lambda cls, model, how: cls([{"params": [s]} for s in ut.scores(model)], **how),
    "options of torch's": lambda cls, model, how: cls(model, **how, foreach=True),
}


@pytest.mark.parametrize("make", HANDED_OVER.values(), ids=HANDED_OVER)
@every_kind
def test_a_framework_may_make_them_as_it_makes_torchs(kind, how, make):
    one, other = masked(), masked()
    expected = learned(other, of_torch(other, kind, how))
    assert same(learned(one, make(getattr(ut.optim, kind), one, how)), expected)


@every_kind
def test_gradients_can_be_clipped(kind, how):
    def clip(model, optimizer):
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1e-4)))
        assert all(s.grad.norm() <= 1.001e-4 for s in ut.scores(model))

    norms = []
    one, other = masked(), masked()
    assert same(learned(one, ours(one, kind, how), clip), learned(other, of_torch(other, kind, how, fused=True), clip))
    assert min(norms) > 1e-4


@pytest.mark.parametrize("unscales", [False, True])
@every_kind
def test_a_gradient_scaler_works(kind, how, unscales):
    one, other = masked(), masked()
    optimizer, scaler = ours(one, kind, how), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(3):
        scaler.scale(one(CONV.input(step)).square().mean()).backward()
        if unscales:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(ut.scores(one), 1e9)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    expected = learned(other, of_torch(other, kind, how, fused=True))
    for found, right in zip(ut.scores(one), expected, strict=True):
        torch.testing.assert_close(found.detach(), right, rtol=1e-5, atol=1e-6)


def test_a_scaler_skips_a_step_that_overflows():
    model = masked()
    optimizer, scaler = ours(model), torch.amp.GradScaler("cpu")
    before = [s.detach().clone() for s in ut.scores(model)]
    scaler.scale(model(CONV.input()).sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert same([s.detach() for s in ut.scores(model)], before)
    assert scaler.get_scale() == 2.0**15


@every_kind
def test_a_layer_may_get_its_first_gradient_late(kind, how):
    def half(model, optimizer):
        if not optimizer.state:
            ut.scores(model)[0].grad = None

    one, other = masked(), masked()
    found, expected = learned(one, ours(one, kind, how), half), learned(other, of_torch(other, kind, how), half)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@every_kind
def test_a_copy_of_model_and_optimizer_goes_on(kind, how, copied):
    model = masked()
    optimizer = ours(model, kind, how)
    learned(model, optimizer)
    twin, its = copied((model, optimizer))
    assert same(learned(twin, its), learned(model, optimizer))


@every_kind
def test_the_state_goes_to_torch_and_back(kind, how):
    one, other = masked(), masked()
    mine, theirs = ours(one, kind, how), of_torch(other, kind, how, fused=True)
    learned(one, mine), learned(other, theirs)
    states = copy.deepcopy((mine.state_dict(), theirs.state_dict()))
    mine.load_state_dict(states[1])
    theirs.load_state_dict(states[0])
    assert same(learned(one, mine), learned(other, theirs))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_what_is_refused(kind):
    make = getattr(ut.optim, kind)
    with pytest.raises(ValueError, match="masked"):
        make(nn.Linear(2, 2))
    for idle in (ut.RandomSubnetwork(), ut.Dense()):
        with pytest.raises(ValueError, match=r"^no method of this model has scores that learn$"):
            make(ut.mask_(nn.Linear(4, 4), idle, seed=0))
    model = ut.mask_(nn.Linear(4, 4), ut.EdgePopup(), seed=0)
    with pytest.raises(ValueError, match=r"[Ll]earning rate"):
        make(model, lr=-1.0)
    with pytest.raises(ValueError):
        make(model, **({"nesterov": True} if kind == "SGD" else {"betas": (2.0, 0.9)}))


# --- fit ---


def searched(recipe, **options):
    """A model after a small search, and its losses."""
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(16, 33, generator=generator), torch.arange(16) % 16) for _ in range(5)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(33, 64), nn.ReLU(), nn.Linear(64, 16))
    ut.mask_(model, ut.EdgePopup(0.4), seed=1)
    history = ut.fit(model, batches, epochs=2, recipe=recipe, title=None, **options)
    return [history.column("train_loss"), *(s.tolist() for s in ut.scores(model))]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_search_goes_on_to_the_same_bits(optimizer, tmp_path):
    recipe = ut.Recipe(optimizer, lr=0.01, momentum=0.9 if optimizer == "sgd" else 0.0)

    class Stop(Exception):
        pass

    def stop(epoch):
        raise Stop

    with pytest.raises(Stop):
        searched(recipe, out=tmp_path, on_epoch=stop)
    assert searched(recipe, out=tmp_path, resume=True) == searched(recipe)
