"""The documentation site: it builds, lists every page and name, asks nothing of any network, and can be read by all."""

import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import untrained as ut
from untrained import wann

pytest.importorskip("material")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def _html(site):
    return {path.name: path.read_text() for path in sorted(site.glob("*.html"))}


def test_every_page_is_built_and_in_the_navigation(site):
    pages, front = {page.stem for page in DOCS.glob("*.md")}, (site / "index.html").read_text()
    assert {path.stem for path in site.glob("*.html")} == pages | {"404"}
    assert all(f'href="{page}.html"' in front for page in pages - {"index"})


def test_nothing_is_fetched_from_elsewhere(site):
    """What a page loads by itself, not what a reader may click."""
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:)?//|<link\b[^>]*\bhref=["']?(https?:)?//"""
    )
    for name, html in _html(site).items():
        assert not loads.search(html), name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.read_text()), style


def test_the_reference_has_every_public_name(site):
    said = {
        page: set(re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)) for page in DOCS.glob("reference*.md")
    }
    pages = set().union(*said.values())
    modules = {"export", "models", "optim", "packed", "plot", "sklearn", "testing", "wann", "__version__"}
    assert {name.rpartition(".")[2] for name in pages if not name.startswith("untrained.wann.")} >= {
        *ut.__all__
    } - modules
    assert {name.rpartition(".")[2] for name in pages if name.startswith("untrained.wann.")} == {*wann.__all__}
    for page, names in said.items():
        html = (site / f"{page.stem}.html").read_text()
        assert all(f'id="{name}"' in html for name in names), page


@pytest.fixture
def visit(chromium, site):
    """A function that opens a page of the site, served from this machine; at the end nothing else was asked for."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    home, contexts, faults = f"http://127.0.0.1:{server.server_port}/", [], []

    def open_page(name, *, width=1400, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        contexts.append(context)
        context.on(
            "request",
            lambda asked: None if asked.url.startswith((home, "data:", "blob:")) else faults.append(asked.url),
        )
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(home + name, wait_until="networkidle")
        return page

    yield open_page
    for context in contexts:
        context.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert not faults, faults


SHOWN = ["index.html", "story.html", "quick-start.html", "questions.html", "reference.html"]


@pytest.mark.parametrize("name", SHOWN)
def test_pages_fit_and_can_be_read_by_all(visit, name):
    browsing = pytest.importorskip("browsing", reason="needs axe_playwright_python")
    for width, dark in browsing.LOOKS:
        page = visit(name, width=width, dark=dark)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browsing.refuse_faults(page)
        assert ("slate" in (page.get_attribute("body", "data-md-color-scheme") or "")) == dark


def _search(page, word, found):
    """Type a word into the search until it finds a page; give its first result."""
    page.focus("input[name=query]")
    # The index is read by a worker; what is typed before it is ready is lost.
    page.wait_for_function("document.querySelector('.md-search-result__meta').textContent.startsWith('Type')")
    page.locator("input[name=query]").press_sequentially(word)  # the theme listens for keys
    # Every letter is a query: the links of "s" come before those of the whole word.
    page.wait_for_selector(f".md-search-result__link[href*='{found}']", state="attached")


def test_search_finds(visit):
    _search(visit("index.html"), "straight-through", "story.html")


def test_the_site_works_from_a_folder(chromium, site):
    """Without a server there are every page, every picture, and the search, which asks nothing of any network."""
    context = chromium.new_context()
    asked, faults = [], []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((site / "index.html").as_uri())
    _search(page, "straight-through", "story.html")
    page.click(".md-search-result__link[href*='story.html']")
    page.wait_for_selector("h2 >> text=The missing equation")
    assert page.url.startswith((site / "story.html").as_uri())
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    context.close()
    assert not faults, faults
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
