"""Evaluation of many networks by several workers: joblib's threads or processes, or those of a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from operator import itemgetter
from typing import Any, Self, final

import numpy as np

from untrained.clusters.cluster import Cluster, cluster_named
from untrained.terminal.extras import install_command
from untrained.wann.evolution.threads import ThreadChoice
from untrained.wann.networks.batch import Packed
from untrained.wann.tasks.task import Part, Task

_CHUNKS_PER_WORKER = 4  # networks differ in cost: small chunks even that out


@final
class Evaluator:
    """Workers among which a generation is divided; the rewards do not depend on the division.

    Args:
        task: the task that rewards networks.
        workers: number of workers, 1: this thread alone; or dask, ray, dask:ADDRESS or ray:ADDRESS: a cluster's. None:
            one thread or one per core, whichever measures quicker (`ThreadChoice`), one without joblib; a process per
            core for a task that keeps threads waiting: its generations take too long to try one with one process.

    Raises:
        ImportError: the cluster's package is not installed.
        ValueError: there is no worker, or no such cluster.
    """

    def __init__(self, task: Task, workers: int | str | None = 1) -> None:
        self.choice: ThreadChoice | None = None
        if workers is None:
            several = not task.frees_threads or find_spec("joblib") is not None
            workers = (os.cpu_count() or 1) if several else 1
            self.choice = ThreadChoice(workers) if task.frees_threads and workers > 1 else None
        self._connect = cluster_named(workers) if isinstance(workers, str) else None
        if not isinstance(workers, str) and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.task, self.workers = task, workers
        self._parallel = None
        self._cluster: Cluster | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._connect is not None:
            kind, address = self._connect
            self._cluster = self._open.enter_context(closing(kind(self.task, address)))
        elif self.workers != 1:
            self._parallel = self._open.enter_context(self._new_parallel())
        return self

    def __exit__(self, *error: object) -> None:
        self._parallel = self._cluster = None
        self._open.close()

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        """Return the rewards of all networks, as `Task.rewards`."""
        how = {"weights": weights, "seed": seed, "reps": reps, "part": part}
        if self._cluster is not None:
            calls = self._cluster.run(partial(_rewards, how=how), _divide(networks, self._cluster.cores))
            return np.concatenate([rewards for _, rewards in sorted(calls, key=itemgetter(0))])
        if isinstance(self.workers, str):
            with self:
                return self.rewards(networks, **how)
        if self.choice is None:
            return self._by_threads(self.workers, networks, how)
        if part != "train":  # fewer networks than a generation has, so that their time says nothing about it
            return self._by_threads(self.choice.chosen or 1, networks, how)
        return self.choice.run(lambda count: self._by_threads(count, networks, how))

    def _by_threads(self, count: int, networks: Packed, how: dict[str, Any]) -> np.ndarray:
        if count == 1:
            return self.task.rewards(networks, **how)
        parallel = self._parallel or self._new_parallel()
        from joblib import delayed

        work, parts = delayed(self.task.rewards), _divide(networks, count)
        done: Any = parallel(work(each, **how) for each in parts)
        return np.concatenate(done)

    def _new_parallel(self):
        try:
            from joblib import Parallel
        except ImportError:
            raise ImportError(f"several workers need joblib: {install_command('wann')}") from None
        return Parallel(n_jobs=self.workers, prefer="threads" if self.task.frees_threads else "processes")


def _rewards(task: Task, networks: Packed, how: dict[str, Any]) -> np.ndarray:
    return task.rewards(networks, **how)


def _divide(networks: Packed, workers: int) -> list[Packed]:
    bounds = np.linspace(0, len(networks), max(workers, 1) * _CHUNKS_PER_WORKER + 1).round().astype(int)
    return [networks.part(start, stop) for start, stop in pairwise(bounds) if stop > start]
