"""Tasks by name, from tables and images; and what tuned weights are worth."""

import csv
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch

from untrained.wann.evolution.presets import PRESETS
from untrained.wann.networks.activations import ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks.by_name import ENVIRONMENTS, preset_of, task_named
from untrained.wann.tasks.control import JitEnv
from untrained.wann.tasks.images import _smaller, _upright, digits, mnist
from untrained.wann.tasks.supervised import Classify, Regress
from untrained.wann.tasks.tables import table
from untrained.wann.tasks.task import Task
from untrained.wann.tuning import tune

MNIST = Path(__file__).parents[4] / "shared" / "data"

# ---- tables


@pytest.fixture
def file(tmp_path):
    def write(text, name="flowers.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def lines(count=20, last=("a", "b", "b"), separator=","):
    return [separator.join([str(i), str(i * 0.5), last[i % len(last)]]) for i in range(count)]


def test_a_table_of_words_is_a_task_of_classes(file):
    for text in (
        "\n".join(lines()),
        "\r\n".join(lines()) + "\r\n",
        "\n\n".join(lines()),
        "\ufeff" + "\n".join(lines()),
    ):
        task = table(file(text))
        assert isinstance(task, Classify) and task.labels == ("a", "b") and task.name == "flowers" and task.inputs == 2
        x, y = task.examples("test")
        rows = x[:, 0].astype(int)
        assert len(set(rows)) == 4
        np.testing.assert_array_equal(x, [[i, i / 2] for i in rows])
        assert y.tolist() == ["ab".index("abb"[i % 3]) for i in rows]
        np.testing.assert_array_equal(x, table(file(text)).examples("test")[0])
        assert len(task.examples("train")[0]) + len(task.examples("validation")[0]) == 16
    assert isinstance(task_named(str(file("\n".join(lines())))), Classify)


@pytest.mark.parametrize("header", ["width,height,kind", '"the width","a ""height""",kind', "\ufeffwidth,height,kind"])
def test_a_first_line_of_words_is_names(file, header):
    task, plain = table(file(header + "\n" + "\n".join(lines()))), table(file("\n".join(lines())))
    for part in ("train", "validation", "test"):
        for one, other in zip(task.examples(part), plain.examples(part), strict=True):
            np.testing.assert_array_equal(one, other)


def test_quoted_cells_may_hold_commas_and_lines(file):
    rows = [[str(i), f" {i}.5 ", ["red, or so", "two\nlines"][i % 2]] for i in range(20)]
    path = file("")
    with path.open("w", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    assert table(path).labels == ("red, or so", "two\nlines")


def test_numbers_are_classes_if_few_and_whole(file):
    classes = table(file("\n".join(lines(40, ["3.0", "7.0", "-1"]))))
    assert isinstance(classes, Classify) and classes.labels == ("-1", "3", "7")
    for last in (["0.5", "1", "2"], [str(2 * i) for i in range(21)]):
        task = table(file("\n".join(lines(63, last))))
        assert isinstance(task, Regress) and task.outputs == 1
        (x, y), (x_train, y_train) = task.examples("test"), task.examples("train")
        for rows, targets in ((x, y), (x_train, y_train)):
            given = np.array([float(last[int(i) % len(last)]) for i in rows[:, 0]])
            # In standard deviations from the mean: one straight line through all of them.
            assert np.corrcoef(given, targets[:, 0])[0, 1] > 1 - 1e-12
        assert abs(y_train.mean()) < 0.3 and 0.7 < y_train.std() < 1.3


MISSING = ["", "?", "NA", "n/a", "nan", "NULL", "<NA>"]


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("row", [1, 5])
@pytest.mark.parametrize("last", [("a", "b"), ("1", "2"), ("0.5", "0.25")])
def test_what_is_missing_is_named_in_any_row(file, missing, column, row, last):
    cells = [line.split(",") for line in lines(20, last)]
    cells[row - 1][column] = missing
    with pytest.raises(ValueError, match=rf"{re.escape(repr(missing))} in row {row}, (last )?column"):
        table(file("\n".join(",".join(each) for each in cells)))


@pytest.mark.parametrize("first", ["id,2001,a", ",height,a", "?,?,a", "nan,height,a"])
def test_a_row_that_is_neither_names_nor_numbers_is_refused(file, first):
    with pytest.raises(ValueError, match="in row 1, column 1, expected a number; a row of names has a word for every"):
        table(file("\n".join([first, *lines()])))


def test_it_is_told_how_a_table_was_read(file):
    names, data = (table(file("\n".join([*first, *lines()]))).about for first in (["w,h,kind"], []))
    assert names.startswith("flowers.csv: 20 rows; row 1 holds names; the last column is read as 2 classes (a, b); ")
    assert "row 1 is read as data (0, 0.0, a)" in data and "--predict" not in data
    years = table(file("\n".join(["2001,2002,2003", *lines(40, ["3.5", "2.5"])]))).about
    assert "row 1 is read as data (2001, 2002, 2003)" in years
    assert years.endswith("the last column is read as numbers (--predict classes if it holds classes)")
    with pytest.raises(ValueError, match="'kind' in row 1, last column, is in no other row; if that row holds names"):
        table(file("\n".join(["2001,2002,kind", *lines()])))
    with pytest.raises(ValueError, match="mixes numbers and words; row 1 is read as data"):
        table(file("\n".join(["2001,2002,kind", *lines(20, ["1", "2"])])))


@pytest.mark.parametrize(
    ("last", "labels"),
    [
        ([str(i) for i in range(26)], [str(i) for i in range(26)]),
        ([str(i) for i in range(1, 101)], [str(i) for i in range(1, 101)]),
        ([str(i) for i in range(101)], None),
        ([str(i) for i in range(18, 60)], None),
        ([str(i) for i in range(30) if i != 7], None),
        (["1000000000000000001", "1000000000000000002"], ["1000000000000000001", "1000000000000000002"]),
        (["1e300", "-5", "07"], ["-5", "7", str(int(Decimal("1e300")))]),
        (["cafe\u0301", "caf\u00e9", "tea"], ["caf\u00e9", "tea"]),
    ],
)
def test_classes_are_read_as_they_are_written(file, last, labels):
    task = table(file("\n".join(lines(300, last))))
    assert getattr(task, "labels", None) == (labels and tuple(labels))
    assert ("classes" if labels is None else "numbers") in task.about or not last[0][0].isdigit()


def test_whole_numbers_that_come_once_are_numbers(file):
    assert isinstance(table(file("\n".join(lines(30, [str(i) for i in range(30)])))), Regress)


@pytest.mark.parametrize("other", ["7", "7.0", "+07", "70e-1"])
def test_one_number_written_in_two_ways_is_refused(file, other):
    for predict in (None, "classes"):
        with pytest.raises(ValueError, match=rf"'07' in row 1 and '{re.escape(other)}' in row 2, .* one number"):
            table(file("\n".join(lines(20, ["07", other, "3"]))), predict)
    assert isinstance(table(file("\n".join(lines(20, ["07", other, "3"]))), "numbers"), Regress)


def test_it_can_be_said_what_is_predicted(file):
    whole = file("\n".join(lines(40, ["3", "7", "-1"])))
    assert isinstance(table(whole, "numbers"), Regress) and isinstance(table(whole, "classes"), Classify)
    assert "--predict" in table(whole).about and "--predict" not in table(whole, "numbers").about
    mixed = table(file("\n".join(lines(40, ["9", "a", "10", "0.5", "NA"]))), "classes")
    assert mixed.labels == ("0.5", "9", "10", "NA", "a")
    with pytest.raises(ValueError, match="'a' in row 1, last column, expected a number, as predict says"):
        table(file("\n".join(lines())), "numbers")
    for options in ({"predict": "classes"}, {"max_steps": 3}):
        with pytest.raises(ValueError, match="'cartpole' has no such setting"):
            task_named("cartpole", **options)


def test_ten_rows_are_enough(file):
    task = table(file("\n".join(lines(10, ["a", "b"]))))
    assert [len(task.examples(part)[0]) for part in ("train", "validation", "test")] == [7, 1, 2]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "0 rows"),
        ("a,b\n", "0 rows"),
        ("\n\n\n", "0 rows"),
        ("\n".join(lines(9)), "9 rows"),
        ("\n".join(lines(20, separator=";")), "two or more columns"),
        ("\n".join(["1"] * 20), "two or more columns"),
        ("\n".join([*lines(7), "1,2", *lines(7)]), "row 8 has 2 columns, expected 3"),
        ("\n".join([*lines(7), "1,2,3,a", *lines(7)]), "row 8 has 4 columns, expected 3"),
        ("\n".join([*lines(7), "1,nan,a", *lines(7)]), "'nan' in row 8, column 2"),
        ("\n".join([*lines(7), "inf,1,a", *lines(7)]), "'inf' in row 8, column 1"),
        ("\n".join([*lines(7), "x,1,a", *lines(7)]), "'x' in row 8, column 1"),
        ("\n".join([*lines(7), ",1,a", *lines(7)]), "'' in row 8, column 1"),
        ("\n".join([*lines(7), "1,1,5", *lines(7)]), "'5' in row 8, last column"),
        ("\n".join([*lines(7, ["1"]), "1,1,word", *lines(7, ["1"])]), "'word' in row 8, last column"),
        ("\n".join(lines(20, ["1", "nan"])), "'nan' in row 2, last column, is no value"),
        ("\n".join(lines(20, ["1"])), "1 class"),
        (b"\xff\xfe1\x00,\x002\x00\n", "not a CSV file"),
        ('1,"' + "x" * 200_000 + '"\n', "not a CSV file"),
    ],
)
def test_tables_that_are_none_are_refused(file, text, what):
    with pytest.raises(ValueError, match=what):
        table(file(text))


