"""The search loop: it learns, resumes to the same bits, and loses nothing when interrupted."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import untrained as ut
from untrained.data.dataset import Split
from untrained.methods.recipe import PAPER, SCORES, Recipe
from untrained.search.evaluation import answers

SHAPE = (1, 4, 4)


def toy_data(n=240, seed=0):
    """Four classes, told apart by which quarter of the image is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 120, (n, *SHAPE), generator=generator)
    for label in range(4):
        images[labels == label, :, 2 * (label // 2) : 2 * (label // 2) + 2, 2 * (label % 2) : 2 * (label % 2) + 2] += 90
    split = Split(images.to(torch.uint8), labels)
    return lambda size=40, **how: ut.Batches(split, size, mean=(0.3,), std=(0.2,), **how)


def network(dropout=0.2):
    """Dropout and running statistics, so that a resumed run has something to get wrong."""
    layers = [nn.Flatten(), nn.Linear(16, 32, bias=False), nn.BatchNorm1d(32, affine=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(32, 4, bias=False))


def masked(**how):
    return ut.mask_(network(**how), ut.EdgePopup(keep=0.5), seed=3)


def timeless(history):
    return [{k: v for k, v in row.items() if "second" not in k} for row in history.rows]


def test_the_found_subnetwork_is_better_than_the_random_one():
    model, batches = masked(), toy_data()
    before = ut.evaluate(ut.calibrate_(model, batches()), batches()).accuracy
    history = ut.fit(model, batches(shuffle=True), batches(), epochs=8)
    assert history.rows[-1]["val_accuracy"] > max(0.95, before + 0.2)
    assert history.column("epoch") == list(range(1, 9))
    assert 0 < history.rows[0]["flips"] < 1
    assert history.rows[-1]["val_accuracy"] == ut.evaluate(model, batches()).accuracy


def test_frozen_weights_never_change_and_the_global_generator_is_left_alone():
    model, batches = masked(), toy_data()
    frozen = {n: p.clone() for n, p in model.named_parameters() if n.endswith("frozen")}
    generator = torch.get_rng_state()
    ut.fit(model, batches(shuffle=True), epochs=2)
    assert torch.equal(torch.get_rng_state(), generator)
    assert frozen and all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)


class _Stop:
    """A log that presses Ctrl-C after some epochs."""

    def __init__(self, after):
        self.after = after

    def __call__(self, row):
        if row["epoch"] == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("recipe", [None, "paper", Recipe("adam", lr=0.01, warmup=1.5, label_smoothing=0.1)])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, recipe):
    batches = toy_data()
    straight, broken, resumed = masked(), masked(), masked()
    train = lambda: batches(shuffle=True, augment=False, seed=5)  # noqa: E731
    whole = ut.fit(straight, train(), batches(), epochs=5, recipe=recipe, out=tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        ut.fit(broken, train(), batches(), epochs=5, recipe=recipe, out=tmp_path / "b", log=_Stop(after=2))
    again = ut.fit(resumed, train(), batches(), epochs=5, recipe=recipe, out=tmp_path / "b", resume=True)
    assert timeless(again) == timeless(whole)
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert (tmp_path / "a/found.ticket").read_bytes() == (tmp_path / "b/found.ticket").read_bytes()


class _InterruptedBatches:
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, batches, epoch, at):
        self.batches, self.epoch, self.at, self.now = batches, epoch, at, 0

    def __len__(self):
        return len(self.batches)

    def set_epoch(self, epoch):
        self.now = epoch
        self.batches.set_epoch(epoch)

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            if (self.now, number) == (self.epoch, self.at):
                raise KeyboardInterrupt
            yield batch


@pytest.mark.parametrize("epoch", [0, 2])
def test_ctrl_c_within_an_epoch_leaves_a_checkpoint_and_a_ticket(tmp_path, epoch):
    batches, model = toy_data(), masked()
    train = _InterruptedBatches(batches(shuffle=True), epoch, at=3)
    with pytest.raises(KeyboardInterrupt):
        ut.fit(model, train, batches(), epochs=4, out=tmp_path, meta={"data": "toy"})
    ticket = ut.Ticket.load(tmp_path / "found.ticket")
    ticket.verify()
    assert ticket.meta == {"data": "toy"}
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == epoch
    resumed, straight = masked(), masked()
    ut.fit(resumed, batches(shuffle=True), epochs=4, out=tmp_path, resume=True)
    ut.fit(straight, batches(shuffle=True), epochs=4)
    assert all(torch.equal(a, b) for a, b in zip(ut.scores(resumed), ut.scores(straight), strict=True))


def test_metrics_and_log_tell_the_history(tmp_path):
    batches, rows = toy_data(), []
    history = ut.fit(masked(), batches(shuffle=True), batches(), epochs=3, out=tmp_path, log=rows.append)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == history.rows == rows


def test_a_clock_that_stands_still_ends_no_search(monkeypatch):
    monkeypatch.setattr("untrained.search.fit.time.perf_counter", lambda: 7.0)
    model = ut.mask_(torch.nn.Linear(4, 3), ut.EdgePopup(0.5), seed=0)
    batches = [(torch.randn(8, 4), torch.arange(8) % 3)] * 2
    (row,) = ut.fit(model, batches, epochs=1, title=None).rows
    assert row["seconds"] == 0 and row["examples_per_second"] > 0


def test_silent_when_nobody_looks(capfd):
    ut.fit(masked(), toy_data()(), epochs=1)
    assert capfd.readouterr() == ("", "")


def test_accumulated_small_batches_equal_one_large():
    large, small = masked(dropout=0.0), masked(dropout=0.0)
    for model in (large, small):
        model[2] = nn.Identity()  # norm statistics do depend on the size of a batch
    batches = toy_data(n=200)
    ut.fit(large, batches(100), epochs=2, recipe=Recipe(lr=0.1))
    ut.fit(small, batches(25), epochs=2, recipe=Recipe(lr=0.1, cosine="epoch"), accumulate=4)
    again = masked(dropout=0.0)
    again[2] = nn.Identity()
    ut.fit(again, batches(100), epochs=2, recipe=Recipe(lr=0.1, cosine="epoch"))
    for a, b in zip(ut.scores(small), ut.scores(again), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert not all(torch.equal(a, b) for a, b in zip(ut.scores(small), ut.scores(large), strict=True))


def test_plain_models_train_and_also_train_learns():
    batches = toy_data()
    plain = network()
    assert ut.fit(plain, batches(shuffle=True), batches(), epochs=8).rows[-1]["val_accuracy"] > 0.95
    model = network()
    head = model[5].weight.clone()
    ut.mask_(model, ut.EdgePopup(0.5), also_train=r"5\.weight")
    ut.fit(model, batches(shuffle=True), epochs=1)
    assert not torch.equal(model[5].weight, head)


def test_a_data_loader_will_do():
    split = toy_data()().split
    loader = DataLoader(TensorDataset(split.images.float() / 255, split.labels), batch_size=30)
    assert len(ut.fit(masked(), loader, loader, epochs=2).rows) == 2


def test_bfloat16_learns_too():
    batches = toy_data()
    history = ut.fit(masked(), batches(shuffle=True), batches(), epochs=8, amp=True)
    assert history.rows[-1]["val_accuracy"] > 0.9


def test_divergence_and_idle_methods_are_told():
    batches = toy_data()
    with pytest.raises(ValueError, match=r"diverged"):
        ut.fit(masked(), [(torch.full((8, *SHAPE), math.nan), torch.zeros(8, dtype=torch.long))], epochs=3)
    with pytest.raises(ValueError, match="nothing to learn"):
        ut.fit(ut.mask_(network(), ut.Dense()), batches(), epochs=1)
    with pytest.raises(ValueError, match="1 or more"):
        ut.fit(masked(), batches(), epochs=0)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    batches = toy_data()
    ut.fit(masked(), batches(), epochs=1, out=tmp_path)
    with pytest.raises(ValueError, match="its epochs is 1, not 2"):
        ut.fit(masked(), batches(), epochs=2, out=tmp_path, resume=True)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a checkpoint"):
        ut.fit(masked(), batches(), epochs=1, out=tmp_path, resume=True)


def test_a_run_is_not_overwritten_nor_taken_up_by_another(tmp_path):
    batches = toy_data()
    ut.fit(masked(), batches(), epochs=1, out=tmp_path)
    whole = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match="holds a run already"):
        ut.fit(masked(), batches(), epochs=1, out=tmp_path)
    others = {
        "keep": ut.mask_(network(), ut.EdgePopup(0.4), seed=3),
        "seed": ut.mask_(network(), ut.EdgePopup(0.5), seed=4),
        "law": ut.mask_(network(), ut.EdgePopup(0.5), seed=3, weights=ut.KaimingNormal()),
        "plain": network(),
    }
    for name, other in others.items():
        before = {key: value.clone() for key, value in other.state_dict().items()}
        with pytest.raises(ValueError, match="is of another run"):
            ut.fit(other, batches(), epochs=1, out=tmp_path, resume=True)
        assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items()), name
    with pytest.raises(ValueError, match="its batches is 6, not 3"):
        ut.fit(masked(), batches(80), epochs=1, out=tmp_path, resume=True)
    assert (tmp_path / "metrics.jsonl").read_text() == whole


