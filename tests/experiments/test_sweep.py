"""`sweep`: one axis, every cell what `compare` finds there, going on after an interruption, and its picture."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

import untrained as ut
from command_checks import interrupt_after
from untrained.experiments import cells
from untrained.experiments import compare as comparison
from untrained.experiments.compare import compare
from untrained.experiments.sweep import Sweep, sweep
from untrained.runs.settings import CompareSettings
from untrained.runs.table import RANDOM, TWIN, lines_of

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
    assert [(*cell.place, cell.seed) for cell in found.cells] == [
        (*at, None, None, seed) for at in wanted for seed in (0, 1)
    ]
    assert [line.error for line in found.lines] == [""] * len(wanted)
    assert len({cell.name for cell in found.cells}) == len(found.cells)
    assert {path.stem for path in found.folder.glob("cells/*.json")} == {cell.name for cell in found.cells}
    chance = json.loads((found.folder / "results.json").read_text(encoding="utf-8"))["chance"]
    assert list(found.lines) == lines_of(found.cells, TWIN, chance)


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
    own = [cell for cell in found.cells if cell.place == line.place]
    compared = as_compared(line, **settings)
    assert untimed(dataclasses.replace(cell, width=None, law=None) for cell in own) == untimed(compared)


def test_every_cell_is_given_a_network_of_its_width(monkeypatch):
    seen = []
    monkeypatch.setattr(cells, "run_cell", lambda setup, cell, *_: (seen.append(setup), cell)[1])
    monkeypatch.setattr(comparison, "lines_of", lambda *arguments: [])  # of networks that nobody searched
    monkeypatch.setattr(comparison, "write_grid_report", lambda folder: folder)
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
        ({"width": "0,1"}, "width must be in (0, 64], got '0,1'"),
        ({"width": "1,nan"}, "width must be in (0, 64], got '1,nan'"),
        ({"width": "1,65"}, "width must be in (0, 64], got '1,65'"),
        ({"width": "wide,1"}, "width must be numbers with commas between them, got 'wide,1'"),
        ({"width": ""}, "width must be in (0, 64], got ''"),
        ({"weights": "kaiming-normal,nonsense"}, "unknown weights law 'nonsense'"),
        ({"weights": "kaiming-normal(nope=1),standard"}, "no field 'nope'"),
        ({"weights": " , "}, "weights must be laws with commas between them, got ' , '"),
        ({"width": "1,2", "model": "mnist-conv", "widths": None}, "mnist-conv has no width"),
        ({"width": "1,2", "model": "foo"}, "unknown network 'foo'"),
        ({"width": "2", "keep": "0.1,0.2", "model": "mnist-conv", "widths": None}, "no argument 'width'"),
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
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
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


# The picture.


def test_a_sweep_draws_its_picture(pictures):
    found = sweep(**QUICK | {"seeds": 1}, keep="0.3,0.6", out=Path("run"))
    assert found.picture == Path("run/picture.png") and found.picture.read_bytes().startswith(b"\x89PNG")
