"""Masked modules in hands that do more than call them: copies, replicas, parts, transforms, writes, resumes."""

import copy
import io
import threading
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

import untrained as ut
from any_methods import VARIANTS
from untrained.masking import bake
from untrained.masking.mask import is_masked, record

X, Y = torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
BATCHES = [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)]


class Net(nn.Module):
    """Two layers, and whatever a test makes of them."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.encoder(x).relu())


class Keeps(Net):
    """Keeps activations wherever one can keep them, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.listed, self.named, self.nested = [], {}, ([{}],)
        self.register_buffer("last", torch.zeros(16))
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.BatchNorm1d(16)

    def forward(self, x):
        hidden = self.norm(self.encoder(x))
        self.listed, self.named, self.attribute = [hidden], {"hidden": hidden}, hidden
        self.nested[0][0]["hidden"] = hidden
        self.last = hidden.mean(0)
        self.calls += 1
        return self.head(hidden.relu())


class Locked(Net):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        with self.lock:
            return super().forward(x)


class CopiesItself(Net):
    def __deepcopy__(self, memo):
        twin = type(self)()
        twin.load_state_dict(self.state_dict())
        return twin


def masked(build=Net, method=None, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ut.mask_(build(), method or ut.EdgePopup(0.5), seed=3, **options)


# --- evaluating ---


@pytest.mark.parametrize("build", [Net, Keeps, Locked, CopiesItself])
def test_evaluating_needs_no_copy(build):
    model = masked(build)
    F.cross_entropy(model(X), Y).backward()
    model.head.eval()
    modes = [module.training for module in model.modules()]
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    found = ut.evaluate(model, BATCHES)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())
    if build is not Locked:
        with ut.baked(model) as plain:
            assert ut.evaluate(plain, BATCHES) == found
    assert ut.fit(model, BATCHES, BATCHES, epochs=1, title=None).column("val_loss")


@pytest.mark.parametrize("method", [ut.EdgePopup(0.5), ut.EdgePopup(0.3, scope="global"), ut.Bernoulli()], ids=str)
def test_all_batches_are_evaluated_with_one_choice(method, monkeypatch):
    model, made = masked(method=method), []
    effective = type(method).effective

    def counted(self, weights, scores):
        made.extend(weights)
        return effective(self, weights, scores)

    monkeypatch.setattr(type(method), "effective", counted)
    noise = [group.noise for group in record(model).groups]
    ut.evaluate(model, BATCHES)
    assert sorted(made) == ["encoder.weight", "head.weight"]
    assert noise == [group.noise for group in record(model).groups]


def test_an_evaluation_that_fails_leaves_nothing_behind():
    model = masked()
    model.head.eval()
    with pytest.raises(RuntimeError, match="on purpose"), bake.one_choice(model):
        raise RuntimeError("on purpose")
    with pytest.raises(RuntimeError):
        ut.evaluate(model, [(X[:, :3], Y)])
    assert model.training and model.encoder.training and not model.head.training
    with torch.no_grad():
        before = model(X)
        for score in ut.scores(model):
            score.neg_().add_(1)
        assert not torch.equal(model(X), before)


def test_what_cannot_be_copied_is_named():
    model = masked(lambda: nn.Sequential(nn.Linear(8, 8), Locked()))
    with pytest.raises(
        TypeError, match=r"^'lock' of '1' \(Locked\) cannot be copied: .*lock.*; evaluate needs no copy"
    ):
        ut.baked(model).__enter__()


# --- copies and replicas ---


def test_a_forward_wrapped_on_the_instance_outlives_bake():
    model = masked(lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)))
    expected, inner = model(X), model.forward.__func__
    model.forward = types.MethodType(lambda self, x: inner(self, x).float(), model)
    with ut.baked(model) as plain:
        assert torch.equal(plain(X), expected)
    assert torch.equal(ut.bake_(model)(X), expected)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.inner = nn.Parameter(torch.randn(8, 3)), nn.Linear(8, 8)

    def forward(self, x):
        return self.inner(x) @ self.w


