"""Control tasks against naive loops, their sources and Gymnasium; and what users may do wrong.

A network that acts on what it caused makes chaos: one last bit grows until episodes differ. So rewards are compared
over episodes whose states do not depend on actions, where the difference is bounded by arithmetic; or over a few steps.
"""

# ruff: noqa: NPY002  (numba has NumPy's legacy generator)

import importlib.util
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.testing import check_task
from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.networks.released import read_champion
from untrained.wann.numerics import vector_math
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.numerics.vector_math import cos, tanh
from untrained.wann.tasks import environments
from untrained.wann.tasks.control import JitEnv
from untrained.wann.tasks.task import PARTS, part_seed
from wann_nets import error_bound, random_net

CHAMPIONS = Path(__file__).parents[4] / "shared" / "data" / "wann"
TAME = ("linear", "gaussian", "tanh", "sigmoid", "inverse", "abs", "relu")
needs_numba = pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")
LANES = [(1, 1), (7, 1), (4, 2), (3, 3), (6, 3), (6, 4), (5, 5)]


# ---- an environment that runs by itself: what a network does is paid for and changes nothing


def drift_reset(seed):
    np.random.seed(seed)
    return (np.random.normal(0.0, 1.0), np.random.uniform(-1.0, 1.0), np.floor(np.random.uniform(1.0, 14.0)))


def drift_observe(state):
    return (state[0], state[0] * state[1], state[1])


def drift_step(state, action):
    place, speed, left = state
    return (0.9 * place + speed, 0.8 * speed - 0.1 * place, left - 1.0), action[0] - 0.5 * action[1], left <= 1.0


# ---- and one that is steered


def steered_reset(seed):
    np.random.seed(seed)
    return (np.random.normal(0.0, 0.3), np.random.normal(0.0, 0.3))


def steered_observe(state):
    return (state[0], state[1], state[0] * state[1])


def steered_step(state, action):
    place, speed = state
    speed = 0.5 * speed + 0.25 * min(max(action[0], -1.0), 1.0)
    place = 0.5 * place + speed + 0.1 * min(max(action[1], -1.0), 1.0)
    return (place, speed), 1.0 - place * place, abs(place) > 0.6


def drift(max_steps=9):
    return JitEnv(drift_reset, drift_observe, drift_step, outputs=2, max_steps=max_steps, name="drift")


def steered(max_steps=5):
    return JitEnv(steered_reset, steered_observe, steered_step, outputs=2, max_steps=max_steps, name="steered")


def played(task, net, w, seed):
    """One episode, plainly: reward, how far that may be off, steps."""
    reset, observe, step = task._functions
    state, total, off, steps, ended = reset(int(seed)), 0.0, 0.0, 0, False
    while not ended and steps < task.max_steps:
        seen = np.array([observe(state)])
        action = net(seen, w)[0]
        off += error_bound(net, seen, w, 2.0**-50).sum() + 1e-15 * abs(action).sum()
        state, reward, ended = step(state, tuple(action.tolist()))
        total, steps = total + reward, steps + 1
    return total, off, steps


def oracle(task, nets, weights, seed, reps, part="train"):
    seeds = [(part_seed(seed, part) + rep) % 2**31 for rep in range(reps)]
    episodes = np.array([[[played(task, net, w, s) for s in seeds] for w in weights] for net in nets])
    return episodes[..., 0].mean(2), episodes[..., 1].mean(2), int(episodes[..., 2].sum())


@pytest.mark.parametrize(("count", "reps"), LANES)
@settings(max_examples=3)
@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=3), st.integers(0, 1000), st.sampled_from(PARTS))
def test_rewards_are_those_of_a_naive_loop(count, reps, net_seeds, seed, part):
    task, nets = drift(), [random_net(each) for each in net_seeds]
    weights = np.random.default_rng(seed).uniform(-2, 2, count)
    found = task.rewards(Packed.of(nets), tuple(weights), seed, reps=reps, part=part)
    expected, off, _ = oracle(task, nets, weights, seed, reps, part)
    assert found.shape == (len(nets), count)
    assert (~np.isfinite(off) | (abs(found - expected) <= off)).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("count", "reps"), LANES)
