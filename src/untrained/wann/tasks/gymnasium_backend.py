"""Episodes of Gymnasium's environments, stepped one after the other in Python."""

from __future__ import annotations

import difflib
import importlib
import inspect
import traceback
import warnings
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, final

import numpy as np

from untrained.terminal.extras import install_command
from untrained.wann.tasks.gym_answers import fault_of_step, read_reset, read_step

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.envs.registration import EnvSpec


def describe(id: str, max_steps: int | None, options: dict[str, Any]) -> tuple[EnvSpec, Any, Any]:
    """Return the specification of an environment with these options, and its two spaces.

    Raises:
        ImportError: Gymnasium or a package of the environment is not installed.
        ValueError: there is no such environment, or no such option, or its module or the environment raises.
    """
    gymnasium = _import_gymnasium()
    module, _, name = id.rpartition(":")
    if module:
        _import(id, module)
    try:
        spec = gymnasium.spec(name)
    except gymnasium.error.Error as error:
        close = ", ".join(difflib.get_close_matches(name, gymnasium.registry))
        near = f" Near it are {close}." if close else ""
        raise ValueError(f"{id}: no such environment. {_one_line(error)}{near}") from None
    try:
        _import_once(spec.entry_point)
        env = gymnasium.make(spec, max_episode_steps=max_steps, disable_env_checker=True, **options)
    except (gymnasium.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise ImportError(f"{id}: {_one_line(error)}") from None
    except (Exception, SystemExit) as error:
        if options and isinstance(error, TypeError):
            raise ValueError(f"{id}: cannot be made with {', '.join(options)}: {_one_line(error)}") from None
        raise _failure(id, "make", error) from error
    try:
        with closing(env):
            return env.spec, env.observation_space, env.action_space
    except (Exception, SystemExit) as error:
        raise _failure(id, "its spaces or close", error) from error


@final
class Episodes:
    """Episodes that run side by side, an environment each; an episode is the index of its seed, and runs once.

    Errors of an environment, and values outside its spaces, become a ValueError that names environment, call and
    seed.

    Args:
        spec: of the environment.
        inputs: numbers in an observation.
        seeds: one per episode.
        idle: environments to reuse, and the place to put them back; None: a new one for every episode.
        finite: rewards must be finite.
    """

    def __init__(
        self, spec: EnvSpec, inputs: int, seeds: np.ndarray, idle: list[Env] | None, *, finite: bool = True
    ) -> None:
        self._spec, self._inputs, self._seeds, self._idle, self._finite = spec, inputs, seeds.tolist(), idle, finite
        self._running: dict[int, Env] = {}
        self._steps = np.zeros(len(seeds), np.int64)

    def start(self, episodes: np.ndarray) -> np.ndarray:
        """Start episodes, and return their first observations, float64 (n, inputs)."""
        observations = np.empty((len(episodes), self._inputs))
        for row, episode in enumerate(episodes.tolist()):
            self._running[episode] = env = self._idle.pop() if self._idle else self._make()
            call = f"reset(seed={self._seeds[episode]})"
            try:
                answer = env.reset(seed=self._seeds[episode])
            except (Exception, SystemExit) as error:
                raise _failure(self._spec.id, call, error, _hint_for_reset(env, error)) from error
            try:
                observations[row] = read_reset(answer, self._inputs)
            except ValueError as error:
                raise ValueError(f"{self._spec.id}: {call}: {error}") from None
        return observations

    def step(self, episodes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step episodes, and return observations (n, inputs), rewards (n,) and ends (n,)."""
        observations, rewards = np.empty((len(episodes), self._inputs)), np.empty(len(episodes))
        ended = np.empty(len(episodes), bool)
        self._steps[episodes] += 1
        # Discrete actions as Python's integers, with which environments calculate fastest.
        each: Iterable[Any] = actions.tolist() if actions.ndim == 1 else actions
        for row, (episode, action) in enumerate(zip(episodes.tolist(), each, strict=True)):
            env = self._running[episode]
            try:
                answer = env.step(action)
            except (Exception, SystemExit) as error:
                call = self._call(episode, action)
                if fault := _find_fault(env, action):
                    raise ValueError(f"{self._spec.id}: {call}: {fault}") from error
                raise _failure(self._spec.id, call, error) from error
            try:
                observations[row], rewards[row], ended[row] = read_step(answer, self._inputs, self._finite)
            except ValueError as error:
                raise ValueError(f"{self._spec.id}: {self._call(episode, action)}: {error}") from None
        return observations, rewards, ended

    def end(self, episodes: np.ndarray) -> None:
        """Close the environments of these episodes, or keep them for reuse."""
        for episode in episodes.tolist():
            env = self._running.pop(episode)
            if self._idle is not None:
                self._idle.append(env)
                continue
            try:
                env.close()
            except (Exception, SystemExit) as error:
                raise _failure(self._spec.id, f"close() after seed {self._seeds[episode]}", error) from error

    def close(self) -> None:
        """Close the environments in use: after an error an environment is in no known state, and is not reused."""
        close_all(list(self._running.values()))
        self._running.clear()

    def _make(self) -> Env:
        try:
            _import_once(self._spec.entry_point)
            # Without the checker, which checks every step; with the specification there is no look-up by id.
            return _import_gymnasium().make(self._spec, disable_env_checker=True)
        except (Exception, SystemExit) as error:
            raise _failure(self._spec.id, "make", error) from error

    def _call(self, episode: int, action: Any) -> str:
        shown = action.tolist() if isinstance(action, np.ndarray) else action
        return f"step({shown}), step {self._steps[episode]} of seed {self._seeds[episode]}"


def close_all(envs: list[Env]) -> None:
    """Close and forget environments; an error here must not hide the one before it."""
    while envs:
        with suppress(Exception, SystemExit):
            envs.pop().close()


def _failure(id: str, call: str, error: BaseException, hint: str = "") -> ValueError:
    """Return the error for an exception of an environment, with a note of its place in the environment's code."""
    failure = ValueError(f"{id}: {call} raised {type(error).__name__}: {_one_line(error)}{hint}")
    trace = traceback.extract_tb(error.__traceback__)
    failure.add_note(f"raised in {trace[-1].filename}, line {trace[-1].lineno}" if trace else f"raised by {call}")
    return failure


def _hint_for_reset(env: Env, error: BaseException) -> str:
    if isinstance(error, TypeError):
        try:
            inspect.signature(env.unwrapped.reset).bind(seed=0, options=None)
        except (TypeError, ValueError):
            return "; its reset must take seed and options, as in reset(self, *, seed=None, options=None)"
    return ""


def _find_fault(env: Env, action: Any) -> str:
    """Return the fault of the environment's values, if a wrapper failed on them."""
    with suppress(Exception, SystemExit):
        return fault_of_step(env.unwrapped.step(action))
    return ""


def _import(id: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        place = ""
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            place = " where Python looks for modules (PYTHONPATH), nor in the folder that a command is typed in"
        raise ImportError(f"{id}: {error}{place}") from None
    except (Exception, SystemExit) as error:
        raise _failure(id, f"importing {module}", error) from error


def _import_gymnasium() -> Any:
    try:
        return importlib.import_module("gymnasium")
    except ImportError:
        raise ImportError(f"Gymnasium is not installed: {install_command('wann')}") from None


@lru_cache
def _import_once(entry_point: Any) -> None:
    """Import an environment's module for the first time in this process."""
    if isinstance(entry_point, str):
        with warnings.catch_warnings():
            # Box2D's module warns at import, and crashes the interpreter where warnings are errors.
            warnings.filterwarnings("ignore", "builtin type .* has no __module__ attribute", DeprecationWarning)
            importlib.import_module(entry_point.partition(":")[0])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