@pytest.mark.parametrize("build", [lambda: torch.fx.symbolic_trace(Bare()), CopiesItself], ids=["fx", "own"])
def test_classes_that_copy_themselves_stay_masked(build):
    model = masked(build)
    twin = copy.deepcopy(model)
    assert type(twin) is not type(model) or build is CopiesItself
    assert torch.equal(twin(X), model(X)) and is_masked(twin)
    before = model(X).detach()
    with torch.no_grad():
        for score in ut.scores(twin):
            score.neg_().add_(1)
    assert torch.equal(model(X), before) and not torch.equal(twin(X), before)
    plain = build()
    ut.Ticket.of(twin).apply_(plain)
    assert torch.equal(plain(X), twin(X))
    assert torch.equal(ut.bake_(copy.deepcopy(twin))(X), plain(X))


def replicas(model, count=2):
    """What nn.DataParallel makes in every step, on one device."""
    modules = list(model.modules())
    copies = [{module: module._replicate_for_data_parallel() for module in modules} for _ in range(count)]
    for twins in copies:
        for module, twin in twins.items():
            for name, child in module._modules.items():
                setattr(twin, name, twins[child])
            for name, parameter in module._parameters.items():
                if parameter is None:
                    twin._parameters[name] = None
                else:
                    setattr(twin, name, parameter * 1)
    return [twins[model] for twins in copies]


@pytest.mark.parametrize(
    "method", [ut.EdgePopup(0.5), ut.EdgePopup(0.3, scope="global"), ut.Bernoulli(), ut.Multicoated(0.5)], ids=str
)
def test_replicas_of_data_parallel(method):
    model = masked(method=method)
    model.eval()
    expected = torch.autograd.grad(model(X).square().sum(), ut.scores(model))
    found = torch.autograd.grad(
        sum(twin(part).square().sum() for twin, part in zip(replicas(model), X.split(6), strict=True)),
        ut.scores(model),
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)  # summed in another order
    model.train()
    outputs = [[twin(X) for twin in replicas(model)] for _ in range(2)]
    assert all(torch.equal(*pair) for pair in outputs)
    assert torch.equal(outputs[0][0], outputs[1][0]) != method.samples


def test_the_class_of_a_masked_module():
    registry = []

    class Registered(nn.Linear):
        def __init_subclass__(cls, **options):
            registry.append(cls.__name__)

    class Mine(Registered):
        pass

    model = masked(lambda: nn.Sequential(Mine(8, 3)))
    assert type(model[0]).__name__ == "Mine" and type(model).__name__ == "Sequential"
    assert "MaskedMine(" in repr(model) and repr(model).startswith("MaskedSequential(")
    assert registry == ["Mine"]
    assert type(type(model[0])(2, 2)) is Mine
    assert type(type(model)()) is nn.Sequential
    assert isinstance(model[0], Mine) and torch.equal(copy.deepcopy(model)(X), model(X))


def test_a_list_is_no_model():
    for ask in (ut.scores, ut.masks, ut.bake_, lambda m: ut.baked(m).__enter__()):
        with pytest.raises(TypeError, match=r"^expected the masked model, got list$"):
            ask([masked()])


# --- torch.func ---


def learnable(model):
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def loss_with(model, given, x, y):
    return F.cross_entropy(functional_call(model, given, (x,)), y)


LEARNING = [m for m in VARIANTS if m.learns]
# Forward-mode derivatives import modules of torch that still use torch.jit.
deprecated_jit = pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning")


@deprecated_jit
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("method", LEARNING, ids=str)
def test_transforms_of_torch_func(method):
    model = masked(method=method).eval()
    with ut.baked(model) as plain:
        assert torch.equal(jacrev(model)(X[0]), jacrev(plain)(X[0]))
        if method == LEARNING[0]:  # of the input alone, which no method changes
            seconds = [hessian(lambda x, of=of: of(x).sum().sin())(X[0]) for of in (model, plain)]
            torch.testing.assert_close(*seconds)
        torch.testing.assert_close(vmap(model)(X), plain(X))
    given = learnable(model)
    each = vmap(grad(lambda p, x, y: loss_with(model, p, x[None], y[None])), (None, 0, 0))(given, X, Y)
    for number in (0, 7):
        model.zero_grad()
        F.cross_entropy(model(X[number, None]), Y[number, None]).backward()
        for name, score in model.named_parameters():
            if score.requires_grad:
                torch.testing.assert_close(each[name][number], score.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [m for m in LEARNING if not isinstance(m, ut.PartlyFrozen)], ids=str)