def test_tame_networks_agree_to_twelve_digits(count, reps, weighted):
    task = drift()
    nets = [random_net(each, weighted=weighted, activations=TAME, hidden=3, fan_in=3) for each in range(3)]
    weights = (*WEIGHTS, 0.3)[:count]
    expected, _, steps = oracle(task, nets, weights, 4, reps)
    found = task.rewards(Packed.of(nets), weights, 4, reps=reps)
    assert (abs(found - expected) <= 1e-12 * np.maximum(1, abs(expected))).all()
    assert task.steps(Packed.of(nets), weights, 4, reps=reps) == steps


def test_steered_episodes_agree_while_they_are_short():
    task = steered()
    nets = [random_net(each, activations=TAME, hidden=2, fan_in=3) for each in range(8)]
    expected, _, steps = oracle(task, nets, WEIGHTS, 1, 3)
    networks = Packed.of(nets)
    np.testing.assert_allclose(task.rewards(networks, WEIGHTS, 1, reps=3), expected, rtol=1e-12)
    assert task.steps(networks, WEIGHTS, 1, reps=3) == steps < 8 * 6 * 3 * 5  # some ended early, on their own


def test_plain_python_plays_the_same_episodes():
    task = steered()
    networks = Packed.of([random_net(each, activations=TAME, hidden=2, fan_in=3) for each in range(4)])
    seeds = np.arange(3)
    fast, lengths = task._play(networks, np.array(WEIGHTS), seeds)
    slow, slow_lengths = np.zeros(fast.shape), np.zeros(fast.shape, np.int64)
    task._play_plainly(networks, np.array(WEIGHTS), seeds, slow, slow_lengths)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    np.testing.assert_array_equal(lengths, slow_lengths)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 4))
def test_a_reward_does_not_depend_on_its_neighbours(seed, count, reps):
    # Steered, with any activation: to the last bit, so chaos is no excuse.
    task = steered(40)
    nets = [random_net(seed + i) for i in range(count)]
    networks = Packed.of(nets)
    whole = task.rewards(networks, WEIGHTS, 3, reps=reps)
    parts = [task.rewards(networks.part(i, i + 1), WEIGHTS, 3, reps=reps) for i in range(count)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    alone = [task.rewards(Packed.of([net]), WEIGHTS, 3, reps=reps)[0] for net in nets]
    np.testing.assert_array_equal(alone, whole)
    back = task.rewards(networks.chosen(range(count)[::-1]), WEIGHTS, 3, reps=reps)
    np.testing.assert_array_equal(back[::-1], whole)
    single = np.concatenate([task.rewards(networks, (w,), 3, reps=reps) for w in WEIGHTS], axis=1)
    np.testing.assert_array_equal(single, whole)


def test_an_output_that_is_no_number_makes_the_reward_none():
    task = steered(40)
    good = random_net(1, activations=TAME)
    # ∞ - ∞ at weight 1e200 only; an infinite output is no action either.
    torn = Net(3, 2, ids_of(["square", "inverse", "linear", "tanh"]), [0, 1, 2, 4, 5], [0, 4, 4, 5, 1])
    infinite = Net(3, 2, ids_of(["square", "square", "square"]), [0, 1, 2, 3], [0, 4, 1])
    found = task.rewards(Packed.of([good, torn, good, infinite]), (1.0, 1e200), 0, reps=3)
    assert np.isnan(found[[1, 3], 1]).all() and np.isfinite(found[:, 0]).all() and np.isfinite(found[[0, 2], 1]).all()
    np.testing.assert_array_equal(found[0], found[2])


@needs_numba
def test_two_finite_outputs_whose_sum_is_infinite_are_an_action():
    net = Net(3, 2, [1, 1], [0, 1, 2], [0, 0], [1e308, 1e308])
    assert np.isfinite(steered().rewards(Packed.of([net]), (1.0,), 0)).all()


@needs_numba
def test_a_step_after_whole_turns_is_the_same_in_search_and_afterwards():
    net = Net(3, 2, ids_of(["sin", "step", "linear"]), [0, 1, 2, 2], [0, 4])
    expected = oracle(drift(), [net], (1.0,), 0, 1)[0]
    np.testing.assert_allclose(drift().rewards(Packed.of([net]), (1.0,), 0), expected, rtol=1e-12)


def test_networks_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="networks must"):
        steered().rewards(Packed.of([Net(1, 1, [1], [0, 1], [1])]), (1.0,), 0)