@pytest.mark.parametrize("before", ["width,height,kind\n", "\n"])
@pytest.mark.parametrize("wrong", ["x,1,a", "1,2", "1,1,5"])
def test_an_error_names_the_row_as_an_editor_shows_it(file, before, wrong):
    with pytest.raises(ValueError, match="row 9"):
        table(file(before + "\n".join([*lines(7), wrong, *lines(7)])))


@pytest.mark.parametrize("last", [[str(i) for i in range(10)], ["a", "b", "a", "a", "c"]])
def test_a_class_that_is_only_in_test_rows_is_a_class(file, last):
    table(file("\n".join(lines(10, last))))


def test_a_number_has_no_underscores(file):
    with pytest.raises(ValueError, match="1_0"):
        table(file("\n".join([*lines(7), "1_0,1,a", *lines(7)])))


def test_missing_files_and_unknown_names(tmp_path):
    with pytest.raises(OSError):
        table(tmp_path / "none.csv")
    with pytest.raises(OSError):
        table(tmp_path)
    for name in ("", "swing", "Digits", "table.txt", "csv"):
        with pytest.raises(ValueError, match="expected one of"):
            task_named(name)


# ---- names and presets


def test_every_environment_has_its_name():
    for name in ENVIRONMENTS:
        task = task_named(name)
        assert isinstance(task, JitEnv) and task.name == name


