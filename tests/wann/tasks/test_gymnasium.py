"""Gymnasium environments as tasks."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net

gymnasium = pytest.importorskip("gymnasium")

from untrained.wann.tasks.gymnasium_task import GymEnv, forward_rows  # noqa: E402
from untrained.wann.tasks.task import part_seed  # noqa: E402

ALL = tuple(range(1, 12))
# What numpy and the kernel round alike, so that whole episodes are equal to the last bit.
EXACT = (1, 2, 7, 8, 9)
SMOOTH = (1, 3, 4, 5, 6, 7, 8, 9, 10, 11)
HAS_BOX2D = importlib.util.find_spec("Box2D") is not None
needs_box2d = pytest.mark.skipif(not HAS_BOX2D, reason="needs gymnasium[box2d]")
CONTROL = {
    "CartPole-v1": (4, 2, 60, lambda out: int(np.argmax(out))),
    "Pendulum-v1": (3, 1, 60, lambda out: (2 * np.clip(out, -1, 1)).astype(np.float32)),
    "BipedalWalker-v3": (24, 4, 40, lambda out: np.clip(out, -1, 1).astype(np.float32)),
}
control = pytest.mark.parametrize(
    "id", [pytest.param(id, marks=needs_box2d if "Biped" in id else ()) for id in CONTROL]
)


def random_net(rng, inputs, outputs, kinds=SMOOTH, own=False):
    hidden = int(rng.integers(0, 8))
    sources = []
    for k in range(hidden + outputs):
        before = inputs + 1 + min(k, hidden)
        sources.append(rng.choice(before, rng.integers(0, min(before, 12) + 1), replace=False))
    edge_ptr, src = np.cumsum([0, *map(len, sources)]), np.concatenate(sources)
    weights = rng.normal(size=len(src)) if own else None
    return Net(inputs, outputs, rng.choice(kinds, hidden + outputs), edge_ptr, src, weights)


def random_nets(seed, count, inputs, outputs, kinds=EXACT):
    rng = np.random.default_rng(seed)
    return [random_net(rng, inputs, outputs, kinds) for _ in range(count)]


def outputs_of(nets, which, shared, observations):
    n = Packed.of(nets)
    out = np.empty((len(which), n.outputs))
    forward_rows(n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, which, shared, observations, out)
    return out


def answer(net, observation, w):
    # Twice, because numpy adds a single column pairwise, not in order.
    return net(np.array([observation, observation]), w)[0]


def episode(id, net, w, seed, **options):
    """The naive way: one environment, one episode, the network in numpy."""
    act = CONTROL[id][-1]
    env = gymnasium.make(id, **options)
    observation, total, over = env.reset(seed=seed)[0], 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(act(answer(net, observation, w)))
        total, over = total + float(reward), terminated or truncated
    env.close()
    return total


@pytest.mark.parametrize("kinds", [EXACT, SMOOTH])
@pytest.mark.parametrize("seed", range(6))
def test_rows_are_the_networks_and_do_not_depend_on_one_another(seed, kinds):
    rng = np.random.default_rng(seed)
    nets = [random_net(rng, 5, 3, kinds, own=seed % 2 == 1) for _ in range(6)]
    which, shared = rng.integers(0, 6, 40), rng.choice(WEIGHTS, 40)
    observations = rng.normal(size=(40, 5))
    out = outputs_of(nets, which, shared, observations)
    wanted = np.stack([answer(nets[p], x, w) for p, x, w in zip(which, observations, shared, strict=True)])
    assert np.abs(out - wanted).max() <= (0 if kinds == EXACT else 1e-12 * max(1, np.abs(wanted).max()))
    for r in range(3):
        rows = slice(r, r + 1)
        assert (outputs_of(nets, which[rows], shared[rows], observations[rows]) == out[rows]).all()


@control
def test_rewards_are_those_of_single_episodes(id):
    inputs, outputs, limit, _ = CONTROL[id]
    nets, weights = random_nets(3, 3, inputs, outputs), (-1.0, 0.5, 2.0)
    task = GymEnv(id, n_envs=4, max_steps=limit)
    assert (task.inputs, task.outputs, task.max_steps) == (inputs, outputs, limit)
    for part in ("train", "test"):
        first = part_seed(5, part)
        wanted = [
            [np.mean([episode(id, net, w, first + r, max_episode_steps=limit) for r in range(2)]) for w in weights]
            for net in nets
        ]
        got = task.rewards(Packed.of(nets), weights, 5, reps=2, part=part)
        assert got.dtype == np.float64
        assert np.array_equal(got, np.array(wanted))


@control
def test_neither_neighbours_nor_order_nor_n_envs_matter(id):
    inputs, outputs, limit, _ = CONTROL[id]
    packed = Packed.of(random_nets(4, 4, inputs, outputs, SMOOTH))
    weights = np.array([-2.0, 0.5, 1.0])

    def rewards(networks, weights, n_envs):
        return GymEnv(id, n_envs=n_envs, max_steps=2 * limit).rewards(networks, weights, 1, reps=2)

    whole = rewards(packed, weights, 32)
    assert np.array_equal(rewards(packed, weights, 1), whole)
    assert np.array_equal(rewards(packed.chosen([3, 1, 0]), weights[::-1], 5), whole[[3, 1, 0], ::-1])
    assert np.array_equal(rewards(packed.part(2, 3), weights[1:2], 7), whole[2:3, 1:2])


def test_reuse_keeps_environments_and_the_rewards():
    packed = Packed.of(random_nets(2, 3, 3, 1))
    new, kept = (GymEnv("Pendulum-v1", n_envs=4, max_steps=9, reuse=r) for r in (False, True))
    for seed in (0, 1):
        assert np.array_equal(kept.rewards(packed, WEIGHTS, seed), new.rewards(packed, WEIGHTS, seed))
        assert len(kept._idle) == 4 and not new._idle


def test_steps_counts_the_steps():
    task = GymEnv("Pendulum-v1", max_steps=7)
    assert task.steps(Packed.of(random_nets(0, 2, 3, 1)), [1.0, 2.0], 0, reps=3) == 2 * 2 * 3 * 7


class Probe(gymnasium.Env):
    """Counts what is made, stepped and closed, and rewards the action."""

    made = closed = 0
    actions = gymnasium.spaces.Box(-1, 1, (1,))
    sees = gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    def __init__(self, option=None):
        self.observation_space, self.action_space, self.steps = self.sees, self.actions, 0
        Probe.made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.over, self.steps = False, 0
        return self._see(), {}

    def step(self, action):
        assert not self.over and self.action_space.contains(action), (self.over, action)
        self.steps += 1
        self.over = self.steps == 5
        return self._see(), float(np.sum(action)), self.over, False, {}

    def close(self):
        Probe.closed += 1

    def _see(self):
        return np.ones(2, np.float32)


@pytest.fixture
def registered():
    """A function that registers a Probe with other spaces, and gives its id."""
    ids = []

    def register(limit=10, **attributes):
        ids.append(f"Probe{len(ids)}-v0")
        gymnasium.register(ids[-1], type("Probing", (Probe,), attributes), max_episode_steps=limit)
        return ids[-1]

    Probe.made = Probe.closed = 0
    yield register
    for id in ids:
        del gymnasium.registry[id]


def linear(inputs, outputs):
    """Every output is w times the first input."""
    return Net(inputs, outputs, np.ones(outputs), np.arange(outputs + 1), np.ones(outputs))


def test_outputs_become_actions(registered):
    low, high = np.array([-1.0, 0.0, -np.inf, 2.0]), np.array([1.0, 10.0, np.inf, np.inf])
    boxes = GymEnv(registered(actions=gymnasium.spaces.Box(low, high, dtype=np.float64)))
    packed = Packed.of([linear(2, 4)])
    # At w: clip(w), 5 + 5 clip(w), w, max(w, 2); five steps.
    assert boxes.rewards(packed, [0.5, -3.0, 4.0], 0).tolist() == [
        [5 * (0.5 + 7.5 + 0.5 + 2), 5 * (-1 + 0 - 3 + 2), 5 * (1 + 10 + 4 + 4)]
    ]
    choices = GymEnv(registered(actions=gymnasium.spaces.Discrete(3, start=7)))
    assert choices.outputs == 3
    assert choices.rewards(Packed.of([linear(2, 3)]), [1.0], 0).tolist() == [[35.0]]


def test_no_environment_is_stepped_in_vain_or_left_open(registered):
    task = GymEnv(registered(), n_envs=4)
    made = Probe.made
    assert Probe.closed == made == 2  # its spaces; and the first step of all, which shows what it returns
    assert task.steps(Packed.of([linear(2, 1)] * 3), [1.0, 2.0], 0, reps=3) == 18 * 5
    assert Probe.made == Probe.closed == made + 18


def test_a_broken_network_gets_nan_and_the_others_do_not(registered):
    square = Net(2, 1, [11], [0, 1], [1])
    task = GymEnv(registered(), n_envs=3)
    rewards = task.rewards(Packed.of([linear(2, 1), square, linear(2, 1)]), [0.5, 1e200, 1.0], 0, reps=2)
    assert np.array_equal(rewards, [[2.5, 5, 5], [1.25, np.nan, 5], [2.5, 5, 5]], equal_nan=True)
    assert Probe.made == Probe.closed


S = gymnasium.spaces


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"sees": S.Box(0, 255, (8, 8, 3), np.uint8)}, r"observations Box\(8, 8, 3\) of uint8"),
        ({"sees": S.Dict(a=S.Discrete(2))}, "observations Dict"),
        ({"sees": S.Tuple((S.Discrete(2),))}, "observations Tuple"),
        ({"sees": S.Discrete(4)}, "observations Discrete"),
        ({"actions": S.MultiDiscrete([2, 3])}, "actions MultiDiscrete"),
        ({"actions": S.MultiBinary(3)}, "actions MultiBinary"),
        ({"actions": S.Box(0, 9, (2,), np.int64)}, "actions Box.* of int64"),
        ({"actions": S.Box(-1, 1, (2, 2))}, r"actions Box\(2, 2\)"),
    ],
)
def test_unsupported_spaces_are_named(registered, attributes, found):
    with pytest.raises(ValueError, match=f"^Probe0-v0: spaces .*flat Box.*{found}") as caught:
        GymEnv(registered(**attributes))
    assert "\n" not in str(caught.value)
    assert Probe.made == Probe.closed


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("CartPoll-v1", "CartPoll-v1: no such environment.*Did you mean: `CartPole`"),
        ("CartPole-v9", "CartPole-v9: no such environment.*v1"),
        ("CartPole", "CartPole: no such environment.*Near it are CartPole-v1"),
        ("not an id", "not an id: no such environment"),
    ],
)
def test_an_unknown_id_is_one_line(id, message):
    with pytest.raises(ValueError, match=message) as caught:
        GymEnv(id)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_named(registered):
    with pytest.raises(ImportError, match=r"nowhere:Env-v0: No module named 'nowhere' .*PYTHONPATH"):
        GymEnv("nowhere:Env-v0")
    with pytest.raises(ValueError, match=r"CartPole-v1: cannot be made with wheels: .*wheels"):
        GymEnv("CartPole-v1", wheels=3)
    with pytest.raises(ValueError, match=r"backend.*'gymnasium'.*'envpool'"):
        GymEnv("CartPole-v1", backend="envpool")
    assert GymEnv("CartPole-v1", backend="auto").options == {}
    for name in ("n_envs", "max_steps"):
        with pytest.raises(ValueError, match=f"{name}.*0"):
            GymEnv("CartPole-v1", **{name: 0})
    endless = registered(limit=None)
    with pytest.raises(
        ValueError, match=r"may never end; give max_steps .--max-steps., or register it with max_episode_steps"
    ):
        GymEnv(endless)
    task = GymEnv(endless, max_steps=3, option=None)
    assert task.identity() == {
        "name": f"gym:{endless}",
        "max_steps": 3,
        "backend": "gymnasium",
        "reuse": False,
        "options": {"option": None},
    }
    assert task.rewards(Packed.of([linear(2, 1)]), [1.0], 0).tolist() == [[3.0]]
    with pytest.raises(ValueError, match=r"networks.*\(2, 1\).*\(5, 1\)"):
        task.rewards(Packed.of([linear(5, 1)]), [1.0], 0)
    with pytest.raises(ValueError, match=r"reps.*0"):
        task.rewards(Packed.of([linear(2, 1)]), [1.0], 0, reps=0)


def _sees(value, steps=0):
    """An observation of this value, from that step on."""
    return {"_see": lambda self: value if self.steps >= steps else np.ones(2, np.float32)}


def _returns(**changed):
    """A step that returns these instead of what it should."""

    def step(self, action):
        self.steps += 1
        usual = {"observation": self._see(), "reward": 1.0, "terminated": self.steps == 5, "truncated": False}
        return (*(usual | changed).values(), {})

    return {"step": step}


def _resets(answer):
    return {"reset": lambda self, *, seed=None, options=None: answer}


def _raises(call, error):
    def raising(self, *arguments, **options):
        raise error

    return {call: raising}


ONES = np.ones(2, np.float32)
FIVE = r"\(observation, reward, terminated, truncated, info\), got"
OLD = "interface of Gym before 0.26"
# fmt: off
MISFITS = [
    (_resets(ONES), rf"reset\(seed=0\): .*\(observation, info\), got an array .* \(2,\); .*{OLD}"),
    (_resets((0.1, 0.2)), rf"\(observation, info\), got a tuple of 2; .*{OLD}"),
    (_resets((ONES, {}, {})), r"\(observation, info\), got a tuple of 3"),
    (_resets(None), r"\(observation, info\), got None"),
    (_resets((None, {})), "observation .*2 numbers.*None"),
    (_resets((np.array([1, np.inf]), {})), r"reset\(seed=0\): observation 1 .*inf"),
    ({"step": lambda self, action: (ONES, 1.0, False, {})}, f"{FIVE} a tuple of 4; .*{OLD}"),
    ({"step": lambda self, action: None}, f"{FIVE} None"),
    (_sees(1.0), "observation .*2 numbers.*1.0"),
    (_sees(np.ones(1)), r"observation .*2 numbers.* an array of float64 and shape \(1,\)"),
    (_sees(np.ones((1, 2))), r"2 numbers.*shape \(1, 2\)"),
    (_sees(np.ones(3), 1), r"step\(\[0.0\]\), step 1 of seed 0: its observation .* \(3,\)"),
    (_sees(["1", "2"]), r"observation .*\['1', '2'\]"),
    (_sees(np.ones(2, complex)), "an array of complex128"),
    (_sees(np.ma.array([1.0, 2.0], mask=[True, False])), "observation .*2 numbers"),
    (_sees([1.0, [2.0, 3.0]]), "observation .*2 numbers"),
    (_sees(np.array([1.0, np.nan]), 1), "step 1 of seed 0: observation 1 .*nan"),
    (_returns(reward=None), "step 1 of seed 0: its reward .*None"),
    (_returns(reward=np.ones(2)), r"its reward .*an array of float64 and shape \(2,\)"),
    (_returns(reward="1.0"), "its reward .*'1.0'"),
    (_returns(reward=1j), "its reward .*1j"),
    (_returns(reward=np.float32("nan")), "its reward .*finite.*nan"),
    (_returns(reward=-np.inf), "its reward .*finite.*-inf"),
    (_returns(terminated=None), "its terminated .*None"),
    (_returns(terminated=0.5), "its terminated .*0.5"),
    (_returns(terminated="False"), "its terminated .*'False'"),
    (_returns(terminated=True, truncated={}), "its truncated .*{}"),
    (_returns(terminated=np.zeros(2, bool)), "its terminated .*an array of bool"),
    (_raises("__init__", AssertionError("no wheels")), "make raised AssertionError: no wheels"),
    (_raises("reset", KeyError("pole")), r"reset\(seed=0\) raised KeyError: 'pole'"),
    (_raises("step", RuntimeError("out of\norder")), r"step 1 of seed 0 raised RuntimeError: out of order"),
    (_raises("step", SystemExit("gone")), r"step 1 of seed 0 raised SystemExit: gone"),
    (_raises("close", TypeError("late")), "close raised TypeError: late"),
    ({"reset": lambda self: (ONES, {})}, "raised TypeError: .* its reset must take seed and options"),
    ({"reset": lambda self, seed=None: (ONES, {})}, "raised TypeError: .* its reset must take seed and options"),
]
# fmt: on


@pytest.mark.parametrize(("attributes", "message"), MISFITS)
def test_an_environment_that_does_not_fit_is_refused_in_one_sentence(registered, attributes, message):
    with pytest.raises(ValueError, match="^Probe0-v0: .*" + message) as caught:
        GymEnv(registered(**attributes))
    assert "\n" not in str(caught.value)
    assert " raised " not in message or caught.value.__notes__


@pytest.mark.parametrize("observation", [[1, 1], (1.0, True), np.ones(2, np.int8), np.ones(2, bool)])
@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.bool_(True), np.array(1.0), np.ones((1,)), [1.0]])
@pytest.mark.parametrize("over", [1, np.bool_(True), np.array(True), np.array([True])])
def test_answers_of_one_meaning_are_taken(registered, observation, reward, over):
    task = GymEnv(
        registered(**_sees(observation), **_returns(observation=observation, reward=reward, terminated=over)),
        backend="gymnasium",
    )
    assert task.rewards(Packed.of([linear(2, 1)]), [1.0], 0).tolist() == [[1.0]]


class Late(Probe):
    """Is in order at first, and at step 3 raises or shows what it is told to."""

    def __init__(self, shown=None):
        super().__init__()
        self.shown = shown

    def step(self, action):
        seen, reward, *rest = super().step(action)
        if self.steps == 3 and self.shown is None:
            raise RuntimeError("out of order")
        return np.full(2, self.shown) if self.steps >= 3 else seen, reward, *rest


LATE = [
    (None, r"step\(.*\), step 3 of seed \d+ raised RuntimeError: out of order"),
    (np.ones(3), r"step.* raised ValueError: could not broadcast"),
    (np.nan, r"step 3 of seed \d+: observation 0 .*nan"),
]


@pytest.mark.parametrize(("shown", "message", "workers"), [(*each, 1) for each in LATE] + [(*LATE[0], 2)])
def test_a_later_fault_is_named_and_all_is_closed(shown, message, workers):
    pytest.importorskip("joblib")
    from untrained.wann.evolution.workers import Evaluator

    gymnasium.register("Late-v0", Late, max_episode_steps=9, kwargs={"shown": shown})
    try:
        Probe.made = Probe.closed = 0
        task = GymEnv("Late-v0", n_envs=3)
        with pytest.raises(ValueError, match="^Late-v0: " + message) as caught, Evaluator(task, workers) as evaluator:
            evaluator.rewards(Packed.of([linear(2, 1)] * 8), WEIGHTS, 0)
        assert "\n" not in str(caught.value)
        assert shown is not None or "test_gymnasium.py, line" in caught.value.__notes__[0]
        assert Probe.made == Probe.closed
    finally:
        del gymnasium.registry["Late-v0"]


def test_where_actions_have_no_bounds_a_network_may_be_at_fault(registered):
    grows = {
        "actions": gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64),
        "step": lambda self, action: (np.full(2, action[0] * 1e200), float(action[0]), False, False, {}),
    }
    task = GymEnv(registered(**grows))
    assert np.isnan(task.rewards(Packed.of([linear(2, 1)]), [1e100, 2e100], 0)).all()


def test_an_environment_object_is_refused_with_what_to_pass():
    env, many = gymnasium.make("CartPole-v1"), gymnasium.make_vec("CartPole-v1", num_envs=2)
    for given, what in (
        (env, "'CartPole-v1'"),
        (many, "'CartPole-v1'"),
        (Probe(), "'module:Name-v0'"),
        (None, "'module:Name-v0'"),
    ):
        with pytest.raises(TypeError, match=f"id must be the id of an environment, got a .*{what}"):
            GymEnv(given)  # pyright: ignore
    env.close(), many.close()


def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (("bad_syntax", "def"), ("exits", "raise SystemExit(3)"), ("lacks", "import nothing_like_it")):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        with pytest.raises((ValueError, ImportError), match=f"^{name}:Odd-v0: .*") as caught:
            GymEnv(f"{name}:Odd-v0")
        assert "\n" not in str(caught.value) and "PYTHONPATH" not in str(caught.value)


def test_without_numba_it_is_the_same():
    code = (
        "import importlib.util as u, numpy as np, untrained\n"
        "find = u.find_spec; u.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a)\n"
        "from untrained.wann.numerics import jit\n"
        "assert not jit.AVAILABLE\n"
        "from untrained.wann.tasks.gymnasium_task import GymEnv\n"
        "from untrained.wann.networks.net import Net\n"
        "from untrained.wann.networks.batch import Packed\n"
        "net = Net(3, 1, range(1, 12), range(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])\n"
        "big = Net(3, 1, [11, 4], [0, 1, 2], [1, 4])\n"
        "task = GymEnv('Pendulum-v1', max_steps=20)\n"
        "print(*task.rewards(Packed.of([net, big]), [0.7, 1e300], 0).ravel())\n"
    )
    run = [sys.executable, "-W", "error", "-c"]
    plainly = subprocess.run([*run, code], capture_output=True, text=True)
    assert plainly.returncode == 0, plainly.stderr
    net = Net(3, 1, range(1, 12), range(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    big = Net(3, 1, [11, 4], [0, 1, 2], [1, 4])
    task = GymEnv("Pendulum-v1", max_steps=20)
    wanted = task.rewards(Packed.of([net, big]), [0.7, 1e300], 0).ravel()
    assert np.allclose(np.array(plainly.stdout.split(), float), wanted, rtol=1e-9, equal_nan=True)
    assert plainly.stderr == ""