# ---- the environments against their sources


def rod_on_a_cart(state, output):
    """The cart-pole by Lagrange's two equations, solved as such: a uniform rod of length l hinged to a cart."""
    x, speed, angle, spin, c, s = state
    g, cart, rod, length, friction, dt = 9.82, 0.5, 0.5, 0.6, 0.1, 0.01
    force = 10 * np.clip(output, -1, 1)
    masses = [[cart + rod, -rod * length / 2 * c], [-rod * length / 2 * c, rod * length**2 / 3]]
    forces = [force - friction * speed - rod * length / 2 * spin**2 * s, rod * g * length / 2 * s]
    pull, turn = np.linalg.solve(masses, forces)
    after = np.array([x + dt * speed, speed + dt * pull, angle + dt * spin, spin + dt * turn])
    after = np.append(after, (np.cos(after[2]), np.sin(after[2])))
    reward = (np.cos(after[2]) + 1) / 2 * np.cos(np.pi * after[0] / 4.8)
    return after, reward, abs(after[0]) > 2.4


def test_swing_up_is_a_rod_on_a_cart():
    task, rng = environments.swing_up(), np.random.default_rng(0)
    _, observe, step = task._functions
    ends = set()
    for _ in range(300):
        x, speed, angle, spin = rng.normal(size=4) * (1.4, 2, 3, 4)
        state = np.array([x, speed, angle, spin, np.cos(angle), np.sin(angle)])
        output = rng.normal() * 2
        after, reward, ended = step(tuple(state.tolist()), (output,))
        expected, expected_reward, expected_end = rod_on_a_cart(state, output)
        np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12)
        assert abs(reward - expected_reward) < 1e-12 and ended == expected_end
        assert observe(tuple(state.tolist())) == (x, speed, state[4], state[5], spin)
        ends.add(bool(ended))
    assert ends == {True, False} and task.max_steps == 1000


def test_swing_up_starts_hanging():
    states = np.array([environments.swing_up()._functions[0](seed) for seed in range(300)])
    starts, angles = states[:, :4], states[:, 2]
    np.testing.assert_allclose(states[:, 4:], np.stack([np.cos(angles), np.sin(angles)], 1), rtol=1e-12)
    np.testing.assert_allclose(starts.mean(0), [0, 0, math.pi, 0], atol=0.06)
    np.testing.assert_allclose(starts.std(0), 0.2, atol=0.03)
    # The stream of the authors' programs: NumPy's own, four draws at once.
    rng = np.random.RandomState(7)
    start = environments.swing_up()._functions[0](7)[:4]
    np.testing.assert_allclose(start, rng.normal((0, 0, np.pi, 0), 0.2), rtol=1e-15)


def gym_state(env, state):
    env.state = np.array(state)
    if hasattr(env, "steps_beyond_terminated"):
        env.steps_beyond_terminated = None


GYMNASIUM = {
    # our task, id, spread of states, least and greatest, output → action, tolerance
    "cartpole": ("CartPole-v1", (2, 2, 0.2, 2), lambda out: int(out[0] > 0), 1e-12),
    "pendulum": ("Pendulum-v1", (4, 5), lambda out: np.array([2 * out[0]]), 1e-12),
    "acrobot": ("Acrobot-v1", (2, 2, 5, 10), lambda out: int(np.argmax(out)), 1e-9),
    # Its state is float32.
    "mountain-car": ("MountainCarContinuous-v0", (0.6, 0.05), lambda out: np.array([out[0]]), 1e-6),
}
CLIPS = {"pendulum": (math.inf, 8), "acrobot": (math.pi, math.pi, 4 * math.pi, 9 * math.pi), "mountain-car": None}


