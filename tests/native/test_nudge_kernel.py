"""The effective weight of a nudge by the kernel against the codes, and the way back."""

import math

import pytest
import torch
from kernel_problems import KINDS, best, plainly, rng, same_bits

import untrained as ut
from untrained.native import choice as kernels

METHODS = [ut.Nudge(step, levels, around) for step, levels, around in ((2, 3, "weight"), (0.3, 63, "zero"))]


def decoded(method, weight, scores):
    return method.decode(weight, method.codes({"w": weight}, {"w": scores})["w"])


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("kind", [*KINDS, "halves"])
def test_weights_are_those_of_the_codes(kind, method, native, threads):
    for shape in ((1, 1), (3, 5), (129, 127), (0, 4), *([(300, 501)] if kind == "special" else [])):
        generator, n = rng(7), math.prod(shape)
        halves = torch.randint(-200, 201, (n,), generator=generator) / 2 * method.step / max(1, shape[1]) ** 0.5
        scores = (halves if kind == "halves" else KINDS[kind](n, generator)).view(shape)
        weight = KINDS["special" if kind == "special" else "normal"](n, generator).view(shape)
        expected = decoded(method, weight, scores)
        for number in (1, 2) if n > 100_000 else (1,):
            threads(number)
            own = method.effective({"w": weight}, {"w": scores.requires_grad_()})["w"]
            assert kernels.nudge(weight, scores.detach(), 1.0, 3) is not None
            assert same_bits(own, expected), shape
        assert same_bits(plainly(lambda w=weight, s=scores: method.effective({"w": w}, {"w": s})["w"]), expected)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("n", [3, 150_000])
def test_nan_is_refused_by_name(n, method, native, threads):
    threads(2)
    weight, scores = torch.ones(1, n), torch.full((1, n), math.inf)
    method.effective({"fc": weight}, {"fc": scores})
    for place in {0, n // 2, n - 1}:
        broken = scores.clone()
        broken[0, place] = math.nan
        for run in (lambda given: given(), plainly):
            with pytest.raises(ValueError, match="the scores of 'fc' hold NaN"):
                run(lambda broken=broken: method.effective({"fc": weight}, {"fc": broken}))


@pytest.mark.parametrize("method", METHODS, ids=str)
@best
def test_the_gradient_passes_as_it_is(method, native):
    weight, scores = torch.randn(40, 30, generator=rng()), torch.randn(40, 30, generator=rng(1)).requires_grad_()

    def back():
        effective = method.effective({"w": weight}, {"w": scores})["w"]
        (first,) = torch.autograd.grad((effective**3).sum(), scores, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), scores)
        return effective.detach(), first.detach(), second

    effective, first, second = back()
    torch.testing.assert_close(first, 3 * effective**2)
    torch.testing.assert_close(second, 36 * effective**3)
    assert second.ne(0).any() and all(map(same_bits, (effective, first, second), plainly(back)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("method", METHODS, ids=str)
@best
def test_other_layouts_and_dtypes_take_the_plain_path(method, dtype, native):
    weight, scores = (torch.randn(6, 8, 3, 3, generator=rng(seed)).to(dtype) for seed in (0, 1))
    weight[0] = -0.0
    scores[:, 0] *= 1e-6  # rounded to -0 and 0
    expected, flat = decoded(method, weight, scores), torch.channels_last
    for w, s in ((weight, scores), (weight.to(memory_format=flat), scores), (weight, scores.to(memory_format=flat))):
        assert same_bits(method.effective({"w": w}, {"w": s})["w"], expected)
