import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import Table

import untrained as ut
from untrained.methods.recipe import Recipe

STILL = Recipe("sgd", lr=1e-12, momentum=0.0, label_smoothing=0.0)


def as_batches(outputs, labels, size):
    """A model and batches that give these outputs: the inputs are their numbers."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.outputs = nn.Parameter(outputs.clone())

        def forward(self, x):
            return self.outputs[x.long()]

    numbers = torch.arange(len(outputs)).float()
    return Rows(), list(zip(numbers.split(size), labels.split(size), strict=True))


@settings(max_examples=10)
@given(
    shape=st.sampled_from([(), (1,), (3,), (2, 2)]),
    size=st.integers(1, 5),
    offset=st.sampled_from([0.0, 1990.0, 1e6]),
    seed=st.integers(0, 99),
)
def test_values_are_measured_as_numpy_does_it_in_any_batches(shape, size, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs, labels = (torch.randn(9, *shape, generator=generator) + offset for _ in range(2))
    model, batches = as_batches(outputs, labels, size)
    y, error = labels.double().numpy(), (labels.double() - outputs.double()).numpy()
    found = ut.evaluate(model, batches)
    assert found.metric.name == "rmse" and found.examples == labels.numel()
    assert found.value == pytest.approx(math.sqrt((error**2).mean()), rel=1e-9)
    assert found.loss == pytest.approx((error**2).mean(), rel=1e-9)
    with pytest.raises(ValueError, match="rmse, not accuracy"):
        _ = found.accuracy
    r2 = 1 - (error**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert ut.evaluate(model, batches, metric="r2").value == pytest.approx(r2.mean(), rel=1e-6)
    row = ut.fit(model, batches, batches, epochs=1, recipe=STILL, title=None, metric="r2").rows[0]
    assert row["train_r2"] == pytest.approx(r2.mean(), rel=1e-4) and row["val_r2"] == pytest.approx(r2.mean(), rel=1e-4)
    assert not any("accuracy" in name for name in row)


@settings(max_examples=10)
@given(
    positions=st.integers(1, 5),
    classes=st.integers(2, 4),
    size=st.integers(1, 4),
    ignored=st.sampled_from([-100, 255]),
    seed=st.integers(0, 99),
)
def test_tokens_and_pixels_are_counted_once_and_ignored_ones_never(positions, classes, size, ignored, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, positions, classes, generator=generator)
    labels = torch.randint(classes, (5, positions), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.4] = ignored
    labels[0, 0] = 1
    counted = labels != ignored
    each = F.cross_entropy(logits[counted].double(), labels[counted], reduction="none")
    right = logits.argmax(2)[counted] == labels[counted]
    for loss, its in (("next-token", logits), ("cross-entropy", logits.transpose(1, 2))):
        model, batches = as_batches(its, labels, size)
        chosen: dict = {"loss": f"{loss}(ignore_index={ignored})"}
        found = ut.evaluate(model, batches, **chosen)
        assert (found.examples, found.metric.name) == (int(counted.sum()), "accuracy")
        assert found.accuracy == pytest.approx(right.double().mean().item())
        assert found.loss == pytest.approx(each.mean().item(), rel=1e-5)
        perplexity = ut.evaluate(model, batches, metric="perplexity", **chosen).value
        assert perplexity == pytest.approx(each.mean().exp().item(), rel=1e-5)
        iou = []
        for one in range(classes):
            a, b = (logits.argmax(2) == one) & counted, labels == one
            if (a | b).any():
                iou.append(((a & b).sum() / (a | b).sum()).item())
        assert ut.evaluate(model, batches, metric="mean-iou", **chosen).value == pytest.approx(np.mean(iou), rel=1e-6)


def test_the_layout_is_decided_by_the_shapes_or_refused():
    labels = torch.randint(3, (4, 5))
    for logits in (torch.randn(4, 5, 3), torch.randn(4, 3, 5)):
        model, batches = as_batches(logits, labels, 4)
        tokens = logits.shape[2] == 3
        assert ut.evaluate(model, batches) == ut.evaluate(
            model, batches, loss="next-token" if tokens else "cross-entropy"
        )
    square, batches = as_batches(torch.randn(4, 5, 5), labels, 4)
    with pytest.raises(ValueError, match=r"axis 1 and on the last axis.*'cross-entropy'.*'next-token'"):
        ut.evaluate(square, batches)
    assert (
        ut.evaluate(square, batches, loss="next-token").loss != ut.evaluate(square, batches, loss="cross-entropy").loss
    )


@pytest.mark.parametrize(
    ("outputs", "labels", "chosen", "message"),
    [
        ((6, 3), torch.eye(3).repeat(2, 1), {}, "class probabilities.*loss='mse'"),
        ((6, 1), torch.tensor([[0.0], [1.0]] * 3), {}, r"0\.0 and 1\.0 alone"),
        ((6, 2), torch.randn(6), {}, r"labels must be integers \(6,\)"),
        ((6, 2), torch.randn(6), {"loss": "mse"}, r"targets.*\(6, 2\), got float32 \(6,\)"),
        ((6, 3), torch.arange(6) % 3, {"metric": "rmse"}, "rmse does not suit labels that are classes"),
        ((6,), torch.randn(6), {"metric": "accuracy"}, "accuracy does not suit labels that are values"),
        ((6,), torch.ones(6) * 0.3, {"metric": "r2"}, "targets that differ"),
        ((6, 3), torch.arange(6) % 3, {"loss": "hinge"}, "unknown loss 'hinge'; known: cross-entropy"),
        ((6, 3), torch.arange(6) % 3, {"metric": "f1"}, "unknown metric 'f1'; known: accuracy"),
        ((6, 3), torch.arange(6) % 3, {"loss": "mse(ignore_index=1)"}, "no ignore_index"),
        ((6, 3), torch.arange(6) % 3, {"loss": 3}, "loss must be one of"),
        ((6, 3), torch.arange(6) % 3, {"loss": torch.nn.NLLLoss}, r"got the class: write NLLLoss\(\)"),
        ((6, 3), torch.arange(6) % 3, {"metric": torch.nn.L1Loss}, r"metric must .* the class: write L1Loss\(\)"),
        ((6, 3), torch.arange(6) % 3, {"metric": lambda a, b: 0.5}, "must state its direction"),
        ((6, 3), torch.arange(6) % 3, {"loss": lambda a, b: a[:, 0], "metric": "accuracy"}, r"one number.*\(6,\)"),
        ((6, 3), torch.arange(6) % 3, {"loss": lambda a, b: 0.5, "metric": "accuracy"}, "float tensor.*a float"),
        ((6, 3), torch.arange(6) % 3, {"loss": lambda a, b: torch.tensor(0.5)}, "no gradient"),
        ((6, 3), torch.arange(6) % 3, {"loss": "next-token"}, r"next-token needs logits.*got float32 \(6, 3\)"),
    ],
)
def test_what_is_ambiguous_or_does_not_fit_is_named(outputs, labels, chosen, message):
    model, batches = as_batches(torch.randn(outputs), labels, 6)
    with pytest.raises(ValueError, match=message):
        ut.fit(model, batches, batches, epochs=1, title=None, **chosen)


def test_labels_that_are_the_inputs_are_refused():
    tokens = torch.randint(7, (4, 5))
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
    with pytest.raises(ValueError, match="token after it"):
        ut.fit(model, [(tokens, tokens)], epochs=1, title=None)
    shifted = torch.cat([tokens[:, 1:], torch.full((4, 1), -100)], dim=1)
    row = ut.fit(model, [(tokens, shifted)], epochs=1, title=None, metric="perplexity", recipe=STILL).rows[0]
    assert row["train_perplexity"] == pytest.approx(math.exp(row["train_loss"]), rel=1e-5)


def mean_error(outputs, targets):
    return (outputs - targets).abs().mean()


setattr(mean_error, "higher_is_better", False)  # noqa: B010  as a type checker knows no attributes of functions
setattr(mean_error, "unit", "mm")  # noqa: B010


def test_own_loss_and_metric_are_means_over_examples_and_resume(tmp_path):
    x, y = torch.randn(10, 3), torch.randn(10)
    batches = [(x[:8], y[:8]), (x[8:], y[8:])]

    def run(epochs, out, **changes):
        model = ut.mask_(
            nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0)), ut.EdgePopup(), seed=1
        )
        options: dict = {"loss": mean_error, "metric": mean_error} | changes
        return model, ut.fit(model, batches, batches, epochs=epochs, out=out, title=None, **options)

    model, history = run(3, tmp_path / "a")
    with torch.no_grad():
        expected = (model(x) - y).abs().mean().item()
    last = history.rows[-1]
    assert last["val_mean_error"] == pytest.approx(expected, rel=1e-6) == last["val_loss"]
    found = ut.evaluate(model, batches, loss=mean_error, metric=mean_error)
    assert found.metric.show(0.5) == "0.5 mm" and not found.metric.higher_is_better

    class Stop(Exception):
        pass

    def stop(epoch):
        raise Stop

    with pytest.raises(Stop):
        run(3, tmp_path / "b", on_epoch=stop)
    with pytest.raises(ValueError, match="its objective is mean_error, mean_error, not mse"):
        run(3, tmp_path / "b", resume=True, loss="mse", metric=None)
    _, again = run(3, tmp_path / "b", resume=True)
    assert [row["val_loss"] for row in again.rows] == [row["val_loss"] for row in history.rows]
    rows = [json.loads(line) for line in (tmp_path / "b/metrics.jsonl").read_text().splitlines()]
    assert all("train_mean_error" in row and "train_accuracy" not in row for row in rows)


def test_an_undecided_metric_resumes_with_its_rows(tmp_path):
    x, y = torch.randn(8, 3), torch.randn(8, 1)

    def run(**options):
        model = ut.mask_(nn.Linear(3, 1), ut.EdgePopup(), seed=1)
        return ut.fit(model, [(x, y)], epochs=2, out=tmp_path, title=None, **options)

    rows = run().rows
    assert run(resume=True).rows == rows and "train_rmse" in rows[0]


def test_the_outputs_of_transformers_are_their_logits():
    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Wrapped(nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.table = Table(logits)

        def forward(self, x):
            return Output(self.table(x))

    logits, batches = torch.randn(4, 3), [(torch.zeros(4, 1), torch.tensor([0, 1, 2, 1]))]
    assert ut.evaluate(Wrapped(logits), batches) == ut.evaluate(Table(logits), batches)
