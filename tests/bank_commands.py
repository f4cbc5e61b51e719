"""Commands of banks as a user would type them, and what a wrong one prints."""

import pytest

from untrained.cli import main


def bank(*words):
    main(["bank", *map(str, words)])


def refused(capsys, *words):
    """The one line that a wrong call prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        bank(*words)
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and len(err.splitlines()) == 1 and err.startswith("untrained: ")
    assert not out
    return err
