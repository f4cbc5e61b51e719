"""Networks of strangers in a bank, and what their owners do to them: right to the bit, or refused by name."""

import copy
import os
import pickle
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import untrained as ut
from zoo import ZOO, ModelCase

METHODS = {
    "half": ut.EdgePopup(keep=0.5),
    "signed": ut.EdgePopup(keep=0.3, signed=True),
    "nudge": ut.Nudge(levels=3),
    "whole": ut.Dense(),
}


class Buffers(nn.Module):
    """Holds buffers that are saved, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.register_buffer("position", torch.arange(8.0), persistent=False)
        self.register_buffer("offset", torch.arange(8.0))
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.position + self.offset + self.count


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8).t())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag((x.abs() * 10).long() % 16))


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


STRANGERS = ZOO | {
    "graph": ModelCase(lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)))),
    "parametrized": ModelCase(lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)), nn.Linear(8, 4))),
    "spectral norm": ModelCase(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 8)))),
    "buffers": ModelCase(Buffers),
    "transposed": ModelCase(Transposed),
    "bags": ModelCase(Bags, (3, 5)),
    "two directions": ModelCase(lambda: nn.LSTM(8, 8, 2, bidirectional=True)),
    "half precision": ModelCase(lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).bfloat16()),
    "double": ModelCase(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double(), (2, 3, 6, 6)),
    "channels last": ModelCase(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last),
        (2, 3, 6, 6),
    ),
}


def _fill(bank: ut.Bank) -> ut.Bank:
    """Add a task of each method, with running statistics of its own."""
    for seed, (name, method) in enumerate(METHODS.items()):
        model = bank.masked(method)
        generator = torch.Generator().manual_seed(seed)
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 2, generator=generator)
        bank.add(name, model)
    return bank


def _first(output: Tensor | tuple) -> Tensor:
    return output if isinstance(output, Tensor) else _first(output[0])


def _laws(case: ModelCase, weights: ut.WeightLaw | None) -> None:
    bank = _fill(ut.Bank(case.build(), seed=3, weights=weights))
    x = case.input().to(next(bank.model.parameters()).dtype)
    places = {name: tensor.data_ptr() for name, tensor in bank.model.state_dict().items()}
    for name in (*METHODS, *reversed(METHODS)):
        alone = bank.ticket(name).apply_(case.build()).eval()
        assert torch.equal(_first(bank(x, name)), _first(alone(x))), name
        for tensor, own in alone.state_dict().items():
            assert torch.equal(bank.model.state_dict()[tensor], own), (name, tensor)
    assert {name: tensor.data_ptr() for name, tensor in bank.model.state_dict().items()} == places


@pytest.mark.parametrize("name", STRANGERS)
def test_a_network_of_any_kind_is_each_task_bit_for_bit(name):
    _laws(STRANGERS[name], ut.SignedConstant())


@pytest.mark.parametrize("name", ["conv", "lstm", "tied", "attention", "parametrized", "half precision"])
def test_so_it_is_on_weights_of_its_own(name):
    _laws(STRANGERS[name], None)


def _of_inference() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(8, 4)


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("holds a file")


REFUSED = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(8)), "'0.weight' has no shape yet"),
    "meta": (lambda: nn.Linear(8, 4, device="meta"), "'weight' is on the meta device"),
    "script": (lambda: torch.jit.script(nn.Linear(8, 4)), "must be a plain one, got RecursiveScriptModule"),
    "compiled": (lambda: torch.compile(nn.Linear(8, 4), backend="eager"), "got OptimizedModule: make the bank first"),
    "inference": (_of_inference, "'weight' was made in inference mode"),
    "no module": (lambda: torch.ones(2), "an nn.Module, got Tensor"),
    "uncopied": (lambda: Uncopied(8, 4), "cannot be copied: holds a file"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_no_bank_can_hold_is_refused_as_it_is(case):
    build, message = REFUSED[case]
    model = build()
    training = getattr(model, "training", None)
    with pytest.raises((ValueError, TypeError), match=message):
        ut.Bank(model)
    assert getattr(model, "training", None) == training


def test_a_network_for_distributed_training_is_refused(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="got DistributedDataParallel"):
            ut.Bank(nn.parallel.DistributedDataParallel(nn.Linear(8, 4)))
    finally:
        torch.distributed.destroy_process_group()


X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def bank() -> ut.Bank:
    return _fill(ut.Bank(_mlp(), seed=3))


@pytest.fixture
def answers(bank) -> dict[str, Tensor]:
    return {name: bank.ticket(name).apply_(_mlp()).eval()(X) for name in bank.names}


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda bank: pickle.loads(pickle.dumps(bank))])
def test_a_copy_is_a_bank_of_its_own(bank, answers, twin_of):
    bank.use("signed")
    bank.packed("half")
    twin = twin_of(bank)
    assert vars(twin).keys() == vars(bank).keys()
    bank.remove("signed")
    with torch.no_grad():
        bank.model[0].weight.zero_()
    for name, expected in answers.items():
        places = [parameter.data_ptr() for parameter in twin.model.parameters()]
        assert torch.equal(twin(X, name), expected)
        assert places == [parameter.data_ptr() for parameter in twin.model.parameters()]
    assert torch.equal(bank(X, "half"), answers["half"])


def test_a_copy_made_while_a_head_of_another_size_is_shown_finds_the_first_again():
    bank = ut.Bank(_mlp())
    bank.add("two", bank.masked(METHODS["half"], heads={"3": 2}))
    bank.add("four", bank.masked(METHODS["half"]))
    for twin in (copy.deepcopy(bank), pickle.loads(pickle.dumps(bank))):
        bank.use("two")
        for name in ("four", "two", "four"):
            assert torch.equal(twin(X, name), bank(X, name))


def test_a_bank_answers_in_evaluation_mode_and_leaves_the_mode_as_it_was(bank, answers):
    bank.model.train()
    bank.model[2].eval()
    assert torch.equal(bank(X, "half"), answers["half"])
    assert torch.equal(bank(X, ["signed"] * 6), answers["signed"])
    assert [module.training for module in bank.model.modules()] == [True, True, True, False, True]


def test_running_statistics_that_moved_are_written_anew(bank, answers):
    bank.use("half").train()(X * 5)
    assert torch.equal(bank(X, "half"), answers["half"])


def test_a_network_that_is_converted_stays_the_banks(bank, answers):
    bank(X, "whole")
    bank.model.bfloat16().float()  # rounds what is shown, and gives norms other buffers
    for name, expected in answers.items():
        assert torch.equal(bank(X, name), expected)
    bank.model.double()
    for name in bank.names:
        assert torch.equal(bank(X.double(), name), bank.ticket(name).apply_(_mlp()).double().eval()(X.double()))


@pytest.mark.parametrize("how", ["statistics", "gradient", "binary", "each"])
def test_tasks_are_inferred_on_a_converted_network_and_in_inference_mode(bank, how):
    x = torch.randn(20, 8)
    with torch.inference_mode():
        bank(x, "half")
        inside = bank.which(x, how, among=["half", "signed"])
    bank.model.double()
    found = bank.which(x.double(), how, among=["half", "signed"])
    torch.testing.assert_close(found.evidence, inside.evidence, rtol=1e-3, atol=1e-4)


def test_heads_follow_a_conversion():
    bank = ut.Bank(_mlp())
    bank.add("two", bank.masked(METHODS["half"], heads={"3": 2}))
    bank.add("four", bank.masked(METHODS["half"]))
    bank.use("two")
    bank.model.double()
    for name, outputs in {"four": 4, "two": 2}.items():
        expected = bank.ticket(name).apply_(nn.Sequential(*_mlp()[:3], nn.Linear(16, outputs))).double().eval()
        assert torch.equal(bank(X.double(), name), expected(X.double()))


def test_a_tensor_that_was_replaced_is_written(bank, answers):
    bank.use("half")
    bank.model[0].weight = nn.Parameter(torch.ones(16, 8))
    bank.model[3] = nn.Linear(16, 4)
    assert torch.equal(bank(X, "half"), answers["half"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda model: model.__setitem__(3, nn.Linear(16, 5)),
            r"'3.weight' .* \(5, 16\) now, and had \(4, 16\)",
        ),
        (lambda model: model.append(nn.Linear(4, 4)), "'4.bias' is new in the bank's network"),
        (lambda model: ut.mask_(model, METHODS["half"]), "'0.weight' is gone from the bank's network"),
    ],
)
def test_a_network_of_other_tensors_is_refused(bank, change, message):
    change(bank.model)
    with pytest.raises(ValueError, match=message):
        bank(X, "half")


def test_tickets_that_change_later_change_no_task(bank, answers):
    given = bank.ticket("half")
    bank.add("copy", given)
    for ticket in given, bank.ticket("half"):
        for tensor in ticket.extra.values():
            tensor.add_(1)
    for name in "copy", "half":
        assert torch.equal(bank(X, name), answers["half"])


def test_a_name_may_be_used_again(bank):
    bank.use("half")
    bank.remove("half")
    bank.add("half", bank.masked(ut.EdgePopup(keep=0.1)))
    assert torch.equal(bank(X, "half"), bank.ticket("half").apply_(_mlp()).eval()(X))


def test_inference_mode_sees_and_leaves_the_same_tasks(bank, answers):
    with torch.inference_mode():
        inside = {name: bank(X, name) for name in bank.names}
    for name, expected in answers.items():
        assert torch.equal(inside[name], expected) and torch.equal(bank(X, name), expected)


def test_a_gradient_is_that_of_its_task_or_an_error(bank):
    x = X.clone().requires_grad_()
    bank(x, "half").sum().backward()
    alone = X.clone().requires_grad_()
    bank.ticket("half").apply_(_mlp()).eval()(alone).sum().backward()
    assert torch.equal(x.grad, alone.grad)
    output = bank(x, "half")
    bank.use("signed")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_a_gradient_through_a_head_that_changed_its_size_is_an_error():
    bank = ut.Bank(_mlp())
    bank.add("two", bank.masked(METHODS["half"], heads={"3": 2}))
    bank.add("four", bank.masked(METHODS["half"]))
    x = X.clone().requires_grad_()
    for first, then in (("two", "four"), ("four", "two")):
        output = bank(x, first)
        bank.use(then)
        with pytest.raises(RuntimeError):
            output.sum().backward()


def test_rows_of_several_tasks_need_a_network_with_rows():
    bank = _fill(ut.Bank(nn.LSTM(8, 8, batch_first=True)))
    with pytest.raises(ValueError, match="returns a tensor of rows, got tuple"):
        bank(torch.randn(2, 3, 8), ["half", "signed"])


def _switches(bank: ut.Bank, count: int) -> list[str]:
    return [bank.names[i * i % len(bank)] for i in range(count)]


NEEDS_COMPILER = [
    pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated:DeprecationWarning"),  # of modules of torch
    pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler"),
]


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=[*NEEDS_COMPILER, pytest.mark.slow])])
def test_switches_under_the_compiler_are_one_graph(bank, answers, backend):
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(bank.model, backend=backend, fullgraph=True)
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for name in _switches(bank, 250):
            bank.use(name)
            torch.testing.assert_close(compiled(X), answers[name])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.compiler.reset()


def test_a_network_that_compiles_itself_answers_for_the_bank():
    bank = _fill(ut.Bank(ZOO["attention"].build()))
    x = ZOO["attention"].input()
    answers = {name: bank.ticket(name).apply_(ZOO["attention"].build()).eval()(x) for name in bank.names}
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    bank.model.compile(backend="eager", fullgraph=True)
    for name in _switches(bank, 50):
        torch.testing.assert_close(bank(x, name), answers[name])  # the compiler may take other products
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    torch.compiler.reset()


def test_the_first_task_is_the_same_after_250_others():
    bank = ut.Bank(nn.Sequential(nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4, affine=False)), seed=1)
    bank.add("first", bank.masked(ut.EdgePopup(keep=0.5)))
    before = bank(X, "first")
    others = [ut.Ticket.of(bank.masked(ut.EdgePopup(keep=keep))) for keep in (0.2, 0.4, 0.6, 0.8)]
    for number in range(250):
        bank.add(f"task {number}", others[number % 4])
        if number % 50 == 0:
            assert not torch.equal(bank(X, f"task {number}"), before)
    assert len(bank) == 251 and torch.equal(bank(X, "first"), before)
