"""A found network in other formats: the same tensors, the same answers, and errors that say what is missing."""

import json
import re
from html.parser import HTMLParser

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

import untrained as ut
from untrained import models
from untrained.export import to_html, to_numpy, to_onnx, to_safetensors, to_torch
from untrained.export.browser.program import write_program
from untrained.tickets.networks import rebuild


def found(model, method=None, meta=None, **mask):
    return ut.Ticket.of(ut.mask_(model, method or ut.EdgePopup(0.5), seed=3, **mask), meta)


def own_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


NETWORKS = {
    "fc": lambda: models.fc((30, 20), (1, 8, 8)),
    "conv2": lambda: models.conv2(0.1, (3, 16, 16)),
    "mnist-conv": lambda: models.mnist_conv((1, 12, 12)),
    "norm": lambda: models.mnist_conv((1, 12, 12), norm="batch"),
    "resnet18": lambda: models.resnet18(0.06, (3, 16, 16), folded=True),
}


def facts_of(path):
    text = path.read_text()
    return json.loads(re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.S)[1])  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize("name", NETWORKS)
def test_plain_tensors_are_the_network(name, tmp_path):
    ticket = found(NETWORKS[name]())
    to_safetensors(ticket, tmp_path / "a.safetensors")
    to_torch(ticket, tmp_path / "a.pt")
    expected = ticket.apply_(rebuild(ticket)).state_dict()
    for state in (
        safetensors.torch.load_file(tmp_path / "a.safetensors"),
        torch.load(tmp_path / "a.pt", weights_only=True),
    ):
        rebuild(ticket).load_state_dict(state)
        assert all(torch.equal(state[key], value) for key, value in expected.items())


def test_plain_tensors_of_a_model_of_ones_own(tmp_path):
    ticket = found(own_model())
    to_safetensors(ticket, tmp_path / "a.safetensors")
    plain = own_model()
    plain.load_state_dict(safetensors.torch.load_file(tmp_path / "a.safetensors"))
    x = torch.randn(4, 12)
    assert torch.equal(plain(x), ticket.apply_(own_model())(x))


def test_a_pretrained_base_must_be_passed(tmp_path):
    ticket = found(own_model(), weights=None)
    for write in (to_safetensors, to_torch, to_onnx):
        with pytest.raises(ut.TicketError, match="pretrained model: pass that model"):
            write(ticket, tmp_path / "a")
    for write in (to_html, to_numpy):
        with pytest.raises(ut.TicketError, match="which a reader in"):
            write(ticket, tmp_path / "a.html")
    to_torch(ticket, tmp_path / "a.pt", own_model())
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert torch.equal(state["1.weight"], ticket.apply_(own_model()).get_parameter("1.weight"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("change", ["hook", "forward"])
def test_a_page_does_not_leave_out_what_was_hung_on_a_layer(change, tmp_path):
    model = own_model()
    ticket = found(own_model(), meta={"shape": [12]})
    layer = model[1]
    if change == "hook":
        layer.register_forward_hook(lambda *given: 2 * given[2])
    else:
        vars(model[1])["forward"] = lambda x, forward=model[1].forward: 2 * forward(x)
    with pytest.raises(ut.TicketError, match="a hook or another forward on the layer '1'"):
        to_html(ticket, tmp_path / "a.html", model)


def test_the_default_digits_page_is_small_and_has_one_of_everything(tmp_path):
    data = ut.load_data("digits")
    meta = {"data": "digits", "labels": list(data.labels), "shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}
    to_html(found(models.fc((300, 100), (1, 8, 8)), meta=meta), tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size <= 112_000
    text = (tmp_path / "a.html").read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert len(facts_of(tmp_path / "a.html")["examples"]["labels"]) == 10


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def test_hostile_meta_stays_text(tmp_path):
    hostile = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--<script>", "&lt;", "\u2028x"]
    plain = [f"c{i}" for i in range(5)]
    parsed = []
    for labels, data in ((plain, "digits"), (hostile, "</title><script>alert(1)</script>\ud800")):
        meta = {"labels": labels, "data": data, "shape": [1, 4, 4]}
        to_html(found(models.fc((6,), (1, 4, 4), 5), meta=meta), tmp_path / "a.html")
        parsed.append(Elements((tmp_path / "a.html").read_text()).tags)
        assert facts_of(tmp_path / "a.html")["labels"] == labels
    assert parsed[0] == parsed[1]


def test_a_class_without_a_name_has_its_number(tmp_path):
    labels = ["a", "", " \n", "\ud800", "class 1"]
    to_html(found(models.fc((6,), (1, 4, 4), 5), meta={"labels": labels}), tmp_path / "a.html")
    assert facts_of(tmp_path / "a.html")["labels"] == ["a", "class 1", "class 2", "\ud800", "class 1"]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"labels": ["a"]}, "meta.labels must be 10 labels, one per output of the network, got 1"),
        ({"labels": "abc"}, "meta.labels must be a list of strings, got abc"),
        ({"shape": [1, -8]}, "meta.shape must be a list of sizes"),
        ({"shape": [1, 3, 3]}, "cannot be traced for an input of shape"),
        ({"mean": ["a"]}, "meta.mean must be a list of numbers"),
        ({"std": [0]}, "meta.std must be 1 numbers, a std above 0"),
    ],
)
def test_meta_that_does_not_fit_is_named(meta, message, tmp_path):
    with pytest.raises(ut.TicketError, match=re.escape(message)):
        to_html(found(models.fc((6,), (1, 8, 8)), meta=meta), tmp_path / "a.html")
    assert not list(tmp_path.iterdir())


