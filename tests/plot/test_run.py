"""Pictures of a run: every one is there or says what it lacks, can be read, and shows what the ticket holds."""

import dataclasses
import itertools
import math
import warnings
from fractions import Fraction

import pytest
import torch

import untrained as ut
from untrained import plot
from untrained.plot.figure import MINUS, PLUS
from untrained.runs.run import Mistakes, read_run
from untrained.search.evaluation import Answers

pytest.importorskip("matplotlib")
ALL = ["overview", "curves", "subnetwork", "layers", "scores", "filters", "confusion", "mistakes"]
HOSTILE = ["$\\frac$", "<b>bold", "猫", "🐈 cat", "a\x00\x1b[31m\nb", "x" * 500, "_under", "$x^2$", "\u202eevil", ""]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of several kinds of networks and methods."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {
        "fc": {"widths": (40, 20)},
        "conv": {"model": "conv2", "width": 0.0625, "twin": False},
        "slots": {"widths": (20,), "method": "slot-machines", "twin": False},
        "signed": {"widths": (20,), "method": "edge-popup(signed=True)", "twin": False},
        "residual": {"model": "resnet18", "width": 0.0625, "twin": False, "epochs": 1},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plot, "available", lambda: False)  # pictures are drawn in the tests
        for name, its in settings.items():
            ut.find(**{"epochs": 2, "out": folder / name, **its})
    return {name: read_run(folder / name) for name in settings}