@pytest.mark.parametrize("name", GYMNASIUM)
def test_a_step_is_that_of_gymnasium(name):
    gymnasium = pytest.importorskip("gymnasium")
    from untrained.wann.tasks.by_name import task_named

    ident, spread, action_of, tolerance = GYMNASIUM[name]
    task, made = task_named(name), gymnasium.make(ident)
    assert task.max_steps == made.spec.max_episode_steps
    env, rng, ends = made.unwrapped, np.random.default_rng(3), set()
    env.reset(seed=0)
    _, observe, step = task._functions
    for number in range(400):
        state = rng.normal(size=len(spread)) * spread
        if name == "mountain-car":
            state = np.array([rng.uniform(-1.2, 0.6), rng.uniform(-0.07, 0.07)]).astype(np.float32).astype(float)
            state = np.array([-1.2, -0.05]) if number % 10 == 0 else state
        elif name in CLIPS:
            state = np.clip(state, -np.array(CLIPS[name]), CLIPS[name])
        output = tuple((rng.normal(size=task.outputs) * 1.5).tolist())
        output = (0.25,) * task.outputs if number % 7 == 0 else output
        gym_state(env, state)
        seen, reward, ended, _, _ = env.step(action_of(output))
        after, found_reward, found_end = step(tuple(state.tolist()), output)
        np.testing.assert_allclose(observe(after), seen, rtol=1e-5, atol=1e-5)
        assert bool(found_end) == bool(ended)
        assert abs(found_reward - reward) <= 1e-9 * max(1, abs(reward))
        there = np.array(env.state, float)
        difference = abs(np.array(after) - there)
        if name == "acrobot":
            difference[:2] = np.minimum(difference[:2], abs(difference[:2] - 2 * math.pi))
        assert (difference <= tolerance * np.maximum(1, abs(there))).all()
        ends.add(bool(ended))
    assert ends == ({False} if name == "pendulum" else {True, False})


@pytest.mark.parametrize("name", GYMNASIUM)
def test_starts_are_spread_as_in_gymnasium(name):
    gymnasium = pytest.importorskip("gymnasium")
    from untrained.wann.tasks.by_name import task_named

    env = gymnasium.make(GYMNASIUM[name][0]).unwrapped
    theirs = []
    for seed in range(400):
        env.reset(seed=seed)
        theirs.append(np.array(env.state, float))
    ours = np.array([task_named(name)._functions[0](seed) for seed in range(400)])
    width = np.ptp(theirs, axis=0)
    np.testing.assert_allclose(ours.min(0), np.min(theirs, 0), atol=0.05 * width.max())
    np.testing.assert_allclose(ours.max(0), np.max(theirs, 0), atol=0.05 * width.max())


@needs_numba
def test_the_authors_champion_has_the_rewards_of_the_paper():
    path = CHAMPIONS / "swing.out"
    if not path.exists():
        pytest.skip("the authors' champions are not here")
    net = read_champion(path, 5, 1).replace(weights=None)
    grid = np.linspace(-2, 2, 81)
    rewards = environments.swing_up().rewards(Packed.of([net]), tuple(grid), 0, reps=100)[0]
    assert abs(rewards.max() - 707) < 15
    assert abs(rewards.mean() - 516) < 15


# ---- what users write


def one_reset(seed):
    np.random.seed(seed)
    return (1.0,)


def one_observe(state):
    return state


def one_step(state, action):
    return (0.5 * state[0],), action[0], False


ONE = Packed.of([Net(1, 1, [1], [0, 1], [1])])  # passes its input on: 1, 0.5, 0.25, …


def one(reset=one_reset, observe=one_observe, step=one_step, **options):
    return JitEnv(reset, observe, step, **{"outputs": 1, "max_steps": 3, **options})


def rewarded(task):
    return task.rewards(ONE, (1.0,), 0)[0, 0]