def test_an_ensemble_in_one_call(method):
    models = [masked(method=method).eval() for _ in range(2)]
    for model in models[1:]:
        with torch.no_grad():
            for score in ut.scores(model):
                score.copy_(-score.flip(0))
    given, buffers = stack_module_state(models)
    found = vmap(lambda p, b, x: functional_call(models[0], (p, b), (x,)), (0, 0, None))(given, buffers, X)
    for output, model in zip(found, models, strict=True):
        torch.testing.assert_close(output, model(X))


@deprecated_jit
@pytest.mark.parametrize("signed", [False, True])
def test_forward_mode_through_the_choice(signed):
    model = masked(method=ut.EdgePopup(0.5, signed=signed)).double().eval()
    given, x = learnable(model), X.double()

    def loss(p):
        return loss_with(model, p, x, Y)

    tangents = {name: torch.ones_like(p) for name, p in given.items()}
    _, along = torch.func.jvp(loss, (given,), (tangents,))
    expected = sum(g.sum() for g in grad(loss)(given).values())
    torch.testing.assert_close(along, expected)


# --- writing into a masked weight ---

WRITES = {
    "add_": lambda w: w.add_(1),
    "copy_": lambda w: w.copy_(torch.ones_like(w)),
    "setitem": lambda w: w.__setitem__(0, 5.0),
    "init": nn.init.zeros_,
    "a view": lambda w: w.T[0].fill_(3),
    "data, in place": lambda w: w.data.add_(1),
    "data, as a merge does": lambda w: exec("w.data += 1", {"w": w}),
    "data, replaced": lambda w: setattr(w, "data", torch.ones_like(w)),
}


@pytest.mark.parametrize("notices", ["forward", "part", "read", "masks", "bake_", "evaluate"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_is_lost_is_told(write, notices):
    model = masked()
    with torch.no_grad():
        expected = model(X)
        write(model.encoder.weight)
    ask = {
        "forward": lambda: model(X),
        "part": lambda: model.encoder(X),
        "read": lambda: model.encoder.weight,
        "masks": lambda: ut.masks(model),
        "bake_": lambda: ut.bake_(model),
        "evaluate": lambda: ut.evaluate(model, BATCHES),
    }[notices]
    with pytest.warns(UserWarning, match=r"'encoder\.weight' was written into.*bake_ the model"):
        ask()
    assert torch.equal(model(X), expected)


def test_reset_parameters_is_told():
    model = masked()
    with pytest.warns(UserWarning, match=r"'encoder\.weight' was written into"):
        model.encoder.reset_parameters()  # draws the weight, and reads it again for the bias
        model(X)


def test_reading_and_learning_are_no_writes():
    model = masked()
    optimizer = torch.optim.SGD(ut.scores(model), lr=1.0, fused=True)
    for _ in range(2):
        weights = [module.weight for module in (model.encoder, model.head, model.encoder)]
        (sum(w.square().sum() for w in weights) + model(X).sum() + model.encoder(X).sum()).backward()
        optimizer.step()
    copy.deepcopy(model)
    with torch.inference_mode():
        model.encoder.weight.clone().zero_()
        model(X)


# --- samples ---

SAMPLING = [m for m in VARIANTS if m.samples]


class Tied(nn.Module):
    """A network whose part uses one weight twice."""

    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 8, bias=False))
        self.part[2].weight = self.part[0].weight

    def forward(self, x):
        return self.part(x)

    def through_a_method(self, x):
        return F.linear(self.part(x), self.part[0].weight)


