"""The picture of a comparison is drawn whatever was found."""

import dataclasses
import math

import pytest

from untrained import plot
from untrained.runs.table import Line

pytest.importorskip("matplotlib")
GOOD = Line("n", None, 1, 0.9, 0.0, 0.9, 1.0, 32.0, 1000.0, 1.0, "")
FAILED = Line("m", 0.5, 0, *7 * [math.nan], "it diverged")
LONG = dataclasses.replace(GOOD, method=f"/home/{100 * 'm'}.py:OwnMethod", file_bytes=300.0)
HOPELESS = dataclasses.replace(GOOD, accuracy=0.1)


@pytest.mark.parametrize("lines", [[FAILED], [FAILED, GOOD, HOPELESS, LONG], [dataclasses.replace(GOOD, std=0.5)]])
def test_it_is_drawn_when_hardly_anything_went_well(lines, tmp_path):
    plot.save(plot.comparison("title", lines), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
