"""Check of the laws of a Method, for methods written elsewhere."""

from __future__ import annotations

import copy
import dataclasses
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from untrained.masking.advance import advance_, move_, penalty
from untrained.masking.bake import baked
from untrained.masking.mask import codes, mask_, scores
from untrained.methods.base import Method
from untrained.methods.schedules import Schedule
from untrained.testing.requirement import require, require_configuration, same_bits
from untrained.tickets.codec import entropy
from untrained.tickets.networks import load
from untrained.tickets.ticket import Ticket, save
from untrained.weights.laws import KaimingNormal
from untrained.weights.source import Source

_SHAPES = {"linear.weight": (10, 64), "conv.weight": (12, 8, 3, 3)}
_KINDS = ("first", "normal", "rounded", "equal")
Tensors = dict[str, Tensor]


def check_method(method: Method) -> None:
    """Check that a method keeps the laws of `untrained.Method`, on small random input, in about a second.

    Which of two equal scores wins cannot be seen from outside; all other laws are checked.

    Args:
        method: an instance, with any fields.

    Raises:
        AssertionError: a law is broken; the message names it.
        TypeError: `method` is no Method.

    Example:
        >>> ut.testing.check_method(ut.Dense())
    """
    if not isinstance(method, Method):
        raise TypeError(f"method must be an instance of a Method, got {method!r}")
    require_configuration(method, Method, method.at(1.0))
    for check in (
        _check_first_scores,
        _check_codes,
        _check_layouts,
        _check_nan,
        _check_gradients,
        _check_samples,
        _check_schedules,
        _check_ticket,
    ):
        check(method)


def _check_first_scores(method: Method) -> None:
    before = torch.get_rng_state()
    for shape in _SHAPES.values():
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            weight = torch.randn(shape, generator=_generator(1)).to(dtype)
            first, again = (method.init_scores(weight.clone(), _generator(7)) for _ in range(2))
            require(same_bits(first, again), method, "draws its first scores from the generator alone")
            require(first.dtype == dtype and not first.requires_grad, method, "has first scores of the weight's dtype")
            require(bool(first.isfinite().all()), method, "has finite first scores")
            other = method.init_scores(torch.zeros_like(weight), _generator(7))
            require(same_bits(first, other), method, "does not use the weight's values for its first scores")
    require(torch.equal(before, torch.get_rng_state()), method, "leaves torch's global generator alone")


def _check_codes(method: Method) -> None:
    shapes = _SHAPES | {"odd.weight": (5, 7), "empty.weight": (0, 4)}
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for kind in _KINDS:
            weights, its_scores = _problem(method, kind, dtype, shapes)
            copies = [{n: t.clone() for n, t in tensors.items()} for tensors in (weights, its_scores)]
            chosen, effective = method.codes(weights, its_scores), method.effective(weights, its_scores)
            require(list(chosen) == list(effective) == list(weights), method, "keeps the names in order")
            for name, shape in shapes.items():
                code, used = chosen[name], effective[name]
                require(code.dtype == torch.int8 and code.shape == shape, method, "has int8 codes, one per weight")
                decoded = method.decode(weights[name], code)
                alike = decoded.shape == shape and decoded.dtype == dtype
                require(alike, method, "decodes to the weight's shape, dtype")
                require(same_bits(used, decoded), method, "uses its decoded codes, bit for bit")
                require(not decoded[code == 0].any(), method, "has code 0 for a dropped weight, which is 0")
                fresh = {used.data_ptr(), decoded.data_ptr()}.isdisjoint({weights[name].data_ptr()} - {0})
                require(fresh, method, "gives effective weights in new memory")
            pairs = zip((weights, its_scores), copies, strict=True)
            unchanged = all(same_bits(t, copy_of[n]) for tensors, copy_of in pairs for n, t in tensors.items())
            require(unchanged, method, "changes no argument")


def _check_layouts(method: Method) -> None:
    before = torch.get_num_threads()

    def last(tensors: Mapping[str, Tensor]) -> Tensors:
        return {n: t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for n, t in tensors.items()}

    try:
        for kind in _KINDS:
            weights, its_scores = _problem(method, kind, torch.float32)
            chosen, effective = method.codes(weights, its_scores), method.effective(weights, its_scores)
            for threads, *again in ((1, weights, last(its_scores)), (2, last(weights), last(its_scores))):
                torch.set_num_threads(threads)
                codes_again, used = method.codes(*again), method.effective(*again)
                alike = all(torch.equal(chosen[n], codes_again[n]) and same_bits(effective[n], used[n]) for n in chosen)
                require(alike, method, "chooses the same for every layout and thread count")
    finally:
        torch.set_num_threads(before)


def _check_nan(method: Method) -> None:
    if not method.learns:
        return
    for name in _SHAPES:
        weights, its_scores = _problem(method, "normal", torch.float32)
        its_scores[name].view(-1)[-1] = math.nan
        for choose in (method.codes, method.effective):
            try:
                choose(weights, its_scores)
            except ValueError as error:
                require(repr(name) in str(error), method, f"names the tensor whose scores are NaN, not: {error}")
            else:
                require(False, method, "raises a ValueError for NaN scores")