def _drawn(figure, tmp_path):
    """Saves a figure, and reads what it says; every text is large enough and in the picture."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    assert isinstance(figure, Figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot.save(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert all(text.get_fontsize() >= 8 for text in texts)
    for axes in figure.axes:
        if axes.axison:
            assert axes.get_ylabel() or axes.get_xlabel(), axes
    return "\n".join(text.get_text() for text in texts)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        *itertools.product(ALL, ["fc", "conv"]),
        *itertools.product(["filters", "subnetwork"], ["slots", "signed"]),
        *itertools.product(["overview", "layers", "scores", "subnetwork"], ["residual"]),
    ],
)
def test_every_picture_of_every_run_is_drawn(runs, name, network, tmp_path):
    _drawn(getattr(plot, name)(runs[network]), tmp_path)


def _without(run, **changes):
    return dataclasses.replace(run, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("curves", {"rows": []}, r"metrics\.jsonl is missing"),
        ("layers", {"trace": []}, r"trace\.jsonl is missing"),
        ("scores", {"trace": []}, r"trace\.jsonl is missing"),
        ("confusion", {"answers": None}, r"answers\.safetensors is missing"),
        ("mistakes", {"mistakes": None}, r"answers\.safetensors is missing"),
        ("mistakes", {"mistakes": Mistakes(torch.zeros(0, 1, 8, 8), (), (), ())}, "a wrong one.*got none"),
    ],
)
def test_what_is_missing_is_said(runs, name, changes, says):
    run = _without(runs["fc"], **changes)
    with pytest.raises(ValueError, match=says):
        getattr(plot, name)(run)


def test_an_epoch_that_is_not_there_is_refused(runs):
    for draw in (plot.subnetwork, plot.scores):
        with pytest.raises(ValueError, match=r"epoch.* 0 to 2, got 9"):
            draw(runs["fc"], 9)
    with pytest.raises(ValueError, match=r"trace\.jsonl is missing"):
        plot.subnetwork(_without(runs["fc"], trace=[]), 1)
    with pytest.raises(ValueError, match="whole epoch"):
        plot.layers(_without(runs["fc"], trace=runs["fc"].trace[:1]))


def test_more_classes_than_a_picture_shows_are_refused(runs):
    far = torch.tensor([0, 2**31 - 1])
    with pytest.raises(ValueError, match="2,147,483,648"):
        plot.confusion(_without(runs["fc"], answers=Answers(far, far, torch.rand(2))))


def test_no_first_layer_that_looks_at_images_is_said(runs):
    ticket = runs["fc"].ticket
    for meta in ({}, {"shape": [1, 7, 9]}, {"shape": "8"}):
        with pytest.raises(ValueError, match=r"'fc1.weight' .*images.*\(40, 64\)"):
            plot.filters(_without(runs["fc"], ticket=dataclasses.replace(ticket, meta=meta)))


def test_of_a_pretrained_model_there_are_lines_and_no_signs(tmp_path):
    data = ut.load_data("digits")
    model = ut.mask_(ut.models.fc(widths=(12,), shape=data.shape), ut.EdgePopup(0.5), weights=None)
    ut.fit(model, data.batches("train", 500), epochs=1, out=tmp_path, meta={"shape": list(data.shape)}, title=None)
    run = read_run(tmp_path)
    with pytest.raises(ValueError, match="does not hold the pretrained weights"):
        plot.filters(run)
    assert "blue" not in _drawn(plot.subnetwork(run), tmp_path)
    assert "training data" in _drawn(plot.curves(run), tmp_path)
    assert "50.0% kept" in _drawn(figure := plot.overview(run), tmp_path) and len(figure.axes) == 2


def _oracle(sample, codes):
    """The shares that are kept, edge by edge."""
    for o, i in itertools.product(sample.outputs, sample.inputs):
        its = [codes[o, k] for k in range(i * sample.group, (i + 1) * sample.group)]
        kept = [int(code) != 0 for column in its for code in column.flatten()]
        yield Fraction(sum(kept), len(kept))


def _digit(share):
    return int(9 * share) if share in (0, 1) else min(8, max(1, round(9 * share)))


def _lines(figure):
    """Per layer, the lines as (output, input) places from above, in points of their axes, with colour and opacity."""
    for axes in figure.axes:
        for lines in axes.collections:
            if lines.get_gid() == "edges":
                yield [
                    (tuple(map(tuple, ends)), colour)
                    for ends, colour in zip(lines.get_segments(), lines.get_colors(), strict=True)
                ]


@pytest.mark.parametrize("network", ["fc", "conv", "slots", "signed", "residual"])
@pytest.mark.parametrize("traced", [True, False])
def test_the_edges_at_the_end_are_those_of_the_ticket(runs, network, traced):
    run = runs[network] if traced else _without(runs[network], trace=[])
    layers = list(_lines(plot.subnetwork(run)))
    assert len(layers) == len(run.samples) > 0
    for sample, lines in zip(run.samples, layers, strict=True):
        digits = list(map(_digit, _oracle(sample, run.ticket.codes[sample.name])))
        assert "".join(map(str, digits)) == sample.edges(run.ticket.codes[sample.name] != 0)
        n, m = len(sample.outputs), len(sample.inputs)
        expected = {}
        for (o, i), digit in zip(itertools.product(range(n), range(m)), digits, strict=True):
            if digit:
                expected[round(1 - (i + 0.5) / m, 9), round(1 - (o + 0.5) / n, 9)] = digit
        drawn = {(round(a[1], 9), round(b[1], 9)): round(9 * colour[3]) for (a, b), colour in lines}
        assert drawn == expected


@pytest.mark.parametrize("network", ["fc", "slots", "signed"])
def test_single_weights_have_the_colour_of_the_sign_that_is_used(runs, network):
    from matplotlib.colors import to_rgb

    run = runs[network]
    used = dict(run.ticket.rebuilt())
    for sample, lines in zip(run.samples, _lines(plot.subnetwork(run)), strict=True):
        n, m = len(sample.outputs), len(sample.inputs)
        for (a, b), colour in lines:
            i, o = round((1 - a[1]) * m - 0.5), round((1 - b[1]) * n - 0.5)
            weight = float(used[sample.name][sample.outputs[o], sample.inputs[i]])
            assert weight and all(
                math.isclose(x, y) for x, y in zip(colour[:3], to_rgb(PLUS if weight > 0 else MINUS), strict=True)
            )


def test_signs_that_the_trace_does_not_know_are_not_drawn(runs, tmp_path):
    assert "blue" in _drawn(plot.subnetwork(runs["fc"], 0), tmp_path)
    assert "blue" in _drawn(plot.subnetwork(runs["slots"]), tmp_path)
    assert "blue" not in _drawn(plot.subnetwork(runs["slots"], 0), tmp_path)


def test_the_caption_says_what_is_not_shown(runs, tmp_path):
    says = _drawn(plot.subnetwork(runs["fc"], 1), tmp_path)
    assert "after epoch 1" in says and "16 of 40\nunits" in says and "only some units" in says
    says = " ".join(_drawn(plot.subnetwork(runs["residual"]), tmp_path).split())
    assert "in 8 of 21 layers" in says and "a line: 3×3 kernel" in says
    assert "What the ticket keeps" in _drawn(plot.subnetwork(_without(runs["fc"], trace=[])), tmp_path)


def _labelled(run, names, classes):
    right = torch.arange(classes).repeat(3)
    said = torch.where(torch.arange(3 * classes) % 5 > 0, right, right.flip(0))
    mistakes = Mistakes(torch.zeros(8, 3, 5, 4, dtype=torch.uint8), tuple(range(8)), tuple(range(8)), (0.001,) * 8)
    ticket = dataclasses.replace(run.ticket, meta={**run.ticket.meta, "labels": names})
    return _without(run, ticket=ticket, answers=Answers(right, said, torch.rand(3 * classes)), mistakes=mistakes)


@pytest.mark.parametrize(
    ("names", "classes"),
    [(HOSTILE, 10), ([f"a class of its own {k}" for k in range(210)], 210), (["one"], 30), ("$x", 10), ([{}, 1], 2)],
)
def test_labels_may_be_anything(runs, names, classes, tmp_path):
    run = _labelled(runs["fc"], names, classes)
    for draw in (plot.confusion, *((plot.mistakes, plot.subnetwork) if names is HOSTILE else ())):
        says = _drawn(draw(run), tmp_path)
        assert all(text.isprintable() for text in says.split("\n"))
        assert max(map(len, says.split("\n"))) < 200


def test_names_of_tensors_and_networks_may_be_anything(runs, tmp_path):
    run = runs["fc"]
    renamed = dict(zip(run.ticket.codes, ["$\\frac$", "猫" * 90, "\x1b[1m\n"], strict=True))
    ticket = dataclasses.replace(run.ticket, codes={renamed[name]: its for name, its in run.ticket.codes.items()})
    ticket = dataclasses.replace(ticket, tensors={renamed.get(k, k): its for k, its in ticket.tensors.items()})
    trace = [{**x, "tensors": {renamed[k]: its for k, its in x["tensors"].items()}} for x in run.trace]
    table = [
        dataclasses.replace(run.table[0], name="$\\frac$ 猫"),
        dataclasses.replace(run.table[1], val_accuracy="<b>"),
    ]
    run = _without(run, ticket=ticket, trace=trace, table=table)
    for draw in (plot.curves, plot.layers, plot.scores, plot.subnetwork, plot.filters):
        _drawn(draw(run), tmp_path)


def test_what_is_no_number_is_not_drawn(runs, tmp_path):
    bad = [{"epoch": 3, "val_accuracy": x, "val_loss": x} for x in (math.nan, math.inf, None, "1", [], 10**400)]
    bad += [{"epoch": 10**400, "val_accuracy": 0.5, "val_loss": 1.0}, {"epoch": 4, "val_accuracy": True}]
    figure = plot.curves(_without(runs["fc"], rows=[*runs["fc"].rows, *bad], twin=bad))
    _drawn(figure, tmp_path)
    assert [list(line.get_xdata()) for line in figure.axes[1].lines] == [[1, 2]]


def test_large_numbers_are_drawn(runs, tmp_path):
    row = {"epoch": 10**99, "val_accuracy": 0.5, "val_loss": 1e99}
    figure = plot.curves(_without(runs["fc"], rows=[*runs["fc"].rows, row]))
    _drawn(figure, tmp_path)
    assert figure.axes[1].lines[0].get_ydata()[-1] == 1e99


def test_the_confusion_matrix_holds_shares_of_the_right_class(runs):
    labels, predicted = torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 0])
    run = _without(runs["fc"], answers=Answers(labels, predicted, torch.rand(6)))
    run = _without(run, ticket=dataclasses.replace(run.ticket, meta={}))
    shown = plot.confusion(run).axes[0].images[0].get_array().tolist()
    assert shown == [[75, 25, 0], [0, 100, 0], [100, 0, 0]]
