"""The moving picture of the README, docs/playground.webp: both tabs of the playground, in a headless Chromium.

.venv/bin/python benchmarks/playground_movie.py
"""

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import untrained as ut

OUT = Path(__file__).parent.parent / "docs" / "playground.webp"
SIZE, SHOWN = (1280, 900), (800, 562)
FRAMES, MILLISECONDS = 24, 400
MOST = 2_000_000  # bytes


def filmed(page: Page) -> list[Image.Image]:
    """Frames of what the page shows, as fast as they can be taken, but no faster than they are shown."""
    frames = []
    for _ in range(FRAMES):
        frames.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS))
        page.wait_for_timeout(MILLISECONDS)
    return frames


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "playground.html"
        ut.export.playground(path)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(path.as_uri())
        frames = filmed(page)
        page.locator("#tab-wann").click()
        frames += filmed(page)
        browser.close()
    frames[0].save(OUT, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, quality=60, method=6)
    if OUT.stat().st_size > MOST:
        raise SystemExit(f"{OUT} has {OUT.stat().st_size:,} bytes, expected {MOST:,} at most")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes, {len(frames)} frames")


if __name__ == "__main__":
    main()
