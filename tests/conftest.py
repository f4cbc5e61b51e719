"""What several test files share: one hypothesis profile, and the threads that tests run on."""

import contextlib
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# No deadline on a shared machine, and in CI the same examples every time.
settings.register_profile("untrained", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untrained")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Everything here is small, and threads would only wait for each other; also in processes that tests start."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_configure(config):
    """Give torch's inductor a folder for what it compiles: its own is shared by processes that use other instructions.

    Kernels compiled for AVX-512 give infinities or write where they must not where torch uses AVX2, with plain models,
    too.
    """
    if (cache := getattr(config, "cache", None)) is not None:
        level = torch.backends.cpu.get_cpu_capability().replace(" ", "-").lower()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache.mkdir(f"inductor-{level}"))


@pytest.fixture
def threads():
    """A function that sets torch's thread count until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def in_a_fresh_thread():
    """A function that calls another where no choice was made before: a choice's scratch memory is each thread's own."""

    def call(function):
        outcome = {}

        def run():
            try:
                outcome["result"] = function()
            except Exception as error:
                outcome["error"] = error

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["result"]

    return call


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium of the system's, driven by playwright; tests that need it skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if (program := shutil.which("chromium")) is None:
        pytest.skip("needs Debian's chromium")
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", *quiet])
        yield browser
        browser.close()


@contextlib.contextmanager
def _opening(chromium):
    """A function that opens an HTML file: `opened(path, width=1400, dark=False)` gives playwright's page.

    At the end nothing may have been said on the console, nothing may have been thrown, and nothing may have been asked
    of any network.
    """
    contexts, faults = [], []

    def open_file(path, *, width=1400, height=900, dark=False, **context):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", **context
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        url = Path(path).resolve().as_uri()
        own = ("data:", "blob:", url)
        page.on("request", lambda asked: None if asked.url.startswith(own) else faults.append(f"asks for {asked.url}"))
        page.goto(url)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not faults, faults


@pytest.fixture
def opened(chromium):
    """A function that opens an HTML file, which is closed after the test."""
    with _opening(chromium) as open_file:
        yield open_file


@pytest.fixture(scope="session")
def opened_once(chromium):
    """A function that opens an HTML file, which is closed after all tests."""
    with _opening(chromium) as open_file:
        yield open_file