def test_every_task_has_a_preset():
    names = ["digits", "mnist", *ENVIRONMENTS, "gym:CartPole-v1", "gym:BipedalWalker-v3", "some/table.csv", "unknown"]
    found = {name: preset_of(name) for name in names}
    assert set(found.values()) <= set(PRESETS)
    assert found["mnist"] == "mnist256" and found["swingup"] == found["swingup-hard"] == "swingup"
    assert found["gym:BipedalWalker-v3"] == "biped" and found["some/table.csv"] == "table"
    assert found["gym:CartPole-v1"] == found["cartpole"] == "default"


# ---- images


def slanted(slant, side=28):
    """Bars that lean: column moves by `slant` pixels a row, of several widths and places."""
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None, :]
    bars = []
    for width, place in ((1.5, 0.0), (2.5, 2.0), (2.0, -2.0)):
        middle = side / 2 + place + slant * (rows - side / 2)
        bars.append((1 - (columns - middle).abs() / width).clamp(0, 1) * ((rows > 6) & (rows < 21)))
    return torch.stack(bars)[:, None].float()


def slant_of(images):
    """Covariance of columns and rows over the variance of rows, by hand."""
    found = []
    for image in images[:, 0].double().numpy():
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        mass = image / image.sum()
        row, column = (mass * rows).sum(), (mass * columns).sum()
        found.append((mass * (rows - row) * (columns - column)).sum() / (mass * (rows - row) ** 2).sum())
    return np.array(found)