CALLS = {
    "the model": lambda model, x: model(x),
    "a part": lambda model, x: model.part(x),
    "a layer": lambda model, x: model.part[0](x),
    "a method": lambda model, x: model.through_a_method(x),
    "a checkpoint": lambda model, x: checkpoint(model.part, x, use_reentrant=True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("method", SAMPLING, ids=str)
def test_every_call_has_its_sample(method, call):
    model, x = masked(Tied, method), X.clone().requires_grad_()
    drawn = [call(model, x) for _ in range(4)]
    assert len({tuple(y.flatten().tolist()) for y in drawn}) > 1
    again = masked(Tied, method)
    assert all(torch.equal(a, call(again, x)) for a in drawn)
    model.eval()
    assert torch.equal(call(model, x), call(model, x))


def test_within_a_call_there_is_one_sample():
    model, eye = masked(Tied, ut.Bernoulli()), torch.eye(8)
    model.part[1] = nn.Identity()
    for _ in range(3):
        squared = model.part(eye)
        weight = model.part[0].weight.detach()
        assert torch.equal(squared, eye @ weight.T @ weight.T)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("method", [ut.Bernoulli(), ut.FedPM()], ids=str)
def test_a_recomputed_part_has_the_sample_it_had(method, use_reentrant):
    one, other = masked(Tied, method), masked(Tied, method)
    x = X.clone().requires_grad_()
    for _ in range(2):
        checkpoint(one.part, x, use_reentrant=use_reentrant).square().sum().backward()
        other.part(x).square().sum().backward()
    for a, b in zip(ut.scores(one), ut.scores(other), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_clients_may_sample_apart():
    first, second, again = (masked(method=ut.FedPM()) for _ in range(3))
    for model, client in ((first, 1), (second, 2), (again, 1)):
        ut.advance_(model, 3, 10, noise_seed=client)
    assert torch.equal(first(X), again(X)) and not torch.equal(first(X), second(X))


# Torch's own words when it compiles a Function.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_part_has_its_sample(fresh):
    compiled = torch.compile(masked(Tied, ut.Bernoulli()).part, backend="eager", fullgraph=True)
    assert not torch.equal(compiled(X), compiled(X))


# --- what a state dict holds ---


def trained(model, optimizer, steps, first=0, total=4):
    for step in range(first, first + steps):
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
        optimizer.zero_grad()
        ut.advance_(model, step + 1, total)
    return model


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("method", [m for m in VARIANTS if m.learns], ids=str)
def test_a_loop_resumed_from_a_state_dict_goes_on_to_the_same_bits(method):
    whole, half, resumed = (masked(method=method) for _ in range(3))
    rates = {"lr": 0.5, "momentum": 0.9}
    optimizers = [ut.optim.SGD(model, **rates) for model in (whole, half, resumed)]
    trained(whole, optimizers[0], 4)
    trained(half, optimizers[1], 2)
    resumed.load_state_dict(through_a_file(half.state_dict()))
    optimizers[2].load_state_dict(through_a_file(optimizers[1].state_dict()))
    assert record(resumed).groups[0].method == record(half).groups[0].method
    trained(resumed, optimizers[2], 2, first=2)
    assert all(map(torch.equal, ut.scores(resumed), ut.scores(whole)))
    assert ut.Ticket.of(resumed).to_bytes() == ut.Ticket.of(whole).to_bytes()


def test_a_state_dict_without_progress_still_loads():
    model, other = masked(method=ut.FedPM()), masked(method=ut.FedPM())
    ut.advance_(model, 3, 4)
    state = model.state_dict()
    extra = [name for name in state if name.endswith("_extra_state")]
    assert extra == ["encoder.weight_mask._extra_state", "head.weight_mask._extra_state"]
    assert all(state[name].dtype == torch.int64 and state[name].device.type == "cpu" for name in extra)
    for name in extra:
        del state[name]
    other.load_state_dict(state)
    assert record(other).groups[0].step == 0
    with pytest.raises(ValueError, match=r"'encoder\.weight' at a step in 0\.\.steps, got 5 of 4"):
        other.load_state_dict(model.state_dict() | {extra[0]: torch.tensor([5, 4, 0])})
    with pytest.raises(RuntimeError, match="Missing key"):
        del state["encoder.weight_mask.scores"]
        other.load_state_dict(state)


def test_progress_does_not_follow_the_default_device():
    model = masked(method=ut.FedPM())
    torch.set_default_device("meta")
    try:
        ut.advance_(model, 1, 2)
        extra = [value for name, value in model.state_dict().items() if name.endswith("_extra_state")]
    finally:
        torch.set_default_device(None)
    assert all(value.device.type == "cpu" for value in extra)
    assert model(X).isfinite().all()


# What a reviewer broke


class TwoRegions(nn.Module):
    def __init__(self, recompute):
        super().__init__()
        self.a, self.b, self.recompute = nn.Linear(6, 6), nn.Linear(6, 6), recompute

    def forward(self, x):
        for layer in (self.a, self.b):
            x = torch.tanh(checkpoint(layer, x, use_reentrant=False) if self.recompute else layer(x))
        return x


@pytest.mark.parametrize("method", [ut.FedPM(), ut.Bernoulli(), ut.RelaxedBernoulli()], ids=str)
def test_a_region_is_never_recomputed_with_the_sample_of_another_pass(method):
    x, gradients = torch.randn(4, 6), []
    for recompute in (True, False):
        model = ut.mask_(TwoRegions(recompute), method)
        model(x).square().sum().backward()
        gradients.append([score.grad for score in ut.scores(model)])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    model = ut.mask_(TwoRegions(True), method)
    loss = model(x).square().sum() + model(x).square().sum()
    with pytest.raises(torch.utils.checkpoint.CheckpointError, match="different metadata"):
        loss.backward()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_model_samples_where_it_is_training(fresh):
    model = ut.mask_(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), ut.FedPM()).train()
    model[0].eval()
    twin, x = torch.compile(copy.deepcopy(model), backend="eager"), torch.randn(2, 6)
    for called in (model, twin):
        assert not torch.equal(called(x), called(x))
    assert torch.equal(model[0](x), twin._orig_mod[0](x))


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_model_can_be_copied_after_a_transform():
    model = ut.mask_(nn.Linear(6, 2), ut.FedPM())
    jacrev(model)(torch.randn(3, 6))
    twin, x = copy.deepcopy(model), torch.randn(2, 6)
    assert torch.equal(model(x), twin(x))


def test_evaluate_calls_train_as_the_model_has_it():
    class Merges(nn.Linear):
        merged = False

        def train(self, mode=True):
            self.merged = not mode
            return super().train(mode)

    model = ut.mask_(nn.Sequential(Merges(4, 3)), ut.EdgePopup(0.5))
    ut.evaluate(model, [(torch.randn(2, 4), torch.tensor([0, 1]))])
    assert model[0].training and not model[0].merged


def test_a_changed_backbone_is_noticed_when_it_is_saved(tmp_path):
    pretrained = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    model = ut.mask_(copy.deepcopy(pretrained), ut.Threshold(), weights=None)
    ut.save(model, tmp_path / "t.ticket")
    ut.load(tmp_path / "t.ticket", copy.deepcopy(pretrained))
    with torch.no_grad():
        model[1].bias.add_(1e-6)
    with pytest.raises(ValueError, match=r"'1\.bias' no longer equals the pretrained model's"):
        ut.save(model, tmp_path / "t.ticket")


class Odd(nn.Module):
    """A module with ways of its own, which masking does not take."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def __setattr__(self, name, value):
        if name not in ("layer", "training"):
            raise AttributeError(name)
        super().__setattr__(name, value)

    def add_module(self, name, module):
        raise RuntimeError(name)

    def requires_grad_(self, requires_grad=True):
        raise RuntimeError

    def reset_running_stats(self, which):
        raise RuntimeError(which)

    def forward(self, x):
        return self.layer(x)


def test_methods_that_a_module_overrides_are_not_called():
    model = ut.mask_(Odd(), ut.EdgePopup(0.5))
    with ut.baked(model) as plain:
        assert torch.equal(plain(torch.ones(2, 4)), model(torch.ones(2, 4)))