BAD = {
    "a state that is a number": {"reset": lambda seed: 1.0},
    "a state of text": {"reset": lambda seed: ("left",)},
    "no state": {"reset": lambda seed: None},
    "an observation that is a number": {"observe": lambda state: state[0]},
    "an observation of text": {"observe": lambda state: ("left",)},
    "a step of two": {"step": lambda state, action: (state, 1.0)},
    "a step of four": {"step": lambda state, action: (state, 1.0, False, {})},
    "no step": {"step": lambda state, action: None},
    "a longer state": {"step": lambda state, action: ((1.0, 2.0), 1.0, False)},
    "a shorter state": {"step": lambda state, action: ((), 1.0, False)},
    "an action that is too short": {"step": lambda state, action: (state, action[3], False)},
    "a reward of text": {"step": lambda state, action: (state, "much", False)},
    "rewards": {"step": lambda state, action: (state, (1.0, 2.0), False)},
    "too many parameters": {"step": lambda state, action, more: (state, 1.0, False)},
    "no function": {"step": 3},
    "an error": {"reset": lambda seed: math.sqrt(-1.0)},
    "no outputs": {"outputs": 0},
    "no steps": {"max_steps": 0},
    "names of other inputs": {"input_names": ("a", "b")},
}


@pytest.mark.parametrize("what", BAD)
def test_functions_that_do_not_fit_are_one_clear_error(what):
    with pytest.raises(ValueError, match="env: ") as caught:
        one(**BAD[what])
    assert "\n" not in str(caught.value)


NOT_CAUGHT = {
    "division by zero": {"step": lambda state, action: (state, 1.0 / 0.0 * action[0], False)},
    "an unknown key": {"step": lambda state, action: (state, {}["a"], False)},
    "an unknown name": {"step": lambda state, action: (state, undefined, False)},  # noqa: F821
    "an unknown attribute": {"step": lambda state, action: (state.place, 1.0, False)},
    "overflow": {"step": lambda state, action: (state, math.exp(1e4), False)},
    "a state of nothing": {
        "reset": lambda seed: (),
        "observe": lambda s: (1.0,),
        "step": lambda s, a: ((), 1.0, False),
    },
    "an observation of nothing": {"observe": lambda state: ()},
}


@pytest.mark.parametrize("what", NOT_CAUGHT)
def test_other_errors_of_the_functions_are_one_clear_error(what):
    with pytest.raises(ValueError, match="env: "):
        one(**NOT_CAUGHT[what])


def helper(x):
    return 2.0 * x


def step_with_a_helper(state, action):
    return state, helper(action[0]), False


@needs_numba
def test_a_task_is_made_without_compiling():
    before = [len(each.signatures) for each in (vector_math.sin, vector_math.cos, vector_math.tanh)]
    assert JitEnv(lambda seed: (cos(0.5),), lambda state: state, steps_with_library, outputs=1, max_steps=3).inputs == 1
    environments.swing_up()
    assert before == [len(each.signatures) for each in (vector_math.sin, vector_math.cos, vector_math.tanh)]


def steps_with_library(state, action, *, far=3.0):
    return (tanh(state[0]) + action[0],), 0.0, abs(state[0]) > far


@needs_numba
def test_what_numba_cannot_compile_is_one_clear_error():
    with pytest.raises(ValueError, match=r"env: .*helper"):
        rewarded(one(step=step_with_a_helper))


class Callable:
    def step(self, state, action):
        return state, action[0], False


@needs_numba
def test_a_method_is_refused_at_once_or_works():
    try:
        task = one(step=Callable().step)
    except ValueError:
        return
    rewarded(task)


def test_a_new_task_leaves_global_random_numbers_alone():
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    one()
    assert np.random.random() == expected


def closure(gain):
    def step(state, action):
        return (0.5 * state[0],), gain * action[0], False

    return step


def default(gain):
    def step(state, action, gain=gain):
        return (0.5 * state[0],), gain * action[0], False

    return step


@needs_numba
def test_closures_and_defaults_are_compiled_with_what_they_hold():
    def both(outer, inner):
        def step(state, action, inner=inner):
            return (0.5 * state[0],), outer * inner * action[0], False

        return step

    assert rewarded(one(step=both(1.5, 2.0))) == 5.25


