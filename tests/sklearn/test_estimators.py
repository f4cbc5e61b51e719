"""Estimators of scikit-learn: its own checks, its tools, and what a pickle holds."""

import copy
import pickle
import re
import sys

import numpy as np
import pytest
import torch

import untrained as ut
from untrained.terminal.extras import install_command

pytest.importorskip("sklearn.base")

from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

QUICK = {"widths": (32,), "epochs": 8}
KINDS = [ut.sklearn.TicketClassifier, ut.sklearn.TicketRegressor]
X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def found():
    return ut.sklearn.TicketClassifier(**QUICK).fit(X, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_the_checks_of_scikit_learn_pass(kind):
    # No check is expected to fail; those that need pandas, or an array API to be set, are skipped.
    results = check_estimator(kind(**QUICK), expected_failed_checks={}, on_skip=None)
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert len(results) > 40 and skipped <= {
        "check_array_api_input",
        "check_classifier_data_not_an_array",
        "check_regressor_data_not_an_array",
    }


def test_it_works_in_a_grid_a_pipeline_and_a_cross_validation():
    pipeline = make_pipeline(MinMaxScaler(), ut.sklearn.TicketClassifier(**QUICK))
    grid = GridSearchCV(pipeline, {"ticketclassifier__keep": [0.001, 0.5]}, cv=2).fit(X, Y)
    assert grid.best_params_ == {"ticketclassifier__keep": 0.5} and grid.best_score_ > 0.85
    x, y = load_diabetes(return_X_y=True)
    scores = cross_val_score(ut.sklearn.TicketRegressor(**QUICK), x, y, cv=3)
    assert len({*scores}) == 3 and scores.mean() > 0.3


def test_a_random_state_gives_a_ticket_and_no_other_state_is_touched(found):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  the global one
    again = clone(found).fit(X, Y)
    assert again.ticket_.to_bytes() == found.ticket_.to_bytes()
    other = clone(found).set_params(random_state=1).fit(X, Y)
    assert other.ticket_.seed == 1 and other.ticket_.to_bytes() != found.ticket_.to_bytes()
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    drawn = [
        clone(found).set_params(random_state=np.random.RandomState(seed), epochs=1).fit(X, Y).ticket_.seed
        for seed in (5, 5, 6)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_pickle_holds_the_ticket_and_answers_the_same(found):
    data, ticket = pickle.dumps(found), found.ticket_.to_bytes()
    assert ticket in data and len(data) < len(ticket) + 1000
    for each in (pickle.loads(data), copy.deepcopy(found)):
        np.testing.assert_array_equal(each.predict_proba(X), found.predict_proba(X))
        assert each.ticket_.to_bytes() == ticket and each.score(X, Y) == found.score(X, Y) > 0.85
    untouched = pickle.loads(pickle.dumps(ut.sklearn.TicketRegressor(keep=0.3)))
    assert untouched.keep == 0.3 and not hasattr(untouched, "ticket_")
    with pytest.raises(NotFittedError):
        untouched.predict(X)


def test_a_ticket_answers_alone_as_its_docs_say(found, tmp_path):
    found.ticket_.save(tmp_path / "iris.ticket")
    meta, network = ut.Ticket.load(tmp_path / "iris.ticket").meta, ut.load(tmp_path / "iris.ticket")
    assert meta["labels"] == ["0", "1", "2"] and meta["task"] == "classification" and meta["shape"] == [5]
    ones = torch.cat([torch.from_numpy(X), torch.ones(len(X), 1)], dim=1)
    logits = network(((ones - torch.tensor(meta["mean"])) / torch.tensor(meta["std"])).float())
    np.testing.assert_allclose(logits.softmax(1), found.predict_proba(X), atol=1e-5)


def test_a_regressors_unit_does_not_matter():
    x, y = load_diabetes(return_X_y=True)
    plain = ut.sklearn.TicketRegressor(**QUICK).fit(x, y)
    moved = clone(plain).fit(1000 * x + 1e6, 1e-3 * y - 7)
    np.testing.assert_allclose(moved.predict(1000 * x + 1e6), 1e-3 * plain.predict(x) - 7, atol=2e-3)
    assert plain.ticket_.meta["target"]["std"] == pytest.approx(y.std(), rel=1e-3)


def test_odd_tables_are_learnt():
    odd = np.column_stack([X, np.full(len(X), 1e9), 1e9 + X[:, 2], 1e-9 * X[:, 3]])  # a constant, and far from 0
    assert ut.sklearn.TicketClassifier(**QUICK).fit(odd, Y).score(odd, Y) > 0.85
    words = np.array(["a", "b", "c"], dtype=object)[Y]
    named = ut.sklearn.TicketClassifier(ut.Biprop(), keep=0.4, **QUICK).fit(X, words)
    assert named.ticket_.method == ut.Biprop(0.4) and {*named.predict(X)} <= {*words}
    alone = ut.sklearn.TicketClassifier(widths=(), epochs=1).fit(X, ["same"] * len(X))
    assert {*alone.predict(X)} == {"same"} and (alone.predict_proba(X) == 1).all()
    last = ut.sklearn.TicketClassifier("small", keep=0.2, **QUICK).fit(X, Y)
    assert type(last.ticket_.tensors["fc2.weight"].method).__name__ == "Nudge"
    assert (ut.sklearn.TicketRegressor(**QUICK).fit(X, np.full(len(X), 0.1234567)).predict(X) == 0.1234567).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"keep": 1.5}, r"keep must be in \(0, 1\], got 1.5"),
        ({"method": 5}, "method must be a text or a Method, got 5"),
        ({"method": "threshold", "keep": 0.3}, "keep must be None with threshold, which takes none"),
        ({"method": "edge-popup(keep=0.2)", "keep": 0.3}, "keep must be None with edge-popup"),
        ({"method": ut.Threshold(), "keep": 0.3}, "keep must be None with Threshold"),
        ({"method": "edge-pop"}, "unknown method 'edge-pop'"),
        ({"widths": (0,)}, "widths"),
        ({"epochs": 0}, "epochs and accumulate must be 1 or more"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"random_state": -1}, "seed must be"),
        ({"random_state": "x"}, "cannot be used to seed"),
    ],
)
def test_wrong_arguments_are_named_and_an_earlier_fit_stays(wrong, told):
    estimator = ut.sklearn.TicketClassifier(widths=(8,), epochs=1).fit(X, Y)
    before = estimator.ticket_
    with pytest.raises(ValueError, match=told):
        estimator.set_params(**wrong).fit(X, Y)
    assert estimator.ticket_ is before


def test_a_table_that_has_no_finite_variance_is_refused():
    with pytest.raises(ValueError, match="too large: their mean or their variance is infinity"):
        ut.sklearn.TicketClassifier(**QUICK).fit(X * 1e200, Y)


def test_a_damaged_pickle_is_refused(found):
    state = found.__getstate__()
    at = state["ticket_"].index(b"\n") if b"\n" in state["ticket_"] else len(state["ticket_"]) // 2
    state["ticket_"] = state["ticket_"][: at + 1]
    with pytest.raises(ut.TicketError):
        ut.sklearn.TicketClassifier().__setstate__(state)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "untrained.sklearn.estimators", raising=False)
    monkeypatch.delattr(ut.sklearn, "estimators", raising=False)
    ut.sklearn.__dict__.pop("TicketClassifier", None)
    with pytest.raises(ImportError, match=re.escape(install_command("sklearn"))):
        _ = ut.sklearn.TicketClassifier
