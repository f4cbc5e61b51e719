"""Networks with a norm, searched: the statistics are taken anew before anything is measured or written."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.cli import main
from untrained.data.splits import Split
from untrained.experiments import testbed
from untrained.experiments.compare import Comparison
from untrained.experiments.find import find
from untrained.experiments.testbed import Workbench, choose_device
from untrained.runs.run import read_run
from untrained.runs.settings import Settings

QUICK = {"norm": "batch", "widths": (12, 9), "epochs": 2, "keep": 0.2}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]


def test_network_ticket_and_table_agree_also_after_a_resume(capsys):
    found = find(**QUICK, out="run")
    written, row = found.ticket.read_bytes(), found.rows[2]
    ticket, network, data = ut.Ticket.load(found.ticket), ut.load(found.ticket), ut.load_data("digits")
    assert ticket.built_by["arguments"]["norm"] == "batch"
    assert row.accuracy == ticket.meta["accuracy"] == ut.evaluate(network, data.batches("test", 500)).accuracy
    assert row.val_accuracy == ticket.meta["val_accuracy"] == ut.evaluate(network, data.batches("val", 500)).accuracy
    assert read_run(found.folder).answers.accuracy == row.accuracy
    # Its statistics are those of the network's own hidden layers on the training images, in a narrow type.
    x = torch.cat([x for x, _ in data.batches("train", 64)])
    hidden = nn.Sequential(*list(network.eval().children())[:2])(x)
    for got, expected in zip(norms(network)[0].state_dict().values(), (hidden.mean(0), hidden.var(0)), strict=False):
        assert any(torch.equal(got.to(t).float(), got) for t in (torch.float8_e4m3fn, torch.float16))
        assert ((got - expected).abs() <= 0.1 * expected.abs() + 0.05 * hidden.std(0)).all()
    assert "<title>fc with batch norm on digits: a subnetwork" in (found.folder / "report.html").read_text("utf-8")
    again = find(**QUICK, out="run", resume=True)
    assert again.ticket.read_bytes() == written and again.rows[::3] == found.rows[::3]
    assert [replace(r, seconds=None) for r in again.rows] == [replace(r, seconds=None) for r in found.rows]
    main(["eval", "run/found.ticket"])
    assert f"{row.accuracy:.2%}" in capsys.readouterr().out
    main(["verify", "run/found.ticket"])


def test_one_image_a_step_is_refused_before_anything_is_made():
    with pytest.raises(ValueError, match="batch-size must be 2 or more with a norm, got 1"):
        find(**QUICK, batch_size=1, out="run")
    assert not Path("run").exists()


def draw_nothing(*arguments, **_):
    arguments[4]((), ())  # the function that draws
    return Comparison((), (), Path(), None, Path())


def test_pictures_name_the_network_with_its_norm(monkeypatch):
    titles = []
    for command, picture in (("compare", "comparison"), ("sweep", "sweep")):
        monkeypatch.setattr(f"untrained.plot.{picture}", lambda title, *_: titles.append(title))
        monkeypatch.setattr(f"untrained.experiments.{command}.run_grid", draw_nothing)
    ut.compare(widths=(5,), norm="batch")
    ut.sweep(model="conv2", width="0.02,0.03", norm="batch")
    assert [title.partition(",")[0] for title in titles] == [
        "fc 5 with batch norm on digits",
        "conv2 with batch norm on digits",
    ]
    assert Settings().describe_network() == Settings(widths=()).describe_network() == "fc"


def test_the_twin_has_the_same_norm_and_its_statistics_are_taken_anew(monkeypatch):
    measured = []
    true_accuracy = Workbench._measure
    monkeypatch.setattr(
        Workbench, "_measure", lambda self, net, part: (measured.append(net), true_accuracy(self, net, part))[1]
    )
    bench = Workbench(Settings(**QUICK), ut.load_data("digits"), choose_device("cpu"), 0, quiet=True)
    bench.train_twin(Path("twin"), resume=False)
    (twin, _), trained = measured, bench.network()
    trained.load_state_dict(torch.load("twin/checkpoint.pt", weights_only=True)["model"])
    assert len(norms(twin)) == 2
    assert all(got.equal(trained.state_dict()[name]) for name, got in twin.named_parameters())
    assert not any(a.running_mean.equal(b.running_mean) for a, b in zip(norms(twin), norms(trained), strict=True))
    bench.calibrate(trained)
    assert all(a.running_var.equal(b.running_var) for a, b in zip(norms(twin), norms(trained), strict=True))


@pytest.mark.parametrize(
    ("images", "sizes"), [(1147, [230] * 4 + [227]), (13000, [256] * 50), (257, [129, 128]), (2, [2])]
)
def test_batches_of_the_calibration_are_as_equal_as_they_can_be_and_not_augmented(images, sizes, monkeypatch):
    seen = []
    monkeypatch.setattr(testbed, "calibrate_", lambda network, batches, dtype: seen.extend(batches))
    numbers = torch.arange(images)
    pixels = torch.stack([numbers // 256, numbers % 256], 1)[:, None, :, None].to(torch.uint8)
    digits = ut.load_data("digits")
    data = replace(digits, train=Split(pixels, numbers % 10), mean=(0.0,), std=(1 / 255,), augment=True)
    bench = Workbench(Settings(**QUICK), data, choose_device("cpu"), 5)
    bench.calibrate(bench.network())
    assert [len(x) for x, _ in seen] == sizes
    x = torch.cat([x for x, _ in seen]).round().long().flatten(1)
    order = 256 * x[:, 0] + x[:, 1]
    assert len(order.unique()) == sum(sizes) and (images < 3 or not order.equal(order.sort().values))