def test_a_page_names_what_it_cannot_run(tmp_path):
    path = tmp_path / "a.html"
    with pytest.raises(ut.TicketError, match="it does not describe its network; pass a freshly built model"):
        to_html(found(own_model()), path)
    with pytest.raises(ut.TicketError, match=re.escape("meta.shape must be a list of sizes such as [1, 28, 28]")):
        to_html(found(own_model()), path, own_model())
    to_html(found(own_model(), meta={"shape": [12]}), path, own_model())
    assert facts_of(path)["kind"] == "numbers"
    shrunk = nn.Sequential(nn.Flatten(), nn.Linear(12, 8, bias=False), nn.Softshrink(), nn.Linear(8, 3, bias=False))
    ticket, model = found(shrunk, meta={"shape": [12]}), ut.bake_(shrunk)
    double = found(models.fc((6,), (1, 8, 8)).double())
    for write, language in ((to_html, "JavaScript"), (to_numpy, "numpy")):
        with pytest.raises(ut.TicketError, match=re.escape("no operation for Softshrink (layer '2')")):
            write(ticket, path, model)
        with pytest.raises(ut.TicketError, match=f"'fc1.weight' is torch.float64; a reader in {language} reads"):
            write(double, path)


class Random(nn.Module):
    """A layer that forgets to say that it is evaluated."""

    def forward(self, x):
        return F.dropout(x.flatten(1))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten()], "padding of mode 'circular'"),
        ([nn.AdaptiveAvgPool2d(5), nn.Flatten()], "from [8, 8] to [5, 5] pixels"),
        ([nn.MaxPool2d(3, dilation=2), nn.Flatten()], "dilation or indices"),
        ([nn.AvgPool2d(3, ceil_mode=True), nn.Flatten()], "ceil_mode or divisor_override"),
        ([nn.AvgPool2d(3, padding=1, count_include_pad=False), nn.Flatten()], "padding that does not count"),
        ([nn.GELU(approximate="tanh"), nn.Flatten()], "its approximation"),
        ([nn.Flatten(0)], "it mixes examples"),
        ([Random()], "it is random in evaluation, too"),
        ([nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten()], "it has no running statistics"),
        ([nn.Linear(8, 8), nn.Flatten()], "its input has shape [1, 8, 8], expected one dimension"),
        ([nn.ReLU()], "its network ends in shape [1, 8, 8]"),
    ],
)
def test_what_a_layer_lacks_is_named(layers, message):
    with pytest.raises(ut.TicketError, match=re.escape(message)):
        write_program(nn.Sequential(*layers).eval(), [1, 8, 8])
