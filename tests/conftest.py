"""What several test files share: one hypothesis profile, and the threads that tests run on."""

import os
import threading

import pytest
import torch
from hypothesis import settings

# No deadline on a shared machine, and in CI the same examples every time.
settings.register_profile("untrained", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untrained")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Everything here is small, and threads would only wait for each other."""
    torch.set_num_threads(1)


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
