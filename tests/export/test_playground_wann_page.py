"""The playground's tab for weight agnostic networks in Chromium: dragged, evolved, saved and opened."""

import numpy as np
import pytest

from browsing import check_page, until
from untrained import wann
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS

WHERE = "[...untrained.wann.player.scene.state]"


@pytest.fixture
def tab(page):
    """The tab, at rest."""
    page.locator("#tab-wann").click()
    page.wait_for_selector("#wann:not([hidden])")
    if page.get_by_role("button", name="Pause").count():
        page.get_by_role("button", name="Pause").first.click()
    return page


def moves_on(page, before):
    until(page, f"{WHERE}.some((value, i) => value !== {before}[i])")


def said(page):
    return page.locator("#wann-player dl").inner_text()


def test_the_weight_is_dragged(tab):
    page = tab
    before = page.evaluate(WHERE)
    page.get_by_role("button", name="Play").first.click()
    moves_on(page, before)
    page.get_by_role("button", name="Pause").first.click()
    slider = page.locator("#wann-player-weight")
    slider.focus()
    weight = page.evaluate("untrained.wann.player.w[0]")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("untrained.wann.player.w[0]") == pytest.approx(weight - 0.05)
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert page.evaluate("untrained.wann.player.w[0]") == pytest.approx(1.5, abs=0.15)
    assert page.locator("#wann-player output").inner_text().startswith("1.")
    held = page.evaluate(WHERE)
    page.get_by_role("button", name="Random weights").first.click()
    assert page.locator("#wann-player output").inner_text() == "each its own"
    weights = page.evaluate("[...untrained.wann.player.own.weights]")
    assert len(set(weights)) == len(weights) and page.evaluate(WHERE) == held
    page.select_option("#wann-choice", "digits")
    # The share of right answers is that of Python.
    net, task = wann.Net.load(saved(page)), wann.digits()
    weight = page.evaluate("untrained.wann.player.w[0]")
    x, labels = task.examples("test")
    assert f"{100 * (net(x, weight).argmax(1) == labels).mean():.1f} %" in said(page)


def saved(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save network").click()
    return download.value.path()


def evolve(page, workers, generations=5):
    """Evolve in the page with so many Workers, and return its rows."""
    page.evaluate(f"Object.defineProperty(navigator, 'hardwareConcurrency', {{value: {workers}, configurable: true}})")
    page.fill("#wann-population", "24")
    page.fill("#wann-generations", str(generations))
    page.fill("#wann-weights", "−2, −1, −0.5, 0.5, 1, 2")
    page.get_by_role("button", name="Start over").click()
    until(page, f"untrained.wann.search()?.generation === {generations}")
    assert page.locator("#wann-speed").inner_text().startswith(f"{workers} Workers, ")
    return page.evaluate("untrained.wann.search().rows")


def test_a_network_evolves_is_saved_and_scored_by_python(tab, tmp_path):
    page = tab
    rows = evolve(page, 2)
    assert rows[-1]["mean"] > rows[0]["mean"] - 50 and len(rows) == 5
    state = page.locator("#wann-state").inner_text()
    assert state.startswith("Generation 5 of 5. Best: a mean reward of ")
    for chart in ("rewards", "front"):
        drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
        assert page.locator(f"#wann-{chart}").evaluate(drawn)
    page.get_by_role("button", name="Take it to the top").click()
    path = tmp_path / "found.json"
    path.write_bytes(saved(page).read_bytes())
    net = wann.Net.load(path)
    assert net.meta["task"] == "swingup" and net.meta["generations"] == 5
    rewards = wann.swing_up().rewards(Packed.of([net]), WEIGHTS, 0, reps=64)[0]
    assert rewards.mean() == pytest.approx(net.meta["validation"], rel=0.25)
    # And back: what Python wrote opens here, and is the same.
    net.replace(meta={"by": "Python"}).save(path)
    page.set_input_files("#wann-open", path)
    until(page, "untrained.wann.player.net.meta.by === 'Python'")
    assert page.evaluate("untrained.wann.saved()") == path.read_text(encoding="utf-8")
    drop = """text => {
        const files = new DataTransfer();
        files.items.add(new File([text], "dropped.json"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, path.read_text(encoding="utf-8").replace('"Python"', '"hand"'))
    until(page, "untrained.wann.player.net.meta.by === 'hand'")
    path.write_text('{"format": "untrained-wann/1", "inputs": "<img src=x onerror=alert(1)>"}', encoding="utf-8")
    page.set_input_files("#wann-open", path)
    until(page, "document.getElementById('wann-said').textContent !== ''")
    assert page.locator("#wann-said").inner_text().startswith("This file holds no network that this page can run: ")
    assert page.evaluate("untrained.wann.player.net.meta.by") == "hand" and page.locator("#wann img").count() == 0


def test_a_search_does_not_depend_on_the_number_of_workers(tab):
    assert evolve(tab, 1, 3) == evolve(tab, 3, 3)


def test_a_search_pauses_and_says_what_cannot_be_set(tab):
    page = tab
    before = page.evaluate("untrained.wann.search()?.generation")
    page.fill("#wann-weights", "1, two")
    page.get_by_role("button", name="Start over").click()
    assert page.evaluate("untrained.wann.search()?.generation") == before
    assert page.evaluate("document.getElementById('wann-weights').validationMessage").startswith(
        "One to twelve numbers"
    )
    page.fill("#wann-weights", "−1, 1")
    page.fill("#wann-population", "16")
    page.fill("#wann-generations", "1000")
    page.get_by_role("button", name="Start over").click()
    until(page, "untrained.wann.search().weights.length === 2 && untrained.wann.search().generation > 3")
    page.locator("#wann-run").click()
    at = page.evaluate("untrained.wann.search().generation")
    page.wait_for_timeout(300)
    after = page.evaluate("untrained.wann.search().generation")
    assert page.locator("#wann-run").inner_text() == "Evolve" and after - at <= 1
    assert np.shape(page.evaluate("untrained.wann.search().best.rewards")) == (2,)


def test_anybody_can_read_it(tab):
    page = tab
    evolve(page, 2, 4)
    for width, dark in ((1400, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        check_page(page)
