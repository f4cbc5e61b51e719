import pytest
import torch
from torch import nn
from toy import Table, masked, network, toy_data

import untrained as ut
from untrained.search.evaluation import collect_answers


def test_evaluation_leaves_every_module_in_its_mode():
    model, batches = network(), toy_data()()
    model.train()
    model[2].eval()
    ut.evaluate(model, batches)
    ut.calibrate_(model, batches)
    with pytest.raises(ValueError, match="labels"):
        ut.evaluate(model, [(x, y + 9) for x, y in batches])
    assert model.training and not model[2].training and model[2].momentum == 0.1


def test_running_statistics_are_the_plain_mean_after_calibration():
    model, batches = masked(), toy_data()
    ut.calibrate_(model, batches(60))
    with ut.baked(model) as dense, torch.no_grad():
        hidden = [dense[:2](x) for x, _ in batches(60)]
    torch.testing.assert_close(model[2].running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0))
    assert model[2].momentum == 0.1 and model.training
    assert ut.calibrate_(plain := nn.Linear(2, 2), []) is plain


def test_answers_are_those_of_the_labels_that_count():
    logits, labels = torch.randn(3, 4, 2, 2), torch.randint(4, (3, 2, 2))
    labels[0] = -100
    batches = [(torch.zeros(3, 1), labels)]
    answers = collect_answers(Table(logits), batches)
    assert torch.equal(answers.labels, labels[1:].flatten())
    assert torch.equal(answers.predicted, logits.argmax(1)[1:].flatten())
    probability = logits.softmax(1).gather(1, labels.clamp_min(0)[:, None])[1:].flatten()
    torch.testing.assert_close(answers.probability, probability)
    assert answers.accuracy == ut.evaluate(Table(logits), batches).accuracy
    with pytest.raises(ValueError, match="no example"):
        collect_answers(Table(logits), [])
