"""Control tasks whose physics is compiled together with the networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, final

import numpy as np

from untrained.wann.networks.batch import Packed
from untrained.wann.networks.net import Net
from untrained.wann.numerics.jit import AVAILABLE, interpreted, plain
from untrained.wann.tasks.rollout import compiled_rollout, digest
from untrained.wann.tasks.task import Part, Task, seeds_of

State = tuple[float, ...]

_NO_TRACE = np.empty((0, 0, 0, 0, 0))


@final
class JitEnv(Task):
    """Environment written as three pure functions, which numba compiles into one loop with the networks.

    All episodes of one network (weights × reps) run side by side, a lane each, so that network and physics become
    vector instructions. `untrained.wann.numerics.vector_math` has a `sin`, `cos`, `exp` and `tanh` that do; those of
    `math` work, too, but are called lane by lane. The functions are those of Gymnasium's loop, without a mutable
    environment: plain or `@njit`.

    Example:
        >>> def reset(seed): return (seed % 7 / 7, 0.0)
        >>> def step(state, action): return (state[0] + state[1], state[1] + action[0]), -abs(state[0]), state[0] > 9
        >>> task = wann.JitEnv(reset, lambda state: state, step, outputs=1, max_steps=100, name="come home")
        >>> task.inputs, task.outputs
        (2, 1)

    Args:
        reset: seed → state, a tuple of floats; it calls `np.random.seed(seed)` before it draws.
        observe: state → inputs of the network, a tuple of floats.
        step: (state, action) → (state, reward, end of the episode); `action` are the network's outputs, as they are.
        outputs: numbers in an action.
        max_steps: steps after which an episode ends.
        name: of the task.
        input_names: names of the observations, for pictures.
        measures: states of an episode, float64 (steps + 1, numbers in a state) → figures by name, for `measures`; a
            plain function with numpy, which is not compiled.
        most: greatest reward of an episode that there can be.

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
        measures: Callable[[np.ndarray], Mapping[str, float]] | None = None,
        most: float | None = None,
    ) -> None:
        for field, number in (("outputs", outputs), ("max_steps", max_steps)):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name}: {field} must be a whole number, at least 1, got {number}")
        # The arguments themselves: a function that numba compiled can be pickled, the one behind it cannot.
        self._arguments = reset, observe, step
        for function in self._functions:
            if not isinstance(function, FunctionType):
                raise ValueError(f"{name}: functions must be plain or have @njit, got {function!r}")
        self.name, self.outputs, self.max_steps = name, outputs, max_steps
        self.input_names, self.most, self._measures = input_names, most, measures
        first, self.inputs = self._try_out()
        self._states = first.shape[1]
        self._measured = () if measures is None else tuple(self._figures(first))
        if input_names is not None and len(input_names) != self.inputs:
            raise ValueError(f"{name}: input_names must be {self.inputs}, one per input, got {len(input_names)}")

    @property
    def _functions(self) -> tuple[Callable[..., Any], ...]:
        return tuple(plain(function) for function in self._arguments)

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        return self._play(networks, np.asarray(weights, float), seeds_of(seed, part, reps))[0].mean(2)

    def steps(self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1) -> int:
        """Return the number of steps in all episodes of `rewards`, the unit of an evaluation's speed."""
        return int(self._play(networks, np.asarray(weights, float), seeds_of(seed, "train", reps))[1].sum())

    def measures(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> dict[str, np.ndarray]:
        return self.scores_and_measures(networks, weights, seed, reps=reps, part=part)[1] if self._measured else {}

    def scores_and_measures(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "test"
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if not self._measured:
            return self.rewards(networks, weights, seed, reps=reps, part=part), {}
        self.check(networks)
        seeds, scores = seeds_of(seed, part, reps), np.empty((len(networks), len(weights)))
        found = {name: np.full(scores.shape, np.nan) for name in self._measured}
        # One network and weight at a time: the states of all episodes of a population would fill the memory.
        for p, v in np.ndindex(scores.shape):
            states, rewards = self._record(networks.part(p, p + 1), float(weights[v]), seeds)
            scores[p, v] = rewards.mean()
            if np.isfinite(rewards).all():
                figures = [self._measure(each) for each in states]
                for name, values in found.items():
                    values[p, v] = np.mean([each[name] for each in figures])
        return scores, found

    def trajectory(self, net: Net, w: float = 1.0, seed: int = 0, part: Part = "test") -> np.ndarray:
        """Return the states of one episode, the first of `rewards` for this seed and part, float64 (steps + 1, states).

        Args:
            net: the network; its tuned weights, if it has any, are multiplied by the shared one.
            w: shared weight.
            seed: of the start.
            part: as for `rewards`.

        Raises:
            ValueError: there is no such part, the network does not fit the task, or it breaks down: its reward is not
                finite.
        """
        states, rewards = self._record(Packed.of([net]), w, seeds_of(seed, part, 1))
        if not np.isfinite(rewards).all():
            raise ValueError(f"{self.name}: the network breaks down at the weight {w:g}: its reward is {rewards[0]}")
        return states[0]

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "max_steps": self.max_steps, "functions": digest(self._functions)}

    def _measure(self, states: np.ndarray) -> dict[str, float]:
        """Return the measures of one episode, by the same names as for every other one."""
        found = self._figures(states)
        if tuple(found) != self._measured:
            raise ValueError(f"{self.name}: measures must give the same names for every episode, got {found}")
        return found

    def _figures(self, states: np.ndarray) -> dict[str, float]:
        """Return what the function of measures gives for one episode, and refuse what is no finite number by name."""
        assert self._measures is not None
        try:
            given = self._measures(states)
        except Exception as error:
            raise ValueError(f"{self.name}: measures raises {type(error).__name__}: {error}") from error
        try:
            found = {name: float(value) for name, value in given.items()}
        except (AttributeError, TypeError, ValueError):
            found = {}
        if not isinstance(given, Mapping) or len(found) != len(given) or not all(isinstance(n, str) for n in given):
            raise ValueError(f"{self.name}: measures must give numbers by name, got {given!r}")
        if not np.isfinite(list(found.values())).all():
            raise ValueError(f"{self.name}: measures must be finite, got {found}")
        return found

    def _record(self, networks: Packed, w: float, seeds: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the states of every episode of one network, and their rewards, (reps,)."""
        trace = np.empty((1, 1, len(seeds), self.max_steps + 1, self._states))
        totals, lengths = self._play(networks, np.array([w]), seeds, trace)
        return [trace[0, 0, r, : steps + 1] for r, steps in enumerate(lengths[0, 0])], totals[0, 0]

    def _play(
        self, networks: Packed, weights: np.ndarray, seeds: np.ndarray, trace: np.ndarray = _NO_TRACE
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return reward and length of every episode, (P, V, reps); a trace that is not empty takes their states."""
        self.check(networks)
        totals = np.zeros((len(networks), len(weights), len(seeds)))
        lengths = np.zeros(totals.shape, np.int64)
        if AVAILABLE:
            rollout = compiled_rollout(self._functions, self._states, self.inputs, self.outputs)
            n, steps = networks, self.max_steps
            try:
                rollout(n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, weights, seeds, steps, totals, lengths, trace)
            except Exception as error:
                if type(error).__module__ != "numba.core.errors":
                    raise
                text = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # in colours, where colorama is installed
                lines = [line for line in text.splitlines() if line and not line.startswith(("Failed in", "During"))]
                reason = lines[0] if lines else type(error).__name__
                raise ValueError(f"{self.name}: numba cannot compile its functions: {reason}") from error
        else:
            self._play_plainly(networks, weights, seeds, totals, lengths, trace)
        return totals, lengths

    def _play_plainly(
        self,
        networks: Packed,
        weights: np.ndarray,
        seeds: np.ndarray,
        totals: np.ndarray,
        lengths: np.ndarray,
        trace: np.ndarray = _NO_TRACE,
    ) -> None:
        """Play episode by episode, without numba."""
        reset, observe, step = self._functions
        for number in range(len(networks)):
            net = networks.net(number)
            for (v, w), (r, seed) in ((a, b) for a in enumerate(weights) for b in enumerate(seeds)):
                state, ended = reset(int(seed)), False
                if trace.size:
                    trace[number, v, r, 0] = state
                while not ended and lengths[number, v, r] < self.max_steps:
                    action = net(np.array([observe(state)]), w)[0] if np.isfinite(state).all() else np.array([np.nan])
                    lengths[number, v, r] += 1
                    if not np.isfinite(action).all():
                        totals[number, v, r] = np.nan
                        if trace.size:
                            trace[number, v, r, lengths[number, v, r]] = np.nan
                        break
                    state, reward, ended = step(state, tuple(action.tolist()))
                    if trace.size:
                        trace[number, v, r, lengths[number, v, r]] = state
                    totals[number, v, r] += reward

    def _try_out(self) -> tuple[np.ndarray, int]:
        """Return the states of one reset and one step, (2, numbers in a state), and the numbers in an observation."""
        reset, observe, step = map(interpreted, self._functions)  # compiling takes half a second
        generator = np.random.get_state()  # which reset seeds
        try:
            state = reset(0)
            after, reward, ended = step(state, (0.0,) * self.outputs)
            seen = observe(state)
            _ = bool(ended), [float(number) for number in (*state, *after)]
            if not np.isfinite([float(reward), *seen]).all():
                raise ValueError(f"the first observation and reward must be finite, got {seen} and {reward}")
            if not len(state) or not len(seen):
                raise ValueError(f"state and observation must have numbers, got {len(state)} and {len(seen)}")
            if len(after) != len(state):
                raise ValueError(f"step must give a state of {len(state)} numbers, as reset does, got {len(after)}")
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.name}: reset, observe and step do not fit together: {cause}") from error
        finally:
            np.random.set_state(generator)
        return np.array([state, after], float), len(seen)
