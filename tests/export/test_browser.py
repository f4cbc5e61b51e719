"""A page that runs a ticket, in Chromium: for anybody's hands, eyes and screen."""

import base64
import io
import json
import re
import struct

import pytest
import torch

import untrained as ut
from browsing import check_looks, check_page
from untrained import models
from untrained.export import to_html
from untrained.export.network import build_network

# A seven, as a pen draws it, in parts of the board.
INK = [(0.35, 0.2), (0.7, 0.2), (0.6, 0.45), (0.5, 0.65), (0.42, 0.85)]
HOSTILE = "<img src=x onerror=alert(1)>"


def found(model, meta):
    return ut.Ticket.of(ut.mask_(model, ut.EdgePopup(0.5), seed=2**64 - 7), meta)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The page of a network that was searched for a moment, and its network."""
    data = ut.load_data("digits")
    model = ut.mask_(models.fc((300, 100), data.shape), ut.EdgePopup(0.5), seed=2**64 - 7)
    ut.fit(model, data.batches("train", 64), epochs=1)
    meta = {"data": "digits", "labels": list(data.labels), "shape": [1, 8, 8], "accuracy": 0.9}
    meta |= {"mean": list(data.mean), "std": list(data.std), "task": "classification"}
    ticket = ut.Ticket.of(model, meta)
    path = tmp_path_factory.mktemp("digits") / "a.html"
    to_html(ticket, path)
    return path, build_network(ticket)


@pytest.fixture
def ready(opened):
    """As `opened`, and the ticket has been read."""

    def open_page(path, **how):
        page = opened(path, **how)
        assert page.evaluate("untrained.ready") is True, page.locator("#verdict").inner_text()
        return page

    return open_page


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


def test_logits_and_shares_are_those_of_torch(digits, ready):
    path, network = digits
    page = ready(path)
    x, _ = next(iter(ut.load_data("digits").batches("test", 200)))
    logits = torch.tensor(page.evaluate("images => images.map(i => untrained.logits(i))", x.flatten(1).tolist()))
    assert (logits - network(x)).abs().max() < 1e-4
    assert page.locator("#seed").inner_text() == str(2**64 - 7)
    # In a network without norms the shares of every layer add up to the score.
    total = "x => untrained.trace(x, 4).map(layer => layer.shares.reduce((a, b) => a + b, 0))"
    sums = torch.tensor(page.evaluate(total, x[0].flatten().tolist()))
    assert sums == pytest.approx(network(x[:1])[0, 4].expand(3), rel=1e-4)


def test_numbers_are_typed_in(ready, tmp_path):
    to_html(found(models.fc((20,), (4, 8, 10), 3), {}), tmp_path / "a.html")
    page = ready(tmp_path / "a.html")
    page.click("#random")
    assert verdict(page).startswith("class ")
    page.fill("#numbers", "1 2 x")
    assert verdict(page) == "3 numbers, expected 320"


def test_a_damaged_ticket_is_refused(digits, ready, tmp_path):
    page = ready(digits[0])
    compact = base64.b64decode(json.loads(page.locator("#facts").text_content())["ticket"])
    (tmp_path / "a.ticket").write_bytes(compact)
    whole = ut.Ticket.load(tmp_path / "a.ticket").to_bytes(1)
    size = struct.unpack("<Q", whole[:8])[0]
    changed = {
        "hash at its beginning": compact[:-1] + bytes([compact[-1] ^ 1]),
        "sha256 in its header": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut off": whole[:-1],
        "canonical JSON": whole.replace(b'{\\"format\\":1', b'{ \\"format\\":1').replace(
            whole[:8], struct.pack("<Q", size + 1)
        ),
        "format is 3": whole.replace(b'\\"format\\":1', b'\\"format\\":3'),
    }
    for message, data in changed.items():
        said = page.evaluate(
            "t => { try { untrained.read(t); return 'read' } catch (e) { return e.message } }",
            base64.b64encode(data).decode(),
        )
        assert message in said


def test_a_page_with_a_damaged_ticket_says_so(digits, opened):
    changed, text = digits[0].with_name("damaged.html"), digits[0].read_text()
    at = text.index('"ticket":"') + 5000
    changed.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    page = opened(changed)
    assert page.evaluate("untrained.ready") is False
    assert verdict(page).startswith("This ticket is damaged: its contents do not have the hash")
    draw(page)
    assert "damaged" in verdict(page)


def test_the_page_plays_until_it_is_touched(digits, opened):
    page = opened(digits[0])
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # no time passes but what is asked for
    page.reload()
    page.clock.run_for(200)
    assert page.evaluate("untrained.ready") is True
    assert page.locator("#given").inner_text() == "A test image: 3" and page.locator("#diagram .edge").count() > 80
    page.clock.run_for(2600)
    assert page.locator("#given").inner_text() == "A test image: 4"
    ink = "untrained.input().filter(x => x > 0).length"
    counts = [page.evaluate(ink) for _ in range(3) if page.clock.run_for(400) is None]
    assert 0 < counts[0] < counts[1] < counts[2]  # it draws itself
    page.get_by_role("button", name="All weights").click()
    pixels = ut.load_data("digits").test
    four = pixels.images[(pixels.labels == 4).nonzero()[0]].flatten() / 255
    assert torch.tensor(page.evaluate("untrained.input()")) == pytest.approx(four, abs=1e-6)  # the whole image
    assert page.locator("#play").inner_text() == "Play"


def test_the_same_input_is_answered_by_other_choices_of_the_same_weights(digits, ready):
    page = ready(digits[0], reduced_motion="reduce")
    said = {}
    for name in ("All weights", "A random half", "The found half"):
        page.get_by_role("button", name=name).click()
        said[name] = verdict(page)
        assert page.locator("[aria-pressed=true]").inner_text().startswith(name)
    page.locator("small", has_text="right").nth(2).wait_for()
    counts = [int(text.split()[0]) for text in page.locator("small").all_text_contents()]
    assert counts[2] > max(counts[:2]) and said["The found half"].startswith("3, at ") and len(set(said.values())) == 3
    assert page.locator("#given").inner_text() == "A test image: 3"  # nothing moves by itself
    # All weights are those that the seed gives; a random half has as many as the found one.
    kept = "c => untrained.weights(c)['fc2.weight'].reduce((n, w) => n + (w !== 0), 0)"
    assert [page.evaluate(kept, choice) for choice in ("all", "random", "own")] == [30_000, 15_000, 15_000]
    drawn = ut.SignedConstant().draw((100, 300), seed=2**64 - 7, name="fc2.weight").flatten()
    assert torch.equal(torch.tensor(page.evaluate("Array.from(untrained.weights('all')['fc2.weight'])")), drawn)


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
    page.click("#clear")
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
    page.click("#clear")
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
    check_looks(page)
    check_targets(page)


def check_targets(page):
    """Fingers hit the buttons."""
    boxes = [target.bounding_box() for target in page.locator("button:visible, .button:visible").all()]
    assert min(min(box["width"], box["height"]) for box in boxes if box) >= 40


def test_anybody_can_read_it(digits, ready):
    page = ready(digits[0])
    check_page(page)
    draw(page)
    page.wait_for_timeout(200)  # bars grow
    for width, dark in [(1400, False), (1400, True), (400, False), (400, True)]:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        (check_page if dark == (width == 400) else check_looks)(page)
        check_targets(page)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", colour))) < 200) == dark
