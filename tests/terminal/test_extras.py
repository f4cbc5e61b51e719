"""The command that installs an extra is right for the way in which untrained came here."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from untrained.terminal import extras
from untrained.terminal.extras import install_command

ORIGINS = {
    None: "'untrained[plot]'",
    "{broken": "'untrained[plot]'",
    "[]": "'untrained[plot]'",
    '{"url": 3}': "'untrained[plot]'",
    '{"url": "file:///home/me/my%20clone", "dir_info": {"editable": true}}': "-e '/home/me/my clone[plot]'",
    '{"url": "file:///home/me/clone", "dir_info": {}}': "'/home/me/clone[plot]'",
    '{"url": "file:///C:/me/clone", "dir_info": {"editable": true}}': "-e 'C:/me/clone[plot]'",
    '{"url": "https://h.org/u.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}': (
        "'untrained[plot] @ git+https://h.org/u.git@abc'"
    ),
    '{"url": "file:///d/untrained-1-py3-none-any.whl", "archive_info": {}}': (
        "'untrained[plot] @ file:///d/untrained-1-py3-none-any.whl'"
    ),
}


class Distribution:
    def __init__(self, text):
        self.text = text

    def read_text(self, name):
        return self.text if name == "direct_url.json" else None


@pytest.mark.parametrize(("origin", "asked"), ORIGINS.items())
def test_an_extra_comes_from_where_the_package_came_from(origin, asked, monkeypatch):
    monkeypatch.setattr(extras, "distribution", lambda name: Distribution(origin))
    monkeypatch.setattr(shutil, "which", lambda name: str(Path(sys.executable).parent / name))
    assert install_command("plot") == f"pip install {asked}"


def test_a_package_that_is_not_installed_is_the_index_s_and_a_foreign_pip_is_not_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    for pip in (None, "/usr/somewhere/bin/pip"):
        monkeypatch.setattr(shutil, "which", lambda name, pip=pip: pip)
        monkeypatch.setattr(sys, "executable", "/home/me/my env/bin/python")
        assert install_command("all") == "'/home/me/my env/bin/python' -m pip install 'untrained[all]'"
