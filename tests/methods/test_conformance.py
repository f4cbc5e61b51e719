"""Every method keeps the law, on every model of the zoo; and the check that says so notices when one does not."""

import dataclasses
import re
from typing import final

import pytest
import torch
from torch import Tensor

import untrained as ut
from any_methods import VARIANTS
from untrained.methods import METHODS
from untrained.methods.masks import top_codes, uniform_scores
from zoo import ZOO

every_variant = pytest.mark.parametrize("method", VARIANTS, ids=lambda m: re.sub(r"\s+", "", str(m)))


@every_variant
def test_the_law(method):
    ut.testing.check_method(method)


@every_variant
@pytest.mark.parametrize("case", ZOO.values(), ids=ZOO)
def test_every_method_sits_on_every_model(method, case, tmp_path):
    model = ut.mask_(case.build(), method, seed=1)
    x = case.input()
    torch.manual_seed(0)
    loss = model(x).square().sum()
    if method.learns:
        loss.backward()
        assert all(score.grad is not None for score in ut.scores(model))
    assert bool(ut.scores(model)) == method.learns
    ut.advance_(model, 1, 2)
    model.eval()
    with torch.no_grad(), ut.baked(model) as dense:
        expected = dense(x)
        assert torch.equal(model(x), expected)
        ut.save(model, tmp_path / "it.ticket")
        assert torch.equal(ut.load(tmp_path / "it.ticket", case.build()).eval()(x), expected)


@every_variant
def test_modes_of_torch_and_the_dtype_of_scores_change_nothing(method, in_a_fresh_thread):
    # Scores in eighths are the same numbers in every dtype. A GemMiner or slot machine takes any.
    name, generator = "conv.weight", torch.Generator().manual_seed(0)
    weights = {name: method.frozen(ut.Source(1, name, (12, 8, 3, 3), torch.float32, ut.KaimingNormal()))}
    first = method.init_scores(torch.zeros(12, 8, 3, 3), generator)
    scores = {name: (torch.randn(first.shape, generator=generator) * 8).round() / 8}
    codes, effective = method.codes(weights, scores)[name], method.effective(weights, scores)[name]

    def in_mode(mode, dtype=torch.float32):
        converted = {name: scores[name].to(dtype)}
        with mode:
            return method.codes(weights, converted)[name], method.effective(weights, converted)[name]

    for mode in (torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), torch.inference_mode()):
        # A fresh thread: what inference mode leaves behind is another test's matter.
        again = in_a_fresh_thread(lambda mode=mode: in_mode(mode))
        assert torch.equal(again[0], codes) and torch.equal(again[1], effective)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert torch.equal(in_mode(torch.no_grad(), dtype)[0], codes), dtype


def _has_sparse_tensor_cores():
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


@pytest.mark.skipif(not _has_sparse_tensor_cores(), reason="needs a GPU that multiplies 2:4 matrices")
def test_two_of_four_is_what_the_hardware_takes():
    model = ut.mask_(torch.nn.Linear(128, 128, bias=False), ut.EdgePopup(structure=ut.NofM(2, 4)), seed=0)
    with ut.baked(model) as dense:
        weight = dense.weight.detach().half().cuda()
    packed = torch.sparse.to_sparse_semi_structured(weight)
    x = torch.randn(128, 64, device="cuda", dtype=torch.half)
    torch.testing.assert_close(packed.to_dense(), weight)
    torch.testing.assert_close(packed @ x, weight @ x, rtol=1e-2, atol=1e-2)


def test_every_method_says_where_it_comes_from():
    for name, cls in METHODS.items():
        assert getattr(ut, cls.__name__) is cls, f"{name} is not a public name"
        assert cls.__doc__, name
        if cls().learns and cls not in (ut.RelaxedBernoulli, ut.Nudge):
            paper = cls().paper
            assert paper is not None and paper.title and paper.source and paper.epochs > 0, name


@dataclasses.dataclass(frozen=True)
class Good(ut.Method):
    """edge-popup once more, for its broken children below."""

    keep: float = 0.5

    def init_scores(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return uniform_scores(weight, generator)

    def codes(self, weights, scores):
        return top_codes(scores, self.keep, together=False, signed=True)


@final
class Unfinished(Good):
    def codes(self, weights, scores):
        return {name: code.long() for name, code in super().codes(weights, scores).items()}


@final
class Inexact(Good):
    def effective(self, weights, scores):
        return {name: 1.0001 * weight for name, weight in super().effective(weights, scores).items()}


@final
class Leaky(Good):
    def decode(self, weight, codes):
        return weight * (codes + 1).to(weight.dtype)


@final
class Meddling(Good):
    def codes(self, weights, scores):
        codes = super().codes(weights, scores)
        for score in scores.values():
            score.detach().mul_(2)
        return codes


@final
class Careless(Good):
    def codes(self, weights, scores):
        return {name: (score.detach() > 0).to(torch.int8) for name, score in scores.items()}


@final
class Aliased(Good):
    def effective(self, weights, scores):
        return self.through(weights, scores, self.codes(weights, scores))

    def decode(self, weight, codes):
        return weight if bool(codes.all()) else super().decode(weight, codes)

    def codes(self, weights, scores):
        chosen = super().codes(weights, scores)
        return {name: torch.ones_like(code) for name, code in chosen.items()}


@final
class WithoutGradient(Good):
    def slope(self, weight, scores, codes):
        return torch.zeros_like(weight)


@final
class Global(Good):
    def init_scores(self, weight, generator):
        return torch.rand_like(weight)


@final
class Memorising(Good):
    def init_scores(self, weight, generator):
        return weight.clone()


@final
class Whimsical(Good):
    @property
    def samples(self):
        return True

    def sampled(self, weights, scores, noise):
        return {name: weight * torch.rand(()) for name, weight in weights.items()}


@final
class InMemoryOrder(Good):
    def codes(self, weights, scores):
        if any(score.isnan().any() for score in scores.values()):
            raise ValueError(", ".join(map(repr, scores)))
        return {
            name: (torch.arange(score.numel()) % 2).to(torch.int8).as_strided(score.shape, score.stride()).contiguous()
            for name, score in scores.items()
        }


class Open(Good):
    """Not final."""


BROKEN = {
    Unfinished: "int8 codes",
    Inexact: "bit for bit",
    Leaky: "code 0 for a dropped weight",
    Meddling: "changes no argument",
    Careless: "ValueError for NaN",
    Aliased: "in new memory",
    WithoutGradient: "not 0 everywhere",
    Global: "from the generator alone",
    Memorising: "use the weight's values",
    Whimsical: "the same from the same noise",
    InMemoryOrder: "every layout",
    Open: "@final",
}


@pytest.mark.parametrize(("broken", "says"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_law_is_noticed(broken, says):
    with pytest.raises(AssertionError, match=says):
        ut.testing.check_method(broken())


def test_only_methods_can_be_checked():
    with pytest.raises(TypeError, match="instance of a Method"):
        ut.testing.check_method(ut.EdgePopup)