def test_a_masked_model_inside_another_is_refused():
    for outer in (nn.Sequential(masked()), torch.compile(masked(), backend="eager")):
        with pytest.raises(ValueError, match="pass the model that mask_ was called on"):
            ut.fit(outer, toy_data()(), epochs=1)


def test_toggled_gradients_change_nothing(tmp_path):
    batches, toggled, left = toy_data(), masked(), masked()
    toggled.requires_grad_(False).requires_grad_(True)
    for model in (toggled, left):
        ut.fit(model, batches(), epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(ut.scores(toggled), ut.scores(left), strict=True))
    pretrained = network()
    model = ut.mask_(pretrained, ut.EdgePopup(0.5), weights=None, where=r"1\.weight", also_train=r"5\.weight")
    stored = [sorted(ut.Ticket.of(model.requires_grad_(on)).extra) for on in (True, False)]
    assert stored[0] == stored[1] and "5.weight" in stored[0] and "1.weight" not in stored[0]


def test_evaluation_leaves_every_module_in_its_mode():
    model = network()
    model.train()
    model[2].eval()
    ut.evaluate(model, toy_data()())
    ut.calibrate_(model, toy_data()())
    assert model.training and not model[2].training and model[2].momentum == 0.1


def test_input_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="no batch"):
        ut.fit(masked(), [], epochs=1)
    with pytest.raises(ValueError, match="recipe must be"):
        ut.fit(masked(), toy_data()(), epochs=1, recipe="papre")
    with pytest.raises(ValueError, match="only once"):
        ut.fit(masked(), toy_data()(), iter(toy_data()()), epochs=1)


