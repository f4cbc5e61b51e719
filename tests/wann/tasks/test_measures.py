"""Figures beside the reward: known answers, bounds, and the plain path against the compiled one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks import environments
from untrained.wann.tasks.by_name import ENVIRONMENTS
from untrained.wann.tasks.control import JitEnv
from untrained.wann.tasks.upright import upright
from wann_nets import random_net

TAME = ("linear", "gaussian", "tanh", "sigmoid")


def test_a_pole_of_known_angles():
    angle = np.concatenate([[np.pi], np.zeros(150), np.full(50, 2 * np.pi + 0.6), np.full(100, 4 * np.pi)])
    found = upright(angle, 0.01)
    expected = {"longest upright (s)": 1.5, "upright (s)": 2.5, "turns": 2.0, "upright at the end (%)": 100.0}
    assert found == pytest.approx(expected)
    assert upright(np.append(angle, np.pi), 0.01)["upright at the end (%)"] == 0.0
    assert upright(np.full(9, np.pi), 0.01) == pytest.approx(dict.fromkeys(expected, 0.0))


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=60))
def test_the_longest_stretch_is_within_the_total_and_that_within_the_episode(angles):
    found = upright(np.array(angles), 0.05)
    longest, total, turns, _ = found.values()
    assert 0 <= longest <= total <= 0.05 * (len(angles) - 1) + 1e-9 and turns <= 40 / (2 * np.pi)


def steered(measures=None):
    def reset(seed):
        np.random.seed(seed)  # noqa: NPY002  (numba has NumPy's legacy generator)
        return (np.random.normal(0.0, 0.3), np.random.normal(0.0, 0.3))  # noqa: NPY002

    def step(state, action):
        place, speed = 0.5 * state[0] + state[1], 0.5 * state[1] + 0.25 * min(max(action[0], -1.0), 1.0)
        return (place, speed), 1.0 - place * place, abs(place) > 0.6

    def observe(state):
        return (state[0], state[1], state[0] * state[1])

    return JitEnv(reset, observe, step, outputs=2, max_steps=5, measures=measures, name="steered")


def test_plain_python_records_the_same_states():
    task = steered()
    networks, seeds = Packed.of([random_net(k, activations=TAME, hidden=2, fan_in=3) for k in range(4)]), np.arange(3)
    shape = 4, len(WEIGHTS), 3
    fast, slow = np.full((*shape, 6, 2), -7.0), np.full((*shape, 6, 2), -7.0)
    rewards, lengths = task._play(networks, np.array(WEIGHTS), seeds, fast)
    task._play_plainly(networks, np.array(WEIGHTS), seeds, np.zeros(shape), np.zeros(shape, np.int64), slow)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    np.testing.assert_array_equal((fast[..., 0] != -7).sum(3), lengths + 1)
    np.testing.assert_array_equal(rewards, task._play(networks, np.array(WEIGHTS), seeds)[0])


def test_measures_are_means_over_the_episodes_of_the_rewards():
    task = steered(lambda states: {"steps": len(states) - 1, "paid": (1 - states[1:, 0] ** 2).sum()})
    networks = Packed.of([random_net(k, activations=TAME, hidden=2, fan_in=3) for k in range(3)])
    found = task.measures(networks, WEIGHTS, 2, reps=4)
    np.testing.assert_allclose(found["paid"], task.rewards(networks, WEIGHTS, 2, reps=4, part="test"))
    states = task.trajectory(networks.net(1), WEIGHTS[3], 2)
    assert found["steps"].shape == (3, 6)
    assert len(states) - 1 == task.measures(networks, WEIGHTS, 2)["steps"][1, 3]
    scores, both = task.scores_and_measures(networks, WEIGHTS, 2, reps=4)
    np.testing.assert_array_equal(scores, task.rewards(networks, WEIGHTS, 2, reps=4, part="test"))
    assert {name: values.tolist() for name, values in both.items()} == {n: v.tolist() for n, v in found.items()}
    assert task.identity() == steered().identity() and steered().measures(networks, WEIGHTS, 2) == {}
    torn = Packed.of([Net(3, 2, [11, 7, 1, 5], [0, 1, 2, 4, 5], [0, 4, 4, 5, 1])])  # infinity less infinity
    assert np.isnan(task.measures(torn, (1e200,), 0)["steps"]).all()
    with pytest.raises(ValueError, match="breaks down"):
        task.trajectory(torn.net(0), 1e200)


@pytest.mark.parametrize(
    "measures",
    [
        lambda s: 3.0,
        lambda s: {"a": None},
        lambda s: {"a": [1, 2]},
        lambda s: [("a", 1.0)],
        lambda s: {1: 2.0},
        lambda s: {"a": np.nan},
        lambda s: {"a": "b"},
        lambda s: s[9],
    ],
)
def test_measures_that_are_none_are_refused(measures):
    with pytest.raises(ValueError, match="steered: measures"):
        steered(measures)


def test_an_error_of_measures_is_named_wherever_it_comes_up():
    task = steered(lambda states: {"a": 1 / (len(states) - 3)})
    end = Packed.of([Net(3, 2, [1, 1], [0, 0, 0], [])])
    task.max_steps = 2
    with pytest.raises(ValueError, match="steered: measures raises ZeroDivisionError: division by zero"):
        task.measures(end, (1.0,), 0)
    other = steered(lambda states: {"a" if len(states) == 2 else "b": 1.0})
    with pytest.raises(ValueError, match="steered: measures must give the same names for every episode"):
        other.measures(end, (1.0,), 0)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@settings(max_examples=3)
@given(st.integers(0, 1000))
def test_every_environment_has_measures(name, seed):
    task = ENVIRONMENTS[name]()
    none = Packed.of([Net(task.inputs, task.outputs, [1] * task.outputs, [0] * (task.outputs + 1), [])])
    found = task.measures(none, (1.0,), seed, reps=2)
    assert found and all(np.isfinite(values).all() and values.shape == (1, 1) for values in found.values())
    assert task.most is None or task.rewards(none, (1.0,), seed) <= task.most


def test_a_pole_without_force_hangs():
    none = Packed.of([Net(5, 1, [1], [0, 0], [])])
    found = environments.swing_up().measures(none, (1.0,), 0, reps=20)
    assert found["longest upright (s)"] == 0 and found["turns"] < 0.5
