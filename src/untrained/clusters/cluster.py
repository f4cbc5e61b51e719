"""Clusters of Dask and Ray that call functions on other machines, and call again what a dead worker had."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, final

from untrained.terminal.extras import install_command

_PATIENCE = 60  # seconds until a cluster must have a worker


class Cluster(ABC):
    """Connection to a cluster whose workers have an object that all calls share."""

    @abstractmethod
    def __init__(self, shared: object, address: str) -> None:
        """Connect to an address; an empty one: what the package's own variables name, or this machine.

        Raises:
            OSError: there is no such cluster, or it has no worker.
        """

    @property
    @abstractmethod
    def cores(self) -> int:
        """The number of cores that all workers have now."""

    @abstractmethod
    def run(self, function: Callable[[Any, Any], Any], parts: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (number of a part, function(shared object, part)) as they are done.

        A part that a worker had when it died goes to another one; not for ever, since it may be what kills workers.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection, and a cluster that was started for it."""


@final
class DaskCluster(Cluster):
    """Connection to a Dask scheduler (Rocklin 2015)."""

    def __init__(self, shared: object, address: str) -> None:
        import dask.config
        from distributed import Client

        self._client: Any = Client(address or None, set_as_default=False)
        try:
            self._client.wait_for_workers(1, timeout=_PATIENCE)
        except Exception as error:
            self.close()
            raise TimeoutError(f"dask:{address} has no worker after {_PATIENCE} seconds") from error
        # A result, unlike scattered data, is computed again when the only worker that has it dies.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):  # data in the object
            self._shared = self._client.submit(_load, _packed(shared), pure=False)

    @property
    def cores(self) -> int:
        return sum(self._client.ncores().values())

    def run(self, function: Callable[[Any, Any], Any], parts: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        from distributed import as_completed

        calls = {
            self._client.submit(function, self._shared, part, pure=False): number for number, part in enumerate(parts)
        }
        for call, result in as_completed(list(calls), loop=self._client.loop, with_results=True):
            yield calls[call], result

    def close(self) -> None:
        self._client.close()


@final
class RayCluster(Cluster):
    """Connection to a Ray cluster (Moritz et al. 2018)."""

    def __init__(self, shared: object, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it, Ray warns of a change to come
        import ray

        self._ray, self._opened = ray, not ray.is_initialized()
        if self._opened:
            _reach(address)
            ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
        elif address:
            raise ValueError(f"Ray is connected already: give workers='ray', or ray.shutdown() before ray:{address}")
        self._shared, self._remote = ray.put(_packed(shared)), ray.remote(_call_by_reference)

    @property
    def cores(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def run(self, function: Callable[[Any, Any], Any], parts: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        calls = {self._remote.remote(function, [self._shared], part): number for number, part in enumerate(parts)}
        waiting = list(calls)
        while waiting:
            (done,), waiting = self._ray.wait(waiting)
            try:
                result = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            yield calls[done], result

    def close(self) -> None:
        if self._opened:
            self._ray.shutdown()


_KINDS = {"dask": (DaskCluster, "distributed"), "ray": (RayCluster, "ray")}


def cluster_named(name: str, setting: str = "workers") -> tuple[type[Cluster], str]:
    """Return the class and the address that a setting names: dask, ray, dask:ADDRESS or ray:ADDRESS.

    Raises:
        ImportError: its package is not installed.
        ValueError: the text names none.
    """
    kind, colon, address = name.partition(":")
    if kind not in _KINDS or bool(colon) != bool(address):
        raise ValueError(f"{setting} must be a number, dask, ray, dask:ADDRESS or ray:ADDRESS, got {name!r}")
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


def _packed(shared: object) -> tuple[list[str], bytes]:
    """Return the object, pickled, and where this process looks for modules, such as that of an environment."""
    import cloudpickle

    return sys.path, cloudpickle.dumps(shared)


def _load(packed: tuple[list[str], bytes]) -> Any:
    places, shared = packed
    sys.path += [place for place in places if place not in sys.path]
    return pickle.loads(shared)


def _call_by_reference(function: Callable[[Any, Any], Any], reference: list[Any], part: Any) -> Any:
    return function(_fetched(*reference), part)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Any:
    """Return the object once for all calls of a worker: anew, functions of a task would be compiled anew."""
    import ray

    return _load(ray.get(reference))
