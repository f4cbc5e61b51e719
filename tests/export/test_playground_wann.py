"""Weight agnostic networks in JavaScript: values, physics, files and search, held to Python's."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from playground_node import run_wann

from untrained import wann
from untrained.wann.networks.activations import NAMES, ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.file import NetError, from_document, to_document
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.numerics.jit import interpreted
from untrained.wann.tasks.task import seeds_of
from wann_nets import big_net, random_net

_GOLDEN = Path(__file__).with_name("wann_search.json")
_READ = "const read = (text) => readNet(new TextEncoder().encode(text));\n"
# fmt: off
_JUNK = [None, True, 0, -1, 1.5, 2**70, "", "x", [], [0], ["x"], {}, {"a": 1}]
_LIES = [
    ("untrained-wann/1", "untrained-wann/2"), ('"inputs": 5', '"inputs": 5.0'),
    ('"inputs": 5', '"inputs": 5, "inputs": 5'),
    ('"outputs"', '"__proto__": {}, "outputs"'), ('"tanh"', '"softmax"'), ('"tanh"', '"constructor"'),
    ("[4]", "[6]"), ("[4]", "[-1]"), ("[4]", "[4"), ("[4]", "[NaN]"), ("[4]", "[1e999]"), ('"meta"', '"colour"'),
    ('"swingup"', '"\\ud800"'), ("{", ""), ("}", "}}"),
]
# fmt: on


def text_of(net):
    return json.dumps(to_document(net))


def test_values_are_those_of_python(tmp_path):
    every = wann.Net(1, 11, ids_of(NAMES), range(12), [1] * 11)
    nets = [every, *(random_net(seed, 5, 2, hidden=12) for seed in range(30)), big_net(1), big_net(2, weighted=True)]
    rng = np.random.default_rng(0)
    points = [rng.normal(size=(8, net.inputs)) * 10.0 ** rng.integers(-3, 2, (8, 1)) for net in nets]
    program = f"""{_READ} return given.map(([text, inputs, weights]) => {{
        const net = read(text);
        return inputs.map((x) => weights.map((w) => Array.from(valuesOfNet(net, x, w).slice(-net.outputs))));
    }});"""
    given = [[text_of(net), x.tolist(), WEIGHTS] for net, x in zip(nets, points, strict=True)]
    for net, x, found in zip(nets, points, run_wann(program, given, tmp_path), strict=True):
        values, expected = np.array(found, float), np.moveaxis(net(x, WEIGHTS), 0, 1)
        known = np.abs(expected) < 1e6  # of squares of squares the last digits are nobody's
        assert known.mean() > 0.8
        assert np.abs(values - expected)[known] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("task", [wann.swing_up(), wann.cart_pole()], ids=["swingup", "cartpole"])
def test_a_thousand_steps_are_those_of_python(task, tmp_path):
    reset, _, step = task._functions
    step, rng = interpreted(step), np.random.default_rng(1)
    actions, states, rewards, ends = rng.normal(size=1000).tolist(), [reset(3)], [], []
    for action in actions:
        state, reward, end = step(states[-1], (action,))
        states.append(state)
        rewards.append(reward)
        ends.append(bool(end))
    program = """
        const env = wannEnvironments[given.task], state = Float64Array.from(env.completed(given.start));
        const [total, ended] = [new Float64Array(1), new Uint8Array(1)];
        return given.actions.map((action) => {
            total[0] = 0;
            env.step(state, [action], 0, total, ended, 1, 1);
            return [...state, total[0], ended[0]];
        });"""
    found = run_wann(program, {"task": task.name, "start": states[0], "actions": actions}, tmp_path)
    expected = np.column_stack([states[1:], rewards, ends])
    assert any(ends) and np.abs(np.array(found) - expected).max() < 1e-9


@pytest.mark.parametrize("task", [wann.swing_up(), wann.cart_pole()], ids=["swingup", "cartpole"])
def test_episodes_earn_what_they_do_in_python(task, tmp_path):
    nets = [random_net(seed, task.inputs, 1, hidden=8, activations=NAMES[:10]) for seed in range(12)]
    seeds = seeds_of(0, "test", 3)
    starts = [task._functions[0](int(seed)) for seed in seeds]
    program = f"""{_READ} const env = wannEnvironments[given.task];
        const starts = Float64Array.from(given.starts.flatMap((start) => env.completed(start)));
        return given.nets.map((text) => rewardsOf({{ net: read(text), starts }}, env, given.weights).rewards);"""
    given = {"task": task.name, "starts": starts, "nets": list(map(text_of, nets)), "weights": WEIGHTS}
    expected = task.rewards(Packed.of(nets), WEIGHTS, 0, reps=3, part="test")
    found = np.array(run_wann(program, given, tmp_path))
    assert len(np.unique(expected)) > 10 and found == pytest.approx(expected, rel=1e-9)


def test_files_go_there_and_back(tmp_path):
    nets = [big_net(3, weighted=True), random_net(5, weighted=False)]
    nets.append(random_net(7, 5, 1, weighted=True).replace(meta={"a": [1, 1.0, None, True, {"é": "<"}], "b": 1e-300}))
    paths = [tmp_path / f"{number}.json" for number in range(len(nets))]
    for net, path in zip(nets, paths, strict=True):
        net.save(path)
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert run_wann(f"{_READ} return given.map((text) => writeNet(read(text)));", texts, tmp_path) == texts


def outcome(text):
    try:
        return from_document(json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)) is not None
    except (ValueError, RecursionError):
        return False


def _once(pairs):
    if len(dict(pairs)) < len(pairs):
        raise NetError("twice")
    return dict(pairs)


def _refuse(text):
    raise NetError(text)


def test_hostile_files_are_refused_in_a_sentence(tmp_path):
    net = wann.Net(5, 1, ids_of(["tanh", "linear"]), [0, 1, 3], [4, 6, 0], meta={"task": "swingup"})
    document = to_document(net)
    texts = [json.dumps(document).replace(was, then, 1) for was, then in _LIES]
    for junk in _JUNK:
        texts += [json.dumps(junk), *(json.dumps(document | {key: junk}) for key in [*document, "offset", "labels"])]
        for place in [(0,), (0, 0), (0, 1), (0, 1, 0)]:
            changed = copy.deepcopy(document)
            *outer, last = ("nodes", *place)
            target = changed
            for step in outer:
                target = target[step]
            target[last] = junk
            texts.append(json.dumps(changed))
    texts += [json.dumps(document)[:length] for length in range(0, 150, 7)] + ["[" * 10**5, "9" * 10**5]
    program = f"""{_READ} return given.map((text) => {{
        try {{ read(text); return [true, ""]; }}
        catch (error) {{ return [false, `${{error.name}} ${{error.message}}`]; }}
    }});"""
    found = run_wann(program, texts, tmp_path)
    for text, (taken, message) in zip(texts, found, strict=True):
        assert taken == outcome(text), (text[:200], message)
        assert taken or message.startswith("NetError This file holds no network that this page can run: "), message
        assert len(message) < 400
    assert {taken for taken, _ in found} == {True, False}


def test_twenty_generations_are_those_that_were_recorded(tmp_path):
    program = """
        const search = new WannSearch({ env: wannSwingUp, population: 48, reps: 2, seed: 7n });
        // Played in another order than asked, as Workers do.
        for (let i = 0; i < 20; i++) {
            const found = search.ask().map((each) => [each, null]);
            for (const each of found.toReversed()) each[1] = rewardsOf(each[0], search.env, search.weights).rewards;
            search.tell(found.map(([, rewards]) => rewards));
        }
        return { rows: search.rows, best: writeNet(search.best.net) };"""
    found = run_wann(program, None, tmp_path)
    golden = json.loads(_GOLDEN.read_text(encoding="utf-8"))
    assert found["best"].splitlines() == golden["best"]
    assert [row["mean"] for row in found["rows"]] == pytest.approx(golden["means"], rel=1e-12)
    means = golden["means"]
    assert len(means) == 20 and max(means) > means[0] + 50
    (tmp_path / "net.json").write_text(found["best"], encoding="utf-8")
    rewards = wann.swing_up().rewards(Packed.of([wann.Net.load(tmp_path / "net.json")]), WEIGHTS, 0, reps=64)[0]
    assert math.isclose(rewards.mean(), np.mean(found["rows"][-1]["rewards"]), rel_tol=0.15)


def test_genomes_stay_networks(tmp_path):
    """After many mutations every network is feed-forward, and every node has a way to an output."""
    program = """
        const words = wordsOf(3n, "test"), env = { inputs: 5, outputs: 2 };
        let count = 0;
        const uniform = () => words(0, count++) / 2 ** 32;
        return Array.from({ length: 20 }, () => {
            let genome = firstGenome(env, uniform);
            for (let i = 0; i < 60; i++) genome = childOf(genome, env, uniform);
            const pairs = new Set(Array.from(genome.src, (source, e) => `${source} ${genome.dst[e]}`));
            return [writeNet(networkOf(genome, env)), genome.src.length - pairs.size];
        });"""
    sizes = []
    for number, (text, twice) in enumerate(run_wann(program, None, tmp_path)):
        path = tmp_path / f"{number}.json"
        path.write_text(text, encoding="utf-8")
        net = wann.Net.load(path)
        assert set(range(6, 6 + len(net.act) - 2)) <= set(net.src.tolist()) and twice == 0
        sizes.append(net.connections)
    assert len(set(sizes)) > 5
