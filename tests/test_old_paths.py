"""Pickles of the last version, which name classes by the paths that modules had: they still load."""

import pickle

import pytest
import torch
from torch import nn

import untrained as ut
from untrained import _old_paths

OLD = {new: old for old, new in _old_paths._MOVED.items()} | {"untrained.weights.laws": "untrained.weights"}


def pickled_by_old_paths(value):
    data = pickle.dumps(value, protocol=2)  # whose names of classes are text, with line ends
    data = data.replace(b"cuntrained.masking.state\nRecord\n", b"cuntrained.attach\nRecord\n")
    for new, old in OLD.items():
        data = data.replace(f"c{new}\n".encode(), f"c{old}\n".encode())
    assert not any(f"c{new}\n".encode() in data for new in OLD)
    return data


@pytest.mark.parametrize("law", [ut.KaimingNormal(scaled=True), ut.Prototype(), ut.Standard(), None], ids=str)
@pytest.mark.parametrize(
    "method", [ut.EdgePopup(ut.Cubic(0.9, 0.3)), ut.FedPM(), ut.PartlyFrozen(ut.Biprop(0.5))], ids=str
)
def test_masked_models_and_tickets_load(method, law):
    model = ut.mask_(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), method, weights=law)
    ut.advance_(model, 1, 2)
    x, ticket = torch.ones(2, 6), ut.Ticket.of(model)
    data = pickled_by_old_paths(model.eval())
    assert b"cuntrained.masked\n_new_masked" in data and b"cuntrained.attach\nRecord" in data
    twin = pickle.loads(data)
    assert torch.equal(twin(x), model(x)) and ut.Ticket.of(twin).to_bytes() == ticket.to_bytes()
    assert pickle.loads(pickled_by_old_paths(ticket)).to_bytes() == ticket.to_bytes()


def test_recipes_and_summaries_load():
    model = ut.mask_(nn.Linear(6, 3), ut.EdgePopup(0.5))
    for value in (ut.Recipe("adam", lr=0.1), ut.summary(model)):
        assert repr(pickle.loads(pickled_by_old_paths(value))) == repr(value)


def test_an_unknown_path_is_none():
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(b"cuntrained.nowhere\nThing\n.")
