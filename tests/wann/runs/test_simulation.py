"""A network at work on the page about its search, and on a page of its own."""

import re

import pytest

from browsing import check_page
from untrained import wann
from untrained.cli import main
from untrained.export.browser.page import read_file
from untrained.wann.networks.activations import ids_of
from wann_nets import random_net

# Held upright at any positive weight: the force goes where the pole falls to.
BALANCES = wann.Net(4, 1, ids_of(["linear"]), [0, 2], [3, 4], meta={"task": "cartpole", "shared_weight": 2})


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)])
def test_a_report_shows_the_network_at_work(opened, tmp_path, width, dark):
    BALANCES.save(tmp_path / "found.json")
    page = opened(wann.write_report(tmp_path), width=width, dark=dark)
    page.wait_for_function("parseFloat(document.querySelector('#live dd').textContent) > 1")
    assert page.locator("#live output").inner_text() == "2.00"
    assert page.locator("#live .node").count() == 3 and page.locator("#live .link").count() == 2
    check_page(page)
    slider = page.locator("#live input")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("#live output").inner_text() == "−3.00"
    page.wait_for_function("document.querySelector('#live dl').textContent.includes('fallen')")


def test_other_tasks_have_no_world(opened, tmp_path, capsys):
    net = random_net(0, 3, 1).replace(meta={"task": "pendulum"})
    for other in (net, BALANCES.replace(meta={"task": "swingup"}), BALANCES.replace(meta={"task": ["</script>"]})):
        other.save(tmp_path / "found.json")
        assert 'id="live"' not in wann.write_report(tmp_path).read_text(encoding="utf-8")
        with pytest.raises(SystemExit):
            main(["wann", "export", str(tmp_path / "found.json"), str(tmp_path / "page.html")])
        assert "a page has a world for swingup and cartpole" in capsys.readouterr().err


def test_a_page_of_its_own(opened, tmp_path):
    tuned = BALANCES.replace(weights=[0.5, 1.0])
    tuned.save(tmp_path / "found.json")
    main(["wann", "export", str(tmp_path / "found.json"), str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").stat().st_size < 50_000
    page = opened(tmp_path / "page.html")
    page.wait_for_function("parseFloat(document.querySelector('#live dd').textContent) > 1")
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_the_players_style_leaves_the_rest_of_a_page_alone():
    """A rule for every chart once made the labels of the report's charts invisible."""
    for rule in re.findall(
        r"([^{}]+)\{[^{}]*\}", read_file("playground/player.css").replace("@media (min-width: 760px) {", "")
    ):
        assert all(part.strip().startswith((".player", ".net")) for part in rule.split(",")), rule