@pytest.mark.parametrize("slant", [-0.6, -0.3, 0.0, 0.2, 0.5])
def test_slanted_bars_are_made_upright(slant):
    images = slanted(slant)
    np.testing.assert_allclose(slant_of(images), slant, atol=0.06)
    upright = _upright(images)
    assert abs(slant_of(upright)).max() < 0.03
    np.testing.assert_allclose(upright.sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=0.1)
    # In the middle, as their centre was taken for the origin.
    columns = torch.arange(28.0)
    centre = (upright.sum((1, 2)) * columns).sum(1) / upright.sum((1, 2, 3))
    np.testing.assert_allclose(centre, 13.5, atol=0.3)
    small = _smaller(upright, 16)
    assert small.shape == (3, 1, 16, 16) and small.min() >= 0 and small.max() <= 1
    assert abs(slant_of(small)).max() < 0.05


def test_images_without_a_slant_to_find_stay_numbers():
    images = torch.zeros(4, 1, 28, 28)
    images[1, 0, 5, 7] = 1
    images[2, 0, 9] = 1  # one row
    images[3] = 1
    upright = _smaller(_upright(images), 16)
    assert torch.isfinite(upright).all() and upright.min() >= 0 and upright.max() <= 1
    assert (upright[0] == 0).all()


@pytest.fixture(scope="module")
def of_digits():
    return digits()


def test_digits(of_digits):
    assert (of_digits.inputs, of_digits.outputs) == (64, 10) and of_digits.labels == tuple("0123456789")
    assert "step" not in of_digits.activations and of_digits.name == "digits"
    parts = [of_digits.examples(part) for part in ("train", "validation", "test")]
    assert sum(len(x) for x, _ in parts) == 1797
    for x, y in parts:
        assert x.dtype == float and 0 <= x.min() and x.max() <= 1 and set(y) == set(range(10))
    rows = {row.tobytes() for row in parts[0][0]}
    assert not rows & {row.tobytes() for row in parts[2][0]}
    # Inputs reach the network as they are.
    np.testing.assert_array_equal(of_digits._drawn(0, "test")[0], parts[2][0])


@pytest.mark.skipif(not (MNIST / "MNIST").exists(), reason="MNIST is not here")
def test_mnist():
    task = mnist(MNIST)
    assert (task.inputs, task.outputs, task.labels) == (256, 10, tuple("0123456789"))
    sizes = [len(task.examples(part)[0]) for part in ("train", "validation", "test")]
    assert sum(sizes) == 70_000 and sizes[2] == 10_000
    x = task.examples("test")[0]
    assert np.isfinite(x).all() and x.min() >= 0 and 0.9 < x.max() <= 1
    assert abs(slant_of(torch.from_numpy(x[:300].reshape(-1, 1, 16, 16)))).mean() < 0.05


# ---- tuning


class Spy(Task):
    """Reward is least squares about one best weight per connection; it notes what is asked of it."""

    name, inputs, outputs = "spy", 2, 1

    def __init__(self, best, by_chance=False):
        self.best, self.by_chance, self.asked = np.asarray(best, float), by_chance, []

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.asked.append((part, seed, reps, len(networks)))
        own = [networks.net(p).weights for p in range(len(networks))]
        all_weights = [[w * (np.ones(len(self.best)) if o is None else o) for w in weights] for o in own]
        noise = np.random.default_rng(seed).normal() if self.by_chance else 0.0
        return noise - ((np.array(all_weights) - self.best) ** 2).mean(-1)

    def identity(self):
        return {}


TWO = Net(2, 1, [1], [0, 2], [1, 2])


def test_the_best_shared_weight_is_of_the_grid():
    for best in (0.8, -1.35, 2.0, -2.0, 0.0):
        task = Spy([best, best])
        assert abs(tune.best_shared(task, TWO.replace(weights=[5.0, 7.0])) - best) < 1e-12
        assert {part for part, *_ in task.asked} == {"validation"}
    broken = Spy([0, 0])
    broken.rewards = lambda networks, weights, seed, **_: np.where(np.array([weights]) > 1.5, 1.0, np.nan)
    assert tune.best_shared(broken, TWO) > 1.5


