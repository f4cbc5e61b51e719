"""The screenshots of the docs: docs/report.png and docs/browser.png, by a headless Chromium.

python benchmarks/screenshots.py RUN    RUN is a folder that `untrained find` has written, such as runs/demo
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import untrained as ut

DOCS = Path(__file__).parent.parent / "docs"
# A seven, as a hand would draw it: places on the canvas, as shares of its sides.
SEVEN = [(0.25, 0.15), (0.75, 0.15), (0.62, 0.4), (0.5, 0.65), (0.42, 0.9)]


def main(run: Path) -> None:
    """Write the report of the run and its ticket as a page, and take a picture of each."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_of_ticket = Path(folder) / "found.html"
        ut.export.to_html(ut.Ticket.load(run / "found.ticket"), page_of_ticket)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto(ut.write_report(run).resolve().as_uri())
        section = page.locator("section", has=page.get_by_role("heading", name="The search, epoch by epoch"))
        section.locator("input").fill("2")
        section.screenshot(path=DOCS / "report.png")

        page.goto(page_of_ticket.as_uri())
        page.locator("small", has_text="right").nth(2).wait_for()
        box = page.locator("canvas").first.bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=12)
        page.mouse.up()
        page.wait_for_timeout(300)
        page.screenshot(path=DOCS / "browser.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
