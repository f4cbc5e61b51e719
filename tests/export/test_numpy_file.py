"""The file for numpy: torch's answers for every operation, method and law, and strange tickets refused."""

import ast
import io
import subprocess
import sys
import tokenize
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_reader import METHODS_AND_LAWS, NETWORKS, found
from torch import nn

import untrained as ut
from untrained import models
from untrained.export import to_numpy
from untrained.export.network import build_network


def loaded(path):
    names = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), names)
    return names


def check_answers(ticket, folder, model=None):
    """The written file gives torch's answers on a batch; return it."""
    to_numpy(ticket, folder / "found.py", None if model is None else model())
    ticket.save(folder / "found.ticket")
    network = build_network(ticket, None if model is None else model())
    file = loaded(folder / "found.py")
    x = torch.randn(3, *file["SHAPE"], generator=torch.Generator().manual_seed(2))
    expected = network(x).numpy()
    answer = file["load"](folder / "found.ticket")(x.numpy())
    assert np.abs(answer - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    return file


@pytest.mark.parametrize("name", NETWORKS)
def test_our_networks(name, tmp_path):
    check_answers(found(NETWORKS[name]()), tmp_path)


@pytest.mark.parametrize("name", sorted(METHODS_AND_LAWS.keys() - {"fifteenth"}))
def test_methods_and_laws(name, tmp_path):
    method, law = METHODS_AND_LAWS[name]
    check_answers(found(models.fc((20,), (1, 6, 6)), method, weights=law), tmp_path)


class Tutorial(nn.Module):
    """A network as tutorials write it: functions instead of layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.deep = nn.Conv2d(2, 6, 3, padding="same"), nn.Conv2d(6, 6, (3, 2), padding="same", groups=3)
        self.fc = nn.Linear(6 * 2 * 2, 5)

    def forward(self, x):
        x = F.leaky_relu(F.max_pool2d(self.conv(x), 2, ceil_mode=True), 0.2)
        x = F.avg_pool2d(F.gelu(self.deep(x)), 3, stride=2, padding=1)
        x = F.adaptive_avg_pool2d(torch.tanh(x), (2, 2))
        x = F.dropout(x.view(x.size(0), -1), training=self.training)
        return F.log_softmax(self.fc(x.reshape(x.shape[0], 24)), dim=1)


STRANGERS = {
    "tutorial": Tutorial,
    "dilated": lambda: nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 3), groups=2),
        nn.BatchNorm2d(4),
        nn.SELU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU6(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ),
    "normed": lambda: nn.Sequential(
        OrderedDict(
            first=nn.LayerNorm([2, 7, 7]),
            second=nn.LayerNorm(7, elementwise_affine=False),
            flat=nn.Flatten(),
            fc=nn.Linear(98, 12),
            activation=nn.SiLU(),
            norm=nn.LayerNorm(12),
            soft=nn.Softplus(2.0),
            bn=nn.BatchNorm1d(12, affine=False),
            gate=nn.Sigmoid(),
            cut=nn.Hardtanh(-0.5, 0.7),
            drop=nn.Dropout(),
            last=nn.Linear(12, 5),
        )
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", STRANGERS)
def test_networks_of_ones_own(name, tmp_path):
    ticket = found(STRANGERS[name](), also_train=r".*bias|norm\..*|first\..*", meta={"shape": [2, 7, 7]})
    with torch.no_grad():  # as if they had been trained
        for number, tensor in enumerate(t for t in ticket.extra.values() if t.is_floating_point() and t.ndim):
            tensor.add_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(number)))
    check_answers(ticket, tmp_path, STRANGERS[name])


def test_a_searched_ticket_of_bytes_that_contexts_code(tmp_path):
    data = ut.load_data("digits")
    model = ut.mask_(models.fc((40,), data.shape), ut.EdgePopup(0.3), seed=7)
    ut.fit(model, data.batches("train", 64), epochs=1)
    check_answers(ut.Ticket.of(model, {"mean": [0.3], "std": [0.4]}), tmp_path)


def test_the_file_runs_without_torch_and_says_what_it_sees(tmp_path):
    labels = [*"abcdefghi", "é '\"\\"]
    ticket = found(models.fc((6,), (1, 8, 8)), meta={"labels": labels, "mean": [0.3], "std": [0.4]})
    check_answers(ticket, tmp_path)
    images = ut.load_data("digits").test.images[torch.arange(3)]
    np.save(tmp_path / "images.npy", images.numpy())
    blocked = "import sys\nsys.modules |= dict.fromkeys(['torch', 'untrained', 'safetensors', 'jinja2'])\n"
    blocked += "import runpy\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-X", "utf8", "-c", blocked, "found.py", "found.ticket", "images.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    rows = build_network(ticket)((images.float() / 255 - 0.3) / 0.4).softmax(1)
    for number, (line, row) in enumerate(zip(done.stdout.splitlines(), rows, strict=True)):
        assert line.startswith(f"{number}  {labels[row.argmax()]} {row.max():.2%}, ")


def test_tickets_and_inputs_that_do_not_fit_are_refused(tmp_path):
    file = check_answers(found(models.fc((6,), (1, 8, 8)), meta={"mean": [0.3], "std": [0.4]}), tmp_path)
    good = (tmp_path / "found.ticket").read_bytes()
    others = {
        r"'fc1.weight' is \[7, 64\] in it, and \[6, 64\] in this file": found(models.fc((7,), (1, 8, 8))).to_bytes(),
        "'fc3.weight' is .* in it, and missing in this file": found(models.fc((6, 10), (1, 8, 8))).to_bytes(),
        "another network: {'arguments': .*'tanh'|'elu'": found(models.fc((6,), (1, 8, 8), activation="elu")).to_bytes(),
        "'fc1.weight' is not float32": found(models.fc((6,), (1, 8, 8)).double()).to_bytes(),
        "no ticket of format 2": ut.Ticket.from_bytes(good).to_bytes(1),
        "damaged: its contents do not have the hash": good[:-1] + bytes([good[-1] ^ 1]),
        "damaged: its contents": good[:-3],
        "no ticket of": b"",
    }
    for message, data in others.items():
        (tmp_path / "other.ticket").write_bytes(data)
        with pytest.raises(ValueError, match=message) as refused:
            file["load"](tmp_path / "other.ticket")
        assert str(refused.value).startswith(str(tmp_path / "other.ticket"))
    model = file["load"](tmp_path / "found.ticket")
    with pytest.raises(ValueError, match=r"expected a batch of shape \(n, 1, 8, 8\), got \(1, 8, 8\)"):
        model(np.zeros((1, 8, 8)))
    for pixels, message in [
        (np.zeros((3, 8, 8, 1)), r"of shape \[1, 8, 8\], or a batch of them, got \(3, 8, 8, 1\)"),
        (np.full((1, 8, 8), np.nan), "expected finite numbers"),
        (np.full((1, 8, 8), -1), "expected whole numbers 0…255 or floats 0…1, got -1…-1"),
        (np.full((1, 8, 8), 255.0), "expected whole numbers 0…255 or floats 0…1, got 255…255"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.normalise(pixels)


def test_the_file_is_short_and_names_in_it_are_data(tmp_path):
    def own():
        return nn.Sequential(OrderedDict({"a'\"\\\n\x1b é __import__('os')": nn.Linear(12, 3)}))

    check_answers(found(own(), meta={"shape": [12]}), tmp_path, own)
    text = (tmp_path / "found.py").read_text(encoding="utf-8")
    assert count_code(text[text.index("DICTIONARY = ") :]) <= 300 and len(text.splitlines()) < 400  # without the data


def count_code(text):
    """The lines of code, without docstrings."""
    kinds = tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in kinds]
    lines = {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            lines -= {*range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}
    return len(lines)
