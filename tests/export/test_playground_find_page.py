"""The playground's first tab in Chromium: found, drawn, explained and taken home."""

import base64
import hashlib
import json
import re
from itertools import count

import pytest
import torch

import untrained as ut
from browsing import check_looks, check_page, until
from untrained.export.network import build_network

WIDTHS = [48, 24]
seeds = count(2**63)


@pytest.fixture
def found(page):
    """The first tab at rest, with a small network that a link in the address asks for."""
    seed = next(seeds)
    given = [seed, WIDTHS, ["SignedConstant", "in", "relu", False], 0.5, "layer", False, 2.0]
    text = json.dumps(given, separators=(",", ":")).encode()
    rest = bytes([1, len(text)]) + text
    link = base64.urlsafe_b64encode(hashlib.sha256(rest).digest()[:4] + rest).decode().rstrip("=")
    page.evaluate("link => { location.hash = link; }", f"#find/b{link}")
    wait(page, f"last.settings.seed === {seed}n && document.getElementById('find-said').textContent === 'Paused.'")
    return page


def wait(page, condition):
    until(page, condition.replace("last", "untrained.find.last()"))


def step_of(page):
    return page.evaluate("untrained.find.last().step")


def set_slider(page, name, value):
    page.locator(f"#find-{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


# In the page, for on a busy machine the course would be over before a click from here came.
PAUSE = """() => new Promise((done) => {
    const look = () => {
        const { step, validation } = untrained.find.last();
        if (step <= 40 || validation[0] <= 0.7) return setTimeout(look, 10);
        document.getElementById("find-play").click();
        done();
    };
    look();
})"""


def test_it_plays_pauses_and_steps(found):
    page = found
    assert step_of(page) == 0
    page.click("#find-step")
    wait(page, "last.step === 1")
    page.focus("#find-epoch")
    page.keyboard.press("Enter")
    wait(page, "last.step === 18")
    before = page.locator("#find tbody td").all_inner_texts()
    page.click("#find-play")
    page.evaluate(PAUSE)
    wait(page, "document.getElementById('find-said').textContent === 'Paused.'")
    page.wait_for_timeout(150)
    stopped = step_of(page)
    page.wait_for_timeout(150)
    assert step_of(page) == stopped and page.locator("#find tbody td").all_inner_texts() != before
    assert page.evaluate("untrained.find.last().validation[1]") < 0.7


def test_everything_can_be_changed_while_it_runs(found):
    page = found
    set_slider(page, "wide", 3)
    set_slider(page, "deep", 1)
    page.click("#find-play")
    set_slider(page, "keep", 6)
    page.select_option("#find-law", "KaimingNormal")
    page.select_option("#find-signed", "true")
    page.select_option("#find-scope", "global")
    set_slider(page, "rate", 4)
    page.fill("#find-seed", str(2**64 - 1))
    page.keyboard.press("Tab")
    wait(page, "String(last.settings.seed) === '18446744073709551615' && last.step > 18")
    now = page.evaluate("(({seed, ...its}) => its)(untrained.find.last().settings)")
    law = {"name": "KaimingNormal", "fan": "in", "nonlinearity": "relu", "scaled": False}
    assert now == {"widths": [32, 16], "keep": 0.1, "law": law, "signed": True, "scope": "global", "rate": 1}
    assert sum(page.evaluate("untrained.find.last().kept")) == -(-(64 * 32 + 32 * 16 + 160) // 10)
    page.fill("#find-seed", "a seed")
    page.keyboard.press("Tab")
    assert page.input_value("#find-seed") == str(2**64 - 1)


def test_an_edge_is_explained_and_a_digit_answered(found):
    page = found
    page.click("#find-epoch")
    wait(page, "last.step === 18")
    page.click("#find-next")
    page.wait_for_selector(".equation")
    explained = page.evaluate("untrained.find.last().edge")
    assert explained["kept"] and "s ← s − α" in page.locator("#find-edge").inner_text()
    page.click("#find-step")
    wait(page, "last.step === 19")
    moved = page.evaluate("untrained.find.last().edge.s")
    assert moved == pytest.approx(explained["next"], abs=1e-6) != explained["s"]
    page.locator("#find-edges").scroll_into_view_if_needed()
    box = page.locator("#find-edges").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait(page, "document.querySelectorAll('#diagram .edge').length > 80")
    assert page.locator("#bars li").count() == 10
    page.locator("#board").scroll_into_view_if_needed()
    board = page.locator("#board").bounding_box()
    page.click("#find-clear")
    assert page.locator("#bars li").count() == 0
    page.mouse.move(board["x"] + 120, board["y"] + 30)
    page.mouse.down()
    page.mouse.move(board["x"] + 118, board["y"] + 200, steps=5)
    page.mouse.up()
    assert re.fullmatch(r"\d, at [\d.]+ %", page.locator("#verdict").inner_text())


def test_a_ticket_goes_to_python_and_comes_back(found, tmp_path):
    page = found
    set_slider(page, "wide", 4)
    wait(page, "last.settings.widths[0] === 40")
    page.click("#find-epoch")
    wait(page, "last.step === 18")
    with page.expect_download() as download:
        page.click("#find-save")
    download.value.save_as(tmp_path / "a.ticket")
    ticket = ut.Ticket.load(tmp_path / "a.ticket")
    data = ut.load_data("digits")
    x, y = next(iter(data.batches("test", 500)))
    network = build_network(ticket)
    assert ticket.meta["accuracy"] == (network(x).argmax(1) == y).double().mean().item()
    effective = page.evaluate("untrained.find.last().effective.map(each => [...each])")
    for (_, weight), shown in zip(sorted(network.named_parameters()), effective, strict=True):
        assert torch.equal(weight.flatten(), torch.tensor(shown))
    assert "bytes" in page.locator("#find-size").inner_text()
    page.click("#find-again")
    wait(page, "last.step === 0")
    page.set_input_files("#find-open", str(tmp_path / "a.ticket"))
    wait(page, f"last.settings.seed === {ticket.seed}n && last.step === 0")
    assert page.evaluate("untrained.find.last().effective.map(each => [...each])") == effective
    (tmp_path / "b.ticket").write_bytes(b"no ticket")
    page.set_input_files("#find-open", str(tmp_path / "b.ticket"))
    wait(page, "document.getElementById('find-size').textContent.includes('ticket')")


def test_a_network_in_a_link(found):
    page = found
    set_slider(page, "wide", 1)
    set_slider(page, "deep", 1)
    wait(page, "last.settings.widths[1] === 16")
    page.click("#find-epoch")
    wait(page, "last.step === 18")
    page.click("#find-link")
    wait(page, "location.hash.length > 30")
    page.click("#find-qr")
    assert page.locator("#find-code svg").bounding_box()["width"] > 100
    network = page.evaluate("untrained.find.last().effective.map(each => [...each])")
    link = page.evaluate("location.hash")
    page.click("#find-again")
    set_slider(page, "wide", 2)
    wait(page, "last.settings.widths[0] === 24")
    page.click("#find-link")
    until(page, f"location.hash !== '{link}'")
    page.evaluate("link => { location.hash = link; }", link)
    wait(page, "last.settings.widths[0] === 16")
    assert page.evaluate("untrained.find.last().effective.map(each => [...each])") == network
    page.evaluate("link => { location.hash = link; }", link[:-4])
    until(page, "document.getElementById('find-size').textContent.includes('damaged')")


def test_experiments_say_what_to_look_for(found):
    page = found
    buttons = page.locator("#find-experiments button")
    assert buttons.count() == 6
    page.get_by_role("button", name="Cut through").click()
    wait(page, "last.kept[1] === 0 && last.step > 0")
    assert 0 < page.evaluate("untrained.find.last().histograms[0].place") < 1
    assert "no signal passes" in page.locator("#find-look").inner_text()
    page.get_by_role("button", name="A random mask").click()
    wait(page, "!last.playing")


def test_anybody_can_read_the_first_tab(found):
    page = found
    page.click("#find-next")
    page.wait_for_selector(".equation")
    for width, dark in [(1600, False), (1280, True), (768, False), (390, True)]:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        (check_page if width in (1600, 390) else check_looks)(page)
