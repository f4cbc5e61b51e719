"""CSV tables as tasks: the way they are read, and the cell at which they are refused."""

import csv
import re
from decimal import Decimal

import numpy as np
import pytest

from untrained.wann.tasks.by_name import task_named
from untrained.wann.tasks.supervised import Classify, Regress
from untrained.wann.tasks.tables import table


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
@pytest.mark.parametrize(("column", "row"), [(0, 1), (0, 5), (1, 1), (1, 5), (2, 1), (2, 5)])
def test_what_is_missing_is_named_in_any_row(file, missing, column, row):
    for last in (("a", "b"), ("1", "2"), ("0.5", "0.25")):
        cells = [line.split(",") for line in lines(20, last)]
        cells[row - 1][column] = missing
        with pytest.raises(ValueError, match=rf"row {row}, (last )?column.*{re.escape(repr(missing))}"):
            table(file("\n".join(",".join(each) for each in cells)))


@pytest.mark.parametrize("first", ["id,2001,a", ",height,a", "?,?,a", "nan,height,a"])
def test_a_row_that_is_neither_names_nor_numbers_is_refused(file, first):
    with pytest.raises(ValueError, match=r"row 1, column 1 must be a number.*a row of names has a word for every"):
        table(file("\n".join([first, *lines()])))


def test_it_is_told_how_a_table_was_read(file):
    names, data = (table(file("\n".join([*first, *lines()]))).about for first in (["w,h,kind"], []))
    assert names.startswith("flowers.csv: 20 rows; row 1 holds names; the last column is read as 2 classes (a, b); ")
    assert "row 1 is read as data (0, 0.0, a)" in data and "--predict" not in data
    years = table(file("\n".join(["2001,2002,2003", *lines(40, ["3.5", "2.5"])]))).about
    assert "row 1 is read as data (2001, 2002, 2003)" in years
    assert years.endswith("the last column is read as numbers (--predict classes if it holds classes)")
    with pytest.raises(ValueError, match=r"row 1, last column.*'kind'; if that row holds names"):
        table(file("\n".join(["2001,2002,kind", *lines()])))
    with pytest.raises(ValueError, match="mix numbers and words; row 1 is read as data"):
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
        with pytest.raises(ValueError, match=rf"one class, got '07' in row 1 and '{re.escape(other)}' in row 2"):
            table(file("\n".join(lines(20, ["07", other, "3"]))), predict)
    assert isinstance(table(file("\n".join(lines(20, ["07", other, "3"]))), "numbers"), Regress)


def test_it_can_be_said_what_is_predicted(file):
    whole = file("\n".join(lines(40, ["3", "7", "-1"])))
    assert isinstance(table(whole, "numbers"), Regress) and isinstance(table(whole, "classes"), Classify)
    assert "--predict" in table(whole).about and "--predict" not in table(whole, "numbers").about
    mixed = table(file("\n".join(lines(40, ["9", "a", "10", "0.5", "NA"]))), "classes")
    assert mixed.labels == ("0.5", "9", "10", "NA", "a")
    with pytest.raises(ValueError, match=r"row 1, last column must be a number.*predict.*'a'"):
        table(file("\n".join(lines())), "numbers")
    for options in ({"predict": "classes"}, {"max_steps": 3}):
        with pytest.raises(ValueError, match=rf"{next(iter(options))}.*'cartpole'"):
            task_named("cartpole", **options)


def test_ten_rows_are_enough(file):
    task = table(file("\n".join(lines(10, ["a", "b"]))))
    assert [len(task.examples(part)[0]) for part in ("train", "validation", "test")] == [7, 1, 2]


# fmt: off
NO_TABLES = [
    ("", "0 rows"),
    ("a,b\n", "0 rows"),
    ("\n\n\n", "0 rows"),
    ("\n".join(lines(9)), "9 rows"),
    ("\n".join(lines(20, separator=";")), "two or more columns"),
    ("\n".join(["1"] * 20), "two or more columns"),
    ("\n".join([*lines(7), "1,2", *lines(7)]), "row 8 .*3 columns.*2"),
    ("\n".join([*lines(7), "1,2,3,a", *lines(7)]), "row 8 .*3 columns.*4"),
    ("\n".join([*lines(7), "1,nan,a", *lines(7)]), "row 8, column 2 .*'nan'"),
    ("\n".join([*lines(7), "inf,1,a", *lines(7)]), "row 8, column 1 .*'inf'"),
    ("\n".join([*lines(7), "x,1,a", *lines(7)]), "row 8, column 1 .*'x'"),
    ("\n".join([*lines(7), ",1,a", *lines(7)]), "row 8, column 1 .*''"),
    ("\n".join([*lines(7), "1_0,1,a", *lines(7)]), "row 8, column 1 .*'1_0'"),
    ("\n".join([*lines(7), "1,1,5", *lines(7)]), "row 8, last column .*'5'"),
    ("\n".join([*lines(7, ["1"]), "1,1,word", *lines(7, ["1"])]), "row 8, last column .*'word'"),
    ("\n".join(lines(20, ["1", "nan"])), "row 2, last column .*missing.*'nan'"),
    ("\n".join(lines(20, ["1"])), "2 classes.*'1'"),
    (b"\xff\xfe1\x00,\x002\x00\n", "not a CSV file"),
    ('1,"' + "x" * 200_000 + '"\n', "not a CSV file"),
    # The row as an editor shows it.
    *(("\n".join([before, *lines(7), wrong, *lines(7)]), "row 9")
      for before in ("width,height,kind", "") for wrong in ("x,1,a", "1,2", "1,1,5")),
]
# fmt: on


@pytest.mark.parametrize(("text", "what"), NO_TABLES)
def test_tables_that_are_none_are_refused(file, text, what):
    with pytest.raises(ValueError, match=what):
        table(file(text))


@pytest.mark.parametrize("last", [[str(i) for i in range(10)], ["a", "b", "a", "a", "c"]])
def test_a_class_that_is_only_in_test_rows_is_a_class(file, last):
    table(file("\n".join(lines(10, last))))


def test_missing_files_and_unknown_names(tmp_path):
    with pytest.raises(OSError):
        table(tmp_path / "none.csv")
    with pytest.raises(OSError):
        table(tmp_path)
    for name in ("", "swing", "Digits", "table.txt", "csv"):
        with pytest.raises(ValueError, match="task must be one of") as refused:
            task_named(name)
        near = {"swing": "swingup", "Digits": "digits"}.get(name)
        assert str(refused.value).endswith(f"got {name!r}" + (f" (did you mean {near}?)" if near else ""))
