"""Clusters of Dask and Ray that evaluate networks on other machines, and evaluate again what a dead worker had."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, final

import numpy as np

from untrained.terminal.extras import install_command
from untrained.wann.networks.batch import Packed
from untrained.wann.tasks.task import Task

_PATIENCE = 60  # seconds until a cluster must have a worker


class Cluster(ABC):
    """Connection to a cluster whose workers have a task."""

    @abstractmethod
    def __init__(self, task: Task, address: str) -> None:
        """Connect to an address; an empty one: what the package's own variables name, or this machine.

        Raises:
            OSError: there is no such cluster, or it has no worker.
        """

    @property
    @abstractmethod
    def cores(self) -> int:
        """The number of cores that all workers have now."""

    @abstractmethod
    def rewards(self, parts: Sequence[Packed], **how: Any) -> list[np.ndarray]:
        """Return the rewards of every part, in order; `how` are the other arguments of `Task.rewards`.

        A part that a worker had when it died goes to another one; not for ever, since it may be what kills workers.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection, and a cluster that was started for it."""


@final
class DaskCluster(Cluster):
    """Connection to a Dask scheduler (Rocklin 2015)."""

    def __init__(self, task: Task, address: str) -> None:
        import dask.config
        from distributed import Client

        self._client: Any = Client(address or None, set_as_default=False)
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except Exception as error:
            self.close()
            raise TimeoutError(f"dask:{address} has no worker after {_PATIENCE} seconds") from error
        # A result, unlike scattered data, is computed again when the only worker that has it dies.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):  # data of the task
            self._task = self._client.submit(_load, _packed(task), pure=False)

    @property
    def cores(self) -> int:
        return sum(self._client.ncores().values())

    def rewards(self, parts: Sequence[Packed], **how: Any) -> list[np.ndarray]:
        done = [self._client.submit(_rewards, self._task, part, how, pure=False) for part in parts]
        return self._client.gather(done)

    def close(self) -> None:
        self._client.close()


@final
class RayCluster(Cluster):
    """Connection to a Ray cluster (Moritz et al. 2018)."""

    def __init__(self, task: Task, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it, Ray warns of a change to come
        import ray

        self._ray, self._opened = ray, not ray.is_initialized()
        if self._opened:
            _reach(address)
            ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
        elif address:
            raise ValueError(f"Ray is connected already: give workers='ray', or ray.shutdown() before ray:{address}")
        self._task, self._remote = ray.put(_packed(task)), ray.remote(_rewards_by_reference)

    @property
    def cores(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def rewards(self, parts: Sequence[Packed], **how: Any) -> list[np.ndarray]:
        try:
            return self._ray.get([self._remote.remote([self._task], part, how) for part in parts])
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def close(self) -> None:
        if self._opened:
            self._ray.shutdown()


_KINDS = {"dask": (DaskCluster, "distributed"), "ray": (RayCluster, "ray")}


def cluster_named(name: str) -> tuple[type[Cluster], str]:
    """Return the class and the address that a text names: dask, ray, dask:ADDRESS or ray:ADDRESS.

    Raises:
        ImportError: its package is not installed.
        ValueError: the text names none.
    """
    kind, colon, address = name.partition(":")
    if kind not in _KINDS or bool(colon) != bool(address):
        raise ValueError(f"workers must be a number, dask, ray, dask:ADDRESS or ray:ADDRESS, got {name!r}")
    cluster, package = _KINDS[kind]
    if find_spec(package) is None:
        raise ImportError(f"workers of {kind} need {package}: {install_command('cluster')}")
    return cluster, address


def _reach(address: str) -> None:
    """Refuse an address where nobody answers, which Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, ValueError) as error:
            raise ConnectionError(f"ray:{address} cannot be reached: {error}") from None


def _packed(task: Task) -> tuple[list[str], bytes]:
    """Return the task, pickled, and where this process looks for modules, such as that of an environment."""
    import cloudpickle

    return sys.path, cloudpickle.dumps(task)


def _load(packed: tuple[list[str], bytes]) -> Task:
    places, task = packed
    sys.path += [place for place in places if place not in sys.path]
    return pickle.loads(task)


def _rewards(task: Task, networks: Packed, how: dict[str, Any]) -> np.ndarray:
    return task.rewards(networks, **how)


def _rewards_by_reference(reference: list[Any], networks: Packed, how: dict[str, Any]) -> np.ndarray:
    return _rewards(_fetched(*reference), networks, how)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Task:
    """Return the task once for all parts that a worker evaluates: anew, its functions would be compiled anew."""
    import ray

    return _load(ray.get(reference))
