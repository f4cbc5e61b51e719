"""Estimators of scikit-learn that search for a subnetwork of a fully connected network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from untrained.experiments.by_name import last_of, method_of, takes_keep
from untrained.masking.last import last as with_last
from untrained.masking.mask import mask_
from untrained.methods.base import Method
from untrained.models.fully_connected import fc
from untrained.search.fit import fit
from untrained.sklearn.table import Rows, describe, measure, standardise
from untrained.terminal.extras import install_command
from untrained.tickets.networks import rebuild
from untrained.tickets.ticket import Ticket

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError(f"ut.sklearn needs scikit-learn: {install_command('sklearn')}") from None

_AT_ONCE = 4096  # rows of a prediction


class TicketEstimator(BaseEstimator, ABC):
    """Estimator that searches for a subnetwork, and predicts by what was found."""

    def __init__(
        self,
        method: str | Method = "edge-popup",
        *,
        keep: float | None = None,
        widths: tuple[int, ...] = (256, 256),
        epochs: int = 30,
        batch_size: int = 64,
        random_state: Any = 0,
    ) -> None:
        self.method = method
        self.keep = keep
        self.widths = widths
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    @abstractmethod
    def fit(self, X: Any, y: Any) -> Self:
        """Search on a table (rows, columns) of numbers and a target for each row, and return the estimator."""

    def _search(self, columns: np.ndarray, y: Tensor, outputs: int, loss: str, facts: dict[str, Any]) -> None:
        """Search for a network from the columns to so many outputs, and keep it as a ticket with these facts."""
        facts = {**facts, **describe(columns)}
        seed, (method, last) = _draw_seed(self.random_state), self._methods()
        rows = Rows(standardise(columns, facts).float(), y, self.batch_size, seed)
        with torch.random.fork_rng(devices=[]):  # torch draws weights, in whose place come those of the seed
            network = fc(self.widths, tuple(facts["shape"]), outputs)
        by_tensor = method if last is None else with_last(network, method, last)
        mask_(network, by_tensor, seed=seed, weights=method.law)
        fit(network, rows, epochs=self.epochs, seed=seed, title=None, loss=loss)
        self._keep_ticket(Ticket.of(network, facts))

    def _methods(self) -> tuple[Method, Method | None]:
        """Return the method, and that of the last layer alone if it has one."""
        method, keep = self.method, self.keep
        if not isinstance(method, str | Method):
            raise ValueError(f"method must be a text or a Method, got {method!r}")
        takes = takes_keep(method) if isinstance(method, str) else method.takes_keep
        if keep is not None and not takes:
            raise ValueError(f"keep must be None with {method}, which takes none or has one, got {keep}")
        if isinstance(method, str):
            return method_of(method, keep), last_of(method)
        return method if keep is None else method.keeping(keep), None

    def _keep_ticket(self, ticket: Ticket) -> None:
        self.ticket_ = ticket
        # In float64, rounding does not let an answer depend on the other rows.
        self._network: nn.Module = ticket.apply_(rebuild(ticket)).double().eval()

    @torch.no_grad()
    def _outputs(self, X: Any) -> Tensor:
        """Return the network's outputs, float64 (rows, outputs)."""
        check_is_fitted(self, "ticket_")
        columns: Any = validate_data(self, X, reset=False, dtype=np.float64)
        parts = standardise(columns, self.ticket_.meta).split(_AT_ONCE)
        return torch.cat([self._network(part) for part in parts])

    def __getstate__(self) -> dict[str, Any]:
        given: Any = super().__getstate__()
        state = dict(given)
        state.pop("_network", None)
        return {**state, "ticket_": self.ticket_.to_bytes()} if "ticket_" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: value for name, value in state.items() if name != "ticket_"})
        if "ticket_" in state:
            self._keep_ticket(Ticket.from_bytes(state["ticket_"]))


@final
class TicketClassifier(ClassifierMixin, TicketEstimator):
    """Classifier of scikit-learn whose network has random weights, of which a mask is found.

    Columns are standardised, and a column of ones stands for the biases that the network (`ut.models.fc`) has not: it
    computes logits from ((x - mean) / std, 1), with mean and std in `ticket_.meta`. A pickle holds the ticket's bytes
    instead of weights. Predictions are made in float64.

    Args:
        method: method, as text like on the command line, such as "biprop" or "small", or as an object.
        keep: fraction of the weights kept, in (0, 1], for methods that take it; None: that of the method.
        widths: hidden units of each layer.
        epochs: passes over the rows.
        batch_size: rows per step.
        random_state: seed of the weights, the first scores and the order of the rows; or as anywhere in scikit-learn.

    Attributes:
        ticket_: the found network, a `ut.Ticket`; `ticket_.save(path)` ships it.
        classes_: the classes, sorted.
        n_features_in_: number of columns.

    Example:
        >>> x, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 16, ["no", "yes", "yes", "no"] * 16
        >>> found = ut.sklearn.TicketClassifier(widths=(64,)).fit(x, y)
        >>> found.predict([[0, 1], [1, 1]]).tolist(), len(found.ticket_.to_bytes()) < 1000
        (['yes', 'no'], True)
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Search on a table (rows, columns) of numbers and the class of each row.

        Raises:
            ValueError: a number is not finite, a class is no class, or an argument is out of range.
        """
        table: Any = validate_data(self, X, y, dtype=np.float64)
        columns, y = table
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        names = [str(name) for name in self.classes_]
        names += [""] * (len(names) == 1)  # a network has two outputs or more
        facts = {"task": "classification", "labels": names}
        labels = torch.from_numpy(numbers.astype(np.int64))
        self._search(columns, labels, len(names), "cross-entropy", facts)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row."""
        numbers = self.predict_proba(X).argmax(1)  # raises where there are no classes yet
        return self.classes_[numbers]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, float64 (rows, classes), in the order of `classes_`."""
        logits = self._outputs(X)
        return logits[:, : len(self.classes_)].softmax(1).numpy()


@final
class TicketRegressor(RegressorMixin, TicketEstimator):
    """Regressor of scikit-learn whose network has random weights, of which a mask is found.

    The network is that of `TicketClassifier`, with one output o; the prediction is o · std + mean, with those of
    `ticket_.meta["target"]`. The loss is the mean squared error.

    Args:
        method: as of `TicketClassifier`, and all other arguments.

    Attributes:
        ticket_: the found network, a `ut.Ticket`.
        n_features_in_: number of columns.

    Example:
        >>> x = torch.linspace(-1, 1, 640)[:, None]
        >>> found = ut.sklearn.TicketRegressor(widths=(64,)).fit(x.numpy(), x[:, 0].square().numpy())
        >>> found.score(x.numpy(), x[:, 0].square().numpy()) > 0.8
        True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Search on a table (rows, columns) of numbers and the number to predict of each row.

        Raises:
            ValueError: a number is not finite, or an argument is out of range.
        """
        table: Any = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        columns, y = table[0], np.asarray(table[1], np.float64)
        mean, std = (value.item() for value in measure(y))
        scaled = torch.from_numpy((y - mean) / (std or 1.0)).float()[:, None]
        self._search(columns, scaled, 1, "mse", {"task": "regression", "target": {"mean": mean, "std": std}})
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted number of each row, float64."""
        outputs = self._outputs(X)[:, 0].numpy()
        target = self.ticket_.meta["target"]
        return outputs * target["std"] + target["mean"]


def _draw_seed(random_state: Any) -> int:
    """Return an integer itself, and a draw of any other random state."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