def _check_gradients(method: Method) -> None:
    weights, its_scores = _problem(method, "normal", torch.float32)
    expected = method.effective(weights, its_scores)
    learning = {name: score.requires_grad_() for name, score in its_scores.items()}
    effective = method.effective(weights, learning)
    alike = all(same_bits(effective[name], expected[name]) for name in expected)
    require(alike, method, "chooses the same from scores that require a gradient")
    grads = {name: torch.randn(weight.shape, generator=_generator(3)) for name, weight in effective.items()}
    total = torch.stack([(weight * grads[name]).sum() for name, weight in effective.items()]).sum()
    if not method.learns:
        require(not total.requires_grad, method, "gives no gradient where it does not learn")
        return
    total.backward()
    for score in learning.values():
        grad = score.grad
        require(grad is not None and bool(grad.isfinite().all()), method, "gives every score a finite gradient")
        require(bool(grad.any()), method, "gives scores a gradient that is not 0 everywhere")  # pyright: ignore
    price = method.penalty(weights, learning)
    require(price is None or (price.ndim == 0 and bool(price.isfinite())), method, "has a penalty that is one number")


def _check_samples(method: Method) -> None:
    weights, its_scores = _problem(method, "first", torch.float32)
    before = torch.get_rng_state()
    first, again, other = (method.sampled(weights, its_scores, torch.tensor(noise)) for noise in (5, 5, 6))
    require(all(same_bits(first[n], again[n]) for n in first), method, "samples the same from the same noise")
    alike = all(same_bits(first[n], other[n]) for n in first)
    require(alike != method.samples, method, "samples differently from other noise, if and only if it `samples`")
    require(torch.equal(before, torch.get_rng_state()), method, "leaves torch's global generator alone")


def _check_schedules(method: Method) -> None:
    final, (weights, its_scores) = method.at(1.0), _problem(method, "normal", torch.float32)
    values = [getattr(final, field.name) for field in dataclasses.fields(final)]  # pyright: ignore
    require(not any(isinstance(value, Schedule) for value in values), method, "has no schedule left in the end")
    for name, code in method.at(0.0).codes(weights, its_scores).items():
        decoded = [moment.decode(weights[name], code) for moment in (method.at(0.0), final)]
        require(same_bits(*decoded), method, "decodes the same at every value of its schedules")


def _check_ticket(method: Method) -> None:
    def build() -> nn.Module:
        convolution = nn.Conv2d(4, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
        return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(16 * 36, 32))

    x = torch.randn(8, 4, 6, 6, generator=_generator(2))
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = mask_(build(), method, seed=3)
        optimizer = torch.optim.SGD(scores(model), lr=0.1) if method.learns else None
        for step in range(3):
            loss, price = model(x).square().mean(), penalty(model)
            if optimizer is not None:
                (loss if price is None else loss + price).backward()
                optimizer.step()
                optimizer.zero_grad()
            advance_(model, step + 1, 3)
        model.eval()
        with torch.no_grad(), baked(model) as dense:
            require(same_bits(model(x), dense(x)), method, "gives in evaluation the outputs of `baked`")
            path = Path(folder) / "checked.ticket"
            save(model, path)
            loaded = load(path, build()).eval()
            require(same_bits(dense(x), loaded(x)), method, "is loaded from its ticket bit for bit")
            again = mask_(build(), method, seed=3).eval()
            again.load_state_dict(copy.deepcopy(model.state_dict()))
            move_(again, 3, 3)
            alike = all(torch.equal(c, codes(again)[n]) for n, c in codes(model).items())
            require(alike, method, "has its whole state in the state_dict")
        for encoded in Ticket.load(path).encoded().values():
            least = entropy(encoded.counts) * sum(encoded.counts) / 8
            require(len(encoded.data) <= 1.01 * least + 16, method, "is stored within 1 % of its codes' entropy")


def _problem(
    method: Method, kind: str, dtype: torch.dtype, shapes: Mapping[str, tuple[int, ...]] = _SHAPES
) -> tuple[Tensors, Tensors]:
    """Return (frozen weights, scores) of tensors of these shapes."""
    weights, its_scores = {}, {}
    for number, (name, shape) in enumerate(shapes.items()):
        weights[name] = method.frozen(Source(1, name, shape, dtype, KaimingNormal()))
        first = method.init_scores(torch.zeros(shape, dtype=dtype), _generator(number))
        drawn = torch.randn(first.shape, generator=_generator(10 + number))
        drawn = {
            "first": first,
            "normal": drawn,
            "rounded": (2 * drawn).round() / 4,
            "equal": torch.full_like(drawn, -0.5),
        }[kind]
        its_scores[name] = drawn.to(dtype)
    return weights, its_scores


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