class _Table(nn.Module):
    """Gives the logits that it is built with, whatever its input is."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits[: len(x)]


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    classes=st.integers(2, 5),
    ignored=st.floats(0, 1),
    kind=st.sampled_from([torch.int64, torch.int32, torch.int16, torch.int8]),
    seed=st.integers(0, 99),
)
def test_every_label_counts_once_and_ignored_ones_never(shape, classes, ignored, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    labels = torch.randint(classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < ignored] = -100
    counted = labels != -100
    batches = [(torch.zeros(shape[0], 1), labels.to(kind)), (torch.zeros(shape[0], 1), torch.full(shape, -100))]
    if not counted.any():
        with pytest.raises(ValueError, match="no label"):
            ut.evaluate(_Table(logits), batches)
        with pytest.raises(ValueError, match="no label to learn from"):
            ut.fit(_Table(logits), batches, epochs=1, title=None)
        return
    each = F.cross_entropy(logits, labels, reduction="none")[counted]
    right = (logits.argmax(1) == labels)[counted].double().mean().item()
    result = ut.evaluate(_Table(logits), batches)
    assert result.examples == counted.sum()
    assert result.accuracy == pytest.approx(right) and result.loss == pytest.approx(each.mean().item(), rel=1e-5)
    still = Recipe("sgd", lr=1e-12, momentum=0.0, label_smoothing=0.0)
    row = ut.fit(_Table(logits), batches, epochs=1, recipe=still, title=None).rows[0]
    assert row["train_accuracy"] == pytest.approx(right)
    assert row["train_loss"] == pytest.approx(each.mean().item(), rel=1e-5)


def test_booleans_and_bytes_are_class_numbers():
    x, y = torch.zeros(4, 1), torch.tensor([0, 1, 1, 0])
    results = {ut.evaluate(_Table(torch.eye(2).repeat(2, 1)), [(x, y.to(kind))]) for kind in (torch.bool, torch.uint8)}
    assert results == {ut.evaluate(_Table(torch.eye(2).repeat(2, 1)), [(x, y)])}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_batch_of_ignored_labels_teaches_nothing(smoothing):
    model, recipe = _Table(torch.randn(4, 3)), Recipe("sgd", lr=0.5, label_smoothing=smoothing)
    x, y = torch.zeros(4, 1), torch.tensor([0, -100, 2, 1])
    alone, amid = (
        ut.fit(model_, batches, epochs=1, recipe=recipe, accumulate=len(batches), title=None).rows[0]
        for model_, batches in (
            (_Table(model.logits.detach().clone()), [(x, y)]),
            (model, [(x, y), (x, torch.full((4,), -100))]),
        )
    )
    assert alone["train_loss"] == amid["train_loss"] and model.logits.isfinite().all()


class _Gives(nn.Module):
    """Gives what a function makes of its logits."""

    def __init__(self, make):
        super().__init__()
        self.make, self.layer = make, nn.Linear(4, 3)

    def forward(self, x):
        return self.make(self.layer(x))


X, Y = torch.zeros(6, 4), torch.arange(6) % 3


@pytest.mark.parametrize(
    ("make", "batch", "message"),
    [
        (None, {"x": X, "y": Y}, r"a batch must be a pair \(inputs, labels\), got a dict"),
        (None, (X, Y, Y), "must be a pair .*got a tuple of 3"),
        (None, X, r"must be a pair .*got float32 \(6, 4\)"),
        (None, (X.numpy(), Y.numpy()), "pair of tensors .*got a ndarray and a ndarray"),
        (None, (X, Y.tolist()), r"got float32 \(6, 4\) and a list of 6"),
        (
            None,
            (X, Y[:, None]),
            r"int64 \(6, 1\) do not go with logits \(6, 3\): expected class numbers of shape \(6,\)",
        ),
        (None, (X, F.one_hot(Y)), r"int64 \(6, 3\) do not go with logits \(6, 3\)"),
        (None, (X, F.one_hot(Y).float()), r"float32 \(6, 3\) do not go with"),
        (None, (X, Y.float()), r"float32 \(6,\) do not go with"),
        (None, (X, Y[:5]), r"int64 \(5,\) do not go with"),
        (None, (X, Y + 1), r"labels must be in 0\.\.2 .*got 1\.\.3"),
        (None, (X, Y - 1), r"labels must be in 0\.\.2 .*got -1\.\.1"),
        (None, (X.byte(), Y), r"weights are float32 and do not take inputs of uint8 \(6, 4\)"),
        (None, (X.double(), Y), r"weights are float32 and do not take inputs of float64 \(6, 4\)"),
        (lambda z: (z, z), (X, Y), "the network gives a tuple of 2, expected a float tensor of logits"),
        (lambda z: {"logits": z}, (X, Y), "the network gives a dict"),
        (lambda z: z[:, 0], (X, Y), r"the network gives float32 \(6,\)"),
        (lambda z: z[:, :1], (X, Y * 0), r"logits \(6, 1\) of one class"),
        (lambda z: z.argmax(1), (X, Y), r"the network gives int64 \(6,\)"),
        (lambda z: z[:, :, None, None].expand(-1, -1, 2, 2), (X, Y), r"expected class numbers of shape \(6, 2, 2\)"),
    ],
)
def test_what_does_not_go_together_is_refused_by_its_shapes(make, batch, message):
    model = _Gives(make or (lambda z: z))
    with pytest.raises(ValueError, match=message):
        ut.evaluate(model, [batch])
    with pytest.raises(ValueError, match=message):
        ut.fit(model, [batch], epochs=1, title=None)


def test_answers_are_those_of_the_labels_that_count():
    logits, labels = torch.randn(3, 4, 2, 2), torch.randint(4, (3, 2, 2))
    labels[0] = -100
    said = answers(_Table(logits), [(torch.zeros(3, 1), labels)])
    assert torch.equal(said.labels, labels[1:].flatten())
    assert torch.equal(said.predicted, logits.argmax(1)[1:].flatten())
    probability = logits.softmax(1).gather(1, labels.clamp_min(0)[:, None])[1:].flatten()
    torch.testing.assert_close(said.probability, probability)
    assert said.accuracy == ut.evaluate(_Table(logits), [(torch.zeros(3, 1), labels)]).accuracy


def test_a_loader_that_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"train must have a length, .*got a generator"):
        ut.fit(masked(), (pair for pair in toy_data()()), epochs=1)


def test_a_last_batch_of_one_is_learnt_from_or_named():
    batches = toy_data(n=41)
    ut.fit(masked(), batches(8, shuffle=True), batches(8), epochs=1, title=None)
    ut.calibrate_(masked(), batches(8))
    split = batches().split
    loader = DataLoader(TensorDataset(split.images / 255, split.labels), batch_size=8)
    for call in (lambda: ut.fit(masked(), loader, epochs=1, title=None), lambda: ut.calibrate_(masked(), loader)):
        with pytest.raises(ValueError, match=r"a batch has one example: choose another batch size, .*drop_last"):
            call()


def test_rates():
    by_epoch = [PAPER.rate(e, s, 7, 100) for e in range(100) for s in (0, 6)]
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * e / 100)) for e in range(100) for _ in (0, 6)]
    assert by_epoch == pytest.approx(expected)
    warm = Recipe(lr=2.0, warmup=2.0)
    assert [warm.rate(0, s, 4, 10) for s in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    rates = [warm.rate(e, s, 4, 10) for e in range(10) for s in range(4)]
    assert max(rates) == pytest.approx(2.0) and rates[-1] < 0.02 and sorted(rates[8:], reverse=True) == rates[8:]
    short = [SCORES.rate(0, s, 10, 1) for s in range(10)]
    assert max(short) == SCORES.lr and short[-1] < 0.1 * SCORES.lr  # one epoch is half warm-up, half cosine
    assert max(SCORES.rate(e, s, 10, 5) for e in range(5) for s in range(10)) == SCORES.lr


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"momentum": -1.0}, {"optimizer": "rms"}, {"cosine": "never"}])
def test_wrong_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_running_statistics_are_the_plain_mean_after_calibration():
    model, batches = masked(), toy_data()
    ut.calibrate_(model, batches(60))
    with ut.baked(model) as dense, torch.no_grad():
        hidden = [dense[:2](x) for x, _ in batches(60)]
    torch.testing.assert_close(model[2].running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0))
    assert model[2].momentum == 0.1 and model.training


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
import untrained as ut
from test_fit import masked, toy_data
torch.set_num_threads(1)
model, batches = masked(), toy_data()
history = ut.fit(model, batches(20, shuffle=True), batches(), epochs=3, out={out!r})
rank = torch.distributed.get_rank()
torch.save([s.detach() for s in ut.scores(model)], f"{out}/scores{{rank}}.pt")
torch.distributed.destroy_process_group()
"""


def test_torchrun_runs_it_unchanged(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), out=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"scores{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and rows[-1]["val_accuracy"] > rows[0]["val_accuracy"] - 0.05
    ut.Ticket.load(tmp_path / "found.ticket").verify()


def test_numbers_of_numpy_are_numbers(tmp_path):
    def network():
        return ut.mask_(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), ut.EdgePopup(0.5), seed=np.uint8(3))

    batches = ut.load_data("digits").batches("train", np.int64(500), seed=np.int32(1))
    out, options = tmp_path / "run", {"seed": np.int64(2), "accumulate": np.int16(1), "amp": np.bool_(False)}
    ut.fit(network(), batches, epochs=np.int64(2), out=out, title=None, **options)
    assert len(ut.fit(network(), batches, epochs=2, seed=2, out=out, resume=True, title=None).rows) == 2
    with pytest.raises(ValueError, match=r"epochs must be of type int, got 2\.5"):
        ut.fit(network(), batches, epochs=2.5, title=None)
