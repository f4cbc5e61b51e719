"""Evaluation of many networks by several workers: joblib's threads, processes, or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Self, final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.tasks.task import Part, Task

_CHUNKS_PER_WORKER = 4  # networks differ in cost: small chunks even that out


@final
class Evaluator:
    """Workers among which a generation is divided; the rewards do not depend on the division.

    Under `joblib.parallel_config(backend="dask")` or `"ray"` the workers are those of a cluster.

    Args:
        task: the task that rewards networks.
        workers: number of workers; 1: this thread alone.

    Raises:
        ValueError: there is no worker.
    """

    def __init__(self, task: Task, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.task, self.workers = task, workers
        self._parallel = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self.workers > 1:
            self._parallel = self._open.enter_context(self._new_parallel())
        return self

    def __exit__(self, *error: object) -> None:
        self._parallel = None
        self._open.close()

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        """Return the rewards of all networks, as `Task.rewards`."""
        if self.workers == 1:
            return self.task.rewards(networks, weights, seed, reps=reps, part=part)
        bounds = np.linspace(0, len(networks), self.workers * _CHUNKS_PER_WORKER + 1).round().astype(int)
        parts = [networks.part(start, stop) for start, stop in pairwise(bounds) if stop > start]
        parallel = self._parallel or self._new_parallel()
        from joblib import delayed

        work = delayed(self.task.rewards)
        done: Any = parallel(work(each, weights, seed, reps=reps, part=part) for each in parts)
        return np.concatenate(done)

    def _new_parallel(self):
        try:
            from joblib import Parallel
        except ImportError:
            raise ImportError("several workers need joblib: pip install 'untrained[wann]'") from None
        return Parallel(n_jobs=self.workers, prefer="threads" if self.task.frees_threads else "processes")
