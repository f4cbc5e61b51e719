import pytest
import torch
from toy import Table, network, toy_data

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
