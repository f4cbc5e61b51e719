"""The playground in Chromium: one file, two tabs, Workers, and no request of any kind."""

import base64
import hashlib
import re

import torch

import untrained as ut
from browsing import until
from untrained.data.batches import Batches


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


def test_it_opens_and_a_worker_reads_tickets(page):
    model = ut.mask_(ut.models.fc((10, 20), (1, 8, 8)), ut.EdgePopup(0.5), seed=2**64 - 7)
    ticket = ut.Ticket.of(model).to_bytes()
    said = {
        data: page.evaluate(READ, base64.b64encode(data).decode())
        for data in (ticket, ticket[:-1], b"<b>nothing</b>", bytes(1_000_001))
    }
    assert said.pop(ticket) == [str(2**64 - 7), [640, 200, 200]]
    assert all(re.fullmatch(r"This (ticket is damaged: .+|file is too large .+)", why) for why in said.values()), said


READ_DIGITS = """part => {
    const { images, labels } = untrained.readDigits()[part];
    return [new Uint8Array(images.buffer), labels].map((bytes) => new Sha256().add(bytes).hex());
}"""


def test_the_digits_are_those_of_python(page):
    data = ut.load_data("digits")
    for name, split in (("train", data.train), ("validation", data.val), ("test", data.test)):
        (images, labels), *others = Batches(split, len(split), mean=data.mean, std=data.std)
        parts = images.numpy().tobytes(), labels.to(torch.uint8).numpy().tobytes()
        assert not others
        assert page.evaluate(READ_DIGITS, name) == [hashlib.sha256(part).hexdigest() for part in parts]


def test_tabs_from_the_keyboard_and_from_the_address(page):
    page.evaluate("location.hash = ''")
    page.wait_for_selector("#find:not([hidden])")
    assert not page.locator("#wann").is_visible()
    page.locator("#tab-find").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#wann:not([hidden])")
    assert not page.locator("#find").is_visible()
    assert page.url.endswith("#wann")
    page.go_back()  # the other tab
    page.wait_for_selector("#find:not([hidden])")
    page.evaluate("location.hash = '#wann'")
    page.wait_for_selector("#wann:not([hidden])")


def test_both_tabs_play_by_themselves(written, opened):
    """Those who did not ask for less motion see it at once; a tab that is not shown stands still."""
    page, where = opened(written), "[...untrained.wann.player.scene.state]"
    until(page, "untrained.find.last()?.step > 0")
    page.locator("#tab-wann").click()
    page.wait_for_selector("#wann:not([hidden])")
    before = page.evaluate(where)
    until(page, f"{where}.some((value, i) => value !== {before}[i])")
    page.wait_for_timeout(100)
    step = page.evaluate("untrained.find.last().step")
    page.wait_for_timeout(100)
    assert page.evaluate("untrained.find.last().step") == step
