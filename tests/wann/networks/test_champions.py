"""The networks that come with the package: each has the scores that its file says, by a command that is one."""

import math
import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from untrained.cli.wann import app
from untrained.wann import best_shared, champions
from untrained.wann.numerics.jit import AVAILABLE
from untrained.wann.tasks.by_name import ENVIRONMENTS, task_named
from untrained.wann.tuning.columns import ensemble, four_columns, six_weights

DATA = Path(__file__).parents[4] / "shared" / "data"
ALL = champions()
FOUND = [name for name in ALL if not name.endswith("-tuned")]
# The logarithm that numba draws normal numbers with is the platform's, and episodes differ by its last bit.
SAME_BITS = sys.platform == "linux" and platform.machine() == "x86_64"
GYMNASIUM = {
    # id, output → action; Pendulum-v1 has no reward from which it is solved
    "cartpole": ("CartPole-v1", lambda out: int(out[0] > 0)),
    "acrobot": ("Acrobot-v1", lambda out: int(np.argmax(out))),
    "mountain-car": ("MountainCarContinuous-v0", lambda out: np.clip(out, -1, 1)),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_champion_has_the_scores_of_its_file(name):
    told = ALL[name].meta
    if told["task"] in ENVIRONMENTS and not AVAILABLE:
        pytest.skip("numba is not installed")
    if told["task"] == "mnist" and not (DATA / "MNIST").exists():
        pytest.skip("MNIST is not here")
    task, net, own = task_named(told["task"], DATA), ALL[name], ALL.get(f"{name}-tuned")
    seed, trials, shared = told["seed"], told["trials"], told["shared_weight"]
    columns = [six_weights(task, net, trials=trials, seed=seed)]
    columns += four_columns(task, net, own, shared=shared, trials=trials, seed=seed)
    assert len(columns) == (4 if own is None else 5)
    for column in columns:
        recorded = told[column.name]
        measured = {"mean": column.mean, "std": column.std, **column.measures}
        assert recorded.keys() == measured.keys()
        if SAME_BITS:
            assert {key: None if value is None else pytest.approx(value) for key, value in recorded.items()} == {
                key: value if math.isfinite(value) else None for key, value in measured.items()
            }
        else:
            assert abs(column.mean - recorded["mean"]) <= 0.6 * recorded["std"] + 0.01 * abs(recorded["mean"])
    assert ensemble(task, net) == pytest.approx(told["ensemble"])
    if SAME_BITS:
        assert best_shared(task, net, seed=seed) == shared


@pytest.mark.parametrize("name", FOUND)
def test_a_champion_says_how_it_was_found(name):
    net = ALL[name]
    assert net.meta["command"].startswith("untrained wann ") and net.meta["version"]
    _, bound, _ = app.parse_args(net.meta["command"].split()[2:])
    settings = bound.arguments["settings"]
    assert (settings.task, settings.seed, settings.trials) == tuple(net.meta[key] for key in ("task", "seed", "trials"))
    assert net.meta["validation"] == max(net.meta["searches"])
    own = ALL.get(f"{name}-tuned")
    if own is not None:
        assert net.weights is None and len(own.weights) == net.connections
        assert own.meta["command"] == net.meta["command"]
        for part in ("act", "src", "edge_ptr", "offset", "scale"):
            np.testing.assert_array_equal(getattr(own, part), getattr(net, part))


@pytest.mark.parametrize("name", sorted(GYMNASIUM.keys() & set(FOUND)))
def test_a_champion_solves_gymnasiums_own_environment(name):
    gymnasium = pytest.importorskip("gymnasium")
    ident, action = GYMNASIUM[name]
    env, net, rewards = gymnasium.make(ident), ALL[name], []
    for seed in range(10):
        seen, ended, total = env.reset(seed=seed)[0], False, 0.0
        while not ended:
            seen, reward, done, cut, _ = env.step(action(net(seen[None], net.meta["shared_weight"])[0]))
            total, ended = total + float(reward), done or cut
        rewards.append(total)
    assert np.mean(rewards) >= env.spec.reward_threshold, rewards
