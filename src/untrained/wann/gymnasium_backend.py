"""Episodes simulated by Gymnasium's environments, one after the other in Python."""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Iterable
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, final

import numpy as np

from untrained.wann.episodes import Episodes

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.envs.registration import EnvSpec


def described(id: str, max_steps: int | None, options: dict[str, Any]) -> tuple[EnvSpec, Any, Any, int | None]:
    """The specification of an environment with these options, its two spaces, and its limit of steps.

    Raises:
        ImportError: Gymnasium or what the environment needs is not installed.
        ValueError: there is no such environment, or no such option.
    """
    gymnasium = _gymnasium()
    module, _, name = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{id}: {error}") from None
    except gymnasium.error.Error as error:
        close = ", ".join(difflib.get_close_matches(name, gymnasium.registry))
        near = f" Near it are {close}." if close else ""
        raise ValueError(f"{id}: no such environment. {_one_line(error)}{near}") from None
    try:
        _loaded(spec.entry_point)
        env = gymnasium.make(spec, max_episode_steps=max_steps, disable_env_checker=True, **options)
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise ImportError(f"{id}: {_one_line(error)}") from None
    except TypeError as error:
        if not options:
            raise
        raise ValueError(f"{id}: cannot be made with {', '.join(options)}: {_one_line(error)}") from None
    with closing(env):
        return env.spec, env.observation_space, env.action_space, env.spec.max_episode_steps


@final
class GymnasiumEpisodes(Episodes):
    """One environment per running episode, made when it starts, or taken from `idle` and put back there."""

    def __init__(self, spec: EnvSpec, inputs: int, seeds: np.ndarray, idle: list[Env] | None) -> None:
        self._spec, self._inputs, self._seeds, self._idle = spec, inputs, seeds.tolist(), idle
        self._running: dict[int, Env] = {}

    def start(self, episodes: np.ndarray) -> np.ndarray:
        observations = np.empty((len(episodes), self._inputs))
        for row, episode in enumerate(episodes.tolist()):
            self._running[episode] = env = self._idle.pop() if self._idle else _made(self._spec)
            try:
                observations[row] = env.reset(seed=self._seeds[episode])[0]
            except Exception as error:
                error.add_note(f"raised by reset(seed={self._seeds[episode]}) of {self._spec.id}")
                raise
        return observations

    def step(self, episodes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observations, rewards = np.empty((len(episodes), self._inputs)), np.empty(len(episodes))
        ended = np.empty(len(episodes), bool)
        # Discrete actions as Python's integers, with which environments calculate fastest.
        each: Iterable[Any] = actions.tolist() if actions.ndim == 1 else actions
        for row, (episode, action) in enumerate(zip(episodes.tolist(), each, strict=True)):
            try:
                observations[row], rewards[row], terminated, truncated, _ = self._running[episode].step(action)
            except Exception as error:
                error.add_note(f"raised by step({action!r}) of {self._spec.id}, seed {self._seeds[episode]}")
                raise
            ended[row] = terminated or truncated
        return observations, rewards, ended

    def end(self, episodes: np.ndarray) -> None:
        for episode in episodes.tolist():
            env = self._running.pop(episode)
            if self._idle is None:
                env.close()
            else:
                self._idle.append(env)

    def close(self) -> None:
        # Only after an error does anything still run; nobody knows in what state it is.
        close_all(list(self._running.values()))
        self._running.clear()


def close_all(envs: list[Env]) -> None:
    """Close and forget them."""
    while envs:
        envs.pop().close()


def _gymnasium() -> Any:
    try:
        return importlib.import_module("gymnasium")
    except ImportError:
        raise ImportError("Gymnasium is not installed: pip install 'untrained[wann]'") from None


def _made(spec: EnvSpec) -> Env:
    _loaded(spec.entry_point)
    # Without the checker, which looks at every step; with the specification instead of the id nothing is looked up.
    return _gymnasium().make(spec, disable_env_checker=True)


@lru_cache
def _loaded(entry_point: Any) -> None:
    """Import an environment's module for the first time in this process."""
    if isinstance(entry_point, str):
        with warnings.catch_warnings():
            # Box2D's module warns at import, and crashes the interpreter where warnings are errors.
            warnings.filterwarnings("ignore", "builtin type .* has no __module__ attribute", DeprecationWarning)
            importlib.import_module(entry_point.partition(":")[0])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
