"""Control tasks whose physics is compiled together with the networks that act in it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np

from untrained.wann import vector_math
from untrained.wann.jit import AVAILABLE, bound, compiled, inlined, plain
from untrained.wann.packed import Packed
from untrained.wann.task import Part, Task, part_seed

_LANES = 8  # doubles in the widest vector register there is

State = tuple[float, ...]


@final
class JitEnv(Task):
    """An environment written as three pure functions, which numba compiles into one loop with the network.

    All episodes of one network (weights × reps) run side by side, a lane each, so that network and physics become
    vector instructions. `untrained.wann.vector_math` has a `sin`, `cos`, `exp` and `tanh` that do; those of `math`
    work, too, but are called lane by lane.

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
    ) -> None:
        if outputs < 1 or max_steps < 1:
            raise ValueError(f"{name}: got {outputs} outputs and {max_steps} steps, expected at least 1 of each")
        self._functions = plain(reset), plain(observe), plain(step)
        self.name, self.outputs, self.max_steps = name, outputs, max_steps
        state, seen, after = self._try_out()
        self.inputs, self._states = len(seen), len(state)
        if len(after) != len(state):
            raise ValueError(f"{name}: reset gives {len(state)} numbers as state, step gives {len(after)}")

    def rewards(
        self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1, part: Part = "train"
    ) -> np.ndarray:
        first = part_seed(seed, part)
        seeds = (first + np.arange(reps)) % (1 << 31)
        return self._play(networks, np.asarray(weights, float), seeds)[0].mean(2)

    def steps(self, networks: Packed, weights: Sequence[float], seed: int, *, reps: int = 1) -> int:
        """How many steps all episodes of `rewards` take: what the speed of an evaluation is measured in."""
        seeds = (part_seed(seed, "train") + np.arange(reps)) % (1 << 31)
        return int(self._play(networks, np.asarray(weights, float), seeds)[1].sum())

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "max_steps": self.max_steps, "functions": _digest(self._functions)}

    def _play(self, networks: Packed, weights: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reward and length of every episode, (P, V, reps)."""
        self.check(networks)
        totals = np.zeros((len(networks), len(weights), len(seeds)))
        lengths = np.zeros(totals.shape, np.int64)
        if AVAILABLE:
            rollout = _rollout(self._functions, self._states, self.inputs, self.outputs)
            n = networks
            rollout(n.node_ptr, n.edge_ptr, n.src, n.act, n.weight, weights, seeds, self.max_steps, totals, lengths)
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
        try:
            state = reset(0)
            after, reward, ended = step(state, (0.0,) * self.outputs)
            seen = observe(state)
            float(reward), bool(ended), [float(number) for number in (*state, *seen, *after)]
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{self.name}: reset, observe and step do not fit together: {error}") from None
        return state, seen, after


_GLUE = """
def reset_lanes(seeds, start):
    for r in range(seeds.shape[0]):
        {start} = reset(seeds[r])

def observe_lanes(state, nodes, lanes):
    {states} = {state_rows}
    {inputs} = {input_rows}
    for q in range(lanes):
        {inputs_q} = observe(({states_q}))

def step_lanes(state, nodes, first_output, total, ended, lanes):
    {states} = {state_rows}
    {actions} = {action_rows}
    for q in range(lanes):
        ({states_q}), reward, end = step(({states_q}), ({actions_q}))
        total[q] += reward + 0.0 * ({action_sum})  # an output that is no number makes the reward none
        ended[q] = end
"""


def _rollout_template(
    node_ptr, edge_ptr, src, act, weight, shared, seeds, max_steps, totals, lengths
):  # pragma: no cover  (compiled)
    """Play all episodes of every network: lane v·R + r has the shared weight v and the start r."""
    reps = seeds.shape[0]
    lanes = shared.shape[0] * reps
    padded = (lanes + _LANES - 1) // _LANES * _LANES
    start, state = np.zeros((STATES, reps)), np.zeros((STATES, padded))
    reset_lanes(seeds, start)
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    nodes = np.zeros((INPUTS + 1 + most, padded))
    nodes[0] = 1.0
    w, total, ended = np.zeros(padded), np.zeros(padded), np.zeros(padded, np.uint8)
    episode = np.zeros(padded, np.int64)
    weighted = weight.shape[0] > 0
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for q in range(lanes):
            episode[q], w[q], total[q] = q, shared[q // reps], 0.0
            state[:, q] = start[:, q % reps]
        running, steps = lanes, 0
        while running > 0:
            width = (running + _LANES - 1) // _LANES * _LANES
            observe_lanes(state, nodes, width)
            for k in range(rows):
                z = nodes[INPUTS + 1 + k, :width]
                z[:] = 0.0
                for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
                    source = nodes[src[e]]
                    if weighted:
                        for q in range(width):
                            z[q] += weight[e] * source[q]
                    else:
                        for q in range(width):
                            z[q] += source[q]
                activate(act[row0 + k], z, w, 0.0, 0.5, 1.0)
            step_lanes(state, nodes, INPUTS + 1 + rows - OUTPUTS, total, ended, width)
            steps += 1
            any_ended = steps >= max_steps
            for q in range(running):
                any_ended |= ended[q] != 0
            if any_ended:
                # The last running lane moves into the place of one that ended, so that no finished episode goes on.
                for q in range(running - 1, -1, -1):
                    if ended[q] or steps >= max_steps:
                        totals[p, episode[q] // reps, episode[q] % reps] = total[q]
                        lengths[p, episode[q] // reps, episode[q] % reps] = steps
                        running -= 1
                        episode[q], w[q], total[q] = episode[running], w[running], total[running]
                        state[:, q] = state[:, running]


@lru_cache
def _rollout(functions: tuple[Callable[..., Any], ...], states: int, inputs: int, outputs: int) -> Callable[..., None]:
    """The template, compiled for one environment."""

    def each(text: str, count: int) -> str:
        return "".join(f"{text.format(i=i)}, " for i in range(count))

    glue = _GLUE.format(
        start=each("start[{i}, r]", states),
        states=each("s{i}", states),
        states_q=each("s{i}[q]", states),
        state_rows=each("state[{i}]", states),
        inputs=each("h{i}", inputs),
        inputs_q=each("h{i}[q]", inputs),
        input_rows=each("nodes[{i} + 1]", inputs),
        actions=each("a{i}", outputs),
        actions_q=each("a{i}[q]", outputs),
        action_rows=each("nodes[first_output + {i}]", outputs),
        action_sum=" + ".join(f"a{i}[q]" for i in range(outputs)),
    )
    # Numba keeps compiled code beside the file that a function is said to be from, until that file changes.
    file = functions[2].__code__.co_filename
    on_disk = Path(file).is_file() and not any(function.__closure__ for function in functions)
    name = f"{_digest(functions)}_{states}_{inputs}_{outputs}"
    names: dict[str, Any] = dict(zip(("reset", "observe", "step"), map(inlined, functions), strict=True))
    exec(compile(glue, file, "exec"), names)
    lanes = {
        kind: compiled(bound(names[kind], f"{kind}_{name}"), on_disk=on_disk)
        for kind in ("reset_lanes", "observe_lanes", "step_lanes")
    }
    sizes = {"STATES": states, "INPUTS": inputs, "OUTPUTS": outputs, "activate": vector_math.activate}
    return compiled(bound(_rollout_template, f"rollout_{name}", **lanes, **sizes), on_disk=on_disk)


def _digest(functions: tuple[Callable[..., Any], ...]) -> str:
    """What the functions do, as far as their own code says."""
    content = hashlib.sha256(inspect.getsource(_rollout_template).encode() + _GLUE.encode())
    for function in functions:
        code = function.__code__
        content.update(code.co_code + repr((code.co_names, [c for c in code.co_consts if _is_plain(c)])).encode())
    return content.hexdigest()[:16]


def _is_plain(constant: object) -> bool:
    return isinstance(constant, int | float | str | tuple | type(None))