def test_cma_finds_a_weight_for_every_connection():
    pytest.importorskip("cmaes")
    task = Spy([1.2, -0.4])
    found = tune.tuned(task, TWO, method="cma", budget=25)
    start = tune.best_shared(task, TWO)
    np.testing.assert_allclose(found.weights, [1.2, -0.4], atol=0.05)
    assert task.rewards(Packed.of([found]), (1.0,), 0)[0, 0] > task.rewards(Packed.of([TWO]), (start,), 0)[0, 0]
    assert "test" not in {part for part, *_ in task.asked}
    again = tune.tuned(Spy([1.2, -0.4]), TWO, budget=25)  # without examples, auto is cma
    np.testing.assert_array_equal(again.weights, found.weights)
    other = tune.tuned(Spy([1.2, -0.4]), TWO, method="cma", budget=25, seed=1)
    assert (other.weights != found.weights).any()


def test_tuning_never_makes_it_worse():
    pytest.importorskip("cmaes")
    at_the_best = Spy([0.5, 0.5])
    for budget in (1, 2):
        assert tune.tuned(at_the_best, TWO, method="cma", budget=budget).weights.tolist() == [0.5, 0.5]
    misleading = Spy([0.5, 0.5])
    sound = misleading.rewards
    # What it learns by says the opposite of what chooses.
    misleading.rewards = lambda *args, part="train", **kw: (
        (-1 if part == "train" else 1) * sound(*args, part=part, **kw)
    )
    assert tune.tuned(misleading, TWO, method="cma", budget=3).weights.tolist() == [0.5, 0.5]


def test_cma_lives_with_networks_that_break_down():
    pytest.importorskip("cmaes")
    task = Spy([1.2, -0.4])
    sound = task.rewards

    def rewards(networks, weights, seed, **options):
        found = sound(networks, weights, seed, **options)
        return np.where(found < -1.5, [np.nan, -np.inf][seed % 2], found)

    task.rewards = rewards
    np.testing.assert_allclose(tune.tuned(task, TWO, method="cma", budget=25).weights, [1.2, -0.4], atol=0.1)
    nothing = Spy([0, 0])
    nothing.rewards = lambda networks, weights, seed, **_: np.full((len(networks), len(weights)), np.nan)
    assert np.isfinite(tune.tuned(nothing, TWO, method="cma", budget=2).weights).all()


def linear_net(outputs=10, inputs=64):
    """Every input to every output."""
    return Net(
        inputs, outputs, [1] * outputs, np.arange(outputs + 1) * inputs, np.tile(np.arange(1, inputs + 1), outputs)
    )


def test_the_gradient_learns_digits(of_digits):
    net = linear_net()
    found = tune.tuned(of_digits, net, budget=8)
    assert of_digits.scores(Packed.of([found]), (1.0,))[0, 0] > 0.85
    np.testing.assert_array_equal(found.weights, tune.tuned(of_digits, net, method="gradient", budget=8).weights)
    start = net.replace(weights=np.full(net.connections, tune.best_shared(of_digits, net)))
    chosen = of_digits.rewards(Packed.of([start, found]), (1.0,), 0, part="validation")[:, 0]
    assert chosen[1] > chosen[0]
    assert tune.tuned(of_digits, net, budget=1).weights is not None


def test_the_gradient_learns_numbers():
    x = np.random.default_rng(0).uniform(size=(300, 2))
    task = Regress(x, x @ [1.5, -0.5], value_range=(0, 1), test=(x, x @ [1.5, -0.5]))
    found = tune.tuned(task, TWO, budget=400)
    np.testing.assert_allclose(found.weights, [1.5, -0.5], atol=0.05)


def test_a_gradient_of_nothing_but_a_step():
    x = np.random.default_rng(0).uniform(size=(50, 2))
    tune.tuned(Regress(x, x[:, 0]), Net(2, 1, ids_of(["step"]), [0, 1], [1]), budget=1)


