"""Fixture of the tests of the kernels: the library of every level."""

import pytest
from kernel_problems import use

from untrained.native import choice as kernels
from untrained.native.compiler import NoCompiler
from untrained.native.library import levels, load


@pytest.fixture(params=levels())
def native(request, monkeypatch):
    """The library of every level of this machine, in turn."""
    try:
        library = load(request.param)
    except NoCompiler as why:
        pytest.skip(str(why))
    use(monkeypatch, library)
    yield library
    kernels.forget()
