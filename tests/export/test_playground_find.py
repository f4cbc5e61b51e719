"""The playground's search is edge-popup as the library has it: choice, weights, one step, and 20 steps for ever."""

import json
import random
from pathlib import Path

import numpy as np
import torch
from find_in_node import digits, node

import untrained as ut
from untrained.selection.topk import keep_count, top

GOLDEN = Path(__file__).with_name("playground_find.json")


def test_the_choice_is_that_of_the_library(tmp_path):
    draw = random.Random(0)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-45, -1e-45, 3e38, -3e38, float(np.float32(0.1))]
    cases = []
    for _ in range(400):
        sizes = [draw.choice((1, 2, 7, 40)) for _ in range(draw.choice((1, 3)))]
        pool = draw.choice((values, values[:4], [draw.gauss(0, 1) for _ in range(99)]))
        scores = [[float(np.float32(draw.choice(pool))) for _ in range(size)] for size in sizes]
        cases.append(
            (scores, draw.choice((0.5, 0.07, 0.3, 1e-7, 1, round(draw.random(), 3) + 0.001)), draw.random() < 0.5)
        )
    found = node(
        """return given.cases.map(([scores, keep, signed]) => {
            const masks = scores.map((each) => new Uint8Array(each.length));
            const choice = new Choice(masks.reduce((sum, mask) => sum + mask.length, 0));
            return [choice.choose(scores.map((each) => Float32Array.from(each)), keep, signed, masks), lists(masks)];
        });""",
        tmp_path,
        cases=cases,
    )
    for (scores, keep, signed), (lowest, masks) in zip(cases, found, strict=True):
        tensors = [torch.tensor(each) for each in scores]
        expected = top(tensors, min(keep, 1.0), signed=signed)
        assert masks == [mask.int().tolist() for mask in expected]
        kept = torch.cat([t[mask] for t, mask in zip(tensors, expected, strict=True)])
        assert lowest == (kept if signed else kept.abs()).min().item()


def test_as_many_are_kept(tmp_path):
    draw = random.Random(1)
    keeps = [
        draw.choice((draw.random(), draw.randrange(1, 101) / 100, 10.0 ** -draw.randrange(9))) for _ in range(2000)
    ]
    cases = [(keep, draw.randrange(1, 10**6)) for keep in keeps]
    counts = node("return given.cases.map(([keep, n]) => keepCount(keep, n));", tmp_path, cases=cases)
    assert counts == [keep_count(keep, n) for keep, n in cases]


def one_step(weights, scores, x, y, masks, *, rate, signed, scores_learn=True):
    """Return scores (or weights) after a first step, in float64: forward, loss, gradients by the chain rule."""
    used = [w * m for w, m in zip(weights, masks, strict=True)]
    values = [x]
    for layer, w in enumerate(used):
        z = values[-1] @ w.T
        values.append(z if layer == len(used) - 1 else np.maximum(z, 0))
    p = np.exp(values[-1] - values[-1].max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    wanted = np.full_like(p, 0.05 / 10)
    wanted[np.arange(len(y)), y] += 0.95
    slope, moved = (p - wanted) / len(y), []
    for layer in reversed(range(len(used))):
        gradient = slope.T @ values[layer]
        if scores_learn:
            gradient = gradient * weights[layer] * (1 if signed else np.sign(scores[layer]))
        else:
            gradient = gradient + 1e-4 * weights[layer]
        moved.append((scores if scores_learn else weights)[layer] - rate * gradient)
        slope = (slope @ used[layer]) * (values[layer] > 0)
    return moved[::-1]


def test_a_step_is_that_of_the_equations(tmp_path):
    parts = digits()
    shapes = [(40, 64), (30, 40), (10, 30)]
    for number, (law, js_law, signed, scope) in enumerate([
        (ut.SignedConstant(), {}, False, "layer"),
        (ut.KaimingNormal(), {"name": "KaimingNormal"}, True, "global"),
        (ut.KaimingUniform(), {"name": "KaimingUniform"}, False, "global"),
        (ut.UnsignedConstant(), {"name": "UnsignedConstant"}, True, "layer"),
    ]):  # fmt: skip
        seed, keep = 2**64 - 1 - number, 0.3
        law_given = {"name": "SignedConstant", "fan": "in", "nonlinearity": "relu", "scaled": False} | js_law
        found = node(
            """const search = new Search(parts, settings({ ...given.set, seed: BigInt(given.seed) }));
            const before = lists(search.masks);
            search.advance();
            return { before, order: Array.from(search.order), rate: given.set.rate / search.stepsPerEpoch,
                     scores: lists(search.scores), twin: lists(search.twin), weights: lists(search.weights) };""",
            tmp_path,
            parts=parts,
            seed=str(seed),
            set={"law": law_given, "signed": signed, "scope": scope, "keep": keep, "rate": 2},
        )
        names = [f"fc{layer}.weight" for layer in (1, 2, 3)]
        source = {
            name: ut.Source(seed, name, shape, torch.float32, law) for name, shape in zip(names, shapes, strict=True)
        }
        start = {
            name: source[name].uniforms("scores") * np.float32(1 / np.sqrt(source[name].shape[1])) for name in names
        }
        twin = {name: source[name].uniforms("twin") * np.float32(1 / np.sqrt(source[name].shape[1])) for name in names}
        weights = [source[name].draw() for name in names]
        assert found["weights"] == [w.flatten().tolist() for w in weights]
        method = ut.EdgePopup(keep, scope=scope, signed=signed)
        masks = [code.numpy() for code in method.codes(dict(zip(names, weights, strict=True)), start).values()]
        assert found["before"] == [mask.flatten().tolist() for mask in masks]
        rows = found["order"][:64]
        assert sorted(found["order"]) == list(range(1147)) != found["order"]
        x = np.array(parts["train"]["images"]).reshape(-1, 64)[rows]
        y = np.array(parts["train"]["labels"])[rows]
        numbers = [w.double().numpy() for w in weights], [start[name].double().numpy() for name in names]
        expected = one_step(*numbers, x, y, masks, rate=2 / 18, signed=signed)
        for got, want in zip(found["scores"], expected, strict=True):
            assert np.abs(np.array(got) - want.flatten()).max() < 1e-5
        dense = [twin[name].double().numpy() for name in names]
        expected = one_step(dense, None, x, y, [1, 1, 1], rate=0.1 / 18, signed=signed, scores_learn=False)
        for got, want in zip(found["twin"], expected, strict=True):
            assert np.abs(np.array(got) - want.flatten()).max() < 1e-5


def test_twenty_steps_of_a_seed_stay_the_same(tmp_path):
    """To write them anew: PYTHONPATH=src:tests:tests/export python tests/export/test_playground_find.py"""
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == trajectory(tmp_path)


def trajectory(folder):
    return node(
        """const search = new Search(parts, settings({}));
        const rows = [];
        for (let k = 0; k < 20; k++) {
          search.advance();
          rows.push({ loss: +search.loss.toFixed(9), masks: hashOf(search.masks).slice(0, 16) });
        }
        const networks = [search.effective, search.randomEffective, search.twin];
        const accuracies = networks.map((each) => search.accuracy(each, "validation"));
        const scores = search.scores.map((each) => Array.from(each.subarray(0, 4), (s) => +s.toFixed(6)));
        return { rows, accuracies, scores };
        """,
        folder,
        parts=digits(),
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        GOLDEN.write_text(json.dumps(trajectory(Path(name)), indent=1) + "\n", encoding="utf-8")