def test_weights_that_no_output_depends_on_stay():
    x = np.random.default_rng(0).uniform(size=(50, 2))
    found = tune.tuned(Regress(x, x[:, 0]), Net(2, 1, ids_of(["tanh", "linear"]), [0, 1, 1], [1]), budget=1)
    assert found.weights.tolist() == [-2.0]


def test_what_cannot_be_tuned_is_refused(of_digits):
    empty = Net(2, 1, [1], [0, 0], [])
    with pytest.raises(ValueError, match="no connections"):
        tune.tuned(Spy([0, 0]), empty)
    with pytest.raises(ValueError, match="method"):
        tune.tuned(Spy([0, 0]), TWO, method="adam")
    with pytest.raises(ValueError, match="no examples"):
        tune.tuned(Spy([0, 0]), TWO, method="gradient")
    with pytest.raises(ValueError, match="networks must"):
        tune.tuned(of_digits, TWO)


# ---- the table of the paper


@pytest.mark.parametrize("by_chance", [False, True])
def test_four_columns_report_on_what_reports(by_chance):
    task = Spy([0.5, 0.5], by_chance)
    tuned = TWO.replace(weights=[0.5, 0.5])
    columns = tune.four_columns(task, TWO, tuned, shared=0.75, trials=40, seed=3)
    repeats = 40 if by_chance else 1
    assert [len(column.scores) for column in columns] == [40, 40, repeats, repeats]
    assert {part for part, *_ in task.asked} == {"test"}
    assert {(reps, count) for _, _, reps, count in task.asked} == {(1, 1)}
    assert [seed for _, seed, *_ in task.asked] == [*range(3, 43)] * 2 + [*range(3, 3 + repeats)] * 2
    names = ["random weights", "random shared weight", "tuned shared weight", "tuned weights"]
    assert [column.name for column in columns] == names
    for column in columns:
        assert column.mean == pytest.approx(sum(column.scores) / len(column.scores))
        spread = [(score - column.mean) ** 2 for score in column.scores]
        assert column.std == pytest.approx((sum(spread) / len(spread)) ** 0.5)
    if not by_chance:
        assert columns[2].scores == (-(0.25**2),) and columns[3].scores == (0.0,)
        shared = 0.5 + np.sqrt(-np.array(columns[1].scores))
        assert ((shared <= 2.5 + 2).all()) and len(set(columns[1].scores)) == 40
        # Squared distance of a weight uniform in ±2 from 0.5: 4/3 + 1/4 on average; of two, with less spread.
        assert abs(columns[0].mean + 19 / 12) < 0.7 and columns[0].std < columns[1].std
    assert tune.four_columns(task, TWO, shared=0.75, trials=2)[2].name == "tuned shared weight"
    assert len(tune.four_columns(task, TWO, shared=0.75, trials=2)) == 3


def test_four_columns_choose_the_shared_weight_by_validation():
    task = Spy([0.5, 0.5])
    columns = tune.four_columns(task, TWO.replace(weights=[9.0, 9.0]), trials=3)
    assert columns[2].scores == (0.0,)
    assert [part for part, *_ in task.asked].count("validation") == 1
    six = tune.six_weights(task, TWO.replace(weights=[9.0, 9.0]))
    np.testing.assert_allclose(six.scores, [-((w - 0.5) ** 2) for w in WEIGHTS])
    assert tune.ensemble(task, TWO) is None


def test_four_columns_of_nothing(of_digits):
    empty = Net(64, 10, [1] * 10, [0] * 11, [])
    columns = tune.four_columns(of_digits, empty, empty, trials=3)
    share = (of_digits.examples("test")[1] == 0).mean()
    for column in columns:
        np.testing.assert_allclose(column.scores, share)
    assert tune.best_shared(of_digits, empty) == -2.0
    assert tune.ensemble(of_digits, empty) == share
    x = np.random.default_rng(0).uniform(size=(50, 2))
    with pytest.raises(ValueError, match="no test examples"):
        tune.four_columns(Regress(x, x[:, 0]), TWO, trials=2)


def test_no_trials_are_refused():
    with pytest.raises(ValueError):
        _ = [column.mean for column in tune.four_columns(Spy([0, 0]), TWO, trials=0)]
