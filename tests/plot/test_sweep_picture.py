"""The picture of a sweep is drawn whatever was found, and can be read."""

import dataclasses
import itertools
import math

import pytest

from untrained import plot
from untrained.runs.table import RANDOM, TWIN, Line

pytest.importorskip("matplotlib")
AXES = ("keep", "width", "weights")
GOOD = Line("edge-popup", 0.5, 2, 0.9, 0.01, 0.9, 0.5, 1.0, 1000.0, 1.0, "")
FAILED = Line("edge-popup", 0.5, 0, *7 * [math.nan], "it diverged")
WHERE = {
    "keep": [{"keep": keep} for keep in (0.9, 0.1, 0.5)],
    "width": [{"width": width} for width in (4.0, 0.5, 1.0)],
    "weights": [{"law": law} for law in ("standard", "kaiming-normal(scaled=True, fan=out)", "recommended")],
}
STATES = {
    "all good": (GOOD, GOOD, GOOD),
    "one failed": (GOOD, FAILED, GOOD),
    "all failed": (FAILED, FAILED, FAILED),
    "one seed": tuple(dataclasses.replace(GOOD, seeds=1, std=0.0) for _ in range(3)),
    "perfect": tuple(dataclasses.replace(GOOD, accuracy=1.0, std=0.0) for _ in range(3)),
    "hopeless": tuple(dataclasses.replace(GOOD, accuracy=0.0, std=0.3) for _ in range(3)),
}


CASES = [
    *itertools.product(["keep"], STATES),
    *itertools.product(["width", "weights"], ["all good", "one failed", "all failed"]),
]


def made_up(axis, state):
    """Lines along an axis: twin, random subnetworks, two methods, of which one learns how much it keeps."""
    lines = []
    for method in (TWIN, RANDOM, "edge-popup", "bernoulli", f"/home/{60 * 'm'} {60 * 'n'}.py:Own"):
        learns = axis == "keep" and method in (TWIN, "bernoulli")
        for line, where in list(zip(STATES[state], WHERE[axis], strict=True))[: 1 if learns else 3]:
            where = {} if method == TWIN and axis != "width" else where
            accuracy = 0.1 if method == RANDOM and line.seeds else line.accuracy
            lines.append(dataclasses.replace(line, method=method, accuracy=accuracy, **where))
            if learns:
                lines[-1] = dataclasses.replace(lines[-1], keep=None)
            if method == TWIN and axis != "width":
                break
    return lines


@pytest.mark.parametrize(("axis", "state"), CASES)
def test_it_is_drawn_of_whatever_was_found(axis, state, tmp_path):
    figure = plot.sweep("title", axis, made_up(axis, state))
    plot.save(figure, tmp_path / "a.png")
    names = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    assert all("accuracy on test data, %" in name for name in names)
    assert len(figure.axes) == (1 if state in ("all failed", "hopeless") else 2)
    assert all(("weights kept, %" in name) == (axis == "keep") for name in names)


def drawn_texts(figure):
    """Every text that is drawn; ticks beyond the ends of an axis are not."""
    texts = [*figure.texts, figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in dict.fromkeys(texts) if text.get_text() and text.get_visible()]


def test_names_are_no_formulas_and_lack_no_glyph(tmp_path):
    names = ["a$b$^{", "$\\nothing$", "猫\x1b[31m\u202e", "tab\tand\nline"]
    by_method = dict(
        zip(dict.fromkeys(line.method for line in made_up("keep", "all good")), [TWIN, *names], strict=True)
    )
    by_keep = [dataclasses.replace(x, method=by_method[x.method]) for x in made_up("keep", "all good")]
    laws = dict(zip(dict.fromkeys(x.law for x in made_up("weights", "all good")), [None, *names[:3]], strict=True))
    by_law = [dataclasses.replace(x, law=laws[x.law]) for x in made_up("weights", "all good")]
    title = f"fc on {' '.join(names)}, 3 epochs"
    for figure in (
        plot.sweep(title, "keep", by_keep),
        plot.sweep(title, "weights", by_law),
        plot.comparison(title, by_keep),
    ):
        plot.save(figure, tmp_path / "a.png")


@pytest.mark.parametrize("axis", AXES)
def test_nothing_in_the_picture_is_small_or_overlaps(axis):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = plot.sweep("title\nof two lines", axis, made_up(axis, "all good"))
    figure.set_dpi(110)  # as it is saved
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = drawn_texts(figure)
    assert len(texts) > 15 and min(text.get_fontsize() * 110 / 72 for text in texts) >= 11
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    for (one, its), (other, others) in itertools.combinations(boxes, 2):
        assert not its.overlaps(others), (one, other)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for _, box in boxes)


def test_widths_that_are_close_are_not_all_labelled():
    lines = [dataclasses.replace(GOOD, width=1 + number / 20) for number in range(40)]
    figure = plot.sweep("title", "width", lines)
    assert 2 <= len(figure.axes[0].get_xticks()) <= 14


def test_the_twin_of_width_1_is_a_level_of_its_own():
    figure = plot.sweep("title", "width", made_up("width", "all good"))
    assert "trained twin, width 1" in [text.get_text() for text in figure.legends[0].get_texts()]
