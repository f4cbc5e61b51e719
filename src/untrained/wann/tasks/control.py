"""Control tasks whose physics is compiled together with the networks that act in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.numerics.jit import AVAILABLE, plain
from untrained.wann.tasks.rollout import compiled_rollout, digest
from untrained.wann.tasks.task import Part, Task, part_seed

State = tuple[float, ...]


@final
class JitEnv(Task):
    """An environment written as three pure functions, which numba compiles into one loop with the network.

    All episodes of one network (weights × reps) run side by side, a lane each, so that network and physics become
    vector instructions. `untrained.wann.numerics.vector_math` has a `sin`, `cos`, `exp` and `tanh` that do; those of
    `math` work, too, but are called lane by lane.

    ```python
    def reset(seed):
        np.random.seed(seed)
        return (np.random.normal(0.0, 0.1), 0.0)

    def observe(state):
        return state

    def step(state, action):
        place, speed = state
        speed += 0.01 * min(max(action[0], -1.0), 1.0)
        return (place + speed, speed), -abs(place), abs(place) > 1.0

    task = JitEnv(reset, observe, step, outputs=1, max_steps=200)
    ```

    The functions are those of Gymnasium's loop, without a mutable environment: plain or `@njit`.

    Args:
        reset: seed → state, a tuple of floats; it calls `np.random.seed(seed)` before it draws.
        observe: state → what the network sees, a tuple of floats.
        step: (state, action) → (state, reward, whether the episode has ended); `action` are the network's outputs, as
            they are.
        outputs: numbers in an action.
        max_steps: an episode ends after so many.
        name: what the task is called.
        input_names: what a network sees, for pictures.

    Raises:
        ValueError: the functions do not fit together.
    """

    def __init__(
        self,
        reset: Callable[[int], State],
        observe: Callable[[State], State],
        step: Callable[[State, State], tuple[State, float, bool]],
        *,
        outputs: int,
        max_steps: int,
        name: str = "env",
        input_names: tuple[str, ...] | None = None,
    ) -> None:
        for what, number in (("outputs", outputs), ("max_steps", max_steps)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name}: {what}: got {number}, expected a whole number, at least 1")
        # As they were given: those that numba compiled can be pickled, what is behind them cannot.
        self._given = reset, observe, step
        for function in self._functions:
            if not isinstance(function, FunctionType):
                raise ValueError(f"{name}: got {function!r}, expected a plain function or one with @njit")
        self.name, self.outputs, self.max_steps = name, outputs, max_steps
        state, seen, after = self._try_out()
        self.inputs, self._states = len(seen), len(state)
        self.input_names = input_names
        if input_names is not None and len(input_names) != len(seen):
            raise ValueError(f"{name}: got {len(input_names)} input names for {len(seen)} inputs")
        if len(after) != len(state):
            raise ValueError(f"{name}: reset gives {len(state)} numbers as state, step gives {len(after)}")

    @property
    def _functions(self) -> tuple[Callable[..., Any], ...]:
        return tuple(plain(function) for function in self._given)

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        if reps < 1:
            raise ValueError(f"reps: got {reps}, expected at least 1")
        seeds = part_seed(seed, part) + np.arange(reps)
        return self._play(networks, np.asarray(weights, float), seeds)[0].mean(2)

    def steps(self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1) -> int:
        """How many steps all episodes of `rewards` take: what the speed of an evaluation is measured in."""
        seeds = part_seed(seed, "train") + np.arange(reps)
        return int(self._play(networks, np.asarray(weights, float), seeds)[1].sum())

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "max_steps": self.max_steps, "functions": digest(self._functions)}

    def _play(self, networks: Packed, weights: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward and length of every episode, (P, V, reps)."""
        self.check(networks)
        totals = np.zeros((len(networks), len(weights), len(seeds)))
        lengths = np.zeros(totals.shape, np.int64)
        if AVAILABLE:
            rollout = compiled_rollout(self._functions, self._states, self.inputs, self.outputs)
            n = networks
            try:
                rollout(n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, weights, seeds, self.max_steps, totals, lengths)
            except Exception as error:
                if type(error).__module__ != "numba.core.errors":
                    raise
                told = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # in colours, where colorama is installed
                lines = [line for line in told.splitlines() if line and not line.startswith(("Failed in", "During"))]
                reason = lines[0] if lines else type(error).__name__
                raise ValueError(f"{self.name}: numba cannot compile its functions: {reason}") from error
        else:
            self._play_plainly(networks, weights, seeds, totals, lengths)
        return totals, lengths

    def _play_plainly(
        self, networks: Packed, weights: np.ndarray, seeds: np.ndarray, totals: np.ndarray, lengths: np.ndarray
    ) -> None:
        """The same without numba, episode by episode."""
        reset, observe, step = self._functions
        for number in range(len(networks)):
            net = networks.net(number)
            for (v, w), (r, seed) in ((a, b) for a in enumerate(weights) for b in enumerate(seeds)):
                state, ended = reset(int(seed)), False
                while not ended and lengths[number, v, r] < self.max_steps:
                    action = net(np.array([observe(state)]), w)[0] if np.isfinite(state).all() else np.array([np.nan])
                    lengths[number, v, r] += 1
                    if not np.isfinite(action).all():
                        totals[number, v, r] = np.nan
                        break
                    state, reward, ended = step(state, tuple(action.tolist()))
                    totals[number, v, r] += reward

    def _try_out(self) -> tuple[State, State, State]:
        reset, observe, step = self._functions
        generator = np.random.get_state()  # which reset seeds
        try:
            state = reset(0)
            after, reward, ended = step(state, (0.0,) * self.outputs)
            seen = observe(state)
            _ = bool(ended), [float(number) for number in (*state, *after)]
            if not np.isfinite([float(reward), *seen]).all():
                raise ValueError(f"got the observation {seen} and the reward {reward}, expected finite numbers")
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.name}: reset, observe and step do not fit together: {what}") from error
        finally:
            np.random.set_state(generator)
        if not len(state) or not len(seen):
            raise ValueError(f"{self.name}: got a state of {len(state)} and {len(seen)} observations, expected some")
        return state, seen, after