@pytest.mark.parametrize("family", [closure, default])
def test_another_closure_is_another_task(family):
    assert one(step=family(1.0)).identity() != one(step=family(3.0)).identity()


def test_identity_is_of_functions_name_and_length():
    same = one().identity()
    assert same == one().identity() == one(step=one_step).identity()
    others = [
        one(max_steps=4),
        one(name="other"),
        one(step=lambda s, a: (s, a[0], False)),
        one(observe=lambda s: (s[0],)),
    ]
    assert all(other.identity() != same for other in others)


def short_reset(seed):
    np.random.seed(seed)
    return (np.floor(np.random.uniform(1.0, 4.0)),)


def short_step(state, action):
    if state[0] > 4.5:
        raise ValueError("a step after the end")
    if state[0] == 0.0:
        raise ValueError("a state that no episode has")
    return (state[0] + 1.0,), 1.0, state[0] + 1.0 > 4.5


@needs_numba
def test_no_state_is_stepped_that_no_episode_has_or_that_has_ended():
    task = one(short_reset, step=short_step, max_steps=20)
    assert np.isfinite(task.rewards(ONE, (1.0,), 0, reps=7)).all()


@needs_numba
def test_functions_that_are_compiled_already_work():
    import numba

    double = numba.njit(helper)
    reset, observe = numba.njit(one_reset), numba.njit(one_observe)
    step = numba.njit(lambda state, action: ((0.5 * state[0],), double(action[0]), False))
    task = one(reset, observe, step)
    assert rewarded(task) == 3.5
    assert task.inputs == 1


SOURCE = """
import numpy as np
from untrained.wann.tasks.control import JitEnv
{imports}
def reset(seed):
    np.random.seed(seed)
    return (1.0,)
def observe(state):
    return state
def step(state, action):
    return (0.5 * state[0],), {gain} * action[0], False
task = JitEnv(reset, observe, step, outputs=1, max_steps=3)
"""


def imported(path, name="an_environment"):
    sys.modules.pop(name, None)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_bytecode(monkeypatch):
    # Python's own .pyc goes by whole seconds and would give back the old module.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in ("an_environment", "its_constants"):
        sys.modules.pop(name, None)


@needs_numba
def test_a_changed_constant_is_compiled_anew(tmp_path, no_bytecode):
    path, found = tmp_path / "an_environment.py", []
    for gain in ("1.0", "3.0"):
        path.write_text(SOURCE.format(imports=f"GAIN = {gain}", gain="GAIN"))
        found.append(rewarded(imported(path).task))
    assert found == [1.75, 5.25]


CHANGES = {
    "a constant": ("GAIN = 1.0", "GAIN = 3.0", "GAIN"),
    "a constant of another module": ("from its_constants import GAIN", "from its_constants import GAIN", "GAIN"),
    "an attribute of another module": ("import its_constants", "import its_constants", "its_constants.GAIN"),
    "a helper": (
        "from untrained.wann.numerics.jit import inlined\n@inlined\ndef gain(x): return x",
        "from untrained.wann.numerics.jit import inlined\n@inlined\ndef gain(x): return 3.0 * x",
        "gain(1.0)",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_function_uses_is_part_of_its_identity(what, tmp_path, no_bytecode):
    # Compiled code is kept on disk under this digest, and checkpoints go by it.
    path, found = tmp_path / "an_environment.py", []
    before, after, gain = CHANGES[what]
    for imports, constant in ((before, 1.0), (after, 3.0)):
        (tmp_path / "its_constants.py").write_text(f"GAIN = {constant}\n")
        imported(tmp_path / "its_constants.py", "its_constants")
        path.write_text(SOURCE.format(imports=imports, gain=gain))
        found.append(imported(path).task.identity())
    assert found[0] != found[1]


def test_a_task_holds_the_laws_of_tasks():
    check_task(steered(40))


if AVAILABLE:
    import numba

    @numba.njit
    def compiled_reset(seed):
        np.random.seed(seed)
        return (1.0,)


@needs_numba
def test_a_task_of_compiled_functions_can_be_pickled():
    assert pickle.loads(pickle.dumps(one(compiled_reset))).identity() == one(compiled_reset).identity()
