import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import Table, masked, toy_data

import untrained as ut
from untrained.methods.recipe import Recipe


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    classes=st.integers(2, 5),
    ignored=st.floats(0, 1),
    kind=st.sampled_from([torch.int64, torch.int32, torch.int16, torch.int8]),
    seed=st.integers(0, 99),
)
def test_every_label_counts_once_and_ignored_ones_never(shape, classes, ignored, kind, seed):
    assume(len(shape) != 2 or shape[1] != classes)  # ambiguous, and refused
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    labels = torch.randint(classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < ignored] = -100
    counted = labels != -100
    batches = [(torch.zeros(shape[0], 1), labels.to(kind)), (torch.zeros(shape[0], 1), torch.full(shape, -100))]
    if not counted.any():
        with pytest.raises(ValueError, match="no label"):
            ut.evaluate(Table(logits), batches)
        with pytest.raises(ValueError, match="no label to learn from"):
            ut.fit(Table(logits), batches, epochs=1, title=None)
        return
    each = F.cross_entropy(logits, labels, reduction="none")[counted]
    right = (logits.argmax(1) == labels)[counted].double().mean().item()
    result = ut.evaluate(Table(logits), batches)
    assert result.examples == counted.sum()
    assert result.accuracy == pytest.approx(right) and result.loss == pytest.approx(each.mean().item(), rel=1e-5)
    still = Recipe("sgd", lr=1e-12, momentum=0.0, label_smoothing=0.0)
    row = ut.fit(Table(logits), batches, epochs=1, recipe=still, title=None).rows[0]
    assert row["train_accuracy"] == pytest.approx(right)
    assert row["train_loss"] == pytest.approx(each.mean().item(), rel=1e-5)


def test_booleans_and_bytes_are_class_numbers():
    x, y = torch.zeros(4, 1), torch.tensor([0, 1, 1, 0])
    results = {ut.evaluate(Table(torch.eye(2).repeat(2, 1)), [(x, y.to(kind))]) for kind in (torch.bool, torch.uint8)}
    assert results == {ut.evaluate(Table(torch.eye(2).repeat(2, 1)), [(x, y)])}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_batch_of_ignored_labels_teaches_nothing(smoothing):
    logits, recipe = torch.randn(4, 3), Recipe("sgd", lr=0.5, label_smoothing=smoothing)
    x, y = torch.zeros(4, 1), torch.tensor([0, -100, 2, 1])
    models = [Table(logits.clone()), Table(logits.clone())]
    losses = [
        ut.fit(model, batches, epochs=1, recipe=recipe, accumulate=len(batches), title=None).rows[0]["train_loss"]
        for model, batches in zip(models, ([(x, y)], [(x, y), (x, torch.full((4,), -100))]), strict=True)
    ]
    assert losses[0] == losses[1] and models[1].logits.isfinite().all()


class Made(nn.Module):
    """A layer with a function of its outputs."""

    def __init__(self, make):
        super().__init__()
        self.make, self.layer = make, nn.Linear(4, 3)

    def forward(self, x):
        return self.make(self.layer(x))


X, Y = torch.zeros(6, 4), torch.arange(6) % 3


@pytest.mark.parametrize(
    ("make", "batch", "message"),
    [
        (None, {"x": X, "y": Y}, "batch.*got a dict"),
        (None, (X, Y, Y), "batch.*got a tuple of 3"),
        (None, X, r"batch.*got float32 \(6, 4\)"),
        (None, (X.numpy(), Y.numpy()), "batch.*got a ndarray and a ndarray"),
        (None, (X, Y.tolist()), r"batch.*got float32 \(6, 4\) and a list of 6"),
        (None, (X, Y[:, None]), r"labels.*\(6,\).*\(6, 3\), got int64 \(6, 1\)"),
        (None, (X, F.one_hot(Y)), r"labels.*\(6,\).*\(6, 3\), got int64 \(6, 3\)"),
        (None, (X, F.one_hot(Y).float()), r"labels.*got float32 \(6, 3\)"),
        (None, (X, Y.float()), r"labels.*got float32 \(6,\)"),
        (None, (X, Y[:5]), r"labels.*got int64 \(5,\)"),
        (None, (X, Y + 1), r"labels.*0\.\.2.*got 1\.\.3"),
        (None, (X, Y - 1), r"labels.*0\.\.2.*got -1\.\.1"),
        (None, (X.byte(), Y), r"inputs.*float32.*got uint8 \(6, 4\)"),
        (None, (X.double(), Y), r"inputs.*float32.*got float64 \(6, 4\)"),
        (lambda z: (z, z), (X, Y), "logits.*got a tuple of 2"),
        (lambda z: {"logits": z}, (X, Y), "logits.*got a dict"),
        (lambda z: z[:, 0], (X, Y), r"logits.*got float32 \(6,\)"),
        (lambda z: z[:, :1], (X, Y * 0), r"logits.*got \(6, 1\)"),
        (lambda z: z.argmax(1), (X, Y), r"logits.*got int64 \(6,\)"),
        (lambda z: z[:, :, None, None].expand(-1, -1, 2, 2), (X, Y), r"labels.*\(6, 2, 2\).*got int64 \(6,\)"),
    ],
)
def test_shapes_that_do_not_match_are_named(make, batch, message):
    model = Made(make or (lambda z: z))
    with pytest.raises(ValueError, match=message):
        ut.evaluate(model, [batch])
    with pytest.raises(ValueError, match=message):
        ut.fit(model, [batch], epochs=1, title=None)


def test_a_last_batch_of_one_is_learnt_from_or_named():
    batches = toy_data(n=17)
    ut.fit(masked(), batches(8, shuffle=True), batches(8), epochs=1, title=None)
    ut.calibrate_(masked(), batches(8))
    split = batches().split
    assert isinstance(split.images, torch.Tensor)
    loader = DataLoader(TensorDataset(split.images / 255, split.labels), batch_size=8)
    for call in (lambda: ut.fit(masked(), loader, epochs=1, title=None), lambda: ut.calibrate_(masked(), loader)):
        with pytest.raises(ValueError, match=r"batch has one example.*drop_last"):
            call()
