"""`sweep`: one axis, every cell what `compare` finds there, going on after an interruption, and its picture."""

import dataclasses
import itertools
import json
import math
import tomllib
from pathlib import Path

import pytest
import torch

import untrained as ut
from untrained.experiments import compare as comparison
from untrained.experiments.compare import compare
from untrained.experiments.sweep import Sweep, sweep
from untrained.runs.settings import CompareSettings, SweepSettings
from untrained.runs.table import RANDOM, TWIN, Cell, Line, lines_of, read_cell, write_cell
from untrained.search import checkpoint

QUICK = {"widths": (8,), "epochs": 1, "seeds": 2, "jobs": 1}
LAWS = "kaiming-normal,signed-constant(scaled=True),recommended"
AXES = {
    "keep": {"keep": "0.7,0.2"},
    "width": {"width": "2,0.5"},
    "weights": {"weights": LAWS},
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "pictures" not in request.fixturenames:  # they take longer than a search
        monkeypatch.setattr(comparison.plot, "available", lambda: False)


@pytest.fixture
def pictures():
    """Asked for by tests that want pictures drawn."""
    pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A function that gives the sweep along an axis, made once."""
    made: dict[str, Sweep] = {}

    def get(axis):
        if axis not in made:
            made[axis] = sweep(**QUICK, **AXES[axis], out=tmp_path_factory.mktemp("swept") / axis)
        return made[axis]

    return get


def untimed(cells):
    return [dataclasses.replace(cell, seconds=0) for cell in cells]


def place(line):
    return line.method, line.keep, line.width, line.law


# The grid.


@pytest.mark.parametrize("axis", AXES)
def test_the_grid_is_the_product_and_its_lines_are_in_order(swept, axis):
    found = swept(axis)
    laws = LAWS.split(",")
    wanted = {
        "keep": [(TWIN, None, None, None), *((m, k, None, None) for m in (RANDOM, "edge-popup") for k in (0.7, 0.2))],
        "width": [
            *((TWIN, None, width, None) for width in (1.0, 2.0, 0.5)),  # the first is what wide ones are measured by
            *((method, 0.5, width, None) for method in (RANDOM, "edge-popup") for width in (2.0, 0.5)),
        ],
        "weights": [(TWIN, None, None, None), *((m, 0.5, None, law) for m in (RANDOM, "edge-popup") for law in laws)],
    }[axis]
    assert found.axis == axis and [place(line) for line in found.lines] == wanted
    assert [(*cell.place, cell.seed) for cell in found.cells] == [(*at, seed) for at in wanted for seed in (0, 1)]
    assert [line.error for line in found.lines] == [""] * len(wanted)
    assert len({cell.name for cell in found.cells}) == len(found.cells)
    assert {path.stem for path in found.folder.glob("cells/*.json")} == {cell.name for cell in found.cells}
    assert list(found.lines) == lines_of(found.cells)


def test_a_twin_at_width_1_is_there_once(swept):
    found = sweep(**QUICK | {"seeds": 1, "methods": ""}, width="0.5,1,1.0,2", out=Path("run"))
    assert [line.width for line in found.lines if line.method == TWIN] == [0.5, 1, 2]


def test_a_method_that_learns_how_much_it_keeps_is_searched_once_along_keep_and_at_every_width():
    few = QUICK | {"seeds": 1, "methods": "bernoulli"}
    along_keep, along_width = sweep(**few, keep="0.3,0.6", out=Path("a")), sweep(**few, width="1,2", out=Path("b"))
    assert [place(line)[1:] for line in along_keep.lines if line.method == "bernoulli"] == [(None, None, None)]
    assert [line.width for line in along_width.lines if line.method == "bernoulli"] == [1, 2]


# Every cell is what compare finds.


def as_compared(line, **settings):
    """The cells of `compare` that go with a line of a sweep."""
    keep = {} if line.keep is None else {"keep": str(line.keep)}
    found = compare(
        **QUICK | {"methods": "edge-popup"} | keep | settings, out=Path(f"compared-{len(list(Path().iterdir()))}")
    )
    return [cell for cell in found.cells if cell.method == line.method]


@pytest.mark.parametrize(
    ("axis", "number", "settings"),
    [
        ("keep", -1, {}),
        ("keep", 0, {}),
        ("width", 0, {}),
        ("width", 1, {"widths": (16,)}),
        ("width", -1, {"widths": (4,)}),
        ("weights", -3, {"weights": "kaiming-normal"}),
        ("weights", 1, {"weights": "kaiming-normal"}),
        ("weights", -1, {}),
    ],
)
def test_the_same_cell_in_compare_and_sweep_is_the_same_network(swept, axis, number, settings):
    found = swept(axis)
    line = found.lines[number]
    own = [cell for cell in found.cells if cell.place == place(line)]
    compared = as_compared(line, **settings)
    assert untimed(dataclasses.replace(cell, width=None, law=None) for cell in own) == untimed(compared)


def test_every_cell_is_given_a_network_of_its_width(monkeypatch):
    seen = []
    monkeypatch.setattr(comparison, "run_cell", lambda setup, cell, *_: (seen.append(setup), cell)[1])
    monkeypatch.setattr(comparison, "lines_of", lambda cells: [])  # of networks that nobody searched
    sweep(model="conv2", width="0.5,1,2", seeds=1, jobs=1, out=Path("run"))
    assert [setup.width for setup in seen] == 3 * [0.5, None, 2.0]
    assert {setup.widths for setup in seen} == {None} and {type(setup) for setup in seen} == {CompareSettings}
    seen.clear()
    sweep(widths=(30, 7), width="0.1,3", weights="standard", keep="0.3", seeds=1, jobs=1, out=Path("fc"))
    assert [setup.widths for setup in seen] == [(30, 7), *3 * [(3, 1), (90, 21)]]
    assert {(setup.width, setup.weights, setup.keep) for setup in seen} == {(None, "standard", "0.3")}
    seen.clear()
    sweep(width="2", keep="0.3,0.6", seeds=1, jobs=1, out=Path("default"))  # another width, all along
    assert {setup.widths for setup in seen} == {(600, 200)}


# Wrong input is a clear error, and nothing is written.


@pytest.mark.parametrize("axes", [axes for n in (0, 2, 3) for axes in itertools.combinations(AXES, n)])
def test_one_axis_and_no_more(axes):
    changes = {key: value for axis in axes for key, value in AXES[axis].items()}
    with pytest.raises(ValueError) as error:
        sweep(**QUICK, **changes, out=Path("run"))
    for axis in axes or AXES:
        assert axis in str(error.value)
    assert ("one axis" in str(error.value)) == bool(axes) and not Path("run").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keep": "0.5,0.50"}, "needs two values or more"),
        ({"keep": "0.5,1.5"}, "keep must be in (0, 1], got '0.5,1.5'"),
        ({"keep": "half,0.1"}, "keep must be numbers with commas between them, got 'half,0.1'"),
        ({"width": "0,1"}, "width must be in (0, 64], got '0,1'"),
        ({"width": "1,nan"}, "width must be in (0, 64], got '1,nan'"),
        ({"width": "1,65"}, "width must be in (0, 64], got '1,65'"),
        ({"width": "wide,1"}, "width must be numbers with commas between them, got 'wide,1'"),
        ({"width": ""}, "width must be in (0, 64], got ''"),
        ({"weights": "kaiming-normal,nonsense"}, "unknown weights law 'nonsense'"),
        ({"weights": "kaiming-normal(nope=1),standard"}, "no field 'nope'"),
        ({"weights": " , "}, "weights must be laws with commas between them, got ' , '"),
        ({"keep": "0.1,0.2", "methods": "nope"}, "unknown method 'nope'"),
        ({"keep": "0.1,0.2", "weights": "nonsense"}, "unknown weights law 'nonsense'"),
        ({"keep": "0.1,0.2", "seeds": 0}, "seeds must be in [1, 10,000], got 0"),
        ({"keep": "0.1,0.2", "jobs": 0}, "jobs must not be 0"),
        ({"width": "1,2", "model": "mnist-conv", "widths": None}, "mnist-conv has no width"),
        ({"width": "1,2", "model": "foo"}, "unknown network 'foo'"),
        ({"width": "2", "keep": "0.1,0.2", "model": "mnist-conv", "widths": None}, "no argument 'width'"),
        ({"width": "1,2", "data": "nowhere"}, "expected one of digits"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(changes, says):
    with pytest.raises(ValueError) as error:
        sweep(**QUICK | changes, out=Path("run"))
    assert says in str(error.value) and not Path("run").exists()


def test_a_width_that_no_network_can_have_is_a_line_and_the_others_go_on():
    found = sweep(**QUICK | {"widths": (20_000,), "methods": ""}, width="64,0.001", out=Path("run"))
    assert [
        (line.method, line.width, line.seeds, "widths[0]" in line.error) for line in found.lines if line.width != 1
    ] == [
        (TWIN, 64.0, 0, True),
        (TWIN, 0.001, 2, False),
        (RANDOM, 64.0, 0, True),
        (RANDOM, 0.001, 2, False),
    ]


def test_a_law_that_fails_is_a_line_and_the_others_go_on(monkeypatch):
    def fail(self, shape):
        raise RuntimeError("no luck")

    monkeypatch.setattr(ut.XavierNormal, "scale", fail)
    found = sweep(**QUICK | {"seeds": 1}, weights="standard,xavier-normal,prototype(length=64)", out=Path("run"))
    errors = {place(line): line.error for line in found.lines}
    assert all(says == ("RuntimeError: no luck" if at[3] == "xavier-normal" else "") for at, says in errors.items())
    read = json.loads(Path("run/results.json").read_text(encoding="utf-8"))
    assert [line["accuracy"] is None for line in read["lines"]] == [bool(line.error) for line in found.lines]


# Going on.


@pytest.mark.parametrize("axis", AXES)
def test_a_sweep_that_was_interrupted_says_how_to_go_on_and_ends_in_the_same_numbers(swept, axis, monkeypatch):
    true_write, written = checkpoint.write, []

    def write(*arguments):
        true_write(*arguments)
        written.append(arguments)
        if len(written) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", write)
        with pytest.raises(KeyboardInterrupt) as stop:
            sweep(**QUICK, **AXES[axis], out=Path("broken"))
    assert str(stop.value) == "interrupted; go on with: untrained sweep --out broken --resume"
    times = {path: path.stat().st_mtime_ns for path in Path("broken").glob("cells/*.json")}
    assert not Path("broken/results.json").exists()
    again = sweep(**QUICK, **AXES[axis], out=Path("broken"), resume=True)
    assert times and {path: path.stat().st_mtime_ns for path in times} == times
    assert untimed(again.cells) == untimed(swept(axis).cells)
    for path in again.folder.glob("cells/*/found.ticket"):
        assert path.read_bytes() == (swept(axis).folder / path.relative_to("broken")).read_bytes()


def test_a_folder_keeps_to_its_axis(swept):
    found = swept("width")
    for changes in (AXES["keep"], AXES["weights"], {"width": "2,1"}, {"width": "0.5,2"}):
        with pytest.raises(ValueError, match=" has "):
            sweep(**QUICK, **changes, out=found.folder, resume=True)
    with pytest.raises(ValueError, match="holds a run already"):
        sweep(**QUICK, **AXES["width"], out=found.folder)


CELL = Cell("m", 0.5, 0, 0.9, 0.9, 1.0, 10, 5, 2)


def test_a_cell_of_another_width_or_law_is_not_taken():
    Path("cells").mkdir()
    places = [{}, {"width": 2.0}, {"width": 1.0}, {"law": "standard"}, {"law": "standard "}, {"law": "a(b=1)"}]
    cells = [dataclasses.replace(CELL, **each) for each in places]
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        write_cell(Path(), cell)
    assert [read_cell(Path(), cell) for cell in cells] == cells
    for cell, other in itertools.permutations(cells, 2):
        Path("cells", f"{cell.name}.json").write_text(json.dumps(dataclasses.asdict(other)), encoding="utf-8")
        assert read_cell(Path(), cell) is None


def test_cells_that_were_written_before_there_were_sweeps_are_read():
    Path("cells").mkdir()
    old = {name: value for name, value in dataclasses.asdict(CELL).items() if name not in ("width", "law")}
    Path("cells/m-0.5-seed0.json").write_text(json.dumps(old), encoding="utf-8")
    assert read_cell(Path(), CELL) == CELL


def test_settings_survive_their_file():
    settings = SweepSettings(width="0.5,2", weights="standard", keep="0.3")
    read = tomllib.loads(settings.to_toml())
    assert SweepSettings(**{name.replace("-", "_"): v for name, v in read.items() if name != "method"}) == settings


# The picture.

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


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("axis", AXES)
def test_a_picture_is_drawn_of_whatever_was_found(pictures, axis, state):
    figure = comparison.plot.sweep("title", axis, made_up(axis, state))
    comparison.plot.save(figure, Path("a.png"))
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
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


@pytest.mark.parametrize("name", ["a$b$^{", "$\\nothing$", "猫\x1b[31m\u202e", "tab\tand\nline"])
def test_names_are_no_formulas_and_lack_no_glyph(name, pictures, tmp_path):
    title = f"fc on {name}, 3 epochs"
    by_keep = [dataclasses.replace(line, method=f"{name}.py:X") for line in made_up("keep", "all good")]
    by_law = [dataclasses.replace(line, law=line.law and name) for line in made_up("weights", "all good")]
    comparison.plot.save(comparison.plot.sweep(title, "keep", by_keep), tmp_path / "a.png")
    comparison.plot.save(comparison.plot.sweep(title, "weights", by_law), tmp_path / "b.png")
    comparison.plot.save(comparison.plot.comparison(title, by_keep), tmp_path / "c.png")


@pytest.mark.parametrize("axis", AXES)
def test_nothing_in_the_picture_is_small_or_overlaps(pictures, axis):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = comparison.plot.sweep("title\nof two lines", axis, made_up(axis, "all good"))
    figure.set_dpi(110)  # as it is saved
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = drawn_texts(figure)
    assert len(texts) > 15 and min(text.get_fontsize() * 110 / 72 for text in texts) >= 11
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    for (one, its), (other, others) in itertools.combinations(boxes, 2):
        assert not its.overlaps(others), (one, other)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for _, box in boxes)


def test_widths_that_are_close_are_not_all_labelled(pictures):
    lines = [dataclasses.replace(GOOD, width=1 + number / 20) for number in range(40)]
    figure = comparison.plot.sweep("title", "width", lines)
    assert 2 <= len(figure.axes[0].get_xticks()) <= 14


def test_the_twin_of_width_1_is_a_level_of_its_own(pictures):
    figure = comparison.plot.sweep("title", "width", made_up("width", "all good"))
    assert "trained twin, width 1" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_sweep_draws_its_picture(pictures):
    found = sweep(**QUICK | {"seeds": 1}, keep="0.3,0.6", out=Path("run"))
    assert found.picture == Path("run/picture.png") and found.picture.read_bytes().startswith(b"\x89PNG")


def test_the_number_of_threads_is_left_as_it_was(threads):
    threads(2)
    sweep(**QUICK | {"seeds": 1, "methods": ""}, keep="0.3,0.6", out=Path("run"))
    assert torch.get_num_threads() == 2
