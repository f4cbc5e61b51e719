"""Data, loss and metric that settings name, of a user's code too, which is run."""

from __future__ import annotations

import contextlib
import functools
import math
from pathlib import Path
from typing import Any

import torch

from untrained.data.dataset import DataSet, resolve_name
from untrained.data.own import Data, read_data
from untrained.own_code import OwnCode, is_code
from untrained.runs.settings import Setup
from untrained.search.metric import ACCURACY, R2, Metric
from untrained.search.objective import Objective


def chance_of(data: Data, metric: Metric = ACCURACY) -> float | None:
    """Return the metric on validation data up to which a network has not learned; None if that is not known.

    Of an accuracy it is p + 3·√(p(1 − p)/n), p the share of the most frequent class in the n validation labels; of R²
    it is 0, that of the mean.
    """
    if metric != ACCURACY:
        return 0.0 if metric == R2 else None
    counts = torch.bincount(data.val.labels) if isinstance(data, DataSet) else data.counts
    share = float(counts.max() / counts.sum())
    return share + 3 * math.sqrt(share * (1 - share) / int(counts.sum()))


def data_of(setup: Setup) -> Data:
    """Return the data of a setup, of a user's code too, which is run.

    Raises:
        ValueError, FileNotFoundError, ConnectionError, ImportError: as `read_data`; or there is no such loss.
    """
    return _read(resolve_name(setup.data), setup.data_dir, setup.size, setup.loss)


@functools.lru_cache(maxsize=1)
def _read(name: str, data_dir: Path | None, size: int | None, loss: str | None) -> Data:
    return read_data(name, data_dir, size, ignored_by(loss))


def ignored_by(loss: str | None) -> int:
    """Return the class label that a loss does not count.

    Raises:
        ValueError: there is no such loss.
    """
    return Objective.of(None if loss is None or is_code(loss) else loss, None).ignored


def function_of(text: str | None) -> Any:
    """Return the function that a text names, which imports its file; a built-in name, or None, as it is."""
    if text is None or not is_code(text):
        return text
    code = OwnCode.of(text)
    with contextlib.suppress(AttributeError, TypeError):  # functions in C take none
        setattr(code.value, "spelling", f"{code.name} {code.sha256}")  # noqa: B010
    return code.value
