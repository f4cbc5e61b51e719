"""What the playground's tests share."""

import pytest

import untrained as ut
from browsing import until


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The path of a playground."""
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    ut.export.playground(path)
    return path


@pytest.fixture(scope="session")
def only_page(written, opened_once):
    """A playground in Chromium, for a reader who asked for less motion: nothing in it starts by itself."""
    page, where = opened_once(written, reduced_motion="reduce"), "[...untrained.wann.player.scene.state]"
    page.locator("#tab-wann").click()
    before = page.evaluate(where)
    page.wait_for_timeout(200)
    assert page.evaluate(where) == before
    page.locator("#tab-find").click()
    until(page, "untrained.find.last() !== null")
    assert page.evaluate("untrained.find.last().step") == 0
    return page


@pytest.fixture
def page(only_page):
    """The same page for every test, as wide and as light as at first."""
    only_page.set_viewport_size({"width": 1400, "height": 900})
    only_page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return only_page
