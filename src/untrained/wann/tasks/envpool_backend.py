"""Episodes simulated by envpool: environments rewritten in C++, stepped many at a time.

Needs an envpool that takes a seed for each environment (`env_seed`; 1.2 does). Its random numbers are its own, so the
start states of a seed differ from Gymnasium's.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from typing import Any, final

import numpy as np

from untrained.wann.tasks.episodes import Episodes


def knows(id: str) -> bool:
    """Whether envpool is installed, fit for use, and has this environment."""
    try:
        envpool = _envpool()
    except ImportError:
        return False
    return id in envpool.list_all_envs() and _takes_seeds(_quietly(envpool.make_spec, id))


def described(id: str, max_steps: int | None, options: dict[str, Any]) -> tuple[Any, Any, int | None]:
    """The two spaces of an environment, and its limit of steps.

    Raises:
        ImportError: envpool is not installed, or too old.
        ValueError: it has no such environment, or no such option.
    """
    envpool = _envpool()
    known = envpool.list_all_envs()
    if id not in known:
        close = ", ".join(difflib.get_close_matches(id, known))
        raise ValueError(f"{id}: envpool has no such environment" + (f"; near it are {close}" if close else ""))
    try:
        spec = _quietly(envpool.make_spec, id, **_limited(max_steps), **options)
    except TypeError as error:
        raise ValueError(f"{id}: cannot be made with {', '.join(options)}: {error}") from None
    if not _takes_seeds(spec):
        raise ImportError("envpool is too old to take a seed for each environment: pip install -U envpool")
    seen, acted = (_quietly(getattr, spec, f"gymnasium_{kind}_space") for kind in ("observation", "action"))
    return seen, acted, getattr(spec.config, "max_episode_steps", None)


@final
class EnvpoolEpisodes(Episodes):
    """A pool with an environment for every episode, seeded for it alone; only those that run are stepped."""

    def __init__(self, id: str, max_steps: int, options: dict[str, Any], seeds: np.ndarray) -> None:
        # One thread: parallel workers are processes.
        self._pool = _quietly(
            _envpool().make_gymnasium,
            id,
            num_envs=len(seeds),
            num_threads=1,
            env_seed=seeds.tolist(),
            **_limited(max_steps),
            **options,
        )
        for kind in ("observation", "action"):
            # The pool makes them when they are first asked for, and keeps them.
            _quietly(getattr, self._pool, f"{kind}_space")
        self._row = np.empty(len(seeds), np.int64)

    def start(self, episodes: np.ndarray) -> np.ndarray:
        observations, about = self._pool.reset(episodes.astype(np.int32))
        return np.asarray(observations, float)[self._order(episodes, about)]

    def step(self, episodes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observations, rewards, terminated, truncated, about = self._pool.step(actions, episodes.astype(np.int32))
        order = self._order(episodes, about)
        return np.asarray(observations, float)[order], rewards[order], (terminated | truncated)[order]

    def end(self, episodes: np.ndarray) -> None:
        pass

    def close(self) -> None:
        self._pool.close()

    def _order(self, episodes: np.ndarray, about: dict[str, Any]) -> np.ndarray:
        """Where in envpool's answer each episode is."""
        self._row[about["env_id"]] = np.arange(len(episodes))
        return self._row[episodes]


def _envpool() -> Any:
    try:
        return importlib.import_module("envpool")
    except ImportError:
        raise ImportError("envpool is not installed: pip install envpool") from None


def _takes_seeds(spec: Any) -> bool:
    return hasattr(spec.config, "env_seed")


def _limited(max_steps: int | None) -> dict[str, int]:
    return {} if max_steps is None else {"max_episode_steps": max_steps}


def _quietly(function: Any, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        # Gymnasium remarks that the bounds of envpool's spaces are rounded.
        warnings.filterwarnings("ignore", ".*precision lowered by casting", UserWarning)
        return function(*args, **options)
