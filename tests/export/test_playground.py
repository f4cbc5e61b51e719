"""The playground in Chromium: one file, two tabs, Workers, and no request of any kind."""

import base64
import hashlib
import re

import pytest
import torch

import untrained as ut
from browsing import check_page
from untrained.data.batches import Batches


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The path of a playground."""
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    ut.export.playground(path)
    return path


def test_only_its_own_scripts_run(written):
    text = written.read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = policy.replace("&#39;", "'")
    assert "unsafe" not in policy and "http" not in policy and "default-src 'none'" in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = re.findall(r"<(?:script id=\"\w+\"|style)>(.*?)</(?:script|style)>", text, re.DOTALL)
    assert [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in run] in (
        allowed, allowed[2:] + allowed[:2])  # fmt: skip
    assert text.count("<script") == 3 and "<!--" not in text
    # Nothing asks for anything, makes code of text, or is a handler that the policy would not let run.
    assert not re.search(
        r"innerHTML|\beval\s*\(|new Function|\bfetch\b|XMLHttp|WebSocket|importScripts|<[^>]*\son\w+=", text
    )


READ = """ticket => untrained.readTicketFile(new Blob([Uint8Array.from(atob(ticket), (c) => c.charCodeAt(0))]))
    .then(({ network, masks }) => [String(network.seed), masks.map((mask) => mask.length)], (error) => error.message)"""


def test_it_opens_and_a_worker_reads_tickets(written, opened):
    page = opened(written)
    model = ut.mask_(ut.models.fc((10, 20), (1, 8, 8)), ut.EdgePopup(0.5), seed=2**64 - 7)
    ticket = ut.Ticket.of(model).to_bytes()
    said = {
        data: page.evaluate(READ, base64.b64encode(data).decode())
        for data in (ticket, ticket[:-1], b"<b>nothing</b>", bytes(2_000_000))
    }
    assert said.pop(ticket) == [str(2**64 - 7), [640, 200, 200]]
    assert all(re.fullmatch(r"This (ticket is damaged: .+|file is too large .+)", why) for why in said.values()), said


def test_the_digits_are_those_of_python(written, opened):
    page = opened(written)
    data = ut.load_data("digits")
    for name, split in (("train", data.train), ("validation", data.val), ("test", data.test)):
        seen = page.evaluate("part => [...untrained.digits[part].images, ...untrained.digits[part].labels]", name)
        (images, labels), *others = Batches(split, len(split), mean=data.mean, std=data.std)
        assert not others and torch.equal(torch.tensor(seen), torch.cat([images.flatten(), labels]))


def test_tabs_from_the_keyboard_and_from_the_address(written, opened):
    page = opened(written)
    assert page.locator("#find").is_visible() and not page.locator("#wann").is_visible()
    page.locator("#tab-find").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#wann").is_visible() and not page.locator("#find").is_visible()
    assert page.url.endswith("#wann") and page.evaluate("document.activeElement.id") == "tab-wann"
    page.keyboard.press("ArrowRight")
    assert page.locator("#find").is_visible()
    page.evaluate("location.hash = '#wann'")
    page.wait_for_selector("#wann:not([hidden])")
    for width, dark in ((1400, False), (400, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        check_page(page)
