"""The picture of a frontier is drawn whatever was found, and can be read."""

import itertools

import pytest

from frontier_rows import ENTRIES
from untrained import plot
from untrained.runs.frontier import pareto_front

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("name", [name for name in ENTRIES if name != "forty rows"])
def test_it_is_drawn_of_whatever_was_found(name, tmp_path):
    figure = plot.frontier("fc on a$b$^{ 猫\x1b\nthree seeds", ENTRIES[name])
    plot.save(figure, tmp_path / "a.png")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("bytes to ship", "accuracy on test data, %")
    low, high = axes.get_ylim()
    for entry in pareto_front(ENTRIES[name]):
        assert 100 * entry.accuracy < high and (name in ("hostile", "perfect") or low < 100 * entry.accuracy)


@pytest.mark.parametrize("name", ["forty rows", "one row of each", "all failed"])
def test_nothing_in_the_picture_is_small_or_overlaps(name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = plot.frontier("title\nof two lines", ENTRIES[name])
    figure.set_dpi(110)  # as it is saved
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    texts = [text for text in texts if text.get_text()]
    assert min(text.get_fontsize() * 110 / 72 for text in texts) >= 11
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    for (one, its), (other, others) in itertools.combinations(boxes, 2):
        assert not its.overlaps(others), (one, other)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for _, box in boxes)
    if name == "forty rows":
        front = {
            text for entry in pareto_front(ENTRIES[name]) for text in (f"{entry.cells[0].keep:g}",) if not entry.trained
        }
        shown = {text.get_text().split(" ")[0] for text in axes.texts}
        assert len(shown & front) >= 3


def test_tickets_and_trained_networks_are_told_apart():
    figure = plot.frontier("title", ENTRIES["forty rows"])
    fills = {}
    for handle in figure.legends[0].get_lines():
        if handle.get_marker() not in (None, "None"):
            fills[handle.get_label()] = handle.get_color(), handle.get_markerfacecolor() == handle.get_color()
    assert set(fills.values()) == {("#0072b2", True), ("#d55e00", False)}
    assert fills["edge-popup"] == ("#0072b2", True) and fills["ternary-twin"] == ("#d55e00", False)
