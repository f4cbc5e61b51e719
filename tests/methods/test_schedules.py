"""Schedules against their formulas, in exact fractions where there are some; the rates that recipes make of them."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from any_methods import SCHEDULES
from untrained.methods.recipe import STEADY

VALUES = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-6, 1e6)
UNTIL = st.floats(1e-3, 1.0)
TIMES = st.floats(0, 1)
STEPS = st.integers(1, 40)
RAMPS = st.one_of(
    st.builds(ut.Linear, VALUES, VALUES, UNTIL),
    st.builds(ut.Cubic, VALUES, VALUES, UNTIL),
    st.builds(ut.Geometric, POSITIVE, POSITIVE, UNTIL, st.none() | STEPS),
)
SMOOTH = [ut.Linear, ut.Cubic, ut.Geometric]


def naive(schedule, progress):
    """The formula in the docstring."""
    start, end, way = Fraction(schedule.start), Fraction(schedule.end), Fraction(progress) / Fraction(schedule.until)
    way = min(way, Fraction(1))
    if isinstance(schedule, ut.Linear):
        return float(start + (end - start) * way)
    if isinstance(schedule, ut.Cubic):
        return float(end + (start - end) * (1 - way) ** 3)
    return math.exp(math.log(start) + float(way) * (math.log(end) - math.log(start)))


# --- the formulas ---


@given(VALUES, TIMES)
@settings(max_examples=20)
def test_a_constant_is_constant(value, progress):
    assert ut.Constant(value).at(progress) == value


@pytest.mark.parametrize("kind", SMOOTH)
@given(POSITIVE, POSITIVE, UNTIL, TIMES)
@settings(max_examples=32)
def test_a_ramp_is_its_formula(kind, start, end, until, progress):
    schedule = kind(start, end, until)
    assert schedule.at(progress) == pytest.approx(naive(schedule, progress), rel=1e-9, abs=1e-12 * max(start, end))


@given(RAMPS, TIMES)
@settings(max_examples=60)
def test_the_end_is_exact_and_kept(schedule, progress):
    for time in (schedule.until, max(progress, schedule.until), 1.0):
        assert schedule.at(time) == schedule.end


@pytest.mark.parametrize("kind", [ut.Linear, ut.Geometric])
@given(POSITIVE, POSITIVE, UNTIL, STEPS)
@settings(max_examples=24)
def test_the_start_is_exact(kind, start, end, until, steps):
    assert kind(start, end, until).at(0.0) == start
    if kind is ut.Geometric:
        jump = ut.Geometric(start, end, until, steps)
        assert jump.at(0.0) == start


# Of the latter three end + (start - end) is an ulp beside start.
@pytest.mark.parametrize(
    ("start", "end"), [(0.5, 0.05), (0.5, 0.1), (1.0, 0.01), (0.7043, 0.16248), (0.92111, 0.2), (0.08, 0.77)]
)
def test_the_start_of_a_cubic_is_exact(start, end):
    assert ut.Cubic(start, end).at(0.0) == start


@given(RAMPS, st.lists(TIMES, min_size=2, max_size=12))
@settings(max_examples=60)
def test_a_ramp_is_monotone_and_stays_between(schedule, times):
    values = [schedule.at(time) for time in sorted(times)]
    low, high = sorted([schedule.start, schedule.end])
    slack = 1e-12 * max(abs(low), abs(high), 1e-300)
    assert all(low - slack <= value <= high + slack for value in values)
    rising = schedule.end >= schedule.start
    assert all((b - a if rising else a - b) >= -slack for a, b in itertools.pairwise(values))


@given(SCHEDULES, TIMES)
@example(ut.Geometric(0.3, 1.0), 1 - 2**-53)
@settings(max_examples=60)
def test_shares_stay_shares(schedule, progress):
    # A keep an ulp above 1 would end a search in the middle.
    assert 0 < schedule.at(progress) <= 1


@given(POSITIVE, POSITIVE, UNTIL, STEPS)
@settings(max_examples=32)
def test_jumps_are_of_equal_ratios(start, end, until, steps):
    schedule = ut.Geometric(start, end, until, steps)
    between = [schedule.at(until * (jump + 0.5) / steps) for jump in range(steps)]
    assert between[0] == start
    ratio = (end / start) ** (1 / steps)
    for before, after in zip(between, [*between[1:], end], strict=True):
        assert after / before == pytest.approx(ratio, rel=1e-9)
    assert [schedule.at(until * (jump + 0.01) / steps) for jump in range(steps)] == between
    assert [schedule.at(until * (jump + 0.99) / steps) for jump in range(steps)] == between


# Of the latter two t/until·steps is an ulp below the whole number.
@pytest.mark.parametrize(("total", "step", "jumps"), [(10, 4, 5), (20, 8, 5), (25, 10, 5), (25, 2, 1), (100, 64, 8)])
def test_a_jump_comes_on_time(total, step, jumps):
    # Gem-Miner's: ten drops in the first four fifths, the first at t = until/steps.
    assert Fraction(step, total) / Fraction(4, 5) * 10 == jumps
    assert ut.Geometric(1.0, 0.1, until=0.8, steps=10).at(step / total) == pytest.approx(0.1 ** (jumps / 10))


@given(RAMPS)
@settings(max_examples=20)
def test_a_time_before_the_start_is_the_start(schedule):
    assert schedule.at(-0.5) == schedule.at(0.0)
    assert schedule.at(1.5) == schedule.end


def test_a_schedule_is_its_configuration():
    assert ut.Linear(0.5, 0.1) == ut.Linear(0.5, 0.1, until=1.0) != ut.Cubic(0.5, 0.1)
    assert len({ut.Linear(0.5, 0.1), ut.Linear(0.5, 0.1), ut.Cubic(0.5, 0.1)}) == 2


# --- what is refused ---

WRONG = {
    "until 0": (lambda: ut.Linear(1, 0, until=0), r"until must be in \(0, 1\], got 0"),
    "until below 0": (lambda: ut.Cubic(1, 0, until=-0.5), r"until must be in \(0, 1\], got -0.5"),
    "until above 1": (lambda: ut.Geometric(1, 0.5, until=1.5), r"until must be in \(0, 1\], got 1.5"),
    "until nan": (lambda: ut.Linear(1, 0, until=math.nan), "until must be finite, got nan"),
    "start nan": (lambda: ut.Linear(math.nan, 0), "start must be finite, got nan"),
    "end infinite": (lambda: ut.Cubic(1, -math.inf), "end must be finite, got -inf"),
    "geometric from 0": (lambda: ut.Geometric(0.0, 1.0), "start and end must be above 0, got 0.0 and 1.0"),
    "geometric to 0": (lambda: ut.Geometric(1.0, 0.0), "start and end must be above 0, got 1.0 and 0.0"),
    "geometric below 0": (lambda: ut.Geometric(-1.0, -0.5), "start and end must be above 0"),
    "no steps": (lambda: ut.Geometric(1.0, 0.5, steps=0), "steps must be 1 or more, got 0"),
    "steps below 0": (lambda: ut.Geometric(1.0, 0.5, steps=-3), "steps must be 1 or more, got -3"),
    "constant nan": (lambda: ut.Constant(math.nan), "finite"),
    "constant infinite": (lambda: ut.Constant(math.inf), "finite"),
    "constant of a word": (lambda: ut.Constant("x"), "value"),
    "half a step": (lambda: ut.Geometric(1.0, 0.5, steps=2.5), "steps"),
    "steps True": (lambda: ut.Geometric(1.0, 0.5, steps=True), "steps"),
    "an integer beyond floats": (lambda: ut.Linear(1, 10**400), "end is too large"),
    "a factor that is a number": (lambda: ut.Recipe(factor=0.5), "factor"),
    "nesterov without momentum": (lambda: ut.Recipe(nesterov=True, momentum=0.0), "nesterov"),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(make, said):
    with pytest.raises(ValueError, match=f"(?i){said}"):
        make()


@pytest.mark.parametrize("wrong", ["x", None, [1], {}])
def test_what_is_no_number_is_refused(wrong):
    for make in (lambda: ut.Linear(wrong, 1.0), lambda: ut.Cubic(1.0, wrong), lambda: ut.Linear(1.0, 0.5, wrong)):
        with pytest.raises(ValueError, match="must be of type float"):
            make()


# --- recipes ---

RECIPES = st.builds(
    ut.Recipe,
    st.sampled_from(["sgd", "adam"]),
    lr=st.floats(1e-4, 100),
    warmup=st.sampled_from([0.0, 0.3, 1.0, 2.0, 5.0, 1000.0]),
    cosine=st.sampled_from(["step", "epoch"]),
)
PLACES = st.tuples(st.integers(1, 30), st.integers(1, 50), st.floats(0, 0.999999), st.floats(0, 0.999999)).map(
    lambda p: (int(p[2] * p[0]), int(p[3] * p[1]), p[1], p[0])
)


def naive_rate(recipe, epoch, step, steps, epochs):
    """Warm-up and cosine without a factor, counted in steps (or epochs) instead of in time."""
    unit = steps if recipe.cosine == "step" else 1
    done, warm = (epoch * steps + step if recipe.cosine == "step" else epoch), min(recipe.warmup, epochs / 2) * unit
    if done < warm:
        return recipe.lr * min(1, (done + 1) / warm)
    return recipe.lr * math.cos(math.pi / 2 * (done - warm) / (epochs * unit - warm)) ** 2


@given(RECIPES, PLACES)
@settings(max_examples=80)
def test_rates_without_a_factor_are_warm_up_and_cosine(recipe, place):
    assert recipe.rate(*place) == pytest.approx(naive_rate(recipe, *place), rel=1e-9, abs=1e-9 * recipe.lr)


@given(RECIPES, SCHEDULES, PLACES)
@settings(max_examples=40)
def test_a_factor_is_all_there_is(recipe, factor, place):
    epoch, step, steps, epochs = place
    with_factor = ut.Recipe(recipe.optimizer, recipe.lr, warmup=recipe.warmup, cosine=recipe.cosine, factor=factor)
    assert with_factor.rate(*place) == recipe.lr * factor.at((epoch + step / steps) / epochs)
    assert ut.Recipe(lr=recipe.lr, factor=factor).rate(*place) == with_factor.rate(*place)


@given(PLACES)
@settings(max_examples=20)
def test_a_linear_factor_falls_step_by_step(place):
    epoch, step, steps, epochs = place
    left = 1 - (epoch * steps + step) / (epochs * steps)
    assert ut.Recipe(lr=3.0, factor=ut.Linear(1.0, 0.0)).rate(*place) == pytest.approx(3 * left, abs=1e-9)
    assert ut.Recipe(lr=3.0, factor=STEADY).rate(*place) == 3.0


def test_a_factor_of_one_step_falls_once():
    recipe = ut.Recipe("adam", lr=1e-4, factor=ut.Geometric(1.0, 0.1, steps=1, until=0.5))
    assert [recipe.rate(epoch, 0, 5, 4) for epoch in range(4)] == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_looks_ahead_only_if_asked(nesterov):
    recipe = ut.Recipe(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = recipe.build([parameter])
    assert optimizer.param_groups[0]["nesterov"] is nesterov
    value, speed = parameter.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for _ in range(5):
        optimizer.zero_grad()
        (parameter**4).sum().backward()
        optimizer.step()
        gradient = 4 * value**3 + 0.01 * value
        speed = 0.9 * speed + gradient
        value = value - 0.1 * (gradient + 0.9 * speed if nesterov else speed)
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-9, atol=1e-12)


def test_only_the_paper_of_signed_supermasks_looks_ahead():
    assert ut.SignedSupermask.paper.recipe.build([nn.Parameter(torch.ones(2))]).param_groups[0]["nesterov"] is True
    assert not any(recipe.nesterov for recipe in (ut.SCORES, ut.WEIGHTS, ut.PAPER))


def searched(folder, factor, epochs, *, resume=False):
    torch.manual_seed(0)
    data = [(torch.randn(4, 6), torch.arange(4) % 3) for _ in range(3)]
    model = ut.mask_(nn.Sequential(nn.Linear(6, 3)), ut.EdgePopup(0.5))
    return ut.fit(model, data, epochs=epochs, recipe=ut.Recipe(lr=0.1, factor=factor), out=folder, resume=resume)


def test_a_search_follows_the_factor(tmp_path):
    factor = ut.Linear(1.0, 0.2)
    recipe = ut.Recipe(lr=0.1, factor=factor)
    assert searched(tmp_path / "a", factor, 4).column("lr") == [recipe.rate(epoch, 2, 3, 4) for epoch in range(4)]


def test_a_search_is_not_resumed_with_another_schedule(tmp_path):
    searched(tmp_path / "a", ut.Linear(1.0, 0.2), 2)
    with pytest.raises(ValueError, match=r"factor|recipe|another"):
        searched(tmp_path / "a", ut.Cubic(1.0, 0.2), 2, resume=True)
