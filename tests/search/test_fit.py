import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import SHAPE, masked, network, toy_data

import untrained as ut
from untrained.methods.recipe import Recipe


def assert_equal_scores(a, b, **tolerance):
    for one, other in zip(ut.scores(a), ut.scores(b), strict=True):
        torch.testing.assert_close(one, other, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("amp", [False, True])
def test_the_found_subnetwork_is_better_than_the_random_one(capfd, amp):
    model, batches = masked(), toy_data()
    before = ut.evaluate(ut.calibrate_(model, batches()), batches()).accuracy
    frozen = {n: p.clone() for n, p in model.named_parameters() if n.endswith("frozen")}
    generator = torch.get_rng_state()
    history = ut.fit(model, batches(shuffle=True), batches(), epochs=8, amp=amp)
    assert history.rows[-1]["val_accuracy"] > max(0.9 if amp else 0.95, before + 0.2)
    assert history.rows[-1]["val_accuracy"] == ut.evaluate(model, batches(), amp=amp).accuracy
    assert history.column("epoch") == list(range(1, 9))
    assert 0 < history.rows[0]["flips"] < 1
    assert torch.equal(torch.get_rng_state(), generator), "the global generator is left alone"
    assert frozen and all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    out, err = capfd.readouterr()
    assert not out and err.splitlines()[0] == "search: 8 epochs of 6 batches"
    assert [line.partition(" of 8 ")[0] for line in err.splitlines()[1:]] == [f"search: epoch {n}" for n in range(1, 9)]


class _Stop:
    """A function that presses Ctrl-C after some epochs."""

    def __init__(self, after):
        self.after = after

    def __call__(self, epoch):
        if epoch.number == self.after:
            raise KeyboardInterrupt


def timeless(history):
    return [{k: v for k, v in row.items() if "second" not in k} for row in history.rows]


@pytest.mark.parametrize("recipe", [None, "paper", Recipe("adam", lr=0.01, warmup=1.5, label_smoothing=0.1)])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, recipe):
    batches, seen = toy_data(), []
    straight, broken, resumed = masked(), masked(), masked()
    train = lambda: batches(shuffle=True, augment=False, seed=5)  # noqa: E731
    whole = ut.fit(straight, train(), batches(), epochs=4, recipe=recipe, out=tmp_path / "a", on_epoch=seen.append)
    metrics = (tmp_path / "a/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in metrics] == whole.rows == [each.row for each in seen]
    assert [(each.number, each.epochs, each.model is straight) for each in seen] == [(n, 4, True) for n in range(1, 5)]
    assert seen[-1].history is whole and seen[-1].folder == tmp_path / "a"
    with pytest.raises(KeyboardInterrupt):
        ut.fit(broken, train(), batches(), epochs=4, recipe=recipe, out=tmp_path / "b", on_epoch=_Stop(after=2))
    again = ut.fit(resumed, train(), batches(), epochs=4, recipe=recipe, out=tmp_path / "b", resume=True)
    assert timeless(again) == timeless(whole)
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert (tmp_path / "a/found.ticket").read_bytes() == (tmp_path / "b/found.ticket").read_bytes()


class _InterruptedBatches:
    """Batches that press Ctrl-C in the middle of an epoch."""

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
        ut.fit(model, train, batches(), epochs=3, out=tmp_path, meta={"data": "toy"})
    ticket = ut.Ticket.load(tmp_path / "found.ticket")
    ticket.verify()
    assert ticket.meta == {"data": "toy"}
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == epoch
    resumed, straight = masked(), masked()
    ut.fit(resumed, batches(shuffle=True), epochs=3, out=tmp_path, resume=True)
    ut.fit(straight, batches(shuffle=True), epochs=3)
    assert_equal_scores(resumed, straight)


def test_a_clock_that_stands_still_ends_no_search(monkeypatch):
    monkeypatch.setattr("untrained.search.epoch.time.perf_counter", lambda: 7.0)
    model = ut.mask_(nn.Linear(4, 3), ut.EdgePopup(0.5), seed=0)
    (row,) = ut.fit(model, [(torch.randn(8, 4), torch.arange(8) % 3)], epochs=1, title=None).rows
    assert row["seconds"] == 0 and row["examples_per_second"] > 0


def test_accumulated_small_batches_equal_one_large():
    models = [masked(dropout=0.0) for _ in range(3)]
    for model in models:
        model[2] = nn.Identity()  # norm statistics do depend on the size of a batch
    large, small, other = models
    batches, by_epoch = toy_data(n=200), Recipe(lr=0.1, cosine="epoch")
    ut.fit(large, batches(100), epochs=2, recipe=by_epoch)
    ut.fit(small, batches(25), epochs=2, recipe=by_epoch, accumulate=4)
    ut.fit(other, batches(100), epochs=2, recipe=Recipe(lr=0.1))
    assert_equal_scores(small, large, rtol=1e-5, atol=1e-6)
    assert not all(torch.equal(a, b) for a, b in zip(ut.scores(small), ut.scores(other), strict=True))


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
    split = toy_data(n=60)().split
    loader = DataLoader(TensorDataset(split.images.float() / 255, split.labels), batch_size=30)
    assert len(ut.fit(masked(), loader, loader, epochs=2).rows) == 2


BATCHES = toy_data(n=8)(4)


@pytest.mark.parametrize(
    ("model", "train", "options", "message"),
    [
        (masked, [(torch.full((8, *SHAPE), math.nan), torch.zeros(8, dtype=torch.long))], {}, "loss.*nan in epoch 1"),
        (lambda: ut.mask_(network(), ut.Dense()), BATCHES, {}, "requires a gradient, got none"),
        (masked, BATCHES, {"epochs": 0}, "epochs.*got 0"),
        (masked, BATCHES, {"epochs": 2.5}, r"epochs.*int.*2\.5"),
        (masked, BATCHES, {"accumulate": 0}, "accumulate.*and 0"),
        (masked, [], {}, "train.*got none"),
        (masked, (pair for pair in BATCHES), {}, "train.*got a generator"),
        (masked, BATCHES, {"recipe": "papre"}, "recipe.*'papre'"),
        (masked, BATCHES, {"val": iter(BATCHES)}, "val.*got an iterator"),
        (lambda: nn.Sequential(masked()), BATCHES, {}, "mask_ was called on"),
        (lambda: torch.compile(masked(), backend="eager"), BATCHES, {}, "mask_ was called on"),
    ],
)
def test_input_that_cannot_work_is_refused(model, train, options, message):
    with pytest.raises(ValueError, match=message):
        ut.fit(model(), train, **{"epochs": 1, **options})


class _Longer(list):
    """Batches that yield one more than their length."""

    def __iter__(self):
        yield from super().__iter__()
        yield self[0]


def test_more_batches_than_the_length_are_refused():
    with pytest.raises(ValueError, match=r"len\(train\) = 2"):
        ut.fit(nn.Linear(4, 3), _Longer([(torch.ones(3, 4), torch.arange(3))] * 2), epochs=1)


def test_a_run_is_not_overwritten_nor_resumed_by_another(tmp_path):
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
    for size, epochs, message in ((80, 1, "its batches is 6, not 3"), (40, 2, "its epochs is 1, not 2")):
        with pytest.raises(ValueError, match=message):
            ut.fit(masked(), batches(size), epochs=epochs, out=tmp_path, resume=True)
    assert (tmp_path / "metrics.jsonl").read_text() == whole


def test_toggled_gradients_change_nothing():
    batches, toggled, left = toy_data(), masked(), masked()
    toggled.requires_grad_(False).requires_grad_(True)
    for model in (toggled, left):
        ut.fit(model, batches(), epochs=1)
    assert_equal_scores(toggled, left)
    model = ut.mask_(network(), ut.EdgePopup(0.5), weights=None, where=r"1\.weight", also_train=r"5\.weight")
    stored = [sorted(ut.Ticket.of(model.requires_grad_(on)).extra) for on in (True, False)]
    assert stored[0] == stored[1] and "5.weight" in stored[0] and "1.weight" not in stored[0]


def test_numbers_of_numpy_are_numbers(tmp_path):
    def linear():
        return ut.mask_(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), ut.EdgePopup(0.5), seed=np.uint8(3))

    batches = toy_data()(np.int64(40), seed=np.int32(1))
    options = {"seed": np.int64(2), "accumulate": np.int16(1), "amp": np.bool_(False)}
    ut.fit(linear(), batches, epochs=np.int64(2), out=tmp_path, title=None, **options)
    assert len(ut.fit(linear(), batches, epochs=2, seed=2, out=tmp_path, resume=True, title=None).rows) == 2


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
import untrained as ut
from toy import masked, toy_data
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
