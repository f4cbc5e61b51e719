"""A page that runs a ticket: the logits of PyTorch, for anybody's hands, eyes and screen."""

import base64
import hashlib
import io
import json
import random
import re
import struct
import time

import pytest
import torch
from test_hostile_files import (
    ATTACKS,
    NO_TICKETS,
    TEXTS,
    TICKETS,
    VALUES,
    closed,
    parent,
    places,
    storing,
    with_text,
)
from test_hostile_files import changed as attacked
from test_hostile_files import opened as taken_apart
from torch import nn

import untrained as ut
from browser_reader import python_reads, read_in_node
from untrained import models
from untrained.export import to_html
from untrained.export.network import found_network

# A seven, as a pen draws it, in parts of the board.
INK = [(0.35, 0.2), (0.7, 0.2), (0.6, 0.45), (0.5, 0.65), (0.42, 0.85)]
HOSTILE = "<img src=x onerror=alert(1)>"


def found(model, method=None, meta=None, **mask):
    """A ticket with a random mask, and running statistics that are not those of a fresh network."""
    ut.mask_(model, method or ut.EdgePopup(0.5), **({"seed": 2**64 - 7} | mask))
    draws = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=draws).mul_(0.1)
            module.running_var.uniform_(0.5, 1.5, generator=draws)
    return ut.Ticket.of(model, meta)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The page of a network that was searched for a moment, and its network."""
    data = ut.load_data("digits")
    model = ut.mask_(models.fc((300, 100), data.shape), ut.EdgePopup(0.5), seed=0)
    ut.fit(model, data.batches("train", 64), epochs=2)
    meta = {
        "data": "digits",
        "labels": list(data.labels),
        "shape": [1, 8, 8],
        "accuracy": 0.9,
        "task": "classification",
    }
    meta |= {"mean": list(data.mean), "std": list(data.std)}
    ticket = ut.Ticket.of(model, meta)
    path = tmp_path_factory.mktemp("digits") / "a.html"
    to_html(ticket, path)
    return path, found_network(ticket)


@pytest.fixture
def ready(opened):
    """As `opened`, and the ticket has been read."""

    def open_page(path, **how):
        page = opened(path, **how)
        assert page.evaluate("untrained.ready") is True, page.locator("#verdict").inner_text()
        return page

    return open_page


def logits(page, x):
    return torch.tensor(page.evaluate("images => images.map(i => untrained.logits(i))", x.flatten(1).tolist()))


def verdict(page):
    return page.locator("#verdict").inner_text()


def draw(page, points=INK):
    box = page.locator("#board").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def png(pixels):
    """Grey or coloured pixels, uint8 of (channels, height, width), as the bytes of a PNG file."""
    image = pytest.importorskip("PIL.Image")
    file, array = io.BytesIO(), pixels.permute(1, 2, 0).squeeze(-1).numpy()
    image.fromarray(array).save(file, "PNG")
    return {"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()}


def test_logits_of_digits_are_those_of_torch(digits, ready):
    path, network = digits
    x, _ = next(iter(ut.load_data("digits").batches("test", 200)))
    assert (logits(ready(path), x) - network(x)).abs().max() < 1e-4


EVERY = {
    "normal": (lambda: models.conv2(0.1, (3, 12, 12)), ut.EdgePopup(0.1), ut.KaimingNormal()),
    "uniform": (lambda: models.mnist_conv((1, 12, 12)), ut.EdgePopup(0.5), ut.KaimingUniform(scaled=True)),
    "resnet, elu": (lambda: models.resnet18(0.06, (3, 16, 16), activation="elu"), None, ut.SignedConstant()),
    "folded": (lambda: models.resnet34(0.05, (3, 32, 32), stem="large", folded=True), ut.Biprop(0.3), None),
    "sign": (lambda: models.fc((20,), (1, 6, 6), activation="sign"), ut.EdgePopup(0.1), ut.XavierNormal()),
    "draws": (lambda: models.fc((20,), (1, 6, 6)), ut.SlotMachines(5), None),
    "redrawn": (lambda: models.fc((20,), (1, 6, 6)), ut.IteRand(0.4), ut.Standard()),
    "partly": (lambda: models.fc((20,), (1, 6, 6)), ut.PartlyFrozen(ut.EdgePopup(0.3), 0.3, 0.1), None),
    "partly, rescaled": (lambda: models.fc((20,), (1, 6, 6)), ut.PartlyFrozen(ut.Bernoulli(True)), ut.XavierUniform()),
    "rescaled": (lambda: models.fc((20,), (1, 6, 6)), ut.Bernoulli(True), ut.XavierConstant()),
    "coats": (lambda: models.fc((20,), (1, 6, 6)), ut.Multicoated(0.3, 5), ut.UnsignedConstant()),
    "signed": (lambda: models.fc((20,), (1, 6, 6)), ut.SignedSupermask(), ut.Prototype(length=37)),
    "ternary": (lambda: models.fc((20,), (1, 6, 6)), ut.Threshold(ternary=True), None),
}


CODINGS = {"normal": {"ans"}, "uniform": {"bits"}, "draws": {"ans"}}


@pytest.mark.parametrize("name", EVERY)
def test_every_network_method_and_law_gives_the_logits_of_torch(name, ready, tmp_path):
    build, method, law = EVERY[name]
    torch.manual_seed(0)
    ticket = found(build(), method, **({} if law is None else {"weights": law}))
    to_html(ticket, tmp_path / "a.html")
    page = ready(tmp_path / "a.html")
    x = torch.randn(3, *ticket.built_by["arguments"]["shape"])
    expected = found_network(ticket)(x)
    assert (logits(page, x) - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    assert page.locator("#seed").inner_text() == str(2**64 - 7)
    codings = {codes.coding for codes in ticket.encoded().values()}
    assert name not in CODINGS or codings == CODINGS[name]


# --- the reader alone, beside Python's ---

SMALL = {
    **{name: (method, law) for name, (_, method, law) in EVERY.items()},
    "structure": (ut.EdgePopup(0.5, structure=ut.NofM(2, 4)), None),
    "blocks": (ut.EdgePopup(0.3, structure=ut.Block(4, 5)), None),
    "random": (ut.RandomSubnetwork(0.3), ut.Prototype(scaled=True, length=2**31)),
    "dense": (ut.Dense(), ut.SignedConstant(fan="out", nonlinearity="tanh")),
    "gems": (ut.GemMiner(0.3), ut.UnsignedConstant(scaled=True)),
    "federated": (ut.FedPM(), ut.Standard(scaled=True)),
    "relaxed": (ut.RelaxedBernoulli(), ut.XavierNormal(nonlinearity="leaky_relu")),
    "many draws": (ut.SlotMachines(127), ut.KaimingNormal(nonlinearity="selu")),
    "signs": (ut.PartlyFrozen(ut.Threshold(ternary=True), 0.3), ut.XavierUniform(nonlinearity="sigmoid")),
}


def small(name):
    """The ticket of a small network, with tensors of every kind."""
    method, law = SMALL[name]
    layers = [nn.Flatten(), nn.Linear(36, 20), nn.BatchNorm1d(20), nn.Linear(20, 5)]
    weights = {} if law is None else {"weights": law}
    return found(nn.Sequential(*layers), method, **weights).to_bytes()


def verdicts_of(files, folder):
    """How the two readers disagree on files: {label: (what the page's says, whether Python reads it)}."""
    wrong = {}
    for number, (label, (verdict, said)) in enumerate(
        zip(files, read_in_node(list(files.values()), folder), strict=True)
    ):
        ticket = python_reads(folder / f"{number}.ticket")
        if verdict == "broken" or (verdict == "read") != (ticket is not None):
            wrong[label] = verdict, said, ticket is not None
        elif ticket is None:
            assert said.startswith(("This ticket is damaged: ", "This page cannot run this ticket: ")), label
        else:
            tensors = dict(ticket.rebuilt()) | {n: x for n, x in ticket.extra.items() if x.dtype is torch.float32}
            expected = {n: hashlib.sha256(x.reshape(-1).numpy().tobytes()).hexdigest() for n, x in tensors.items()}
            if dict(said) != expected:
                wrong[label] = verdict, "other weights", True
    return wrong


def test_every_ticket_is_read_to_the_last_bit(tmp_path):
    files = {name: small(name) for name in SMALL} | TICKETS
    assert verdicts_of(files, tmp_path) == {}
    assert all(python_reads(tmp_path / f"{number}.ticket") for number in range(len(files)))


def test_hostile_files_have_the_same_fate_in_both_readers(tmp_path):
    files = {name: attacked("mixed", change) for name, change in ATTACKS.items()}
    files |= {f"text: {name}": with_text("mixed", change) for name, change in TEXTS.items()}
    files |= {f"no ticket: {name}": data for name, data in NO_TICKETS.items()}
    files |= {f"cut at {at}": TICKETS["mixed"][:at] for at in range(0, 4000, 97)}
    assert verdicts_of(files, tmp_path) == {}


LIMITS = [-0.1, 1.0, 1.5, 9e-4, 1e-3, 1e5, 3, 126, 127, 128, 2**31 + 1, "in", "layer", "global", "tanh", "constructor"]
LIMITS += [
    {"name": "NofM", "n": 2, "m": 4},
    {"name": "NofM", "n": 5, "m": 4},
    {"name": "Block", "height": 0, "width": 1},
]
LIMITS += [{"name": "NofM", "n": n, "m": 4} for n in (2, 5)] + [{"name": "Block", "height": 0, "width": 1}]
LIMITS += [{"name": "toString"}, {"name": "GemMiner", "keep": 0.5, "scope": "layer", "decay": 0.0, "drops": 1}]


@pytest.mark.parametrize("name", SMALL)
def test_a_changed_field_has_the_same_fate_in_both_readers(name, tmp_path):
    honest, stored = taken_apart(small(name))
    draws, files = random.Random(name), {}
    # Of long lists the first will do.
    for place in (p for p in places(honest) if p[0] != "meta" and not (type(p[-1]) is int and p[-1] > 2)):
        for value in [*draws.sample(VALUES + LIMITS, 4), None]:
            head = json.loads(json.dumps(honest))
            if draws.random() < 0.1 and isinstance(parent(head, place), dict):
                parent(head, place)["toString"] = value
            elif value is None and draws.random() < 0.5:
                del parent(head, place)[place[-1]]
            else:
                parent(head, place)[place[-1]] = value
            label = f"{place} {str(value)[:40]}"
            if "tensors" in head:
                files[label] = closed(json.dumps(head, sort_keys=True, separators=(",", ":"))[:-1], stored)
    assert verdicts_of(files, tmp_path) == {}


def indexed(change):
    """An honest ticket whose index, as text, was changed."""
    data = TICKETS["mixed"]
    size = struct.unpack("<Q", data[:8])[0]
    text = change(json.dumps(json.loads(data[8 : 8 + size])))
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


LINE = '"codes/0.weight": {"dtype": "U8", "shape": ['
EXTRAS = [
    torch.bool,
    torch.int8,
    torch.uint16,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.complex64,
]
EXTRAS += [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint64, torch.uint8, torch.float32]
LISTED = r'"codes/0\.weight": {"dtype": "U8", "shape": (\[\d+\]), "data_offsets": (\[.*?\])}'
NAMES = ["__proto__", "constructor", "é", "\U0001f600", "", "../0"]
INDEXES = {
    "as it is": indexed(str),
    "spaces": indexed(lambda text: text.replace(",", ",\n \t") + "  "),
    "a space first": indexed(lambda text: " " + text),
    "byte order mark": indexed(lambda text: "\ufeff" + text),
    "more behind": indexed(lambda text: text + "\0"),
    "another order": indexed(lambda text: json.dumps(dict(reversed(json.loads(text).items())))),
    "an unknown field": indexed(lambda text: text.replace(LINE, LINE.replace("{", '{"x": [{"y": 1e5}], '))),
    "a name twice": indexed(lambda text: "{" + text[text.index('"codes/0'):][:-1] + "," + text[1:]),
    "a field twice": indexed(lambda text: text.replace('"dtype"', '"dtype": "U8", "dtype"', 1)),
    "metadata twice": indexed(lambda text: text.replace('"__metadata__"', '"__metadata__": {}, "__metadata__"')),
    "the header twice": indexed(lambda text: text.replace('"untrained":', '"untrained": "{}", "untrained":')),
    "other metadata": indexed(lambda text: text.replace('"untrained":', '"format": "pt", "untrained":')),
    "a number as metadata": indexed(lambda text: text.replace('"untrained":', '"format": 1, "untrained":')),
    "a float as shape": indexed(lambda text: re.sub(r'("shape": \[\d+)', r"\1.0", text, count=1)),
    "a float as place": indexed(lambda text: re.sub(r'("data_offsets": \[\d+)', r"\1e0", text, count=1)),
    "minus zero": indexed(lambda text: text.replace('"data_offsets": [0,', '"data_offsets": [-0,')),
    "three places": indexed(lambda text: re.sub(r'("data_offsets": \[)', r"\g<1>0, ", text, count=1)),
    "a gap": indexed(lambda text: re.sub(r"(\d+)\]}}$", lambda m: f"{int(m[1]) + 1}]}}}}", text)),
    "a list as line": indexed(lambda text: re.sub(LISTED, r'"codes/0.weight": ["U8", \1, \2]', text)),
    "not UTF-8": indexed(lambda text: text.encode().replace(b"codes/0.weight", b"codes/0.weigh\xff")),
    "an escape": indexed(lambda text: text.replace("codes/0.weight", "\\u0063odes\\/0.weight")),
    "half a character": indexed(lambda text: text.replace("codes/0.weight", "codes/\\ud800")),
    **{f"extra of {dtype}": attacked("mixed", storing("extra/x", torch.zeros(3, 2).to(dtype))) for dtype in EXTRAS},
    **{f"extra {name!r}": attacked("mixed", storing(f"extra/{name}", torch.zeros(2))) for name in NAMES},
    **{f"extra of shape {shape}": attacked("mixed", storing("extra/x", torch.zeros(shape)))
       for shape in [(), (0,), (0, 2**40), (0, 2**62), (1,) * 70]},
}  # fmt: skip


def test_odd_containers_have_the_same_fate_in_both_readers(tmp_path):
    assert verdicts_of(INDEXES, tmp_path) == {}


def claiming(shape, law, method, counts):
    head, _ = taken_apart(TICKETS["mixed"])
    entry = {"shape": shape, "dtype": "float32", "method": 0, "coding": "bits", "values": [1], "counts": counts}
    head |= {"tensors": {"w": entry}, "weights": law, "methods": [method], "meta": {"pad": "x" * 2**18}}
    return closed(
        json.dumps(head, sort_keys=True, separators=(",", ":"))[:-1], {"codes/w": torch.zeros(0, dtype=torch.uint8)}
    )


def test_what_costs_much_is_refused_or_cheap(tmp_path):
    dense, signs = {"name": "Dense"}, {"name": "UnsignedConstant", "fan": "in", "nonlinearity": "relu", "scaled": False}
    slots = {"name": "SlotMachines", "values": 127, "greedy": True}
    files = [claiming([2**16, 2**17], signs, dense, [2**33]), claiming([2**13, 2**13], signs, slots, [2**26])]
    files += [claiming([2**8, 2**8], {**signs, "name": "Prototype", "length": 2**31}, dense, [2**16])]
    start = time.perf_counter()
    (*far_too_many, (_, prototype)) = read_in_node(files, tmp_path)
    assert time.perf_counter() - start < 20
    assert all(v == "refused" and re.search("claims 8[0-9]* weights", said) for v, said in far_too_many)
    assert "the weights do not have the sample_sha256" in prototype


def test_layers_that_our_networks_lack(ready, tmp_path):
    def build():
        torch.manual_seed(0)
        first = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
        pools = [nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten()]
        return nn.Sequential(first, nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 1, 1), *pools, nn.Linear(12, 3))

    model = build()
    ticket = found(model, meta={"shape": [4, 8, 10]}, also_train=r".*bias|1\.weight")
    # What was also trained is in the ticket as it is.
    ticket.extra["0.bias"].normal_()
    ticket.extra["1.weight"].uniform_(0.5, 2)
    to_html(ticket, tmp_path / "a.html", build())
    page = ready(tmp_path / "a.html")
    x = torch.randn(3, 4, 8, 10)
    assert (logits(page, x) - found_network(ticket, build())(x)).abs().max() < 1e-4
    assert "hardly trained" in page.locator("h1").inner_text()
    page.click("#random")
    assert verdict(page).startswith("class ")
    page.fill("#numbers", "1 2 x")
    assert verdict(page) == "3 numbers, expected 320"


def test_a_damaged_ticket_is_refused(digits, ready):
    page = ready(digits[0])
    whole = base64.b64decode(json.loads(page.locator("#facts").text_content())["ticket"])
    size = struct.unpack("<Q", whole[:8])[0]
    changed = {
        "sha256 in its header": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut off": whole[:-1],
        "canonical JSON": whole.replace(b'{\\"format\\":1', b'{ \\"format\\":1').replace(
            whole[:8], struct.pack("<Q", size + 1)
        ),
        "format is 2": whole.replace(b'\\"format\\":1', b'\\"format\\":2'),
    }
    for message, data in changed.items():
        said = page.evaluate(
            "t => { try { untrained.read(t); return 'read' } catch (e) { return e.message } }",
            base64.b64encode(data).decode(),
        )
        assert message in said


def test_a_page_with_a_damaged_ticket_says_so(digits, opened):
    changed, text = digits[0].with_name("damaged.html"), digits[0].read_text()
    at = text.index('"ticket":"') + 9000
    changed.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    page = opened(changed)
    assert page.evaluate("untrained.ready") is False
    assert verdict(page).startswith("This ticket is damaged: its contents do not have the sha256")
    draw(page)
    assert "damaged" in verdict(page)


def test_shares_of_every_layer_add_up_to_the_score(digits, ready):
    path, network = digits
    x, _ = next(iter(ut.load_data("digits").batches("test", 1)))
    page = ready(path)
    sums = page.evaluate(
        "x => untrained.trace(x, 4).map(layer => layer.shares.reduce((a, b) => a + b, 0))", x.flatten().tolist()
    )
    assert torch.tensor(sums) == pytest.approx(network(x)[0, 4].expand(3), rel=1e-4)


def test_drawing_with_a_mouse_answers_and_clear_forgets(digits, ready):
    page = ready(digits[0])
    draw(page)
    said = re.fullmatch(r"(\d), at [\d.]+ %", verdict(page))
    assert page.locator("#bars li").count() == 10
    assert page.locator("#bars .best .name").inner_text() == said[1]
    assert page.locator("#diagram .edge").count() > 80
    seen = torch.tensor(page.evaluate("untrained.input()")).view(8, 8)
    assert seen.max() > 0.9 and seen[0].max() > 0.5 and seen[-1].max() > 0.5  # it fills the frame
    page.click("#clear")
    assert verdict(page) == "Draw on the board." and page.locator("#bars li").count() == 0
    assert not page.locator("#carried").is_visible()


def test_drawing_with_a_finger(digits, ready):
    page = ready(digits[0], width=400, has_touch=True, is_mobile=True)
    page.locator("#board").scroll_into_view_if_needed()
    box = page.locator("#board").bounding_box()
    session = page.context.new_cdp_session(page)
    for at, (x, y) in enumerate(INK):
        place = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
        kind = "touchMove" if at else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_selector("#bars li")
    assert re.fullmatch(r"\d, at [\d.]+ %", verdict(page))
    assert page.evaluate("Math.max(...untrained.input())") > 0.9


def test_examples_work_from_the_keyboard(digits, ready):
    path, network = digits
    page = ready(path)
    page.get_by_role("button", name="Example: 3").focus()
    page.keyboard.press("Enter")
    data = ut.load_data("digits")
    pixels = data.test.images[(data.test.labels == 3).nonzero()[0]].float() / 255
    assert torch.tensor(page.evaluate("untrained.input()")) == pytest.approx(pixels.flatten(), abs=1e-6)
    best = network((pixels - data.mean[0]) / data.std[0]).argmax().item()
    assert verdict(page).startswith(f"{best}, at ")


def test_pictures_are_chosen_and_dropped(digits, ready, tmp_path):
    page = ready(digits[0])
    pixels = ut.load_data("digits").test.images[torch.tensor([0])][0]
    page.set_input_files("#file", png(pixels))
    page.wait_for_selector("#bars li")
    assert torch.tensor(page.evaluate("untrained.input()")) == pytest.approx(pixels.flatten() / 255, abs=1e-6)
    # Dark ink on white paper, larger: turned round, cut out and scaled.
    paper = torch.full((1, 90, 60), 250, dtype=torch.uint8)
    paper[0, 20:70, 25:35] = 5
    page.click("#clear")
    file = png(paper)
    page.evaluate(
        """file => {
            const data = new DataTransfer(), bytes = Uint8Array.from(atob(file), c => c.charCodeAt(0));
            data.items.add(new File([bytes], "a.png", { type: "image/png" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(file["buffer"]).decode(),
    )
    page.wait_for_selector("#bars li")
    seen = torch.tensor(page.evaluate("untrained.input()")).view(8, 8)
    assert seen[:, 3:5].min() > 0.7 and seen[:, [0, 1, 6, 7]].max() < 0.1
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.wait_for_selector("#verdict.wrong")
    assert "not a picture" in verdict(page)


def test_colour_pictures_many_classes_and_hostile_labels(ready, tmp_path):
    labels = [f"{HOSTILE} {'very ' * 20}{i}" for i in range(1000)]
    meta = {"labels": labels, "data": HOSTILE, "shape": [3, 16, 16], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    to_html(found(models.conv2(0.1, (3, 16, 16), 1000), meta=meta), tmp_path / "a.html")
    page = ready(tmp_path / "a.html", width=400)
    picture = torch.randint(256, (3, 64, 96), dtype=torch.uint8)
    page.set_input_files("#file", png(picture))
    page.wait_for_selector("#bars li")
    expected = picture[:, :, 16:80].view(3, 16, 4, 16, 4).float().mean((2, 4)) / 255
    assert torch.tensor(page.evaluate("untrained.input()")) == pytest.approx(expected.flatten(), abs=1e-3)
    assert page.locator("#bars li").count() == 10 and "1,000 classes" in page.locator("#others").inner_text()
    assert page.locator("#bars .name").first.inner_text() in labels
    assert page.locator("img").count() == 0 and HOSTILE in page.locator("#what + dl").inner_text()
    check_looks(page, 400)


def check_looks(page, width):
    """Nothing sticks out, and no text is too small to read."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """() => [...document.body.querySelectorAll("*")].filter(e => e.checkVisibility() && [...e.childNodes].some(
            n => n.nodeType === 3 && n.textContent.trim()) && parseFloat(getComputedStyle(e).fontSize) < 11
        ).map(e => e.outerHTML)"""
    )
    assert small == []
    targets = page.locator("button:visible, .button:visible")
    assert min(min(b["width"], b["height"]) for t in targets.all() if (b := t.bounding_box())) >= 40


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_anybody_can_read_it(digits, ready, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = ready(digits[0], width=width, dark=dark)
    for drawn in (False, True):
        if drawn:
            draw(page)
            page.wait_for_timeout(200)  # bars grow
        found = axe.run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
        check_looks(page, width)
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", bright))) < 200) == dark
