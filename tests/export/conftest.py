"""What the playground's tests share."""

import pytest

import untrained as ut


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The path of a playground."""
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    ut.export.playground(path)
    return path
