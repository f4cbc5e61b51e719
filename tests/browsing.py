"""What is asked of every page we write, in a browser."""

import time

from axe_playwright_python.sync_playwright import Axe

LOOKS = [(1400, False), (400, True)]
"""Widths in pixels, and whether it is dark: faults of colour do not depend on the width, nor others on the colours."""

# Every element that has text of its own, and how large that is in pixels.
_SMALL = """() => [...document.querySelectorAll('body *')].filter(each =>
    [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
    && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(each.tagName) && parseFloat(getComputedStyle(each).fontSize) < 11)
    .map(each => `${each.tagName} ${getComputedStyle(each).fontSize}: ${each.textContent.trim().slice(0, 40)}`)"""


def check_looks(page):
    """Refuse small text and a page wider than the window."""
    assert page.evaluate(_SMALL) == []
    wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window


def check_page(page):
    """Refuse what `check_looks` refuses, and what axe-core calls a serious or critical fault."""
    check_looks(page)
    refuse_faults(page)


def refuse_faults(page):
    """Refuse what axe-core calls a serious or critical fault."""
    faults = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]  # twice as fast as all
    serious = [(each["id"], node["html"][:160], node["failureSummary"][:300]) for each in faults
               if each["impact"] in ("serious", "critical") for node in each["nodes"]]  # fmt: skip
    assert serious == [], len(serious)


def until(page, expression, seconds=60):
    """Wait until this is true; playwright's own function makes code of text, which a page's policy may refuse."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)
