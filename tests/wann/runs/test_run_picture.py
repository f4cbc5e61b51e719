"""The picture of a run: all of it is there, within the picture, and no label breaks it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from untrained.wann.networks.net import Net
from untrained.wann.runs.drawing import draw_run

pytest.importorskip("matplotlib")

HOSTILE = ("$x^{", "a\nb\t$", "l" * 500, "\x00\ud800\\frac{$", "", "_$_{}%&#")
WEIGHTS = np.linspace(-3, 3, 13)
ROWS = [{"generation": k, "best": float(k), "mean": float("nan") if k == 1 else k / 2, "more": None} for k in range(5)]
NET = Net(5, 2, [5, 11, 1], [0, 3, 5, 7], [1, 2, 5, 4, 6, 0, 6], weights=[1, -2, 3, 4, 5, 6, 7])


def drawn(
    path=None,
    *,
    net=NET,
    names=None,
    rows=ROWS,
    front=((5, 1.0),),
    rewards=WEIGHTS,
    measure="mean",
    title="a",
    most=None,
):
    weights = WEIGHTS if len(rewards) else ()
    return draw_run(
        path, net=net, names=names, rows=rows, front=front, weights=weights, rewards=rewards, measure=measure,
        title=title, most=most,
    )  # fmt: skip


def assert_legends_are_apart(figure, count):
    figure.draw_without_rendering()
    boxes = [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
    assert len(boxes) == count
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes)
        assert not any(box.overlaps(axes.xaxis.label.get_window_extent()) for axes in figure.axes[1:])


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
def test_a_run_is_one_picture(ending, magic, tmp_path):
    path = tmp_path / f"run.{ending}"
    front = [(90, float("nan")), (7, 5.0), (7, 2.0), (3, 1.0), (4, 0.5)]
    rewards = -((WEIGHTS - 1.5) ** 2)
    rewards[0] = np.nan
    figure = drawn(path, names=("a", "b", "c", "d", "e"), front=front, rewards=rewards, most=1000.0)
    assert [axes.get_ylabel() for axes in figure.axes[1:]] == ["reward (of 1,000)"] * 3
    assert path.read_bytes().startswith(magic)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert figure.dpi == 150
    _, search, sizes, shared = figure.axes
    assert [line.get_label() for line in search.lines] == ["best", "mean of all"]
    step, networks, this = sizes.lines
    assert step.get_xydata().tolist() == [[3, 1], [4, 1], [7, 2], [7, 5]]
    assert len(networks.get_xydata()) == 4
    assert this.get_xydata().tolist() == [[7, 5]]
    dotted = {line.get_xdata()[0] for line in shared.lines if list(line.get_ydata()) == [0, 1]}
    assert dotted == {-2, -1, -0.5, 0.5, 1, 2}
    (best,) = [line for line in shared.lines if line.get_marker() == "o"]
    assert best.get_xydata().tolist() == [[1.5, 0.0]]
    assert_legends_are_apart(figure, 3)


def test_hostile_titles_and_labels_are_text(tmp_path):
    count = len(HOSTILE)
    net = Net(count, count, [1] * count, range(count + 1), range(1, count + 1), labels=HOSTILE)
    for text in HOSTILE:
        figure = drawn(tmp_path / "run.svg", net=net, names=HOSTILE, measure=text, title=text)
        assert_legends_are_apart(figure, 3)


@pytest.mark.parametrize("rewards", [(), WEIGHTS * np.nan])
def test_an_empty_run_is_a_picture_still(rewards):
    figure = drawn(rows=(), front=(), rewards=rewards)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(figure.axes) == 4
    assert texts.count("nothing to show") == (2 if len(rewards) else 3)


def test_missing_matplotlib_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install .*\[plot\]"):
        drawn()
